package gate

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/outsidetest"
)

// The shapes of tools that act outside. Each has a vendor of its own, which helps it no more than its shape says.
const (
	pay      = "test_pay"       // nobody but a person can tell what became of it
	payTold  = "test_pay_told"  // the vendor can tell
	payAgain = "test_pay_again" // the vendor knows an execution again
)

// An abroad is a hooked house with outside systems.
type abroad struct {
	*house
	*hook
	vendors map[string]*outsidetest.Vendor
	faults  atomic.Value // func(n int) outsidetest.Fault, of all vendors
}

// abroads runs fn once per engine.
func abroads(t *testing.T, fn func(t *testing.T, a *abroad)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h, k := newHooked(t, db)
		a := &abroad{house: h, hook: k, vendors: map[string]*outsidetest.Vendor{}}
		a.fault(outsidetest.None)
		all := h.tools.All()
		for name, s := range map[string]outsidetest.Shape{
			pay: {Path: "test.pay"}, payTold: {Path: "test.paytold", Probes: true}, payAgain: {Path: "test.payagain", Repeatable: true},
		} {
			s.Name = name
			v := &outsidetest.Vendor{Repeats: s.Repeatable, Fault: func(_ string, n int) outsidetest.Fault {
				return a.faults.Load().(func(int) outsidetest.Fault)(n)
			}}
			web := httptest.NewServer(v)
			t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
			a.vendors[name] = v
			all = append(all, outsidetest.Tool(web.URL, s))
		}
		h.tools = tools.NewRegistry(all...)
		fn(t, a)
	})
}

// fault lets the first attempts meet these faults, and all others the last of them.
func (a *abroad) fault(all ...outsidetest.Fault) {
	a.faults.Store(func(n int) outsidetest.Fault { return all[min(n, len(all))-1] })
}

const onePound = `{"payee":"ada","amount":100}`

// sent queues a payment and gives its job.
func (a *abroad) sent(tool string) string {
	a.t.Helper()
	out, err := a.call(a.free, tool, onePound)
	if err != nil {
		a.t.Fatal(err)
	}
	if out.Status != tools.Queued {
		a.t.Fatalf("%s is answered %s", tool, out.Status)
	}
	return a.result(out).JobID
}

func (a *abroad) execution(job string) (x approvals.Execution) {
	a.t.Helper()
	a.tx(func(tx *store.Tx) (err error) {
		x, err = approvals.FindExecution(tx, job)
		return err
	})
	return x
}

// stands holds a job to its state, and its vendor to how often it was asked and has done it.
func (a *abroad) stands(job string, s tools.JobStatus, asked, done int) {
	a.t.Helper()
	j, x := a.job(job), a.execution(job)
	v := a.vendors[j.Tool]
	if j.Status != s || v.Asked(x.ID) != asked || v.Effects(x.ID) != done {
		a.t.Errorf("%s is %s (%s: %s), asked for %d times and done %d times; want %s, %d and %d", j.Tool, j.Status, j.Reason, j.Why,
			v.Asked(x.ID), v.Effects(x.ID), s, asked, done)
	}
}

func (a *abroad) happening(event string) int {
	a.t.Helper()
	return len(a.entries(event))
}

func TestACallThatActsOutsideIsAJobWithItsIntentOnRecordFirst(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		a.faults.Store(func(int) outsidetest.Fault {
			if a.happening("job.started") != 1 || a.happening("job.progress") != 1 || a.happening("job.succeeded") != 0 {
				a.t.Error("it is sent before the intent is on record")
			}
			return outsidetest.None
		})
		job := a.sent(pay)
		a.resume()
		a.stands(job, tools.JobSucceeded, 1, 1)
		x, j := a.execution(job), a.job(job)
		if string(j.Result) != `{"execution":"`+x.ID+`"}` || j.ProgressPercent != 100 {
			t.Errorf("the job ended as %+v", j)
		}
		if e := a.entries("job.progress")[0]; !strings.Contains(e.Reason, x.ID) {
			t.Errorf("the intent does not name the execution: %q", e.Reason)
		}
		if e := a.entries("call.resumed"); len(e) != 1 || e[0].Status != "done" || e[0].Customers != 1 {
			t.Errorf("what came of it is on record as %+v", e)
		}
		if n := a.count(`SELECT COUNT(*) FROM effects WHERE job_id = $1 AND state = 'final'`, job); n != 1 {
			t.Errorf("%d effects are kept", n)
		}
	})
}

