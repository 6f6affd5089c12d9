package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// stepChecks are asked before every step of a running job, so that what is taken from its key in between takes hold.
var stepChecks = slices.Concat(nameChecks, toolChecks, []check{{"bytes", (*Gate).checkBytes}}, objectChecks, []check{
	{"action", (*Gate).checkAction},
	{"needs", (*Gate).checkNeeds},
})

// resumeChecks are asked of a stored call when its time has come. They are all the checks again, on facts read now, and
// what was bound: since the call was approved everything may only have become stricter.
var resumeChecks = slices.Concat(stepChecks, []check{
	{"trust", (*Gate).checkTrust},
	{"calls", (*Gate).checkCalls},
	callsHeld, callsJudge,
	{"effect", (*Gate).checkEffect},
}, effectChecks, []check{
	{"approval", (*Gate).checkApproval},
	{"binding", (*Gate).checkBinding},
	{"budgets", (*Gate).checkBudgets},
})

// Resume carries out the next stored call that is due, and reports whether there was one. An error means that the
// database could not be asked; the call waits for another turn.
func (g *Gate) Resume(ctx context.Context, worker string) (worked bool, err error) {
	due, probe, err := g.due(ctx)
	switch {
	case err != nil:
		return false, err
	case !due && probe:
		return g.probeNext(ctx)
	case !due:
		return false, nil
	}
	worked, err = g.resume(ctx, worker, nil)
	if un := (*unasked)(nil); errors.As(err, &un) {
		worked, err = g.resume(ctx, worker, un.ask(ctx))
		if errors.As(err, &un) {
			return true, nil // another job came first this time; its turn begins anew
		}
	}
	return worked, err
}

// resume is Resume with what an outside source has said about the caller of one job, before the transaction.
func (g *Gate) resume(ctx context.Context, worker string, said *answered) (worked bool, err error) {
	var j approvals.Job
	var c *call
	g.load.busy.Add(1)
	defer g.load.busy.Add(-1)
	ctx, span := g.spans.Work(ctx, "gate.resume")
	defer func() { describeJob(span, j, err) }()
	err = g.work(ctx, func(tx *store.Tx) error {
		j, worked, err = approvals.Claim(tx, worker)
		if err != nil || !worked || j.Status == tools.JobRunning || j.Tool == publishTool {
			return err
		}
		// The job's row is held by now, and whoever holds the rights may wait for it (a vote, a cancel): so this does not wait.
		if worked, err = auth.TryHold(tx, j.Merchant); err != nil || !worked {
			return err
		}
		return g.safely(j.CallID, func() error {
			c, err = g.begin(tx, j, worker, said)
			store.Reach(store.JobClaimed)
			return err
		})
	})
	switch un := (*unasked)(nil); {
	case !worked:
		return false, err
	case errors.As(err, &un):
		return true, un
	case outOfReach(err):
		return true, errors.Join(err, g.work(ctx, func(tx *store.Tx) error { return approvals.Postpone(tx, j) }))
	case err != nil:
		return true, g.end(ctx, j, c, err)
	case j.Tool == publishTool:
		return true, g.publishApproved(ctx, j)
	case j.Tool == grantTool:
		return true, nil
	}
	switch j.Owner = worker; {
	case j.Status == tools.JobRunning:
		return true, g.takeUp(ctx, j)
	case c != nil && c.Tool.Handler().Outside():
		return true, g.sendFirst(ctx, c, j)
	case c != nil && c.Tool.Handler().Step != nil:
		return true, g.steps(ctx, j, worker)
	}
	g.earned(c)
	return true, nil
}

// due looks for work without taking part in the writing: a job, or else an outside system to ask.
func (g *Gate) due(ctx context.Context) (job, probe bool, err error) {
	err = g.db.Read(ctx, func(tx *store.Tx) (err error) {
		if job, err = approvals.Due(tx); err == nil && !job {
			probe, err = approvals.ProbeDue(tx)
		}
		return err
	})
	return job, probe, err
}

// lastStep is how long a transaction that has begun may go on when the process is told to end.
const lastStep = time.Second

// work is InTx for what a worker has begun: an end of ctx does not undo it, unless it takes longer than lastStep from then.
func (g *Gate) work(ctx context.Context, fn func(*store.Tx) error) error {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastStep, cancel) })()
	return g.db.InTx(longer, fn)
}

