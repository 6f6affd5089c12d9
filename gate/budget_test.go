package gate

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// tenPounds is a policy under which all calls of the merchant may move ten pounds in a month, which are 100 lamps.
const tenPounds = policytest.Open + `
limits:
  budgets:
    - {name: monthly, per: merchant, every: month, money: {amount_minor: 1000, currency: GBP}}
`

// budgeted is hooked under tenPounds.
func budgeted(t *testing.T, fn func(t *testing.T, h *house, k *hook)) {
	t.Helper()
	hooked(t, func(t *testing.T, h *house, k *hook) {
		h.tx(func(tx *store.Tx) error {
			if err := auth.BeginChange(tx, h.merchant); err != nil {
				return err
			}
			_, err := policy.Publish(tx, policy.Version{Merchant: h.merchant, Source: tenPounds, Author: "test"}, 1)
			return err
		})
		fn(t, h, k)
	})
}

// used wants the budget to be used up so far, in pence.
func (h *house) usedUp(reserved, spent int64) {
	h.t.Helper()
	h.tx(func(tx *store.Tx) error {
		all, err := budget.Used(tx, h.merchant, budget.Filter{})
		var got budget.Use
		for _, u := range all {
			got.Reserved, got.Spent = got.Reserved+u.Reserved, got.Spent+u.Spent
		}
		if got.Reserved != reserved || got.Spent != spent {
			h.t.Errorf("reserved %d, spent %d; want %d and %d", got.Reserved, got.Spent, reserved, spent)
		}
		return err
	})
}

const oneCosts = 10

func TestWhatAParkedCallReservesIsSpentWhenItRan(t *testing.T) {
	budgeted(t, func(t *testing.T, h *house, _ *hook) {
		id := h.approved("test_hook")
		h.usedUp(oneCosts, 0)
		h.resume()
		h.want(id, tools.JobSucceeded, 1)
		h.usedUp(0, oneCosts)
	})
}

func TestAParkedCallThatNeverRunsGivesBackWhatItReserved(t *testing.T) {
	for what, end := range map[string]struct {
		do   func(h *house, k *hook, id string) error
		last tools.JobStatus
	}{
		"denied":    {func(h *house, _ *hook, id string) error { return h.vote(id, approvals.Deny) }, tools.JobCancelled},
		"cancelled": {func(h *house, _ *hook, id string) error { return h.cancel(h.bot, id) }, tools.JobCancelled},
		"nobody's":  {func(h *house, k *hook, _ string) error { k.pass(approvals.TimeToDecide); h.sweep(); return nil }, tools.JobExpired},
		"run too late": {func(h *house, k *hook, id string) error {
			err := h.vote(id, approvals.Approve)
			k.pass(approvals.TimeToRun)
			h.resume()
			return err
		}, tools.JobExpired},
		"swept too late": {func(h *house, k *hook, id string) error {
			err := h.vote(id, approvals.Approve)
			k.pass(approvals.TimeToRun)
			h.sweep()
			return err
		}, tools.JobExpired},
		"invalidated": {func(h *house, _ *hook, id string) error {
			err := h.vote(id, approvals.Approve)
			h.exec(`UPDATE test_things SET version = 2`)
			h.resume()
			return err
		}, tools.JobCancelled},
	} {
		t.Run(what, func(t *testing.T) {
			budgeted(t, func(t *testing.T, h *house, k *hook) {
				id := h.parked("test_hook", oneLamp).JobID
				h.usedUp(oneCosts, 0)
				if err := end.do(h, k, id); err != nil {
					t.Fatal(err)
				}
				h.want(id, end.last, 0)
				h.usedUp(0, 0)
				h.vote(id, approvals.Deny) // of what has ended it gives nothing back twice
				h.usedUp(0, 0)
			})
		})
	}
}

