package condition

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/dtcgate/dtcgate/gate/policy/strict"
)

// names finds what is misspelt: tools, profiles, attributes, words; and what is compared with a value of another type.
func (r *review) names() {
	ast := r.policy.ast
	r.head(ast.Principal, "principal")
	r.head(ast.Action, "action")
	r.head(ast.Resource, "resource")
	for _, c := range ast.Conditions {
		xast.Inspect(xast.NewNode(c.Body), r.node)
	}
}

// head looks at one of the three parts of the head of a policy.
func (r *review) head(s xast.IsScopeNode, part string) {
	switch s := s.(type) {
	case xast.ScopeTypeEq:
		r.entity(s.Entity)
		r.exactly(s.Entity, part)
	case xast.ScopeTypeIn:
		r.entity(s.Entity)
	case xast.ScopeTypeInSet:
		if len(s.Entities) == 0 {
			r.found(r.policy.line, "no action is in an empty list, so that the policy never applies", "the names of tools or groups", "")
		}
		for _, e := range s.Entities {
			r.entity(e)
		}
	case xast.ScopeTypeIs:
		r.entityType(s.Type)
	case xast.ScopeTypeIsIn:
		r.entityType(s.Type)
		r.entity(s.Entity)
	}
}

// exactly refuses an == with something that can only be in.
func (r *review) exactly(e cedar.EntityUID, part string) {
	group := e.Type == actionType && slices.Contains(r.groups, string(e.ID)) || e.Type == profileType
	if group {
		r.found(r.line(e), fmt.Sprintf("%s is a group, and no %s is it", e, part), fmt.Sprintf("%s in %s", part, e), "")
	}
}

func (r *review) line(e cedar.EntityUID) int { return lineOfWord(r.policy.tokens, string(e.ID)) }

var entityTypes = []string{string(agentType), string(profileType), string(resourceType), string(actionType)}

func (r *review) entityType(t cedar.EntityType) bool {
	if slices.Contains(entityTypes, string(t)) {
		return true
	}
	r.found(lineOfWord(r.policy.tokens, string(t)), fmt.Sprintf("there are no entities of type %s", t), strings.Join(entityTypes, ", "),
		strict.Suggest(string(t), entityTypes))
	return false
}

// entity finds a tool or a profile that does not exist. Agents and resources come and go, so any may be named.
func (r *review) entity(e cedar.EntityUID) {
	if !r.entityType(e.Type) {
		return
	}
	id := string(e.ID)
	switch {
	case e.Type == profileType && r.profiles[id] == 0:
		all := slices.Sorted(maps.Keys(r.profiles))
		r.found(r.line(e), fmt.Sprintf("there is no profile %q", id), "one of "+strings.Join(all, ", "), strict.Suggest(id, all))
	case e.Type == actionType && r.byName[id] == nil && !slices.Contains(r.groups, id):
		r.found(r.line(e), fmt.Sprintf("there is no tool or group of tools %q", id), "the name of a tool, or one of "+strings.Join(r.groups, ", "),
			r.meant(id, strict.Suggest))
	}
}

// node looks at one node of a condition and reports whether to look below it.
func (r *review) node(n xast.IsNode) bool {
	if left, right, ok := compared(n); ok {
		r.comparison(left, right)
		r.comparison(right, left)
	}
	if path, ok := pathOf(n); ok {
		r.path(path)
		return false
	}
	switch n := n.(type) {
	case xast.NodeTypeHas:
		if path, ok := pathOf(n.Arg); ok {
			r.path(append(path, string(n.Value)))
			return false
		}
	case xast.NodeValue:
		if e, ok := n.Value.(types.EntityUID); ok {
			r.entity(e)
		}
	case xast.NodeTypeHasTag, xast.NodeTypeGetTag:
		r.found(lineOfWord(r.policy.tokens, "hasTag"), "nothing here has tags", "attributes", "")
	case xast.NodeTypeIs:
		r.entityType(n.EntityType)
	case xast.NodeTypeIsIn:
		r.entityType(n.EntityType)
	}
	return true
}

