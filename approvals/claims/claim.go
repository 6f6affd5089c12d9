// Package claims holds what an agent says to the record.
package claims

import (
	"encoding/json"

	"github.com/dtcgate/dtcgate/tools"
)

// A Claim is a number, an id or a name of an agent's reason, held to the record.
type Claim struct {
	Text     string `json:"text"` // as it stands in the reason
	Kind     string `json:"kind"`
	Verdict  string `json:"verdict"` // matches, differs, unknown
	Record   string `json:"record,omitempty"`
	Material bool   `json:"material,omitempty"`
}

// A Record is what a reason is held to.
type Record struct {
	Args     json.RawMessage
	Preview  tools.Preview
	Resource string
	Facts    []tools.Fact
}

// Check holds a reason to the record.
func Check(string, Record) []Claim { return nil }
