// Package approvals keeps the calls that wait: for people, for a worker, or for both.
//
// A call that needs consent is parked as two rows in one transaction: a Job, which holds the exact bytes that will run,
// and a Request, which is the question put to people. The two move together:
//
//	request: pending ─enough──> approved ─consume─> consumed
//	            ├─deny──> rejected    ├─facts changed─> invalidated
//	            ├─cancel> cancelled <─┤
//	            └─time──> expired  <──┘ (not used before ExecuteBefore)
//	job:     pending_approval ──> queued ──> running ──> succeeded | failed
//	            └─> cancelled (denied, cancelled, invalidated) | expired
//	                                            └─> indeterminate ─(probe or person)─> succeeded | failed
//
// A call that only takes long is a Job without a Request and begins as queued.
//
// The database settles every race: each UPDATE names the state it leaves, and no row changed means that somebody else
// was first. What was approved is bound by a hash over everything that decides the effect (Binding); a vote that states
// another hash than the stored one does not count, and the worker runs the stored bytes under that hash or nothing.
//
// How much consent a request takes stands in its Rule: so many people, some of them of a certain role. The votes are weighed when one is
// cast and again when the call runs, each time by the roles that the voters have then (Satisfied). One denial is always enough.
//
// A running job is held under a lease that each step renews in the transaction of its effect. Who has lost the lease
// changes nothing any more. Every transition writes its audit entry in its own transaction.
//
// An Effect is what a write did, kept for as long as it can be taken back: open, then undone, or final from the start.
//
// Who may vote, who may take something back and whether a call may still run is judged by package gate.
package approvals

import (
	"errors"
	"time"

	"github.com/dtcgate/dtcgate/approvals/claims"
	"github.com/dtcgate/dtcgate/tools"
)

// A State is where a Request stands.
type State string

// The states of a request. All but Pending and Approved are final.
const (
	Pending     State = "pending"
	Approved    State = "approved"
	Consumed    State = "consumed"
	Rejected    State = "rejected"
	Cancelled   State = "cancelled"
	Expired     State = "expired"
	Invalidated State = "invalidated"
)

const (
	// TimeToDecide is how long a question stays open when its rule does not say.
	TimeToDecide = 24 * time.Hour
	// MaxTimeToDecide is how long it stays open at most, whatever its rule says.
	MaxTimeToDecide = 30 * 24 * time.Hour
	// TimeToRun is how long an answer is good for, counted from the decision or from the time the call was set for.
	TimeToRun = 30 * time.Minute
	// LeaseTime is how long a worker holds a running job without renewing it, and so how long the job of one that was killed stands still. Each
	// step renews it, and a worker that sends does four times in it. A step that takes longer is undone where another worker has taken the job
	// meanwhile, so steps are to be a small part of it.
	LeaseTime = 10 * time.Second
)

// QueueBell is told (store.Tx.Tell) when there is a job for a worker to claim.
const QueueBell = "queue"

// ErrLeaseLost means that another worker holds the job.
var ErrLeaseLost = errors.New("another worker holds the job")

// A Job is a stored call: what its caller sees of it, and what it takes to run it.
type Job struct {
	tools.Job
	Merchant    string
	CallID      string
	PrincipalID string
	Chain       []string
	Transport   string
	SchemaHash  string
	Args        []byte
	ArgsHash    string
	Idempotency string
	Resource    string
	Policy      int64 // the version under which it was accepted
	Rule        string
	Checkpoint  []byte
	RunAfter    time.Time
	Attempts    int64
	Owner       string // of the lease
	StopAsked   bool   // somebody asked a running job to stop
}

// A Request is the question that a job waits for.
type Request struct {
	ID            string         `json:"approval_id"`
	Merchant      string         `json:"-"`
	JobID         string         `json:"job_id"`
	State         State          `json:"state"`
	Class         tools.Class    `json:"class"`
	Rule          Rule           `json:"rule"`
	Needs         string         `json:"needs"`               // the rule in words
	Missing       string         `json:"needs_now,omitempty"` // who is missing of that, while it is pending
	Binding       Binding        `json:"binding"`
	BindingHash   string         `json:"binding_sha256"`
	Fingerprint   string         `json:"fingerprint"`
	Preview       tools.Preview  `json:"preview"`
	Facts         []tools.Fact   `json:"facts,omitempty"`  // what the server itself read of what it is about
	AgentReason   string         `json:"agent_reason"`     // unchecked
	Claims        []claims.Claim `json:"claims,omitempty"` // of the agent's reason, each held to the record
	AskedBy       string         `json:"asked_by"`
	AgentID       string         `json:"agent_id,omitempty"`   // the root of the chain that asks
	Supersedes    string         `json:"supersedes,omitempty"` // the request that this one asks again
	CreatedAt     time.Time      `json:"created_at"`
	ExpiresAt     time.Time      `json:"expires_at"`
	Level         int            `json:"escalated,omitempty"` // steps of escalation that are taken
	DecidedAt     time.Time      `json:"decided_at,omitzero"`
	ExecuteBefore time.Time      `json:"execute_before,omitzero"`
	Changed       []tools.Change `json:"changed,omitempty"` // why it was invalidated: what is not as it was shown
	Votes         []Vote         `json:"votes"`
	Question      string         `json:"-"` // hash of what is asked, however it is worded
	Version       int64          `json:"-"` // goes up with every transition
}

// A Decision is what a person says to a request.
type Decision string

// The two decisions.
const (
	Approve Decision = "approve"
	Deny    Decision = "deny"
)

// A Vote is one person's decision.
type Vote struct {
	PersonID     string    `json:"person_id"`
	Person       string    `json:"person"`
	For          string    `json:"for_id,omitempty"` // who is away and stood in for
	ForName      string    `json:"for,omitempty"`
	Decision     Decision  `json:"decision"`
	Override     bool      `json:"override,omitempty"` // it decides alone
	Reason       string    `json:"reason,omitempty"`
	Seen         string    `json:"seen_sha256,omitempty"`  // the binding hash
	Acknowledged bool      `json:"acknowledged,omitempty"` // that what the agent says does not fit the record
	OpenSeconds  int64     `json:"open_seconds,omitempty"` // for how long it was looked at; 0: not known
	Flag         Flag      `json:"flag,omitempty"`
	Channel      string    `json:"channel"`
	At           time.Time `json:"at"`
	Withdrawn    time.Time `json:"withdrawn_at,omitzero"` // it counts no more since
}

// A Flag marks a consent that may have been given without reading.
type Flag string

// The flags, and what earns them.
const (
	Hasty Flag = "hasty" // looked at for less than HastyBelow
	Many  Flag = "many"  // one of more than ManyOver consents of a person within ManyWithin

	HastyBelow = 3 * time.Second
	ManyOver   = 30
	ManyWithin = 10 * time.Minute
)
