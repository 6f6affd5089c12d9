package gate

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// freeze stops the writes of a subject, "" for all.
func (h *house) freeze(subject string) auth.Freeze {
	h.t.Helper()
	f, err := h.Freeze(h.t.Context(), h.operator(), Freezing{Subject: subject, Reason: "the prices look wrong"})
	if err != nil {
		h.t.Fatal(err)
	}
	return f
}

func (h *house) lift(f auth.Freeze) {
	h.t.Helper()
	if _, err := h.LiftFreeze(h.t.Context(), h.operator(), f.ID, "the prices were right"); err != nil {
		h.t.Fatal(err)
	}
}

func TestAFreezeStopsWritesAndNothingElse(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		job := h.queued("2")
		const once = `{"thing":"lamp","amount":1,"idempotency_key":"once"}`
		if _, err := h.call(h.free, "test_move", once); err != nil {
			t.Fatal(err)
		}
		k.read = func() (moveOut, error) { return moveOut{}, nil }
		f := h.freeze("")
		_, err := h.call(h.free, "test_move", oneLamp)
		r := wantCode(t, err, tools.Frozen)
		if !strings.Contains(r.Message, "the prices look wrong") || strings.Contains(r.Message+r.Next, "operator") {
			t.Errorf("told %q", r.Message)
		}
		if e := h.entries("call")[0]; e.PolicyRule != "builtin.frozen" {
			t.Errorf("on record by the rule %q", e.PolicyRule)
		}
		_, err = h.call(h.bot, "test_move", oneLamp) // not parked either
		wantCode(t, err, tools.Frozen)
		_, err = h.call(h.free, "test_hook_read", `{}`)
		wantDone(t, "a read", err)
		_, err = h.call(h.free, "test_move", `{"thing":"lamp","amount":1,"dry_run":true}`)
		wantDone(t, "a rehearsal", err)
		_, err = h.call(h.free, "test_move", once)
		wantDone(t, "the repeat of what is done", err)
		wantDone(t, "a brake", h.cancel(h.free, job))
		h.lift(f)
		_, err = h.call(h.free, "test_move", oneLamp)
		wantDone(t, "a write after the lift", err)
	})
}

func wantDone(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func TestAFreezeOfALinkStopsAllThatStandsBelowItAndNobodyElse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		c := h.crew("ada", false)
		for _, subject := range []string{c.caller.ID, c.key, c.owner} {
			f := h.freeze(subject)
			_, err := h.call(c.caller, "test_move", oneLamp)
			wantCode(t, err, tools.Frozen)
			_, err = h.call(h.free, "test_move", oneLamp)
			wantDone(t, "a write of another key", err)
			if again := h.freeze(subject); again.ID != f.ID {
				t.Errorf("%s is frozen twice", subject)
			}
			h.lift(f)
			_, err = h.call(c.caller, "test_move", oneLamp)
			wantDone(t, "after the lift", err)
		}
		_, err := h.Freeze(t.Context(), h.operator(), Freezing{Subject: "key_nobody", Reason: "why"})
		wantCode(t, err, tools.NotFound)
		_, err = h.Freeze(t.Context(), h.operator(), Freezing{})
		wantCode(t, err, tools.InvalidArguments)
	})
}

func TestWhoDecidesMayFreezeAndOnlyWhoAdministersMayLift(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		person := By{Principal: h.person, Transport: "rest"} // a manager: approvals:resolve, and not keys:admin
		f, err := h.Freeze(t.Context(), person, Freezing{Reason: "stop"})
		wantDone(t, "a freeze by a manager", err)
		_, err = h.LiftFreeze(t.Context(), person, f.ID, "go")
		wantCode(t, err, tools.ForbiddenScope)
		_, err = h.Freeze(t.Context(), By{Principal: h.free, Transport: "rest"}, Freezing{Reason: "stop"})
		if err == nil {
			t.Error("an agent froze")
		}
		h.lift(f)
		_, err = h.LiftFreeze(t.Context(), h.operator(), f.ID, "again")
		wantCode(t, err, tools.NotFound)
		if begun, lifted := h.entries("freeze.started"), h.entries("freeze.lifted"); len(begun) != 1 || len(lifted) != 1 || begun[0].Resource != "freeze:"+f.ID {
			t.Errorf("on record: %v, %v", begun, lifted)
		}
	})
}