// path follows a path in every tool that the policy is about. It must lead somewhere in one of them at least.
func (r *review) path(path []string) {
	var lost *resolution
	there := false
	for _, p := range r.places {
		if to := p.resolve(path); to.missing == "" {
			there = true
		} else if lost == nil || len(to.at) > len(lost.at) {
			lost = &to
		} else if len(to.at) == len(lost.at) {
			lost.among, lost.anyJSON = append(lost.among, to.among...), lost.anyJSON || to.anyJSON
		}
	}
	switch {
	case lost == nil:
	case there:
		r.partial[lost.missing] = strings.Join(append(lost.at, lost.missing), ".")
	default:
		r.lost(*lost)
	}
}

func (r *review) lost(to resolution) {
	of := strings.Join(to.at, ".")
	path := append(slices.Clone(to.at), to.missing)
	line := lineOf(r.policy.tokens, path)
	if to.anyJSON {
		r.found(line, of+"."+to.missing+" may be any JSON, and a condition cannot look at it", "one of "+strings.Join(sorted(to.among), ", "), "")
		return
	}
	among := sorted(to.among)
	expected := "nothing behind " + of
	if len(among) > 0 {
		expected = "one of " + strings.Join(among, ", ")
	}
	suggestion := strict.Suggest(to.missing, among)
	if suggestion != "" {
		suggestion = of + "." + suggestion
	}
	r.found(line, of+"."+to.missing+" does not exist", expected, suggestion)
}

// comparison holds constants to what the attribute beside them can be.
func (r *review) comparison(attribute, constants xast.IsNode) {
	path, ok := pathOf(attribute)
	literals, literal := literalsOf(constants)
	if !ok || !literal {
		return
	}
	shapes := r.shapes(path)
	for _, v := range literals {
		r.constant(path, shapes, v)
	}
}

// shapes are what the path leads to in the tools that have it. Of a set that contains a constant it is the elements' shape that counts.
func (r *review) shapes(path []string) []*shape {
	var all []*shape
	for _, p := range r.places {
		to := p.resolve(path)
		if to.shape != nil && to.shape.kind == set {
			to.shape = to.shape.of
		}
		if to.shape != nil {
			all = append(all, to.shape)
		}
	}
	return all
}

func (r *review) constant(path []string, shapes []*shape, v types.Value) {
	of, ok := kindOf(v)
	if !ok || len(shapes) == 0 || shapes[0].kind == record {
		return
	}
	name, line := strings.Join(path, "."), lineOf(r.policy.tokens, path)
	if !slices.ContainsFunc(shapes, func(s *shape) bool { return s.kind == of }) {
		r.found(line, fmt.Sprintf("%s is a %s and is compared with a %s", name, shapes[0], inWords[of]), fitting(shapes[0]), "")
		return
	}
	word, is := v.(types.String)
	if !is || slices.ContainsFunc(shapes, func(s *shape) bool { return s.can(string(word)) }) {
		return
	}
	words := wordsOf(shapes)
	r.found(line, fmt.Sprintf("%s is never %q", name, string(word)), "one of "+strings.Join(words, ", "), strict.Suggest(strings.ToLower(string(word)), words))
}

// wordsOf lists what the shapes can be, but for nothing at all.
func wordsOf(shapes []*shape) []string {
	var all []string
	for _, s := range shapes {
		all = append(all, s.words...)
	}
	return slices.DeleteFunc(sorted(all), func(w string) bool { return w == "" })
}

// can reports whether a text can be that word.
func (s *shape) can(word string) bool {
	return s.kind == text && (s.words == nil || slices.Contains(s.words, word))
}

func fitting(s *shape) string {
	if how := hint(s.String()); how != "" {
		return how
	}
	return "a " + s.String()
}

func kindOf(v types.Value) (kind, bool) {
	switch v.(type) {
	case types.Boolean:
		return boolean, true
	case types.Long:
		return long, true
	case types.String:
		return text, true
	case types.Decimal:
		return decimal, true
	}
	return 0, false
}