func TestTheExecutionIdIsThatOfTheApprovalOnEveryAttempt(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		a.fault(outsidetest.LoseAnswer, outsidetest.LoseRequest, outsidetest.None)
		out, err := a.call(a.bot, payAgain, `{"payee":"ada","amount":100,"reason":"she is owed it"}`)
		if err != nil {
			t.Fatal(err)
		}
		r := a.result(out)
		if err := a.vote(r.JobID, approvals.Approve); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			a.resume()
			a.pass(time.Minute)
		}
		a.stands(r.JobID, tools.JobSucceeded, 3, 1)
		var binding string
		a.tx(func(tx *store.Tx) error {
			return tx.QueryRow(`SELECT binding_sha256 FROM approvals WHERE id = $1`, r.Approval.ApprovalID).Scan(&binding)
		})
		j := approvals.Job{}
		j.ApprovalID = r.Approval.ApprovalID
		if want := approvals.ExecutionID(j, binding); a.execution(r.JobID).ID != want || len(want) != 32 {
			t.Errorf("the execution is %s, want %s", a.execution(r.JobID).ID, want)
		}
	})
}

func TestWhatTheEndOfAnAttemptMeans(t *testing.T) {
	for _, c := range []struct {
		name        string
		tool        string
		faults      []outsidetest.Fault
		end         tools.JobStatus
		asked, done int
	}{
		{"refused", pay, []outsidetest.Fault{outsidetest.Refuse}, tools.JobFailed, 1, 0},
		{"not sent", pay, []outsidetest.Fault{outsidetest.Busy}, tools.JobFailed, 1, 0},
		{"its answer is lost", pay, []outsidetest.Fault{outsidetest.LoseAnswer}, tools.JobIndeterminate, 1, 1},
		{"its request is lost", pay, []outsidetest.Fault{outsidetest.LoseRequest}, tools.JobIndeterminate, 1, 0},
		{"its answer is lost and the vendor can tell", payTold, []outsidetest.Fault{outsidetest.LoseAnswer}, tools.JobSucceeded, 1, 1},
		{"its request is lost and the vendor can tell", payTold, []outsidetest.Fault{outsidetest.LoseRequest, outsidetest.None}, tools.JobSucceeded, 2, 1},
		{"its request is lost each time and the vendor can tell", payTold, []outsidetest.Fault{outsidetest.LoseRequest}, tools.JobFailed, sendsMax, 0},
		{"refused the second time", payTold, []outsidetest.Fault{outsidetest.LoseRequest, outsidetest.Refuse}, tools.JobFailed, 2, 0},
		{"not sent the second time", payTold, []outsidetest.Fault{outsidetest.LoseRequest, outsidetest.Busy}, tools.JobFailed, 2, 0},
		{"its answer is lost and it is known again", payAgain, []outsidetest.Fault{outsidetest.LoseAnswer, outsidetest.None}, tools.JobSucceeded, 2, 1},
		{"done, and not sent the second time", payAgain, []outsidetest.Fault{outsidetest.LoseAnswer, outsidetest.Busy, outsidetest.None}, tools.JobSucceeded, 3, 1},
		{"known again as refused", payAgain, []outsidetest.Fault{outsidetest.LoseRequest, outsidetest.Refuse}, tools.JobFailed, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			abroads(t, func(_ *testing.T, a *abroad) {
				a.fault(c.faults...)
				job := a.sent(c.tool)
				for range 4 {
					a.resume()
					a.pass(6 * time.Minute)
				}
				a.stands(job, c.end, c.asked, c.done)
			})
		})
	}
}

func TestABudgetKeepsWhatIsInDoubt(t *testing.T) {
	for _, c := range []struct {
		name            string
		fault           outsidetest.Fault
		outcome         tools.Known
		reserved, spent int64
	}{
		{"done", outsidetest.None, "", 0, 100},
		{"refused", outsidetest.Refuse, "", 0, 0},
		{"in doubt", outsidetest.LoseAnswer, "", 100, 0},
		{"found to have happened", outsidetest.LoseAnswer, tools.Happened, 0, 100},
		{"found not to have happened", outsidetest.LoseRequest, tools.DidNotHappen, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			abroads(t, func(t *testing.T, a *abroad) {
				a.publish(tenPounds)
				a.fault(c.fault)
				job := a.sent(pay)
				a.resume()
				if c.outcome != "" {
					if _, err := a.Reconcile(t.Context(), a.person, Reconciliation{JobID: job, Outcome: c.outcome, Reason: "I looked"}); err != nil {
						t.Fatal(err)
					}
				}
				a.usedUp(c.reserved, c.spent)
			})
		})
	}
}

