package gate

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// lamps are the arguments of a move of so many.
func lamps(n int) string {
	return fmt.Sprintf(`{"thing":"lamp","amount":%d,"reason":"because it stands in the way"}`, n)
}

const oneLamp = `{"thing":"lamp","amount":1,"reason":"because it stands in the way"}`

func TestAParkedCallRunsOnceAfterItIsApproved(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		r := h.parked("test_move", oneLamp)
		h.resume()
		if r.Status != tools.PendingApproval || h.effects() != 0 {
			t.Fatalf("a parked call acted: %+v", r)
		}
		if err := h.vote(r.JobID, approvals.Approve); err != nil {
			t.Fatal(err)
		}
		h.resume()
		h.resume()
		if j := h.job(r.JobID); j.Status != tools.JobSucceeded || string(j.Result) != `{"moved":1}` || h.effects() != 1 {
			t.Errorf("job %+v, %d effects", j, h.effects())
		}
		for _, event := range []string{"approval.requested", "approval.vote", "approval.approved", "approval.consumed", "job.succeeded", "call.resumed"} {
			if len(h.entries(event)) != 1 {
				t.Errorf("%d entries of %s", len(h.entries(event)), event)
			}
		}
	})
}

func TestADeniedCallNeverRuns(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		r := h.parked("test_move", oneLamp)
		_, err := h.Vote(t.Context(), h.person, Ballot{ID: r.Approval.ApprovalID, Decision: approvals.Deny, Reason: "too much", Channel: "rest"})
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, h.vote(r.JobID, approvals.Approve), tools.Conflict)
		h.resume()
		if j := h.job(r.JobID); j.Status != tools.JobCancelled || j.Reason != "denied" || h.effects() != 0 {
			t.Errorf("job %+v, %d effects", j, h.effects())
		}
		if err := h.vote(r.JobID, approvals.Deny); err != nil {
			t.Errorf("repeating one's own vote: %v", err)
		}
	})
}

func TestOnlyPeopleOfTheMerchantVote(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		r := h.parked("test_move", oneLamp)
		var stranger auth.Principal
		h.tx(func(tx *store.Tx) error {
			m, err := auth.EnsureMerchant(tx, "another")
			if err != nil {
				return err
			}
			if _, _, err = auth.AddPerson(tx, m.ID, "owner", "manager"); err != nil {
				return err
			}
			stranger, err = auth.FindPerson(tx, m.ID, "owner")
			return err
		})
		greedy := h.bot
		greedy.Scopes = append(greedy.Scopes, auth.ApprovalsResolve)
		for _, c := range []struct {
			p    auth.Principal
			seen string
			want tools.Code
		}{
			{h.bot, "", tools.ForbiddenApprover},
			{greedy, "", tools.ForbiddenApprover},
			{stranger, "", tools.NotFound},
			{h.person, "0000-0000-0000", tools.Conflict},
		} {
			_, err := h.Vote(t.Context(), c.p, Ballot{ID: r.JobID, Decision: approvals.Approve, Seen: c.seen, Channel: "rest"})
			wantCode(t, err, c.want)
		}
		if n := h.count(`SELECT COUNT(*) FROM approval_votes`); n != 0 {
			t.Errorf("%d votes counted", n)
		}
		if n := len(h.entries("approval.refused")); n != 4 {
			t.Errorf("%d refused votes are on record, want 4", n)
		}
		_, err := h.Vote(t.Context(), h.person, Ballot{ID: r.JobID, Decision: approvals.Approve, Seen: r.Approval.Fingerprint, Channel: "rest"})
		if err != nil {
			t.Errorf("a vote that states the fingerprint: %v", err)
		}
	})
}

