package gate

import (
	"errors"
	"maps"
	"slices"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// giveBack returns to the budgets what jobs that end without having done anything have reserved. Of those that did something it is spent
// by then, and stays so. It comes after the rows of jobs, which whoever settles holds first, and before those of the shop.
func giveBack(tx *store.Tx, ended ...approvals.Job) error {
	calls := map[string][]string{}
	for _, j := range ended {
		calls[j.Merchant] = append(calls[j.Merchant], j.CallID)
	}
	for _, merchant := range slices.Sorted(maps.Keys(calls)) {
		if err := budget.Release(tx, merchant, calls[merchant]...); err != nil {
			return err
		}
	}
	return nil
}

// A queue is the jobs as tools reach them. What a cancelled job has reserved is given back.
type queue struct{ approvals.Queue }

var _ tools.Jobs = queue{}

// tooLate is what the caller of a call that is being sent is told who wants to stop it.
const tooLate = "It is too late to stop it for certain: it is being sent to the outside system. It is not sent again where that has not done it."

// CancelJob is that of approvals.Queue.
func (q queue) CancelJob(tx *store.Tx, p auth.Principal, id, reason string) (tools.Job, error) {
	now, err := q.Queue.CancelJob(tx, p, id, reason)
	if err == nil && now.Status == tools.JobRunning {
		now.Why, err = stopping(tx, id)
	}
	if err != nil || now.Status != tools.JobCancelled {
		return now, err
	}
	j, err := approvals.FindJob(tx, p.Merchant, id)
	if err != nil {
		return now, err
	}
	return now, giveBack(tx, j)
}

// stopping is what the caller of a running job is told who has asked to stop it.
func stopping(tx *store.Tx, id string) (string, error) {
	_, err := approvals.FindExecution(tx, id)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return tooLate, err
}