func TestACallWhoseEffectIsRefusedGivesBackWhatItReserved(t *testing.T) {
	budgeted(t, func(t *testing.T, h *house, _ *hook) {
		id := h.parked("test_hook", `{"thing":"fails","amount":1}`).JobID
		h.usedUp(1, 0)
		if err := h.vote(id, approvals.Approve); err != nil {
			t.Fatal(err)
		}
		h.resume()
		h.want(id, tools.JobFailed, 0)
		h.usedUp(0, 0)
		if _, err := h.call(h.free, "test_hook", `{"thing":"fails","amount":1}`); err == nil {
			t.Error("it did not fail")
		}
		h.usedUp(0, 0)
	})
}

func TestAJobOfManyStepsSpendsWithItsFirst(t *testing.T) {
	budgeted(t, func(t *testing.T, h *house, k *hook) {
		j := h.begun("3", "w")
		h.usedUp(3*oneCosts, 0)
		k.step = func(c *tools.Call, in moveIn, p *tools.Progress) (moveOut, error) {
			return moveOut{}, errors.New("a fault in the first step")
		}
		if _, err := h.step(t.Context(), j.JobID, "w"); err == nil {
			t.Fatal("the step did not fail")
		}
		h.usedUp(3*oneCosts, 0)
		k.step = h.walk
		if _, err := h.step(t.Context(), j.JobID, "w"); err != nil {
			t.Fatal(err)
		}
		h.usedUp(0, 3*oneCosts)
		if err := h.cancel(h.free, j.JobID); err != nil {
			t.Fatal(err)
		}
		if done, err := h.step(t.Context(), j.JobID, "w"); !done || err != nil {
			t.Fatal(done, err)
		}
		h.want(j.JobID, tools.JobCancelled, 1)
		h.usedUp(0, 3*oneCosts) // what was done until then stands
	})
}

func TestAJobThatEndsBeforeItsFirstStepGivesBackWhatItReserved(t *testing.T) {
	for what, end := range map[string]func(h *house, k *hook, j approvals.Job) error{
		"cancelled while it waits": func(h *house, _ *hook, j approvals.Job) error { return h.cancel(h.free, j.JobID) },
		"stopped": func(h *house, _ *hook, j approvals.Job) error {
			_, err := h.step(h.t.Context(), j.JobID, "w")
			return err
		},
		"failed": func(h *house, _ *hook, j approvals.Job) error {
			return h.stepFailed(h.t.Context(), j, errors.New("a fault"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			budgeted(t, func(t *testing.T, h *house, k *hook) {
				var j approvals.Job
				if what == "cancelled while it waits" {
					j.JobID = h.queued("3")
				} else {
					j = h.begun("3", "w")
				}
				if what == "stopped" {
					if err := h.cancel(h.free, j.JobID); err != nil {
						t.Fatal(err)
					}
				}
				h.usedUp(3*oneCosts, 0)
				if what == "failed" {
					h.tx(func(tx *store.Tx) (err error) { j, err = approvals.Hold(tx, j.JobID, "w"); return err })
				}
				if err := end(h, k, j); err != nil {
					t.Fatal(err)
				}
				h.usedUp(0, 0)
			})
		})
	}
}

func TestCallsOfManyAtOnceNeverGoOverTheBudget(t *testing.T) {
	budgeted(t, func(t *testing.T, h *house, _ *hook) {
		var done, refused atomic.Int64
		var all sync.WaitGroup
		for caller := range 64 {
			p := h.free
			if caller%2 == 0 {
				p = h.bot // whose calls are parked
			}
			all.Go(func() {
				for i := range 2 {
					_, err := h.call(p, "test_hook", fmt.Sprintf(`{"thing":"lamp","amount":1,"note":"%d of %d"}`, i, caller))
					if r := (*tools.Refusal)(nil); errors.As(err, &r) && r.Code == tools.BudgetExceeded {
						refused.Add(1)
					} else if err != nil {
						t.Error(err)
					} else {
						done.Add(1)
					}
				}
			})
		}
		all.Wait()
		if done.Load() != 100 || refused.Load() != 28 {
			t.Errorf("%d calls of 100 that fit were taken and %d refused", done.Load(), refused.Load())
		}
		parked := done.Load() - int64(h.effects())
		h.usedUp(parked*oneCosts, 1000-parked*oneCosts)
	})
}
