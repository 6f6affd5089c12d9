package gate

import (
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/outsidetest"
)

// restored does what a restore does, on a database as its backup had it, and then all that time and workers do.
func (a *abroad) restored(since func()) (r Restored) {
	a.t.Helper()
	a.tx(func(tx *store.Tx) (err error) {
		r, err = a.AfterRestore(tx, tx.Now.Add(-time.Hour))
		return err
	})
	since()
	for range 5 {
		a.resume()
		a.sweep()
		a.pass(10 * time.Minute)
	}
	return r
}

// TestARestoredDatabaseSendsNothingThatMayHaveBeenSentSinceTheBackup has the vendor do each call between the backup and the restore, or not.
func TestARestoredDatabaseSendsNothingThatMayHaveBeenSentSinceTheBackup(t *testing.T) {
	for _, c := range []struct {
		name  string
		tool  string
		begun bool // its worker was at it when the backup was taken
		done  int  // by the vendor, since
		end   tools.JobStatus
	}{
		{"queued, and done since", pay, false, 1, tools.JobIndeterminate},
		{"queued, and done since, and the vendor knows an execution again", payAgain, false, 1, tools.JobIndeterminate},
		{"queued, and done since, and the vendor can tell", payTold, false, 1, tools.JobSucceeded},
		{"queued, and not done since, and the vendor can tell", payTold, false, 0, tools.JobFailed},
		{"begun, and done since", pay, true, 1, tools.JobIndeterminate},
		{"begun, and done since, and the vendor can tell", payTold, true, 1, tools.JobSucceeded},
		{"begun, and not done since", payAgain, true, 0, tools.JobIndeterminate},
	} {
		t.Run(c.name, func(t *testing.T) {
			abroads(t, func(_ *testing.T, a *abroad) {
				a.fault(outsidetest.None)
				send := a.sent
				if c.begun {
					send = func(tool string) string { return a.dies(tool, false) }
				}
				job := send(c.tool)
				r := a.restored(func() {
					for range c.done {
						a.do(job)
					}
				})
				if len(r.Doubtful) != 1 || len(r.Ended) != 0 {
					t.Errorf("the restore found %+v", r)
				}
				a.stands(job, c.end, c.done, c.done)
			})
		})
	}
}

// TestWhatPeopleWereAskedBeforeABackupIsNotDoneAfterARestore has one call that waits for a vote and one that waits to run.
func TestWhatPeopleWereAskedBeforeABackupIsNotDoneAfterARestore(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		var jobs []string
		for _, args := range []string{`{"payee":"ada","amount":100,"reason":"she is owed it"}`, `{"payee":"bob","amount":100,"reason":"he is owed it"}`} {
			out, err := a.call(a.bot, pay, args)
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, a.result(out).JobID)
		}
		if err := a.vote(jobs[1], approvals.Approve); err != nil {
			t.Fatal(err)
		}
		if r := a.restored(func() {}); len(r.Ended) != 2 || len(r.Doubtful) != 0 {
			t.Errorf("the restore found %+v", r)
		}
		for _, id := range jobs {
			if j := a.job(id); j.Status != tools.JobCancelled || j.Reason != "invalidated" {
				t.Errorf("%s is %s (%s)", id, j.Status, j.Reason)
			}
		}
		if err := a.vote(jobs[0], approvals.Approve); err == nil {
			t.Error("it may still be approved")
		}
		if n := a.count(`SELECT COUNT(*) FROM approvals WHERE state IN ('pending', 'approved')`); n != 0 {
			t.Errorf("%d requests are still open", n)
		}
		if n := a.count(`SELECT COUNT(*) FROM executions`); n != 0 {
			t.Errorf("%d calls were sent", n)
		}
	})
}
