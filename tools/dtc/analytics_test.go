package dtc

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

var analyticsStories = []story{
	{"AttributionSharesTheSales", attributionSharesTheSales},
	{"CampaignsAreToldWithWhatTheyCost", campaignsAreToldWithWhatTheyCost},
	{"FunnelFollowsItsCampaigns", funnelFollowsItsCampaigns},
	{"ManyCampaignsAreCut", manyCampaignsAreCut},
	{"CohortsAddUpToTheSales", cohortsAddUpToTheSales},
	{"AnalyticQuestionsAreChecked", analyticQuestionsAreChecked},
}

// attributionSharesTheSales holds whatever the other stories have refunded.
func attributionSharesTheSales(h *house) {
	for _, p := range [][2]string{{"2025-10-01", "2026-12-31"}, {"2026-09-01", "2026-10-31"}, {"2026-11-22", "2026-11-22"}, {"2026-03-03", "2026-03-03"}} {
		h.checkAttribution(p[0], p[1])
	}
	channels := h.attribution("2026-01-01", "2026-11-21", args{"view": "channel", "model": "linear"}).Rows
	if len(channels) != 5 {
		h.Errorf("there are %d channels: %+v", len(channels), channels)
	}
	for _, r := range channels {
		if known := r.Reached != nil; known != (r.Key == "email" || r.Key == "sms") || r.Orders <= 0 || r.Net.AmountMinor <= 0 {
			h.Errorf("%s is told as %+v", r.Key, r)
		}
	}
}

// campaignsAreToldWithWhatTheyCost looks at the autumn, in which one text message and one e-mail went out.
func campaignsAreToldWithWhatTheyCost(h *house) {
	rows := h.attribution("2026-10-01", "2026-11-21", args{"view": "campaign"}).Rows
	byLabel := map[string]shop.Attribution{}
	for _, r := range rows {
		byLabel[r.Label] = r
	}
	for name, cost := range map[string]func(sent int64) int64{
		"Autumn Evenings":      func(sent int64) int64 { return sent * 4 },
		"Early Christmas List": func(sent int64) int64 { return (sent + 9) / 10 },
	} {
		id := h.text("SELECT campaign_id FROM campaigns WHERE merchant_id = $1 AND name = $2", merchant, name)
		sent := h.number("SELECT COUNT(*) FROM deliveries WHERE merchant_id = $1 AND mailing_id = $2", merchant, id)
		r := byLabel[name]
		if r.Key != id || r.Reached == nil || *r.Reached != sent || r.Cost.AmountMinor != cost(sent) || r.Orders < 1 {
			h.Errorf("%s, sent to %d, is told as %+v", name, sent, r)
		}
	}
	if none := byLabel["no campaign"]; none.Key != shop.NoCampaign || none.Reached != nil || none.Cost != nil || none.Orders < 1 {
		h.Errorf("what no campaign is credited with is told as %+v", none)
	}
}

// funnelFollowsItsCampaigns asks for a day in summer, on which one campaign went out: its orders came later.
func funnelFollowsItsCampaigns(h *house) {
	day := shop.Day(sunday.AddDate(0, 0, -118))
	got := h.attribution(day, day, args{"view": "funnel"})
	if len(got.Rows) != 1 || got.Rows[0].Label != "Summer Table" || got.Rows[0].Net != got.Total.Net || got.Total.Reached == nil {
		h.Fatalf("the funnel of %s is %+v", day, got)
	}
	r := got.Rows[0]
	orders := h.number(`SELECT COUNT(*) FROM order_touches t WHERE merchant_id = $1 AND campaign_id = $2 AND touch_no =
		(SELECT MAX(touch_no) FROM order_touches x WHERE x.merchant_id = $1 AND x.order_no = t.order_no)`, merchant, r.Key)
	if r.Orders != float64(orders) || orders == 0 || *r.Reached < *r.Opened || *r.Opened < *r.Clicked || *r.Clicked == 0 {
		h.Errorf("%d orders came last from the campaign, it is told as %+v", orders, r)
	}
	campaign := must[listCampaignsOut](h)(read[listCampaignsOut](h, "dtc_list_campaigns", args{"status": "sent", "limit": 50}))
	for _, c := range campaign.Campaigns {
		if c.ID == r.Key && (c.AttributedRevenue.AmountMinor < r.Net.AmountMinor || r.Net.AmountMinor <= 0) {
			h.Errorf("the campaign list says %s, the funnel %s after refunds", c.AttributedRevenue, r.Net)
		}
	}
	if empty := h.attribution("1999-01-01", "1999-12-31", args{"view": "funnel"}); empty.Rows == nil || len(empty.Rows) != 0 || empty.Total.Net.Currency != "GBP" {
		h.Errorf("a year without campaigns: %+v", empty)
	}
}

