package gate

import (
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/approvals/claims"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// park stores the call with the question to people and answers with the job to poll. A question that waits already is not asked twice.
func (g *Gate) park(c *call) error {
	if c.approval.ID != "" {
		c.job = c.approval.JobID
		return c.waits(c.approval, "The same waits for people already: nothing was done, and nobody was asked again.")
	}
	args, err := commonOf(c.Args)
	if err != nil {
		return err
	}
	job := c.newJob()
	q := *c.question
	q.Class, q.Rule, q.Preview, q.AgentReason, q.AskedBy = c.class, c.ask, c.preview, args.why(), askedBy(c.Principal)
	q.Claims = claims.Check(q.AgentReason, c.knownOf(q))
	if c.approval, err = approvals.Park(c.Tx, job, q); err != nil {
		return fmt.Errorf("parking the call: %w", err)
	}
	return c.waits(c.approval, "Parked for people: nothing was done.")
}

// waits answers with the request that the call waits for.
func (c *call) waits(r approvals.Request, how string) error {
	return c.answer(tools.Result{
		Status: tools.PendingApproval, JobID: r.JobID, Poll: pollPath(r.JobID), Preview: &r.Preview, Undo: c.Tool.Undo, Approval: r.Told(),
	}, fmt.Sprintf("%s It needs the approval of %s, by %s (fingerprint %s). Poll dtc_get_job with %s about every 30 s, or go on with other work.",
		how, r.Needs, r.ExpiresAt.Format(time.RFC3339), r.Fingerprint, r.JobID))
}

// enqueue stores a call that takes many steps for a worker.
func (g *Gate) enqueue(c *call) error {
	job := c.newJob()
	if err := approvals.Enqueue(c.Tx, job); err != nil {
		return fmt.Errorf("queueing the call: %w", err)
	}
	return c.answer(tools.Result{
		Status: tools.Queued, JobID: job.JobID, Poll: pollPath(job.JobID), Preview: &c.preview, Undo: c.Tool.Undo,
	}, fmt.Sprintf("Queued: %s. Poll dtc_get_job with %s.", strings.TrimSuffix(c.preview.Summary, "."), job.JobID))
}

func pollPath(job string) string { return tools.BasePath + "/jobs/" + job }

func (c *call) newJob() approvals.Job {
	c.job = store.NewID("job", c.Now)
	return approvals.Job{
		Job:      tools.Job{JobID: c.job, Tool: c.Tool.Name, Summary: c.preview.Summary},
		Merchant: c.Principal.Merchant, CallID: c.ID, PrincipalID: c.Principal.ID, Chain: c.Principal.Chain(), Transport: c.req.Transport,
		SchemaHash: c.Tool.Input.Hash, Args: c.Args, ArgsHash: c.argsHash, Idempotency: c.key,
		Resource: c.resource(), Policy: c.PolicyVersion, Rule: c.rule, RunAfter: c.preview.RunAt,
	}
}

// bind names everything that decides what the call does, as it is now.
func bind(c *call, facts []tools.Fact) (approvals.Binding, error) {
	effect, err := approvals.EffectHash(c.preview, facts)
	if err != nil {
		return approvals.Binding{}, err
	}
	return approvals.Binding{
		V: 1, Merchant: c.Principal.Merchant, Tool: c.Tool.Name, SchemaHash: c.Tool.Input.Hash, ArgsHash: c.argsHash,
		Chain: c.Principal.Chain(), PolicyVersion: c.PolicyVersion, PolicyRule: c.rule, Resource: c.resource(),
		ResourceVersion: c.preview.Version, EffectHash: effect, IdempotencyKey: c.key,
	}, nil
}