func TestWhatIsInDoubtIsNeverSentAgain(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		a.fault(outsidetest.LoseAnswer)
		out, err := a.call(a.free, pay, `{"payee":"ada","amount":100,"idempotency_key":"once"}`)
		if err != nil {
			t.Fatal(err)
		}
		job := a.result(out).JobID
		a.resume()
		for range 4 {
			a.pass(keepKeys)
			a.sweep()
			a.resume()
		}
		again, err := a.call(a.free, pay, `{"payee":"ada","amount":100,"idempotency_key":"once"}`)
		if err != nil || !again.Replayed {
			t.Errorf("the same call again: %v, replayed %v", err, again.Replayed)
		}
		a.stands(job, tools.JobIndeterminate, 1, 1)
		if j := a.job(job); !strings.Contains(j.Why, "Do not send it again") || j.NextPollSeconds == 0 {
			t.Errorf("the agent is told %q", j.Why)
		}
		if a.happening("job.indeterminate") != 1 {
			t.Error("that it is in doubt is not on record")
		}
	})
}

func TestAnUpgradeThatDropsTheToolLeavesWhatWasSentInDoubt(t *testing.T) {
	abroads(t, func(_ *testing.T, a *abroad) {
		job := a.dies(payAgain, true)
		a.house.tools = a.registry()
		a.pass(approvals.LeaseTime)
		a.resume()
		a.stands(job, tools.JobIndeterminate, 1, 1)
	})
}

func TestAnExecutionIdIsNotReliedOnForEver(t *testing.T) {
	abroads(t, func(_ *testing.T, a *abroad) {
		job := a.dies(payAgain, true)
		a.pass(tools.RepeatTime)
		a.resume()
		a.stands(job, tools.JobIndeterminate, 1, 1)
	})
}

func TestNothingIsSentAgainForAKeyThatIsRevoked(t *testing.T) {
	for tool, end := range map[string]tools.JobStatus{payAgain: tools.JobIndeterminate, payTold: tools.JobFailed} {
		abroads(t, func(_ *testing.T, a *abroad) {
			job := a.dies(tool, false)
			a.exec(`UPDATE agent_keys SET revoked_at = 1`)
			a.pass(approvals.LeaseTime)
			a.resume()
			a.stands(job, end, 0, 0)
		})
	}
}

// dies begins a payment whose worker is not heard of again, when the vendor has done it or before, and gives its job.
func (a *abroad) dies(tool string, done bool) string {
	a.t.Helper()
	job := a.sent(tool)
	a.tx(func(tx *store.Tx) error {
		j, _, err := approvals.Claim(tx, "dead")
		if err == nil {
			_, err = a.begin(tx, j, "dead", nil)
		}
		return err
	})
	if done {
		a.do(job)
	}
	return job
}

// do lets the vendor do what a job is about to ask for, without the job.
func (a *abroad) do(job string) {
	a.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/executions/"+a.execution(job).ID, nil)
	w := httptest.NewRecorder()
	if a.vendors[a.job(job).Tool].ServeHTTP(w, r); w.Code != http.StatusOK {
		a.t.Fatalf("the vendor answers %d", w.Code)
	}
}

// slow is a payment that is being sent, with the vendor's answer held back. It gives the job, what lets the answer go, and what the worker
// is told at the end.
func (a *abroad) slow(tool string) (job string, let func(), end chan error) {
	a.t.Helper()
	reached, held := make(chan struct{}), make(chan struct{})
	var once sync.Once
	a.faults.Store(func(int) outsidetest.Fault {
		once.Do(func() { close(reached) })
		select {
		case <-held:
		case <-a.t.Context().Done():
		}
		return outsidetest.None
	})
	job, end = a.sent(tool), make(chan error, 1)
	go func() {
		_, err := a.Resume(a.t.Context(), "slow")
		end <- err
	}()
	<-reached
	return job, sync.OnceFunc(func() { close(held) }), end
}

