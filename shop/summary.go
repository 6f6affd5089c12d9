package shop

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Grouping is what sales are added up by.
type Grouping string

// The groupings. A week begins on Monday.
const (
	ByTotal    Grouping = "total"
	ByDay      Grouping = "day"
	ByWeek     Grouping = "week"
	ByMonth    Grouping = "month"
	ByProduct  Grouping = "product"
	ByCategory Grouping = "category"
	ByCountry  Grouping = "country"
)

// A SalesQuestion asks for the sales of some days.
type SalesQuestion struct {
	From, To string // days, both included
	By       Grouping
	Compare  bool // with as many days right before From
}

// Sales are the sums of one group, as the package comment defines them. Discounts belong to whole orders: the net of a
// product or category has none taken off.
type Sales struct {
	Key              string   `json:"key"`
	Label            string   `json:"label"`
	Orders           int64    `json:"orders"`
	Units            int64    `json:"units"`
	Gross            Money    `json:"gross"`
	Refunds          Money    `json:"refunds"`
	Net              Money    `json:"net"`
	NetChangePercent *float64 `json:"net_change_percent,omitempty"` // nil: nothing to compare with
}

// Sales answers q: its groups, days in their order and everything else from the largest net down, and their total.
func (d *Desk) Sales(q SalesQuestion) (groups []Sales, total Sales, err error) {
	now, before, err := q.periods()
	if err != nil {
		return nil, Sales{}, err
	}
	rows, err := d.sums(q.By, now)
	if err != nil {
		return nil, Sales{}, err
	}
	all, err := d.sums(ByTotal, now)
	if err != nil {
		return nil, Sales{}, err
	}
	groups = d.group(rows, q.bucket)
	total = d.totalOf(all, now)
	if q.Compare {
		if err := d.compare(q, before, groups, &total); err != nil {
			return nil, Sales{}, err
		}
	}
	slices.SortFunc(groups, func(a, b Sales) int {
		if q.By.inTime() {
			return cmp.Compare(a.Key, b.Key)
		}
		return cmp.Or(cmp.Compare(b.Net.AmountMinor, a.Net.AmountMinor), cmp.Compare(a.Key, b.Key))
	})
	return groups, total, nil
}

// compare sets each group against the same group of the period before; days, weeks and months against the days that lie
// as many days earlier.
func (d *Desk) compare(q SalesQuestion, before period, groups []Sales, total *Sales) error {
	rows, err := d.sums(q.By, before)
	if err != nil {
		return err
	}
	then := map[string]int64{}
	for _, s := range d.group(rows, func(key string) string { return q.bucket(q.moved(key, before)) }) {
		then[s.Key] = s.Net.AmountMinor
	}
	for i := range groups {
		groups[i].NetChangePercent = change(then[groups[i].Key], groups[i].Net.AmountMinor)
	}
	all, err := d.sums(ByTotal, before)
	total.NetChangePercent = change(d.totalOf(all, before).Net.AmountMinor, total.Net.AmountMinor)
	return err
}

// change is how much has been added to before, in percent to one place.
func change(before, now int64) *float64 {
	if before == 0 {
		return nil
	}
	percent := math.Round(float64(now-before)/math.Abs(float64(before))*1000) / 10
	return &percent
}

// A period is a run of days, both included.
type period struct {
	from, to string
	days     int
}

// periods gives the period of the question and the one right before it, of the same length.
func (q SalesQuestion) periods() (now, before period, err error) {
	from, err := time.Parse(time.DateOnly, q.From)
	if err != nil {
		return now, before, fmt.Errorf("%q is not a day", q.From)
	}
	to, err := time.Parse(time.DateOnly, q.To)
	if err != nil {
		return now, before, fmt.Errorf("%q is not a day", q.To)
	}
	days := int(to.Sub(from).Hours())/24 + 1
	at := func(t time.Time) string { return t.Format(time.DateOnly) }
	return period{q.From, q.To, days}, period{at(from.AddDate(0, 0, -days)), at(from.AddDate(0, 0, -1)), days}, nil
}

// inTime reports whether the groups are runs of days.
func (g Grouping) inTime() bool { return g == ByDay || g == ByWeek || g == ByMonth }

// moved is the day of this period that a day of the period before stands against. What is no day is itself.
func (q SalesQuestion) moved(key string, before period) string {
	t, err := time.Parse(time.DateOnly, key)
	if err != nil || !q.By.inTime() {
		return key
	}
	return t.AddDate(0, 0, before.days).Format(time.DateOnly)
}

