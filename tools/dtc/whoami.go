package dtc

import (
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

type whoamiIn struct{}

// A whoamiOut tells a key about itself. Nothing in it is secret to its holder.
type whoamiOut struct {
	Kind             auth.Kind    `json:"kind"`
	MerchantID       string       `json:"merchant_id"`
	Agent            string       `json:"agent"`
	OnBehalfOf       []string     `json:"on_behalf_of,omitempty"`
	Scopes           []auth.Scope `json:"scopes"`
	Tools            []string     `json:"tools"`
	RiskCeiling      string       `json:"risk_ceiling"`
	RequiresApproval bool         `json:"requires_approval"`
	Parks            []string     `json:"parks"`           // tools whose calls would wait for people
	Taint            *auth.Taint  `json:"taint,omitempty"` // set while the key counts as having read outsiders' text
	PolicyVersion    int64        `json:"policy_version"`
	ExpiresAt        time.Time    `json:"expires_at,omitzero"`
}

var whoami = tools.Define(tools.Spec{
	Name: "dtc_whoami", Path: "self.whoami", Title: "Who am I",
	Description: "Tells what this key is and may do: its merchant, its scopes, the tools it can call, the highest risk of a call " +
		"(L0 to L7), and in parks those tools whose calls wait until a person approves. Call it first, or when a call was refused " +
		"for a scope or for its risk. It takes no arguments.",
	Risk: tools.Risk{DataOut: 1}, Resource: "self", Undo: nothing, Example: `{}`,
	Routes: []tools.Route{{Method: "GET", Path: "/whoami"}},
}, tools.Func[whoamiIn, whoamiOut]{Read: readWhoami})

// readWhoami shows the tools as the list does, and which of them would park: an agent that knows can plan for the wait.
func readWhoami(c *tools.Call, _ whoamiIn) (whoamiOut, error) {
	p := c.Principal
	out := whoamiOut{
		Kind: p.Kind, MerchantID: p.Merchant, Agent: p.Name, OnBehalfOf: p.Chain()[1:],
		Scopes: append([]auth.Scope{}, p.Scopes...), Tools: []string{}, Parks: []string{},
		RiskCeiling:      fmt.Sprintf("%s (%s)", p.Ceiling, p.Ceiling.Word()),
		RequiresApproval: p.RequiresApproval, PolicyVersion: c.PolicyVersion, ExpiresAt: p.ExpiresAt,
	}
	var err error
	if out.Taint, err = auth.TaintOf(c.Tx, p); err != nil {
		return out, err
	}
	for _, t := range c.Registry.Visible(p) {
		out.Tools = append(out.Tools, t.Name)
		if t.AlwaysAsks || p.RequiresApproval && t.Class != tools.ClassNone {
			out.Parks = append(out.Parks, t.Name)
		}
	}
	return out, nil
}
