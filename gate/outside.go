package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A call whose effect is outside of the database is carried out like this:
//
//	begin     transaction: claim, judge again, use up the approval; the job is running, and the intent to send is on record
//	attempt   Send, with no transaction open, under a lease that is renewed meanwhile
//	outcome   transaction: it happened (succeeded) or it did not (failed), with effect, budgets and record
//
// Where nobody knows what came of an attempt, because its answer or its worker was lost, it depends on the tool. A Repeatable one is sent
// again under the same execution id. Of any other the outside system is asked: what has not happened and will not is judged and sent again;
// what nobody can tell is indeterminate, and never sent again by itself. What the call has reserved of budgets stays reserved until somebody
// knows.
//
// A kill at any moment leaves the job running, with the intent on record. Only whoever holds the lease begins an attempt, and it knows by its
// own clock when it holds it no more.

// How calls are sent.
const (
	sendTime  = 2 * time.Minute         // for one attempt
	probeTime = 30 * time.Second        // for one question what became of it
	sendGrace = 5 * time.Second         // for what is being sent when the process is told to end
	beatEvery = approvals.LeaseTime / 4 // how often a lease is renewed
	sendsMax  = 5                       // attempts of a call that has not happened
	sendSlots = 16                      // calls sent at once by one process, beside its workers

	writeAgain = 250 * time.Millisecond // between tries to write down an outcome
	writeTries = 40
)

// outside is what it takes to send calls.
type outside struct {
	slots  chan struct{}
	beside atomic.Bool // calls are sent beside the workers, not by them
	going  sync.WaitGroup
	beat   time.Duration // beatEvery and sendTime, but in tests
	most   time.Duration
}

func newOutside() *outside {
	return &outside{slots: make(chan struct{}, sendSlots), beat: beatEvery, most: sendTime}
}

// aside sends a call beside the worker that found it, as long as there is room: a slow outside system is to keep no other call waiting.
func (g *Gate) aside(job string, fn func() error) error {
	if !g.outside.beside.Load() {
		return fn()
	}
	select {
	case g.outside.slots <- struct{}{}:
	default:
		return fn()
	}
	g.outside.going.Go(func() {
		defer func() { <-g.outside.slots }()
		if err := g.safely(job, fn); err != nil {
			g.log.Error().Str("job_id", job).Err(err).Msg("a call could not be sent to its end")
		}
	})
	return nil
}

// A sending is a call on its way to an outside system.
type sending struct {
	call      *call
	job       approvals.Job // held by its Owner
	execution approvals.Execution
	clean     bool           // what was sent until now has not happened and will not
	barred    *tools.Refusal // why it may not be sent again
}

// intend starts a judged call and puts on record that it is about to be sent.
func (g *Gate) intend(tx *store.Tx, c *call, j approvals.Job, worker string) error {
	if err := approvals.Start(tx, j, worker); err != nil {
		return err
	}
	return approvals.Intend(tx, j, worker, approvals.ExecutionID(j, c.approval.BindingHash))
}

// sendFirst makes the first attempt at a call that has just begun.
func (g *Gate) sendFirst(ctx context.Context, c *call, j approvals.Job) error {
	x := approvals.Execution{ID: approvals.ExecutionID(j, c.approval.BindingHash), Sends: 1, SentAt: c.Now}
	return g.aside(j.JobID, func() error { return g.send(ctx, &sending{call: c, job: j, execution: x, clean: true}) })
}

