package tools

import (
	"encoding/json"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// A Planned is a call that its caller thinks of making.
type Planned struct {
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments"`
}

// A Planning is what would become of a call.
type Planning string

// What would become of a call: it would run, wait for people, or be refused.
const (
	WouldRun    Planning = "run"
	WouldPark   Planning = "park"
	WouldRefuse Planning = "refuse"
)

// A Forecast is what a planned call would get, made now and by itself. It tells its caller what a refusal or a parked call would tell it,
// and nothing of rules that are about others.
type Forecast struct {
	Tool    string   `json:"tool"`
	Outcome Planning `json:"outcome"`
	Code    Code     `json:"code,omitempty"`    // of a refusal
	Reason  string   `json:"reason,omitempty"`  // in words
	Missing []string `json:"missing,omitempty"` // scopes and grants that it would take
	Needs   string   `json:"needs,omitempty"`   // the people that it would wait for, as Approval.Needs
	Nearest *Nearest `json:"nearest,omitempty"`
}

// A Nearest is the call most like a refused one that would not be refused: other arguments, or another tool.
type Nearest struct {
	Tool      string          `json:"tool,omitempty"`
	Arguments json.RawMessage `json:"arguments,omitempty"` // a JSON Merge Patch (RFC 7396) of the planned ones: null leaves one out
}

// Plans is how the preflight tool asks what calls would get. It is an interface because package gate decides that.
type Plans interface {
	// Plan gives a forecast for each call, in their order. It has no effect, and a call that could not be made is no error.
	Plan(tx *store.Tx, p auth.Principal, calls []Planned) ([]Forecast, error)
}