// begin judges a queued job again, uses up its approval and runs it: a write at once, a stepped write by starting it.
// An error rolls all of it back, and end says what became of the job.
func (g *Gate) begin(tx *store.Tx, j approvals.Job, worker string, said *answered) (*call, error) {
	c, err := g.rebuild(tx, j)
	if err != nil {
		return nil, err
	}
	if said != nil && said.job == j.JobID {
		c.said = said.Asked
	}
	if c.approval.Overdue(tx.Now) {
		j, lapsed, err := approvals.Lapse(tx, c.approval)
		if err != nil || !lapsed {
			return nil, err
		}
		return nil, giveBack(tx, j)
	}
	if j.Tool == grantTool {
		return c, g.enact(tx, c, j)
	}
	if halted, err := c.halted(tx, j); halted {
		return nil, err
	}
	if err := g.judgeTx(c, resumeChecks); err != nil {
		return c, err
	}
	if j.ApprovalID != "" {
		if err := approvals.Consume(tx, j, c.approval); err != nil {
			return c, fmt.Errorf("using the approval: %w", err)
		}
	}
	c.consumed = true
	switch h := c.Tool.Handler(); {
	case h.Outside():
		return c, g.intend(tx, c, j, worker)
	case h.Step != nil:
		return c, approvals.Start(tx, j, worker)
	}
	return c, g.finish(tx, c, j)
}

// finish runs a write that was waiting and ends its job, in the transaction of the effect.
func (g *Gate) finish(tx *store.Tx, c *call, j approvals.Job) error {
	if err := g.safely(c.ID, func() error { return g.run(c) }); err != nil {
		return err // of a call that began: it failed, and was not invalidated
	}
	var r tools.Result
	if err := json.Unmarshal(c.out.Body, &r); err != nil {
		return fmt.Errorf("reading the result: %w", err)
	}
	if err := approvals.Succeed(tx, j, tools.JobQueued, r.Result); err != nil {
		return err
	}
	return g.recordRun(tx, c, string(tools.Done), nil)
}

// end closes a queued job that was refused when its time came, or whose effect was, in a transaction of its own: what
// begin did is rolled back. c is nil when not even the call could be made again.
func (g *Gate) end(ctx context.Context, j approvals.Job, c *call, cause error) error {
	r := asRefusal(cause)
	g.logInternal(j.CallID, r.Code, cause)
	if c == nil {
		c = g.stored(j, asker(j))
	}
	err := g.work(ctx, func(tx *store.Tx) error {
		if c.consumed {
			return g.fail(tx, c, j, r)
		}
		why := fmt.Sprintf("It may not run any more: %s (%s) It may be asked again.", r.Message, r.Code)
		if err := approvals.Invalidate(tx, j, r.Code, why, c.kept(r)...); err != nil {
			return err
		}
		return errors.Join(giveBack(tx, j), g.recordRun(tx, c, "refused", r))
	})
	if errors.Is(err, approvals.ErrDecided) || errors.Is(err, approvals.ErrLeaseLost) {
		return nil // another worker, or the caller, ended it between the two transactions
	}
	return err
}

// fail ends a queued job whose effect was refused. Its approval is used up.
//
// The job goes first: another worker may hold it by now and want its approval, and two that took the two rows in different
// orders would wait for each other.
func (g *Gate) fail(tx *store.Tx, c *call, j approvals.Job, r *tools.Refusal) error {
	if err := approvals.Fail(tx, j, tools.JobQueued, r.Code, r.Message+" "+r.Next); err != nil {
		return err
	}
	if j.ApprovalID != "" {
		if err := approvals.Consume(tx, j, c.approval); err != nil {
			return err
		}
	}
	return errors.Join(giveBack(tx, j), g.recordRun(tx, c, "failed", r))
}

// recordRun appends the entry of a stored call that was carried out or refused when its time came.
func (g *Gate) recordRun(tx *store.Tx, c *call, status string, r *tools.Refusal) error {
	e := g.entry(c, policy.EventResumed, status)
	var code tools.Code
	if r != nil {
		code, e.Code, e.Reason = r.Code, string(r.Code), r.Message
	}
	if _, err := audit.Append(tx, e); err != nil {
		return err
	}
	return g.shadow(tx, c, policy.EventResumed, status, code)
}