func TestASlowWorkersAnswerCountsWhereNobodyKnowsBetter(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		job, let, end := a.slow(pay)
		a.pass(approvals.LeaseTime)
		a.resume() // another worker, which cannot know
		if s := a.job(job).Status; s != tools.JobIndeterminate {
			t.Fatalf("a job whose lease was lost is %s", s)
		}
		let()
		if err := <-end; err != nil {
			t.Error(err)
		}
		a.stands(job, tools.JobSucceeded, 1, 1)
		if e := a.entries("job.reconciled"); len(e) != 1 || e[0].Actor != "gate" {
			t.Errorf("on record as %+v", e)
		}
	})
}

func TestASlowWorkerDoesNotSpeakForAJobThatOthersHaveEnded(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		job, let, end := a.slow(pay)
		a.pass(approvals.LeaseTime)
		a.resume()
		if _, err := a.Reconcile(t.Context(), a.person, Reconciliation{JobID: job, Outcome: tools.DidNotHappen, Reason: "I looked"}); err != nil {
			t.Fatal(err)
		}
		let()
		if err := <-end; err != nil {
			t.Error(err)
		}
		if s := a.job(job).Status; s != tools.JobFailed {
			t.Errorf("it was decided that it did not happen, and the job is %s", s)
		}
	})
}

func TestTheLeaseIsRenewedWhileACallIsSent(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		a.outside.beat = 5 * time.Millisecond
		job, let, end := a.slow(pay)
		for range 5 {
			a.pass(approvals.LeaseTime / 2)
			now := store.Micros(a.db.Now())
			for a.count(`SELECT COUNT(*) FROM jobs WHERE id = $1 AND lease_until > $2`, job, now.(int64)+int64(approvals.LeaseTime/2/time.Microsecond)) == 0 {
				time.Sleep(5 * time.Millisecond) // until the next beat
			}
		}
		let()
		if err := <-end; err != nil {
			t.Error(err)
		}
		a.stands(job, tools.JobSucceeded, 1, 1)
	})
}

func TestSendingEndsWhenTheLeaseIsLost(t *testing.T) {
	for name, lose := range map[string]func(*abroad){
		"another worker has it": func(a *abroad) { a.exec(`UPDATE jobs SET lease_owner = 'thief'`) },
		"it cannot be renewed in time": func(a *abroad) {
			a.exec(`ALTER TABLE jobs RENAME TO jobs_away`)
			a.pass(approvals.LeaseTime)
		},
	} {
		t.Run(name, func(t *testing.T) {
			abroads(t, func(t *testing.T, a *abroad) {
				a.outside.beat = 5 * time.Millisecond
				job, let, end := a.slow(pay)
				lose(a)
				if err := <-end; err != nil && !strings.Contains(err.Error(), "jobs") { // it ends although the vendor has not answered
					t.Error(err)
				}
				let()
				if name == "another worker has it" {
					if s := a.job(job).Status; s != tools.JobRunning {
						t.Errorf("who has lost the job has made it %s", s)
					}
				}
			})
		})
	}
}

func TestWhoStopsACallThatIsBeingSentIsToldThatItIsTooLate(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		job, let, end := a.slow(pay)
		out, err := a.call(a.free, "test_cancel", `{"job_id":"`+job+`"}`)
		if err != nil {
			t.Fatal(err)
		}
		var told tools.Job
		if err := json.Unmarshal(a.result(out).Result, &told); err != nil || told.Status != tools.JobRunning || !strings.Contains(told.Why, "too late") {
			t.Errorf("told %s %q, %v", told.Status, told.Why, err)
		}
		let()
		if err := <-end; err != nil {
			t.Error(err)
		}
		a.stands(job, tools.JobSucceeded, 1, 1)
	})
}

func TestWhatIsToStopIsNotSentAgain(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		job := a.dies(payTold, false)
		if err := a.cancel(a.free, job); err != nil {
			t.Fatal(err)
		}
		a.pass(approvals.LeaseTime)
		a.resume()
		a.stands(job, tools.JobCancelled, 0, 0)
	})
}

func TestTheOutsideSystemIsAskedAgainForADay(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		v := a.vendors[payTold]
		v.Forgets = true
		job := a.dies(payTold, true)
		a.pass(approvals.LeaseTime)
		a.resume()
		a.stands(job, tools.JobIndeterminate, 1, 1)
		asked := 0
		for range 30 * 60 { // minutes
			a.pass(time.Minute)
			worked, err := a.Resume(t.Context(), "w")
			if err != nil {
				t.Fatal(err)
			}
			if worked {
				asked++
			}
		}
		if asked != 5 {
			t.Errorf("asked %d times in 30 hours", asked)
		}
		a.stands(job, tools.JobIndeterminate, 1, 1)
	})
}

