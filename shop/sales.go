package shop

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A book adds up sales; the package comment defines them. It holds the cuts that the tables of sums hold, and what must be
// known of orders to make them.
type book struct {
	product, category map[string]string  // by SKU
	joined            map[string]string  // the month of a customer's first order, by order
	touches           map[string][]Touch // by order

	products   map[productKey]*soldSum
	categories map[categoryKey]*soldSum
	totals     map[totalKey]*totalSum
	monthly    map[monthlyKey]*goods
	cohorts    map[cohortKey]*cohortSum
	credits    map[creditKey]*creditSum
}

type (
	productKey  struct{ product, day string }
	categoryKey struct{ day, category string }
	totalKey    struct{ day, country string }
	monthlyKey  struct{ month, sku string }
	cohortKey   struct{ cohort, month string }
	creditKey   struct {
		model Model
		day   string
		Touch
	}
)

func (k productKey) compare(o productKey) int {
	return cmp.Or(cmp.Compare(k.product, o.product), cmp.Compare(k.day, o.day))
}

// goods is what every cut by goods has.
type goods struct{ units, gross, unitsRefunded, refunds int64 }

type soldSum struct {
	goods
	orders int64 // with something of the product, or of the category
}

type totalSum struct {
	goods
	orders, discount, shipping, shippingRefunds int64
}

