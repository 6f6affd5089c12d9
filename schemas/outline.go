package schemas

import (
	"encoding/json"
	"fmt"

	invopop "github.com/invopop/jsonschema"
)

// Outline is a schema's members with their types and nothing below them, none of them required: what a list of tools can afford to say
// about an answer, since every client pays for the list at the start. Refusals and parked answers fit it as well.
func (s *Schema) Outline() json.RawMessage {
	var full struct {
		Properties map[string]struct {
			Type string `json:"type"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(s.JSON, &full); err != nil {
		panic(fmt.Sprintf("schemas: reading back %s: %v", s.JSON, err))
	}
	outline := &invopop.Schema{Type: "object", Properties: invopop.NewProperties()}
	for _, name := range s.names {
		if kind := full.Properties[name].Type; kind != "" {
			outline.Properties.Set(name, &invopop.Schema{Type: kind})
		}
	}
	return text(outline)
}
