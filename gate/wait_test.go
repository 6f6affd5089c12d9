package gate

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// withJobs gives the house the tool that tells of jobs.
func (h *house) withJobs() {
	i := slices.IndexFunc(dtc.Tools(), func(t *tools.Tool) bool { return t.Name == "dtc_get_job" })
	h.tools = tools.NewRegistry(append(h.tools.All(), dtc.Tools()[i])...)
}

// waiters ask for a job, each until it has ended, and send how it stands then.
func (h *house) waiters(ctx context.Context, n int, p auth.Principal, id string) <-chan tools.JobStatus {
	told := make(chan tools.JobStatus, n)
	for range n {
		go func() {
			out, err := h.Call(ctx, p, Request{Tool: "dtc_get_job", Args: []byte(`{"job_id":"` + id + `","wait_seconds":25}`), Transport: "rest"})
			var found struct{ Jobs []tools.Job }
			if err != nil || json.Unmarshal(out.Body, &found) != nil || len(found.Jobs) != 1 {
				h.t.Errorf("a waiter is answered %s, %v", out.Body, err)
				found.Jobs = make([]tools.Job, 1)
			}
			told <- found.Jobs[0].Status
		}()
	}
	return told
}

// Nobody looks again of their own accord here, so that whoever is told was woken, or came after the decision. There are more of them than
// connections: had each one of them held one, nobody could decide.
func TestADecisionWakesAllWhoWaitForIt(t *testing.T) {
	again := askAgain
	defer func() { askAgain = again }()
	askAgain = time.Hour
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		h.withJobs()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // who is not woken is answered then
		defer cancel()
		for decision, want := range map[approvals.Decision]tools.JobStatus{approvals.Approve: tools.JobSucceeded, approvals.Deny: tools.JobCancelled} {
			id := h.parked("test_move", `{"thing":"lamp","amount":1,"note":"`+string(decision)+`","reason":"to `+string(decision)+` it"}`).JobID
			told := h.waiters(ctx, 100, h.bot, id)
			for range 20 { // until some wait
				if _, err := h.call(h.free, "test_read", `{}`); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.vote(id, decision); err != nil {
				t.Fatal(err)
			}
			h.resume()
			for range 100 {
				if got := <-told; got != want {
					t.Fatalf("%s: a waiter is told %s", decision, got)
				}
			}
		}
	})
}

// What another process changes nobody is told of here.
func TestWhoWaitsLooksAgainAllTheSame(t *testing.T) {
	again := askAgain
	defer func() { askAgain = again }()
	askAgain = 10 * time.Millisecond
	h := newHouse(t, storetest.New(t, "sqlite"))
	h.withJobs()
	id := h.parked("test_move", oneLamp).JobID
	told := h.waiters(t.Context(), 1, h.bot, id)
	h.exec(`UPDATE jobs SET status = 'expired' WHERE id = $1`, id)
	if got := <-told; got != tools.JobExpired {
		t.Errorf("told %s", got)
	}
}

// A call that gives up, or is told to hurry, is answered as things stand, and is on record.
func TestWhoHasNoMoreTimeIsToldHowThingsStand(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		ctx, cancel := context.WithCancel(t.Context())
		looks := 0
		k.read = func() (moveOut, error) {
			if looks++; looks == 2 {
				cancel()
			}
			return moveOut{Moved: 3}, tools.ErrNotYet
		}
		out, err := h.Call(ctx, h.bot, Request{Tool: "test_hook_read", Transport: "rest"})
		if err != nil || string(out.Body) != `{"moved":3}` {
			t.Errorf("told %s, %v", out.Body, err)
		}
		if read := h.entries("call"); len(read) != 1 || read[0].Status != "done" {
			t.Errorf("on record: %+v", read)
		}
	})
}
