package shop

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// A book adds up sales; the package comment defines them. It holds the three cuts that the sales tables hold.
type book struct {
	daily   map[dailyKey]*dailySum
	totals  map[totalKey]*totalSum
	monthly map[monthlyKey]*goods
}

type (
	dailyKey   struct{ day, sku, country string }
	totalKey   struct{ day, country string }
	monthlyKey struct{ month, sku string }
)

// goods is what every cut has.
type goods struct{ units, gross, unitsRefunded, refunds int64 }

type dailySum struct {
	goods
	productOrders, categoryOrders int64 // orders in which the SKU is the first of its product, of its category
}

type totalSum struct {
	goods
	orders, discount, shipping, shippingRefunds int64
}

func newBook() *book {
	return &book{map[dailyKey]*dailySum{}, map[totalKey]*totalSum{}, map[monthlyKey]*goods{}}
}

// at gives the sum under a key, a new one if there is none.
func at[K comparable, V any](m map[K]*V, key K) *V {
	v := m[key]
	if v == nil {
		v = new(V)
		m[key] = v
	}
	return v
}

func (g *goods) add(o goods) {
	g.units += o.units
	g.gross += o.gross
	g.unitsRefunded += o.unitsRefunded
	g.refunds += o.refunds
}

// book puts goods under a SKU into all three cuts. The SKU is empty for money that belongs to none.
func (b *book) book(day, country, sku string, g goods) *dailySum {
	sum := at(b.daily, dailyKey{day, sku, country})
	sum.add(g)
	at(b.totals, totalKey{day, country}).add(g)
	at(b.monthly, monthlyKey{day[:len("2006-01")], sku}).add(g)
	return sum
}

// order books what was sold. product and category say where a SKU belongs.
func (b *book) order(o *Order, product, category map[string]string) {
	day := Day(o.PlacedAt)
	total := at(b.totals, totalKey{day, o.ShipCountry})
	total.orders++
	total.discount += o.Discount.AmountMinor
	total.shipping += o.Shipping.AmountMinor
	seen := map[string]bool{}
	for _, l := range o.Lines {
		sum := b.book(day, o.ShipCountry, l.SKU, goods{units: l.Qty, gross: l.Qty * l.UnitPrice.AmountMinor})
		p, c := "p:"+product[l.SKU], "c:"+category[l.SKU]
		if !seen[p] {
			seen[p] = true
			sum.productOrders++
		}
		if !seen[c] {
			seen[c] = true
			sum.categoryOrders++
		}
	}
}

// refund books what was given back for an order of which before had been given back already. Money goes first to the
// lines that the refund names, then to the goods as a whole, and only beyond them to the postage.
func (b *book) refund(r *Refund, o *Order, before int64) {
	day, amount := Day(r.At), r.Amount.AmountMinor
	worth := o.Subtotal.AmountMinor - o.Discount.AmountMinor
	left := min(before+amount, worth) - min(before, worth)
	at(b.totals, totalKey{day, o.ShipCountry}).shippingRefunds += amount - left
	for _, l := range r.Lines {
		part := min(l.Amount.AmountMinor, left)
		left -= part
		b.book(day, o.ShipCountry, l.SKU, goods{unitsRefunded: l.Qty, refunds: part})
	}
	if left > 0 {
		b.book(day, o.ShipCountry, "", goods{refunds: left})
	}
}

// addAll books all contents.
func (b *book) addAll(c *Contents) {
	byCode, product, category := map[string]string{}, map[string]string{}, map[string]string{}
	for _, p := range c.Products {
		byCode[p.Code] = p.Category
	}
	for _, v := range c.Variants {
		product[v.SKU], category[v.SKU] = v.ProductCode, byCode[v.ProductCode]
	}
	orders := map[string]*Order{}
	for i := range c.Orders {
		o := &c.Orders[i]
		orders[o.No] = o
		b.order(o, product, category)
	}
	before := map[string]int64{}
	for i := range c.Refunds {
		r := &c.Refunds[i]
		b.refund(r, orders[r.OrderNo], before[r.OrderNo])
		before[r.OrderNo] += r.Amount.AmountMinor
	}
}

func (b *book) rows() int { return len(b.daily) + len(b.totals) + len(b.monthly) }

