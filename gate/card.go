package gate

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A Card is everything that a person needs to know of a request to decide about it, and what this person may do with it.
type Card struct {
	Summary
	Job       approvals.Job
	Title     string // of the tool, or of the action that it is asked for
	Level     auth.Level
	Known     bool // the tool is still the one that was asked for
	Chain     []Who
	Budgets   []budget.Share
	Past      []approvals.Request
	Effect    *tools.Effect // of what it did, while that is remembered
	May       May
	Confirmed bool // the reader has shown lately who they are
	Now       time.Time
}

// May is what a reader may do with a request. A refusal says why not, nil that they may.
type May struct {
	Vote     *tools.Refusal
	Override bool // decide alone
	Said     approvals.Decision
	StepUp   bool // approving takes a recent confirmation of who they are
	Undo     bool
}

// Undo says how what a request would do can be made good.
type Undo struct {
	Never string // why it cannot be; "" where it can
	Here  bool   // with one press, for tools.UndoTime
	How   string // by hand
}

// Who is one of a chain of principals, by name.
type Who struct {
	Kind, ID, Name string
}

// pastMax bounds what is shown of an agent's earlier requests.
const pastMax = 8

// Card gives p a request by its own id or its job's. Every error is a *tools.Refusal.
func (g *Gate) Card(ctx context.Context, p auth.Principal, id string) (Card, error) {
	return look(ctx, g, p, id, func(tx *store.Tx) (Card, error) { return g.card(tx, p, id) })
}

func (g *Gate) card(tx *store.Tx, p auth.Principal, id string) (Card, error) {
	r, err := approvals.Find(tx, p.Merchant, id)
	if err != nil {
		return Card{}, err
	}
	c := Card{Summary: g.summary(r), Now: tx.Now, Confirmed: confirmed(tx, p) == nil}
	if c.Job, err = approvals.FindJob(tx, p.Merchant, r.JobID); err != nil {
		return c, err
	}
	c.Title, c.Level, c.Known = g.rates(c.Job, r)
	for _, part := range []func(*store.Tx, auth.Principal) error{c.readPeople, c.readAround} {
		if err := part(tx, p); err != nil {
			return c, err
		}
	}
	return c, c.judge(tx, p)
}

// readPeople names those of the chain.
func (c *Card) readPeople(tx *store.Tx, p auth.Principal) error {
	for _, named := range c.Job.Chain {
		kind, id, _ := strings.Cut(named, ":")
		who := Who{Kind: kind, ID: id}
		var err error
		switch kind {
		case "person":
			var person auth.Principal
			person, err = auth.FindPerson(tx, p.Merchant, id)
			who.Name = person.Name
		case "key":
			var key auth.Key
			key, err = auth.FindKey(tx, p.Merchant, id)
			who.Name = key.Name
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, auth.ErrUnknownCredential) {
			return err
		}
		who.Name = cmp.Or(who.Name, id)
		c.Chain = append(c.Chain, who)
	}
	return nil
}

// readAround reads what stands beside the request: the budgets it takes from, what its agent asked for before, what it did.
func (c *Card) readAround(tx *store.Tx, p auth.Principal) (err error) {
	if c.Budgets, err = budget.Shares(tx, p.Merchant, c.Job.CallID); err != nil {
		return err
	}
	if c.Past, err = approvals.PastOf(tx, p.Merchant, c.Job.PrincipalID, c.ID, pastMax); err != nil || c.Job.UndoID == "" {
		return err
	}
	e, err := approvals.FindEffect(tx, p.Merchant, "", c.Job.UndoID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	c.Effect = &e.Effect
	return err
}

// judge says what the reader may do.
func (c *Card) judge(tx *store.Tx, p auth.Principal) error {
	v := approvals.Vote{PersonID: p.ID, Person: p.Name, Decision: approvals.Approve, Seen: c.BindingHash}
	for _, said := range c.Votes {
		if said.PersonID == p.ID {
			c.May.Said = said.Decision
		}
	}
	c.May.Undo = c.Effect != nil && c.Effect.State == tools.EffectOpen && tx.Now.Before(c.Effect.Until) && mayRewind(p) == nil
	if c.State != approvals.Pending {
		return nil
	}
	err := mayDecide(p)
	if err == nil {
		err = mayVoteOn(tx, p, c.Request, v)
	}
	c.May.StepUp = c.Level >= WeighsFrom && !c.Confirmed
	if err != nil {
		c.May.Vote = asRefusal(err)
	}
	v.Override, v.Reason = true, "?"
	c.May.Override = mayDecide(p) == nil && !c.Bars(c.Rule, v) && c.Rule.Override && p.Has(auth.ApprovalsOverride)
	return nil
}

// WeighsFrom is the level from which on approving takes a recent confirmation of who the person is: what cannot be undone, moves
// open-ended money or reaches many.
const WeighsFrom auth.Level = 6

// confirmedFor asks a person in a session for a recent confirmation before a yes to what weighs as much.
func (g *Gate) confirmedFor(tx *store.Tx, p auth.Principal, r approvals.Request, v approvals.Vote) error {
	if p.Session == "" || v.Decision != approvals.Approve {
		return nil
	}
	j, err := approvals.FindJob(tx, p.Merchant, r.JobID)
	if err != nil {
		return err
	}
	if _, level, _ := g.rates(j, r); level >= WeighsFrom {
		return confirmed(tx, p)
	}
	return nil
}

// rates gives what a stored call is called and how risky it is, by its own bytes and the effect that is shown. known is false for one
// of a tool that is gone or changed; it counts as the riskiest.
func (g *Gate) rates(j approvals.Job, r approvals.Request) (title string, level auth.Level, known bool) {
	c := g.stored(j, asker(j))
	if c.Tool == nil || c.Tool.Input.Hash != j.SchemaHash {
		return j.Tool, auth.MaxLevel, false
	}
	risk, err := c.Tool.Handler().Rate(&c.Call, r.Preview)
	if err != nil {
		return c.Tool.Title, auth.MaxLevel, false
	}
	title = c.Tool.Title
	action, err := c.Tool.Handler().Action(&c.Call)
	for _, a := range c.Tool.Actions {
		if err == nil && a.ID() == action {
			title = a.Title
		}
	}
	return title, risk.Level(), true
}

// undoOf says how what r would do can be made good.
func (g *Gate) undoOf(r approvals.Request) Undo {
	u := Undo{Never: r.Preview.Irreversible}
	t, known := g.tools.Find(r.Binding.Tool)
	if !known {
		return u
	}
	u.Here, u.How = t.Handler().Keep != nil && u.Never == "", t.Undo
	if t.Risk.Undo == 3 {
		u.Never = cmp.Or(u.Never, t.Undo)
	}
	return u
}
