package dtc

import (
	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

var salesStories = []story{
	{"SalesAreOrdersMinusRefunds", salesAreOrdersMinusRefunds},
	{"GroupsMakeUpTheTotal", groupsMakeUpTheTotal},
	{"WeeksAndMonthsHoldTheirDays", weeksAndMonthsHoldTheirDays},
	{"ChangeIsAgainstAsManyDaysBefore", changeIsAgainstAsManyDaysBefore},
	{"SalesQuestionsAreChecked", salesQuestionsAreChecked},
}

func (h *house) sales(from, to string, more args) salesOut {
	h.Helper()
	return must[salesOut](h)(read[salesOut](h, "dtc_get_sales_summary", more.with("from", from).with("to", to)))
}

func salesAreOrdersMinusRefunds(h *house) {
	from, to := "2026-09-01", "2026-10-31"
	var ends [2]any
	for i, day := range []string{from, "2026-11-01"} {
		at, err := shop.Midnight(day)
		if err != nil {
			h.Fatal(err)
		}
		ends[i] = store.Micros(at)
	}
	of := func(what string) int64 {
		return h.number("SELECT CAST(SUM("+what+") AS BIGINT) FROM orders WHERE placed_at >= $1 AND placed_at < $2", ends[0], ends[1])
	}
	given := h.number("SELECT CAST(SUM(amount_minor) AS BIGINT) FROM refunds WHERE refunded_at >= $1 AND refunded_at < $2", ends[0], ends[1])
	postage := h.number("SELECT CAST(SUM(shipping_refunds_minor) AS BIGINT) FROM sales_totals WHERE day BETWEEN $1 AND $2", from, to)
	gbp := func(minor int64) shop.Money { return shop.Money{AmountMinor: minor, Currency: "GBP"} }
	want := shop.Sales{
		Key: "total", Label: from + " to " + to, Orders: of("1"), Units: of("items"), Gross: gbp(of("subtotal_minor")),
		Refunds: gbp(given - postage), Net: gbp(of("subtotal_minor - discount_minor") - given + postage),
	}
	got := h.sales(from, to, nil)
	if diff := cmp.Diff(want, got.Total); diff != "" || len(got.Rows) != 1 || got.Rows[0].Net != want.Net {
		h.Errorf("the total:\n%s\nrows %+v", diff, got.Rows)
	}
	if until := h.number("SELECT data_until FROM shops WHERE merchant_id = $1", merchant); got.DataUntil.UnixMicro() != until {
		h.Errorf("data until %v", got.DataUntil)
	}
}

// groupsMakeUpTheTotal adds up the rows of each grouping. Products and categories know of no discounts, and an order of
// several products counts for each.
func groupsMakeUpTheTotal(h *house) {
	from, to := "2026-08-20", "2026-11-21"
	discounts := h.number("SELECT CAST(SUM(discount_minor) AS BIGINT) FROM sales_totals WHERE day BETWEEN $1 AND $2", from, to)
	for _, by := range []string{"day", "week", "month", "country", "category", "product"} {
		got := h.sales(from, to, args{"group_by": by, "limit": 100})
		sum := shop.Sales{Gross: shop.Money{Currency: "GBP"}, Refunds: shop.Money{Currency: "GBP"}, Net: shop.Money{Currency: "GBP"}}
		for _, r := range got.Rows {
			sum.Orders += r.Orders
			sum.Units += r.Units
			sum.Gross.AmountMinor += r.Gross.AmountMinor
			sum.Refunds.AmountMinor += r.Refunds.AmountMinor
			sum.Net.AmountMinor += r.Net.AmountMinor
		}
		sum.Key, sum.Label = got.Total.Key, got.Total.Label
		switch by {
		case "product":
			if !got.Truncated || got.Narrow == "" || len(got.Rows) != 100 {
				h.Errorf("of all products %d rows, truncated %v", len(got.Rows), got.Truncated)
			}
			continue
		case "category":
			sum.Net.AmountMinor -= discounts
			if sum.Orders <= got.Total.Orders || discounts == 0 {
				h.Errorf("categories count %d orders of %d, discounts of %d", sum.Orders, got.Total.Orders, discounts)
			}
			sum.Orders = got.Total.Orders
		}
		if diff := cmp.Diff(got.Total, sum); diff != "" || len(got.Rows) < 3 || got.Truncated {
			h.Errorf("%d rows by %s:\n%s", len(got.Rows), by, diff)
		}
	}
	best := h.sales(from, to, args{"group_by": "product", "limit": 5}).Rows
	for i := 1; i < len(best); i++ {
		if best[i].Net.AmountMinor > best[i-1].Net.AmountMinor {
			h.Errorf("the best products are not sorted: %+v", best)
		}
	}
	if title := h.text("SELECT title FROM products WHERE product_code = $1", best[0].Key); title != best[0].Label {
		h.Errorf("%s is labelled %q, want %q", best[0].Key, best[0].Label, title)
	}
}

func weeksAndMonthsHoldTheirDays(h *house) {
	weeks := h.sales("2026-10-29", "2026-11-10", args{"group_by": "week"}).Rows // from a Thursday to a Tuesday
	if len(weeks) != 3 || weeks[0].Key != "2026-10-26" || weeks[1].Key != "2026-11-02" || weeks[2].Key != "2026-11-09" {
		h.Errorf("the weeks are %+v", weeks)
	}
	if whole := h.sales("2026-11-02", "2026-11-08", nil).Total; whole.Net != weeks[1].Net {
		h.Errorf("a week sums to %s, its days to %s", weeks[1].Net, whole.Net)
	}
	months := h.sales("2026-10-29", "2026-11-10", args{"group_by": "month"}).Rows
	if len(months) != 2 || months[0].Key != "2026-10" || months[1].Net != h.sales("2026-11-01", "2026-11-10", nil).Total.Net {
		h.Errorf("the months are %+v", months)
	}
}

func changeIsAgainstAsManyDaysBefore(h *house) {
	now := h.sales("2026-11-08", "2026-11-14", args{"group_by": "day", "compare_previous": true})
	then := h.sales("2026-11-01", "2026-11-07", args{"group_by": "day"})
	percent := func(now, then shop.Sales) float64 {
		return float64(now.Net.AmountMinor-then.Net.AmountMinor) / float64(then.Net.AmountMinor) * 100
	}
	near := func(got *float64, want float64) bool { return got != nil && *got > want-0.06 && *got < want+0.06 }
	if !near(now.Total.NetChangePercent, percent(now.Total, then.Total)) {
		h.Errorf("the total changed by %v, want %v", now.Total.NetChangePercent, percent(now.Total, then.Total))
	}
	for i := range now.Rows {
		if !near(now.Rows[i].NetChangePercent, percent(now.Rows[i], then.Rows[i])) {
			h.Errorf("%s changed by %v, want %v", now.Rows[i].Key, now.Rows[i].NetChangePercent, percent(now.Rows[i], then.Rows[i]))
		}
	}
	first := h.sales("2020-01-01", "2030-01-01", args{"compare_previous": true, "group_by": "country"})
	if first.Total.NetChangePercent != nil || len(first.Rows) == 0 || first.Rows[0].NetChangePercent != nil {
		h.Errorf("with nothing before: %+v", first.Total)
	}
}

func salesQuestionsAreChecked(h *house) {
	for what, c := range map[string]struct {
		in    args
		field string
	}{
		"the wrong way round": {args{"from": "2026-11-02", "to": "2026-11-01"}, "to"},
		"no days":             {args{}, "from"},
		"another grouping":    {args{"from": "2026-11-01", "to": "2026-11-01", "group_by": "hour"}, "group_by"},
	} {
		_, err := read[salesOut](h, "dtc_get_sales_summary", c.in)
		h.refused(what, err, tools.InvalidArguments, c.field)
	}
	if empty := h.sales("1999-01-01", "1999-12-31", args{"group_by": "day"}); empty.Rows == nil || len(empty.Rows) != 0 || empty.Total.Net.Currency != "GBP" {
		h.Errorf("a year without sales: %+v", empty)
	}
}