// bucket is the group that a key belongs to: days belong to weeks and months, everything else to itself.
func (q SalesQuestion) bucket(key string) string {
	switch q.By {
	case ByTotal:
		return "total"
	case ByMonth:
		return key[:len("2006-01")]
	case ByWeek:
		t, err := time.Parse(time.DateOnly, key)
		if err != nil {
			return key
		}
		return t.AddDate(0, 0, -(int(t.Weekday())+6)%7).Format(time.DateOnly) // its Monday
	}
	return key
}

// group adds up rows by bucket.
func (d *Desk) group(rows []Sales, bucket func(string) string) []Sales {
	at := map[string]int{}
	groups := []Sales{}
	for _, r := range rows {
		key := bucket(r.Key)
		i, known := at[key]
		if !known {
			i = len(groups)
			at[key] = i
			groups = append(groups, Sales{Key: key, Label: r.Label, Gross: d.money(0), Refunds: d.money(0), Net: d.money(0)})
		}
		groups[i].add(r)
	}
	for i := range groups {
		if groups[i].Label == "" {
			groups[i].Label = groups[i].Key
		}
	}
	return groups
}

func (s *Sales) add(r Sales) {
	s.Orders += r.Orders
	s.Units += r.Units
	s.Gross.AmountMinor += r.Gross.AmountMinor
	s.Refunds.AmountMinor += r.Refunds.AmountMinor
	s.Net.AmountMinor += r.Net.AmountMinor
}

// totalOf adds up rows of whole orders, in which each order counts once.
func (d *Desk) totalOf(rows []Sales, p period) Sales {
	total := Sales{Key: "total", Gross: d.money(0), Refunds: d.money(0), Net: d.money(0)}
	for _, r := range rows {
		total.add(r)
	}
	total.Label = p.from + " to " + p.to
	return total
}

// The sums of a period. Whole orders are read from sales_totals, which is small; products and categories from
// sales_daily, added up by SKU before anything is looked up.
const (
	totalSums = `CAST(SUM(orders) AS BIGINT), CAST(SUM(units) AS BIGINT), CAST(SUM(gross_minor) AS BIGINT), CAST(SUM(refunds_minor) AS BIGINT),
		CAST(SUM(gross_minor - discount_minor - refunds_minor) AS BIGINT)
		FROM sales_totals WHERE merchant_id = $1 AND day BETWEEN $2 AND $3`
	skuSums = `CAST(SUM(s.units) AS BIGINT), CAST(SUM(s.gross) AS BIGINT), CAST(SUM(s.refunds) AS BIGINT), CAST(SUM(s.gross - s.refunds) AS BIGINT)
		FROM (SELECT sku, SUM(product_orders) AS product_orders, SUM(category_orders) AS category_orders, SUM(units) AS units,
			SUM(gross_minor) AS gross, SUM(refunds_minor) AS refunds
			FROM sales_daily WHERE merchant_id = $1 AND day BETWEEN $2 AND $3 GROUP BY sku) s
		LEFT JOIN variants v ON v.merchant_id = $1 AND v.sku = s.sku
		LEFT JOIN products p ON p.merchant_id = $1 AND p.product_code = v.product_code`
)

var salesQueries = map[Grouping]string{
	ByTotal:   "SELECT day, '', " + totalSums + " GROUP BY day",
	ByCountry: "SELECT country, '', " + totalSums + " GROUP BY country",
	ByProduct: "SELECT COALESCE(p.product_code, ''), COALESCE(MAX(p.title), 'refunds of no product'), CAST(SUM(s.product_orders) AS BIGINT), " +
		skuSums + " GROUP BY p.product_code",
	ByCategory: "SELECT COALESCE(p.category, ''), COALESCE(p.category, 'refunds of no product'), CAST(SUM(s.category_orders) AS BIGINT), " +
		skuSums + " GROUP BY p.category",
}

// sums gives the rows of a period by the finest key that a grouping needs: a day, a country, a product, a category.
func (d *Desk) sums(by Grouping, p period) ([]Sales, error) {
	text, ok := salesQueries[by]
	if !ok {
		text = salesQueries[ByTotal] // days, which the caller puts together
	}
	rows, err := store.All(d.tx, func(r store.Row) (Sales, error) {
		s := Sales{Gross: d.money(0), Refunds: d.money(0), Net: d.money(0)}
		return s, r.Scan(&s.Key, &s.Label, &s.Orders, &s.Units, &s.Gross.AmountMinor, &s.Refunds.AmountMinor, &s.Net.AmountMinor)
	}, text, d.merchant, p.from, p.to)
	if err != nil {
		return nil, fmt.Errorf("adding up sales: %w", err)
	}
	return rows, nil
}
