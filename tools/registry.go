package tools

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/dtcgate/dtcgate/auth"
)

// A Registry is the closed set of tools of one server. It does not change after it is made.
type Registry struct {
	sorted []*Tool
	byName map[string]*Tool
}

// NewRegistry makes a registry. It panics when two tools share a name, an alias or a path.
func NewRegistry(all ...*Tool) *Registry {
	r := &Registry{sorted: slices.Clone(all), byName: map[string]*Tool{}}
	slices.SortFunc(r.sorted, func(a, b *Tool) int { return cmp.Compare(a.Name, b.Name) })
	for _, t := range r.sorted {
		for _, name := range append([]string{t.Name, t.Path}, t.Aliases...) {
			if r.byName[name] != nil {
				panic(fmt.Sprintf("tools %s and %s share the name %s", r.byName[name].Name, t.Name, name))
			}
			r.byName[name] = t
		}
	}
	return r
}

// All gives every tool, sorted by name.
func (r *Registry) All() []*Tool { return r.sorted }

// Find gives the tool of that name, alias or path.
func (r *Registry) Find(name string) (*Tool, bool) {
	t, ok := r.byName[name]
	return t, ok
}

// Actions gives every action that a tool can be asked for, sorted by id.
func (r *Registry) Actions() []*Action {
	var all []*Action
	for _, t := range r.sorted {
		all = append(all, t.Actions...)
	}
	slices.SortFunc(all, byID)
	return all
}

// Visible gives the tools that p may call, sorted by name: those it has the scope for, whose least risky call is
// under its ceiling, and that the policy grants it. It is the list that agents are shown, so it depends on the credential alone.
func (r *Registry) Visible(p auth.Principal, granted func(*Tool) bool) []*Tool {
	var visible []*Tool
	for _, t := range r.sorted {
		if p.Agent() && t.OpenTo(p) && t.NamedFor(p) && t.Reachable(p.Ceiling) && (!t.Delegates || p.Depth() > 0) && granted(t) {
			visible = append(visible, t)
		}
	}
	return visible
}

// OpenTo reports whether p holds the tool's scope, or one of several.
func (t *Tool) OpenTo(p auth.Principal) bool {
	return p.Has(t.Scope) && (len(t.AnyScope) == 0 || slices.ContainsFunc(t.AnyScope, p.Has))
}

// NamedFor reports whether p's chain lets it call the tool by name. Everybody may ask who they are.
func (t *Tool) NamedFor(p auth.Principal) bool {
	return t.Resource == "self" || p.MayCall(t.Name, t.Path)
}

// Reachable reports whether any call of the tool can be under the ceiling. A write can be rehearsed under every ceiling,
// which alone is no reason to list it.
func (t *Tool) Reachable(ceiling auth.Level) bool {
	return t.Brake || t.Batches() || t.Risk.Level() <= ceiling
}

// ResourcesOf names the objects that a call is about, each as type:id, from its canonical arguments; type:* or type:+ where it is
// about a set or a new object. A part of Spec.Resource that begins with a slash is a pointer to an argument (RFC 6901), in which *
// stands for each element of a list. A call whose arguments name no object is about "".
func (s Spec) ResourcesOf(args []byte) []string {
	kind, id, two := strings.Cut(s.Resource, ":")
	if !two {
		return pointed(args, kind)
	}
	kind = pointed(args, kind)[0]
	all := pointed(args, id)
	for i, one := range all {
		all[i] = kind + ":" + one
	}
	return all
}

// maxResource bounds the name of a resource that is a list, in bytes.
const maxResource = 200

// ResourceOf is ResourcesOf as one name for the record and the binding, type:id,id,…; a long one is cut, and says how many there are.
func (s Spec) ResourceOf(args []byte) string {
	all := s.ResourcesOf(args)
	kind, _, _ := strings.Cut(all[0], ":")
	var b strings.Builder
	for i, one := range all {
		if i > 0 {
			one = strings.TrimPrefix(one, kind+":")
		}
		if i > 0 && b.Len()+len(one) > maxResource+len(kind) {
			fmt.Fprintf(&b, ",… (%d)", len(all))
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(one)
	}
	return b.String()
}

// pointed gives part as it is, or all that it points to.
func pointed(args []byte, part string) []string {
	pointer, is := strings.CutPrefix(part, "/")
	if !is {
		return []string{part}
	}
	list, name, many := strings.Cut(pointer, "/*/")
	if !many {
		return []string{member(args, pointer)}
	}
	var members map[string]json.RawMessage
	var rows []map[string]any
	if json.Unmarshal(args, &members) != nil || json.Unmarshal(members[list], &rows) != nil || len(rows) == 0 {
		return []string{""}
	}
	all := make([]string, len(rows))
	for i, row := range rows {
		all[i] = fmt.Sprint(row[name])
	}
	return all
}

// member gives the string value of a top-level member of canonical arguments, or "".
func member(args []byte, name string) string {
	d := jsontext.NewDecoder(strings.NewReader(string(args)))
	if _, err := d.ReadToken(); err != nil {
		return ""
	}
	for d.PeekKind() == '"' {
		key, err := d.ReadToken()
		if err != nil {
			return ""
		}
		found := key.String() == name
		if !found {
			if d.SkipValue() != nil {
				return ""
			}
			continue
		}
		if d.PeekKind() != '"' {
			return ""
		}
		value, err := d.ReadToken()
		if err != nil {
			return ""
		}
		return value.String()
	}
	return ""
}