// outOfReach reports whether an error is about the database or the process and not about the call.
func outOfReach(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, approvals.ErrLeaseLost) || errors.Is(err, approvals.ErrDecided)
}

// rebuild makes the call of a stored job: its stored bytes, and its principal as it is now and stays until the transaction
// ends. Whoever revokes a link of it afterwards waits, and whoever was first is seen here.
func (g *Gate) rebuild(tx *store.Tx, j approvals.Job) (*call, error) {
	p, err := auth.HoldLive(tx, j.Merchant, j.PrincipalID)
	if errors.Is(err, auth.ErrUnknownCredential) {
		return nil, tools.Refuse(tools.Unauthorized, "Mint another key and ask again.", "The key that asked for it, or one it stands under, is revoked or has expired.")
	}
	if err != nil {
		return nil, err
	}
	c := g.stored(j, p)
	c.Tx = tx
	if j.ApprovalID != "" {
		c.approval, err = approvals.Find(tx, j.Merchant, j.ApprovalID)
	}
	return c, err
}

// asker is who asked for a job, without any right.
func asker(j approvals.Job) auth.Principal {
	return auth.Principal{Kind: auth.KindKey, ID: j.PrincipalID, Merchant: j.Merchant, Asked: j.Chain, PolicyVersion: j.Policy}
}

// stored is the call of a job, made by p.
func (g *Gate) stored(j approvals.Job, p auth.Principal) *call {
	c := g.newCall(p, Request{Tool: j.Tool, Transport: j.Transport, IdempotencyKey: j.Idempotency})
	c.ID, c.Args, c.job, c.argsHash = j.CallID, j.Args, j.JobID, schemas.Fingerprint(j.Args)
	if c.Tool, _ = g.tools.Find(j.Tool); c.Tool != nil {
		c.class = c.Tool.Class
	}
	c.Resumed = true
	c.stored, c.approval.ID = &j, j.ApprovalID
	return c
}

// checkBytes holds the stored arguments to the hash and the schema under which they were accepted.
func (g *Gate) checkBytes(_ context.Context, c *call) error {
	if c.stored.ArgsHash != c.argsHash || c.stored.SchemaHash != c.Tool.Input.Hash {
		return tools.Refuse(tools.ApprovalInvalidated, "Ask again.", "The arguments or the tool are not those that were accepted.")
	}
	return nil
}

// steps carries a running job to its end, one transaction a step. It stops where the lease is lost, the caller asked it
// to stop, or the key is no longer good.
func (g *Gate) steps(ctx context.Context, j approvals.Job, worker string) error {
	store.Reach(store.JobBegun)
	for ctx.Err() == nil {
		done, err := g.step(ctx, j.JobID, worker)
		store.Reach(store.Stepped)
		switch {
		case errors.Is(err, approvals.ErrLeaseLost):
			return nil
		case err != nil && !outOfReach(err):
			return g.stepFailed(ctx, j, err)
		case err != nil || done:
			return err
		}
	}
	err := g.work(ctx, func(tx *store.Tx) error {
		j.Owner = worker
		return approvals.Yield(tx, j, 0)
	})
	if outOfReach(err) {
		return nil // the lease runs out and another worker goes on
	}
	return err
}

func (g *Gate) step(ctx context.Context, id, worker string) (done bool, err error) {
	var c *call
	err = g.work(ctx, func(tx *store.Tx) error {
		j, err := approvals.Hold(tx, id, worker)
		if err != nil {
			return err
		}
		c, err = g.rebuild(tx, j)
		if r := (*tools.Refusal)(nil); errors.As(err, &r) {
			done = true
			return g.stop(tx, j, string(r.Code), r.Message)
		}
		if err == nil {
			err = g.judgeTx(c, stepChecks)
		}
		if err != nil {
			return err
		}
		if j.StopAsked {
			done = true
			return g.stop(tx, j, "cancelled", "The caller stopped it.")
		}
		if done, err = c.halted(tx, j); !done {
			done, err = g.stepOnce(tx, c, j, worker)
		}
		return err
	})
	if err == nil {
		g.earned(c)
	}
	return done, err
}

