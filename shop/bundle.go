package shop

import "fmt"

// uciAttribution is what the licence asks to be shown with the data.
const uciAttribution = "Chen, D. (2015). Online Retail [Dataset]. UCI Machine Learning Repository. " +
	"https://doi.org/10.24432/C5BW33. Licensed under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). " +
	"Changed: reduced, cleaned, dates moved; e-mail addresses, phone numbers, consent, stock and costs are made up."

// A bundle reads the seven files of a prepared merchant. Each method reads one file and checks what it refers to; the
// order of the calls is the order of those references. The first mistake is kept in err and stops the rest.
type bundle struct {
	dir      string
	contents Contents
	err      error

	products  map[string]bool
	variants  map[string]int // index into contents.Variants, by SKU
	customers map[string]bool
	orders    map[string]int // index into contents.Orders
	refunds   map[string]int
	// Where each order and refund was read, for mistakes that only its lines bring to light.
	orderAt  []place
	refundAt []place
}

// A place is a line of a file.
type place struct {
	file string
	line int
}

func (p place) mistake(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.file, p.line, fmt.Sprintf(format, args...))
}

// readBundle reads a directory of CSV files.
func readBundle(dir string) (*Contents, error) {
	b := &bundle{
		dir: dir, contents: Contents{Shop: Shop{Currency: "GBP", Source: Imported, Attribution: uciAttribution}},
		products: map[string]bool{}, variants: map[string]int{}, customers: map[string]bool{},
		orders: map[string]int{}, refunds: map[string]int{},
	}
	b.readProducts()
	b.readVariants()
	b.readCustomers()
	b.readOrders()
	b.readLines()
	b.readRefunds()
	b.readRefundLines()
	if b.err != nil {
		return nil, b.err
	}
	return &b.contents, nil
}

// file calls each for every row of one file.
func (b *bundle) file(name string, cols []string, each func(t *table)) {
	if b.err != nil {
		return
	}
	t, err := openBundle(b.dir, name, cols...)
	if err != nil {
		b.err = err
		return
	}
	defer t.Close()
	for t.next() {
		each(t)
	}
	b.err = t.err
}

func (b *bundle) readProducts() {
	b.file("products", []string{"product_code", "title", "category"}, func(t *table) {
		p := Product{Code: t.key(0), Title: t.key(1), Category: t.key(2), Status: "active"}
		if b.products[p.Code] {
			t.fail("product_code %q is there twice", p.Code)
		}
		b.products[p.Code] = true
		b.contents.Products = append(b.contents.Products, p)
	})
}

func (b *bundle) readVariants() {
	cols := []string{"sku", "product_code", "title", "option", "price_minor", "units_sold_13m"}
	b.file("variants", cols, func(t *table) {
		v := Variant{
			SKU: t.key(0), ProductCode: t.key(1), Title: t.key(2), Option: t.text(3),
			Price: b.contents.money(t.number(4, 0, maxMinor)),
		}
		if _, twice := b.variants[v.SKU]; twice {
			t.fail("sku %q is there twice", v.SKU)
		}
		if !b.products[v.ProductCode] {
			t.fail("product_code %q is not in products", v.ProductCode)
		}
		b.variants[v.SKU] = len(b.contents.Variants)
		b.contents.Variants = append(b.contents.Variants, v)
	})
}

func (b *bundle) readCustomers() {
	b.file("customers", []string{"customer_no", "country", "first_order_at"}, func(t *table) {
		c := Customer{No: t.key(0), Country: t.key(1)}
		t.minute(2) // the orders say it too; here it is only checked
		if b.customers[c.No] {
			t.fail("customer_no %q is there twice", c.No)
		}
		b.customers[c.No] = true
		b.contents.Customers = append(b.contents.Customers, c)
	})
}

func (b *bundle) readOrders() {
	cols := []string{"order_no", "customer_no", "placed_at", "ship_country", "shipping_minor", "discount_minor"}
	b.file("orders", cols, func(t *table) {
		o := Order{
			No: t.key(0), CustomerNo: t.key(1), PlacedAt: t.minute(2), ShipCountry: t.key(3),
			Shipping: b.contents.money(t.number(4, 0, maxMinor)), Discount: b.contents.money(t.number(5, 0, maxMinor)),
			Total: b.contents.money(0), Subtotal: b.contents.money(0), Refunded: b.contents.money(0),
		}
		o.SourcePlacedAt = o.PlacedAt
		if _, twice := b.orders[o.No]; twice {
			t.fail("order_no %q is there twice", o.No)
		}
		if !b.customers[o.CustomerNo] {
			t.fail("customer_no %q is not in customers", o.CustomerNo)
		}
		b.orders[o.No] = len(b.contents.Orders)
		b.contents.Orders = append(b.contents.Orders, o)
		b.orderAt = append(b.orderAt, t.place())
	})
}

