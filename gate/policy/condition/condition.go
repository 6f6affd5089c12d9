// Package condition is the part of a policy that is written in Cedar: who may do what to which object under which circumstances.
//
//	@id("no-night-refunds")
//	@reason("Refunds wait for the morning.")
//	forbid (principal, action == Action::"dtc_refund_order", resource)
//	when { context.time.hour >= 21 || context.time.hour < 7 };
//
// [Compile] reads the text, [Set.Check] holds it to types that are made from the tools, [Set.Decide] asks it about one call. Nothing is
// allowed unless a permit says so, a forbid wins over every permit, and whatever goes wrong denies. The last is ours: Cedar itself leaves
// a policy out that fails, so that a forbid which meets a value it cannot compare would let the call through.
//
// # What a policy can look at
//
// The principal is an Agent (kind, name, profile, owner, scopes, ceiling, requires_approval) in a Profile. The action is the tool, in a
// group for each part of its path ("orders.*") and in "reads" or "writes". A resource has a type and an id. The context is input (the
// arguments, typed by the tool's own JSON Schema), effect, time, source, environment, transport, tainted, trust and action. The tables
// are in facts.go, and the types and the values come from the same tables. An argument that may be any JSON has no type and cannot be
// looked at. Trust is a decimal of 0 to 100, so that `context.trust < 70` is an error of type and not a comparison in some other unit.
//
// # What is refused
//
// A check that can never be true protects nobody and looks as if it did. So a name that no tool has is refused also behind `has`, where
// Cedar would take it for one that is never there, and so is a text that is not among the words that a value can be.
//
// # What it costs
//
// For each tool and profile the policies that can apply are picked once ([Set.Check] makes the table, the first call of each pair fills
// its field), and of a call only what those look at is made into Cedar's values. Where only permits without conditions can apply,
// nothing is evaluated. A decision reads no database, takes no lock and keeps nothing.
package condition

import (
	"sync/atomic"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// The limits of what one document may hold. They bound how deep Cedar's parser recurses and how long a check takes.
const (
	MaxPolicies = 1000      // of a Set
	maxText     = 256 << 10 // bytes of a Set or a When
	maxTokens   = 2000      // of one policy
	maxNodes    = 5000      // of one policy, after the parser has written `has a.b.c` out
	maxDepth    = 40        // of brackets
	maxReason   = 300       // bytes of @reason
)

// A Set is the conditions of one document. It allows nothing until Check has found no problem. After that it may be used concurrently.
type Set struct {
	policies []*Policy // in the order of the document
	bound    atomic.Pointer[binding]
}

// Policies gives the policies in the order of the document.
func (s *Set) Policies() []*Policy { return s.policies }

// A Policy is one permit or forbid.
type Policy struct {
	id     string // of @id, or "line 12"
	reason string
	line   int // of the document, where the policy begins
	tokens []token
	ast    *xast.Policy
	scope  scope
	rest   *cedar.Policy // without what scope says: a plan has asked that already
	looks  want
}

// ID is the policy's @id, or "line N".
func (p *Policy) ID() string { return p.id }

// Rule is how decisions name the policy.
func (p *Policy) Rule() string { return rulePrefix + p.id }

// Permits reports whether it is a permit; otherwise it is a forbid.
func (p *Policy) Permits() bool { return p.ast.Effect == xast.EffectPermit }

// Line is where the policy begins in the document.
func (p *Policy) Line() int { return p.line }

const rulePrefix = "conditions."

// newPolicy prepares what does not depend on the tools.
func newPolicy(parsed *xast.Policy, tokens []token) *Policy {
	p := &Policy{ast: parsed, tokens: tokens, line: tokens[0].line, looks: looksOf(parsed)}
	var rest xast.Policy
	p.scope, rest = splitScope(*parsed)
	p.rest = cedar.NewPolicyFromAST((*ast.Policy)(&rest))
	return p
}

// unconditional reports whether the policy applies wherever its scope does, whatever the call.
func (p *Policy) unconditional() bool {
	return len(p.ast.Conditions) == 0 && !p.scope.asksPrincipal && !p.looksAtResource()
}

func (p *Policy) looksAtResource() bool { return p.looks.get("resource") != nil }
