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
	all, err := d.sums(ByTotal, now)
	if err != nil {
		return nil, Sales{}, err
	}
	total = d.totalOf(all, now)
	then := Sales{}
	if q.Compare {
		if all, err = d.sums(ByTotal, before); err != nil {
			return nil, Sales{}, err
		}
		then = d.totalOf(all, before)
		total.NetChangePercent = change(then.Net.AmountMinor, total.Net.AmountMinor)
	}
	if q.By == ByProduct {
		groups, err = d.productSales(q, now, before, total, then)
	} else {
		groups, err = d.addedUp(q, now, before)
	}
	slices.SortFunc(groups, func(a, b Sales) int {
		if q.By.inTime() {
			return cmp.Compare(a.Key, b.Key)
		}
		return cmp.Or(cmp.Compare(b.Net.AmountMinor, a.Net.AmountMinor), cmp.Compare(a.Key, b.Key))
	})
	return groups, total, err
}

// addedUp are the groups of groupings whose sums are kept by day.
func (d *Desk) addedUp(q SalesQuestion, now, before period) ([]Sales, error) {
	rows, err := d.sums(q.By, now)
	if err != nil {
		return nil, err
	}
	groups := d.group(rows, q.bucket)
	if q.Compare {
		err = d.compare(q, before, groups)
	}
	return groups, err
}

// compare sets each group against the same group of the period before; days, weeks and months against the days that lie
// as many days earlier.
func (d *Desk) compare(q SalesQuestion, before period, groups []Sales) error {
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
	return nil
}

// change is how much has been added to before, in percent to one place.
func change(before, now int64) *float64 {
	if before == 0 {
		return nil
	}
	percent := math.Round(float64(now-before)/math.Abs(float64(before))*1000) / 10
	return &percent
}

// A period is a run of days, both included, and the day before it.
type period struct {
	before, from, to string
	days             int
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
	now = period{at(from.AddDate(0, 0, -1)), q.From, q.To, days}
	return now, period{at(from.AddDate(0, 0, -days-1)), at(from.AddDate(0, 0, -days)), now.before, days}, nil
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

// sumsOfDays add up the tables that have a row a day and country, or a day and category. Discounts are of whole orders.
const (
	sumsOfDays  = "CAST(SUM(orders) AS BIGINT), CAST(SUM(units) AS BIGINT), CAST(SUM(gross_minor) AS BIGINT), CAST(SUM(refunds_minor) AS BIGINT), "
	netOfOrders = "CAST(SUM(gross_minor - discount_minor - refunds_minor) AS BIGINT) FROM sales_totals"
	netOfGoods  = "CAST(SUM(gross_minor - refunds_minor) AS BIGINT) FROM category_sales"
)

// sums gives the rows of a period by the finest key that a grouping needs: a day, a country or a category.
func (d *Desk) sums(by Grouping, p period) ([]Sales, error) {
	key, net := "day", netOfOrders // weeks and months too: the caller puts days together
	switch by {
	case ByCountry:
		key = "country"
	case ByCategory:
		key, net = "category", netOfGoods
	}
	rows, err := store.All(d.tx, func(r store.Row) (Sales, error) {
		s := Sales{Gross: d.money(0), Refunds: d.money(0), Net: d.money(0)}
		err := r.Scan(&s.Key, &s.Orders, &s.Units, &s.Gross.AmountMinor, &s.Refunds.AmountMinor, &s.Net.AmountMinor)
		if by == ByCategory && s.Key == "" {
			s.Label = noProduct
		}
		return s, err
	}, "SELECT "+key+", "+sumsOfDays+net+" WHERE merchant_id = $1 AND day BETWEEN $2 AND $3 GROUP BY "+key, d.merchant, p.from, p.to)
	if err != nil {
		return nil, fmt.Errorf("adding up sales: %w", err)
	}
	return rows, nil
}
