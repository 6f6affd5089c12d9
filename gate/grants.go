package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// grantTool stands where the job of a question about a standing grant names its tool. No agent can call it: it is in no registry.
const grantTool = "standing_grant"

// A GrantWish is what somebody wants people to agree to beforehand: calls like one that was asked about.
type GrantWish struct {
	From   string                     // the request, or its job, whose call the others are like
	Count  int64                      // of calls at most
	Each   *approvals.Amounts         // of one call at most; nil: what that call would do, or more where a bound says so
	Total  *approvals.Amounts         // of all together at most; nil: Count times Each
	Until  time.Time                  // the first moment after it
	Bounds map[string]approvals.Bound // of arguments; of those that it does not name every call has the value of that one
	Note   string                     // why, for those who decide
}

// A GrantAsked is the question that a wish became.
type GrantAsked struct {
	Status      tools.Status       `json:"status"`
	JobID       string             `json:"job_id"`
	Approval    *tools.Approval    `json:"approval"`
	Preview     tools.Preview      `json:"preview"`
	Template    approvals.Template `json:"template"`
	Hash        string             `json:"sha256"` // that will seal the template
	Fingerprint string             `json:"fingerprint"`
}

// AskForGrant asks people to agree to calls beforehand, for a person who may decide about such calls, and who has no say in this. It takes as much
// consent as one call at the bounds would, and as all of them as one call. Every error is a *tools.Refusal.
func (g *Gate) AskForGrant(ctx context.Context, by By, w GrantWish) (GrantAsked, error) {
	op := Op{Event: "grant.asked", Scope: auth.ApprovalsResolve, Recent: true}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (GrantAsked, audit.Entry, error) {
		w.Until = w.Until.UTC().Truncate(time.Second)
		if err := w.fit(tx.Now, p); err != nil {
			return GrantAsked{}, audit.Entry{}, err
		}
		c, err := g.likened(tx, p, w.From)
		if err != nil {
			return GrantAsked{}, audit.Entry{}, err
		}
		grant, need, err := g.wished(c, w)
		if err != nil {
			return GrantAsked{}, audit.Entry{}, err
		}
		return g.askForGrant(tx, by, p, c, grant, need, w.Note)
	})
}

// fit judges what can be judged of a wish without reading anything.
func (w GrantWish) fit(now time.Time, p auth.Principal) error {
	n := utf8.RuneCountInString(w.Note)
	switch {
	case p.Kind != auth.KindPerson:
		return tools.Refuse(tools.ForbiddenApprover, "Have a person ask for it, with a token or a session of theirs.", "Only people ask for standing grants.")
	case w.Count < 1 || w.Count > approvals.MaxGrantUses:
		return tools.Wrong("count", "is out of range", fmt.Sprintf("1 to %d calls", approvals.MaxGrantUses), 10)
	case !w.Until.After(now) || w.Until.After(now.Add(approvals.MaxGrantTime)):
		return tools.Wrong("until", "is over or too far away", fmt.Sprintf("a time within %d days from now", int(approvals.MaxGrantTime.Hours()/24)), nil)
	case n < minReason || n > maxReasonOf:
		return tools.Wrong("note", "is missing, too short or too long", fmt.Sprintf("%d to %d characters that say why", minReason, maxReasonOf), "Late parcels of the strike week")
	case secret.In(w.Note):
		return pastedSecret()
	}
	return nil
}

