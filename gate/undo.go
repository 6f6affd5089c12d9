package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// lookChecks and undoChecks are asked of a call that is to be taken back by its own caller: who may not make the call any more
// may not unmake it either. A person who rewinds what a key did needs none of the key's rights. The arguments are kept only
// while there is something to take back.
var (
	lookChecks = slices.Concat(nameChecks, toolChecks)
	undoChecks = slices.Concat(objectChecks, []check{
		{"action", (*Gate).checkAction},
		{"needs", (*Gate).checkNeeds},
		{"trust", (*Gate).checkUndoing},
	}, allBut(effectChecks, "quiet")) // what is taken back reaches nobody
)

// checkUndoing reads what the policy looks at beside the call that is taken back. It is seen at the level at which it was rated, and moves no
// money: that it was made is counted already. An outside source of trust has been asked about the undo itself.
func (g *Gate) checkUndoing(_ context.Context, c *call) error {
	if err := c.learn(); err != nil {
		return err
	}
	c.facts.NoTrust = false
	rated := tools.Rating{Risk: c.Tool.Risk, Class: c.Tool.Class}
	for _, r := range c.Tool.RatingsOf(c.action) {
		if c.policy.Rate(c.Tool, r.Risk).Level() == *c.rated {
			rated = r
			break
		}
	}
	c.facts.Effect = &policy.Effect{Risk: rated.Risk, Class: rated.Class, Money: &shop.Money{}}
	return nil
}

// done notes what a write did, with what was there before it, and makes it part of the answer.
func (g *Gate) done(c *call, r *tools.Result, image json.RawMessage) error {
	if c.Tool.Brake || c.Tool.Batches() { // what a batch did, its calls have done
		return nil
	}
	e := approvals.Effect{
		Effect: tools.Effect{
			Tool: c.Tool.Name, Resource: c.Tool.ResourceOf(c.Args), Summary: c.preview.Summary, Changes: c.preview.Changes, Why: c.Tool.Undo,
		},
		Merchant: c.Principal.Merchant, PrincipalID: c.Principal.ID, CallID: c.ID, JobID: c.job, SchemaHash: c.schema(),
		Args: c.Args, Level: c.risk.Level().String(), Result: r.Result, Image: image,
	}
	g.touched.add(c)
	e, err := approvals.AddEffect(c.Tx, e)
	if err == nil && e.State == tools.EffectOpen {
		r.UndoID, r.UndoUntil, r.UndoOwner = e.UndoID, e.Until, c.Principal.Chain()[0]
	}
	return err
}

// keep reads what is there before a write. It gives nil for a write that cannot be taken back.
func keep(c *call) (json.RawMessage, error) {
	h := c.Tool.Handler()
	if h.Keep == nil {
		return nil, nil
	}
	image, err := h.Keep(&c.Call)
	if errors.Is(err, tools.ErrNoUndo) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keeping what was there before: %w", err)
	}
	return image, nil
}

// undos lets the undo tool reach effects without reaching handlers.
type undos struct{ *Gate }

var _ tools.Undos = undos{}

// Effect gives p's own effect, if p may take it back. What was done away with, or asked for as an action, came about because a person
// agreed; an agent does not bring it back alone.
func (u undos) Effect(tx *store.Tx, p auth.Principal, id string) (tools.Effect, error) {
	e, c, err := u.undoable(tx, p, id)
	if err == nil && e.State == tools.EffectOpen {
		e.Asks = c.Tool.AlwaysAsks && !c.policy.MayRun(c.facts.Profile, c.action) || p.RequiresApproval && c.Tool.Class == tools.ClassDestructive
	}
	return e.Effect, err
}

// Undo takes p's own effect back.
func (u undos) Undo(tx *store.Tx, p auth.Principal, id string) (tools.Effect, error) {
	e, c, err := u.undoable(tx, p, id)
	if err != nil || e.State == tools.EffectUndone {
		return e.Effect, err
	}
	return u.restore(tx, c, e)
}

// undoable finds an effect, judges whether p may take it back, and makes its call again to do it with.
func (u undos) undoable(tx *store.Tx, p auth.Principal, id string) (approvals.Effect, *call, error) {
	owner := p.ID
	if !p.Agent() {
		owner = ""
	}
	e, err := approvals.FindEffect(tx, p.Merchant, owner, id)
	if err != nil {
		return e, nil, err
	}
	c := u.newCall(p, Request{Tool: e.Tool})
	c.Tx, c.Args, c.job = tx, e.Args, e.JobID
	if err := u.again(c, e); err != nil {
		return e, c, err
	}
	if p.Agent() {
		if err := u.mayUndo(c, e); err != nil {
			return e, c, err
		}
	}
	return e, c, inTime(e, tx.Now)
}

// again gives the call its tool, if it is still the one that had the effect: another would read the arguments and the image
// in its own way.
func (u undos) again(c *call, e approvals.Effect) (err error) {
	var known bool
	if c.Tool, known = u.tools.Find(e.Tool); known && e.State == tools.EffectOpen {
		if c.action, err = c.Tool.Handler().Action(&c.Call); err != nil {
			return err
		}
		known = c.schema() == e.SchemaHash
	}
	if !known {
		return tools.Refuse(tools.Conflict, "Leave it to people.", "The tool is not the one any more that did this.")
	}
	return nil
}

// schema names the form of the call's arguments: the tool's, and the action's beside it.
func (c *call) schema() string {
	hash := c.Tool.Input.Hash
	for _, a := range c.Tool.Actions {
		if a.ID() == c.action {
			hash += " " + a.Input.Hash
		}
	}
	return hash
}

