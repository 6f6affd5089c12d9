package policy_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	invopop "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/tools"
)

var update = flag.Bool("update", false, "rewrite the published schema")

// scalars are how the types look that are written as text or in more than one form.
func scalars(reflector *invopop.Reflector) map[reflect.Type]func() *invopop.Schema {
	words := func(description string, names ...any) func() *invopop.Schema {
		return func() *invopop.Schema { return &invopop.Schema{Type: "string", Enum: names, Description: description} }
	}
	text := func(pattern, description string) func() *invopop.Schema {
		return func() *invopop.Schema {
			return &invopop.Schema{Type: "string", Pattern: pattern, Description: description}
		}
	}
	return map[reflect.Type]func() *invopop.Schema{
		reflect.TypeFor[policy.Duration]():  text(`^[1-9][0-9]{0,5}[smhd]$`, "a whole number with a unit: 30m, 24h, 7d"),
		reflect.TypeFor[policy.ClockTime](): text(`^([01][0-9]|2[0-3]):[0-5][0-9]$`, `hours and minutes in quotes: "08:00"`),
		reflect.TypeFor[policy.Subject]():   words("whose calls count together", "key", "chain", "merchant"),
		reflect.TypeFor[budget.Kind]():      words("of the calendar, in limits.zone", "hour", "day", "week", "month"),
		reflect.TypeFor[tools.Class]():      words("what consent is about", "spend", "contact", "destructive", "none"),
		reflect.TypeFor[trust.Level]():      words("", "STRICT", "ADAPTIVE", "OPEN"),
		reflect.TypeFor[time.Time]():        func() *invopop.Schema { return &invopop.Schema{Type: "string", Format: "date-time"} },
		reflect.TypeFor[trust.Score](): func() *invopop.Schema {
			return &invopop.Schema{Type: "number", Minimum: "-100", Maximum: "100", Description: "points, with at most three decimals"}
		},
		reflect.TypeFor[policy.Ceiling](): func() *invopop.Schema {
			return &invopop.Schema{OneOf: []*invopop.Schema{
				{Type: "string", Enum: []any{"low", "medium", "high", "L0", "L1", "L2", "L3", "L4", "L5", "L6", "L7"}},
				plain(reflector.ReflectFromType(reflect.TypeFor[policy.Vector]())),
			}}
		},
	}
}

// plain takes out what belongs to the root of a schema.
func plain(s *invopop.Schema) *invopop.Schema {
	s.Version, s.ID = "", ""
	return s
}

// keys are the forms of the names in a mapping, by its path.
var keys = map[string]string{"profiles": `^[a-z][a-z0-9_-]{0,39}$`, "tools": `^[a-z][a-z0-9_]*$`, "codes": `^[A-Z][A-Z_]*$`}

// published makes the schema from the types and their comments.
func published(t *testing.T) []byte {
	t.Helper()
	reflector := &invopop.Reflector{DoNotReference: true, Anonymous: true}
	for base, path := range map[string]string{
		"github.com/dtcgate/dtcgate/gate/policy": "./", "github.com/dtcgate/dtcgate/gate/trust": "../trust", "github.com/dtcgate/dtcgate/shop": "../../shop",
	} {
		comments(t, reflector, base, path)
	}
	all := scalars(reflector)
	reflector.Mapper = func(typ reflect.Type) *invopop.Schema {
		if own := all[typ]; own != nil {
			return own()
		}
		return nil
	}
	root := plain(reflector.ReflectFromType(reflect.TypeFor[policy.Document]()))
	named(root)
	root.Version, root.Title = invopop.Version, "A policy of dtcgate"
	raw, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(raw, '\n')
}

// comments reads those of one package: the reflector's own reading takes the folder for a part of the name.
func comments(t *testing.T, r *invopop.Reflector, base, path string) {
	t.Helper()
	var of invopop.Reflector
	if err := of.AddGoComments("", path); err != nil {
		t.Fatal(err)
	}
	if r.CommentMap == nil {
		r.CommentMap = map[string]string{}
	}
	clean := strings.Trim(strings.ReplaceAll(path, "./", ""), "/.")
	for name, comment := range of.CommentMap {
		if rest, ok := strings.CutPrefix(strings.TrimLeft(name, "./"), clean); ok && !strings.Contains(rest, "/") {
			r.CommentMap[base+"."+strings.TrimLeft(rest, ".")] = strings.Join(strings.Fields(comment), " ")
		}
	}
}

// named gives the names in mappings their form, and money its bounds.
func named(s *invopop.Schema) {
	if s == nil || s.Properties == nil {
		return
	}
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		v := p.Value
		if pattern := keys[p.Key]; pattern != "" && v.AdditionalProperties != nil && v.Type == "object" {
			v.PatternProperties, v.AdditionalProperties = map[string]*invopop.Schema{pattern: v.AdditionalProperties}, invopop.FalseSchema
			named(v.PatternProperties[pattern])
		}
		if p.Key == "amount_minor" {
			v.Minimum, v.Maximum = "0", "100000000"
		}
		named(v)
		named(v.Items)
	}
}

func TestThePublishedSchemaIsThatOfTheTypes(t *testing.T) {
	want := published(t)
	if *update {
		if err := os.WriteFile("policy.schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, policy.Schema) {
		t.Error("the schema has changed; if that is meant, run go test ./gate/policy -run Schema -update")
	}
}

// compiled is the published schema, ready to check.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(policy.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("policy.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a YAML text as an editor sees it.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	var doc any
	if err := yaml.Load(text, &doc); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestTheDefaultDocumentFitsThePublishedSchema(t *testing.T) {
	if err := compiled(t).Validate(asJSON(t, policy.Default)); err != nil {
		t.Error(err)
	}
}

func TestThePublishedSchemaMarksMistakesOfForm(t *testing.T) {
	s := compiled(t)
	for old, slips := range map[string][]string{
		"language: 1":                      {"", "language: one"},
		"rest: 24h":                        {"rest: 24", "rest: a day", "rest: 24h\n    rst: 1h"},
		"ceiling: L5":                      {"ceiling: L8", "ceiling: [L5]", "ceiling: {undone: 1}", "ceiling: {undo: many}"},
		"  scoped:":                        {"  Scoped:"},
		"per: key":                         {"per: keys"},
		"{customers: 500}":                 {"{customer: 500}", "{customers: lots}"},
		"start: 75":                        {"start: 101", "start: high"},
		"classes: [spend]}":                {"classes: [spent]}", "class: spend}"},
		"amount_minor: 100000,":            {"amount_minor: -1,", "amount_minor: 100000001,", "amount: 5,"},
		"{people: 1, roles: [compliance]}": {"{roles: [compliance]}", "{people: 1, role: compliance}"},
	} {
		for _, slip := range slips {
			text := strings.Replace(string(policy.Default), old, slip, 1)
			if text == string(policy.Default) {
				t.Fatalf("the default document does not have %q", old)
			}
			if s.Validate(asJSON(t, []byte(text))) == nil {
				t.Errorf("%q for %q passes", slip, old)
			}
		}
	}
}

func TestEveryFieldOfThePublishedSchemaIsOneOfTheDocument(t *testing.T) {
	var schema struct {
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(policy.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	var fields []string
	for f := range reflect.TypeFor[policy.Document]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		fields = append(fields, name)
	}
	slices.Sort(fields)
	if got := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(got, fields) {
		t.Errorf("the schema has %v, the document %v", got, fields)
	}
}