// manyCampaignsAreCut sends sixty campaigns on one day of long ago.
func manyCampaignsAreCut(h *house) {
	at, err := shop.Midnight("2001-05-05")
	if err != nil {
		h.Fatal(err)
	}
	for i := range 60 {
		h.exec(`INSERT INTO campaigns (merchant_id, campaign_id, name, channel, body, status, sent_at, sent_to, created_at, created_by)
			VALUES ($1, $2, 'a name as long as names of campaigns may be, which is eighty letters and not more..', 'email', 'x', 'sent', $3, 10, $3, 'test')`,
			merchant, fmt.Sprintf("cmp_many%02d", i), store.Micros(at))
	}
	defer h.exec("DELETE FROM campaigns WHERE merchant_id = $1 AND campaign_id LIKE 'cmp_many%'", merchant)
	got := h.attribution("2001-05-05", "2001-05-05", args{"view": "campaign"})
	if len(got.Rows) != 50 || !got.Truncated || got.Narrow == "" || *got.Total.Reached != 600 || got.Total.Cost.AmountMinor != 60 {
		h.Errorf("of 60 campaigns %d are told, truncated %v, total %+v", len(got.Rows), got.Truncated, got.Total)
	}
}

// cohortsAddUpToTheSales adds up cohorts by the month in which they bought.
func cohortsAddUpToTheSales(h *house) {
	months := h.sales("2025-10-01", "2026-11-30", args{"group_by": "month"}).Rows
	net, orders := map[string]int64{}, map[string]int64{}
	add := func(measure shop.Measure, sums map[string]int64) {
		for _, c := range h.cohorts("2025-10", "2026-11", measure).Cohorts {
			for i, v := range c.Values {
				sums[shop.MonthAfter(c.Month, i)] += v
			}
		}
	}
	add(shop.CohortNet, net)
	add(shop.CohortOrders, orders)
	for _, m := range months {
		if net[m.Key] != m.Net.AmountMinor || orders[m.Key] != m.Orders {
			h.Errorf("in %s cohorts come to %d and %d orders, sales to %d and %d", m.Key, net[m.Key], orders[m.Key], m.Net.AmountMinor, m.Orders)
		}
	}
	got := must[cohortsOut](h)(read[cohortsOut](h, "dtc_get_cohorts", args{}))
	if got.Measure != shop.CohortCustomers || got.Currency != "" || len(got.Cohorts) == 0 || got.Cohorts[0].Month < "2025-12" {
		h.Errorf("without arguments the cohorts are %+v", got)
	}
	for _, c := range got.Cohorts {
		if last := shop.MonthAfter(c.Month, len(c.Values)-1); c.Values[0] != c.Customers || last != "2026-11" {
			h.Errorf("%d customers came in %s, of them %v until %s", c.Customers, c.Month, c.Values, last)
		}
	}
	if ltv := h.cohorts("2026-01", "2026-06", shop.CohortLTV); ltv.Currency != "GBP" {
		h.Errorf("LTV is told in %q", ltv.Currency)
	}
}

func analyticQuestionsAreChecked(h *house) {
	for what, c := range map[string]struct {
		in    args
		field string
	}{
		"25 cohorts":         {args{"first_order_from": "2024-01", "first_order_to": "2026-01"}, "first_order_to"},
		"since long ago":     {args{"first_order_from": "2001-01"}, "first_order_to"},
		"wrong way round":    {args{"first_order_from": "2026-02", "first_order_to": "2026-01"}, "first_order_to"},
		"a thirteenth month": {args{"first_order_from": "2026-13"}, "first_order_from"},
		"another measure":    {args{"measure": "profit"}, "measure"},
	} {
		_, err := read[cohortsOut](h, "dtc_get_cohorts", c.in)
		h.refused(what, err, tools.InvalidArguments, c.field)
	}
	if got := h.cohorts("2024-02", "2026-01", shop.CohortNet); len(got.Cohorts) == 0 {
		h.Error("24 cohorts are not told")
	}
	for what, c := range map[string]struct {
		in    args
		field string
	}{
		"the wrong way round": {args{"from": "2026-11-02", "to": "2026-11-01", "view": "channel"}, "to"},
		"another model":       {args{"from": "2026-11-01", "to": "2026-11-01", "view": "channel", "model": "u_shaped"}, "model"},
		"no view":             {args{"from": "2026-11-01", "to": "2026-11-01"}, "view"},
	} {
		_, err := read[attributionOut](h, "dtc_get_attribution", c.in)
		h.refused(what, err, tools.InvalidArguments, c.field)
	}
}

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
// penny, with sums made here from the files.
func TestAnalyticsAgreeWithTheFiles(t *testing.T) {
	mini, whole := filepath.Join(realData, "mini"), realData
	if raceEnabled {
		whole = mini
	}
	for _, c := range []struct{ engine, dir string }{{"sqlite", whole}, {"postgres", mini}} {
		t.Run(c.engine, func(t *testing.T) {
			h, f := realHouse(t, c.engine, c.dir), readFacts(t, c.dir)
			chance := rand.New(rand.NewPCG(7, uint64(len(f.all))))
			checkPeriod(h, f, "2010-12-01", "2011-12-09")
			for range 8 {
				first := time.Date(2010, 12, 1+chance.IntN(370), 0, 0, 0, 0, time.UTC)
				checkPeriod(h, f, first.Format(time.DateOnly), first.AddDate(0, 0, chance.IntN(chance.IntN(380)+1)).Format(time.DateOnly))
			}
			checkCohorts(h, f, "2010-12", "2011-12")
			checkCohorts(h, f, "2011-03", "2011-09")
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