func TestPeopleVoteWhileAllIsFrozenAndNothingRunsUntilItIsLifted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		id := h.parked("test_move", oneLamp).JobID
		first, second := h.freeze(""), h.freeze(h.bot.ID)
		wantDone(t, "a vote", h.vote(id, approvals.Approve))
		h.resume()
		if j := h.job(id); j.Status != tools.JobQueued || h.effects() != 0 {
			t.Fatalf("an approved call is %s with %d effects", j.Status, h.effects())
		}
		h.lift(first)
		h.resume()
		if j := h.job(id); j.Status != tools.JobQueued || !strings.Contains(j.Why, "frozen") {
			t.Fatalf("with one freeze of two lifted it is %s: %s", j.Status, j.Why)
		}
		if b, err := h.Backlogs(t.Context()); err != nil || b.Jobs.Due != 0 {
			t.Errorf("workers seem to be %d jobs behind, %v", b.Jobs.Due, err)
		}
		h.lift(second)
		h.resume()
		h.resume()
		if j := h.job(id); j.Status != tools.JobSucceeded || j.Why != "" || h.effects() != 1 {
			t.Errorf("after the lift it is %s (%s) with %d effects", j.Status, j.Why, h.effects())
		}
	})
}

func TestARunningJobStopsAtItsNextStepAndGoesOnAfterTheLift(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		j := h.begun("3", "worker-1")
		step := func() {
			if _, err := h.step(t.Context(), j.JobID, "worker-1"); err != nil {
				t.Fatal(err)
			}
		}
		step()
		f := h.freeze(h.free.ID)
		step()
		h.resume() // nobody takes it up
		if got := h.job(j.JobID); got.Status != tools.JobRunning || h.effects() != 1 {
			t.Fatalf("frozen it is %s after %d steps", got.Status, h.effects())
		}
		h.lift(f)
		h.resume()
		if got := h.job(j.JobID); got.Status != tools.JobSucceeded || h.effects() != 3 {
			t.Errorf("after the lift it is %s after %d of 3 steps", got.Status, h.effects())
		}
	})
}

func TestAFrozenJobCanBeCalledOff(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		j := h.begun("3", "worker-1")
		h.freeze("")
		if _, err := h.step(t.Context(), j.JobID, "worker-1"); err != nil {
			t.Fatal(err)
		}
		wantDone(t, "dtc_cancel_job", h.cancel(h.free, j.JobID))
		h.resume()
		if got := h.job(j.JobID); got.Status != tools.JobCancelled || h.effects() != 0 {
			t.Errorf("it is %s with %d effects", got.Status, h.effects())
		}
	})
}

func TestWhatWasFrozenIsTakenBackByTheOperatorAlone(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		h.freeze("")
		_, err := h.rewindOne(t.Context(), h.person, approvals.Effect{}, false)
		wantCode(t, err, tools.Frozen)
		_, err = h.rewindOne(t.Context(), auth.OperatorPrincipal(h.merchant), approvals.Effect{}, false)
		wantCode(t, err, tools.NotFound) // it got past the freeze, to an effect that is not there
	})
}