func (g *Gate) stepOnce(tx *store.Tx, c *call, j approvals.Job, worker string) (done bool, err error) {
	if len(j.Checkpoint) == 0 { // what is done from here on stands
		if err := budget.Confirm(tx, j.Merchant, j.CallID); err != nil {
			return false, err
		}
	}
	p := tools.Progress{Checkpoint: json.RawMessage(j.Checkpoint), Percent: j.ProgressPercent}
	var result any
	var image json.RawMessage
	err = g.safely(c.ID, func() error {
		if image, err = keep(c); err != nil {
			return err
		}
		result, err = c.Tool.Handler().Step(&c.Call, &p)
		return err
	})
	if err != nil {
		return false, err
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return false, fmt.Errorf("writing the result: %w", err)
	}
	if !p.Done {
		return p.Stop != "", g.advance(tx, j, worker, p, raw)
	}
	c.preview.Summary = j.Summary
	if err := g.done(c, &tools.Result{Result: raw}, image); err != nil {
		return false, err
	}
	if err := approvals.Succeed(tx, j, tools.JobRunning, raw); err != nil {
		return false, err
	}
	c.out.Status = tools.Done
	return true, g.recordRun(tx, c, string(tools.Done), nil)
}

// advance keeps what a step did, and ends the job when the step found that no other is to follow.
func (g *Gate) advance(tx *store.Tx, j approvals.Job, worker string, p tools.Progress, result []byte) error {
	if err := approvals.Advance(tx, j, worker, p, result); err != nil || p.Stop == "" {
		return err
	}
	return g.stop(tx, j, p.Stop, p.Note)
}

// stepFailed ends a running job whose step cannot be done. The steps before it stand.
func (g *Gate) stepFailed(ctx context.Context, j approvals.Job, cause error) error {
	r := asRefusal(cause)
	g.logInternal(j.CallID, r.Code, cause)
	fail := func(tx *store.Tx) error {
		return approvals.Fail(tx, j, tools.JobRunning, r.Code, r.Message+" What was done until then stands.")
	}
	err := g.work(ctx, func(tx *store.Tx) error { return errors.Join(giveBack(tx, j), g.settle(tx, j), fail(tx)) })
	if err == nil || outOfReach(err) {
		return err
	}
	g.logInternal(j.CallID, tools.Internal, err) // a job whose tool cannot settle it ends all the same
	return g.work(ctx, func(tx *store.Tx) error { return errors.Join(giveBack(tx, j), fail(tx)) })
}

// stop ends a running job between two steps.
func (g *Gate) stop(tx *store.Tx, j approvals.Job, reason, why string) error {
	if err := errors.Join(giveBack(tx, j), g.settle(tx, j)); err != nil {
		return err
	}
	return approvals.Stop(tx, j, reason, why)
}

// settle lets the tool put in order what the steps of a job have left, in the transaction that ends the job. It needs no
// right: the asker's key may be the reason why the job ends.
func (g *Gate) settle(tx *store.Tx, j approvals.Job) error {
	t, ok := g.tools.Find(j.Tool)
	if !ok {
		return nil
	}
	j, err := approvals.FindJob(tx, j.Merchant, j.JobID) // with the last step's checkpoint
	if err == nil && len(j.Checkpoint) > 0 {
		_, err = approvals.AddEffect(tx, approvals.Effect{
			Effect:   tools.Effect{Tool: t.Name, Resource: j.Resource, Summary: j.Summary + " (in part)", Why: t.Undo},
			Merchant: j.Merchant, PrincipalID: j.PrincipalID, CallID: j.CallID, JobID: j.JobID, Level: t.Risk.Level().String(),
		})
	}
	if err != nil || t.Handler().Stopped == nil {
		return err
	}
	c := g.newCall(asker(j), Request{Tool: j.Tool})
	c.ID, c.Tool, c.Tx, c.Args = j.CallID, t, tx, j.Args
	p := tools.Progress{Checkpoint: json.RawMessage(j.Checkpoint), Percent: j.ProgressPercent}
	return g.safely(c.ID, func() error { return t.Handler().Stopped(&c.Call, p) })
}
