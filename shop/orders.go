package shop

import (
	"fmt"
	"strings"
	"time"

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

// scanOrder reads orderColumns, and more columns after them.
func (d *Desk) scanOrder(r store.Row, more ...any) (Order, error) {
	o := Order{
		Total: d.money(0), Refunded: d.money(0), Subtotal: d.money(0), Shipping: d.money(0), Discount: d.money(0),
	}
	err := r.Scan(append([]any{
		&o.No, &o.CustomerNo, store.At(&o.PlacedAt), &o.Status, &o.Items, &o.Total.AmountMinor, &o.Refunded.AmountMinor,
		store.At(&o.SourcePlacedAt), &o.ShipCountry, &o.Subtotal.AmountMinor, &o.Shipping.AmountMinor, &o.Discount.AmountMinor,
		&o.CustomerNote, &o.Version,
	}, more...)...)
	return o, err
}

// Orders gives a page of the orders that match f, without their lines.
func (d *Desk) Orders(f OrderFilter, cut Cut) (Page[Order], error) {
	rank := "o.placed_at"
	if f.Sort == Largest {
		rank = "o.total_minor"
	}
	q := sqlText("SELECT "+orderColumns+", "+rank+" AS rank FROM orders o WHERE o.merchant_id = ?", d.merchant)
	if err := f.where(q, d.merchant); err != nil {
		return Page[Order]{}, err
	}
	l := listing{rows: q, by: []string{"rank", "order_no"}, desc: f.Sort != Oldest}
	page, err := readPage(d.tx, l, cut, func(r store.Row) (Order, Place, error) {
		var p Place
		o, err := d.scanOrder(r, &p.Rank)
		p.ID = o.No
		return o, p, err
	})
	if err != nil {
		return page, fmt.Errorf("listing orders: %w", err)
	}
	return page, nil
}

// where adds the conditions of the filter. Days begin at midnight in London; the last one is included.
func (f OrderFilter) where(q *query, merchant string) error {
	f.matches(q, merchant)
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

// matches looks for the query in the numbers and in what was bought. Titles are looked up in the catalogue, which is
// small; the lines are then found by SKU through an index.
func (f OrderFilter) matches(q *query, merchant string) {
	number := strings.TrimPrefix(strings.TrimSpace(f.Query), "#")
	if number == "" {
		return
	}
	q.add(` AND (o.order_no = ? OR o.customer_no = ? OR o.order_no IN (SELECT l.order_no FROM order_lines l
		WHERE l.merchant_id = ? AND l.sku IN (SELECT v.sku FROM variants v
			JOIN products p ON p.merchant_id = v.merchant_id AND p.product_code = v.product_code
			WHERE v.merchant_id = ? AND (LOWER(v.sku) = LOWER(CAST(? AS TEXT)) OR (`, number, number, merchant, merchant, number)
	q.eachWord(number, "("+like("p.title")+" OR "+like("v.title")+")").add(")))))")
}

// OrdersOf gives a customer's latest orders, newest first, without their lines.
func (d *Desk) OrdersOf(customer string, limit int) ([]Order, error) {
	orders, err := store.All(d.tx, func(r store.Row) (Order, error) { return d.scanOrder(r) },
		"SELECT "+orderColumns+` FROM orders o WHERE o.merchant_id = $1 AND o.customer_no = $2
		ORDER BY o.placed_at DESC, o.order_no DESC LIMIT $3`, d.merchant, customer, limit)
	if err != nil {
		return nil, fmt.Errorf("listing the customer's orders: %w", err)
	}
	return orders, nil
}

// Order gives an order with its lines.
func (d *Desk) Order(no string) (Order, error) {
	o, err := store.One(d.tx, func(r store.Row) (Order, error) { return d.scanOrder(r) },
		"SELECT "+orderColumns+" FROM orders o WHERE o.merchant_id = $1 AND o.order_no = $2", d.merchant, no)
	if err != nil {
		return o, fmt.Errorf("finding the order: %w", err)
	}
	o.Lines, err = store.All(d.tx, func(r store.Row) (Line, error) {
		l := Line{UnitPrice: d.money(0)}
		return l, r.Scan(&l.Line, &l.SKU, &l.Title, &l.Qty, &l.QtyRefunded, &l.QtyShipped, &l.UnitPrice.AmountMinor)
	}, `SELECT line, sku, title, qty, qty_refunded, qty_shipped, unit_price_minor FROM order_lines
		WHERE merchant_id = $1 AND order_no = $2 ORDER BY line`, d.merchant, no)
	if err != nil {
		return o, fmt.Errorf("reading the lines of the order: %w", err)
	}
	return o, nil
}

// Refundable is what can still be given back of an order.
func (o Order) Refundable() Money {
	return Money{o.Total.AmountMinor - o.Refunded.AmountMinor, o.Total.Currency}
}

// Events gives the latest events of an order, oldest first.
func (d *Desk) Events(no string, limit int) ([]Event, error) {
	events, err := store.All(d.tx, func(r store.Row) (Event, error) {
		var e Event
		return e, r.Scan(store.At(&e.At), &e.What, &e.Actor)
	}, `SELECT at, what, actor FROM (SELECT event_no, at, what, actor FROM order_events
		WHERE merchant_id = $1 AND order_no = $2 ORDER BY event_no DESC LIMIT $3) AS latest ORDER BY event_no`, d.merchant, no, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the events of the order: %w", err)
	}
	return events, nil
}

// tell adds an event to an order that this transaction has changed, and so holds.
func (d *Desk) tell(no string, at time.Time, what, actor string) error {
	_, err := d.tx.Exec(`INSERT INTO order_events (merchant_id, order_no, event_no, at, what, actor)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), COALESCE(MAX(event_no), 0) + 1, CAST($3 AS BIGINT), CAST($4 AS TEXT), CAST($5 AS TEXT)
		FROM order_events WHERE merchant_id = $1 AND order_no = $2`,
		d.merchant, no, store.Micros(at), what, actor)
	return err
}