func newBook() *book {
	return &book{
		map[string]string{},
		map[string]string{},
		map[string]string{},
		map[string][]Touch{},
		map[productKey]*soldSum{},
		map[categoryKey]*soldSum{},
		map[totalKey]*totalSum{},
		map[monthlyKey]*goods{},
		map[cohortKey]*cohortSum{},
		map[creditKey]*creditSum{},
	}
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

// book puts goods under a SKU into all cuts by goods, and gives the sums of its product and its category. The SKU is empty
// for money that belongs to none.
func (b *book) book(day, country, sku string, g goods) (product, category *soldSum) {
	product, category = at(b.products, productKey{b.product[sku], day}), at(b.categories, categoryKey{day, b.category[sku]})
	product.add(g)
	category.add(g)
	at(b.totals, totalKey{day, country}).add(g)
	at(b.monthly, monthlyKey{monthOf(day), sku}).add(g)
	return product, category
}

// order books what was sold.
func (b *book) order(o *Order) {
	day := Day(o.PlacedAt)
	total := at(b.totals, totalKey{day, o.ShipCountry})
	total.orders++
	total.discount += o.Discount.AmountMinor
	total.shipping += o.Shipping.AmountMinor
	seen := map[*soldSum]bool{}
	for _, l := range o.Lines {
		product, category := b.book(day, o.ShipCountry, l.SKU, goods{units: l.Qty, gross: l.Qty * l.UnitPrice.AmountMinor})
		for _, sum := range []*soldSum{product, category} {
			if !seen[sum] {
				seen[sum] = true
				sum.orders++
			}
		}
	}
	b.joinedIn(o.No, monthOf(day)).add(cohortSum{orders: 1, net: o.worth()})
	b.credit(o.No, day, sold, span{0, o.worth()})
}

// worth is what was paid for an order's goods, and so the most that can be given back for them.
func (o *Order) worth() int64 { return o.Subtotal.AmountMinor - o.Discount.AmountMinor }

// A span is a part of what was paid for an order's goods, from so many minor units to so many.
type span struct{ from, to int64 }

func (s span) size() int64 { return s.to - s.from }

// refund books what was given back for an order of which before had been given back already. Money goes first to the
// lines that the refund names, then to the goods as a whole, and only beyond them to the postage.
func (b *book) refund(r *Refund, o *Order, before int64) {
	day, amount := Day(r.At), r.Amount.AmountMinor
	given := span{min(before, o.worth()), min(before+amount, o.worth())}
	left := given.size()
	at(b.totals, totalKey{day, o.ShipCountry}).shippingRefunds += amount - left
	for _, l := range r.Lines {
		part := min(l.Amount.AmountMinor, left)
		left -= part
		b.book(day, o.ShipCountry, l.SKU, goods{unitsRefunded: l.Qty, refunds: part})
	}
	if left > 0 {
		b.book(day, o.ShipCountry, "", goods{refunds: left})
	}
	b.joinedIn(o.No, monthOf(day)).add(cohortSum{net: -given.size()})
	b.credit(o.No, day, givenBack, given)
}

// addAll books all contents.
func (b *book) addAll(c *Contents) {
	byCode := map[string]string{}
	for _, p := range c.Products {
		byCode[p.Code] = p.Category
	}
	for _, v := range c.Variants {
		b.product[v.SKU], b.category[v.SKU] = v.ProductCode, byCode[v.ProductCode]
	}
	b.join(c.Orders)
	b.touches = c.Touches
	orders := map[string]*Order{}
	for i := range c.Orders {
		o := &c.Orders[i]
		orders[o.No] = o
		b.order(o)
	}
	before := map[string]int64{}
	for i := range c.Refunds {
		r := &c.Refunds[i]
		b.refund(r, orders[r.OrderNo], before[r.OrderNo])
		before[r.OrderNo] += r.Amount.AmountMinor
	}
}

func (b *book) rows() int {
	return len(b.products) + len(b.categories) + len(b.totals) + len(b.monthly) + len(b.cohorts) + len(b.credits)
}

// The columns of the tables of sums after merchant_id: the key, then the sums.
var (
	productCols  = []string{"product_code", "day", "orders", "units", "gross_minor", "refunds_minor"}
	categoryCols = []string{"day", "category", "orders", "units", "gross_minor", "refunds_minor"}
	totalCols    = []string{
		"day", "country", "orders", "units", "gross_minor", "discount_minor", "shipping_minor",
		"units_refunded", "refunds_minor", "shipping_refunds_minor",
	}
	monthlyCols = []string{"month", "sku", "units", "gross_minor", "units_refunded", "refunds_minor"}
	cohortCols  = []string{"cohort", "month", "customers", "orders", "net_minor"}
	creditCols  = []string{"model", "day", "channel", "campaign_id", "orders_thousandths", "net_minor"}
)

// byProduct, byDay, … hand out the rows of a table by its key, so that all writers touch rows in one order.

func (b *book) byProduct(row func(productKey, soldSum)) {
	inOrder(b.products, productKey.compare, row)
}

func (b *book) byCategory(row func(values ...any)) {
	inOrder(b.categories, func(x, y categoryKey) int {
		return cmp.Or(cmp.Compare(x.day, y.day), cmp.Compare(x.category, y.category))
	},
		func(k categoryKey, s soldSum) { row(k.day, k.category, s.orders, s.units, s.gross, s.refunds) })
}

func (b *book) byDay(row func(values ...any)) {
	inOrder(b.totals, func(x, y totalKey) int { return cmp.Or(cmp.Compare(x.day, y.day), cmp.Compare(x.country, y.country)) },
		func(k totalKey, s totalSum) {
			row(k.day, k.country, s.orders, s.units, s.gross, s.discount, s.shipping, s.unitsRefunded, s.refunds, s.shippingRefunds)
		})
}

func (b *book) byMonth(row func(values ...any)) {
	inOrder(b.monthly, func(x, y monthlyKey) int { return cmp.Or(cmp.Compare(x.month, y.month), cmp.Compare(x.sku, y.sku)) },
		func(k monthlyKey, s goods) { row(k.month, k.sku, s.units, s.gross, s.unitsRefunded, s.refunds) })
}

func (b *book) byCohort(row func(values ...any)) {
	inOrder(b.cohorts, func(x, y cohortKey) int {
		return cmp.Or(cmp.Compare(x.cohort, y.cohort), cmp.Compare(x.month, y.month))
	},
		func(k cohortKey, s cohortSum) { row(k.cohort, k.month, s.customers, s.orders, s.net) })
}

func (b *book) byCredit(row func(values ...any)) {
	inOrder(b.credits, func(x, y creditKey) int {
		return cmp.Or(cmp.Compare(x.model, y.model), cmp.Compare(x.day, y.day), cmp.Compare(x.Channel, y.Channel), cmp.Compare(x.CampaignID, y.CampaignID))
	}, func(k creditKey, s creditSum) { row(string(k.model), k.day, k.Channel, k.CampaignID, s.orders, s.net) })
}

func inOrder[K comparable, V any](m map[K]*V, compare func(x, y K) int, row func(K, V)) {
	for _, k := range slices.SortedFunc(maps.Keys(m), compare) {
		row(k, *m[k])
	}
}

// sales writes a whole book into empty tables.
func (w *writer) sales(b *book) {
	w.productSales(b)
	for _, t := range []struct {
		name string
		cols []string
		rows func(row func(values ...any))
	}{
		{"category_sales", categoryCols, b.byCategory},
		{"sales_totals", totalCols, b.byDay},
		{"sales_monthly", monthlyCols, b.byMonth},
		{"cohort_months", cohortCols, b.byCohort},
		{"attribution_days", creditCols, b.byCredit},
	} {
		s := w.sheet(t.name, t.cols...)
		t.rows(s.add)
		s.flush()
	}
}

// productSales writes what each product has sold up to each of its days.
func (w *writer) productSales(b *book) {
	t := w.sheet("product_sales", productCols...)
	var product string
	var sum soldSum
	b.byProduct(func(k productKey, s soldSum) {
		if k.product != product {
			product, sum = k.product, soldSum{}
		}
		sum.add(s.goods)
		sum.orders += s.orders
		t.add(k.product, k.day, sum.orders, sum.units, sum.gross, sum.refunds)
	})
	t.flush()
}

// AddRefund books a refund into the tables of sums, in the transaction that makes it. o is the order as it was before the
// refund. A refund's lines take what they are worth at most; what is left of it belongs to no SKU.
func AddRefund(tx *store.Tx, merchant string, o Order, r Refund) error {
	if err := unsell(tx, merchant, r); err != nil {
		return err
	}
	if err := holdSums(tx, merchant, r.At); err != nil {
		return err
	}
	b := newBook()
	if err := b.lookUp(tx, merchant, o.No, r.Lines); err != nil {
		return fmt.Errorf("looking up order %s: %w", o.No, err)
	}
	b.refund(&r, &o, o.Refunded.AmountMinor)
	if err := b.moveSums(tx, merchant); err != nil {
		return fmt.Errorf("adding refund %s to the sales: %w", r.No, err)
	}
	return nil
}

// holdSums lets one transaction at a time, to its end, change sums up to a day: a new day's are made from those of the day
// before it, which must stand still. The lock is the shop's row, which also notes how far the data reaches, if until is set.
func holdSums(tx *store.Tx, merchant string, until time.Time) error {
	_, err := tx.Exec("UPDATE shops SET data_until = CASE WHEN data_until < $1 THEN $1 ELSE data_until END WHERE merchant_id = $2",
		store.Micros(until), merchant)
	if err != nil {
		return fmt.Errorf("holding the sales: %w", err)
	}
	return nil
}

// lookUp reads what a refund of an order must know: the products and categories of its SKUs, the customer's cohort, and the touches.
func (b *book) lookUp(tx *store.Tx, merchant, order string, lines []RefundLine) error {
	for _, l := range lines {
		var product, category string
		err := tx.QueryRow(`SELECT v.product_code, COALESCE(p.category, '') FROM variants v
			LEFT JOIN products p ON p.merchant_id = v.merchant_id AND p.product_code = v.product_code
			WHERE v.merchant_id = $1 AND v.sku = $2`, merchant, l.SKU).Scan(&product, &category)
		if err != nil {
			return err
		}
		b.product[l.SKU], b.category[l.SKU] = product, category
	}
	var first time.Time
	err := tx.QueryRow(`SELECT MIN(placed_at) FROM orders WHERE merchant_id = $1
		AND customer_no = (SELECT customer_no FROM orders WHERE merchant_id = $1 AND order_no = $2)`, merchant, order).Scan(store.At(&first))
	if err != nil {
		return err
	}
	b.joined[order] = monthOf(Day(first))
	b.touches[order], err = store.All(tx, func(r store.Row) (t Touch, err error) { return t, r.Scan(&t.Channel, &t.CampaignID) },
		"SELECT channel, campaign_id FROM order_touches WHERE merchant_id = $1 AND order_no = $2 ORDER BY touch_no", merchant, order)
	return err
}

// moveSums adds the book of a refund to the tables of sums, table by table and row by row in one order for all.
func (b *book) moveSums(tx *store.Tx, merchant string) (err error) {
	b.byProduct(func(k productKey, s soldSum) {
		if err == nil {
			err = moveProduct(tx, merchant, k, s.refunds)
		}
	})
	into := func(table string, keys int, cols []string) func(values ...any) {
		statement := upsert(table, keys, cols)
		return func(values ...any) {
			if err == nil {
				_, err = tx.Exec(statement, append([]any{merchant}, values...)...)
			}
		}
	}
	b.byCategory(into("category_sales", 2, categoryCols))
	b.byDay(into("sales_totals", 2, totalCols))
	b.byMonth(into("sales_monthly", 2, monthlyCols))
	b.byCohort(into("cohort_months", 2, cohortCols))
	b.byCredit(into("attribution_days", 4, creditCols))
	return err
}

// moveProduct adds a refund to what a product has given back up to a day and up to every day after it.
func moveProduct(tx *store.Tx, merchant string, k productKey, refunds int64) error {
	sums, upTo := []string{}, productCols[2:]
	for _, c := range upTo {
		sums = append(sums, "CAST(COALESCE(SUM("+c+"), 0) AS BIGINT)")
	}
	_, err := tx.Exec(fmt.Sprintf(`INSERT INTO product_sales (merchant_id, %s) SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), %s
		FROM (SELECT * FROM product_sales WHERE merchant_id = $1 AND product_code = $2 AND day <= $3 ORDER BY day DESC LIMIT 1) AS latest
		WHERE 1 = 1 ON CONFLICT DO NOTHING`, strings.Join(productCols, ", "), strings.Join(sums, ", ")), merchant, k.product, k.day)
	if err != nil {
		return err
	}
	_, err = tx.Exec("UPDATE product_sales SET refunds_minor = refunds_minor + $1 WHERE merchant_id = $2 AND product_code = $3 AND day >= $4",
		refunds, merchant, k.product, k.day)
	return err
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
