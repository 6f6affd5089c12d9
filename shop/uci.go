package shop

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The original "Online Retail" file is one row per line of an invoice or credit note. It is cut as the prepared bundle
// was: no rows without a customer, no rows that are not products, none at price zero, no order without a product;
// postage becomes the order's, credit notes become refunds of the order lines that they most likely mean.

// uciColumns are the spellings of each column, in our order.
var uciColumns = [][]string{
	{"InvoiceNo", "Invoice"},
	{"StockCode"},
	{"Description"},
	{"Quantity"},
	{"InvoiceDate"},
	{"UnitPrice", "Price"},
	{"CustomerID", "Customer ID"},
	{"Country"},
}

// An entry is one row of the original file.
type entry struct {
	invoice, sku, title, customer, country string

	qty   int64
	at    time.Time
	price int64 // minor units
}

var (
	productCode = regexp.MustCompile(`^[0-9]{5}[A-Z]*$`)
	postage     = map[string]bool{"POST": true, "DOT": true, "C2": true}
)

const discountCode = "D"

// ledger makes a merchant out of the rows.
type ledger struct {
	contents Contents
	invoices map[string]*Order
	orders   []*Order // as they come in
	lines    map[lineKey]int
	bought   map[[2]string][]*Order // by customer and SKU, as they come in
	credits  []entry
	facts    map[string]*skuFacts
}

// Rows of one order with the same SKU and price are one line.
type lineKey struct {
	order, sku string
	price      int64
}

func readUCI(path string) (*Contents, error) {
	t, err := openTable(path)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	cols, err := t.find(uciColumns)
	if err != nil {
		return nil, err
	}
	l := &ledger{
		contents: Contents{Shop: Shop{Currency: "GBP", Source: Imported, Attribution: uciAttribution}},
		invoices: map[string]*Order{}, lines: map[lineKey]int{}, bought: map[[2]string][]*Order{}, facts: map[string]*skuFacts{},
	}
	for t.next() {
		if e := t.entry(cols); t.err == nil {
			l.take(e)
		}
	}
	if t.err != nil {
		return nil, t.err
	}
	l.addOrders()
	l.addRefunds()
	l.addProducts()
	return &l.contents, nil
}

// find gives the place of each wanted column, whichever way it is spelt.
func (t *table) find(wanted [][]string) ([]int, error) {
	var cols []int
	for _, spellings := range wanted {
		i := slices.IndexFunc(t.cols, func(c string) bool { return slices.Contains(spellings, strings.TrimSpace(c)) })
		if i < 0 {
			t.fail("column %s is missing (this is neither a bundle directory nor the UCI file)", spellings[0])
			return nil, t.err
		}
		cols = append(cols, i)
	}
	return cols, nil
}

// entry reads the row at hand.
func (t *table) entry(cols []int) entry {
	e := entry{
		invoice: strings.ToUpper(t.latin(cols[0])), sku: strings.ToUpper(t.latin(cols[1])), title: t.latin(cols[2]),
		country: t.latin(cols[7]), qty: t.number(cols[3], -maxQty, maxQty), at: t.anyMinute(cols[4]), price: t.pounds(cols[5]),
		customer: strings.TrimSuffix(t.latin(cols[6]), ".0"), // some copies hold numbers as floats
	}
	if e.invoice == "" || e.sku == "" {
		t.fail("a row needs InvoiceNo and StockCode")
	}
	return e
}

// latin is a text field, trimmed. The file goes round both as UTF-8 and as Latin-1.
func (t *table) latin(col int) string {
	s := t.row[col]
	if !utf8.ValidString(s) {
		runes := make([]rune, len(s))
		for i := range len(s) {
			runes[i] = rune(s[i])
		}
		s = string(runes)
	}
	if strings.ContainsRune(s, 0) || len(s) > maxField {
		t.fail("%s is not text", t.cols[col])
	}
	return strings.Join(strings.Fields(s), " ")
}

// anyMinute is a time in London, in one of the two ways the file goes round in: 2010-12-01 08:26:00 or 12/1/2010 8:26.
func (t *table) anyMinute(col int) time.Time {
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "1/2/2006 15:04"} {
		if at, err := time.ParseInLocation(layout, t.row[col], London); err == nil {
			return at
		}
	}
	t.fail("%s %q is not a date (want YYYY-MM-DD HH:MM or M/D/YYYY H:MM)", t.cols[col], t.row[col])
	return time.Time{}
}

