package condition

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
)

// A When is one condition that stands alone, as in an approval rule: a Bool over principal, action, resource and context. It holds for
// nothing until Check has found no problem. After that it may be used concurrently.
type When struct {
	policy *Policy
	bound  atomic.Pointer[binding]
}

// CompileWhen reads a condition. line is that of the text's first line in the document; the problems' Path is the caller's to fill in.
func CompileWhen(expr string, line int) (*When, []strict.Problem) {
	if problem := unreadable(expr); problem != "" {
		return nil, []strict.Problem{{Line: line, Problem: problem}}
	}
	const before = "permit (principal, action, resource) when {\n"
	text := before + expr + "\n};"
	tokens := scan(text, line-1)
	if len(tokens) == len(scan(before, line))+2 {
		return nil, []strict.Problem{{Line: line, Problem: "there is no condition", Expected: "a Cedar expression that is true or false"}}
	}
	parsed, problem := parse(text, tokens)
	if problem != nil {
		problem.Line = min(max(problem.Line, line), line+strings.Count(expr, "\n")) // and not in what stands around it here
		return nil, []strict.Problem{*problem}
	}
	if !alone(parsed) {
		return nil, []strict.Problem{{Line: line, Problem: "this is more than a condition", Expected: "one Cedar expression that is true or false"}}
	}
	p := newPolicy(parsed, tokens)
	p.id, p.line = "when", line
	return &When{policy: p}, nil
}

// alone reports whether p is what CompileWhen wrote around an expression and nothing else: a text may close the bracket and go on.
func alone(p *xast.Policy) bool {
	_, principal := p.Principal.(xast.ScopeTypeAll)
	_, action := p.Action.(xast.ScopeTypeAll)
	_, resource := p.Resource.(xast.ScopeTypeAll)
	return principal && action && resource && p.Effect == xast.EffectPermit && len(p.Annotations) == 0 &&
		len(p.Conditions) == 1 && p.Conditions[0].Condition == xast.ConditionWhen
}

// Check holds the condition to the types of the tools that it can be about, by name; none are all of them. It has to fit each one.
func (w *When) Check(r *tools.Registry, profiles, about []string) []strict.Problem {
	w.bound.Store(nil)
	all, err := worldOf(r, profiles)
	if err != nil {
		return []strict.Problem{{Line: w.policy.line, Problem: err.Error()}}
	}
	p := w.policy.of(about)
	problems := all.check(validate.New(all.schema), p)
	for i := range problems {
		problems[i].Path, problems[i].Line = "", max(problems[i].Line, w.policy.line)
	}
	if len(problems) == 0 {
		w.bound.Store(bind(all, []*Policy{p}))
	}
	return problems
}

// of is the policy about some tools alone.
func (p *Policy) of(about []string) *Policy {
	if len(about) == 0 {
		return p
	}
	some, head := *p, *p.ast
	var actions []cedar.EntityUID
	for _, name := range about {
		actions = append(actions, cedar.NewEntityUID(actionType, cedar.String(name)))
	}
	head.Action = xast.Scope{}.InSet(actions)
	some.ast, some.scope.actions = &head, actions
	return &some
}

// Holds reports whether the condition is true of the call. An error is that nobody can tell: it failed, or it is true of some of the
// call's resources and not of others. Whoever asks takes the careful answer then, which only they know.
func (w *When) Holds(q Request) (bool, error) {
	b := w.bound.Load()
	if b == nil {
		return false, fmt.Errorf("the condition was never checked against the tools")
	}
	p := b.plan(q.Tool, q.Profile)
	if p == nil || len(p.policies) == 0 {
		return false, fmt.Errorf("the condition is not about the tool %q", q.Tool)
	}
	f, err := p.factsOf(&q)
	if err != nil {
		return false, err
	}
	if !p.resources {
		return p.holds(f)
	}
	return p.holdsForEach(f, orNone(q.Resources))
}

func (p *plan) holds(f *facts) (bool, error) {
	d := p.ask(f)
	if len(d.Errors) > 0 {
		return false, fmt.Errorf("evaluating the condition: %s", d.Errors[0])
	}
	return d.Allowed, nil
}

func (p *plan) holdsForEach(f *facts, resources []string) (bool, error) {
	var all bool
	for i, name := range resources {
		f.about(name, p.looks.get("resource"))
		one, err := p.holds(f)
		if err != nil {
			return false, err
		}
		if i > 0 && one != all {
			return false, fmt.Errorf("the condition is true of some of the call's resources and not of others")
		}
		all = one
	}
	return all, nil
}

// Reads tells what the condition may look at in calls of a tool.
func (w *When) Reads(tool string) Reads {
	b := w.bound.Load()
	if b == nil {
		return Reads{}
	}
	if p := b.plan(tool, ""); p != nil {
		return p.reads
	}
	return Reads{}
}

// Thresholds are those of [Set.Thresholds].
func (w *When) Thresholds() map[string][]int64 {
	return (&Set{policies: []*Policy{w.policy}}).Thresholds()
}

// Depends and Outside are those of [Policy].
func (w *When) Depends() []string { return w.policy.Depends() }

// Outside lists what a search over policies does not cover; see [Policy.Outside].
func (w *When) Outside() []string { return w.policy.Outside() }