// The columns of the three tables after merchant_id: the key, then the sums.
var (
	dailyCols = []string{
		"day", "sku", "country", "units", "gross_minor", "product_orders", "category_orders", "units_refunded", "refunds_minor",
	}
	totalCols = []string{
		"day", "country", "orders", "units", "gross_minor", "discount_minor", "shipping_minor",
		"units_refunded", "refunds_minor", "shipping_refunds_minor",
	}
	monthlyCols = []string{"month", "sku", "units", "gross_minor", "units_refunded", "refunds_minor"}
)

// each hands out the rows of all three tables, each table by its key, so that all writers touch rows in one order.
func (b *book) each(daily, totals, monthly func(values ...any)) {
	for _, k := range slices.SortedFunc(maps.Keys(b.daily), func(x, y dailyKey) int {
		return cmp.Or(cmp.Compare(x.day, y.day), cmp.Compare(x.sku, y.sku), cmp.Compare(x.country, y.country))
	}) {
		s := b.daily[k]
		daily(k.day, k.sku, k.country, s.units, s.gross, s.productOrders, s.categoryOrders, s.unitsRefunded, s.refunds)
	}
	for _, k := range slices.SortedFunc(maps.Keys(b.totals), func(x, y totalKey) int {
		return cmp.Or(cmp.Compare(x.day, y.day), cmp.Compare(x.country, y.country))
	}) {
		s := b.totals[k]
		totals(k.day, k.country, s.orders, s.units, s.gross, s.discount, s.shipping, s.unitsRefunded, s.refunds, s.shippingRefunds)
	}
	for _, k := range slices.SortedFunc(maps.Keys(b.monthly), func(x, y monthlyKey) int {
		return cmp.Or(cmp.Compare(x.month, y.month), cmp.Compare(x.sku, y.sku))
	}) {
		s := b.monthly[k]
		monthly(k.month, k.sku, s.units, s.gross, s.unitsRefunded, s.refunds)
	}
}

// sales writes a whole book into empty tables.
func (w *writer) sales(b *book) {
	daily := w.sheet("sales_daily", dailyCols...)
	totals := w.sheet("sales_totals", totalCols...)
	monthly := w.sheet("sales_monthly", monthlyCols...)
	b.each(daily.add, totals.add, monthly.add)
	daily.flush()
	totals.flush()
	monthly.flush()
}

// AddRefund books a refund into the sales tables, in the transaction that makes it. o is the order as it was before the
// refund. A refund's lines take what they are worth at most; what is left of it belongs to no SKU.
func AddRefund(tx *store.Tx, merchant string, o Order, r Refund) error {
	b := newBook()
	b.refund(&r, &o, o.Refunded.AmountMinor)
	failed := unsell(tx, merchant, r)
	into := func(table string, keys int, cols []string) func(values ...any) {
		statement := upsert(table, keys, cols)
		return func(values ...any) {
			if failed == nil {
				_, failed = tx.Exec(statement, append([]any{merchant}, values...)...)
			}
		}
	}
	b.each(into("sales_daily", 3, dailyCols), into("sales_totals", 2, totalCols), into("sales_monthly", 2, monthlyCols))
	if failed == nil {
		_, failed = tx.Exec("UPDATE shops SET data_until = $1 WHERE merchant_id = $2 AND data_until < $1",
			store.Micros(r.At), merchant)
	}
	if failed != nil {
		return fmt.Errorf("adding refund %s to the sales: %w", r.No, failed)
	}
	return nil
}

// upsert is the statement that adds a row's sums to those already under its key. cols begins with so many keys.
func upsert(table string, keys int, cols []string) string {
	marks, sums := []string{"$1"}, []string{}
	for i, c := range cols {
		marks = append(marks, fmt.Sprintf("$%d", i+2))
		if i >= keys {
			sums = append(sums, fmt.Sprintf("%s = %s.%s + excluded.%s", c, table, c, c))
		}
	}
	return fmt.Sprintf("INSERT INTO %s (merchant_id, %s) VALUES (%s) ON CONFLICT (merchant_id, %s) DO UPDATE SET %s",
		table, strings.Join(cols, ", "), strings.Join(marks, ", "), strings.Join(cols[:keys], ", "), strings.Join(sums, ", "))
}
