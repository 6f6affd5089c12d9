package gate

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A Restored is what AfterRestore found open in a backup, and ended.
type Restored struct {
	Doubtful []tools.Job `json:"doubtful"` // of outside systems, begun or about to begin: indeterminate
	Ended    []tools.Job `json:"ended"`    // waited for people or to run, or ran in steps
	Letters  int64       `json:"letters"`  // to customers, which waited to be handed over
	Closed   auth.Ended  `json:"closed"`
}

// AfterRestore puts a database in order that comes from a backup taken at a time, before anything works on it. The backup knows nothing of
// what was done after it, and nothing that was done outside may be done again because of that. So no call that was open then goes on by
// itself: what may have been sent is indeterminate, for the outside system or a person to tell; everything else ends and can be asked
// again. What opens for a while only is closed.
func (g *Gate) AfterRestore(tx *store.Tx, taken time.Time) (r Restored, err error) {
	if r.Closed, err = auth.EndShortLived(tx); err != nil {
		return r, err
	}
	jobs, err := approvals.Unended(tx)
	if err != nil {
		return r, err
	}
	why := fmt.Sprintf("The database was restored from a backup of %s. It may have been done after that: look before you ask again.",
		taken.UTC().Format(time.DateTime))
	for _, j := range jobs {
		doubtful, err := g.endRestored(tx, j, why)
		if err != nil {
			return r, fmt.Errorf("job %s: %w", j.JobID, err)
		}
		if doubtful {
			r.Doubtful = append(r.Doubtful, j.Job)
		} else {
			r.Ended = append(r.Ended, j.Job)
		}
	}
	r.Letters, err = shop.TakeForCarried(tx)
	return r, err
}

// endRestored ends a job as it stood in a backup, or makes it indeterminate.
func (g *Gate) endRestored(tx *store.Tx, j approvals.Job, why string) (doubtful bool, err error) {
	h := g.sendingOf(j, approvals.Execution{}).handler()
	switch _, err := approvals.FindExecution(tx, j.JobID); {
	case err == nil && j.Status == tools.JobRunning:
		return true, approvals.Doubt(tx, j, why, h.Probe != nil)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return false, err
	case j.Status == tools.JobQueued && h.Outside() && j.ApprovalID == "":
		return true, approvals.Forgotten(tx, j, why, h.Probe != nil)
	case j.Status == tools.JobRunning:
		return false, g.stop(tx, j, "invalidated", why)
	}
	if err := endWaiting(tx, j, why); err != nil {
		return false, err
	}
	return false, giveBack(tx, j)
}

// endWaiting ends a job that has not begun, with the request it waits for.
func endWaiting(tx *store.Tx, j approvals.Job, why string) error {
	if j.Status == tools.JobQueued {
		return approvals.Invalidate(tx, j, tools.ApprovalInvalidated, why)
	}
	return approvals.Supersede(tx, approvals.Request{ID: j.ApprovalID, JobID: j.JobID, Merchant: j.Merchant}, nil, why)
}
