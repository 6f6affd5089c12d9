package policy

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/tools"
)

// An Outcome is what becomes of a call.
type Outcome string

// The outcomes.
const (
	Run    Outcome = "run"
	Park   Outcome = "park"
	Refuse Outcome = "refuse"
)

// A Verdict is what a policy says about a call, and by which rule.
type Verdict struct {
	Outcome Outcome
	Rule    string
	Check   string          // that refused
	Refusal *tools.Refusal  // of a refused call
	Ask     approvals.Rule  // of a parked call: whose consent it waits for
	Charges []budget.Charge // what the call takes from the budgets, if there is enough left
	// Unknown says that the checks behind Check could not be asked, for want of the call's effect.
	Unknown bool
}

// Denied is a refusal with the rule that made it.
type Denied struct {
	Rule string
	Most int64 // of an amount that is too large: what would not be, in minor units; 0: there is none
	*tools.Refusal
}

func (d *Denied) Unwrap() error { return d.Refusal }

// deny makes a refusal by a rule.
func deny(rule string, code tools.Code, next, format string, args ...any) error {
	return &Denied{Rule: rule, Refusal: tools.Refuse(code, next, format, args...)}
}

// A Check judges one thing about a call and answers nil or *Denied.
type Check struct {
	Name  string
	Judge func(*Policy, *Facts) error
	early bool // it can be asked before the call's effect is known
}

// checks are what a policy asks about a call, in this order. The first refusal wins.
var checks = []Check{
	{"switched", (*Policy).Switched, true},
	{"profile", (*Policy).Grants, true},
	{"action", (*Policy).GrantsAction, true},
	{"objects", (*Policy).GrantsObjects, true},
	{"freeze", (*Policy).Frozen, false},
	{"ceiling", (*Policy).Under, false},
	{"sandbox", (*Policy).Trusts, false},
	{"conditions", (*Policy).Meets, false},
	{"quiet", (*Policy).Awake, false},
}

// Decide says what becomes of a call.
func (p *Policy) Decide(f *Facts) Verdict {
	for _, c := range checks {
		if f.Effect == nil && !c.early {
			return Verdict{Outcome: Refuse, Check: c.Name, Unknown: true}
		}
		if err := c.Judge(p, f); err != nil {
			return refused(c.Name, err)
		}
	}
	v := p.through(f)
	v.Charges = p.Charges(f)
	return v
}

// refused is the verdict of a check that answers with an error, which is a *Denied: of any other no rule would be known.
func refused(check string, err error) Verdict {
	v := Verdict{Outcome: Refuse, Check: check}
	if d := (*Denied)(nil); errors.As(err, &d) {
		v.Rule, v.Refusal = d.Rule, d.Refusal
	}
	return v
}

// through says what becomes of a call that no check refuses.
func (p *Policy) through(f *Facts) Verdict {
	v := Verdict{Outcome: Run}
	var parks bool
	if v.Ask, parks = p.Approval(f); parks {
		v.Outcome = Park
	}
	v.Rule = v.Ask.Name
	return v
}

// Switched asks whether a tool is there at all.
func (p *Policy) Switched(f *Facts) error {
	if !p.Document.Tools[f.Tool.Name].Off {
		return nil
	}
	return deny("tools."+f.Tool.Name+".off", tools.ForbiddenTool, "Work without it.", "The tool %s is switched off.", f.Tool.Name)
}

// Grants asks whether the caller's profile has the tool.
func (p *Policy) Grants(f *Facts) error {
	if f.free() {
		return nil
	}
	own := p.profile(f.Profile)
	switch {
	case own == nil:
		return deny("profiles", tools.ForbiddenTool, "Tell whoever gave you the credential: an admin gives it a profile that exists.",
			"The profile of this credential is not in the policy, so it may call no tools.")
	case own.tools[f.Tool.Name]:
		return nil
	case own.name == Scoped:
		return deny(own.rule(), tools.ForbiddenTool, "Ask whoever gave you the credential for one with a profile.",
			"This credential has no profile that grants tools.")
	}
	return deny(own.rule(), tools.ForbiddenTool, "Work with the tools that dtc_whoami lists, or ask whoever gave you the credential for another profile.",
		"The profile of this credential does not have %s.", f.Tool.Name)
}

func (p *profile) rule() string { return "profiles." + p.name }

// GrantsAction asks whether the profile has the action that a call asks for.
func (p *Policy) GrantsAction(f *Facts) error {
	own := p.profile(f.Profile)
	if f.Action == "" || own != nil && own.mayRequest(f.Action) {
		return nil
	}
	return deny("profiles."+f.Profile, tools.NotFound, "Work without it, or ask whoever gave you the credential for a grant of the action.",
		"There is no such action, or this credential may not request it.")
}

