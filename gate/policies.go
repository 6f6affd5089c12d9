package gate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// policies are the versions that have been made ready, the newest few of each merchant. A version never changes, so what is kept here is never
// out of date; which one is in force is read with every principal.
type policies struct {
	mu    sync.RWMutex
	ready map[string][]*policy.Policy // by merchant
}

const (
	keepVersions  = 4      // of one merchant: replicas and transactions may be a version apart
	keepMerchants = 10_000 // past which everything is forgotten and read again
)

func (s *policies) find(merchant string, version int64) *policy.Policy {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.ready[merchant] {
		if p.Version == version {
			return p
		}
	}
	return nil
}

func (s *policies) keep(merchant string, p *policy.Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready == nil || len(s.ready) >= keepMerchants {
		s.ready = map[string][]*policy.Policy{}
	}
	all := append([]*policy.Policy{p}, s.ready[merchant]...)
	s.ready[merchant] = slices.Clip(all[:min(len(all), keepVersions)])
}

// policyAt gives a version of a merchant's policy, in a transaction when there is one. Version 0 is none.
func (g *Gate) policyAt(ctx context.Context, tx *store.Tx, merchant string, version int64) (p *policy.Policy, err error) {
	if p = g.policies.find(merchant, version); p != nil {
		return p, nil
	}
	read := func(tx *store.Tx) error {
		p, err = policy.Load(tx, g.tools, merchant, version)
		return err
	}
	if tx != nil {
		err = read(tx)
	} else {
		err = g.db.Read(ctx, read)
	}
	if err != nil {
		return nil, err
	}
	g.policies.keep(merchant, p)
	return p, nil
}

// checkPolicy takes the policy that is in force for the caller. Without one nothing is allowed.
func (g *Gate) checkPolicy(ctx context.Context, c *call) (err error) {
	c.policy, err = g.policyAt(ctx, c.Tx, c.Principal.Merchant, c.Principal.PolicyVersion)
	c.PolicyVersion = c.Principal.PolicyVersion
	if errors.Is(err, policy.ErrUnreadable) {
		return errors.Join(noPolicy(), err)
	}
	if err == nil {
		c.ContactRest = time.Duration(c.policy.Document.Limits.Contact.Rest)
	}
	return err
}

func noPolicy() *tools.Refusal {
	return tools.Refuse(tools.Unavailable, "Tell the operator: `dtcgate policy publish` puts one in force. Nothing was done.", "There is no policy that can be read, so every call is refused.")
}

// Ready reports whether every merchant's policy can be read.
func (g *Gate) Ready(ctx context.Context) error {
	var inForce map[string]int64
	err := g.db.Read(ctx, func(tx *store.Tx) (err error) {
		inForce, err = auth.PolicyVersions(tx)
		return err
	})
	for merchant, version := range inForce {
		_, failed := g.policyAt(ctx, nil, merchant, version)
		err = errors.Join(err, failed)
	}
	return err
}

// asks makes a check of the gate from one of the policy's.
func asks(judge func(*policy.Policy, *policy.Facts) error) func(*Gate, context.Context, *call) error {
	return func(_ *Gate, _ context.Context, c *call) error { return judge(c.policy, &c.facts) }
}

// madeBy sets who makes the call, for its checks and in its facts.
func (c *call) madeBy(p auth.Principal) {
	c.Principal = p
	root := p.Root()
	f := &c.facts
	f.Agent, f.Caller, f.Name, f.Kind, f.Profile, f.Owner = root.ID, "", p.Name, p.Kind, root.Profile, p.Owner()
	f.Scopes, f.Ceiling, f.RequiresApproval, f.Merchant = p.Scopes, p.Ceiling, p.RequiresApproval, p.Merchant
	if p.ID != root.ID {
		f.Caller = p.ID
	}
}

// know takes over into the facts what the checks before have found out.
func (c *call) know() {
	f := &c.facts
	f.Tool, f.Args, f.Objects, f.DryRun = c.Tool, c.Args, c.objects, c.dryRun
	f.At, f.Source, f.Transport, f.Resumed = c.Started, c.req.Source, c.req.Transport, c.Resumed
}

// learn reads what changes from call to call: the trust in the caller, and whether it has read outsiders' words.
func (c *call) learn() error {
	var err error
	if c.taint, err = auth.TaintOf(c.Tx, c.Principal); err != nil {
		return err
	}
	c.facts.Tainted = c.taint != nil
	own, err := c.ownTrust()
	if err != nil {
		return err
	}
	score, known := c.policy.Document.Trust.With(own, c.said)
	c.facts.Trust, c.facts.NoTrust = score, !known
	return nil
}

