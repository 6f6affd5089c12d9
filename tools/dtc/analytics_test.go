package dtc

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A fact is a line sold or given back, or what a whole order has besides, as read from the real merchant's files.
type fact struct {
	day, order, customer, country, product, category string

	units, gross, discount, refund int64
}

// facts are read without any of the code that they test: days are the first ten letters of a time in the files.
type facts struct {
	all    []fact
	cohort map[string]string // month of a customer's first order
}

func readFacts(t *testing.T, dir string) facts {
	f := facts{cohort: map[string]string{}}
	product, category := map[string]string{}, map[string]string{}
	for _, r := range table(t, dir, "products") {
		category[r["product_code"]] = r["category"]
	}
	for _, r := range table(t, dir, "variants") {
		product[r["sku"]] = r["product_code"]
	}
	orders, worth := map[string]fact{}, map[string]int64{}
	for _, r := range table(t, dir, "orders") {
		o := fact{day: r["placed_at"][:10], order: r["order_no"], customer: r["customer_no"], country: r["ship_country"], discount: number(t, r["discount_minor"])}
		f.all = append(f.all, o)
		worth[o.order] = -o.discount
		o.discount = 0
		orders[o.order] = o
		if first := f.cohort[o.customer]; first == "" || o.day[:7] < first {
			f.cohort[o.customer] = o.day[:7]
		}
	}
	for _, r := range table(t, dir, "order_lines") {
		l := orders[r["order_no"]]
		l.product = product[r["sku"]]
		l.category, l.units = category[l.product], number(t, r["qty"])
		l.gross = l.units * number(t, r["unit_price_minor"])
		worth[l.order] += l.gross
		f.all = append(f.all, l)
	}
	f.addRefunds(t, dir, orders, worth, func(sku string) (string, string) { return product[sku], category[product[sku]] })
	return f
}

// addRefunds takes refunds by time. What goes beyond the worth of an order's goods is postage.
func (f *facts) addRefunds(t *testing.T, dir string, orders map[string]fact, worth map[string]int64, of func(sku string) (product, category string)) {
	lines := map[string][]map[string]string{}
	for _, r := range table(t, dir, "refund_lines") {
		lines[r["refund_no"]] = append(lines[r["refund_no"]], r)
	}
	refunds := table(t, dir, "refunds")
	slices.SortFunc(refunds, func(a, b map[string]string) int {
		return cmp.Or(cmp.Compare(a["refunded_at"], b["refunded_at"]), cmp.Compare(a["refund_no"], b["refund_no"]))
	})
	for _, r := range refunds {
		for _, l := range lines[r["refund_no"]] {
			back := orders[r["order_no"]]
			back.day, back.order = r["refunded_at"][:10], ""
			back.product, back.category = of(l["sku"])
			back.refund = min(number(t, l["qty"])*number(t, l["unit_price_minor"]), worth[r["order_no"]])
			worth[r["order_no"]] -= back.refund
			f.all = append(f.all, back)
		}
	}
}

// sales adds up facts by group, as dtc_get_sales_summary should. parts says that a group holds parts of orders.
func (f facts) sales(from, to string, group func(fact) string, parts bool) map[string]shop.Sales {
	rows, counted := map[string]shop.Sales{}, map[[2]string]bool{}
	for _, x := range f.all {
		if x.day < from || x.day > to || parts && x.product == "" {
			continue
		}
		key := group(x)
		s := rows[key]
		s.Units += x.units
		s.Gross.AmountMinor += x.gross
		s.Refunds.AmountMinor += x.refund
		s.Net.AmountMinor += x.gross - x.refund - x.discount
		if x.order != "" && !counted[[2]string{key, x.order}] {
			counted[[2]string{key, x.order}] = true
			s.Orders++
		}
		s.Key, s.Gross.Currency, s.Refunds.Currency, s.Net.Currency = key, "GBP", "GBP", "GBP"
		rows[key] = s
	}
	return rows
}

var factGroups = map[shop.Grouping]func(fact) string{
	shop.ByTotal:    func(fact) string { return "total" },
	shop.ByDay:      func(x fact) string { return x.day },
	shop.ByMonth:    func(x fact) string { return x.day[:7] },
	shop.ByCountry:  func(x fact) string { return x.country },
	shop.ByProduct:  func(x fact) string { return x.product },
	shop.ByCategory: func(x fact) string { return x.category },
	shop.ByWeek: func(x fact) string {
		day, err := time.Parse(time.DateOnly, x.day)
		if err != nil {
			panic(err)
		}
		for day.Weekday() != time.Monday {
			day = day.AddDate(0, 0, -1)
		}
		return day.Format(time.DateOnly)
	},
}