// likened finds the call that others are to be like, as its agent would make it now: the same bytes and the effect that people were shown.
func (g *Gate) likened(tx *store.Tx, p auth.Principal, id string) (*call, error) {
	r, err := approvals.Find(tx, p.Merchant, id)
	if err != nil {
		return nil, err
	}
	j, err := approvals.FindJob(tx, p.Merchant, r.JobID)
	if err != nil {
		return nil, err
	}
	if !r.Intact() || r.Binding.ArgsHash != schemas.Fingerprint(j.Args) {
		return nil, altered()
	}
	agent, err := auth.LiveAt(tx, p.Merchant, j.PrincipalID)
	if err == nil && agent.Agent() && agent.Root().ID != agent.ID {
		agent, err = auth.LiveAt(tx, p.Merchant, agent.Root().ID)
	}
	if errors.Is(err, auth.ErrUnknownCredential) || err == nil && !agent.Agent() {
		err = tools.Refuse(tools.Conflict, "Start from a call of an agent whose key is good.", "No agent asked for that, or its key is revoked or has expired.")
	}
	if err != nil {
		return nil, err
	}
	c := g.stored(j, agent)
	c.Tx, c.Resumed, c.approval = tx, false, r
	return c, g.rateLikened(c, r)
}

// rateLikened gives a call its tool and the policy in force, and rates it by the effect that people were shown.
func (g *Gate) rateLikened(c *call, r approvals.Request) (err error) {
	if c.Tool == nil || c.Tool.Input.Hash != r.Binding.SchemaHash || !g.oneStep(c.Tool) || !r.Preview.RunAt.IsZero() {
		return tools.Refuse(tools.Conflict, "Leave these calls to people, one by one.",
			"A standing grant is for calls that are done at once, and this one is not, or its tool is not the same any more.")
	}
	if err := g.checkPolicy(c.Context(), c); err != nil {
		return err
	}
	if c.action, err = c.Tool.Handler().Action(&c.Call); err != nil {
		return err
	}
	c.facts.Action = c.action
	if err := c.learn(); err != nil {
		return err
	}
	c.know()
	c.facts.Effect, err = rated(c, r.Preview)
	return err
}

// oneStep reports whether a tool is done in the transaction in which its call is judged, so that a use and its effect are one.
func (g *Gate) oneStep(t *tools.Tool) bool {
	return t.Handler().Write != nil && t.Handler().Step == nil && !t.Batches()
}

// wished makes the grant of a wish, and says whose consent it takes.
func (g *Gate) wished(c *call, w GrantWish) (grant approvals.Grant, need approvals.Rule, err error) {
	t := approvals.Template{
		V: 1, Merchant: c.Principal.Merchant, Agent: c.facts.Agent, Tool: c.Tool.Name, SchemaHash: c.schema(), Count: w.Count, Until: w.Until,
	}
	if t.Arguments, err = w.arguments(c); err != nil {
		return grant, need, err
	}
	if err = w.amounts(c, &t); err != nil {
		return grant, need, err
	}
	if need, err = c.consent(t); err != nil {
		return grant, need, err
	}
	live, err := approvals.Granted(c.Tx, t.Merchant, t.Agent)
	if err == nil && len(live) >= approvals.MaxGrants {
		err = tooManyGrants()
	}
	if err != nil {
		return grant, need, err
	}
	grant, err = approvals.NewGrant(t)
	grant.Resource = c.stored.Resource
	return grant, need, err
}

func tooManyGrants() error {
	return tools.Refuse(tools.LimitExceeded, "Revoke one that is not needed any more.", "%d standing grants of this agent are live.", approvals.MaxGrants)
}

// arguments gives the bounds of all arguments that the call has, but for those that may differ in any call.
func (w GrantWish) arguments(c *call) (map[string]approvals.Bound, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(c.Args, &members); err != nil {
		return nil, fmt.Errorf("reading arguments: %w", err)
	}
	all := map[string]approvals.Bound{}
	for name, value := range members {
		if !approvals.Guards(name) {
			all[name] = approvals.Bound{OneOf: []json.RawMessage{value}}
		}
	}
	for name, bound := range w.Bounds {
		field := "bounds." + name
		if _, there := all[name]; !there {
			return nil, tools.Wrong(field, "names no argument of the call that can be bounded", "an argument that the call has", nil)
		}
		if unfit := bound.Unfit(); unfit != "" {
			return nil, tools.Wrong(field, unfit, `one of one_of, from and to, money, any`, map[string]any{"from": 1, "to": 10})
		}
		if bound.Any && !strings.HasSuffix(c.Tool.Resource, "/"+name) {
			return nil, tools.Wrong(field, "may be anything, and names no object of the call", "values, a range, or an amount; anything is for the id of what the call is about", nil)
		}
		all[name] = bound
	}
	return all, nil
}