func (c *call) ownTrust() (trust.Score, error) {
	return trust.Of(c.Tx, c.policy.Document.Trust, c.Principal.Merchant, c.facts.Agent)
}

// askAhead asks what learn will ask. It changes nothing of the call, whose facts go on record as they are known.
func (c *call) askAhead() {
	c.Tx.Ahead(
		func() error { _, err := auth.TaintOf(c.Tx, c.Principal); return err },
		func() error { _, err := c.ownTrust(); return err },
	)
}

// checkBudgets takes from the budgets what the call uses up: for good when it runs now, and on hold when it waits.
func (g *Gate) checkBudgets(_ context.Context, c *call) error {
	charges, merchant := c.charges(), c.Principal.Merchant
	var err error
	switch {
	case len(charges) == 0 && !c.Resumed, !c.Resumed && c.approval.ID != "": // of the same question enough is held already
	case c.planned:
		err = budget.Fits(c.Tx, merchant, charges)
	case c.Tool.Handler().Works() || c.parked && !c.Resumed:
		err = budget.Reserve(c.Tx, merchant, c.ID, charges)
	case c.Resumed:
		err = budget.Settle(c.Tx, merchant, c.ID, charges)
	default:
		err = budget.Spend(c.Tx, merchant, charges)
	}
	return overBudget(err, c)
}

// inWords names the unit of a budget.
func inWords(unit string) string {
	if currency, money := strings.CutPrefix(unit, "money:"); money {
		return "minor units of " + currency
	}
	return unit
}

func overBudget(err error, c *call) error {
	over := (*budget.Exceeded)(nil)
	if !errors.As(err, &over) {
		return err
	}
	r := tools.Refuse(tools.BudgetExceeded, "Do less, or wait until the budget begins again.", "This call takes %d %s, and %d are left of the budget until %s.",
		over.Amount, inWords(over.Unit), over.Left, over.Until.Format(time.RFC3339))
	if over.Alone() {
		r.Next = "Do less: the whole budget would not be enough."
		return &policy.Denied{Rule: over.Budget, Refusal: r}
	}
	r.RetryAfter = max(1, int64(over.Until.Sub(c.Started).Seconds()))
	return &policy.Denied{Rule: over.Budget, Refusal: r}
}

// checkApproval finds whose consent the call waits for, if anybody's.
func (g *Gate) checkApproval(_ context.Context, c *call) error {
	c.ask, c.parked = c.asksWhom()
	c.rule = c.ask.Name
	if err := g.granted(c); err != nil {
		return err
	}
	if c.stated == nil || c.parked || c.dryRun {
		return nil
	}
	// Nobody else will look at what was filled in, so the caller must have.
	if wrong := c.Tool.Input.Check(c.stated); len(wrong) > 0 {
		return wrongFields(wrong)
	}
	return nil
}

// may says what the caller may do under the policy, for the tool that tells it.
func (c *call) may() tools.May {
	m := tools.May{Profile: c.facts.Profile, Trust: c.facts.Trust.String(), Sandbox: string(c.policy.Document.Trust.Sandbox(c.facts.Trust).Level), Taint: c.taint}
	m.Tools = c.Registry.Visible(c.Principal, func(t *tools.Tool) bool { return c.policy.Shown(c.facts.Profile, t) })
	for _, t := range m.Tools {
		if c.mayPark(t, m.Tools) {
			m.Parks = append(m.Parks, t)
		}
		for _, a := range t.Actions {
			if c.mayRequest(a.ID()) {
				m.Actions = append(m.Actions, a.ID())
			}
		}
	}
	return m
}

// mayPark reports whether some calls of a tool wait for people; those of a batch do where those of another tool of the caller's do.
func (c *call) mayPark(t *tools.Tool, all []*tools.Tool) bool {
	if t.Batches() {
		return slices.ContainsFunc(all, func(other *tools.Tool) bool { return !other.Batches() && c.mayPark(other, nil) })
	}
	f := c.facts
	f.Tool = t
	return c.policy.MayAsk(&f)
}

// mayRequest reports whether the credential and the profile both grant an action.
func (c *call) mayRequest(action string) bool {
	return c.Principal.MayRequest(action) && c.policy.MayRequest(c.facts.Profile, action)
}

// Visible gives the tools that p is shown; none where there is no policy.
func (g *Gate) Visible(ctx context.Context, p auth.Principal) ([]*tools.Tool, error) {
	if p.Recalled() {
		return nil, errors.New("the tools of a principal that was not confirmed")
	}
	now, err := g.policyAt(ctx, nil, p.Merchant, p.PolicyVersion)
	if err != nil {
		return nil, err
	}
	return g.tools.Visible(p, func(t *tools.Tool) bool { return now.Shown(p.Root().Profile, t) }), nil
}
