package dtc

import (
	"encoding/json"
	"fmt"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// A preflightIn is a plan: calls as they would be made, in their order.
type preflightIn struct {
	Calls []plannedCall `json:"calls" jsonschema:"minItems=1,maxItems=20"`
}

type plannedCall struct {
	Tool      string                     `json:"tool"`
	Arguments map[string]json.RawMessage `json:"arguments"`
}

type preflightOut struct {
	Calls []tools.Forecast `json:"calls"` // as planned, those that fit
	Cut
}

// preflight is open to every key, as dtc_whoami is: it tells a caller about itself. What it answers is decided in package gate.
var preflight = tools.Define(tools.Spec{
	Name: "dtc_preflight", Path: "plan.preflight", Title: "Try a plan",
	Description: "Tells whether up to 20 calls would each run, wait for people or be refused, and why, with the nearest that would pass. " +
		"Each by itself; nothing is done.",
	Risk: tools.Risk{DataOut: 1}, Resource: "self", Undo: nothing,
	Example: `{"calls":[{"tool":"dtc_get_order","arguments":{"order_no":"70001"}},` +
		`{"tool":"dtc_add_order_note","arguments":{"order_no":"70001","text":"Asked for a receipt"}},` +
		`{"tool":"dtc_pause","arguments":{"kind":"campaign"}}]}`,
	Routes: []tools.Route{{Method: "POST", Path: "/preflight"}},
}, tools.Func[preflightIn, preflightOut]{Read: readForecasts})

func readForecasts(c *tools.Call, in preflightIn) (preflightOut, error) {
	if c.Plans == nil {
		return preflightOut{}, tools.Refuse(tools.Unavailable, "Rehearse the calls one by one, with dry_run where the tool has it.",
			"Plans cannot be tried here.")
	}
	planned, err := in.planned(c)
	if err != nil {
		return preflightOut{}, err
	}
	forecasts, err := c.Plans.Plan(c.Tx, c.Principal, planned)
	if err != nil {
		return preflightOut{}, err
	}
	n, err := fit(forecasts, rowsRoom)
	out := preflightOut{Calls: forecasts[:n]}
	if n < len(forecasts) {
		out.Cut = Cut{true, "The later calls are left out: plan fewer at once."}
	}
	return out, err
}

// planned gives the calls of a plan. A plan of plans would try more calls than it has.
func (in preflightIn) planned(c *tools.Call) ([]tools.Planned, error) {
	for i, p := range in.Calls {
		if t, _ := c.Registry.Find(p.Tool); t == c.Tool {
			return nil, tools.WrongFields([]schemas.Wrong{{
				Field: fmt.Sprintf("calls[%d].tool", i), Problem: "is a plan itself", Expected: "any other tool", Example: "dtc_get_order",
			}})
		}
	}
	return planned(in.Calls)
}

// planned gives calls in the form in which the gate takes them.
func planned(calls []plannedCall) ([]tools.Planned, error) {
	all := make([]tools.Planned, len(calls))
	for i, p := range calls {
		args, err := json.Marshal(p.Arguments)
		if err != nil {
			return nil, fmt.Errorf("reading the calls: %w", err)
		}
		all[i] = tools.Planned{Tool: p.Tool, Arguments: args}
	}
	return all, nil
}
