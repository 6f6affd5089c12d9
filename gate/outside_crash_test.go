package gate

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/outsidetest"
)

// A death is where a worker is killed: it has the job, has put its intent on record, or the vendor has done what it asked for.
type death int

const (
	diesHolding death = iota
	diesIntending
	diesDone
)

// die lets a worker take the next job and get as far as a death.
func (a *abroad) die(at death) error {
	return a.db.InTx(a.t.Context(), func(tx *store.Tx) error {
		j, ok, err := approvals.Claim(tx, "dead")
		switch {
		case err != nil || !ok || at == diesHolding:
			return err
		case j.Status == tools.JobQueued:
			_, err = a.begin(tx, j, "dead", nil)
			return err
		}
		x, err := approvals.FindExecution(tx, j.JobID)
		if err != nil || j.Tool == pay || j.Tool == payTold && a.vendors[payTold].Effects(x.ID) > 0 {
			return err // one who may not send it again
		}
		return approvals.Intend(tx, j, "dead", x.ID)
	})
}

// live lets workers get at a job once, and die or meet a fault.
func (a *abroad) live(job string, rng *rand.Rand) error {
	before := a.executionIfAny(job).Sends
	if rng.IntN(2) == 0 {
		at := death(rng.IntN(3))
		if err := a.die(at); err != nil {
			return err
		}
		a.fault(outsidetest.None)
		if at == diesDone && a.executionIfAny(job).Sends > before {
			a.do(job)
		}
	} else {
		var faults []outsidetest.Fault
		for range 4 {
			faults = append(faults, []outsidetest.Fault{
				outsidetest.None, outsidetest.LoseRequest, outsidetest.LoseRequest, outsidetest.LoseAnswer, outsidetest.LoseAnswer, outsidetest.Refuse, outsidetest.Busy,
			}[rng.IntN(7)])
		}
		a.fault(faults...)
		if _, err := a.Resume(a.t.Context(), "worker"); err != nil {
			return err
		}
	}
	a.pass(6 * time.Minute) // longer than a lease, and than a call that may be sent again waits
	return nil
}

// executionIfAny is execution of a job that may have none yet.
func (a *abroad) executionIfAny(job string) (x approvals.Execution) {
	if a.count(`SELECT COUNT(*) FROM executions WHERE job_id = $1`, job) == 0 {
		return x
	}
	return a.execution(job)
}

// TestNoCrashLetsAnythingHappenTwiceOutside kills workers at every point of a call, loses requests and answers, and holds what is told to what the
// vendor did. The vendors of tools that are not Repeatable do what they are asked as often as they are asked.
func TestNoCrashLetsAnythingHappenTwiceOutside(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		ends := map[string]int{}
		rapid.Check(t, func(r *rapid.T) {
			rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1)) // weights from rapid's own ranges starve most paths
			for range 6 {
				a.pays(r, rng, ends)
			}
		})
		t.Log(ends)
		for _, end := range []string{
			pay + " succeeded", pay + " failed", pay + " indeterminate", payTold + " succeeded", payTold + " failed", payAgain + " succeeded", payAgain + " failed",
		} {
			if ends[end] == 0 {
				t.Errorf("no case ended as %s: the test shows less than it should", end)
			}
		}
	})
}

// pays lets one payment live and die, and counts its end.
func (a *abroad) pays(r *rapid.T, rng *rand.Rand, ends map[string]int) {
	tool := []string{pay, payTold, payAgain}[rng.IntN(3)]
	job := a.sent(tool)
	for range rng.IntN(9) {
		if err := a.live(job, rng); err != nil {
			r.Fatal(err)
		}
	}
	a.fault(outsidetest.None)
	for a.job(job).Status == tools.JobRunning || a.job(job).Status == tools.JobQueued {
		a.resume()
		a.pass(6 * time.Minute)
	}
	j, x := a.job(job), a.execution(job)
	done := a.vendors[tool].Effects(x.ID)
	ends[fmt.Sprintf("%s %s", tool, j.Status)]++
	switch {
	case done > 1:
		r.Fatalf("%s was done %d times", tool, done)
	case j.Status == tools.JobSucceeded && done == 0:
		r.Fatalf("%s is told to have happened and has not", tool)
	case j.Status == tools.JobFailed && done > 0:
		r.Fatalf("%s is told not to have happened and has: %s", tool, j.Why)
	case j.Status == tools.JobIndeterminate && tool != pay:
		r.Fatalf("%s could have been found out: %s", tool, j.Why)
	}
}