func TestWhatWasApprovedIsWhatRuns(t *testing.T) {
	for _, c := range []struct {
		name   string
		change string // what happens between the vote and the run
		runs   bool
	}{
		{"nothing changes", `UPDATE test_things SET version = version`, true},
		{"less money", `UPDATE test_things SET price = 9`, true},
		{"more money", `UPDATE test_things SET price = 11`, false},
		{"another version of the thing", `UPDATE test_things SET version = 2`, false},
		{"the thing is gone", `DELETE FROM test_things`, false},
		{"other stored bytes", `UPDATE jobs SET args = '{"amount":999,"thing":"lamp"}'`, false},
		{"other bytes and their hash", `UPDATE jobs SET args = '{"amount":2,"thing":"lamp"}', args_sha256 = 'x'`, false},
		{"another schema of the tool", `UPDATE jobs SET tool_schema_sha256 = 'x'`, false},
		{"a changed binding", `UPDATE approvals SET binding = REPLACE(binding, 'builtin', 'outbuilt')`, false},
		{"the key is revoked", `UPDATE agent_keys SET revoked_at = 1`, false},
		{"the key expired", `UPDATE agent_keys SET expires_at = 1`, false},
		{"the key lost the scope", `UPDATE agent_keys SET scopes = '["orders:read"]'`, false},
		{"the key's ceiling fell", `UPDATE agent_keys SET ceiling = 'L5'`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				h := newHouse(t, db)
				r := h.parked("test_move", oneLamp)
				if err := h.vote(r.JobID, approvals.Approve); err != nil {
					t.Fatal(err)
				}
				h.exec(c.change)
				h.resume()
				j, want := h.job(r.JobID), tools.JobCancelled
				if c.runs {
					want = tools.JobSucceeded
				}
				if j.Status != want || (h.effects() == 1) != c.runs {
					t.Errorf("job is %s (%s %s) with %d effects, want %s", j.Status, j.Reason, j.Why, h.effects(), want)
				}
				if !c.runs && j.Reason != "invalidated" {
					t.Errorf("the reason is %q, want invalidated", j.Reason)
				}
			})
		})
	}
}

func TestEveryFieldOfTheBindingIsBound(t *testing.T) {
	base := approvals.Binding{V: 1, Chain: []string{"key:a", "person:b"}}
	seen := map[string]string{}
	for name, change := range map[string]func(*approvals.Binding){
		"none":     func(*approvals.Binding) {},
		"merchant": func(b *approvals.Binding) { b.Merchant = "x" },
		"tool":     func(b *approvals.Binding) { b.Tool = "x" },
		"schema":   func(b *approvals.Binding) { b.SchemaHash = "x" },
		"args":     func(b *approvals.Binding) { b.ArgsHash = "x" },
		"chain":    func(b *approvals.Binding) { b.Chain = []string{"key:a,person:b"} },
		"version":  func(b *approvals.Binding) { b.PolicyVersion = 2 },
		"rule":     func(b *approvals.Binding) { b.PolicyRule = "x" },
		"resource": func(b *approvals.Binding) { b.Resource = "x" },
		"state":    func(b *approvals.Binding) { b.ResourceVersion = "x" },
		"effect":   func(b *approvals.Binding) { b.EffectHash = "x" },
		"key":      func(b *approvals.Binding) { b.IdempotencyKey = "x" },
	} {
		b := base
		change(&b)
		hash, err := b.Hash()
		if err != nil {
			t.Fatal(err)
		}
		if other, same := seen[hash]; same {
			t.Errorf("%s and %s hash alike", name, other)
		}
		seen[hash] = name
	}
}

func TestTimeRunsOutOnQuestionsAndOnAnswers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Now().UTC()
		db.Now = func() time.Time { return now }
		h := newHouse(t, db)
		undecided, unused := h.parked("test_move", oneLamp), h.parked("test_move", lamps(2))
		if err := h.vote(unused.JobID, approvals.Approve); err != nil {
			t.Fatal(err)
		}
		now = now.Add(approvals.TimeToRun)
		h.resume() // the worker is first: the answer is not good any more, whoever notices
		if err := h.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if j := h.job(unused.JobID); j.Status != tools.JobExpired || h.effects() != 0 {
			t.Errorf("an approval that was not used in time: %+v, %d effects", j, h.effects())
		}
		now = now.Add(approvals.TimeToDecide)
		wantCode(t, h.vote(undecided.JobID, approvals.Approve), tools.ApprovalExpired)
		if err := h.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if j := h.job(undecided.JobID); j.Status != tools.JobExpired {
			t.Errorf("a question nobody decided: %+v", j)
		}
	})
}

