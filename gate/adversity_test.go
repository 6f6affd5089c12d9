package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

func TestAFailedPreviewDoesNotStopTheSweeper(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		failed := h.approved("test_hook")
		k.preview = func(c *tools.Call, _ moveIn) (tools.Preview, error) { return tools.Preview{}, badSQL(c) }
		h.resume()
		h.want(failed, tools.JobCancelled, 0)
		if n := h.count(`SELECT COUNT(*) FROM approvals WHERE state = 'approved'`); n != 0 {
			t.Error("the request of a cancelled job is still approved")
		}
		other := h.parked("test_move", oneLamp).JobID
		k.pass(approvals.TimeToDecide)
		h.sweep()
		h.want(other, tools.JobExpired, 0)
	})
}

func TestAJobThatCannotBeJudgedLetsOthersGoFirst(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		stuck := h.approved("test_hook")
		k.pass(time.Millisecond)
		good := h.approved("test_move")
		healthy := k.preview
		k.preview = func(*tools.Call, moveIn) (tools.Preview, error) {
			return tools.Preview{}, fmt.Errorf("%w: statement timeout", store.ErrUnavailable)
		}
		for i, fails := range []bool{true, false} {
			if worked, err := h.Resume(t.Context(), "w"); !worked || (err != nil) != fails {
				t.Errorf("turn %d: worked %v, %v", i, worked, err)
			}
		}
		if worked, err := h.Resume(t.Context(), "w"); worked || err != nil {
			t.Errorf("the job that cannot be judged was tried again at once: %v", err)
		}
		h.want(stuck, tools.JobQueued, 1)
		h.want(good, tools.JobSucceeded, 1)
		k.preview = healthy
		k.pass(time.Minute)
		h.resume()
		h.want(stuck, tools.JobSucceeded, 2)
	})
}

func TestARunThatIsRefusedLeavesNothing(t *testing.T) {
	for name, end := range map[string]func() error{
		"a refusal": func() error { return tools.Refuse(tools.Conflict, "", "no") },
		"an error":  func() error { return errors.New("a fault") },
		"a panic":   func() error { panic("a fault") },
	} {
		t.Run(name, func(t *testing.T) {
			hooked(t, func(t *testing.T, h *house, k *hook) {
				id := h.approved("test_hook")
				k.preview = func(c *tools.Call, in moveIn) (tools.Preview, error) {
					if _, err := h.move(c, in); err != nil {
						return tools.Preview{}, err
					}
					return tools.Preview{}, end()
				}
				h.resume()
				h.want(id, tools.JobCancelled, 0)
			})
		})
	}
}

func TestAJobThatCannotBeSettledEndsAllTheSame(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*house, *hook)
		ask   bool // to stop it
	}{
		{"the step and the settling fail", func(_ *house, k *hook) {
			k.step = func(*tools.Call, moveIn, *tools.Progress) (moveOut, error) { return moveOut{}, errors.New("a fault") }
		}, false},
		{"it is to stop and the settling fails", func(*house, *hook) {}, true},
		{"an upgrade cannot read its arguments", func(h *house, _ *hook) {
			args := `{"amount":9,"old_name":"lamp"}`
			h.exec(`UPDATE jobs SET args = $1, args_sha256 = $2`, args, schemas.Fingerprint([]byte(args)))
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			hooked(t, func(t *testing.T, h *house, k *hook) {
				id := h.begun("9", "lost").JobID
				k.stopped = func(c *tools.Call, _ moveIn, _ tools.Progress) error { return badSQL(c) }
				c.spoil(h, k)
				if c.ask {
					if err := h.cancel(h.free, id); err != nil {
						t.Fatal(err)
					}
				}
				k.pass(approvals.LeaseTime)
				h.resume()
				h.want(id, tools.JobFailed, 0)
			})
		})
	}
}

func TestAWorkerThatLostItsLeaseCannotEndTheJob(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		j := h.begun("3", "slow")
		k.pass(approvals.LeaseTime)
		h.takenOver(j.JobID, "fast")
		if err := h.stepFailed(t.Context(), j, errors.New("late")); err != nil && !outOfReach(err) {
			t.Error(err)
		}
		h.want(j.JobID, tools.JobRunning, 1)
	})
}

