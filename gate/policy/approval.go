package policy

import (
	"cmp"
	"slices"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// The rules that ask people although no approval rule does.
const (
	RuleConfirm = "builtin.key_requires_approval"
	RuleAlways  = "builtin.always_asks"
)

// RuleGrant begins the name of what stands on record as the rule of a call that would have waited for people, had they not agreed to it beforehand by
// a standing grant.
const RuleGrant = "grant:"

// Approval says whose consent a call waits for, and by which rule; parks is false for one that runs without being asked, whose rule is the
// one that lets it. What a condition of a rule cannot decide is asked.
func (p *Policy) Approval(f *Facts) (rule approvals.Rule, parks bool) {
	rule = approvals.Rule{Name: p.Letting(f)}
	if f.DryRun || f.Tool.Brake || !f.Tool.Writes() {
		return rule, false
	}
	class := p.Classify(f.Tool, f.Effect.Class)
	for _, r := range p.byTool[f.Tool.Name] {
		if r.matches(p, f, class) {
			rule = r.ask
			rule.Grants = rule.Grants && !p.insists(f)
			break
		}
	}
	switch {
	case rule.People > 0:
		return rule, true
	case p.insists(f):
		return approvals.Rule{Name: RuleAlways, People: 1}, true
	case f.RequiresApproval && class != tools.ClassNone:
		return approvals.Rule{Name: RuleConfirm, People: 1}, true
	}
	return rule, false
}

// insists reports whether people are to be asked about this very call, whatever the rules say.
func (p *Policy) insists(f *Facts) bool { return f.Effect.Asks || f.Tool.AlwaysAsks && !p.mayRun(f) }

// OpenRequests is how many questions to people an agent with a profile may have open at once.
func (p *Policy) OpenRequests(profile string) int64 {
	if own := p.profile(profile); own != nil && own.OpenRequests > 0 {
		return own.OpenRequests
	}
	return DefaultOpenRequests
}

func (p *Policy) mayRun(f *Facts) bool { return p.MayRun(f.Profile, f.Action) }

// MayRun reports whether a profile may have an action run without people being asked for its own sake.
func (p *Policy) MayRun(profile, action string) bool {
	own := p.profile(profile)
	return own != nil && own.mayRun(action)
}

// Letting names the rule that lets a call through when none asks people.
func (p *Policy) Letting(f *Facts) string {
	switch {
	case f.free():
		return "builtin.free"
	}
	return ProfileRule(f.Profile)
}

// ProfileRule names what a profile lets through, or does not have.
func ProfileRule(profile string) string { return "profiles." + cmp.Or(profile, Scoped) }

// MayAsk reports whether some call like this one would wait for people, before its effect is known.
func (p *Policy) MayAsk(f *Facts) bool {
	if f.DryRun || f.Tool.Brake || !f.Tool.Writes() {
		return false
	}
	if f.Tool.Batches() || f.Tool.AlwaysAsks && !p.mayRun(f) || f.RequiresApproval && f.Tool.MayPark() {
		return true
	}
	for _, r := range p.byTool[f.Tool.Name] {
		if r.Need.People > 0 && r.profiles.has(f.Profile) && p.mayBe(f, r.classes) {
			return true
		}
	}
	return false
}

// mayBe reports whether some call like this one may be of one of the classes.
func (p *Policy) mayBe(f *Facts, classes set) bool {
	return slices.ContainsFunc(f.Tool.RatingsOf(f.Action), func(r tools.Rating) bool { return classes.has(string(p.Classify(f.Tool, r.Class))) })
}

func (r *approvalRule) matches(p *Policy, f *Facts, class tools.Class) bool {
	if !r.fits(f, class) || !r.Over.fits(f.Effect) {
		return false
	}
	if r.when == nil {
		return true
	}
	holds, err := r.when.Holds(p.request(f, r.when.Reads(f.Tool.Name)))
	return holds || err != nil && r.Need.People > 0
}

// fits reports whether a call's effect is over one of the amounts. Without an amount every call is.
func (o Over) fits(e *Effect) bool {
	switch {
	case o.Money == nil && o.Customers == nil:
		return true
	case o.Customers != nil && e.Customers > *o.Customers:
		return true
	}
	return o.Money != nil && exceeds(e.Money, *o.Money)
}

// exceeds reports whether an amount is over a limit. Money of another currency is, whatever the amount.
func exceeds(m *shop.Money, limit shop.Money) bool {
	return m != nil && m.AmountMinor > 0 && (m.Currency != limit.Currency || m.AmountMinor > limit.AmountMinor)
}

// Shown reports whether a tool is on the list of those with a profile: granted, not switched off, and not over the ceiling at its best.
func (p *Policy) Shown(profile string, t *tools.Tool) bool {
	f := Facts{Profile: profile, Tool: t, Effect: &Effect{Risk: t.Risk}}
	if p.Switched(&f) != nil || p.Grants(&f) != nil {
		return false
	}
	own := p.profile(profile)
	return own == nil || own.Ceiling.Level == nil || p.Under(&f) == nil
}
