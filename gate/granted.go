package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// enact puts a grant in force that people have agreed to, in the transaction that uses up their agreement.
func (g *Gate) enact(tx *store.Tx, c *call, j approvals.Job) error {
	r := c.approval
	if err := mayDecide(c.Principal); err != nil {
		return tools.Refuse(tools.ApprovalInvalidated, "Somebody who may decide about such calls asks for it.", "Who asked for it may not do so any more.")
	}
	if !r.Intact() || r.Binding.ArgsHash != j.ArgsHash || j.ArgsHash != schemas.Fingerprint(j.Args) {
		return altered()
	}
	grant, err := approvals.NewGrant(templateOf(j))
	if err != nil {
		return err
	}
	t := grant.Template
	tool, known := g.tools.Find(t.Tool)
	if !known || !g.oneStep(tool) || !tx.Now.Before(t.Until) {
		return tools.Refuse(tools.ApprovalInvalidated, "Ask again.", "Its time is over, or there is no such tool any more.")
	}
	if err := agreed(tx, r); err != nil {
		return err
	}
	live, err := approvals.Granted(tx, t.Merchant, t.Agent)
	if err == nil && len(live) >= approvals.MaxGrants {
		err = tooManyGrants()
	}
	if err != nil {
		return err
	}
	grant.Approval, grant.MadeBy, grant.Resource = r.ID, j.Chain[0], j.Resource
	if grant, err = approvals.AddGrant(tx, grant); err != nil {
		return err
	}
	result, err := json.Marshal(grant)
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return errors.Join(approvals.Consume(tx, j, r), approvals.Succeed(tx, j, tools.JobQueued, result))
}

// templateOf reads the template of a question. One that cannot be read is empty, and is no grant.
func templateOf(j approvals.Job) (t approvals.Template) {
	_ = json.Unmarshal(j.Args, &t)
	return t
}

// granted lets a call that would wait for people run under a standing grant that it fits, and uses that up in the call's transaction. Only the
// asking is replaced: every other check judges the call as it does any. A call that was asked about once is left to those who were asked.
func (g *Gate) granted(c *call) error {
	if !c.parked || !c.ask.Grants || c.batch != nil || c.Resumed || !g.oneStep(c.Tool) || !c.preview.RunAt.IsZero() || !c.awake() {
		return nil
	}
	takes, known := c.reckon()
	if !known {
		return nil
	}
	live, err := approvals.LiveGrants(c.Tx, c.Principal.Merchant, c.facts.Agent, c.Tool.Name)
	if err != nil {
		return fmt.Errorf("looking for grants: %w", err)
	}
	for _, one := range live {
		used, err := c.uses(one, takes)
		if err != nil {
			return err
		}
		if used {
			c.grant, c.parked, c.rule = one, false, policy.RuleGrant+one.ID
			return nil
		}
	}
	return nil
}

// awake reports whether the call may run at this hour. One that waits for people is asked that when they have agreed.
func (c *call) awake() bool {
	f := c.facts
	f.Resumed = true
	return c.policy.Awake(&f) == nil
}

// uses takes one use of a grant for the call, if it fits. A call that is only judged takes nothing.
func (c *call) uses(one approvals.Grant, takes approvals.Amounts) (bool, error) {
	t := one.Template
	if one.State != approvals.GrantLive || t.SchemaHash != c.schema() || !takes.Within(t.Each) || !t.Fits(c.Args) {
		return false, nil
	}
	if asked, err := c.askedBefore(); err != nil || asked {
		return false, err
	}
	if ok, err := c.agreedTo(one); err != nil || !ok {
		return false, err
	}
	if c.planned {
		return one.Leaves(takes), nil
	}
	return one.Take(c.Tx, takes)
}

// askedBefore reports whether people are being asked about this very call, or have denied it lately: then their answer counts, and no other.
func (c *call) askedBefore() (bool, error) {
	if err := c.put(); err != nil {
		return false, err
	}
	_, found, err := approvals.Asked(c.Tx, c.Principal.Merchant, c.question.Question)
	return found, err
}