// amounts fills in what the calls may do, each and together.
func (w GrantWish) amounts(c *call, t *approvals.Template) error {
	now, known := c.reckon()
	if !known {
		return tools.Refuse(tools.Conflict, "Leave these calls to people, one by one.", "Nobody can tell beforehand how much money a call of %s moves.", c.Tool.Name)
	}
	t.Each = stated(w.Each, w.most(now))
	if t.Total = stated(w.Total, times(t.Each, w.Count)); t.Total.Customers < 0 {
		return tools.Wrong("total", "is missing, and count times each is too large", "what all calls may do together", nil)
	}
	for _, a := range []*approvals.Amounts{w.Each, w.Total} {
		if a != nil && a.Money != nil && (now.Money == nil || a.Money.Currency != now.Money.Currency || a.Money.AmountMinor < 1) {
			return tools.Wrong("total", "is not money as the call moves it", "an amount of the currency of the call, or none", now.Money)
		}
	}
	if !t.Each.Within(t.Total) || t.Total.Customers > maxGrantedCustomers {
		return tools.Wrong("total", "is less than one call may do, or too large", "at least what each call may do", nil)
	}
	return nil
}

// stated are the amounts that somebody states, and in place of those that they leave out what they would be.
func stated(said *approvals.Amounts, otherwise approvals.Amounts) approvals.Amounts {
	if said == nil {
		return otherwise
	}
	if said.Money != nil {
		otherwise.Money = said.Money
	}
	if said.Customers != 0 {
		otherwise.Customers = said.Customers
	}
	return otherwise
}

// maxGrantedCustomers is how many customers the calls of a grant may reach together.
const maxGrantedCustomers = 1_000_000

// most is what one call like this one may do where nobody says: as much as this one, or the amount up to which an argument may go.
func (w GrantWish) most(now approvals.Amounts) approvals.Amounts {
	for _, b := range w.Bounds {
		if m := b.Money; m != nil && now.Money != nil && m.Currency == now.Money.Currency && m.AmountMinor > now.Money.AmountMinor {
			now.Money = m
		}
	}
	return now
}

// times gives n times a. One that is too large has customers below zero.
func times(a approvals.Amounts, n int64) approvals.Amounts {
	all := approvals.Amounts{Customers: a.Customers * n}
	if a.Customers > math.MaxInt64/n {
		return approvals.Amounts{Customers: -1}
	}
	if a.Money != nil {
		if a.Money.AmountMinor > schemasMax/n {
			return approvals.Amounts{Customers: -1}
		}
		all.Money = &shop.Money{AmountMinor: a.Money.AmountMinor * n, Currency: a.Money.Currency}
	}
	return all
}

// schemasMax is the largest whole number that a document may hold (see schemas.Canonical).
const schemasMax = 1<<53 - 1

// reckon is what the call would do as a grant counts it: a customer at least where somebody hears of it. It is not known where money moves and
// nobody can tell how much.
func (c *call) reckon() (a approvals.Amounts, known bool) {
	e, risk := c.facts.Effect, c.policy.Rated(&c.facts)
	a.Customers = e.Customers
	if risk.Touch > 0 {
		a.Customers = max(1, a.Customers)
	}
	if e.Money != nil && e.Money.AmountMinor != 0 {
		a.Money = e.Money
	}
	return a, risk.Money == 0 || e.Money != nil
}

// ruleAt gives the rule under which the call would fall if it did so much.
func (c *call) ruleAt(a approvals.Amounts) (approvals.Rule, bool) {
	f, e := c.facts, *c.facts.Effect
	e.Money, e.Customers = a.Money, a.Customers
	f.Effect = &e
	return c.policy.Approval(&f)
}