// pounds is a price in pounds, as minor units; the few fractions of a penny are rounded.
func (t *table) pounds(col int) int64 {
	f, err := strconv.ParseFloat(t.row[col], 64)
	if err != nil || f > maxMinor/100 || f < -maxMinor/100 || f != f {
		t.fail("%s %q is not a price", t.cols[col], t.row[col])
		return 0
	}
	minor := int64(f*100 + 0.5)
	if f < 0 {
		minor = int64(f*100 - 0.5)
	}
	return minor
}

// take puts one row where it belongs, or drops it.
func (l *ledger) take(e entry) {
	credit := strings.HasPrefix(e.invoice, "C")
	switch {
	case e.customer == "" || e.price <= 0:
		return
	case credit && productCode.MatchString(e.sku) && e.qty < 0:
		l.credits = append(l.credits, e)
	case credit:
		return
	case postage[e.sku] && e.qty > 0:
		l.order(e).Shipping.AmountMinor += e.qty * e.price
	case e.sku == discountCode:
		l.order(e).Discount.AmountMinor += max(e.qty, -e.qty) * e.price
	case productCode.MatchString(e.sku) && e.qty > 0:
		l.sale(e)
	}
}

// order is the order of an invoice, made with its first row.
func (l *ledger) order(e entry) *Order {
	o := l.invoices[e.invoice]
	if o == nil {
		zero := l.contents.money(0)
		o = &Order{
			No: e.invoice, CustomerNo: e.customer, PlacedAt: e.at, SourcePlacedAt: e.at, ShipCountry: e.country,
			Total: zero, Subtotal: zero, Shipping: zero, Discount: zero, Refunded: zero,
		}
		l.invoices[e.invoice] = o
		l.orders = append(l.orders, o)
	}
	return o
}

// sale adds a row to its order.
func (l *ledger) sale(e entry) {
	o := l.order(e)
	key := lineKey{e.invoice, e.sku, e.price}
	if i, known := l.lines[key]; known {
		o.more(i, e.qty)
	} else {
		l.lines[key] = len(o.Lines)
		o.add(Line{SKU: e.sku, Qty: e.qty, UnitPrice: l.contents.money(e.price)})
		l.bought[[2]string{e.customer, e.sku}] = append(l.bought[[2]string{e.customer, e.sku}], o)
	}
	l.learn(e)
}

// addOrders keeps the orders that hold a product, and their customers, who live where they first ordered from.
func (l *ledger) addOrders() {
	known := map[string]bool{}
	l.orders = slices.DeleteFunc(l.orders, func(o *Order) bool { return len(o.Lines) == 0 })
	for _, o := range l.orders {
		o.Discount.AmountMinor = min(o.Discount.AmountMinor, o.Subtotal.AmountMinor)
		o.more(0, 0)
		if !known[o.CustomerNo] {
			known[o.CustomerNo] = true
			l.contents.Customers = append(l.contents.Customers, Customer{No: o.CustomerNo, Country: o.ShipCountry})
		}
	}
}

// addRefunds matches credit notes, the oldest first, each row to the latest earlier order of the same customer with
// enough pieces of the SKU left. Rows without such an order are dropped. A note that means several orders becomes as
// many refunds: C1, C1-1, C1-2.
func (l *ledger) addRefunds() {
	slices.SortStableFunc(l.credits, func(a, b entry) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.invoice, b.invoice))
	})
	byOrder, parts := map[[2]string]*Refund{}, map[string]int{}
	var refunds []*Refund
	for _, e := range l.credits {
		for _, o := range slices.Backward(l.bought[[2]string{e.customer, e.sku}]) {
			r := byOrder[[2]string{e.invoice, o.No}]
			if r == nil {
				r = &Refund{OrderNo: o.No, At: e.at, Amount: l.contents.money(0), Cause: "unknown", Actor: "staff"}
			}
			if o.PlacedAt.After(e.at) || giveBack(o, r, e.sku, -e.qty, l.contents.money(e.price)) != "" {
				continue
			}
			if r.No == "" {
				r.No = partNo(e.invoice, parts[e.invoice])
				parts[e.invoice]++
				byOrder[[2]string{e.invoice, o.No}] = r
				refunds = append(refunds, r)
			}
			break
		}
	}
	for _, r := range refunds {
		l.contents.Refunds = append(l.contents.Refunds, *r)
	}
	for _, o := range l.orders {
		l.contents.Orders = append(l.contents.Orders, *o)
	}
}

func partNo(note string, part int) string {
	if part == 0 {
		return note
	}
	return fmt.Sprintf("%s-%d", note, part)
}
