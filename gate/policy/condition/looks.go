package condition

import (
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A scope is what the head of a policy says that is known before any call: of which profile the principal is, and which tool it calls.
type scope struct {
	profile        cedar.String
	ofProfile      bool              // profile counts
	actions        []cedar.EntityUID // of tools or groups; nil: all
	asksPrincipal  bool              // the head asks for one agent, which only the call tells
	readsPrincipal string            // what of the principal the head depends on, "" for nothing
}

// splitScope takes out of p's head what a plan asks once for all calls, and gives the policy that is left.
func splitScope(p xast.Policy) (scope, xast.Policy) {
	var s scope
	switch head := p.Principal.(type) {
	case xast.ScopeTypeIn:
		s.of(head.Entity)
	case xast.ScopeTypeIsIn:
		s.of(head.Entity)
		s.asksPrincipal = s.asksPrincipal || head.Type != agentType
	case xast.ScopeTypeIs:
		s.asksPrincipal = head.Type != agentType
	case xast.ScopeTypeEq:
		s.asksPrincipal, s.readsPrincipal = true, "principal"
	}
	if !s.asksPrincipal {
		p.Principal = xast.Scope{}.All()
	}
	switch head := p.Action.(type) {
	case xast.ScopeTypeEq:
		s.actions = []cedar.EntityUID{head.Entity}
	case xast.ScopeTypeIn:
		s.actions = []cedar.EntityUID{head.Entity}
	case xast.ScopeTypeInSet:
		s.actions = append([]cedar.EntityUID{}, head.Entities...)
	}
	p.Action = xast.Scope{}.All()
	return s, p
}

func (s *scope) of(e cedar.EntityUID) {
	if e.Type != profileType {
		s.asksPrincipal, s.readsPrincipal = true, "principal"
		return
	}
	s.profile, s.ofProfile, s.readsPrincipal = e.ID, true, "principal.profile"
}

// A want is a tree of names: what of a call's facts has to be there when policies are asked.
type want struct {
	all     bool // the whole value
	members map[string]*want
}

var wholly = &want{all: true}

// get is what is wanted of a member, nil for nothing.
func (w *want) get(name string) *want {
	switch {
	case w == nil:
		return nil
	case w.all:
		return wholly
	}
	return w.members[name]
}

// touch notes a member without anything of it.
func (w *want) touch(name string) *want {
	if w.members == nil {
		w.members = map[string]*want{}
	}
	if w.members[name] == nil {
		w.members[name] = &want{}
	}
	return w.members[name]
}

func (w *want) add(path []string) {
	for _, name := range path {
		w = w.touch(name)
	}
	w.all = true
}

// merge adds what another wants.
func (w *want) merge(other *want) {
	w.all = w.all || other.all
	for name, m := range other.members {
		w.touch(name).merge(m)
	}
}

// paths lists the ends of the tree in dotted form.
func (w *want) paths(at string) []string {
	if w.all || len(w.members) == 0 && at != "" {
		return []string{at}
	}
	var all []string
	for name, m := range w.members {
		all = append(all, m.paths(strings.TrimPrefix(at+"."+name, "."))...)
	}
	return all
}

// looksOf is what the policy may look at. A form it does not know counts as a look at everything.
func looksOf(p *xast.Policy) want {
	var w want
	if _, any := p.Resource.(xast.ScopeTypeAll); !any {
		w.touch("resource")
	}
	for _, c := range p.Conditions {
		xast.Inspect(xast.NewNode(c.Body), w.look)
	}
	return w
}

// look notes one node and reports whether to look below it.
func (w *want) look(n xast.IsNode) bool {
	if path, ok := pathOf(n); ok {
		w.use(path)
		return false
	}
	switch n := n.(type) {
	case xast.NodeTypeHas:
		if path, ok := pathOf(n.Arg); ok {
			w.use(append(path, string(n.Value)))
			return false
		}
		w.everything()
	case xast.NodeTypeAccess:
		w.everything() // of a value that was computed
	case xast.NodeTypeIn:
		if inProfile(n) {
			w.use([]string{"principal", "profile"})
			return false
		}
	}
	return true
}

// use notes a path. An entity by itself is its name and what it is in, without its attributes.
func (w *want) use(path []string) {
	if len(path) == 1 && path[0] != "context" {
		w.touch(path[0])
		return
	}
	w.add(path)
}

func (w *want) everything() {
	for _, variable := range []string{"principal", "resource", "context"} {
		w.add([]string{variable})
	}
}

// pathOf is the way from a variable to an attribute: context, effect, money_minor.
func pathOf(n xast.IsNode) ([]string, bool) {
	switch n := n.(type) {
	case xast.NodeTypeVariable:
		return []string{string(n.Name)}, true
	case xast.NodeTypeAccess:
		path, ok := pathOf(n.Arg)
		return append(path, string(n.Value)), ok
	}
	return nil, false
}

// inProfile reports whether n is principal in Profile::"…".
func inProfile(n xast.NodeTypeIn) bool {
	path, ok := pathOf(n.Left)
	if !ok || len(path) != 1 || path[0] != "principal" {
		return false
	}
	literals, ok := literalsOf(n.Right)
	return ok && !slices.ContainsFunc(literals, func(v types.Value) bool {
		e, is := v.(types.EntityUID)
		return !is || e.Type != profileType
	})
}

// literalsOf gives a literal, or those of a set of literals.
func literalsOf(n xast.IsNode) ([]types.Value, bool) {
	switch n := n.(type) {
	case xast.NodeValue:
		return []types.Value{n.Value}, true
	case xast.NodeTypeExtensionCall:
		value, ok := decimalOf(n)
		return []types.Value{value}, ok
	case xast.NodeTypeSet:
		var all []types.Value
		for _, e := range n.Elements {
			one, ok := literalsOf(e)
			if _, nested := e.(xast.NodeTypeSet); !ok || nested {
				return nil, false
			}
			all = append(all, one...)
		}
		return all, true
	}
	return nil, false
}

func decimalOf(n xast.NodeTypeExtensionCall) (types.Value, bool) {
	if n.Name != "decimal" || len(n.Args) != 1 {
		return nil, false
	}
	arg, ok := n.Args[0].(xast.NodeValue)
	if !ok {
		return nil, false
	}
	text, ok := arg.Value.(types.String)
	if !ok {
		return nil, false
	}
	value, err := types.ParseDecimal(string(text))
	return value, err == nil
}

// Depends lists what the policy's answer depends on, sorted, as paths: principal.profile, action, resource.id,
// context.effect.money_minor.
func (p *Policy) Depends() []string {
	all := map[string]bool{}
	for _, path := range p.looks.paths("") {
		all[path] = true
	}
	if p.scope.readsPrincipal != "" {
		all[p.scope.readsPrincipal] = true
	}
	if p.scope.actions != nil {
		all["action"] = true
	}
	return slices.Sorted(maps.Keys(all))
}