// consent gives a rule that asks for as much as the rules of one call at the bound and of all calls as one.
func (c *call) consent(t approvals.Template) (need approvals.Rule, err error) {
	asks := false
	for _, a := range []approvals.Amounts{t.Each, t.Total} {
		rule, parks := c.ruleAt(a)
		switch {
		case !parks:
			continue
		case !rule.Grants:
			return need, tools.Refuse(tools.ForbiddenByPolicy, "Leave these calls to people, one by one. Whoever owns the policy can say grants: true in the rule.",
				"The rule %s does not let people agree to such calls beforehand.", rule.Name)
		case asks:
			need = need.Both(rule)
		default:
			need, asks = rule, true
		}
	}
	if !asks {
		return need, tools.Refuse(tools.Conflict, "Leave it: nobody is asked about such calls.", "The policy in force lets such calls run without being asked.")
	}
	return need, nil
}

// askForGrant parks the question.
func (g *Gate) askForGrant(tx *store.Tx, by By, p auth.Principal, like *call, grant approvals.Grant, need approvals.Rule, note string) (asked GrantAsked, e audit.Entry, err error) {
	waiting, err := approvals.Waiting(tx, p.Merchant, p.ID)
	if err == nil && waiting >= maxProposals {
		err = tools.Refuse(tools.LimitExceeded, "Have people decide about those first.", "%d questions of the same person wait for people.", waiting)
	}
	if err != nil {
		return asked, e, err
	}
	preview := grantPreview(like, grant.Template, g.undoOf(like.approval))
	effect, err := approvals.EffectHash(preview, nil)
	if err != nil {
		return asked, e, err
	}
	chain := append(p.Chain()[:1:1], like.Principal.Chain()...) // whoever may not decide about the agent's calls may not do so beforehand
	j := approvals.Job{
		Job:      tools.Job{JobID: store.NewID("job", tx.Now), Tool: grantTool, Summary: preview.Summary},
		Merchant: p.Merchant, CallID: store.NewID("call", tx.Now), PrincipalID: p.ID, Chain: chain, Transport: by.Transport,
		SchemaHash: grant.Template.SchemaHash, Args: grant.Text, ArgsHash: schemas.Fingerprint(grant.Text),
		Resource: like.stored.Resource, Policy: like.PolicyVersion, Rule: need.Name,
	}
	r, err := approvals.Park(tx, j, approvals.Request{
		AgentID: p.ID, Class: like.policy.Classify(like.Tool, like.facts.Effect.Class), Rule: need, Preview: preview, AgentReason: note, AskedBy: askedBy(p),
		Binding: approvals.Binding{
			V: 1, Merchant: j.Merchant, Tool: j.Tool, SchemaHash: j.SchemaHash, ArgsHash: j.ArgsHash, Chain: j.Chain, PolicyVersion: j.Policy,
			PolicyRule: j.Rule, Resource: j.Resource, EffectHash: effect,
		},
	})
	asked = GrantAsked{tools.PendingApproval, j.JobID, r.Told(), preview, grant.Template, grant.Hash, grant.Fingerprint}
	return asked, audit.Entry{
		CallID: j.CallID, JobID: j.JobID, ApprovalID: r.ID, Binding: r.BindingHash, Status: string(tools.PendingApproval), Tool: grant.Template.Tool,
		Resource: j.Resource, PolicyRule: need.Name,
	}, err
}

// grantPreview is what people see of a grant that they are asked about.
func grantPreview(like *call, t approvals.Template, undo Undo) tools.Preview {
	p := tools.Preview{
		Summary: fmt.Sprintf("Let %s call %s up to %d times without asking again, until %s: %s each, %s together, at most",
			like.facts.Name, t.Tool, t.Count, t.Until.Format(toTheMinute), t.Each, t.Total),
		Customers: t.Total.Customers, Money: t.Total.Money, Content: t.Lines(), Irreversible: undo.Never,
	}
	for name, b := range t.Arguments {
		if b.Any {
			p.Warnings = append(p.Warnings, "The calls may be about whatever the agent names as "+name+".")
		}
	}
	return p
}