// Seen failing on PostgreSQL with SKIP LOCKED and the compare-and-set of Consume and Succeed taken out: 25 effects of
// 10 approvals.
func TestResumeRunsOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		const jobs, workers = 10, 8
		for range jobs {
			if err := h.vote(h.parked("test_move", oneLamp).JobID, approvals.Approve); err != nil {
				t.Fatal(err)
			}
		}
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for {
					worked, err := h.Resume(t.Context(), fmt.Sprint("worker-", w))
					if err != nil || !worked {
						return
					}
				}
			})
		}
		all.Wait()
		h.resume() // whatever a worker left that had lost a race
		if n := h.effects(); n != jobs {
			t.Errorf("%d effects of %d approvals", n, jobs)
		}
		if n := h.count(`SELECT COUNT(*) FROM jobs WHERE status = 'succeeded'`); n != jobs {
			t.Errorf("%d of %d jobs succeeded", n, jobs)
		}
	})
}

// Seen failing on PostgreSQL with the old state taken out of the updates in package approvals: both decisions counted.
func TestOfTwoDecisionsOneCounts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		people := []auth.Principal{h.person}
		h.tx(func(tx *store.Tx) error {
			_, _, err := auth.AddPerson(tx, h.merchant, "second", "manager")
			if err != nil {
				return err
			}
			p, err := auth.FindPerson(tx, h.merchant, "second")
			people = append(people, p)
			return err
		})
		for i := range 20 {
			r := h.parked("test_move", lamps(1+i))
			var counted atomic.Int64
			var all sync.WaitGroup
			for i, d := range []approvals.Decision{approvals.Approve, approvals.Deny} {
				all.Go(func() {
					if _, err := h.Vote(t.Context(), people[i], Ballot{ID: r.JobID, Decision: d, Channel: "rest"}); err == nil {
						counted.Add(1)
					}
				})
			}
			all.Wait()
			if counted.Load() != 1 {
				t.Fatalf("%d decisions counted", counted.Load())
			}
			if n := h.count(`SELECT COUNT(*) FROM approval_votes WHERE approval_id = $1`, r.Approval.ApprovalID); n != 1 {
				t.Fatalf("%d votes are stored", n)
			}
		}
		h.resume()
		denied := h.count(`SELECT COUNT(*) FROM approvals WHERE state = 'rejected'`)
		if n := h.effects(); n+denied != 20 {
			t.Errorf("%d effects and %d denials of 20 requests", n, denied)
		}
	})
}

// Seen failing on both engines without the primary key of table idempotency: 20 effects.
func TestOneKeyActsOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		const callers = 20
		bodies := make([]string, callers)
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				out, err := h.call(h.free, "test_move", `{"thing":"lamp","amount":1,"idempotency_key":"same"}`)
				if err != nil {
					t.Error(err)
				}
				bodies[i] = string(out.Body)
			})
		}
		all.Wait()
		for _, b := range bodies {
			if b != bodies[0] || b == "" {
				t.Errorf("two answers to one key: %q %q", b, bodies[0])
			}
		}
		if n := h.effects(); n != 1 {
			t.Errorf("%d effects of one key", n)
		}
		_, err := h.call(h.free, "test_move", `{"thing":"lamp","amount":2,"idempotency_key":"same"}`)
		wantCode(t, err, tools.IdempotencyConflict)
		_, err = h.call(h.free, "test_walk", `{"thing":"lamp","amount":1,"idempotency_key":"same"}`)
		wantCode(t, err, tools.IdempotencyConflict)
		other := h.mint(auth.Key{Name: "other", Scopes: []auth.Scope{"orders:refund"}, Ceiling: auth.MaxLevel})
		if out, err := h.call(other, "test_move", `{"thing":"lamp","amount":1,"idempotency_key":"same"}`); err != nil || out.Replayed {
			t.Errorf("another principal's use of the key: replayed %v, %v", out.Replayed, err)
		}
	})
}

