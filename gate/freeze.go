package gate

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// The kill switch. A freeze stops the writes of one agent, or of all, on every replica: it is part of the principal that a call is made by
// (auth.Freeze), read with its standing in the transaction of the effect, and made under the lock that writes share. So once it is acknowledged
// no write of a frozen agent begins. Stored calls are halted, steps of running jobs between two of them, and go on when it is lifted.
//
// It is not the policy's freeze (policy.Frozen), which is a time in a document that says beforehand which calls are refused in it. Either
// refuses with FROZEN; the rule on record tells them apart.
//
// Reads go on, and rehearsals, brakes, votes and whatever people administer, the policy too: they may have to set right what went wrong.

// checkFrozen asks whether somebody has stopped the caller's writes.
func (g *Gate) checkFrozen(_ context.Context, c *call) error {
	if c.Tool.Brake || c.dryRun {
		return nil
	}
	return frozen(c.Principal)
}

func frozen(p auth.Principal) error {
	if !p.Frozen.Open() {
		return nil
	}
	return tools.Refuse(tools.Frozen, "Wait until people lift it, or ask them. Reads, rehearsals (dry_run), dtc_pause and dtc_cancel_job go on; what waited goes on by itself afterwards.",
		"%s frozen by people since %s: %s", stops(p.Frozen), p.Frozen.At.UTC().Format(time.RFC3339), p.Frozen.Reason)
}

// stops says whose writes a freeze stops, to those whose it does: an agent learns nothing of the links above it, nor who froze them.
func stops(f auth.Freeze) string {
	if f.Subject == "" {
		return "The writes of all agents are"
	}
	return "The writes of this credential are"
}

// halted lets go of a stored call whose caller is frozen, and reports whether it was. It comes before the call is judged: that would end it.
func (c *call) halted(tx *store.Tx, j approvals.Job) (bool, error) {
	if !c.Principal.Frozen.Open() || c.Tool != nil && c.Tool.Brake {
		return false, nil
	}
	return true, approvals.Halt(tx, j, c.Principal.Frozen)
}

// A Freezing is what somebody wants frozen.
type Freezing struct {
	Subject string // key_…, sub_…, jwt_… or per_…; "": every agent
	Reason  string // agents are told
}

// Freeze stops the writes of a subject. Whoever may decide about calls, or administers keys, may pull this brake. When it returns, no write of the
// subject is under way and none begins. One that is frozen already stays so, and its freeze is given. Every error is a *tools.Refusal.
func (g *Gate) Freeze(ctx context.Context, by By, w Freezing) (auth.Freeze, error) {
	f, err := Administer(ctx, g, by, Op{Event: "freeze.started"}, func(tx *store.Tx, p auth.Principal) (auth.Freeze, audit.Entry, error) {
		if err := mayFreeze(p); err != nil {
			return auth.Freeze{}, audit.Entry{}, err
		}
		if err := sayWhy(w.Reason, "why everything stops; agents are told"); err != nil {
			return auth.Freeze{}, audit.Entry{}, err
		}
		f, made, err := auth.BeginFreeze(tx, auth.Freeze{Merchant: p.Merchant, Subject: w.Subject, Reason: w.Reason, By: p.Chain()[0]})
		if err == nil && made {
			err = approvals.AnnounceFreeze(tx, f)
		}
		return f, freezeEntry(f, w.Reason), noFreeze(err)
	})
	if err == nil {
		g.log.Warn().Str("freeze_id", f.ID).Str("subject", f.Subject).Str("by", f.By).Msg("writes are frozen")
	}
	return f, err
}

// LiftFreeze ends a freeze, and lets what it halted go on. It gives rights back, so it takes keys:admin and a person who has lately shown who they are.
func (g *Gate) LiftFreeze(ctx context.Context, by By, id, reason string) (auth.Freeze, error) {
	op := Op{Event: "freeze.lifted", Scope: auth.KeysAdmin, Recent: true}
	f, err := Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (auth.Freeze, audit.Entry, error) {
		if err := sayWhy(reason, "why it may go on"); err != nil {
			return auth.Freeze{}, audit.Entry{}, err
		}
		f, err := auth.LiftFreeze(tx, p.Merchant, id, p.Chain()[0], reason)
		if err == nil {
			err = approvals.Wake(tx, p.Merchant)
		}
		if err == nil {
			err = approvals.AnnounceFreeze(tx, f)
		}
		return f, freezeEntry(f, reason), noFreeze(err)
	})
	if err == nil {
		g.log.Warn().Str("freeze_id", f.ID).Str("subject", f.Subject).Str("by", f.LiftedBy).Msg("a freeze was lifted: writes go on")
		g.notify()
	}
	return f, err
}

