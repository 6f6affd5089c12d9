package gate

import (
	"context"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// boardMax bounds each list of a job board.
const boardMax = 50

// A JobBoard is what runs, what is stuck and what has ended lately at a merchant, each latest first.
type JobBoard struct {
	Undecided []approvals.Job // nobody knows whether they had their effect: a person says
	Running   []approvals.Job
	Queued    []approvals.Job
	Parked    []approvals.Job
	Failed    []approvals.Job // in the last week
	Ended     []approvals.Job // otherwise, in the last week
	Now       time.Time
	Head      int64 // of the record, for who listens from there on
}

// endedFor is for how long ended jobs stand on the board.
const endedFor = 7 * 24 * time.Hour

// JobBoard gives p the jobs of the merchant. Every error is a *tools.Refusal.
func (g *Gate) JobBoard(ctx context.Context, p auth.Principal) (JobBoard, error) {
	return look(ctx, g, p, "", func(tx *store.Tx) (JobBoard, error) {
		head, err := audit.Head(tx)
		if err != nil {
			return JobBoard{}, err
		}
		b := JobBoard{Now: tx.Now, Head: head}
		for _, list := range []struct {
			to       *[]approvals.Job
			statuses []tools.JobStatus
		}{
			{&b.Undecided, []tools.JobStatus{tools.JobIndeterminate}},
			{&b.Running, []tools.JobStatus{tools.JobRunning}},
			{&b.Queued, []tools.JobStatus{tools.JobQueued}},
			{&b.Parked, []tools.JobStatus{tools.JobPending}},
			{&b.Failed, []tools.JobStatus{tools.JobFailed}},
			{&b.Ended, []tools.JobStatus{tools.JobSucceeded, tools.JobCancelled, tools.JobExpired}},
		} {
			found, err := approvals.JobsOf(tx, p.Merchant, "", boardMax, list.statuses...)
			if err != nil {
				return b, err
			}
			*list.to = found
		}
		old := func(j approvals.Job) bool { return tx.Now.Sub(j.CreatedAt) > endedFor }
		b.Failed, b.Ended = slices.DeleteFunc(b.Failed, old), slices.DeleteFunc(b.Ended, old)
		return b, nil
	})
}

// A JobSheet is one job, for people.
type JobSheet struct {
	Job   approvals.Job
	Title string
	Undo  Undo
	Now   time.Time
	Head  int64 // as of a JobBoard
}

// JobSheet gives p one job of the merchant. Every error is a *tools.Refusal.
func (g *Gate) JobSheet(ctx context.Context, p auth.Principal, id string) (JobSheet, error) {
	return look(ctx, g, p, "", func(tx *store.Tx) (JobSheet, error) {
		s := JobSheet{Now: tx.Now}
		if _, ok := store.IDTime(id); !ok {
			return s, store.ErrNotFound
		}
		var err error
		if s.Head, err = audit.Head(tx); err != nil {
			return s, err
		}
		if s.Job, err = approvals.FindJob(tx, p.Merchant, id); err != nil {
			return s, err
		}
		s.Title = g.titleOf(s.Job)
		return s, nil
	})
}