func (b *bundle) readLines() {
	b.file("order_lines", []string{"order_no", "sku", "qty", "unit_price_minor"}, func(t *table) {
		order, known := b.orders[t.row[0]]
		variant, sold := b.variants[t.row[1]]
		switch {
		case !known:
			t.fail("order_no %q is not in orders", t.row[0])
			return
		case !sold:
			t.fail("sku %q is not in variants", t.row[1])
			return
		}
		o, v := &b.contents.Orders[order], b.contents.Variants[variant]
		o.add(Line{
			SKU: v.SKU, Title: v.Title, Qty: t.number(2, 1, maxQty),
			UnitPrice: b.contents.money(t.number(3, 0, maxMinor)),
		})
		if o.Subtotal.AmountMinor > maxSubtotal {
			t.fail("order %s comes to more than %s", o.No, b.contents.money(maxSubtotal))
		}
	})
	for i, o := range b.contents.Orders {
		switch {
		case b.err != nil:
			return
		case len(o.Lines) == 0:
			b.err = b.orderAt[i].mistake("order %s has no line in order_lines", o.No)
		case o.Discount.AmountMinor > o.Subtotal.AmountMinor:
			b.err = b.orderAt[i].mistake("discount_minor %d is more than the order's lines come to (%d)",
				o.Discount.AmountMinor, o.Subtotal.AmountMinor)
		}
	}
}

func (b *bundle) readRefunds() {
	b.file("refunds", []string{"refund_no", "order_no", "refunded_at"}, func(t *table) {
		r := Refund{
			No: t.key(0), OrderNo: t.key(1), At: t.minute(2), Cause: "unknown", Actor: "staff", Amount: b.contents.money(0),
		}
		order, known := b.orders[r.OrderNo]
		switch {
		case !known:
			t.fail("order_no %q is not in orders", r.OrderNo)
			return
		case r.At.Before(b.contents.Orders[order].PlacedAt):
			t.fail("refunded_at %s is before the order", t.row[2])
		}
		if _, twice := b.refunds[r.No]; twice {
			t.fail("refund_no %q is there twice", r.No)
		}
		b.refunds[r.No] = len(b.contents.Refunds)
		b.contents.Refunds = append(b.contents.Refunds, r)
		b.refundAt = append(b.refundAt, t.place())
	})
}

func (b *bundle) readRefundLines() {
	b.file("refund_lines", []string{"refund_no", "sku", "qty", "unit_price_minor"}, func(t *table) {
		refund, known := b.refunds[t.row[0]]
		if !known {
			t.fail("refund_no %q is not in refunds", t.row[0])
			return
		}
		r := &b.contents.Refunds[refund]
		o := &b.contents.Orders[b.orders[r.OrderNo]]
		qty, price := t.number(2, 1, maxQty), t.number(3, 0, maxMinor)
		if t.err != nil {
			return
		}
		if reason := giveBack(o, r, t.row[1], qty, b.contents.money(price)); reason != "" {
			t.fail("%s", reason)
		}
	})
	for i, r := range b.contents.Refunds {
		if b.err == nil && r.Amount.AmountMinor == 0 {
			b.err = b.refundAt[i].mistake("refund %s gives nothing back: no line in refund_lines is worth anything", r.No)
		}
	}
}

// giveBack adds pieces of a SKU to a refund and takes them off the order, from the lines of the same price first. It
// changes nothing and says why when the order has not as many pieces, or not as much money, left.
func giveBack(o *Order, r *Refund, sku string, qty int64, price Money) (reason string) {
	var left int64
	for _, l := range o.Lines {
		if l.SKU == sku {
			left += l.Qty - l.QtyRefunded
		}
	}
	amount := qty * price.AmountMinor
	switch {
	case left < qty:
		return fmt.Sprintf("refund %s gives back %d of %s, but order %s has only %d left", r.No, qty, sku, o.No, left)
	case o.Refunded.AmountMinor+amount > o.Total.AmountMinor:
		return fmt.Sprintf("refund %s gives back more than was paid for order %s", r.No, o.No)
	}
	for _, samePrice := range []bool{true, false} {
		for i := range o.Lines {
			l := &o.Lines[i]
			if l.SKU == sku && (l.UnitPrice == price) == samePrice && qty > 0 {
				pieces := min(qty, l.Qty-l.QtyRefunded)
				qty -= pieces
				l.QtyRefunded += pieces
				r.addLine(RefundLine{Line: l.Line, SKU: sku, Qty: pieces, Amount: Money{pieces * price.AmountMinor, price.Currency}})
			}
		}
	}
	o.Refunded.AmountMinor += amount
	r.Amount.AmountMinor += amount
	return ""
}

// addLine adds to the refund's line for the same line of the order, if there is one: the table has one row for it.
func (r *Refund) addLine(l RefundLine) {
	if l.Qty == 0 {
		return
	}
	for i := range r.Lines {
		if r.Lines[i].Line == l.Line {
			r.Lines[i].Qty += l.Qty
			r.Lines[i].Amount.AmountMinor += l.Amount.AmountMinor
			return
		}
	}
	r.Lines = append(r.Lines, l)
}

// move shifts every time by whole weeks; source_placed_at keeps the original.
func (c *Contents) move(weeks int64) {
	c.Shop.ShiftedWeeks = weeks
	for i := range c.Orders {
		c.Orders[i].PlacedAt = shift(c.Orders[i].PlacedAt, weeks)
	}
	for i := range c.Refunds {
		c.Refunds[i].At = shift(c.Refunds[i].At, weeks)
	}
}
