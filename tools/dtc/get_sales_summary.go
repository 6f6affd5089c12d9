package dtc

import (
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A salesIn asks in store-local days; package shop defines what is counted.
type salesIn struct {
	From            string        `json:"from" jsonschema:"format=date"`
	To              string        `json:"to" jsonschema:"format=date"`
	GroupBy         shop.Grouping `json:"group_by,omitempty" jsonschema:"enum=total,enum=day,enum=week,enum=month,enum=product,enum=category,enum=country,default=total"`
	ComparePrevious bool          `json:"compare_previous,omitempty" jsonschema:"description=Against as many days before"`
	Limit           int           `json:"limit,omitempty" jsonschema:"minimum=1,maximum=100,default=50"`
}

type salesOut struct {
	Rows      []shop.Sales `json:"rows"`
	Total     shop.Sales   `json:"total"`
	DataUntil time.Time    `json:"data_until"`
	Cut
}

var getSalesSummary = tools.Define(tools.Spec{
	Name: "dtc_get_sales_summary", Path: "analytics.sales", Title: "Get a sales summary",
	Description: "Adds up sales. gross: goods sold, before discounts, without postage; refunds: goods given back on those days; net: " +
		"gross - discounts - refunds; products and categories have no discounts.",
	Example: `{"from":"2026-11-01","to":"2026-11-21","group_by":"category","compare_previous":true}`,
	Scope:   "analytics:read", Risk: tools.Risk{DataOut: 1}, Resource: "analytics:*", Undo: nothing,
	Routes: []tools.Route{{Method: "GET", Path: "/analytics/sales"}},
}, tools.Func[salesIn, salesOut]{Read: readSales, Asks: asksShop[salesIn]})

// readSales always gives the whole total beside the rows, so that nothing is lost to a limit. There is no cursor: whoever
// wants more than 100 rows wants another grouping.
func readSales(c *tools.Call, in salesIn) (out salesOut, err error) {
	if err := daysInOrder("from", in.From, "to", in.To); err != nil {
		return out, err
	}
	d, err := desk(c)
	if err != nil {
		return out, err
	}
	if in.GroupBy == "" {
		in.GroupBy = shop.ByTotal
	}
	q := shop.SalesQuestion{From: in.From, To: in.To, By: in.GroupBy, Compare: in.ComparePrevious}
	rows, total, err := d.Sales(q)
	if err != nil {
		return out, err
	}
	if in.Limit == 0 {
		in.Limit = 50
	}
	n, err := fit(rows[:min(len(rows), in.Limit)], rowsRoom)
	out = salesOut{Rows: rows[:n], Total: total, DataUntil: d.DataUntil}
	if n < len(rows) {
		out.Cut = Cut{true, "Rows are left out, but counted in total. Ask for fewer days, a coarser group_by, or a higher limit (100 at most)."}
	}
	return out, err
}
