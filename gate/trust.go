package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// The signals that move the trust in agents are noted here, where the gate learns of them: a refusal and a denial in the transaction of their
// record, successes in memory (usage.go). None comes from an agent's own words.

// eventTrustMoved is the event of a score that came into another sandbox. Every single move stands in the score's history.
const eventTrustMoved = "trust.moved"

// trustRules gives the rules of the policy that is in force at a merchant, with its version. Where no policy can be read nobody is let in,
// and nothing moves.
func (g *Gate) trustRules(tx *store.Tx, merchant string) (trust.Rules, int64, error) {
	version, err := auth.PolicyVersion(tx, merchant)
	if err != nil {
		return trust.Rules{}, 0, err
	}
	p, err := g.policyAt(tx.Context(), tx, merchant, version)
	switch {
	case errors.Is(err, policy.ErrUnreadable):
		return trust.Rules{}, version, nil
	case err != nil:
		return trust.Rules{}, version, err
	}
	return p.Document.Trust, version, nil
}

// checkTrust reads what a stored call is judged by beside what was stored: the trust in its caller as it is now, and whether it is tainted.
// One that comes from a transport has it from its standing.
func (g *Gate) checkTrust(_ context.Context, c *call) error {
	if source := c.policy.TrustSource(); source != nil && c.said == nil {
		return &unasked{job: c.job, agent: c.facts.Agent, source: source}
	}
	c.askAhead()
	return c.learn()
}

// askOutside asks the outside source of trust about the caller, if the policy has one. It comes before the transaction of the call: a database
// that waited for somebody outside would stand still with it.
func (c *call) askOutside(ctx context.Context) {
	if source := c.policy.TrustSource(); source != nil {
		c.said = source.Ask(ctx, c.facts.Agent)
	}
}

// unasked ends the transaction of a stored call about whose caller the outside source of trust is to be asked first.
type unasked struct {
	job, agent string
	source     *trust.Remote
}

func (u *unasked) Error() string { return "an outside source of trust is to be asked about " + u.agent }

// answered is what the source said for one job.
type answered struct {
	job string
	*trust.Asked
}

func (u *unasked) ask(ctx context.Context) *answered {
	return &answered{u.job, u.source.Ask(ctx, u.agent)}
}

// signal moves the trust in an agent, in the transaction that records why. "" is nobody.
func (g *Gate) signal(tx *store.Tx, merchant, agent string, s trust.Signal) error {
	if agent == "" {
		return nil
	}
	rules, version, err := g.trustRules(tx, merchant)
	if err != nil {
		return err
	}
	c, err := trust.Move(tx, rules, merchant, agent, s)
	if err != nil {
		return err
	}
	return recordMove(tx, rules, audit.Entry{Merchant: merchant, Resource: agentNamed(agent), CallID: s.CallID, PolicyVersion: version}, s.Kind, c)
}

// recordMove records a change that took an agent into another sandbox: from there on it may call more, or less.
func recordMove(tx *store.Tx, r trust.Rules, e audit.Entry, kind trust.Kind, c trust.Change) error {
	from, to := r.Sandbox(c.Before).Level, r.Sandbox(c.After).Level
	if from == to {
		return nil
	}
	e.Event, e.Actor, e.Chain, e.Status = eventTrustMoved, byItself, []string{byItself}, string(tools.Done)
	e.Reason = became([]part{{"sandbox", string(from), string(to)}, {"trust", c.Before.String(), c.After.String()}}) + "; by: " + string(kind)
	_, err := audit.Append(tx, e)
	return err
}

// byItself is the actor of what nobody did.
const byItself = "gate"

// agentNamed names an agent as a chain and the record do.
func agentNamed(id string) string {
	kind, _, _ := strings.Cut(id, "_")
	return kind + ":" + id
}

// agentOf gives the agent at the root of a stored chain.
func agentOf(chain []string) string {
	for _, name := range slices.Backward(chain) {
		if kind, id, _ := strings.Cut(name, ":"); kind == "key" || kind == "jwt" {
			return id
		}
	}
	return ""
}

// denied notes that a person has denied a call.
func (g *Gate) denied(tx *store.Tx, r approvals.Request, v approvals.Vote) error {
	if v.Decision != approvals.Deny {
		return nil
	}
	j, err := approvals.FindJob(tx, r.Merchant, r.JobID)
	if err != nil {
		return err
	}
	return g.signal(tx, r.Merchant, agentOf(j.Chain), trust.Signal{Kind: trust.Denial, CallID: j.CallID, By: "person:" + v.PersonID})
}

// earned counts a call that was carried out, once that is certain. A rehearsal, a repeat and a call that waits are none.
func (g *Gate) earned(c *call) {
	if c != nil && c.out.Status == tools.Done && !c.out.Replayed {
		g.used.succeeded(c.Principal)
	}
}

// writeSuccesses writes down how often an agent's calls succeeded since the last time.
func (g *Gate) writeSuccesses(tx *store.Tx, p principal, n int64) error {
	if n == 0 {
		return nil
	}
	rules, version, err := g.trustRules(tx, p.merchant)
	if err != nil {
		return err
	}
	c, err := trust.Succeeded(tx, rules, p.merchant, p.id, n)
	if err != nil {
		return fmt.Errorf("counting successes: %w", err)
	}
	return recordMove(tx, rules, audit.Entry{Merchant: p.merchant, Resource: agentNamed(p.id), PolicyVersion: version}, trust.Success, c)
}
