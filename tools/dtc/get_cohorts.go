package dtc

import (
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// maxCohorts bounds one answer.
const maxCohorts = 24

type cohortsIn struct {
	FirstOrderFrom string       `json:"first_order_from,omitempty" jsonschema:"pattern=^[0-9]{4}-(0[1-9]|1[0-2])$,description=Left out: for a year"`
	FirstOrderTo   string       `json:"first_order_to,omitempty" jsonschema:"pattern=^[0-9]{4}-(0[1-9]|1[0-2])$,description=Left out: the latest"`
	Measure        shop.Measure `json:"measure,omitempty" jsonschema:"enum=customers,enum=orders,enum=net,enum=ltv,default=customers"`
}

type cohortsOut struct {
	Measure   shop.Measure  `json:"measure"`
	Currency  string        `json:"currency,omitempty"` // of net and ltv
	Cohorts   []shop.Cohort `json:"cohorts"`
	DataUntil time.Time     `json:"data_until"`
}

var getCohorts = tools.Define(tools.Spec{
	Name: "dtc_get_cohorts", Path: "analytics.cohorts", Title: "Get cohorts",
	Description: "Follows customers by the month of their first order. values[i], month i after it: customers who ordered, orders, net " +
		"(minor units), or ltv, net per customer so far. The latest month is not over.",
	Example: `{"first_order_from":"2026-01","first_order_to":"2026-06","measure":"ltv"}`,
	Scope:   "analytics:read", Risk: tools.Risk{DataOut: 1}, Resource: "analytics:*", Undo: nothing,
	Routes: []tools.Route{{Method: "GET", Path: "/analytics/cohorts"}},
}, tools.Func[cohortsIn, cohortsOut]{Read: readCohorts, Asks: asksShop[cohortsIn]})

func readCohorts(c *tools.Call, in cohortsIn) (out cohortsOut, err error) {
	d, err := desk(c)
	if err != nil {
		return out, err
	}
	if in, err = in.filled(d); err != nil {
		return out, err
	}
	out = cohortsOut{Measure: in.Measure, DataUntil: d.DataUntil}
	if in.Measure.InMoney() {
		out.Currency = d.Currency
	}
	out.Cohorts, err = d.Cohorts(in.FirstOrderFrom, in.FirstOrderTo, in.Measure)
	return out, err
}

// filled completes the question: a year that ends with the last month asked for, which is the latest if none is.
func (in cohortsIn) filled(d *shop.Desk) (cohortsIn, error) {
	if in.Measure == "" {
		in.Measure = shop.CohortCustomers
	}
	if in.FirstOrderTo == "" {
		in.FirstOrderTo = max(shop.Day(d.DataUntil)[:len("2006-01")], in.FirstOrderFrom)
	}
	if in.FirstOrderFrom == "" {
		in.FirstOrderFrom = shop.MonthAfter(in.FirstOrderTo, -11)
	}
	switch last := shop.MonthAfter(in.FirstOrderFrom, maxCohorts-1); {
	case in.FirstOrderTo < in.FirstOrderFrom:
		return in, tools.Wrong("first_order_to", "is before first_order_from", "a month from first_order_from on", in.FirstOrderFrom)
	case in.FirstOrderTo > last:
		return in, tools.Wrong("first_order_to", "makes more than 24 cohorts", last+" at the latest; ask for the rest apart", last)
	}
	return in, nil
}