func (p *profile) mayRequest(action string) bool {
	return (fitsAny(p.Actions.Request, action) || fitsAny(p.Actions.Run, action)) && !fitsAny(p.Deny.Actions, action)
}

func (p *profile) mayRun(action string) bool {
	return action != "" && fitsAny(p.Actions.Run, action) && !fitsAny(p.Deny.Actions, action)
}

func fitsAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return auth.Fits(pattern, name) })
}

// MayRequest reports whether a profile grants an action.
func (p *Policy) MayRequest(profile, action string) bool {
	own := p.profile(profile)
	return own != nil && own.mayRequest(action)
}

// GrantsObjects asks whether the profile has every object that the call is about.
func (p *Policy) GrantsObjects(f *Facts) error {
	if f.free() || f.Tool.Own() {
		return nil
	}
	return p.Touches(f.Profile, f.objects())
}

// Touches asks whether a profile has objects: those of a call, or those that its answer shows.
func (p *Policy) Touches(profile string, objects []tools.Object) error {
	own := p.profile(profile)
	if own != nil && !slices.ContainsFunc(objects, func(o tools.Object) bool { return !own.has(o) }) {
		return nil
	}
	return deny("profiles."+profile, tools.ForbiddenResource, "Name an object that this credential is for, or narrow the call to those.",
		"The profile of this credential is for some objects, and this call is about another.")
}

// Everything reports whether a profile has all objects.
func (p *Policy) Everything(profile string) bool {
	own := p.profile(profile)
	return own != nil && slices.Contains(own.Resources, "*") && len(own.Deny.Resources) == 0
}

// has reports whether one of an object's names is granted and none is denied.
func (p *profile) has(o tools.Object) bool {
	all := slices.Contains(p.Resources, "*") // also what has no name
	granted := all || slices.ContainsFunc(o, func(name string) bool { return fitsAny(p.Resources, name) })
	return granted && !slices.ContainsFunc(o, func(name string) bool { return fitsAny(p.Deny.Resources, name) })
}

// Frozen asks whether the call's time lies in a freeze.
func (p *Policy) Frozen(f *Facts) error {
	if f.free() || f.DryRun || !f.Tool.Writes() {
		return nil
	}
	at, class := f.when(), p.Classify(f.Tool, f.Effect.Class)
	for i := range p.freezes {
		z := &p.freezes[i]
		if !z.holds(at) || !z.fits(f, class) {
			continue
		}
		why := ""
		if z.Why != "" {
			why = " " + z.Why
		}
		return deny("freezes."+z.Name, tools.Frozen, "Wait until then, or rehearse it with dry_run.", "Calls like this one are frozen until %s.%s", z.To.Format(time.RFC3339), why)
	}
	return nil
}

// Rate gives the risk of a call as the operator sees it: what an override says stands in place of the tool's own.
func (p *Policy) Rate(t *tools.Tool, r tools.Risk) tools.Risk {
	o := p.Document.Tools[t.Name].Risk
	if o == nil {
		return r
	}
	for _, part := range []struct {
		to   *int
		from *int
	}{{&r.Undo, o.Undo}, {&r.Blast, o.Blast}, {&r.Money, o.Money}, {&r.Touch, o.Touch}, {&r.DataOut, o.DataOut}, {&r.Reach, o.Reach}} {
		if part.from != nil {
			*part.to = *part.from
		}
	}
	return r
}

// Classify gives the class of a call as the operator sees it.
func (p *Policy) Classify(t *tools.Tool, c tools.Class) tools.Class {
	switch o := p.Document.Tools[t.Name].Class; {
	case o == nil:
		return c
	case *o == "none":
		return tools.ClassNone
	default:
		return *o
	}
}

// Rated gives the risk of a call whose effect is known, after overrides, and of a rehearsal without its effect.
func (p *Policy) Rated(f *Facts) tools.Risk {
	r := p.Rate(f.Tool, f.Effect.Risk)
	if f.DryRun {
		r = r.Rehearsed()
	}
	return r
}

// touches reports whether customers would hear of the call.
func (p *Policy) touches(f *Facts) bool {
	return p.Rated(f).Touch > 0 || f.Effect.Customers > 0 && p.Classify(f.Tool, f.Effect.Class) == tools.ClassContact
}

// Under asks whether the call is under the profile's ceiling.
func (p *Policy) Under(f *Facts) error {
	own := p.profile(f.Profile)
	if f.free() {
		return nil
	}
	if own == nil {
		return p.Grants(f)
	}
	if over := own.Ceiling.exceeded(p.Rated(f), f); over != "" {
		return own.Ceiling.denied(own.rule()+".ceiling", tools.RiskCeiling, "Do a smaller thing, rehearse it with dry_run where the tool has it, or leave it to people.",
			"The profile of this credential %s.", over)
	}
	return nil
}