func TestARefusedCallLeavesItsKeyFree(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		args := `{"thing":"table","amount":1,"idempotency_key":"k"}`
		_, err := h.call(h.free, "test_move", args)
		wantCode(t, err, tools.NotFound)
		h.exec(`INSERT INTO test_things VALUES ('table', 1, 1)`)
		if out, err := h.call(h.free, "test_move", args); err != nil || out.Replayed {
			t.Errorf("replayed %v, %v", out.Replayed, err)
		}
	})
}

func TestAKeyInAHeaderIsTheSameKey(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		for i, r := range []Request{
			{Args: []byte(`{"thing":"lamp","amount":1,"idempotency_key":"k1"}`), Transport: "mcp"},
			{Args: []byte(`{"amount":1, "thing":"lamp"}`), IdempotencyKey: "k1", Transport: "rest"},
		} {
			r.Tool = "test_move"
			out, err := h.Call(t.Context(), h.free, r)
			if err != nil || out.Replayed != (i == 1) {
				t.Errorf("call %d: replayed %v, %v", i, out.Replayed, err)
			}
		}
		_, err := h.Call(t.Context(), h.free, Request{Tool: "test_move", IdempotencyKey: "k2", Args: []byte(`{"thing":"lamp","amount":1,"idempotency_key":"k1"}`)})
		wantCode(t, err, tools.InvalidArguments)
	})
}

func TestAJobOfManyStepsGoesOnFromItsCheckpoint(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Now().UTC()
		db.Now = func() time.Time { return now }
		h := newHouse(t, db)
		out, err := h.call(h.free, "test_walk", `{"thing":"lamp","amount":5}`)
		if err != nil {
			t.Fatal(err)
		}
		id := h.result(out).JobID
		h.tx(func(tx *store.Tx) error { // a worker that starts the job, does a step, and is never heard of again
			j, _, err := approvals.Claim(tx, "lost")
			if err == nil {
				_, err = h.begin(tx, j, "lost", nil)
			}
			return err
		})
		if _, err := h.step(t.Context(), id, "lost"); err != nil {
			t.Fatal(err)
		}
		h.resume()
		if j := h.job(id); j.Status != tools.JobRunning || h.effects() != 1 {
			t.Fatalf("a job under a lease was taken: %+v", j)
		}
		now = now.Add(approvals.LeaseTime + time.Second)
		h.resume()
		if j := h.job(id); j.Status != tools.JobSucceeded || h.effects() != 5 {
			t.Errorf("job %+v, %d effects", j, h.effects())
		}
		if _, err := h.step(t.Context(), id, "lost"); err == nil || h.effects() != 5 {
			t.Errorf("a worker that lost its lease went on: %v", err)
		}
	})
}

func TestCancelTakesHoldBetweenSteps(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		out, err := h.call(h.free, "test_walk", `{"thing":"lamp","amount":5}`)
		if err != nil {
			t.Fatal(err)
		}
		id := h.result(out).JobID
		h.tx(func(tx *store.Tx) error {
			j, _, err := approvals.Claim(tx, "w")
			if err == nil {
				_, err = h.begin(tx, j, "w", nil)
			}
			return err
		})
		if _, err := h.step(t.Context(), id, "w"); err != nil {
			t.Fatal(err)
		}
		h.tx(func(tx *store.Tx) error {
			_, err := h.queue.CancelJob(tx, h.free, id, "wrong text")
			return err
		})
		if done, err := h.step(t.Context(), id, "w"); !done || err != nil {
			t.Fatalf("the step after the cancel: %v %v", done, err)
		}
		if j := h.job(id); j.Status != tools.JobCancelled || string(j.Result) != `{"moved":1}` || h.effects() != 1 {
			t.Errorf("job %+v, %d effects", j, h.effects())
		}
	})
}
