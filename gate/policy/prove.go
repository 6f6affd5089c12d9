package policy

import (
	"cmp"
	"context"
	"maps"
	"math/bits"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
)

// A Result is what a search found out about an assertion.
type Result string

// The results. Unknown is that it hangs on something that the search does not cover, such as an argument that a condition looks at: the
// finding says on what.
const (
	Holds   Result = "holds"
	Fails   Result = "fails"
	Unknown Result = "unknown"
)

// A Proof is what became of every assertion.
type Proof struct {
	Hash     string    `json:"hash"` // of the document
	Holds    bool      `json:"holds"`
	Findings []Finding `json:"assertions"`
	Free     []string  `json:"free,omitempty"` // tools that no policy holds back, which are left out where they are not named
}

// A Finding is what became of one.
type Finding struct {
	Name    string   `json:"name"`
	Result  Result   `json:"result"`
	Witness *Witness `json:"witness,omitempty"` // a call that is not as the assertion says
	Places  int      `json:"places"`            // combinations of profile, tool and action that were searched
	Asked   int64    `json:"asked"`             // questions that were put to the policy
}

// Why says what an unknown result hangs on.
func (f *Finding) Why() string {
	if f.Witness == nil {
		return "the search was ended early"
	}
	return f.Witness.String()
}

// Prove searches every call that a document can tell apart for one that breaks an assertion. Without a problem there is a finding for each.
//
// It judges nothing by itself. The calls are points of a finite space (prove_axes.go), the questions are the checks and the approval rules
// of Decide, and a call that is shown has been put to Decide whole. What conditions say of things outside the space is supposed to come
// out in the way that breaks the assertion; a witness that needs that says so, and makes the result Unknown and not Fails.
//
// A credential can hold back more than the policy: its scopes, its ceiling and its own limits are taken to allow everything.
func Prove(ctx context.Context, p *Policy, registry *tools.Registry, text []byte, progress func(done, total int)) (*Proof, []strict.Problem) {
	asked, problems := readAssertions(text, p, registry)
	if len(problems) > 0 {
		return nil, problems
	}
	k := newProver(p, registry)
	if problems = k.empty(text, asked); len(problems) > 0 {
		return nil, problems
	}
	proof := &Proof{Hash: p.Hash, Holds: true, Free: freeTools(registry)}
	total := len(asked) * len(k.places)
	for i := range asked {
		f := k.prove(ctx, &asked[i], func(n int) { progress(i*len(k.places)+n, total) })
		proof.Holds = proof.Holds && f.Result == Holds
		proof.Findings = append(proof.Findings, f)
	}
	return proof, nil
}

func freeTools(r *tools.Registry) (all []string) {
	for _, t := range r.All() {
		if (&Facts{Tool: t}).free() {
			all = append(all, t.Name)
		}
	}
	return all
}

// A prover searches one document.
type prover struct {
	policy     *Policy
	favourable *Policy // with the conditions that look outside in favour of each call
	against    *Policy // and against it
	places     []place
	times      []time.Time
	sandboxes  []int64
}

func newProver(p *Policy, registry *tools.Registry) *prover {
	k := &prover{policy: p, favourable: p.supposing(true), against: p.supposing(false), times: p.moments(), sandboxes: edges(p.Document.Trust)}
	for _, profile := range slices.Sorted(maps.Keys(p.profiles)) {
		for _, t := range registry.All() {
			if t.Batches() {
				continue // it does what its calls do, of which each is looked for by itself
			}
			if len(t.Actions) == 0 {
				k.places = append(k.places, place{profile: profile, tool: t})
			}
			for _, a := range t.Actions {
				k.places = append(k.places, place{profile: profile, tool: t, action: a.ID()})
			}
		}
	}
	return k
}

// supposing is the policy with the conditions that look outside the space in favour of every call, or against it.
func (p *Policy) supposing(favourable bool) *Policy {
	q := *p
	q.conditions = p.conditions.Suppose(favourable)
	return &q
}

// whens are the ways in which the conditions of approval rules can come out that look outside the space: none is true, or one. Of several
// that are true the first rule that fits counts, so that one at a time stands for all.
func (k *prover) whens(a place) []value {
	outside := func(r *approvalRule) bool { return r.when != nil && len(r.when.Outside()) > 0 }
	all := []*approvalRule{nil}
	for _, r := range a.rules(k.policy) {
		if outside(r) {
			all = append(all, r)
		}
	}
	if len(all) == 1 {
		return []value{func(*point) {}}
	}
	return each(all, func(x *point, holds *approvalRule) {
		q := *x.policy
		q.byTool = map[string][]*approvalRule{}
		for _, r := range k.policy.byTool[a.tool.Name] {
			if r == holds {
				plain := *r
				plain.when = nil
				r = &plain
			}
			if !outside(r) {
				q.byTool[a.tool.Name] = append(q.byTool[a.tool.Name], r)
			}
		}
		x.policy = &q
	})
}

