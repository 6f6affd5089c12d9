package gate

import (
	"context"
	"encoding/json"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/approvals/claims"
	"github.com/dtcgate/dtcgate/tools"
)

// checkAsked holds a call that has to wait for people to what they were asked before: what they denied lately is not asked again, what they
// are being asked waits for the same answer, and of everything else an agent has so many questions open. All of one agent's questions come
// one after the other here.
func (g *Gate) checkAsked(_ context.Context, c *call) error {
	if !c.parked {
		return nil
	}
	if err := c.put(); err != nil {
		return err
	}
	merchant, agent := c.Principal.Merchant, c.question.AgentID
	if !c.planned {
		if err := approvals.AskAlone(c.Tx, merchant, agent); err != nil {
			return err
		}
	}
	r, found, err := approvals.Asked(c.Tx, merchant, c.question.Question)
	if err != nil || found {
		return c.before(r, err)
	}
	open, err := approvals.Open(c.Tx, merchant, agent)
	if most := c.policy.OpenRequests(c.facts.Profile); err == nil && open >= most {
		err = tools.Refuse(tools.LimitExceeded, "Wait for those, cancel some with dtc_cancel_job, or ask for several things in one call.",
			"%d requests of this agent wait for people, and it may have %d open.", open, most)
	}
	return err
}

// put makes the question to people: what the server itself reads for them, the binding, and the hash by which the same is known again.
func (c *call) put() (err error) {
	c.question = &approvals.Request{AgentID: c.Principal.Root().ID}
	if c.question.Facts, err = c.tellFacts(); err != nil {
		return err
	}
	if c.question.Binding, err = bind(c, c.question.Facts); err != nil {
		return err
	}
	c.question.Question, err = approvals.QuestionHash(c.question.AgentID, c.Args, c.question.Binding, c.preview)
	return err
}

// before is what a question comes to that was asked before.
func (c *call) before(r approvals.Request, err error) error {
	if err != nil {
		return err
	}
	if r.State == approvals.Rejected {
		refusal := tools.Refuse(tools.ApprovalDenied, "Do not retry the same request. Change what was objected to, which dtc_get_job tells with "+r.JobID+", or leave it.",
			"People denied this less than %d h ago.", int(approvals.DeniedFor.Hours()))
		return refusal
	}
	j, err := approvals.FindJob(c.Tx, r.Merchant, r.JobID)
	if err == nil && j.PrincipalID != c.Principal.ID {
		err = tools.Refuse(tools.Conflict, "Wait until people have decided.", "Another credential of the same agent asks people for the same already.")
	}
	c.approval = r
	return err
}

// knownOf is the record that the agent's reason is held to.
func (c *call) knownOf(q approvals.Request) claims.Record {
	return claims.Record{Args: json.RawMessage(c.Args), Preview: q.Preview, Resource: q.Binding.Resource, Facts: q.Facts}
}
