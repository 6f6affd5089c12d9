package dtc

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

type whoamiIn struct{}

// A whoamiOut tells a key about itself. Nothing in it is secret to its holder.
type whoamiOut struct {
	Kind             auth.Kind       `json:"kind"`
	MerchantID       string          `json:"merchant_id"`
	Agent            string          `json:"agent"`
	OnBehalfOf       []string        `json:"on_behalf_of,omitempty"`
	Profile          string          `json:"profile"` // in the policy: what it grants within the scopes
	Scopes           []auth.Scope    `json:"scopes"`
	Tools            []string        `json:"tools"`
	OnlyResources    []string        `json:"only_resources,omitempty"` // names and patterns of the objects it may touch; all if left out
	RiskCeiling      string          `json:"risk_ceiling"`
	RequiresApproval bool            `json:"requires_approval"`
	Parks            []string        `json:"parks"`             // tools whose calls wait for people, or some of them do
	Actions          []mayRequest    `json:"actions,omitempty"` // of dtc_request_action
	Granted          []tools.Granted `json:"granted,omitempty"` // calls that wait for nobody
	Trust            string          `json:"trust"`             // 0 to 100; it falls with refusals and denials
	Sandbox          string          `json:"sandbox,omitempty"` // what the trust allows
	Taint            *auth.Taint     `json:"taint,omitempty"`   // set while the key counts as having read outsiders' text
	PolicyVersion    int64           `json:"policy_version"`
	ExpiresAt        time.Time       `json:"expires_at,omitzero"`
	Depth            int             `json:"depth,omitempty"` // how many sub-tokens deep it may delegate
}

// A mayRequest is an action that the key holds, with what a call needs to name it.
type mayRequest struct {
	Action    string          `json:"action"`
	Title     string          `json:"title"`
	Targets   []string        `json:"targets"`   // such as order:536365
	Arguments json.RawMessage `json:"arguments"` // their JSON Schema
}

var whoami = tools.Define(tools.Spec{
	Name: "dtc_whoami", Path: "self.whoami", Title: "Who am I",
	Description: "Tells what you may do: scopes, tools, the highest risk of a call (L0 to L7), in parks the tools whose calls may wait " +
		"for people, and the actions for dtc_request_action. Call it first, or when refused for these.",
	Risk: tools.Risk{DataOut: 1}, Resource: "self", Undo: nothing, Example: `{}`,
	Routes: []tools.Route{{Method: "GET", Path: "/whoami"}},
}, tools.Func[whoamiIn, whoamiOut]{
	Read: readWhoami,
	Asks: func(c *tools.Call, _ whoamiIn) { _, _ = c.Granted() },
})

// readWhoami shows the tools as the list does, which of them would park, so that an agent can plan for the wait, and the actions
// with the form of their arguments, which no list tells.
func readWhoami(c *tools.Call, _ whoamiIn) (whoamiOut, error) {
	p := c.Principal
	out := whoamiOut{
		Kind: p.Kind, MerchantID: p.Merchant, Agent: p.Name, OnBehalfOf: p.Chain()[1:],
		Scopes: append([]auth.Scope{}, p.Scopes...), Tools: []string{}, Parks: []string{},
		OnlyResources:    p.Resources(),
		RiskCeiling:      fmt.Sprintf("%s (%s)", p.Ceiling, p.Ceiling.Word()),
		RequiresApproval: p.RequiresApproval, PolicyVersion: c.PolicyVersion, ExpiresAt: p.ExpiresAt, Depth: p.Depth(),
	}
	var err error
	if out.Granted, err = c.Granted(); err != nil {
		return out, err
	}
	may := c.May()
	out.Profile, out.Trust, out.Sandbox, out.Taint = may.Profile, may.Trust, may.Sandbox, may.Taint
	for _, t := range may.Tools {
		out.Tools = append(out.Tools, t.Name)
		out.Actions = append(out.Actions, requestable(may.Actions, t)...)
	}
	for _, t := range may.Parks {
		out.Parks = append(out.Parks, t.Name)
	}
	return out, nil
}

// requestable gives the actions of a tool that are among those granted.
func requestable(granted []string, t *tools.Tool) []mayRequest {
	var held []mayRequest
	for _, a := range t.Actions {
		if !slices.Contains(granted, a.ID()) {
			continue
		}
		targets := make([]string, len(a.Targets))
		for i, target := range a.Targets {
			targets[i] = target.String()
		}
		held = append(held, mayRequest{Action: a.ID(), Title: a.Title, Targets: targets, Arguments: a.Input.JSON})
	}
	return held
}