func TestAStepThatHasBegunIsFinishedWhenTheProcessEnds(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		id := h.queued("2")
		ctx, end := context.WithCancel(t.Context())
		k.step = func(c *tools.Call, in moveIn, p *tools.Progress) (moveOut, error) {
			end()
			return h.walk(c, in, p)
		}
		h.Work(ctx)
		h.want(id, tools.JobRunning, 1)
		k.pass(approvals.LeaseTime)
		h.resume()
		h.want(id, tools.JobSucceeded, 2)
	})
}

func TestAJobWithoutAChainRuns(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		id := h.queued("1")
		h.exec(`UPDATE jobs SET chain = '[]'`)
		h.resume()
		h.want(id, tools.JobSucceeded, 1)
	})
}

func TestAnApprovedJobRunsForTheChainThatPeopleSaw(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		id := h.approved("test_move")
		h.exec(`UPDATE jobs SET chain = '[]'`)
		h.resume()
		h.want(id, tools.JobCancelled, 0)
	})
}

func TestAQueuedJobDoesNotBeginOnceItsKeyNeedsPeople(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		id := h.queued("1")
		h.exec(`UPDATE agent_keys SET requires_approval = 1`)
		h.resume()
		h.want(id, tools.JobCancelled, 0)
	})
}

func TestAnApprovalIsWorthNoMoreThanItsVoterAndItsPreview(t *testing.T) {
	for name, change := range map[string]string{
		"the voter is revoked":     `UPDATE people SET revoked_at = 1`,
		"the vote is gone":         `DELETE FROM approval_votes`,
		"the preview shows more":   `UPDATE approvals SET preview = REPLACE(preview, '"amount_minor":10', '"amount_minor":9999')`,
		"the preview reaches more": `UPDATE approvals SET preview = REPLACE(preview, '"customers":1', '"customers":99')`,
	} {
		t.Run(name, func(t *testing.T) {
			hooked(t, func(t *testing.T, h *house, _ *hook) {
				id := h.approved("test_move")
				h.exec(change)
				h.resume()
				h.want(id, tools.JobCancelled, 0)
			})
		})
	}
}

func TestAnAmountInAnotherCurrencyIsNotTheOneApproved(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		id := h.approved("test_hook")
		shown := k.preview
		k.preview = func(c *tools.Call, in moveIn) (tools.Preview, error) {
			p, err := shown(c, in)
			p.Money.Currency = "EUR"
			return p, err
		}
		h.resume()
		h.want(id, tools.JobCancelled, 0)
	})
}

func TestAYesThatComesAfterTheTimeSetIsTooLate(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		k.setFor(h, time.Hour)
		id := h.parked("test_hook", oneLamp).JobID
		k.pass(time.Hour + approvals.TimeToRun)
		wantCode(t, h.vote(id, approvals.Approve), tools.ApprovalExpired)
		h.resume()
		h.want(id, tools.JobPending, 0) // until it is swept
	})
}

func TestAKeyIsKeptWhileItsCallWaits(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		const wait = 10 * keepKeys
		k.setFor(h, wait)
		args := strings.Replace(oneLamp, "{", `{"idempotency_key":"k",`, 1)
		first := h.parked("test_hook", args)
		if err := h.vote(first.JobID, approvals.Approve); err != nil {
			t.Fatal(err)
		}
		k.pass(keepKeys + time.Second)
		h.sweep()
		if again := h.parked("test_hook", args); again.JobID != first.JobID {
			t.Errorf("the same key has two jobs: %s %s", first.JobID, again.JobID)
		}
		k.pass(wait - keepKeys)
		h.resume()
		h.sweep()
		if again := h.parked("test_hook", args); again.JobID != first.JobID {
			t.Errorf("the key was forgotten as soon as its job had ended: %s %s", first.JobID, again.JobID)
		}
		k.pass(keepKeys + time.Second)
		h.sweep()
		if n := h.count(`SELECT COUNT(*) FROM idempotency`); n != 0 || h.effects() != 1 {
			t.Errorf("%d keys are kept for ever, %d effects", n, h.effects())
		}
	})
}

