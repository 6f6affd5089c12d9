package gate

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
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
	Chain     []Who
	Budgets   []budget.Share
	Past      []approvals.Request
	Before    *approvals.Request // that this one asks again
	After     string             // the request that asks this one again; "" for none
	Effect    *tools.Effect      // of what it did, while that is remembered
	May       May
	Confirmed bool // the reader has shown lately who they are
	Now       time.Time
	Head      int64 // of the record, for who listens from there on
}

// May is what a reader may do with a request. A refusal says why not, nil that they may.
type May struct {
	Vote     *tools.Refusal
	For      string // the person they stand in for with it; "" for none
	Override bool   // decide alone
	Cancel   bool
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
	if c.Head, err = audit.Head(tx); err != nil {
		return c, err
	}
	c.Title = g.titleOf(c.Job)
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
	if c.Past, err = approvals.PastOf(tx, c.Request, pastMax); err != nil {
		return err
	}
	if c.Supersedes != "" {
		before, err := approvals.Find(tx, p.Merchant, c.Supersedes)
		if err != nil {
			return err
		}
		c.Before = &before
	}
	for _, r := range c.Past {
		if r.Supersedes == c.ID {
			c.After = r.ID
		}
	}
	if c.Job.UndoID == "" {
		return nil
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
	c.May.Undo = c.Effect != nil && c.Effect.State == tools.EffectOpen && tx.Now.Before(c.Effect.Until) && mayRewind(p) == nil
	if err := mayCancel(p, c.Request); err == nil {
		c.May.Cancel = c.State == approvals.Pending || c.State == approvals.Approved
	}
	if c.State != approvals.Pending {
		return nil
	}
	voices, err := voicesOf(tx, p)
	if err != nil {
		return err
	}
	c.May.Vote = asRefusal(tools.Refuse(tools.ForbiddenApprover, "Ask an admin for a role that holds approvals:resolve, such as manager.",
		"You can read this, and others decide about it."))
	for _, voice := range slices.Backward(voices) { // the own one last, so that it stands
		if err := c.mayVote(tx, p, voice); err != nil {
			return err
		}
	}
	c.May.StepUp = c.Undo.Never != "" && !c.Confirmed
	return nil
}

// mayVote asks whether the reader may speak in a voice, and alone.
func (c *Card) mayVote(tx *store.Tx, p auth.Principal, in voice) error {
	v := in.vote
	v.Person, v.Decision, v.Seen, v.Acknowledged, v.Reason = p.Name, approvals.Approve, c.BindingHash, true, "?"
	cause := approvals.MayVote(tx, c.Request, v)
	switch {
	case cause == nil:
		c.May.Vote, c.May.For = nil, v.For
	case c.May.Vote != nil:
		c.May.Vote = asRefusal(explain(c.Request, v, tx.Now, cause))
	}
	if v.For != "" {
		return nil
	}
	for _, said := range c.Votes {
		if said.PersonID == p.ID && said.Withdrawn.IsZero() {
			c.May.Said = said.Decision
		}
	}
	v.Override = true
	c.May.Override = approvals.MayVote(tx, c.Request, v) == nil
	return nil
}

// titleOf is what a stored call is called: the name of its tool, or of the action that the tool was asked for.
func (g *Gate) titleOf(j approvals.Job) string {
	c := g.stored(j, asker(j))
	if c.Tool == nil {
		return j.Tool
	}
	action, err := c.Tool.Handler().Action(&c.Call)
	for _, a := range c.Tool.Actions {
		if err == nil && a.ID() == action {
			return a.Title
		}
	}
	return c.Tool.Title
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
