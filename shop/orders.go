package shop

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/dtcgate/dtcgate/store"
)

// An OrderSort is the order of a list of orders.
type OrderSort string

// The orders of a list of orders. Newest is the default.
const (
	Newest  OrderSort = "newest"
	Oldest  OrderSort = "oldest"
	Largest OrderSort = "largest"
)

// An OrderFilter selects orders; what is empty does not count.
type OrderFilter struct {
	Query    string      // order or customer number, SKU, or words of a product's title
	Status   OrderStatus //
	From, To string      // days, both included
	MinTotal int64       // minor units
	Country  string      // shipped to
	Sort     OrderSort
}

const orderColumns = `o.order_no, o.customer_no, o.placed_at, o.status, o.items, o.total_minor, o.refunded_minor,
	o.source_placed_at, o.ship_country, o.subtotal_minor, o.shipping_minor, o.discount_minor, o.customer_note, o.version`

// scanOrder reads orderColumns.
func (d *Desk) scanOrder(r store.Row) (Order, error) {
	o := Order{
		Total: d.money(0), Refunded: d.money(0), Subtotal: d.money(0), Shipping: d.money(0), Discount: d.money(0),
	}
	err := r.Scan(
		&o.No, &o.CustomerNo, store.At(&o.PlacedAt), &o.Status, &o.Items, &o.Total.AmountMinor, &o.Refunded.AmountMinor,
		store.At(&o.SourcePlacedAt), &o.ShipCountry, &o.Subtotal.AmountMinor, &o.Shipping.AmountMinor, &o.Discount.AmountMinor,
		&o.CustomerNote, &o.Version,
	)
	return o, err
}

// Orders gives a page of the orders that match f, without their lines. The page is found first, by numbers alone, and then
// read: many orders may match, and few are shown.
func (d *Desk) Orders(f OrderFilter, cut Cut) (Page[Order], error) {
	rank := "o.placed_at"
	if f.Sort == Largest {
		rank = "o.total_minor"
	}
	q := sqlText("SELECT o.order_no, "+rank+" AS rank FROM orders o WHERE o.merchant_id = ?", d.merchant)
	err := f.where(q)
	if err == nil {
		err = d.matching(q, f.Query)
	}
	if err != nil {
		return Page[Order]{}, err
	}
	l := listing{rows: q, by: []string{"rank", "order_no"}, desc: f.Sort != Oldest, once: f.Query != ""}
	page, err := readPage(d.tx, l, cut, func(r store.Row) (Order, Place, error) {
		var p Place
		err := r.Scan(&p.ID, &p.Rank)
		return Order{No: p.ID}, p, err
	})
	if err == nil {
		err = d.readOrders(page.Rows)
	}
	if err != nil {
		return page, fmt.Errorf("listing orders: %w", err)
	}
	return page, nil
}

// readOrders reads orders of which only the numbers are known.
func (d *Desk) readOrders(orders []Order) error {
	if len(orders) == 0 {
		return nil
	}
	q := sqlText("SELECT "+orderColumns+" FROM orders o WHERE o.merchant_id = ? AND o.order_no IN ("+marks(len(orders))+")", d.merchant)
	at := map[string]*Order{}
	for i, o := range orders {
		q.args = append(q.args, o.No)
		at[o.No] = &orders[i]
	}
	_, err := store.All(d.tx, func(r store.Row) (struct{}, error) {
		o, err := d.scanOrder(r)
		if err == nil {
			*at[o.No] = o
		}
		return struct{}{}, err
	}, q.sql(), q.args...)
	return err
}

// where adds the conditions of the filter. Days begin at midnight in London; the last one is included.
func (f OrderFilter) where(q *query) error {
	if f.Status != "" {
		q.add(" AND o.status = ?", string(f.Status))
	}
	if f.From != "" {
		from, err := Midnight(f.From)
		if err != nil {
			return err
		}
		q.add(" AND o.placed_at >= ?", store.Micros(from))
	}
	if f.To != "" {
		end, err := dayAfter(f.To)
		if err != nil {
			return err
		}
		q.add(" AND o.placed_at < ?", store.Micros(end))
	}
	if f.MinTotal > 0 {
		q.add(" AND o.total_minor >= ?", f.MinTotal)
	}
	if f.Country != "" {
		q.add(" AND LOWER(o.ship_country) = LOWER(CAST(? AS TEXT))", f.Country)
	}
	return nil
}

// matching adds the condition that an order is what is looked for: its own number, its customer's or a SKU in it, or else
// words of a product's title. Whatever is looked for, the orders are found by an index and not looked through.
func (d *Desk) matching(q *query, text string) error {
	text = strings.TrimPrefix(strings.TrimSpace(text), "#")
	if text == "" {
		return nil
	}
	number, err := d.isNumber(text)
	switch {
	case err != nil:
		return fmt.Errorf("looking up a number: %w", err)
	case number:
		q.add(` AND o.order_no IN (SELECT n.order_no FROM orders n WHERE n.merchant_id = ? AND n.order_no = ?
			UNION SELECT c.order_no FROM orders c WHERE c.merchant_id = ? AND c.customer_no = ?
			UNION SELECT l.order_no FROM order_lines l WHERE l.merchant_id = ? AND l.sku IN (?, ?, ?))`,
			append([]any{d.merchant, text, d.merchant, text, d.merchant}, cases(text)...)...)
	case letters(text) < 2:
		q.add(" AND 1 = 0") // every order has a product with a word that begins so
	default:
		q.add(` AND o.order_no IN (SELECT l.order_no FROM order_lines l WHERE l.merchant_id = ? AND l.sku IN (SELECT v.sku FROM variants v
			WHERE v.merchant_id = ?`, d.merchant, d.merchant).foundBy(productWords, "v.product_code", text, d.merchant).add("))")
	}
	return nil
}

