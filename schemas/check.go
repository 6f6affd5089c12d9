package schemas

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxWrong bounds a refusal; whoever sends more wrong fields than this has other problems.
const maxWrong = 20

// Wrong is one field that does not fit, in words for the agent that sent it. It never holds the value that was sent.
type Wrong struct {
	Field    string `json:"field"`             // a.b[2].c; "" is the whole
	Problem  string `json:"problem"`           // to be read after the field: "is missing"
	Expected string `json:"expected"`          // what fits: "a whole number from 1 to 50"
	Example  any    `json:"example,omitempty"` // a value that fits
}

// fault is one thing that is not as the schema says, before it is put in words.
type fault struct {
	path  []string
	field string // the path as Wrong shows it
	kind  any    // one of the library's kinds, or one of these:
}

type (
	missing   struct{}
	unknown   struct{}
	notPlain  struct{} // an integer with a point or exponent: right for JSON Schema, unreadable for a Go int
	unfitting struct{} // right for the schema, refused by its Go type
)

// Check says what is wrong with canonical arguments: every wrong field, sorted, at most 20; nil when they fit. A schema from
// [Of] also tries the decoding, so that [Decode] to the same type succeeds after it.
func (s *Schema) Check(canonical []byte) []Wrong {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(canonical))
	if err != nil {
		return []Wrong{{Problem: "is not JSON", Expected: expected(s.compiled())}}
	}
	found := s.faults(value)
	if len(found) == 0 && s.decode != nil {
		if err := s.decode(canonical); err != nil {
			found = []fault{{path: misfit(err), kind: unfitting{}}}
		}
	}
	for i := range found {
		found[i].field = field(value, found[i].path)
	}
	return s.worded(found)
}

// faults runs the compiled schema over a value.
func (s *Schema) faults(value any) []fault {
	found := notPlainIn(nil, s.compiled(), value, nil)
	var invalid *jsonschema.ValidationError
	if err := s.compiled().Validate(value); errors.As(err, &invalid) {
		found = flatten(found, invalid)
	}
	return found
}

// worded sorts faults, keeps one a field, and says them. The library walks Go maps, so without the sort each run would differ.
func (s *Schema) worded(found []fault) []Wrong {
	slices.SortStableFunc(found, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.field, b.field), cmp.Compare(rank(a.kind), rank(b.kind)))
	})
	found = slices.CompactFunc(found, func(a, b fault) bool { return a.field == b.field })
	var wrong []Wrong
	for _, f := range found[:min(len(found), maxWrong)] {
		wrong = append(wrong, s.word(f))
	}
	return wrong
}

func (s *Schema) word(f fault) Wrong {
	if _, is := f.kind.(unknown); is {
		last := len(f.path) - 1
		parent := at(s.compiled(), f.path[:last])
		return Wrong{Field: f.field, Problem: stranger(f.path[last], parent, last == 0), Expected: "only these fields: " + listed(known(parent))}
	}
	sub := at(s.compiled(), f.path)
	w := Wrong{Field: f.field, Problem: problem(f.kind), Expected: expected(sub)}
	if example, ok := exampleOf(sub); ok {
		w.Example = example
	}
	return w
}

// flatten collects the ends of a tree of validation errors.
func flatten(found []fault, e *jsonschema.ValidationError) []fault {
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		return append(found, named(e, k.Missing, missing{})...)
	case *kind.AdditionalProperties:
		return append(found, named(e, k.Properties, unknown{})...)
	case *kind.OneOf, *kind.AnyOf:
		return append(found, choice(e)...)
	}
	if len(e.Causes) == 0 {
		return append(found, fault{path: e.InstanceLocation, kind: e.ErrorKind})
	}
	for _, cause := range e.Causes {
		found = flatten(found, cause)
	}
	return found
}

// named makes one fault a name of what the library reports for all names of an object together.
func named(e *jsonschema.ValidationError, names []string, kind any) []fault {
	var found []fault
	for _, name := range names {
		found = append(found, fault{path: append(slices.Clone(e.InstanceLocation), name), kind: kind})
	}
	return found
}

// choice is what is wrong with a value that fits none of several branches. Branches for another JSON type than the value's were
// not meant; when one is left, as with an object that may also be null, its faults are the ones to name.
func choice(e *jsonschema.ValidationError) []fault {
	var meant []*jsonschema.ValidationError
	var other kind.Type
	for _, branch := range e.Causes {
		if k, is := branch.ErrorKind.(*kind.Type); is && len(branch.InstanceLocation) == len(e.InstanceLocation) {
			other = kind.Type{Got: k.Got, Want: append(other.Want, k.Want...)}
		} else {
			meant = append(meant, branch)
		}
	}
	switch {
	case len(meant) == 1:
		return flatten(nil, meant[0])
	case len(meant) == 0 && len(other.Want) > 0:
		return []fault{{path: e.InstanceLocation, kind: &other}}
	}
	return []fault{{path: e.InstanceLocation, kind: e.ErrorKind}}
}

// notPlainIn finds integers written as 1.0 or 1e2. They stay as written in what people vote on, and no Go int reads them.
func notPlainIn(found []fault, sub *jsonschema.Schema, value any, path []string) []fault {
	sub = notNull(sub)
	if sub == nil {
		return found
	}
	switch v := value.(type) {
	case json.Number:
		if onlyType(sub) == "integer" && strings.ContainsAny(string(v), ".eE") {
			found = append(found, fault{path: slices.Clone(path), kind: notPlain{}})
		}
	case map[string]any:
		for name, member := range v {
			found = notPlainIn(found, step(sub, name), member, append(path, name))
		}
	case []any:
		for i, entry := range v {
			found = notPlainIn(found, sub.Items2020, entry, append(path, strconv.Itoa(i)))
		}
	}
	return found
}

// at is the part of a schema for the value at a path, nil when the schema does not say.
func at(s *jsonschema.Schema, path []string) *jsonschema.Schema {
	for _, name := range path {
		s = step(notNull(s), name)
	}
	return notNull(s)
}

// step goes one level down. For an entry of a list the name is its index, and every entry has the same schema.
func step(s *jsonschema.Schema, name string) *jsonschema.Schema {
	if s == nil {
		return nil
	}
	if sub, ok := s.Properties[name]; ok {
		return sub
	}
	if sub, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		return sub
	}
	return s.Items2020
}

// notNull is the other branch of a schema that takes null besides something else.
func notNull(s *jsonschema.Schema) *jsonschema.Schema {
	if s != nil && len(s.OneOf) == 2 && onlyType(s.OneOf[1]) == "null" {
		return s.OneOf[0]
	}
	return s
}

// onlyType is the JSON type of a schema that allows one, else "".
func onlyType(s *jsonschema.Schema) string {
	if s == nil || s.Types == nil || len(s.Types.ToStrings()) != 1 {
		return ""
	}
	return s.Types.ToStrings()[0]
}

// field writes a path as agents know it. Names that are not the schema's come from the caller and are shown with care.
func field(value any, path []string) string {
	var b strings.Builder
	for _, name := range path {
		if entries, ok := value.([]any); ok {
			b.WriteString("[" + name + "]")
			value = nil
			if i, err := strconv.Atoi(name); err == nil && i < len(entries) {
				value = entries[i]
			}
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(Shown(name))
		members, _ := value.(map[string]any)
		value = members[name]
	}
	return b.String()
}
