package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// What was done outside, and what a run consisted of.

// outsideOnce is C2: no execution is done twice, and none that nobody intended.
func (c *checker) outsideOnce() {
	intended := map[string]bool{}
	for _, j := range c.jobs {
		if x, ok := c.executions[j.id]; ok {
			intended[j.tool+x.id] = true
		}
	}
	for tool, done := range c.outside {
		for id, n := range done {
			if n > 1 {
				c.find("C2", "%s did %s %d times", tool, id, n)
			}
			if !intended[tool+id] {
				c.find("C1", "%s did %s, and nobody had put on record to want it", tool, id)
			}
		}
	}
}

// outsideIntended is C1: an execution belongs to a job that was judged and, where people were asked, approved, under the one id that follows from it;
// and each attempt is on record.
func (c *checker) outsideIntended() {
	for _, j := range c.jobs {
		x, ok := c.executions[j.id]
		if !ok {
			continue
		}
		about, what := j.id, j.argsHash
		if j.approval != "" {
			about, what = j.approval, c.requests[j.id].binding
		}
		sum := sha256.Sum256([]byte("dtcgate-exec-v1\x00" + about + "\x00" + what))
		if want := hex.EncodeToString(sum[:16]); x.id != want {
			c.find("C3", "%s is execution %s, and not %s", j.id, x.id, want)
		}
		entries := c.byJob[j.id]
		if n := countEvent(entries, "job.progress"); n != x.sends || countEvent(entries, "job.started") != 1 {
			c.find("C1", "%s was sent %d times, begun %d times, and %d attempts are on record", j.id, x.sends, countEvent(entries, "job.started"), n)
		}
	}
}

// outsideIsTold is C1 and C2: what is told to have happened outside has, once, and what is told not to have happened has not. Nobody knows only of
// what no machine can find out.
func (c *checker) outsideIsTold() {
	for _, j := range c.jobs {
		if !paysOutside(j.tool) {
			continue
		}
		n := c.done(j)
		switch {
		case j.status == "succeeded" && (n == 0 || ends(c.byJob[j.id]) != 1):
			c.find("C2", "%s is told to have happened, and was done %d times with %d ends on record", j.id, n, ends(c.byJob[j.id]))
		case j.status != "succeeded" && j.status != "indeterminate" && n > 0:
			c.find("C1", "%s is told to be %s, and was done", j.id, j.status)
		case j.status == "indeterminate" && j.tool != pay:
			c.find("C8", "%s of %s could have been found out", j.id, j.tool)
		}
	}
}

// ends counts the entries of a job that say that it happened.
func ends(entries []audit.Sequenced) int {
	return countEvent(entries, "job.succeeded") + countEvent(entries, "job.reconciled")
}

// done counts what was done outside for a job.
func (c *checker) done(j jobRow) int { return c.outside[j.tool][c.executions[j.id].id] }

// reconciled is C4: what a person says became of a job is what became of it.
func (c *checker) reconciled(k *call) {
	want := map[string]string{"happened": "succeeded", "did_not_happen": "failed"}[fmt.Sprint(k.args["outcome"])]
	for _, j := range c.jobs {
		if j.id == k.about && (j.status != want || c.executions[j.id].decidedBy != "person:"+k.who.ID || !c.did(k, "job.reconciled", want)) {
			c.find("C4", "a person said so and it is %s: %v", j.status, k)
		}
	}
}

// quietVariable says that nothing else runs on the machine, so that every start is held to the time it may take.
const quietVariable = "DTCGATE_TEST_QUIET"

// report says what a run consisted of.
func (r *rig) report(kills int) {
	r.t.Helper()
	var f facts
	var takenOver int
	r.withDB(func(db *store.DB) error {
		return db.Read(r.t.Context(), func(tx *store.Tx) (err error) {
			if f, err = readFacts(tx, r.outbox(), r.ledgers(), r.before); err != nil {
				return err
			}
			return tx.QueryRow(`SELECT COUNT(*) FROM jobs WHERE attempts > 1`).Scan(&takenOver)
		})
	})
	made, states, said, events, letters := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, 0
	for _, e := range f.effects {
		made[e.tool]++
	}
	for tool, done := range f.outside {
		made[tool] += len(done)
	}
	for _, q := range f.requests {
		states["request "+q.state]++
	}
	for _, j := range f.jobs {
		states["job "+j.status]++
	}
	for _, k := range r.book.calls {
		if k.ok() && k.person() {
			said[k.tool]++
		} else if k.code != "" {
			events[k.code]++
		}
	}
	for _, customers := range f.files {
		letters += len(customers)
	}
	slices.Sort(r.starts)
	fastest, usual, slowest := r.starts[0], r.starts[len(r.starts)/2], r.starts[len(r.starts)-1]
	if usual > readyWithin || slowest > readyWithin && os.Getenv(quietVariable) != "" { // on a busy machine a single one says more of that
		r.t.Errorf("a server is usually ready after %s and after at most %s, want at most %s", usual, slowest, readyWithin)
	}
	r.t.Logf("%d kills, %d servers at once, ready after %s at least, %s in the median, %s at most; %d calls, %.0f a second while there was a server; refused %v; people did %v",
		kills, r.servers, fastest.Round(time.Millisecond), usual.Round(time.Millisecond), slowest.Round(time.Millisecond), len(r.book.calls), float64(len(r.book.calls))/r.alive.Seconds(), events, said)
	r.t.Logf("%d entries; effects %v; %v, %d jobs taken over; %d batches, %d messages", len(f.entries), made, states, takenOver, len(f.batches), letters)
	if len(f.effects) == 0 {
		r.t.Error("the callers had no effect, so this run has shown nothing")
	}
}
