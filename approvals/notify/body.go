package notify

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A payload is the body of a message (Standard Webhooks, "Payload structure").
type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when what it tells happened
	Data      any       `json:"data"`
}

// requestData is what a message tells of a request: ids, numbers and the words of rules, and nothing that an agent, a person or a customer
// wrote. What is asked for stands on the page.
type requestData struct {
	ApprovalID    string          `json:"approval_id"`
	JobID         string          `json:"job_id"`
	State         approvals.State `json:"state"`
	Tool          string          `json:"tool"`
	Class         tools.Class     `json:"class"`
	Rule          string          `json:"rule"`
	Needs         string          `json:"needs"`
	NeedsNow      string          `json:"needs_now,omitempty"`
	Votes         int             `json:"votes"`
	Customers     int64           `json:"customers"`
	Money         *shop.Money     `json:"money,omitempty"`
	BindingHash   string          `json:"binding_sha256"` // what a vote names as seen
	Fingerprint   string          `json:"fingerprint"`
	CreatedAt     time.Time       `json:"created_at"`
	ExpiresAt     time.Time       `json:"expires_at"`
	DecidedAt     time.Time       `json:"decided_at,omitzero"`
	ExecuteBefore time.Time       `json:"execute_before,omitzero"`
	URL           string          `json:"url,omitempty"`
}

// jobData is what a message tells of a job.
type jobData struct {
	JobID           string          `json:"job_id"`
	ApprovalID      string          `json:"approval_id,omitempty"`
	Status          tools.JobStatus `json:"status"`
	Reason          string          `json:"reason,omitempty"` // a code: denied, expired, the code of a refusal
	Tool            string          `json:"tool"`
	ProgressPercent int             `json:"progress_percent"`
	CreatedAt       time.Time       `json:"created_at"`
	URL             string          `json:"url,omitempty"`
}

// freezeData is what a message tells of a freeze.
type freezeData struct {
	FreezeID string    `json:"freeze_id"`
	Subject  string    `json:"subject_id,omitempty"` // whose writes are stopped; none: every agent's
	By       string    `json:"by"`                   // whoever froze or lifted, as on the record
	FrozenAt time.Time `json:"frozen_at"`
	LiftedAt time.Time `json:"lifted_at,omitzero"`
	URL      string    `json:"url,omitempty"`
}

// describe makes the type and the data of a message about a subject, from what is so now. requested says that the receiver may not have heard of
// the request yet.
func (w *Webhooks) describe(tx *store.Tx, m message, requested bool) (string, any, error) {
	if m.kind == approvals.MessageJobUpdated {
		data, err := w.job(tx, m)
		return m.kind, data, err
	}
	if m.kind == approvals.MessageFrozen || m.kind == approvals.MessageLifted {
		return w.freeze(tx, m)
	}
	r, err := approvals.Find(tx, m.merchant, m.approval)
	if err != nil {
		return "", nil, fmt.Errorf("reading %s: %w", m.approval, err)
	}
	kind := approvals.MessageResolved
	switch {
	case r.State == approvals.Pending && requested:
		kind = approvals.MessageRequested
	case r.State == approvals.Pending:
		kind = approvals.MessageUpdated
	}
	return kind, requestData{
		ApprovalID: r.ID, JobID: r.JobID, State: r.State, Tool: r.Binding.Tool, Class: r.Class, Rule: r.Rule.Name, Needs: r.Needs, NeedsNow: r.Missing,
		Votes: len(r.Votes), Customers: r.Preview.Customers, Money: r.Preview.Money, BindingHash: r.BindingHash, Fingerprint: r.Fingerprint,
		CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt, DecidedAt: r.DecidedAt, ExecuteBefore: r.ExecuteBefore, URL: w.page("/approvals/", r.ID),
	}, nil
}

func (w *Webhooks) freeze(tx *store.Tx, m message) (string, any, error) {
	f, err := auth.FindFreeze(tx, m.merchant, m.subject)
	if err != nil {
		return "", nil, fmt.Errorf("reading %s: %w", m.subject, err)
	}
	kind, by := approvals.MessageFrozen, f.By
	if !f.Open() {
		kind, by = approvals.MessageLifted, f.LiftedBy
	}
	return kind, freezeData{FreezeID: f.ID, Subject: f.Subject, By: by, FrozenAt: f.At, LiftedAt: f.LiftedAt, URL: w.page("/freeze", "")}, nil
}

func (w *Webhooks) job(tx *store.Tx, m message) (jobData, error) {
	j, err := approvals.FindJob(tx, m.merchant, m.job)
	if err != nil {
		return jobData{}, fmt.Errorf("reading %s: %w", m.job, err)
	}
	return jobData{
		JobID: j.JobID, ApprovalID: j.ApprovalID, Status: j.Status, Reason: j.Reason, Tool: j.Tool, ProgressPercent: j.ProgressPercent,
		CreatedAt: j.CreatedAt, URL: w.page("/jobs/", j.JobID),
	}, nil
}

// page is the address of a page for people.
func (w *Webhooks) page(path, id string) string {
	if w.PublicURL == "" {
		return ""
	}
	return w.PublicURL + path + id
}

// maxBody bounds a body, in bytes (Standard Webhooks, "Payload size"). Only the words of a rule could make one long.
const maxBody = 20 << 10

func encode(kind string, at time.Time, data any) ([]byte, error) {
	body, err := json.Marshal(payload{kind, at, data})
	if err != nil {
		return nil, fmt.Errorf("writing a message: %w", err)
	}
	if len(body) >= maxBody {
		return nil, fmt.Errorf("a message of %d bytes is too long", len(body))
	}
	return body, nil
}
