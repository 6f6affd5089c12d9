package condition

import (
	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// About gives the policies whose heads fit the calls of a tool under a profile, in the order of the document. The set has been checked.
func (s *Set) About(tool, profile string) []*Policy {
	b := s.bound.Load()
	if b == nil {
		return nil
	}
	p := b.plan(tool, profile)
	if p == nil {
		return nil
	}
	return p.policies
}

// Suppose is the set as it decides when each policy that looks outside what a search covers ([Policy.Outside]) comes out in favour of the
// call, or else against it. What the one refuses and the other allows is so for every call that looks the same to the search, because
// nothing but a permit allows and one forbid more never allows more. The set has been checked.
func (s *Set) Suppose(favourable bool) *Set {
	some := &Set{}
	for _, p := range s.policies {
		switch {
		case len(p.Outside()) == 0:
			some.policies = append(some.policies, p)
		case p.Permits() == favourable:
			some.policies = append(some.policies, p.always())
		}
	}
	if b := s.bound.Load(); b != nil {
		some.bound.Store(bind(b.world, some.policies))
	}
	return some
}

// always is the policy without its conditions: about the same tools and profile, whoever calls and whatever the call is about.
func (p *Policy) always() *Policy {
	q, head := *p, *p.ast
	head.Conditions, head.Resource = nil, xast.Scope{}.All()
	if p.scope.asksPrincipal {
		head.Principal = xast.Scope{}.All()
	}
	var rest xast.Policy
	q.ast, q.looks = &head, looksOf(&head)
	q.scope, rest = splitScope(head)
	q.rest = cedar.NewPolicyFromAST((*ast.Policy)(&rest))
	return &q
}

// Thresholds are those of [Set.Thresholds] in one policy.
func (p *Policy) Thresholds() map[string][]int64 { return (&Set{policies: []*Policy{p}}).Thresholds() }

// Currencies are the texts that the policy compares context.effect.currency with.
func (p *Policy) Currencies() []string { return p.comparisons().currencies }

// Policy is the condition as a policy that permits what it is true of.
func (w *When) Policy() *Policy { return w.policy }
