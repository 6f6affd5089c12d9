package shop_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

// TestOrdersKeepTheirMoneyAndPieces refunds, ships, takes back and cancels one order in random sequences, often more than
// there is. What is allowed is done and what is not is refused as a whole, and after each step money, pieces, stock and
// sales add up.
func TestOrdersKeepTheirMoneyAndPieces(t *testing.T) {
	inOneGoroutine(t)
	eachDemo(t, func(t *testing.T, db *store.DB) {
		made := 0
		rapid.Check(t, func(r *rapid.T) {
			made++
			l := newLife(r, db, made)
			steps := map[string]func(*rapid.T){"refund": l.refund, "fulfil": l.fulfil, "reopen": l.reopen, "cancel": l.cancel}
			for range rapid.IntRange(1, 10).Draw(r, "steps") {
				steps[rapid.SampledFrom([]string{"refund", "fulfil", "fulfil", "reopen", "cancel"}).Draw(r, "step")](r)
				l.addsUp(r)
			}
		})
		for table, sums := range map[string][]string{"sales_monthly": {"refunds_minor", "units_refunded"}, soldToDate: {"refunds_minor"}} {
			q := "SELECT CAST(SUM(%s) AS BIGINT) FROM %s"
			for _, sum := range sums {
				if got, want := number(t, db, fmt.Sprintf(q, sum, table)), number(t, db, fmt.Sprintf(q, sum, "sales_totals")); got != want {
					t.Errorf("%s holds %s %d, sales_totals %d", table, sum, got, want)
				}
			}
		}
	})
}

// A life is that of one order with SKUs and a country of its own, so that its sums are its own too.
type life struct {
	db      *store.DB
	no      string
	start   map[string]int64 // stock before the order
	shipped []parcel         // and what the order was before each
}

type parcel struct {
	shop.Shipment
	before shop.OrderStatus
	left   int64 // the order's version after it
}

func newLife(r *rapid.T, db *store.DB, n int) *life {
	l := &life{db: db, no: fmt.Sprint("LIFE", n), start: map[string]int64{}}
	l.in(r, func(tx *store.Tx) error {
		var items, subtotal int64
		for i := range rapid.IntRange(1, 3).Draw(r, "lines") {
			sku := fmt.Sprint(l.no, "-", rapid.IntRange(0, 1).Draw(r, "sku"))
			qty, price := rapid.Int64Range(1, 4).Draw(r, "qty"), rapid.Int64Range(0, 500).Draw(r, "price")
			items, subtotal = items+qty, subtotal+qty*price
			if _, ok := l.start[sku]; !ok {
				l.start[sku] = rapid.Int64Range(0, 12).Draw(r, "stock")
				err := insert(tx, "variants", "sku, product_code, title, price_minor, on_hand", sku, l.no, "Thing", price, l.start[sku])
				if err != nil {
					return err
				}
			}
			if err := insert(tx, "order_lines", "order_no, line, sku, title, qty, unit_price_minor", l.no, i+1, sku, "Thing", qty, price); err != nil {
				return err
			}
		}
		discount, postage := rapid.Int64Range(0, subtotal).Draw(r, "discount"), rapid.Int64Range(0, 300).Draw(r, "postage")
		return insert(tx, "orders", `order_no, customer_no, placed_at, source_placed_at, ship_country, status, items,
			subtotal_minor, shipping_minor, discount_minor, total_minor`,
			l.no, "1001", 1, 1, l.no, "open", items, subtotal, postage, discount, subtotal+postage-discount)
	})
	return l
}

func insert(tx *store.Tx, table, cols string, values ...any) error {
	marks := ""
	for i := range values {
		marks += fmt.Sprintf(", $%d", i+2)
	}
	_, err := tx.Exec("INSERT INTO "+table+" (merchant_id, "+cols+") VALUES ($1"+marks+")", append([]any{merchant}, values...)...)
	return err
}

func (l *life) in(r *rapid.T, fn func(tx *store.Tx) error) {
	r.Helper()
	if err := l.db.InTx(r.Context(), fn); err != nil {
		r.Fatal(err)
	}
}

// do acts on the order and holds what comes of it to what was to be expected.
func (l *life) do(r *rapid.T, what string, fn func(d *shop.Desk, o shop.Order) (allowed bool, err error)) {
	r.Helper()
	var allowed bool
	err := l.db.InTx(r.Context(), func(tx *store.Tx) error {
		d, err := shop.At(tx, merchant)
		if err != nil {
			return err
		}
		o, err := d.Order(l.no)
		if err == nil {
			allowed, err = fn(d, o)
		}
		return err
	})
	if allowed && err != nil || !allowed && !errors.Is(err, shop.ErrChanged) {
		r.Fatalf("%s, allowed %v: %v", what, allowed, err)
	}
}

func (l *life) refund(r *rapid.T) {
	l.do(r, "refund", func(d *shop.Desk, o shop.Order) (bool, error) {
		amount := rapid.Int64Range(1, o.Total.AmountMinor+1).Draw(r, "amount")
		allowed := amount <= o.Refundable().AmountMinor
		var returns []shop.Return
		for _, line := range o.Lines {
			if !rapid.Bool().Draw(r, "named") {
				continue
			}
			b := shop.Return{Line: line.Line, Qty: rapid.Int64Range(1, line.Qty).Draw(r, "pieces"), Restock: rapid.Bool().Draw(r, "restock")}
			allowed = allowed && b.Qty <= line.Qty-line.QtyRefunded && (!b.Restock || b.Qty <= line.Out())
			returns = append(returns, b)
		}
		_, err := d.Refund(o, shop.Refund{Amount: gbp(amount), Cause: "goodwill", Actor: "test"}, returns)
		return allowed, err
	})
}