func freezeEntry(f auth.Freeze, reason string) audit.Entry {
	e := audit.Entry{Resource: "freeze:" + f.ID, Reason: "all agents", Personal: map[string]string{"reason": reason}}
	if f.Subject != "" {
		e.Reason = f.Subject
	}
	return e
}

// mayFreeze lets everybody stop agents who may decide what they do, or who lets them in. Whoever sees harm first need not be an admin.
func mayFreeze(p auth.Principal) error {
	if p.Kind == auth.KindOperator || !p.Agent() && p.Has(auth.KeysAdmin) {
		return nil
	}
	return mayDecide(p)
}

// sayWhy asks for a reason that can be kept.
func sayWhy(reason, what string) error {
	if strings.TrimSpace(reason) == "" {
		return tools.Wrong("reason", "is missing", what, "The prices look wrong")
	}
	return Ballot{Reason: reason}.sayable()
}

func noFreeze(err error) error {
	switch {
	case errors.Is(err, auth.ErrTooManyFreezes):
		return tools.Refuse(tools.LimitExceeded, "Freeze all agents, or lift what is over.", "Too many are frozen one by one.")
	case errors.Is(err, store.ErrNotFound):
		return tools.Refuse(tools.NotFound, "Use the id of a key, sub-token, person or agent of an issuer to freeze (dtcgate key list), and of a freeze that holds to lift (dtcgate freeze list).",
			"There is no such id, or the freeze was lifted already.")
	}
	return err
}

const (
	liftedFor   = 24 * time.Hour // how long people are shown that a freeze was lifted
	freezesMost = 100            // that are listed
)

// Freezes gives p's merchant's freezes that hold, and those that were lifted within a day, newest first. Every person of the merchant may see
// why nothing moves.
func (g *Gate) Freezes(ctx context.Context, p auth.Principal) (all []auth.Freeze, err error) {
	err = g.db.Read(ctx, func(tx *store.Tx) error {
		if p, err = renewed(tx, p); err == nil && p.Agent() {
			err = lacks([]auth.Scope{auth.ApprovalsRead}, "This credential does not hold the scope %s, which %s takes.", "the list of freezes")
		}
		if err == nil {
			all, err = auth.Freezes(tx, p.Merchant, tx.Now.Add(-liftedFor), freezesMost)
		}
		return err
	})
	if err != nil {
		return nil, asRefusal(err)
	}
	return all, nil
}

// noticed are the open freezes that this process has told its log about.
type noticed struct {
	mu  sync.Mutex
	ids map[string]bool
}

// noticeFreezes logs each freeze that somebody anywhere has begun or lifted, so that the log of every replica says why writes stop.
func (g *Gate) noticeFreezes(ctx context.Context) error {
	var open []auth.Freeze
	err := g.db.Read(ctx, func(tx *store.Tx) (err error) {
		open, err = auth.OpenFreezes(tx, freezesMost)
		return err
	})
	if err != nil {
		return err
	}
	g.frozen.mu.Lock()
	defer g.frozen.mu.Unlock()
	now := map[string]bool{}
	for _, f := range open {
		now[f.ID] = true
		if !g.frozen.ids[f.ID] {
			g.log.Warn().Str("freeze_id", f.ID).Str("merchant_id", f.Merchant).Str("subject", f.Subject).Str("by", f.By).Time("since", f.At).Msg("writes are frozen")
		}
	}
	for id := range g.frozen.ids {
		if !now[id] {
			g.log.Warn().Str("freeze_id", id).Msg("a freeze was lifted: writes go on")
		}
	}
	g.frozen.ids = now
	return nil
}
