package policy

import (
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// Facts are everything about one call that a policy can decide by. They are kept with the call's record, so that another policy can be asked
// about it later; the arguments are kept beside it and can be erased.
type Facts struct {
	Agent            string         `json:"agent"`            // key_… or jwt_…, at the root of the chain
	Caller           string         `json:"caller,omitempty"` // sub_…, where it is not the agent itself
	Owner            string         `json:"owner,omitempty"`  // per_…
	Name             string         `json:"-"`                // the words of whoever minted the credential
	Kind             auth.Kind      `json:"kind"`
	Profile          string         `json:"profile"`
	Scopes           []auth.Scope   `json:"scopes,omitempty"`
	Ceiling          auth.Level     `json:"ceiling"` // the credential's own
	RequiresApproval bool           `json:"requires_approval,omitempty"`
	Trust            trust.Score    `json:"trust"`
	NoTrust          bool           `json:"no_trust,omitempty"` // an outside source was to be asked, and gave no answer
	Tainted          bool           `json:"tainted,omitempty"`  // the caller was handed what outsiders wrote
	Action           string         `json:"action,omitempty"`   // that dtc_request_action asks for
	Objects          []tools.Object `json:"objects,omitzero"`   // that the call is about; nil: what its arguments name
	Effect           *Effect        `json:"effect,omitempty"`   // nil: the call was refused before it was known
	DryRun           bool           `json:"dry_run,omitempty"`
	At               time.Time      `json:"at,omitzero"` // of the decision; on record where it is not the time of the call's id

	Tool      *tools.Tool `json:"-"`
	Merchant  string      `json:"-"`
	Args      []byte      `json:"-"` // canonical
	Source    string      `json:"-"` // network address
	Transport string      `json:"-"`
	Resumed   bool        `json:"-"` // people have agreed, or its time has come: it is judged again
}

// An Effect is what a call would do, as its tool rates it. A read has one without money and customers.
type Effect struct {
	Risk      tools.Risk  `json:"risk"`
	Class     tools.Class `json:"class,omitempty"`
	Customers int64       `json:"customers,omitempty"`
	Money     *shop.Money `json:"money,omitempty"`
	Asks      bool        `json:"asks,omitempty"` // the tool itself wants people asked about this call
	RunAt     time.Time   `json:"run_at,omitzero"`
}

// when is the time at which the call would have its effect.
func (f *Facts) when() time.Time {
	if f.Effect != nil && f.Effect.RunAt.After(f.At) {
		return f.Effect.RunAt
	}
	return f.At
}

// free reports whether a call is of a tool that no policy holds back: a brake, and what tells a caller about itself.
func (f *Facts) free() bool { return f.Tool.Brake || f.Tool.Resource == "self" }

// objects gives the objects that the call is about.
func (f *Facts) objects() []tools.Object {
	if f.Objects != nil {
		return f.Objects
	}
	var all []tools.Object
	for _, name := range f.Tool.ResourcesOf(f.Args) {
		all = append(all, tools.Object{name})
	}
	return all
}