// TestAnalyticsAgreeWithTheFiles compares what the analytic tools tell of the real merchant over random periods, to the
// penny, with sums made here from the files, and logs how long each question takes.
func TestAnalyticsAgreeWithTheFiles(t *testing.T) {
	mini, whole := filepath.Join(realData, "mini"), realData
	if raceEnabled {
		whole = mini
	}
	for _, c := range []struct{ engine, dir string }{{"sqlite", whole}, {"postgres", mini}} {
		t.Run(c.engine, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(c.dir, "orders.csv.gz")); err != nil {
				t.Skipf("the real merchant's data is not in %s: nothing to compare with", c.dir)
			}
			db := storetest.Open(t, storetest.DSN(t, c.engine))
			if _, err := shop.Import(t.Context(), db, merchant, c.dir, shop.Options{KeepDates: true, Today: sunday}); err != nil {
				t.Fatal(err)
			}
			h, f := newHouse(t, db), readFacts(t, c.dir)
			chance := rand.New(rand.NewPCG(7, uint64(len(f.all))))
			checkPeriod(h, f, "2010-12-01", "2011-12-09")
			for range 8 {
				first := time.Date(2010, 12, 1+chance.IntN(370), 0, 0, 0, 0, time.UTC)
				checkPeriod(h, f, first.Format(time.DateOnly), first.AddDate(0, 0, chance.IntN(chance.IntN(380)+1)).Format(time.DateOnly))
			}
			checkCohorts(h, f, "2010-12", "2011-12")
			checkCohorts(h, f, "2011-03", "2011-09")
			timeQuestions(h)
		})
	}
}

// checkPeriod asks for all groupings and all attribution of a period.
func checkPeriod(h *house, f facts, from, to string) {
	h.Helper()
	at := func(day string, days int) string {
		d, err := time.Parse(time.DateOnly, day)
		if err != nil {
			h.Fatal(err)
		}
		return d.AddDate(0, 0, days).Format(time.DateOnly)
	}
	days := 1
	for at(from, days) <= to {
		days++
	}
	for by, group := range factGroups {
		parts := by == shop.ByProduct || by == shop.ByCategory
		want := f.sales(from, to, group, parts)
		then := f.sales(at(from, -days), at(from, -1), group, parts)
		got := h.sales(from, to, args{"group_by": by, "limit": 100, "compare_previous": true})
		for i, s := range got.Rows {
			percent := s.NetChangePercent
			s.NetChangePercent, s.Label = nil, ""
			if diff := gocmp.Diff(want[s.Key], s); diff != "" {
				h.Errorf("%s to %s by %s:\n%s", from, to, by, diff)
			}
			inTime := by == shop.ByDay || by == shop.ByWeek || by == shop.ByMonth
			if before := then[s.Key].Net.AmountMinor; !inTime && !near(percent, s.Net.AmountMinor, before) {
				h.Errorf("%s to %s by %s: %s is told to have changed by %v percent from %d to %d", from, to, by, s.Key, percent, before, s.Net.AmountMinor)
			}
			if i > 0 && !inTime && got.Rows[i-1].Net.AmountMinor < s.Net.AmountMinor {
				h.Errorf("%s to %s by %s: row %d is out of order", from, to, by, i)
			}
		}
		if left := len(want) - len(got.Rows); left > 0 != got.Truncated {
			h.Errorf("%s to %s by %s: %d groups are left out, truncated %v", from, to, by, left, got.Truncated)
		}
		if parts && len(got.Rows) > 0 { // the best are shown
			last := got.Rows[len(got.Rows)-1].Net.AmountMinor
			shown := 0
			for _, s := range want {
				if s.Net.AmountMinor > last {
					shown++
				}
			}
			if shown >= len(got.Rows) {
				h.Errorf("%s to %s by %s: %d groups are better than the last of %d shown", from, to, by, shown, len(got.Rows))
			}
		}
	}
	h.checkAttribution(from, to)
}

// near compares a told change in percent with the two amounts, to the one place that it is told to.
func near(percent *float64, now, before int64) bool {
	if before == 0 || percent == nil {
		return before == 0 && percent == nil
	}
	size := float64(max(before, -before))
	off := *percent - float64(now-before)/size*100
	return off < 0.051 && off > -0.051
}

// checkAttribution holds every view and model of a period to its sales.
func (h *house) checkAttribution(from, to string) {
	h.Helper()
	sales := h.sales(from, to, nil).Total
	for _, model := range []shop.Model{shop.LastTouch, shop.FirstTouch, shop.Linear} {
		for _, view := range []shop.View{shop.ByChannel, shop.ByCampaign} {
			got := h.attribution(from, to, args{"view": view, "model": model})
			var net, thousandths int64
			for _, r := range got.Rows {
				net += r.Net.AmountMinor
				thousandths += int64(r.Orders*1000 + 0.5)
			}
			if net != sales.Net.AmountMinor || got.Total.Net != sales.Net || thousandths != sales.Orders*1000 || got.Total.Orders != float64(sales.Orders) {
				h.Errorf("%s to %s by %s, %s: rows of %d orders/1000 and %d net, total %v and %s; sales of %d and %s",
					from, to, view, model, thousandths, net, got.Total.Orders, got.Total.Net, sales.Orders, sales.Net)
			}
			if !got.Simulated || got.Model != model {
				h.Errorf("made-up touches under %s are told as %+v", model, got)
			}
		}
	}
}