// frost races writes, workers and steps in two gates over one database against freezes, and gives in how many rounds something was done after the
// acknowledgement, and in how many something was done before it.
func (x *track) frost(rounds int) (late, before int) {
	for i := range rounds {
		mark := fmt.Sprint("f", i)
		way := []way{afterApproval, atOnce, inSteps}[i%3]
		c := x.crew(mark, way == afterApproval)
		args := fmt.Sprintf(`{"thing":%q,"amount":4}`, mark)
		x.prepare(c, way, args)
		var all sync.WaitGroup
		for _, h := range []*house{x.house, x.other} {
			all.Go(func() {
				if way == atOnce {
					_, _ = h.Call(x.t.Context(), c.caller, Request{Tool: "test_hook", Args: []byte(args), Transport: "rest", Source: "127.0.0.1"})
				}
				for worked := true; worked; {
					worked, _ = h.Resume(x.t.Context(), store.NewID("wrk", time.Now()))
				}
			})
		}
		pause()
		f, err := x.other.Freeze(x.t.Context(), x.operator(), Freezing{Subject: []string{"", c.key, c.caller.ID}[i/3%3], Reason: "race"})
		x.check(err)
		done := x.moved(mark)
		all.Wait()
		x.house.resume()
		if x.moved(mark) > done {
			late++
		}
		before += min(done, 1)
		x.thaw(f, way, mark)
	}
	return late, before
}

// prepare brings a call to where only a worker has to take it up; a write at once is made in the race itself.
func (x *track) prepare(c crew, w way, args string) {
	tool := map[way]string{afterApproval: "test_hook", inSteps: "test_hook_steps"}[w]
	if tool == "" {
		return
	}
	out, err := x.call(c.caller, tool, args)
	if x.check(err); err == nil && w == afterApproval {
		_, err = x.Vote(x.t.Context(), c.approver, Ballot{ID: x.result(out).JobID, Decision: approvals.Approve, Channel: "rest"})
		x.check(err)
	}
}

// thaw lifts a freeze, and holds stored calls to having been carried out exactly once.
func (x *track) thaw(f auth.Freeze, w way, mark string) {
	x.lift(f)
	x.house.resume()
	want := map[way]int{afterApproval: 1, inSteps: 4}
	if n := x.moved(mark); want[w] != 0 && n != want[w] {
		x.t.Errorf("%s, %s: %d effects after the lift, want %d", mark, w, n, want[w])
	}
}

func (x *track) moved(mark string) (n int) {
	x.check(x.db.Read(x.t.Context(), func(tx *store.Tx) (err error) {
		n, err = moved(tx, mark)
		return err
	}))
	return n
}

func TestNothingIsDoneAfterAFreezeIsAcknowledgedAndAllOfItAfterTheLift(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			x, n := newTrack(t, storetest.DSN(t, engine)), max(30, races(t)/4)
			x.db.Now = time.Now // both processes have one clock
			late, before := x.frost(n)
			t.Logf("%d races: in %d the call was first", n, before)
			if late > 0 {
				t.Errorf("in %d of %d races something was done after the acknowledgement", late, n)
			}
			if before == 0 || before == n {
				t.Error("the two never met: the test shows nothing")
			}
			if bad := errorLines(x.log); bad != "" {
				t.Errorf("the log has errors:\n%s", bad)
			}
		})
	}
}

// TestWithoutTheCheckAFrozenAgentWrites tells the silence of the test above from blindness.
func TestWithoutTheCheckAFrozenAgentWrites(t *testing.T) {
	whole := writeChecks
	writeChecks = allBut(whole, "frozen")
	defer func() { writeChecks = whole }()
	x := newTrack(t, storetest.DSN(t, storetest.Engines(t)[0]))
	x.freeze("")
	if _, err := x.call(x.free, "test_move", oneLamp); err != nil {
		t.Errorf("without the check a frozen agent still writes nothing: %v", err)
	}
}

func TestEachReplicaLogsAFreezeAndItsLift(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			x := newTrack(t, storetest.DSN(t, engine))
			f := x.freeze("")
			x.check(x.other.Sweep(t.Context()))
			x.check(x.other.Sweep(t.Context()))
			x.lift(f)
			x.check(x.other.Sweep(t.Context()))
			lines := slices.Collect(strings.Lines(x.log.String()))
			if len(lines) != 4 { // of the one that did it, and of the one that heard of it
				t.Errorf("the log has %d lines:\n%s", len(lines), x.log.String())
			}
		})
	}
}
