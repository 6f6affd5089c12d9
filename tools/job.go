package tools

import (
	"encoding/json"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// A JobStatus is the state of a call that outlives its answer.
type JobStatus string

// The states of a job. Those from JobSucceeded on are final, but that a probe or a person can still say of an indeterminate one that it
// has succeeded or failed.
const (
	JobPending       JobStatus = "pending_approval"
	JobQueued        JobStatus = "queued"
	JobRunning       JobStatus = "running"
	JobSucceeded     JobStatus = "succeeded"
	JobFailed        JobStatus = "failed"
	JobCancelled     JobStatus = "cancelled"
	JobExpired       JobStatus = "expired"
	JobIndeterminate JobStatus = "indeterminate"
)

// Final reports whether the job has ended: nothing more happens to it by itself, or not soon.
func (s JobStatus) Final() bool {
	return s != JobPending && s != JobQueued && s != JobRunning
}

// A Job is a call that waits for people or for a worker, as its caller sees it.
type Job struct {
	JobID           string          `json:"job_id"`
	Tool            string          `json:"tool"`
	Status          JobStatus       `json:"status"`
	Reason          string          `json:"reason,omitempty"` // why it ended so: denied, cancelled, expired, invalidated, or an error code
	Why             string          `json:"why,omitempty"`    // in words, with the next step
	Summary         string          `json:"summary"`
	ProgressPercent int             `json:"progress_percent"`
	NextPollSeconds int             `json:"next_poll_seconds,omitempty"`
	ApprovalID      string          `json:"approval_id,omitempty"`
	Approval        *Approval       `json:"approval,omitempty"` // of one that waits for people
	Changed         []Change        `json:"changed,omitempty"`  // of one that was invalidated: what is not as people were shown it
	Result          json.RawMessage `json:"result,omitempty"`
	UndoID          string          `json:"undo_id,omitempty"` // of a write that can be taken back with dtc_undo
	CreatedAt       time.Time       `json:"created_at"`
	UpdatedAt       time.Time       `json:"updated_at"` // when it moved or got on
}

// A JobFilter selects a page of the caller's own jobs, newest first.
type JobFilter struct {
	Status JobStatus // empty: any
	Before string    // the job id that the page before ended with
	Limit  int
}

// Jobs is how the job tools reach the caller's own jobs. A job of somebody else and one that never was are both
// store.ErrNotFound. It is an interface because the rows belong to package approvals, which stands to the right of tools.
type Jobs interface {
	Job(tx *store.Tx, p auth.Principal, id string) (Job, error)
	Jobs(tx *store.Tx, p auth.Principal, f JobFilter) (jobs []Job, total int, err error)
	// Open reports whether calls of a tool about a resource of p's merchant have not ended, and whether one of them is p's own.
	Open(tx *store.Tx, p auth.Principal, tool, resource string) (open, own bool, err error)
	// CancelJob ends a job that has not begun, and asks a running one to stop at its next step.
	CancelJob(tx *store.Tx, p auth.Principal, id, reason string) (Job, error)
}

// Traces is how the tool that erases reaches what calls about somebody have left, whoever made them.
type Traces interface {
	// Open counts the merchant's jobs about any of these resources that have not ended, but for those of one tool.
	Open(tx *store.Tx, merchant string, resources []string, but string) (int, error)
	// Forget removes what the ended jobs about these resources hold of people's words and values, and gives how many they are.
	Forget(tx *store.Tx, merchant string, resources []string) (int64, error)
}
