package policy

import (
	"slices"
	"time"
)

// enoughUnsure is how many calls that may break an assertion are looked at in the hope of one that surely does.
const enoughUnsure = 200

// A hunt looks for a call that breaks one assertion.
type hunt struct {
	*prover
	assertion *Assertion
	places    int
	asked     int64
	sure      *Witness // breaks it whatever else is true
	maybe     *Witness // breaks it if conditions come out that way
	unsure    int      // calls of that sort that were found
}

func (h *hunt) finding() Finding {
	f := Finding{Name: h.assertion.Name, Result: Holds, Places: h.places, Asked: h.asked}
	switch {
	case h.sure != nil:
		f.Result, f.Witness = Fails, h.sure
	case h.maybe != nil:
		f.Result, f.Witness = Unknown, h.maybe
	}
	return f
}

// search looks at one place: for a call that is let through and should not be, or not like this; and where a refusal would break the
// assertion, check by check for one that is refused.
func (h *hunt) search(at place) {
	h.run(at, h.favourable, h.passing(at))
	if !h.assertion.breaks(&Verdict{Outcome: Refuse}) {
		return
	}
	for _, c := range checks {
		refused := func(x *point) bool { return c.Judge(x.policy, &x.facts) != nil }
		h.run(at, h.against, []test{{at.reads(h.against, c.Name), refused}})
	}
	h.run(at, h.against, []test{{onRating | onMoney | onCustomers, func(x *point) bool { return x.policy.unaffordable(&x.facts) != nil }}})
}

// passing are the tests of a call that goes through and breaks the assertion.
func (h *hunt) passing(at place) []test {
	all := []test{{at.asks(h.favourable), func(x *point) bool {
		v := x.policy.through(&x.facts)
		return h.assertion.breaks(&v)
	}}}
	for _, c := range checks {
		all = append(all, test{at.reads(h.favourable, c.Name), func(x *point) bool { return c.Judge(x.policy, &x.facts) == nil }})
	}
	return append(all, test{onRating | onMoney | onCustomers, func(x *point) bool { return x.policy.unaffordable(&x.facts) == nil }})
}

// unaffordable gives a budget that a call is over by itself, whatever else was taken from it.
func (p *Policy) unaffordable(f *Facts) *Verdict {
	for _, c := range p.Charges(f) {
		if c.Amount > c.Limit {
			return &Verdict{Outcome: Refuse, Check: "budgets", Rule: c.Budget}
		}
	}
	return nil
}

// final is what becomes of a call at best: budgets may be used up besides.
func (p *Policy) final(f *Facts) Verdict {
	v := p.Decide(f)
	if v.Outcome != Refuse {
		if over := p.unaffordable(f); over != nil {
			return *over
		}
	}
	return v
}

func (h *hunt) run(at place, p *Policy, tests []test) {
	if h.sure != nil || h.unsure >= enoughUnsure {
		return
	}
	s := newSearch(p, at, &h.assertion.For)
	s.tests = append(h.assertion.For.tests(), tests...)
	s.run(h.values(at, &h.assertion.For), func() bool { return h.found(s, at) })
	h.asked += s.asked
}

// found puts a call to Decide as it is. Where the document does not break the assertion then, something was supposed.
func (h *hunt) found(s *search, at place) bool {
	f := s.facts
	effect := s.effect
	f.Effect = &effect
	h.asked++
	if v, broken := h.confirmed(&f, at); broken {
		h.sure = newWitness(h.policy, &f, &v)
		return true
	}
	v := s.policy.final(&f)
	if h.maybe == nil {
		h.maybe = newWitness(s.policy, &f, &v)
		h.maybe.If = h.suppositions(at, s.policy)
	}
	h.unsure++
	return h.unsure >= enoughUnsure
}

// confirmed asks the document itself, at every hour of a week where it looks at the time.
func (h *hunt) confirmed(f *Facts, at place) (Verdict, bool) {
	first := f.At
	for hour := range h.hours(at) {
		f.At = first.Add(time.Duration(hour) * time.Hour)
		if v := h.policy.final(f); h.inScope(f) && h.assertion.breaks(&v) {
			return v, true
		}
	}
	f.At = first
	return Verdict{}, false
}

// inScope reports whether a call is one of those that the assertion is about.
func (h *hunt) inScope(f *Facts) bool {
	x := &point{policy: h.policy, facts: *f, effect: *f.Effect}
	x.facts.Effect = &x.effect
	return !slices.ContainsFunc(h.assertion.For.tests(), func(t test) bool { return !t.ok(x) })
}

const week = 7 * 24

func (h *hunt) hours(at place) int {
	for _, paths := range h.outside(at) {
		if slices.ContainsFunc(paths, func(path string) bool { return len(path) >= 12 && path[:12] == "context.time" }) {
			return week
		}
	}
	return 1
}

// outside are the conditions and approval rules of a place that look at something outside the space, with what they look at.
func (h *hunt) outside(at place) map[string][]string {
	all := map[string][]string{}
	for _, c := range h.policy.conditions.About(at.tool.Name, at.profile) {
		if paths := c.Outside(); len(paths) > 0 {
			all[c.Rule()] = paths
		}
	}
	for _, r := range at.rules(h.policy) {
		if r.when != nil && len(r.when.Outside()) > 0 {
			all[r.full+".when"] = r.when.Outside()
		}
	}
	return all
}
