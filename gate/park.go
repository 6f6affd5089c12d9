package gate

import (
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// park stores the call with the question to people and answers with the job to poll.
func (g *Gate) park(c *call) error {
	binding, err := bind(c)
	if err != nil {
		return err
	}
	args, err := commonOf(c.Args)
	if err != nil {
		return err
	}
	job := c.newJob()
	c.approval, err = approvals.Park(c.Tx, job, approvals.Request{
		Class: c.class, Rule: c.ask, Binding: binding, Preview: c.preview,
		AgentReason: args.why(), AskedBy: askedBy(c.Principal),
	})
	if err != nil {
		return fmt.Errorf("parking the call: %w", err)
	}
	r := c.approval
	return c.answer(tools.Result{
		Status: tools.PendingApproval, JobID: job.JobID, Poll: pollPath(job.JobID), Preview: &c.preview, Undo: c.Tool.Undo,
		Approval: r.Told(),
	}, fmt.Sprintf("Parked for people: nothing was done. It needs the approval of %s, by %s (fingerprint %s). Poll dtc_get_job with %s about every 30 s, or go on with other work.",
		r.Needs, r.ExpiresAt.Format(time.RFC3339), r.Fingerprint, job.JobID))
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
		Resource: c.Tool.ResourceOf(c.Args), Policy: c.PolicyVersion, Rule: c.rule, RunAfter: c.preview.RunAt,
	}
}

// bind names everything that decides what the call does, as it is now.
func bind(c *call) (approvals.Binding, error) {
	effect, err := approvals.EffectHash(c.preview)
	if err != nil {
		return approvals.Binding{}, err
	}
	return approvals.Binding{
		V: 1, Merchant: c.Principal.Merchant, Tool: c.Tool.Name, SchemaHash: c.Tool.Input.Hash, ArgsHash: c.argsHash,
		Chain: c.Principal.Chain(), PolicyVersion: c.PolicyVersion, PolicyRule: c.rule, Resource: c.Tool.ResourceOf(c.Args),
		ResourceVersion: c.preview.Version, EffectHash: effect, IdempotencyKey: c.key,
	}, nil
}