func (l *life) fulfil(r *rapid.T) {
	l.do(r, "fulfil", func(d *shop.Desk, o shop.Order) (bool, error) {
		s, allowed := shop.Shipment{Carrier: "dpd", Actor: "test"}, true
		for _, line := range o.Lines {
			qty := rapid.Int64Range(0, line.Qty).Draw(r, "pieces")
			if qty > 0 {
				s.Lines = append(s.Lines, shop.ShipmentLine{Line: line.Line, SKU: line.SKU, Qty: qty})
			}
			allowed = allowed && qty <= line.ToShip()
		}
		short, err := d.Short(s.Taken())
		if err != nil {
			return false, err
		}
		after := o.AfterShipment(s)
		s, err = d.Fulfil(o, s)
		if err != nil {
			return allowed && len(short) == 0, err
		}
		l.shipped = append(l.shipped, parcel{s, o.Status, o.Version + 1})
		now, err := d.Order(l.no)
		for _, line := range now.Lines {
			sent := slices.ContainsFunc(s.Lines, func(s shop.ShipmentLine) bool { return s.Line == line.Line })
			if sent && line.Out() > line.Qty-line.QtyRefunded {
				r.Errorf("%d pieces are out of %d with %d refunded", line.Out(), line.Qty, line.QtyRefunded)
			}
		}
		left := now.ToShip()
		if now.Status != after || now.Status == shop.OrderOpen && left == 0 || now.Status == shop.OrderFulfilled && left > 0 {
			r.Errorf("with %d pieces to ship a %s order is %s", left, o.Status, now.Status)
		}
		return allowed && len(short) == 0, err
	})
}

// reopen takes the last shipment back, which is refused when the order has changed since.
func (l *life) reopen(r *rapid.T) {
	if len(l.shipped) == 0 {
		return
	}
	last := l.shipped[len(l.shipped)-1]
	done := false
	l.do(r, "reopen", func(d *shop.Desk, o shop.Order) (bool, error) {
		err := d.Reopen(last.No, last.left, last.before, "test")
		done = err == nil
		return o.Version == last.left, err
	})
	if done {
		l.shipped = l.shipped[:len(l.shipped)-1]
	}
}

func (l *life) cancel(r *rapid.T) {
	l.do(r, "cancel", func(d *shop.Desk, o shop.Order) (bool, error) {
		if o.Shipped() > 0 || o.Status == shop.OrderCancelled {
			return true, nil // the tool refuses it before
		}
		made, err := d.Cancel(o, shop.Refund{Cause: "unknown", Actor: "test"})
		if err == nil && (made.Amount != o.Refundable() || (made.No == "") != (made.Amount.AmountMinor == 0)) {
			r.Errorf("cancelling an order with %s refundable gives back %s (%q)", o.Refundable(), made.Amount, made.No)
		}
		return true, err
	})
}

// addsUp compares the order with the refunds, the stock and the sales.
func (l *life) addsUp(r *rapid.T) {
	var o shop.Order
	stock := map[string]int64{}
	facts := map[string]int64{}
	l.in(r, func(tx *store.Tx) error {
		d, err := shop.At(tx, merchant)
		if err == nil {
			o, err = d.Order(l.no)
		}
		for sku := range l.start {
			variants, err := d.Variants([]string{sku})
			if err != nil {
				return err
			}
			stock[sku] = variants[sku].OnHand
		}
		for name, q := range map[string]string{
			"refunds":       "SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM refunds WHERE merchant_id = $1 AND order_no = $2",
			"sales refunds": "SELECT CAST(COALESCE(SUM(refunds_minor + shipping_refunds_minor), 0) AS BIGINT) FROM sales_totals WHERE merchant_id = $1 AND country = $2",
			"sales units":   "SELECT CAST(COALESCE(SUM(units_refunded), 0) AS BIGINT) FROM sales_totals WHERE merchant_id = $1 AND country = $2",
			"monthly units": "SELECT CAST(COALESCE(SUM(units_refunded), 0) AS BIGINT) FROM sales_monthly WHERE merchant_id = $1 AND sku LIKE $2 || '-%'",
			"by SKU":        "SELECT CAST(COALESCE(SUM(refunds_minor), 0) AS BIGINT) FROM sales_monthly WHERE merchant_id = $1 AND sku LIKE $2 || '-%'",
			"by product":    "SELECT COALESCE(MAX(refunds_minor), 0) FROM product_sales WHERE merchant_id = $1 AND product_code = $2",
		} {
			var n int64
			if err := tx.QueryRow(q, merchant, l.no).Scan(&n); err != nil {
				return err
			}
			facts[name] = n
		}
		return err
	})
	want := map[string]int64{}
	for sku, n := range l.start {
		want[sku] = n
	}
	var back int64
	for _, line := range o.Lines {
		want[line.SKU] -= line.Out()
		back += line.QtyRefunded
	}
	for sku, n := range want {
		if stock[sku] != n {
			r.Errorf("%d of %s on hand, want %d", stock[sku], sku, n)
		}
	}
	given := o.Refunded.AmountMinor
	if facts["refunds"] != given || facts["sales refunds"] != given || given > o.Total.AmountMinor {
		r.Errorf("of %s %s was refunded; the books say %v", o.Total, o.Refunded, facts)
	}
	if facts["by SKU"] != facts["by product"] {
		r.Errorf("the books differ: %v", facts)
	}
	if facts["sales units"] != back || facts["monthly units"] != back {
		r.Errorf("%d pieces were given back; the books say %v", back, facts)
	}
	if o.Status == shop.OrderCancelled && (given != o.Total.AmountMinor || o.ToShip() != 0) {
		r.Errorf("a cancelled order has %s refundable and %d pieces to ship", o.Refundable(), o.ToShip())
	}
}