// isNumber reports whether a text is the number of an order, of a customer with orders, or of a variant.
func (d *Desk) isNumber(text string) (bool, error) {
	q := sqlText("SELECT COUNT(*) FROM (SELECT order_no FROM orders WHERE merchant_id = ? AND order_no = ?", d.merchant, text).
		add(" UNION ALL SELECT order_no FROM orders WHERE merchant_id = ? AND customer_no = ?", d.merchant, text).
		add(" UNION ALL SELECT sku FROM variants WHERE merchant_id = ? AND sku IN (?, ?, ?)", append([]any{d.merchant}, cases(text)...)...).
		add(") AS numbers")
	var n int
	err := d.tx.QueryRow(q.sql(), q.args...).Scan(&n)
	return n > 0, err
}

// cases are a SKU as it is written, and in the two ways in which shops write theirs.
func cases(sku string) []any { return []any{sku, strings.ToUpper(sku), strings.ToLower(sku)} }

func letters(text string) (n int) {
	for _, r := range text {
		if unicode.IsLetter(r) {
			n++
		}
	}
	return n
}

// OrdersOf gives a customer's latest orders, newest first, without their lines.
func (d *Desk) OrdersOf(customer string, limit int) ([]Order, error) {
	orders, err := store.All(d.tx, d.scanOrder,
		"SELECT "+orderColumns+` FROM orders o WHERE o.merchant_id = $1 AND o.customer_no = $2
		ORDER BY o.placed_at DESC, o.order_no DESC LIMIT $3`, d.merchant, customer, limit)
	if err != nil {
		return nil, fmt.Errorf("listing the customer's orders: %w", err)
	}
	return orders, nil
}

// OrderHead gives an order without its lines.
func (d *Desk) OrderHead(no string) (Order, error) {
	o, err := store.One(d.tx, d.scanOrder,
		"SELECT "+orderColumns+" FROM orders o WHERE o.merchant_id = $1 AND o.order_no = $2", d.merchant, no)
	if err != nil {
		return o, fmt.Errorf("finding the order: %w", err)
	}
	return o, nil
}

// Order gives an order with its lines.
func (d *Desk) Order(no string) (Order, error) {
	o, err := d.OrderHead(no)
	if err == nil {
		o.Lines, err = d.lines(no)
	}
	return o, err
}

// AskOrder asks what Order asks: see store.Tx.Ahead.
func (d *Desk) AskOrder(no string) {
	_, _ = d.OrderHead(no)
	_, _ = d.lines(no)
}

func (d *Desk) lines(order string) ([]Line, error) {
	lines, err := store.All(d.tx, func(r store.Row) (Line, error) {
		l := Line{UnitPrice: d.money(0)}
		return l, r.Scan(&l.Line, &l.SKU, &l.Title, &l.Qty, &l.QtyRefunded, &l.QtyShipped, &l.QtyRestocked, &l.UnitPrice.AmountMinor)
	}, `SELECT line, sku, title, qty, qty_refunded, qty_shipped, qty_restocked, unit_price_minor FROM order_lines
		WHERE merchant_id = $1 AND order_no = $2 ORDER BY line`, d.merchant, order)
	if err != nil {
		return nil, fmt.Errorf("reading the lines of the order: %w", err)
	}
	return lines, nil
}

// Refundable is what can still be given back of an order.
func (o Order) Refundable() Money {
	return Money{o.Total.AmountMinor - o.Refunded.AmountMinor, o.Total.Currency}
}

// ToShip is how many pieces of the order are still to be shipped, by its lines.
func (o Order) ToShip() (n int64) {
	for _, l := range o.Lines {
		n += l.ToShip()
	}
	return n
}

// Shipped is how many pieces of the order were shipped, by its lines.
func (o Order) Shipped() (n int64) {
	for _, l := range o.Lines {
		n += l.QtyShipped
	}
	return n
}

// Events gives the latest events of an order, oldest first, and how many older ones there are.
func (d *Desk) Events(no string, limit int) (events []Event, older int64, err error) {
	first := int64(0) // of those shown; events are numbered from 1, without a gap
	events, err = store.All(d.tx, func(r store.Row) (Event, error) {
		var e Event
		var n int64
		err := r.Scan(&n, store.At(&e.At), &e.What, &e.Actor)
		if first == 0 {
			first = n
		}
		return e, err
	}, `SELECT event_no, at, what, actor FROM (SELECT event_no, at, what, actor FROM order_events
		WHERE merchant_id = $1 AND order_no = $2 ORDER BY event_no DESC LIMIT $3) AS latest ORDER BY event_no`, d.merchant, no, limit)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the events of the order: %w", err)
	}
	return events, max(0, first-1), nil
}

// tell adds an event to an order that this transaction has changed, and so holds.
func (d *Desk) tell(no string, at time.Time, what, actor string) error {
	_, err := d.tx.Exec(`INSERT INTO order_events (merchant_id, order_no, event_no, at, what, actor)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), COALESCE(MAX(event_no), 0) + 1, CAST($3 AS BIGINT), CAST($4 AS TEXT), CAST($5 AS TEXT)
		FROM order_events WHERE merchant_id = $1 AND order_no = $2`,
		d.merchant, no, store.Micros(at), what, actor)
	return err
}