func TestALaterProbeEndsTheDoubt(t *testing.T) {
	for done, end := range map[bool]tools.JobStatus{true: tools.JobSucceeded, false: tools.JobFailed} {
		abroads(t, func(t *testing.T, a *abroad) {
			v := a.vendors[payTold]
			v.Forgets = true
			job := a.dies(payTold, done)
			a.pass(approvals.LeaseTime)
			a.resume()
			v.Forgets = false
			a.pass(time.Minute)
			a.resume()
			did := map[bool]int{true: 1}[done]
			a.stands(job, end, did, did)
			if a.happening("job.reconciled") != 1 || a.execution(job).DecidedBy != "gate" {
				t.Error("who found out is not on record")
			}
		})
	}
}

func TestAPanicInASendIsADoubt(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		f := tools.Func[outsidetest.In, moveOut]{
			Preview: func(*tools.Call, outsidetest.In) (tools.Preview, error) { return tools.Preview{Summary: "Pay"}, nil },
			Send: func(_ context.Context, c *tools.Call, _ outsidetest.In, _ string) (moveOut, error) {
				_, err := c.Exec(`INSERT INTO test_effects VALUES ('x', 'x', 0)`) // there is no transaction
				return moveOut{}, err
			},
		}
		spec := moveSpec("test_bad", "test.bad")
		spec.Resource, spec.Risk.Money = "payee:/payee", 0
		a.house.tools = tools.NewRegistry(append(a.house.tools.All(), tools.Define(spec, f))...)
		out, err := a.call(a.free, "test_bad", onePound)
		if err != nil {
			t.Fatal(err)
		}
		a.resume()
		if s := a.job(a.result(out).JobID).Status; s != tools.JobIndeterminate {
			t.Errorf("it is %s", s)
		}
	})
}

func TestSlowOutsideSystemsKeepNoOtherCallWaiting(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		held, reached := make(chan struct{}), make(chan struct{}, 2*workers)
		a.faults.Store(func(int) outsidetest.Fault {
			reached <- struct{}{}
			<-held
			return outsidetest.None
		})
		var slow []string
		for range 2 * workers {
			slow = append(slow, a.sent(pay))
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { a.Work(ctx); close(ended) }()
		for range slow {
			<-reached
		}
		quick := a.approved("test_hook")
		for a.job(quick).Status != tools.JobSucceeded {
			if t.Context().Err() != nil {
				t.Fatal("it waits for the slow ones")
			}
		}
		close(held)
		stop() // what is being sent is sent to its end
		<-ended
		for _, job := range slow {
			a.stands(job, tools.JobSucceeded, 1, 1)
		}
	})
}

func TestAnAttemptHasADeadline(t *testing.T) {
	abroads(t, func(_ *testing.T, a *abroad) {
		a.outside.most = 20 * time.Millisecond
		a.fault(outsidetest.HangAfter)
		job := a.sent(payTold)
		a.resume()
		a.stands(job, tools.JobSucceeded, 1, 1) // by the probe, and not by an answer
	})
}

func TestAPersonEndsADoubt(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		for outcome, end := range map[tools.Known]tools.JobStatus{tools.Happened: tools.JobSucceeded, tools.DidNotHappen: tools.JobFailed} {
			job := a.dies(pay, outcome == tools.Happened)
			a.pass(approvals.LeaseTime)
			a.resume()
			r := Reconciliation{JobID: job, Outcome: outcome, Reason: "the statement says so", Channel: "rest"}
			for range 2 { // the second time as a repeat whose answer was lost
				if j, err := a.Reconcile(t.Context(), a.person, r); err != nil || j.Status != end {
					t.Errorf("%s: the job is %s, %v", outcome, j.Status, err)
				}
			}
			if j := a.job(job); !strings.Contains(j.Why, a.person.Name) || !strings.Contains(j.Why, "the statement says so") {
				t.Errorf("the agent is told %q", j.Why)
			}
			if e := a.entries("job.reconciled")[0]; e.Actor != "person:"+a.person.ID || e.Status != string(end) || e.Transport != "rest" {
				t.Errorf("on record as %+v", e)
			}
			if n := a.count(`SELECT COUNT(*) FROM effects WHERE job_id = $1`, job); n != map[tools.Known]int{tools.Happened: 1}[outcome] {
				t.Errorf("%d effects are kept of what %s", n, outcome)
			}
			other := map[tools.Known]tools.Known{tools.Happened: tools.DidNotHappen, tools.DidNotHappen: tools.Happened}[outcome]
			_, err := a.Reconcile(t.Context(), a.person, Reconciliation{JobID: job, Outcome: other, Reason: "no"})
			wantCode(t, err, tools.Conflict)
		}
		if n := a.happening("job.reconciled"); n != 2 {
			t.Errorf("%d decisions are on record", n)
		}
	})
}

