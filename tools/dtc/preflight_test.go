package dtc

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// somePlans answers every call with the same forecast.
type somePlans struct {
	asked []tools.Planned
	each  tools.Forecast
}

func (p *somePlans) Plan(_ *store.Tx, _ auth.Principal, calls []tools.Planned) ([]tools.Forecast, error) {
	p.asked = calls
	all := make([]tools.Forecast, len(calls))
	for i := range all {
		all[i] = p.each
	}
	return all, nil
}

func tryPlan(h *house, plans tools.Plans, calls ...any) (preflightOut, error) {
	h.Helper()
	c, err := h.call("dtc_preflight", args{"calls": calls})
	if err != nil {
		return preflightOut{}, err
	}
	c.Plans = plans
	answer, err := c.Tool.Handler().Read(c)
	if err != nil {
		return preflightOut{}, err
	}
	h.fits(c.Tool, answer)
	return answer.(preflightOut), nil
}

func TestAPlanIsTakenToTheGateAsItStands(t *testing.T) {
	h, plans := newHouse(t, nil), &somePlans{each: tools.Forecast{Outcome: tools.WouldRun}}
	_, err := tryPlan(h, plans, args{"tool": "dtc_get_order", "arguments": args{"order_no": "1"}}, args{"tool": "none", "arguments": args{}})
	if err != nil || len(plans.asked) != 2 || string(plans.asked[0].Arguments) != `{"order_no":"1"}` || plans.asked[1].Tool != "none" {
		t.Errorf("the gate is asked about %+v: %v", plans.asked, err)
	}
}

func TestAPlanIsRefusedThatCannotBeTried(t *testing.T) {
	h, plans := newHouse(t, nil), &somePlans{}
	one := args{"tool": "dtc_whoami", "arguments": args{}}
	many := make([]any, 21)
	for i := range many {
		many[i] = one
	}
	for what, c := range map[string]struct {
		plans tools.Plans
		calls []any
		want  tools.Code
	}{
		"no gate":         {nil, []any{one}, tools.Unavailable},
		"no call":         {plans, []any{}, tools.InvalidArguments},
		"21 calls":        {plans, many, tools.InvalidArguments},
		"no arguments":    {plans, []any{args{"tool": "dtc_whoami"}}, tools.InvalidArguments},
		"a plan of plans": {plans, []any{one, args{"tool": "dtc_preflight", "arguments": args{}}}, tools.InvalidArguments},
		"by its path":     {plans, []any{args{"tool": "plan.preflight", "arguments": args{}}}, tools.InvalidArguments},
	} {
		_, err := tryPlan(h, c.plans, c.calls...)
		if r := (*tools.Refusal)(nil); !errors.As(err, &r) || r.Code != c.want {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestALongForecastIsCutAndSaysSo(t *testing.T) {
	h := newHouse(t, nil)
	plans := &somePlans{each: tools.Forecast{Outcome: tools.WouldRefuse, Reason: strings.Repeat("because ", 400)}}
	var calls []any
	for i := range 20 {
		calls = append(calls, args{"tool": fmt.Sprint("t", i), "arguments": args{}})
	}
	out, err := tryPlan(h, plans, calls...)
	if err != nil || len(out.Calls) == 0 || len(out.Calls) == 20 || !out.Truncated {
		t.Errorf("%d calls, truncated %v: %v", len(out.Calls), out.Truncated, err)
	}
}
