package condition

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	schema "github.com/cedar-policy/cedar-go/x/exp/schema/ast"
)

type kind int

const (
	boolean kind = iota
	long
	decimal
	text
	address
	moment
	set
	record
)

// inWords says what a kind is called in Cedar, and what that is.
var inWords = [...]string{"Bool", "Long (a whole number)", "decimal", "String", "ipaddr", "datetime", "Set", "record"}

// A shape is the type of a value that policies look at. One shape makes the type that Cedar checks policies against, the names that a
// misspelt one is compared with, and the values of a call.
type shape struct {
	kind    kind
	of      *shape   // the elements of a set
	members []member // of a record, by name
	open    bool     // a record that may hold more than its members
	words   []string // all that a text can be; nil: any
}

type member struct {
	name     string
	shape    *shape // nil: any JSON, of which Cedar has no type
	optional bool
}

func (s *shape) member(name string) *member {
	for i := range s.members {
		if s.members[i].name == name {
			return &s.members[i]
		}
	}
	return nil
}

// worded is the record with the words that one of its texts can be.
func (s *shape) worded(name string, words []string) *shape {
	m := s.member(name)
	of := *m.shape
	of.words = words
	m.shape = &of
	return s
}

func (s *shape) names() []string {
	var all []string
	for _, m := range s.members {
		if m.shape != nil {
			all = append(all, m.name)
		}
	}
	return all
}

// cedar is the shape as a type of Cedar's schema.
func (s *shape) cedar() schema.IsType {
	switch s.kind {
	case boolean:
		return schema.Bool()
	case long:
		return schema.Long()
	case decimal:
		return schema.Decimal()
	case text:
		return schema.String()
	case address:
		return schema.IPAddr()
	case moment:
		return schema.Datetime()
	case set:
		return schema.Set(s.of.cedar())
	}
	return s.recordType()
}

func (s *shape) recordType() schema.RecordType {
	t := schema.RecordType{}
	for _, m := range s.members {
		if m.shape != nil {
			t[cedar.String(m.name)] = schema.Attribute{Type: m.shape.cedar(), Optional: m.optional}
		}
	}
	return t
}

// jsonSchema is as much of a tool's JSON Schema as has a counterpart in Cedar.
type jsonSchema struct {
	Type       json.RawMessage            `json:"type"`
	Properties map[string]json.RawMessage `json:"properties"`
	Required   []string                   `json:"required"`
	Items      json.RawMessage            `json:"items"`
	More       json.RawMessage            `json:"additionalProperties"`
	Enum       []any                      `json:"enum"`
	OneOf      json.RawMessage            `json:"oneOf"`
	AnyOf      json.RawMessage            `json:"anyOf"`
	AllOf      json.RawMessage            `json:"allOf"`
	Ref        string                     `json:"$ref"`
}

// shapeOfSchema makes a shape of a JSON Schema; nil where Cedar has no type for it: any JSON, alternatives, references.
func shapeOfSchema(raw json.RawMessage) (s *shape, nullable bool) {
	var j jsonSchema
	if json.Unmarshal(raw, &j) != nil || j.OneOf != nil || j.AnyOf != nil || j.AllOf != nil || j.Ref != "" {
		return nil, false
	}
	name, nullable := typeName(j.Type)
	switch name {
	case "boolean":
		return &shape{kind: boolean}, nullable
	case "integer":
		return &shape{kind: long}, nullable
	case "number":
		return &shape{kind: decimal}, nullable
	case "string":
		return &shape{kind: text, words: textsOf(j.Enum)}, nullable
	case "array":
		return j.set(), nullable
	case "object":
		return j.record(), nullable
	}
	return nil, false
}

// typeName is the one type that a schema names, beside null.
func typeName(raw json.RawMessage) (name string, nullable bool) {
	var names []string
	if json.Unmarshal(raw, &name) == nil {
		return name, false
	}
	if json.Unmarshal(raw, &names) != nil {
		return "", false
	}
	rest := slices.DeleteFunc(names, func(n string) bool { return n == "null" })
	if len(rest) != 1 {
		return "", false
	}
	return rest[0], true
}

// textsOf gives the words of an enum of texts alone.
func textsOf(enum []any) []string {
	var all []string
	for _, one := range enum {
		word, ok := one.(string)
		if !ok {
			return nil
		}
		all = append(all, word)
	}
	return all
}

func (j jsonSchema) set() *shape {
	element, nullable := shapeOfSchema(j.Items)
	if element == nil || nullable {
		return nil
	}
	return &shape{kind: set, of: element}
}

func (j jsonSchema) record() *shape {
	if len(j.Properties) == 0 {
		return nil
	}
	s := &shape{kind: record, open: string(j.More) != "false"}
	for name, raw := range j.Properties {
		of, nullable := shapeOfSchema(raw)
		s.members = append(s.members, member{name, of, nullable || !slices.Contains(j.Required, name)})
	}
	slices.SortFunc(s.members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return s
}

func (s *shape) String() string {
	if s.kind == set {
		return fmt.Sprintf("Set of %s", s.of)
	}
	return inWords[s.kind]
}