// prove looks for a call that breaks an assertion, place by place. ctx ends it early with what is known by then, which is nothing.
func (k *prover) prove(ctx context.Context, a *Assertion, progress func(int)) Finding {
	h := &hunt{prover: k, assertion: a}
	for i, at := range k.places {
		if ctx.Err() != nil {
			return Finding{Name: a.Name, Result: Unknown, Asked: h.asked}
		}
		if a.For.covers(at.profile, at.tool, at.action) {
			h.places++
			h.search(at)
		}
		progress(i + 1)
		if h.sure != nil || h.unsure >= enoughUnsure {
			break
		}
	}
	return h.finding()
}

// empty notes the assertions that are about no call, which are true of every document.
func (k *prover) empty(text []byte, all []Assertion) (problems []strict.Problem) {
	for i := range all {
		if !slices.ContainsFunc(k.places, func(at place) bool {
			return all[i].For.covers(at.profile, at.tool, at.action) && k.some(at, &all[i].For)
		}) {
			problems = append(problems, strict.Problem{
				Path: strict.Index("assertions", i), Problem: "is about no call", Expected: "calls that some tool can make under some profile",
			})
		}
	}
	return strict.Locate(strict.Lines(text), problems)
}

// some reports whether some call at a place is one that an assertion is about.
func (k *prover) some(at place, c *Calls) (found bool) {
	s := newSearch(k.policy, at, c)
	s.tests = c.tests()
	s.run(k.values(at, c), func() bool { found = true; return true })
	return found
}

// A search walks through the points of one place, axis after axis, and turns back where a test fails that reads no axis further on.
type search struct {
	point
	tests []test
	at    [axisCount][]test // those that can be asked when that axis is set
	spent [axisCount]bool   // no test further on reads that axis
	asked int64
	hits  int64 // points that passed all tests
}

func newSearch(p *Policy, at place, c *Calls) *search {
	s := &search{}
	s.policy = p
	s.facts = Facts{
		Agent: "key_any", Kind: auth.KindKey, Profile: at.profile, Scopes: auth.AgentScopes, Ceiling: auth.MaxLevel, Action: at.action,
		Tool: at.tool, DryRun: c.Rehearsals, Transport: "mcp", Args: []byte(cmp.Or(at.tool.Example, "{}")),
	}
	s.facts.Effect = &s.effect
	return s
}

// run calls found for each point that passes all tests, until it answers true.
func (s *search) run(values [axisCount][]value, found func() bool) {
	s.tests = append([]test{
		{onRating | onMoney, func(x *point) bool { return x.foreseen(0) }},
		{onRating | onMoney | onCustomers, func(x *point) bool { return x.foreseen(x.effect.Customers) }},
	}, s.tests...)
	for _, t := range s.tests {
		if t.reads == 0 {
			if s.asked++; !t.ok(&s.point) {
				return
			}
		}
	}
	for i := range values {
		if values[i] = s.fewer(axes(1)<<i, values[i]); len(values[i]) == 0 {
			return
		}
	}
	s.arrange()
	s.walk(&values, 0, found)
}

// foreseen reports whether the tool can have such an effect on so many customers.
func (x *point) foreseen(customers int64) bool {
	e := &x.effect
	p := tools.Preview{Money: e.Money, Customers: customers, Asks: e.Asks}
	return x.facts.Tool.Foresaw(x.facts.Action, p, tools.Rating{Risk: e.Risk, Class: e.Class, Asks: e.Asks}) == nil
}

// fewer leaves out values that make no difference: one is enough of an axis that no test reads, and one that passes of an axis whose
// tests read it alone.
func (s *search) fewer(axis axes, all []value) []value {
	var own []test
	for _, t := range s.tests {
		switch {
		case t.reads == axis:
			own = append(own, t)
		case t.reads&axis != 0:
			return all
		}
	}
	for _, v := range all {
		before := s.policy
		v(&s.point)
		s.asked += int64(len(own))
		passes := !slices.ContainsFunc(own, func(t test) bool { return !t.ok(&s.point) })
		s.policy = before
		if passes {
			return []value{v}
		}
	}
	return nil
}

// arrange puts each test at the last axis that it reads.
func (s *search) arrange() {
	var last [axisCount]int
	for _, t := range s.tests {
		if t.reads == 0 {
			continue
		}
		at := bits.Len(uint(t.reads)) - 1
		s.at[at] = append(s.at[at], t)
		for i := range last {
			if t.reads&(1<<i) != 0 {
				last[i] = max(last[i], at)
			}
		}
	}
	for i := range last {
		s.spent[i] = last[i] <= i
	}
}

// walk goes on from a point whose axes before one are set. Where an axis is spent, and nothing was found behind a value that passes, nothing
// will be found behind the others.
func (s *search) walk(values *[axisCount][]value, axis int, found func() bool) bool {
	if axis == axisCount {
		s.hits++
		return found()
	}
	before, hits := s.policy, s.hits
	defer func() { s.policy = before }()
	for _, v := range values[axis] {
		s.policy = before
		v(&s.point)
		if !s.pass(axis) {
			continue
		}
		if s.walk(values, axis+1, found) {
			return true
		}
		if s.spent[axis] && s.hits == hits {
			break
		}
	}
	return false
}

func (s *search) pass(axis int) bool {
	for _, t := range s.at[axis] {
		if s.asked++; !t.ok(&s.point) {
			return false
		}
	}
	return true
}