// agreedTo asks whether those who agreed to a grant may still do so, and are enough: for what they were asked, and for what the policy in force,
// and what it looks at, ask of this call and of all calls of the grant as one. Nobody of this call's chain counts where they would not for a call.
func (c *call) agreedTo(one approvals.Grant) (bool, error) {
	r, err := approvals.Find(c.Tx, c.Principal.Merchant, one.Approval)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if r.State != approvals.Consumed || !r.Intact() || r.Binding.ArgsHash != schemas.Fingerprint(one.Text) {
		return false, nil
	}
	rules := []approvals.Rule{r.Rule, c.ask}
	for _, a := range []approvals.Amounts{one.Template.Each, one.Template.Total} {
		rule, parks := c.ruleAt(a)
		if parks && !rule.Grants {
			return false, nil
		}
		if parks {
			rules = append(rules, rule)
		}
	}
	r.Binding.Chain = slices.Concat(r.Binding.Chain[:1], c.Principal.Chain())
	satisfied := approvals.Satisfied
	if c.planned {
		satisfied = approvals.Would
	}
	for _, rule := range rules {
		if ok, err := satisfied(c.Tx, r, rule); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// Grants lists standing grants for a person, newest first.
func (g *Gate) Grants(ctx context.Context, p auth.Principal, all bool) ([]approvals.Grant, error) {
	return look(ctx, g, p, "", func(tx *store.Tx) ([]approvals.Grant, error) { return approvals.Grants(tx, p.Merchant, all, listMax) })
}

// Grant gives one standing grant, for a person.
func (g *Gate) Grant(ctx context.Context, p auth.Principal, id string) (approvals.Grant, error) {
	return look(ctx, g, p, id, func(tx *store.Tx) (approvals.Grant, error) { return approvals.FindGrant(tx, p.Merchant, id) })
}

// RevokeGrant ends a standing grant for good, for anybody who may decide about calls or administers keys. Once it is acknowledged nothing commits
// under the grant any more. Every error is a *tools.Refusal.
func (g *Gate) RevokeGrant(ctx context.Context, by By, id, why string) (found approvals.Grant, err error) {
	err = g.db.InTx(ctx, func(tx *store.Tx) error {
		p, err := mayRevoke(tx, by, why)
		if err != nil {
			return err
		}
		if found, err = approvals.FindGrant(tx, p.Merchant, id); err != nil {
			return err
		}
		err = found.Revoke(tx, p.Chain()[0], why)
		if errors.Is(err, approvals.ErrRevoked) {
			return nil // it is what was wanted
		}
		if err == nil {
			found, err = approvals.FindGrant(tx, p.Merchant, id)
		}
		return err
	})
	if err != nil {
		return approvals.Grant{}, g.refusePerson(ctx, by.Principal, "grant.revoke.refused", Ballot{ID: id, Channel: by.Transport, Source: by.Source}, err)
	}
	return found, nil
}

// mayRevoke gives who revokes a grant as they are now, if they may.
func mayRevoke(tx *store.Tx, by By, why string) (auth.Principal, error) {
	p, err := hold(tx, by.Principal)
	if err != nil {
		return p, err
	}
	if by.Wrong != nil {
		return p, by.Wrong
	}
	if err := (Ballot{Reason: why}).sayable(); err != nil {
		return p, err
	}
	if p.Kind == auth.KindOperator || p.Has(auth.KeysAdmin) && !p.Agent() {
		return p, nil
	}
	return p, mayDecide(p)
}

// held tells the caller what its agent was granted.
func (c *call) held() ([]tools.Granted, error) {
	live, err := approvals.Granted(c.Tx, c.Principal.Merchant, c.facts.Agent)
	var all []tools.Granted
	for _, one := range live {
		if t := one.Template; one.State == approvals.GrantLive {
			left := fmt.Sprintf("%d of %d calls; used %s of %s, and up to %s a call", t.Count-one.Uses, t.Count, one.Used, t.Total, t.Each)
			all = append(all, tools.Granted{GrantID: one.ID, Tool: t.Tool, Arguments: t.Lines(), Left: left, Until: t.Until})
		}
	}
	return all, err
}

// noteUse names in a call's entry the grant that it ran under, or the batch.
func (c *call) noteUse(e *audit.Entry) {
	if c.batch != nil {
		e.Reason = "in the batch " + c.batch.ID
	}
	if c.grant.ID != "" {
		e.ApprovalID, e.Binding, e.Reason = c.grant.Approval, c.grant.Hash, "in place of "+c.ask.Name
	}
}
