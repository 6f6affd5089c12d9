package gate

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// cancelWhileItBegins lets a worker begin a job and p cancel it in the middle of that, and gives what the two are told.
func cancelWhileItBegins(t *testing.T, h *house, k *hook, p auth.Principal, id string) (resumed, cancelled error) {
	t.Helper()
	at := newGap()
	k.preview = func(c *tools.Call, in moveIn) (tools.Preview, error) {
		at.stop(t.Context())
		return h.previewMove(c, in)
	}
	worker, owner := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := h.Resume(t.Context(), "w")
		worker <- err
	}()
	<-at.reached
	go func() { owner <- h.cancel(p, id) }()
	h.waitForLock()
	close(at.goOn)
	return <-worker, <-owner
}

func TestACancelThatComesWhileACallRunsIsAnsweredWithItsEnd(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		id := h.approved("test_hook")
		resumed, cancelled := cancelWhileItBegins(t, h, k, h.bot, id)
		if resumed != nil || cancelled != nil {
			t.Errorf("run %v, cancel %v", resumed, cancelled)
		}
		h.want(id, tools.JobSucceeded, 1)
	})
}

func TestACancelThatComesWhileAJobBeginsStopsIt(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		id := h.queued("1")
		var steps atomic.Int64
		k.step = func(_ *tools.Call, _ moveIn, p *tools.Progress) (moveOut, error) {
			p.Done = steps.Add(1) == 10_000 // never, but for the cancel that is lost
			return moveOut{}, nil
		}
		resumed, cancelled := cancelWhileItBegins(t, h, k, h.free, id)
		if resumed != nil || cancelled != nil {
			t.Errorf("run %v, cancel %v", resumed, cancelled)
		}
		h.want(id, tools.JobCancelled, 0)
	})
}

// On SQLite no worker can claim a job while a step of it runs: there is one writer.
func TestAStepOfAWorkerThatLosesItsLeaseMeanwhileIsUndone(t *testing.T) {
	h, k := newHooked(t, storetest.New(t, "postgres"))
	j := h.begun("3", "slow")
	at := newGap()
	var steps atomic.Int64
	k.step = func(c *tools.Call, in moveIn, p *tools.Progress) (moveOut, error) {
		last := steps.Add(1) == 1 // to the slow worker it looks like the last one; what is left has changed since
		out, err := h.walk(c, in, p)
		if last {
			at.stop(t.Context())
		}
		p.Done = last
		return out, err
	}
	slow := make(chan error, 1)
	go func() {
		_, err := h.step(t.Context(), j.JobID, "slow")
		slow <- err
	}()
	<-at.reached
	k.pass(approvals.LeaseTime)
	h.takenOver(j.JobID, "fast")
	close(at.goOn)
	if err := <-slow; err == nil {
		t.Error("the slow worker's step counted")
	}
	h.want(j.JobID, tools.JobRunning, 1)
}

func TestWorkersAndSweepersLapseTheSameRequests(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		const requests = 20
		for range requests {
			h.approved("test_move")
		}
		k.pass(approvals.TimeToRun)
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				for worked := true; worked; {
					var err error
					if worked, err = h.Resume(t.Context(), fmt.Sprint("worker-", w)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range 2 { // as two processes do
			all.Go(func() {
				if err := h.Sweep(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := h.count(`SELECT COUNT(*) FROM jobs WHERE status = 'expired'`); n != requests || h.effects() != 0 {
			t.Errorf("%d of %d jobs lapsed, %d effects", n, requests, h.effects())
		}
	})
}

// A job whose effect was refused is queued again until its end is written down, and another worker may take it up before.
// On SQLite there is one writer, so that the two cannot meet.
func TestAJobThatFailsWhileAnotherWorkerTakesItUpBlocksNeither(t *testing.T) {
	h, _ := newHooked(t, storetest.New(t, "postgres"))
	id := h.approved("test_hook")
	failed := make(chan error, 1)
	h.tx(func(tx *store.Tx) error {
		j, _, err := approvals.Claim(tx, "second")
		if err != nil {
			return err
		}
		c, err := h.rebuild(tx, j)
		if err != nil {
			return err
		}
		go func() {
			failed <- h.work(t.Context(), func(tx *store.Tx) error { return h.fail(tx, c, j, tools.Refuse(tools.Conflict, "", "refused")) })
		}()
		h.waitForLock()
		return errors.Join(approvals.Consume(tx, j, c.approval), approvals.Succeed(tx, j, tools.JobQueued, []byte(`{}`)))
	})
	if err := <-failed; !errors.Is(err, approvals.ErrDecided) {
		t.Errorf("the first worker is told %v", err)
	}
	h.want(id, tools.JobSucceeded, 0)
}

func TestTheSameVoteTwiceAtOnceIsOneVote(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		const requests = 10
		for range requests {
			id := h.parked("test_move", oneLamp).JobID
			var all sync.WaitGroup
			for range 2 {
				all.Go(func() {
					if err := h.vote(id, approvals.Approve); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		}
		if n := h.count(`SELECT COUNT(*) FROM approval_votes`); n != requests {
			t.Errorf("%d votes", n)
		}
	})
}
