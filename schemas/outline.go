package schemas

import (
	"encoding/json"

	invopop "github.com/invopop/jsonschema"
)

// Outline is what a list of tools can afford to say about an answer, since every client pays for the list at the start: of a write's
// envelope how it ended and that there is a result, of a read's answer that it is an object. Nothing is required, so that refusals
// and parked answers fit as well; that those have a job_id is told once, to all.
func (s *Schema) Outline() json.RawMessage {
	outline := &invopop.Schema{Type: "object"}
	if s.envelope {
		outline.Properties = invopop.NewProperties()
		for _, name := range []string{"status", "result"} {
			kind, _ := s.Property(name)
			outline.Properties.Set(name, &invopop.Schema{Type: kind})
		}
	}
	return text(outline)
}