func TestARepeatIsAnsweredThoughTheFactsHaveChanged(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		q := Request{
			Tool: "test_hook", Args: []byte(`{"thing":"lamp","reason":"because it stands"}`),
			IdempotencyKey: "k", FillFacts: true, Transport: "rest",
		}
		first, err := h.Call(t.Context(), h.bot, q)
		if err != nil {
			t.Fatal(err)
		}
		for name, preview := range map[string]func(*tools.Call, moveIn) (tools.Preview, error){
			"other facts": func(*tools.Call, moveIn) (tools.Preview, error) {
				return tools.Preview{Money: &shop.Money{AmountMinor: 7, Currency: "GBP"}}, nil
			},
			"it cannot be done any more": func(*tools.Call, moveIn) (tools.Preview, error) {
				return tools.Preview{}, tools.Refuse(tools.Conflict, "", "It is sent.")
			},
		} {
			k.preview = preview
			again, err := h.Call(t.Context(), h.bot, q)
			if err != nil || !again.Replayed || string(again.Body) != string(first.Body) {
				t.Errorf("%s: %v, replayed %v, %s", name, err, again.Replayed, again.Body)
			}
		}
	})
}

func TestAKeyMayStandInTheHeaderAndInTheBody(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		const key = `a<b>&"c"` // which JSON can write in more than one way
		_, err := h.Call(t.Context(), h.free, Request{
			Tool: "test_move", IdempotencyKey: key, Args: []byte(`{"thing":"lamp","amount":1,"idempotency_key":"a<b>&\"c\""}`),
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAReadThatIsAskedAgainHasEachCheckOnceOnRecord(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		asked := 0
		k.read = func() (moveOut, error) {
			if asked++; asked == 1 {
				return moveOut{}, tools.ErrNotYet
			}
			return moveOut{}, nil
		}
		if _, err := h.call(h.free, "test_hook_read", `{}`); err != nil || asked != 2 {
			t.Fatalf("asked %d times: %v", asked, err)
		}
		if checks := h.entries("call")[0].Checks; len(checks) != 21 {
			t.Errorf("%v", checks)
		}
	})
}

func TestAnIDThatIsNoneIsNotFound(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		for _, id := range []string{"", "\xff", "apr_\x00", "apr_", "job_zzz", strings.Repeat("é", 5000)} {
			wantCode(t, h.vote(id, approvals.Approve), tools.NotFound)
			_, err := h.Request(t.Context(), h.person, id)
			wantCode(t, err, tools.NotFound)
		}
	})
}

func TestEveryTransitionIsRecordedWithThePolicyInForce(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		h.approved("test_move")
		h.queued("2")
		h.resume()
		if err := h.vote(h.parked("test_move", oneLamp).JobID, approvals.Deny); err != nil {
			t.Fatal(err)
		}
		if err := h.cancel(h.bot, h.parked("test_move", lamps(2)).JobID); err != nil {
			t.Fatal(err)
		}
		h.parked("test_move", lamps(3))
		k.pass(approvals.TimeToDecide)
		h.sweep()
		h.approved("test_move")
		h.exec(`UPDATE agent_keys SET revoked_at = 1`)
		h.resume()
		seen := map[string]bool{}
		h.tx(func(tx *store.Tx) error {
			all, err := audit.Find(tx, audit.Filter{})
			for _, e := range all {
				seen[e.Event] = true
				if e.PolicyVersion != 1 || e.Actor == "" || len(e.Chain) == 0 {
					t.Errorf("%s lacks a part of the decision: %+v", e.Event, e.Entry)
				}
			}
			return err
		})
		for _, event := range []string{
			"approval.requested", "approval.vote", "approval.approved", "approval.rejected", "approval.cancelled", "approval.expired",
			"approval.invalidated", "approval.consumed", "call.resumed",
			"job.queued", "job.started", "job.progress", "job.succeeded", "job.cancelled", "job.expired",
		} {
			if !seen[event] {
				t.Errorf("%s is not on record", event)
			}
		}
	})
}

func TestAStrangerIsOnRecordOnceTheRecordIsBack(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		h.exec(`ALTER TABLE audit_pending RENAME TO away`)
		if _, err := h.Authenticate(t.Context(), "x", "192.0.2.1"); err == nil || len(h.entries("auth.refused")) != 0 {
			t.Errorf("without a record: %v", err)
		}
		h.exec(`ALTER TABLE away RENAME TO audit_pending`)
		_, err := h.Authenticate(t.Context(), "x", "192.0.2.1")
		wantCode(t, err, tools.Unauthorized)
		if e := h.entries("auth.refused"); len(e) != 1 {
			t.Errorf("%d entries", len(e))
		}
	})
}