// denied is deny with the amount that the ceiling would let through.
func (c Ceiling) denied(rule string, code tools.Code, next, format string, args ...any) error {
	d := &Denied{Rule: rule, Refusal: tools.Refuse(code, next, format, args...)}
	if c.Vector != nil {
		d.Most = c.Vector.Money.PerCallMinor
	}
	return d
}

// exceeded says in which way a call is over the ceiling; "" when it is not.
func (c Ceiling) exceeded(r tools.Risk, f *Facts) string {
	if v := c.Vector; v != nil {
		return v.exceeded(r, f)
	}
	var most auth.Level
	if c.Level != nil {
		most = *c.Level
	}
	if level := r.Level(); level > most {
		return fmt.Sprintf("goes up to %s (%s), and this call is rated %s (%s)", most, most.Word(), level, level.Word())
	}
	return ""
}

func (v *Vector) exceeded(r tools.Risk, f *Facts) string {
	switch {
	case r.Undo > v.Undo:
		return fmt.Sprintf("allows what can be undone at %d, and this call is rated %d", v.Undo, r.Undo)
	case v.Blast != nil && r.Blast > *v.Blast:
		return fmt.Sprintf("allows a blast of %d, and this call is rated %d", *v.Blast, r.Blast)
	case r.DataOut > v.Data:
		return fmt.Sprintf("allows data of class %d, and this call gives out class %d", v.Data, r.DataOut)
	case r.Reach > v.Reach:
		return "allows nothing that leaves the platform"
	case f.DryRun:
		return ""
	}
	return v.amountExceeded(r, f.Effect)
}

func (v *Vector) amountExceeded(r tools.Risk, e *Effect) string {
	m := e.Money
	switch {
	case r.Money == 0 && (m == nil || m.AmountMinor == 0):
	case m == nil:
		return "bounds the money of a call, and that of this one is not known"
	case m.AmountMinor > v.Money.PerCallMinor || m.AmountMinor > 0 && string(m.Currency) != v.Money.Currency:
		return fmt.Sprintf("allows %d minor units of %s a call", v.Money.PerCallMinor, v.Money.Currency)
	}
	reached := e.Customers
	if r.Touch > 0 {
		reached = max(1, reached) // the rating counts also where the tool names nobody
	}
	if reached > v.Customers.PerCall {
		return fmt.Sprintf("allows %d customers a call", v.Customers.PerCall)
	}
	return ""
}

// Trusts asks whether the caller's sandbox has room for the call.
func (p *Policy) Trusts(f *Facts) error {
	if f.free() {
		return nil
	}
	risk := p.Rated(f)
	if f.NoTrust && p.Document.Trust.Stops(risk) {
		return deny("trust.source", tools.Unavailable, "Try again in a few seconds; what stays inside the shop can go on.",
			"The trust of this agent is not known right now, and this call reaches outside.")
	}
	box := p.Document.Trust.Sandbox(f.Trust)
	if need := p.Document.Tools[f.Tool.Name].MinimumTrust; need != "" && p.Document.Trust.Below(box, need) {
		return deny("tools."+f.Tool.Name+".minimum_trust", tools.TrustTooLow, "Do what the sandbox allows until the score has risen, or leave it to people.",
			"%s takes the sandbox %s; the trust of this agent is %s, which is %s.", f.Tool.Name, need, f.Trust, box.Level)
	}
	if !box.Allows(f.Tool, risk.Level()) {
		return deny("trust."+string(box.Level), tools.TrustTooLow, "Do what the sandbox allows until the score has risen, or leave it to people.",
			"The trust of this agent is %s, and the sandbox %s does not allow this call.", f.Trust, box.Level)
	}
	return nil
}

// Awake asks whether customers may hear of the call at its time. A call that waits for people is asked when it runs.
func (p *Policy) Awake(f *Facts) error {
	q := p.Document.Limits.Contact.Quiet
	if q == nil || f.free() || f.DryRun || !p.touches(f) {
		return nil
	}
	until, quiet := q.Holds(f.when(), p.zone)
	if !quiet {
		return nil
	}
	if _, parks := p.Approval(f); parks && !f.Resumed && f.Effect.RunAt.IsZero() {
		return nil
	}
	return deny("limits.contact.quiet", tools.QuietHours, "Send it from then on; where the tool has send_at, name that time.",
		"Customers are not written to before %s.", until.Format(time.RFC3339))
}