// takeUp goes on with a running job whose worker is gone.
func (g *Gate) takeUp(ctx context.Context, j approvals.Job) error {
	var x approvals.Execution
	err := g.db.Read(ctx, func(tx *store.Tx) (err error) {
		x, err = approvals.FindExecution(tx, j.JobID)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return g.steps(ctx, j, j.Owner)
	}
	if err != nil {
		return err
	}
	return g.aside(j.JobID, func() error { return g.findOut(ctx, g.sendingOf(j, x)) })
}

// sendingOf is the sending of a stored job, with no right: there may be none any more.
func (g *Gate) sendingOf(j approvals.Job, x approvals.Execution) *sending {
	c := g.stored(j, asker(j))
	c.preview.Summary = j.Summary
	return &sending{call: c, job: j, execution: x}
}

// send makes an attempt that is on record, and writes down what came of it.
func (g *Gate) send(ctx context.Context, s *sending) error {
	var result any
	store.Reach(store.Intended)
	err := g.underLease(ctx, s, g.outside.most, func(ctx context.Context) (err error) {
		result, err = s.handler().Send(ctx, s.alone(), s.execution.ID)
		return err
	})
	store.Reach(store.Sent)
	switch s.said(err) {
	case tools.Happened:
		return g.happened(ctx, s, result)
	case tools.DidNotHappen:
		return g.didNotHappen(ctx, s, refusalOf(err))
	}
	g.log.Warn().Str("job_id", s.job.JobID).Err(err).Msg("nobody knows what came of an attempt to send")
	if s.repeats(g.db.Now()) {
		return g.sendLater(ctx, s)
	}
	return g.findOut(ctx, s)
}

// said is what the end of an attempt tells about the execution.
func (s *sending) said(err error) tools.Known {
	refused := (*tools.Refusal)(nil)
	switch {
	case err == nil:
		return tools.Happened
	case errors.As(err, &refused), s.clean && errors.Is(err, tools.ErrNotSent):
		return tools.DidNotHappen
	}
	s.clean = false
	return tools.Unknown
}

// refusalOf gives what the caller is told of an execution that did not happen.
func refusalOf(err error) *tools.Refusal {
	if errors.Is(err, tools.ErrNotSent) {
		return tools.Refuse(tools.Unavailable, "Ask again later, with a new idempotency key.", "The outside system could not be reached. Nothing was done there.")
	}
	return asRefusal(err)
}

// findOut goes on with a call of which nobody knows what came of the last attempt.
func (g *Gate) findOut(ctx context.Context, s *sending) error {
	if err := g.keepLease(ctx, s); err != nil {
		return unlessLost(err)
	}
	var result any
	known := tools.Unknown
	if !s.repeats(g.db.Now()) || s.job.StopAsked {
		result, known = g.probe(ctx, s)
		store.Reach(store.Probed)
	}
	switch {
	case known == tools.Happened:
		return g.happened(ctx, s, result)
	case known == tools.DidNotHappen:
		s.clean = true
		return g.notYet(ctx, s)
	case s.repeats(g.db.Now()):
		return g.sendAgain(ctx, s)
	}
	return g.doubt(ctx, s)
}

// notYet goes on with a call that has not happened.
func (g *Gate) notYet(ctx context.Context, s *sending) error {
	switch {
	case s.job.StopAsked:
		return unlessLost(g.writeDown(ctx, func(tx *store.Tx) error {
			if err := approvals.Unsent(tx, s.job); err != nil {
				return err
			}
			return giveBack(tx, s.job)
		}))
	case s.barred != nil:
		return g.didNotHappen(ctx, s, s.barred)
	case s.execution.Sends >= sendsMax:
		return g.didNotHappen(ctx, s, refusalOf(tools.ErrNotSent))
	}
	return g.sendAgain(ctx, s)
}

// sendAgain judges a call once more, for what its caller may do may have become less, and makes another attempt.
func (g *Gate) sendAgain(ctx context.Context, s *sending) error {
	var c *call
	halted := false
	err := g.work(ctx, func(tx *store.Tx) error {
		j, err := approvals.Hold(tx, s.job.JobID, s.job.Owner)
		if err != nil {
			return err
		}
		if c, err = g.rebuild(tx, j); err != nil {
			return err
		}
		if halted, err = c.halted(tx, j); halted {
			return err
		}
		if err := g.judgeTx(c, stepChecks); err != nil {
			return err
		}
		return approvals.Intend(tx, j, j.Owner, s.execution.ID)
	})
	switch {
	case outOfReach(err) || halted:
		return unlessLost(err)
	case err != nil:
		s.barred = asRefusal(err)
		if s.clean {
			return g.didNotHappen(ctx, s, s.barred)
		}
		return g.findOut(ctx, s)
	}
	c.preview = s.call.preview
	s.call, s.execution.Sends = c, s.execution.Sends+1
	return g.send(ctx, s)
}

// sendLater leaves a call that may be sent again to whoever is there in a while, longer each time.
func (g *Gate) sendLater(ctx context.Context, s *sending) error {
	wait := min(time.Second<<min(s.execution.Sends-1, 9), 5*time.Minute)
	return unlessLost(g.work(ctx, func(tx *store.Tx) error { return approvals.Yield(tx, s.job, wait) }))
}

// repeats reports whether sending the call again is harmless, as far as anybody knows.
func (s *sending) repeats(now time.Time) bool {
	return s.call.Tool != nil && s.call.Tool.Repeatable && s.barred == nil && now.Before(s.execution.SentAt.Add(tools.RepeatTime))
}

// handler is the code of the call's tool; of one that is gone there is none.
func (s *sending) handler() tools.Handler {
	if s.call.Tool == nil {
		return tools.Handler{}
	}
	return s.call.Tool.Handler()
}

// alone is the call as code sees it that runs outside of any transaction.
func (s *sending) alone() *tools.Call {
	s.call.Tx = nil
	return &s.call.Call
}

// probe asks the outside system what became of a call, while its job is held.
func (g *Gate) probe(ctx context.Context, s *sending) (result any, known tools.Known) {
	err := g.underLease(ctx, s, probeTime, func(ctx context.Context) (err error) {
		result, known, err = g.ask(ctx, s)
		return err
	})
	if err != nil {
		g.log.Warn().Str("job_id", s.job.JobID).Err(err).Msg("nobody can tell what became of a call")
		return nil, tools.Unknown
	}
	return result, known
}

// ask asks the outside system about the very bytes that were accepted, or about nothing.
func (g *Gate) ask(ctx context.Context, s *sending) (any, tools.Known, error) {
	h := s.handler()
	if h.Probe == nil {
		return nil, tools.Unknown, nil
	}
	if err := g.checkBytes(ctx, s.call); err != nil {
		return nil, tools.Unknown, err
	}
	return h.Probe(ctx, s.alone(), s.execution.ID)
}

// happened ends a job whose effect is there. Its outcome counts also when the lease was lost, as long as nobody else knows better.
func (g *Gate) happened(ctx context.Context, s *sending, result any) error {
	raw, err := json.Marshal(result)
	if err != nil {
		g.log.Error().Str("job_id", s.job.JobID).Err(err).Msg("a result cannot be written")
	}
	err = g.writeDown(ctx, func(tx *store.Tx) error {
		if err := approvals.Succeed(tx, s.job, tools.JobRunning, raw); err != nil {
			return err
		}
		if err := g.keepEffect(tx, s, raw); err != nil {
			return err
		}
		return g.recordRun(tx, s.call, string(tools.Done), nil)
	})
	if errors.Is(err, approvals.ErrLeaseLost) {
		late := approvals.Finding{Known: tools.Happened, By: approvals.ByItself, Why: "The outside system's answer came late: it happened.", Result: raw}
		return g.found(ctx, s, late)
	}
	if err == nil {
		s.call.out.Status = tools.Done
		g.earned(s.call)
		if s.call.Tool != nil {
			g.touched.add(s.call)
		}
	}
	return err
}

// keepEffect notes what a call did outside, makes what it has reserved spent, and taints its caller with what the answer quotes.
func (g *Gate) keepEffect(tx *store.Tx, s *sending, result []byte) error {
	e := approvals.Effect{
		Effect:   tools.Effect{Tool: s.job.Tool, Resource: s.job.Resource, Summary: s.job.Summary, Why: "It was done outside of this gate"},
		Merchant: s.job.Merchant, PrincipalID: s.job.PrincipalID, CallID: s.job.CallID, JobID: s.job.JobID, Result: result,
		Level: s.call.risk.Level().String(),
	}
	if t := s.call.Tool; t != nil {
		e.Why, e.Changes = t.Undo, s.call.preview.Changes
	}
	if _, err := approvals.AddEffect(tx, e); err != nil {
		return err
	}
	if s.call.QuotesOutsider() {
		p := auth.Principal{ID: s.job.PrincipalID, Merchant: s.job.Merchant}
		if err := auth.SetTaint(tx, p, s.job.Tool, s.job.CallID); err != nil {
			return err
		}
	}
	return budget.Confirm(tx, s.job.Merchant, s.job.CallID)
}

// didNotHappen ends a job that has had no effect. Its approval is used up all the same.
func (g *Gate) didNotHappen(ctx context.Context, s *sending, r *tools.Refusal) error {
	g.logInternal(s.job.CallID, r.Code, r)
	return unlessLost(g.writeDown(ctx, func(tx *store.Tx) error {
		if err := approvals.Fail(tx, s.job, tools.JobRunning, r.Code, r.Message+" "+r.Next); err != nil {
			return err
		}
		return errors.Join(giveBack(tx, s.job), g.recordRun(tx, s.call, "failed", r))
	}))
}

// inDoubt is what the agent is told of a call of which nobody knows whether it happened.
const inDoubt = "Nobody knows whether it happened: the outside system's answer was lost. Do not send it again, for it may have been done. " +
	"A person decides what became of it; dtc_get_job will tell."

// doubt leaves a call to people, and to the outside system as long as it can be asked.
func (g *Gate) doubt(ctx context.Context, s *sending) error {
	return unlessLost(g.writeDown(ctx, func(tx *store.Tx) error {
		return approvals.Doubt(tx, s.job, inDoubt, s.handler().Probe != nil)
	}))
}

// writeDown commits what is known of a call. Nobody else knows it, so it tries for a while when the database cannot be reached.
func (g *Gate) writeDown(ctx context.Context, fn func(*store.Tx) error) (err error) {
	for range writeTries {
		err = g.work(ctx, fn)
		if !errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(writeAgain):
		}
	}
	return fmt.Errorf("writing down what came of a call: %w", err)
}

// unlessLost is err, but nil where another worker has the job by now.
func unlessLost(err error) error {
	if errors.Is(err, approvals.ErrLeaseLost) || errors.Is(err, approvals.ErrDecided) {
		return nil
	}
	return err
}
