package policy

import (
	"cmp"
	"net/netip"

	"github.com/dtcgate/dtcgate/gate/policy/condition"
	"github.com/dtcgate/dtcgate/tools"
)

// Meets asks the conditions. Without a permit that holds a call is refused, and an error in one refuses too.
func (p *Policy) Meets(f *Facts) error {
	if f.free() {
		return nil
	}
	d := p.conditions.Decide(p.request(f, p.conditions.Reads(f.Tool.Name, profileOf(f))))
	switch {
	case d.Allowed:
		return nil
	case d.Why != "":
		return deny(d.Rule, tools.ForbiddenByPolicy, "Change what it objects to and call again, or leave it to people.", "A condition of the policy forbids this call: %s", d.Why)
	case len(d.Errors) > 0:
		return deny(d.Rule, tools.ForbiddenByPolicy, "Tell the operator the call_id.", "A condition of the policy cannot be decided for this call, so it is refused.")
	case d.NoPermit:
		return deny("conditions", tools.ForbiddenByPolicy, "Work without it, or ask whoever owns the policy.", "No condition of the policy permits this call.")
	}
	return deny(d.Rule, tools.ForbiddenByPolicy, "Change the call, or leave it to people.", "A condition of the policy forbids this call.")
}

// request is a call as conditions see it, without what they do not look at and what takes time to make.
func (p *Policy) request(f *Facts, reads condition.Reads) condition.Request {
	r := condition.Request{
		Agent: f.Agent, Name: f.Name, Kind: string(f.Kind), Profile: profileOf(f), Owner: f.Owner, Scopes: f.Scopes, Ceiling: int64(f.Ceiling),
		RequiresApproval: f.RequiresApproval, Tool: f.Tool.Name, Path: f.Tool.Path, Action: f.Action, Input: f.Args, Time: p.zoneTime(f),
		Environment: p.Document.Environment, Transport: f.Transport, Tainted: f.Tainted, Trust: int64(f.Trust),
	}
	if reads.Resources {
		r.Resources = resources(f)
	}
	if reads.Source {
		r.Source, _ = netip.ParseAddr(f.Source)
	}
	if e := f.Effect; e != nil && reads.Effect {
		r.Effect = p.effect(f, e)
	}
	return r
}

// profileOf names the profile of a call's caller.
func profileOf(f *Facts) string { return cmp.Or(f.Profile, Scoped) }

// resources are the objects of a call by their first names. One that has no name is seen as one without type and id.
func resources(f *Facts) []string {
	objects := f.objects()
	all := make([]string, len(objects))
	for i, o := range objects {
		if len(o) > 0 {
			all[i] = o[0]
		}
	}
	return all
}

func (p *Policy) effect(f *Facts, e *Effect) condition.Effect {
	risk := p.Rated(f)
	out := condition.Effect{
		Known: true, Level: int64(risk.Level()), Undo: int64(risk.Undo), Blast: int64(risk.Blast), Money: int64(risk.Money), Touch: int64(risk.Touch),
		DataOut: int64(risk.DataOut), Reach: int64(risk.Reach), Class: string(p.Classify(f.Tool, e.Class)), Writes: f.Tool.Writes(), DryRun: f.DryRun,
		Customers: e.Customers,
	}
	if e.Money != nil {
		out.MoneyMinor, out.Currency = e.Money.AmountMinor, string(e.Money.Currency)
	}
	return out
}