func (h *house) attribution(from, to string, more args) attributionOut {
	h.Helper()
	return must[attributionOut](h)(read[attributionOut](h, "dtc_get_attribution", more.with("from", from).with("to", to)))
}

func (h *house) cohorts(from, to string, measure shop.Measure) cohortsOut {
	h.Helper()
	return must[cohortsOut](h)(read[cohortsOut](h, "dtc_get_cohorts", args{"first_order_from": from, "first_order_to": to, "measure": measure}))
}

// checkCohorts follows every customer through the facts.
func checkCohorts(h *house, f facts, from, to string) {
	h.Helper()
	type cell struct{ cohort, month string }
	who, orders, net := map[cell]map[string]bool{}, map[cell]int64{}, map[cell]int64{}
	seen := map[string]bool{}
	for _, x := range f.all {
		at := cell{f.cohort[x.customer], x.day[:7]}
		net[at] += x.gross - x.discount - x.refund
		if x.order == "" || seen[x.order] {
			continue
		}
		seen[x.order] = true
		orders[at]++
		if who[at] == nil {
			who[at] = map[string]bool{}
		}
		who[at][x.customer] = true
	}
	months := []string{}
	for m := time.Date(2010, 12, 1, 0, 0, 0, 0, time.UTC); m.Year() < 2012; m = m.AddDate(0, 1, 0) {
		months = append(months, m.Format("2006-01"))
	}
	for _, measure := range []shop.Measure{shop.CohortCustomers, shop.CohortOrders, shop.CohortNet, shop.CohortLTV} {
		want := []shop.Cohort{}
		for i, first := range months {
			size := int64(len(who[cell{first, first}]))
			if first < from || first > to || size == 0 {
				continue
			}
			c := shop.Cohort{Month: first, Customers: size}
			var sum int64
			for _, month := range months[i:] {
				at := cell{first, month}
				sum += net[at]
				c.Values = append(c.Values, map[shop.Measure]int64{
					shop.CohortCustomers: int64(len(who[at])), shop.CohortOrders: orders[at], shop.CohortNet: net[at], shop.CohortLTV: rounded(sum, size),
				}[measure])
			}
			want = append(want, c)
		}
		got := h.cohorts(from, to, measure)
		if diff := gocmp.Diff(want, got.Cohorts); diff != "" || len(want) < 3 {
			h.Errorf("cohorts from %s to %s by %s:\n%s", from, to, measure, diff)
		}
	}
}

// rounded finds the whole number nearest to a quotient, the one farther from zero where two are as near.
func rounded(sum, by int64) int64 {
	q := sum / by
	if rest := sum - q*by; 2*max(rest, -rest) >= by {
		if sum < 0 {
			return q - 1
		}
		return q + 1
	}
	return q
}

// timeQuestions logs the median time of each question about thirteen months. The bound is far above what they take; a
// question that adds up days, or reads whole tables, is still beyond it.
func timeQuestions(h *house) {
	questions := map[string]func(){}
	for by := range factGroups {
		for _, compare := range []bool{false, true} {
			questions[fmt.Sprintf("sales by %s, compared %v", by, compare)] = func() {
				h.sales("2010-12-02", "2011-12-08", args{"group_by": by, "compare_previous": compare, "limit": 100})
			}
		}
	}
	for _, view := range []shop.View{shop.ByChannel, shop.ByCampaign, shop.ByFunnel} {
		for _, model := range []shop.Model{shop.LastTouch, shop.FirstTouch, shop.Linear} {
			questions[fmt.Sprintf("attribution by %s, %s", view, model)] = func() {
				h.attribution("2010-12-02", "2011-12-08", args{"view": view, "model": model})
			}
		}
	}
	for _, measure := range []shop.Measure{shop.CohortCustomers, shop.CohortOrders, shop.CohortNet, shop.CohortLTV} {
		questions["cohorts by "+string(measure)] = func() { h.cohorts("2010-12", "2011-12", measure) }
	}
	for _, name := range slices.Sorted(maps.Keys(questions)) {
		var times []time.Duration
		for range 9 {
			start := time.Now()
			questions[name]()
			times = append(times, time.Since(start))
		}
		slices.Sort(times)
		h.Logf("%-40s p50 %5.1f ms", name, times[4].Seconds()*1000)
		if times[4] > 250*time.Millisecond && !raceEnabled {
			h.Errorf("%s took %v", name, times[4])
		}
	}
}
