package gate

import (
	"slices"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// plans lets the preflight tool ask what calls would get. What an outside source of trust said about its caller, before the transaction, holds
// for all of a plan: asked about each call, it would be waited for with a snapshot held.
type plans struct {
	*Gate
	asking *call
}

var _ tools.Plans = plans{}

// planChecks are those of a call before its transaction, but for the rate: the plan has been paid for as one call, and none of its calls is
// made. planReadChecks and planWriteChecks are those in the transaction, on the snapshot of the plan, whose caller was judged with it.
var (
	planChecks      = allBut(checks, "rate")
	planReadChecks  = append(allBut(readChecks, "standing"), toldChecks...)
	planWriteChecks = append(allBut(heldChecks, "standing"), writeChecks...)
)

func allBut(list []check, name string) []check {
	return slices.DeleteFunc(slices.Clone(list), func(k check) bool { return k.name == name })
}

// Plan judges each call as if it came now, on the snapshot of tx, and makes none of them.
func (g plans) Plan(tx *store.Tx, p auth.Principal, calls []tools.Planned) ([]tools.Forecast, error) {
	all := make([]tools.Forecast, len(calls))
	for i, planned := range calls {
		c := g.newCall(p, Request{Tool: planned.Tool, Args: planned.Arguments})
		c.Tx, c.planned, c.said = tx, true, g.asking.said
		err := g.safely(c.ID, func() error { return g.rehearse(c) })
		if outOfReach(err) {
			return nil, err
		}
		if all[i] = c.forecast(err); c.Tool == nil {
			all[i].Tool = planned.Tool
		}
		if err != nil {
			all[i].Nearest = g.nearest(tx, p, c, err)
		}
	}
	return all, nil
}

// rehearse asks everything that is asked of a call until it runs or parks.
func (g *Gate) rehearse(c *call) error {
	if err := g.judgeTx(c, planChecks); err != nil {
		return err
	}
	if err := c.learn(); err != nil {
		return err
	}
	if c.Tool.Writes() {
		return g.judgeTx(c, planWriteChecks)
	}
	var err error
	if c.facts.Effect, err = rated(c, tools.Preview{}); err != nil {
		return err
	}
	c.see()
	return g.judgeTx(c, planReadChecks)
}

// missing names what it would take beside the arguments: scopes, or the grant of an action.
func (c *call) missing(r *tools.Refusal) []string {
	switch {
	case r.Errors != nil && len(r.Errors.Missing) > 0:
		return r.Errors.Missing
	case c.facts.Action != "" && r.Code == tools.NotFound:
		return []string{"action " + c.facts.Action}
	}
	return nil
}

// forecast tells what a judged call would get, as the call itself would be told.
func (c *call) forecast(err error) tools.Forecast {
	f := tools.Forecast{Outcome: tools.WouldRun}
	if c.Tool != nil {
		f.Tool = c.Tool.Name
	}
	switch {
	case err != nil:
		r := asRefusal(err)
		f.Outcome, f.Code, f.Reason, f.Missing = tools.WouldRefuse, r.Code, r.Message, c.missing(r)
	case c.parked:
		f.Outcome, f.Needs = tools.WouldPark, c.ask.Needs()
	}
	return f
}