// mayUndo judges the key whose effect it is.
func (u undos) mayUndo(c *call, e approvals.Effect) error {
	if err := u.judgeTx(c, lookChecks); err != nil || e.State != tools.EffectOpen {
		return err
	}
	level, err := auth.ParseLevel(e.Level)
	if err != nil {
		return err
	}
	c.rated = &level
	return u.judgeTx(c, undoChecks)
}

// inTime refuses what cannot be taken back, or not any more. What has been is no refusal: who asks twice wants it undone.
func inTime(e approvals.Effect, now time.Time) error {
	switch {
	case e.State == tools.EffectFinal:
		return tools.Refuse(tools.Conflict, "What can be done instead: "+e.Why+".", "This cannot be undone.")
	case e.State == tools.EffectOpen && !now.Before(e.Until):
		return tools.Refuse(tools.Conflict, "Make a new call that sets it right.", "The time to undo it ended at %s.", e.Until.Format(time.RFC3339))
	}
	return nil
}

// restore puts back what was there, once.
func (u undos) restore(tx *store.Tx, c *call, e approvals.Effect) (tools.Effect, error) {
	who := c.Principal.Chain()[0]
	switch err := approvals.Undone(tx, e.UndoID, who); {
	case errors.Is(err, approvals.ErrUndone): // somebody else undid it just now, or erased what it takes
		if e, err = approvals.FindEffect(tx, e.Merchant, e.PrincipalID, e.UndoID); err == nil {
			err = inTime(e, tx.Now)
		}
		return e.Effect, err
	case err != nil:
		return e.Effect, err
	}
	err := u.safely(e.CallID, func() error { return c.Tool.Handler().Restore(&c.Call, e.Result, e.Image) })
	if errors.Is(err, shop.ErrChanged) {
		err = tools.Refuse(tools.Conflict, "Read it, and make a new call that sets it right.", "It has been changed since; undoing would overwrite that.")
	}
	if err != nil {
		return e.Effect, err
	}
	e.State, e.UndoneAt = tools.EffectUndone, tx.Now
	_, err = audit.Append(tx, audit.Entry{
		Merchant: e.Merchant, Event: "effect.undone", CallID: e.CallID, JobID: e.JobID, Actor: who, Chain: c.Principal.Chain(), Tool: e.Tool,
		Resource: e.Resource, Status: string(tools.Done), PolicyVersion: c.Principal.PolicyVersion, PolicyRule: "builtin.undo",
	})
	return e.Effect, err
}

// A Rewound is an effect of a key after a rewind: undone, or with why it could not be.
type Rewound struct {
	tools.Effect
	Failed string `json:"failed,omitempty"` // why it is still there although it could have been undone
}

// maxRewind bounds how many effects one rewind looks at.
const maxRewind = 1000

// Rewind takes back, for an operator or a person, what a key and all sub-tokens under it did since a time, newest first, each effect in a transaction of its
// own, and tells what became of each. It needs none of the key's rights, for the key may be the reason. more says that there is older work
// which it did not look at. Every error is a *tools.Refusal; an effect that cannot be undone is none.
func (g *Gate) Rewind(ctx context.Context, p auth.Principal, key string, since time.Time, dryRun bool) (all []Rewound, more bool, err error) {
	if err := mayRewind(p); err != nil {
		return nil, false, g.refusePerson(ctx, p, "effect.refused", Ballot{ID: key}, err)
	}
	var effects []approvals.Effect
	err = g.db.Read(ctx, func(tx *store.Tx) (err error) {
		effects, err = approvals.Effects(tx, p.Merchant, key, since, maxRewind+1)
		return err
	})
	if err != nil {
		return nil, false, g.refusePerson(ctx, p, "effect.refused", Ballot{ID: key}, err)
	}
	more = len(effects) > maxRewind
	for _, e := range effects[:min(len(effects), maxRewind)] {
		r := Rewound{Effect: e.Effect}
		if e.State == tools.EffectOpen {
			if r.Effect, err = g.rewindOne(ctx, p, e, dryRun); err != nil {
				r.Effect, r.Failed = e.Effect, asRefusal(err).Message
			}
		}
		all = append(all, r)
	}
	return all, more, nil
}

// rewindOne takes back one effect, or with dryRun only says what would keep it from that before it is tried.
func (g *Gate) rewindOne(ctx context.Context, p auth.Principal, e approvals.Effect, dryRun bool) (undone tools.Effect, err error) {
	if dryRun {
		return e.Effect, g.db.Read(ctx, func(tx *store.Tx) error {
			_, err := undos{g}.Effect(tx, p, e.UndoID)
			return err
		})
	}
	err = g.db.InTx(ctx, func(tx *store.Tx) error {
		now, err := hold(tx, p)
		if err == nil && now.Kind != auth.KindOperator { // who runs commands here may have to set right what it was frozen for
			err = frozen(now)
		}
		if err == nil {
			undone, err = undos{g}.Undo(tx, now, e.UndoID)
		}
		return err
	})
	if err != nil {
		err = g.refusePerson(ctx, p, "effect.refused", Ballot{ID: e.UndoID}, err)
	}
	return undone, err
}

// TakeBack undoes for a person what one write did. Every error is a *tools.Refusal.
func (g *Gate) TakeBack(ctx context.Context, p auth.Principal, id string) (tools.Effect, error) {
	var e approvals.Effect
	err := mayRewind(p)
	if err == nil {
		err = g.db.Read(ctx, func(tx *store.Tx) (err error) {
			e, err = approvals.FindEffect(tx, p.Merchant, "", id)
			return err
		})
	}
	if err != nil {
		return tools.Effect{}, g.refusePerson(ctx, p, "effect.refused", Ballot{ID: id}, err)
	}
	return g.rewindOne(ctx, p, e, false)
}

func mayRewind(p auth.Principal) error {
	if p.Kind == auth.KindOperator {
		return nil
	}
	return mayDecide(p)
}
