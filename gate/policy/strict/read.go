package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// A reader turns nodes into Go values and notes what does not fit.
type reader struct{ problems []Problem }

func (r *reader) problem(n *yaml.Node, path, problem, expected string) {
	r.problems = append(r.problems, Problem{Line: n.Line, Column: n.Column, Path: path, Problem: problem, Expected: expected})
}

// mismatch notes that a node is not of the kind that its field takes.
func (r *reader) mismatch(n *yaml.Node, path, want string) {
	if isNull(n) {
		r.problem(n, path, "has no value", want+", or leave the line out")
		return
	}
	r.problem(n, path, "must be "+want+", not "+kindWord(n), want)
}

func (r *reader) value(n *yaml.Node, v reflect.Value, path string) {
	if v.Kind() == reflect.Pointer {
		r.pointer(n, v, path)
		return
	}
	if r.custom(n, v, path) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		r.structure(n, v, path)
	case reflect.Map:
		r.mapping(n, v, path)
	case reflect.Slice:
		r.list(n, v, path)
	default:
		r.scalar(n, v, path)
	}
}

// pointer leaves nil where nothing is written.
func (r *reader) pointer(n *yaml.Node, v reflect.Value, path string) {
	if isNull(n) {
		v.SetZero()
		return
	}
	fresh := reflect.New(v.Type().Elem())
	r.value(n, fresh.Elem(), path)
	v.Set(fresh)
}

// custom lets a type read itself, and reports whether it does.
func (r *reader) custom(n *yaml.Node, v reflect.Value, path string) bool {
	switch into := v.Addr().Interface().(type) {
	case *time.Time:
		r.moment(n, into, path)
		return true
	case *time.Duration:
		r.duration(n, into, path)
		return true
	case yaml.Unmarshaler:
		if isNull(n) {
			r.mismatch(n, path, "a value")
		} else if err := into.UnmarshalYAML(n); err != nil {
			r.problems = append(r.problems, found(n, path, err)...)
		}
		return true
	case encoding.TextUnmarshaler:
		if n.Kind != yaml.ScalarNode || isNull(n) {
			r.mismatch(n, path, "text")
		} else if err := into.UnmarshalText([]byte(n.Value)); err != nil {
			r.problems = append(r.problems, found(n, path, err)...)
		}
		return true
	}
	return false
}

func (r *reader) structure(n *yaml.Node, v reflect.Value, path string) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.mismatch(n, path, "a mapping (lines of the form name: value)")
		return
	}
	known := fieldsOf(v.Type())
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		index, ok := known.index[key.Value]
		switch {
		case !ok:
			r.unknown(key, path, known.names)
		case !seen[key.Value]: // the form has told of the second one
			r.value(value, v.FieldByIndex(index), Key(path, key.Value))
		}
		seen[key.Value] = true
	}
}

func (r *reader) unknown(key *yaml.Node, path string, names []string) {
	r.problems = append(r.problems, Problem{
		Line: key.Line, Column: key.Column, Path: Key(path, key.Value),
		Problem: "there is no field " + shown(key.Value) + " here", Expected: OneOf(names), Suggestion: Suggest(key.Value, names),
	})
}

// mapping reads the members of a map whose keys are text.
func (r *reader) mapping(n *yaml.Node, v reflect.Value, path string) {
	if v.Type().Key().Kind() != reflect.String {
		panic(fmt.Sprintf("strict: cannot read %s, whose keys are not text", v.Type()))
	}
	if v.Set(reflect.MakeMap(v.Type())); isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.mismatch(n, path, "a mapping (lines of the form name: value)")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, below := n.Content[i], Key(path, n.Content[i].Value)
		name := reflect.New(v.Type().Key()).Elem()
		if r.text(key, name, below); v.MapIndex(name).IsValid() {
			continue // the form has told of it
		}
		value := reflect.New(v.Type().Elem()).Elem()
		r.value(n.Content[i+1], value, below)
		v.SetMapIndex(name, value)
	}
}

func (r *reader) list(n *yaml.Node, v reflect.Value, path string) {
	if v.Set(reflect.MakeSlice(v.Type(), 0, len(n.Content))); isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.mismatch(n, path, "a list (lines that begin with a dash, or [a, b])")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, entry := range n.Content {
		r.value(entry, v.Index(i), Index(path, i))
	}
}

// fields are what a mapping that stands for a struct may hold.
type fields struct {
	names []string // in the order of the struct
	index map[string][]int
}

func fieldsOf(t reflect.Type) fields {
	f := fields{index: map[string][]int{}}
	f.add(t, nil)
	return f
}

func (f *fields) add(t reflect.Type, above []int) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		index := append(append([]int{}, above...), i)
		switch {
		case !field.IsExported() || name == "-":
		case options == "inline":
			f.add(field.Type, index)
		default:
			if name == "" {
				name = strings.ToLower(field.Name)
			}
			f.names, f.index[name] = append(f.names, name), index
		}
	}
}