func TestWhoMayNotEndADoubt(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		job := a.dies(pay, true)
		a.pass(approvals.LeaseTime)
		a.resume()
		done := a.sent(pay)
		a.resume()
		var helper auth.Principal
		a.tx(func(tx *store.Tx) (err error) {
			if _, _, err = auth.AddPerson(tx, a.merchant, "helper"); err == nil {
				helper, err = auth.FindPerson(tx, a.merchant, "helper")
			}
			return err
		})
		good := Reconciliation{JobID: job, Outcome: tools.Happened, Reason: "I looked"}
		for _, c := range []struct {
			name  string
			by    auth.Principal
			spoil func(*Reconciliation)
			want  tools.Code
		}{
			{"an agent", a.free, func(*Reconciliation) {}, tools.ForbiddenApprover},
			{"somebody without the right", helper, func(*Reconciliation) {}, tools.ForbiddenApprover},
			{"without a reason", a.person, func(r *Reconciliation) { r.Reason = " \n" }, tools.InvalidArguments},
			{"with an essay", a.person, func(r *Reconciliation) { r.Reason = strings.Repeat("x", maxReason+1) }, tools.InvalidArguments},
			{"with a secret", a.person, func(r *Reconciliation) { r.Reason = secret.New(secret.Key) }, tools.InvalidArguments},
			{"without an outcome", a.person, func(r *Reconciliation) { r.Outcome = "" }, tools.InvalidArguments},
			{"about what is not there", a.person, func(r *Reconciliation) { r.JobID = "job_none" }, tools.NotFound},
			{"about what is certain", a.person, func(r *Reconciliation) { r.JobID = done }, tools.Conflict},
		} {
			r := good
			c.spoil(&r)
			if _, err := a.Reconcile(t.Context(), c.by, r); err == nil || asRefusal(err).Code != c.want {
				t.Errorf("%s: %v, want %s", c.name, err, c.want)
			}
		}
		a.exec(`UPDATE jobs SET chain = $1 WHERE id = $2`, `["key:x","person:`+a.person.ID+`"]`, job)
		_, err := a.Reconcile(t.Context(), a.person, good)
		wantCode(t, err, tools.ForbiddenApprover)
		a.stands(job, tools.JobIndeterminate, 1, 1)
		if a.happening("job.refused") == 0 {
			t.Error("the refusals are not on record")
		}
	})
}

func TestOfTwoWhoEndADoubtAtOnceOneIsHeard(t *testing.T) {
	abroads(t, func(t *testing.T, a *abroad) {
		var second auth.Principal
		a.tx(func(tx *store.Tx) (err error) {
			if _, _, err = auth.AddPerson(tx, a.merchant, "second", "manager"); err == nil {
				second, err = auth.FindPerson(tx, a.merchant, "second")
			}
			return err
		})
		const rounds = 10
		for range rounds {
			job := a.dies(pay, true)
			a.pass(approvals.LeaseTime)
			a.resume()
			var heard atomic.Int64
			var all sync.WaitGroup
			for p, outcome := range map[*auth.Principal]tools.Known{&a.person: tools.Happened, &second: tools.DidNotHappen} {
				all.Go(func() {
					_, err := a.Reconcile(t.Context(), *p, Reconciliation{JobID: job, Outcome: outcome, Reason: "I looked"})
					if r := (*tools.Refusal)(nil); err == nil {
						heard.Add(1)
					} else if !errors.As(err, &r) || r.Code != tools.Conflict {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if heard.Load() != 1 {
				t.Errorf("%d of two were heard", heard.Load())
			}
		}
		if n := a.happening("job.reconciled"); n != rounds {
			t.Errorf("%d of %d decisions are on record", n, rounds)
		}
	})
}
