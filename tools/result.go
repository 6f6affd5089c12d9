package tools

import (
	"encoding/json"
	"time"

	"github.com/dtcgate/dtcgate/shop"
)

// A Status is how a call ended.
type Status string

// The statuses of a call that was not refused.
const (
	Done            Status = "done"
	DryRun          Status = "dry_run"
	PendingApproval Status = "pending_approval"
	Queued          Status = "queued"
)

// A Result is the answer of every write, on every transport. A parked call is an outcome and not a failure.
type Result struct {
	Status   Status          `json:"status"`
	Result   json.RawMessage `json:"result,omitempty"`
	JobID    string          `json:"job_id,omitempty"`
	Poll     string          `json:"poll,omitempty"`
	Approval *Approval       `json:"approval,omitempty"`
	Preview  *Preview        `json:"preview,omitempty"`
	Undo     string          `json:"undo,omitempty"`

	// Of a done write that can be taken back: what to hand to dtc_undo, until when, and whose it is.
	UndoID    string    `json:"undo_id,omitempty"`
	UndoUntil time.Time `json:"undo_until,omitzero"`
	UndoOwner string    `json:"undo_owner,omitempty"`
}

// An Approval is what an agent is told about the question that its call became.
type Approval struct {
	ApprovalID  string    `json:"approval_id"`
	Rule        string    `json:"rule"`                // that asks
	Needs       string    `json:"needs"`               // whose consent it takes, in words
	NeedsNow    string    `json:"needs_now,omitempty"` // who of these is missing, once somebody has voted
	ExpiresAt   time.Time `json:"expires_at"`
	Fingerprint string    `json:"fingerprint"` // the first 48 bits of the binding, for people to compare
}

// A Preview is the effect that a write would have, computed by the server. Approval screens, dry runs and limits read
// this one value.
type Preview struct {
	Summary      string      `json:"summary"`             // one sentence: verb, object, how many, how much
	Customers    int64       `json:"customers,omitempty"` // reached by it
	Money        *shop.Money `json:"money,omitempty"`     // spent, given back or given away at most
	Changes      []Change    `json:"changes,omitempty"`
	Content      string      `json:"content,omitempty"` // text as it will go out, in full
	Warnings     []string    `json:"warnings,omitempty"`
	Irreversible string      `json:"irreversible,omitempty"` // what cannot come back
	Calls        []Part      `json:"calls,omitempty"`        // of a batch: what each of them would do

	// RunAt is when it would run, for a call that is set for later.
	RunAt time.Time `json:"run_at,omitzero"`
	// Version is the version of the resource that the preview was computed on. It is bound, not shown.
	Version string `json:"-"`
	// Asks says that a person has to agree to this very call, whoever makes it. It is not shown.
	Asks bool `json:"-"`
	// Trial says that nobody but people of the shop's own is reached. It lowers the risk and is not shown.
	Trial bool `json:"-"`
}

// A Change is one field that a write would change.
type Change struct {
	Object string `json:"object,omitempty"` // whose field; the object of the call if left out
	Field  string `json:"field"`
	From   string `json:"from"`
	To     string `json:"to"`
}
