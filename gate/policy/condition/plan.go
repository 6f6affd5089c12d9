package condition

import (
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/cedar-policy/cedar-go"
)

// A Decision is what the conditions say of one call.
type Decision struct {
	Allowed  bool
	Rule     string   // conditions.ID of the policy that decided; "conditions" when none did
	Resource string   // the one that was refused, or the last; "" where no policy looks at resources
	Errors   []string // what went wrong, with the policy; any denies
	Why      string   // @reason of the forbid that decided
	NoPermit bool     // denied because nothing allows it
}

// A binding is a set in a world: for each tool and profile its plan, made when it is first asked for. Two that make the same
// plan at once make equal ones.
type binding struct {
	*world
	policies []*Policy
	plans    []atomic.Pointer[plan]
}

func bind(w *world, policies []*Policy) *binding {
	return &binding{world: w, policies: policies, plans: make([]atomic.Pointer[plan], len(w.places)*(len(w.profiles)+1))}
}

func (b *binding) plan(tool, profile string) *plan {
	place := b.byName[tool]
	if place == nil {
		return nil
	}
	field := &b.plans[place.number*(len(b.profiles)+1)+b.profiles[profile]]
	if p := field.Load(); p != nil {
		return p
	}
	p := newPlan(place, b.policies, profile)
	field.Store(p)
	return p
}

// A plan is what can apply to the calls of one tool under one profile.
type plan struct {
	place     *place
	policies  []*Policy // in the order of the document
	byID      map[cedar.PolicyID]*Policy
	looks     want
	resources bool      // some policy looks at the resource
	reads     Reads     // of looks
	settled   *Decision // where every call gets the same answer
}

func newPlan(at *place, policies []*Policy, profile string) *plan {
	p := &plan{place: at, byID: map[cedar.PolicyID]*Policy{}}
	settled := true
	for _, one := range policies {
		if !one.scope.fits(at, profile) {
			continue
		}
		p.policies = append(p.policies, one)
		p.byID[cedar.PolicyID(one.id)] = one
		p.looks.merge(&one.looks)
		p.resources = p.resources || one.looksAtResource()
		settled = settled && one.Permits() && one.unconditional()
	}
	p.reads = p.asReads()
	switch {
	case len(p.policies) == 0:
		p.settled = &Decision{Rule: section, NoPermit: true}
	case settled:
		p.settled = &Decision{Allowed: true, Rule: p.policies[0].Rule()}
	}
	return p
}

// fits reports whether the head can be true of calls of that tool under that profile.
func (s scope) fits(at *place, profile string) bool {
	if s.ofProfile && string(s.profile) != profile {
		return false
	}
	for _, a := range s.actions {
		if at.in(a) {
			return true
		}
	}
	return s.actions == nil
}

// All makes a plan the set of policies that Cedar asks, in the order of the document.
func (p *plan) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, one := range p.policies {
			if !yield(cedar.PolicyID(one.id), one.rest) {
				return
			}
		}
	}
}

// Decide asks the set about one call. A call about several resources is allowed when it is for each of them.
func (s *Set) Decide(q Request) Decision {
	b := s.bound.Load()
	if b == nil {
		return failed("the conditions were never checked against the tools")
	}
	p := b.plan(q.Tool, q.Profile)
	if p == nil {
		return failed(fmt.Sprintf("there is no tool %q to ask about", q.Tool))
	}
	if p.settled != nil {
		return *p.settled
	}
	return p.decide(q)
}

func failed(why string) Decision { return Decision{Rule: section, Errors: []string{why}} }

func (p *plan) decide(q Request) Decision {
	f, err := p.factsOf(&q)
	if err != nil {
		return failed(err.Error())
	}
	if !p.resources {
		return p.ask(f)
	}
	var last Decision
	for _, name := range orNone(q.Resources) {
		f.about(name, p.looks.get("resource"))
		last = p.ask(f)
		last.Resource = name
		if !last.Allowed {
			break
		}
	}
	return last
}

func orNone(resources []string) []string {
	if len(resources) == 0 {
		return []string{""}
	}
	return resources
}

// ask puts one question to Cedar. Cedar evaluates every policy, and lists reasons and errors in the order of the plan.
func (p *plan) ask(f *facts) Decision {
	allow, diagnostic := cedar.Authorize(p, f, f.request)
	d := Decision{Rule: section}
	for _, e := range diagnostic.Errors {
		d.Errors = append(d.Errors, fmt.Sprintf("%s: %s", e.PolicyID, e.Message))
	}
	if len(diagnostic.Reasons) == 0 {
		d.NoPermit = len(d.Errors) == 0
		return d.blamed(p, diagnostic)
	}
	decisive := p.byID[diagnostic.Reasons[0].PolicyID]
	if allow == cedar.Allow && len(d.Errors) > 0 {
		return d.blamed(p, diagnostic)
	}
	d.Allowed, d.Rule = allow == cedar.Allow, decisive.Rule()
	if !d.Allowed {
		d.Why = decisive.reason
	}
	return d
}

// blamed names the first policy that failed as the one that denied.
func (d Decision) blamed(p *plan, diagnostic cedar.Diagnostic) Decision {
	if len(diagnostic.Errors) > 0 {
		d.Rule = p.byID[diagnostic.Errors[0].PolicyID].Rule()
	}
	return d
}

// Reads is what of a call the conditions may look at, for one tool and profile. What they do not look at need not be in the Request.
type Reads struct {
	Input, Effect, Time, Source, Resources, Trust bool
}

// Reads tells what the policies that can apply look at.
func (s *Set) Reads(tool, profile string) Reads {
	b := s.bound.Load()
	if b == nil {
		return Reads{}
	}
	p := b.plan(tool, profile)
	if p == nil || p.settled != nil {
		return Reads{}
	}
	return p.reads
}

// asReads tells what a plan looks at.
func (p *plan) asReads() Reads {
	context := p.looks.get("context")
	on := func(name string) bool { return context.get(name) != nil }
	return Reads{on("input"), on("effect"), on("time"), on("source"), p.resources, on("trust")}
}

// Never reports whether nothing can permit a call of a tool under a profile, whatever the call.
func (s *Set) Never(tool, profile string) bool {
	b := s.bound.Load()
	if b == nil {
		return true
	}
	p := b.plan(tool, profile)
	return p == nil || !slices.ContainsFunc(p.policies, (*Policy).Permits)
}
