package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"
	invopop "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// reflected is everything the struct and its tags say, inline. Not ExpandedStruct: it looks the root up by its bare type name,
// and takes a nested struct of the same name from another package for it.
func reflected(t reflect.Type) *invopop.Schema {
	reflector := invopop.Reflector{DoNotReference: true, Anonymous: true}
	root := reflector.ReflectFromType(t)
	root.Version = ""
	if root.Type != "object" || root.Properties == nil {
		panic(fmt.Sprintf("schemas: %s is not a struct", t))
	}
	return root
}

// slim leaves what a client needs to read an answer. It is nil for a schema that then says nothing: written out, that would be
// "true", which some clients do not take for a schema.
func slim(s *invopop.Schema) *invopop.Schema {
	if s == nil || s == invopop.FalseSchema {
		return nil
	}
	kept := invopop.Schema{Type: s.Type, Enum: s.Enum, Required: s.Required}
	kept.Items = slim(s.Items)
	kept.AdditionalProperties = slim(s.AdditionalProperties)
	for _, branch := range s.OneOf {
		kept.OneOf = append(kept.OneOf, slim(branch))
	}
	if s.Properties != nil {
		kept.Properties = invopop.NewProperties()
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			if property := slim(p.Value); property != nil {
				kept.Properties.Set(p.Key, property)
			}
		}
	}
	if reflect.DeepEqual(kept, invopop.Schema{}) {
		return nil
	}
	return &kept
}

// allowParked makes the required names one of two ways to be right, the other being the parked answer. A status of the answer's
// own loses its enum, which "pending_approval" would not be in.
func allowParked(answer *invopop.Schema) *invopop.Schema {
	if status, ok := answer.Properties.Get("status"); ok {
		status.Enum = nil
	}
	if len(answer.Required) > 0 {
		answer.AnyOf = []*invopop.Schema{{Required: answer.Required}, {Required: []string{"status", "job_id"}}}
		answer.Required = nil
	}
	return answer
}

// envelope leaves itself open: approval, preview, poll and undo may be there and need no description to be read.
func envelope(result *invopop.Schema) *invopop.Schema {
	properties := invopop.NewProperties()
	properties.Set("status", &invopop.Schema{Type: "string", Enum: []any{"done", "pending_approval", "queued", "dry_run"}})
	properties.Set("job_id", &invopop.Schema{Type: "string"})
	properties.Set("result", result)
	return &invopop.Schema{Type: "object", Properties: properties, Required: []string{"status"}}
}

func names(s *invopop.Schema) []string {
	var names []string
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		names = append(names, p.Key)
	}
	return names
}

// text is the schema as it goes out. The library escapes <, > and & for HTML; that is undone, schemas count their bytes.
func text(s *invopop.Schema) []byte {
	raw, err := s.MarshalJSON()
	if err == nil {
		raw, err = jsontext.AppendFormat(nil, raw)
	}
	if err != nil {
		panic(fmt.Sprintf("schemas: writing a schema: %v", err))
	}
	return raw
}

// compile prepares a schema for checking. Formats count, and no address is ever loaded.
func compile(text json.RawMessage) *jsonschema.Schema {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiler.UseLoader(jsonschema.SchemeURLLoader{})
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = compiler.AddResource("schema.json", doc)
	}
	if err != nil {
		panic(fmt.Sprintf("schemas: reading back %s: %v", text, err))
	}
	return compiler.MustCompile("schema.json")
}
