package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A Reconciliation is what a person found out about a call of which nobody knew whether it happened, as a transport hands it over.
type Reconciliation struct {
	JobID   string
	Outcome tools.Known // Happened or DidNotHappen
	Reason  string      // how the person knows; it is needed
	Channel string      // rest, cli
	Source  string
	Wrong   *tools.Refusal // what the transport found wrong with it, so that it says nothing
}

// Reconcile ends an indeterminate job by what a person says became of it. It takes somebody who may decide about approvals and for whom the
// call was not made. Who says the same again is answered like the first time. Every error is a *tools.Refusal.
func (g *Gate) Reconcile(ctx context.Context, p auth.Principal, r Reconciliation) (tools.Job, error) {
	var j approvals.Job
	err := mayReconcile(p, r)
	if err == nil {
		err = g.db.InTx(ctx, func(tx *store.Tx) (err error) {
			j, err = g.reconcile(tx, p, r)
			return err
		})
	}
	if err != nil {
		return tools.Job{}, g.refusePerson(ctx, p, "job.refused", Ballot{ID: r.JobID, Channel: r.Channel, Source: r.Source}, err)
	}
	return j.Job, nil
}

func mayReconcile(p auth.Principal, r Reconciliation) error {
	if err := mayDecide(p); err != nil {
		return err
	}
	switch {
	case r.Wrong != nil:
		return r.Wrong
	case r.Outcome != tools.Happened && r.Outcome != tools.DidNotHappen:
		return tools.Wrong("outcome", "is no outcome", "one of: happened, did_not_happen", tools.Happened)
	case strings.TrimSpace(r.Reason) == "":
		return tools.Wrong("reason", "is missing", "how you know", "The provider's dashboard shows the refund")
	}
	return Ballot{Reason: r.Reason}.sayable()
}

func (g *Gate) reconcile(tx *store.Tx, p auth.Principal, r Reconciliation) (approvals.Job, error) {
	p, err := hold(tx, p)
	if err == nil {
		err = mayDecide(p)
	}
	if err != nil {
		return approvals.Job{}, err
	}
	j, x, err := holdSent(tx, p.Merchant, r.JobID)
	who := p.Chain()[0]
	f := approvals.Finding{Known: r.Outcome, By: who, Why: inWordsOf(p.Name, r), Reason: r.Reason, Channel: r.Channel}
	switch {
	case err != nil:
		return j, err
	case slices.Contains(j.Chain, who):
		return j, tools.Refuse(tools.ForbiddenApprover, "Somebody else has to look what became of it.", "The call was made for this person, who therefore has no say in it.")
	case x.DecidedBy == who && j.Status == f.Ends():
		return j, nil
	case j.Status != tools.JobIndeterminate:
		return j, tools.Refuse(tools.Conflict, "Nothing is left to decide; look at the job.", "What became of it is not in doubt: %s.", j.Status)
	}
	if err := g.settleFound(tx, g.sendingOf(j, x), f); err != nil {
		return j, err
	}
	return approvals.FindJob(tx, p.Merchant, j.JobID)
}

// holdSent gives a merchant's job, which the transaction holds from then on, with its execution. A job that was never sent has an empty one.
func holdSent(tx *store.Tx, merchant, id string) (j approvals.Job, x approvals.Execution, err error) {
	if _, ok := store.IDTime(id); !ok { // no text that PostgreSQL would refuse
		return j, x, store.ErrNotFound
	}
	if err = tx.Lock(`SELECT id FROM jobs WHERE merchant_id = $1 AND id = $2`, merchant, id); err != nil {
		return j, x, err
	}
	if j, err = approvals.FindJob(tx, merchant, id); err != nil {
		return j, x, err
	}
	x, err = approvals.FindExecution(tx, id)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return j, x, err
}

// inWordsOf is what the agent is told of a person's decision.
func inWordsOf(name string, r Reconciliation) string {
	if r.Outcome == tools.Happened {
		return fmt.Sprintf("%s found that it happened: %q.", name, r.Reason)
	}
	return fmt.Sprintf("%s found that it did not happen: %q. It may be asked again, with a new idempotency key.", name, r.Reason)
}

// found ends an indeterminate job by what is known of it now. When somebody was quicker it changes nothing.
func (g *Gate) found(ctx context.Context, s *sending, f approvals.Finding) error {
	return unlessLost(g.writeDown(ctx, func(tx *store.Tx) error { return g.settleFound(tx, s, f) }))
}

// settleFound writes down a finding with its effect, or gives back what the call has reserved.
func (g *Gate) settleFound(tx *store.Tx, s *sending, f approvals.Finding) error {
	if err := approvals.Reconcile(tx, s.job, f); err != nil {
		return err
	}
	if f.Known == tools.Happened {
		return g.keepEffect(tx, s, f.Result)
	}
	return giveBack(tx, s.job)
}

// probeNext asks the outside system about the next indeterminate job that is due, and reports whether there was one.
func (g *Gate) probeNext(ctx context.Context) (worked bool, err error) {
	var j approvals.Job
	var x approvals.Execution
	err = g.work(ctx, func(tx *store.Tx) error {
		j, x, worked, err = approvals.NextProbe(tx)
		return err
	})
	if err != nil || !worked {
		return false, err
	}
	return true, g.aside(j.JobID, func() error { return g.probeLater(ctx, g.sendingOf(j, x)) })
}

// probeLater asks the outside system about an indeterminate job. What has not happened is not sent: too much time has passed.
func (g *Gate) probeLater(ctx context.Context, s *sending) error {
	asking, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var f approvals.Finding
	var result any
	err := g.safely(s.job.CallID, func() (err error) {
		result, f.Known, err = g.ask(asking, s)
		return err
	})
	if err != nil {
		g.log.Warn().Str("job_id", s.job.JobID).Err(err).Msg("nobody can tell what became of a call")
		return nil
	}
	f.By = approvals.ByItself
	switch f.Known {
	case tools.Happened:
		if f.Result, err = json.Marshal(result); err != nil {
			g.log.Error().Str("job_id", s.job.JobID).Err(err).Msg("a result cannot be written")
		}
		f.Why = "The outside system tells that it happened."
	case tools.DidNotHappen:
		f.Why = "The outside system tells that it did not happen. It may be asked again, with a new idempotency key."
	default:
		return nil
	}
	return g.found(ctx, s, f)
}
