// Package retention lets the oldest entries of the audit log go.
//
// What goes is an entry's body and what is left of its personal values. What stays is its number, its hash, the whole tree and every checkpoint: the
// root, consistency between any two checkpoints and the inclusion of each entry that is kept, and of each that was exported, verify as before.
//
// # In which order
//
// A horizon is a number, the size of a checkpoint that was signed long enough ago. It is put on record first, as an entry audit.pruned; once that has a
// number, and so stands under a signature, what lies behind it is removed in small transactions. The database itself holds to this order (package store, horizon.go):
// it removes nothing that is not behind a horizon whose entry is numbered, nor anything younger than audit.LeastKept by its own clock, whoever asks. Verify
// holds it to the signed times, and refuses any other entry that is missing. So an insider can remove what is old, with a trace that stays, and nothing else unseen.
//
// # What stays although it is old
//
// What an export has not delivered (its place stays until it is forgotten by name), and everything from the beginning of the oldest job or request that is open.
// And the entries that published a policy, without their personal values: receipts of younger calls prove by them under which text they were decided.
//
// Run it beside a server or by hand (dtcgate audit prune). Two at once do no harm: they hold a lock by turns. Killed half-way it goes on where it was.
package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/export"
	"github.com/dtcgate/dtcgate/store"
)

const (
	batch     = 500                   // entries that go in one transaction
	breath    = 20 * time.Millisecond // between two of them, for who waits
	lookAgain = 100 * time.Millisecond
	patience  = 10 * time.Second // for a server to number the horizon's entry
	runEvery  = time.Hour

	// slack is for clocks that differ: an entry is taken to be younger by it.
	slack = time.Hour
)

// ErrUnnumbered says that the horizon is on record and no server has numbered it: nothing has gone.
var ErrUnnumbered = errors.New("the horizon is on record and waits for a number, which a server gives it: run the server, then prune again")

// A Plan is what would go.
type Plan struct {
	Before  time.Time `json:"before"`  // entries of before are old enough
	Horizon int64     `json:"horizon"` // number up to which they go
	Entries int64     `json:"entries"` // how many that are
	Last    int64     `json:"last"`    // the horizon before it
	Held    []string  `json:"held"`    // what else would go, and why it stays
}

// CheckAge checks an age that an operator asks for.
func CheckAge(age time.Duration) error {
	if age < audit.LeastKept {
		return fmt.Errorf("entries are kept for %d days at least", audit.LeastKept/(24*time.Hour))
	}
	return nil
}

// Look plans without changing anything.
func Look(tx *store.Tx, age time.Duration) (Plan, error) {
	p := Plan{Before: tx.Now.Add(-age - slack)}
	if err := CheckAge(age); err != nil {
		return p, err
	}
	last, err := audit.LastHorizon(tx, false)
	if err != nil {
		return p, err
	}
	p.Last = last.Seq
	most, err := p.hold(tx)
	if err != nil {
		return p, err
	}
	if p.Horizon, err = audit.Reach(tx, p.Before, most); err != nil {
		return p, err
	}
	p.Horizon = max(p.Horizon, p.Last)
	first, err := audit.FirstKept(tx)
	p.Entries = max(0, p.Horizon-first+1)
	return p, err
}

// hold takes account of what must stay: it gives the greatest number that may go, and moves the time back.
func (p *Plan) hold(tx *store.Tx) (most int64, err error) {
	if most, err = audit.Head(tx); err != nil {
		return 0, err
	}
	sinks, err := export.Cursors(tx)
	if err != nil {
		return 0, err
	}
	for _, s := range sinks {
		if s.Seq < most {
			most = s.Seq
		}
		if s.Behind > 0 && s.Oldest.Before(p.Before) {
			p.Held = append(p.Held, fmt.Sprintf("export %s has delivered %d entries and is %d behind", s.Name, s.Seq, s.Behind))
		}
	}
	open, err := approvals.OldestOpen(tx)
	if open = open.Add(-slack); err == nil && !open.Add(slack).IsZero() && open.Before(p.Before) {
		p.Held = append(p.Held, "a job of "+open.Add(slack).Format(time.DateOnly)+" is open")
		p.Before = open
	}
	return most, err
}

// A Pruner removes what is older than an age.
type Pruner struct {
	DB       *store.DB
	Age      time.Duration
	Actor    string                      // as in a chain: who is on record for it
	Sequence func(context.Context) error // numbers what is pending; nil where a server does
	OnError  func(error)
}

// Run prunes once an hour until ctx ends.
func (p *Pruner) Run(ctx context.Context) {
	for wait := time.Minute; ; wait = runEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if _, _, err := p.Prune(ctx); err != nil && ctx.Err() == nil && p.OnError != nil {
			p.OnError(fmt.Errorf("pruning the audit log: %w", err))
		}
	}
}

// Prune removes what is behind the horizon, sets a new one, and removes what is behind that. It gives what it planned and how many entries went.
func (p *Pruner) Prune(ctx context.Context) (plan Plan, removed int64, err error) {
	removed, err = p.remove(ctx)
	if err != nil {
		return plan, removed, err
	}
	err = p.DB.Read(ctx, func(tx *store.Tx) error {
		plan, err = Look(tx, p.Age)
		return err
	})
	if err != nil || plan.Horizon <= plan.Last && plan.Entries == 0 {
		return plan, removed, err
	}
	if plan.Horizon > plan.Last {
		if err := p.set(ctx, plan); err != nil {
			return plan, removed, err
		}
	}
	if err := p.numbered(ctx); err != nil {
		return plan, removed, err
	}
	more, err := p.remove(ctx)
	return plan, removed + more, err
}

// set puts the horizon on record. That somebody else has set one as far is as good.
func (p *Pruner) set(ctx context.Context, plan Plan) error {
	err := p.DB.InTx(ctx, func(tx *store.Tx) error {
		return audit.SetHorizon(tx, plan.Horizon, audit.Entry{
			Actor: p.Actor, Chain: []string{p.Actor}, Status: "done", Count: plan.Entries,
			Reason: fmt.Sprintf("entries of before %s, kept for %d days", plan.Before.Format(time.DateTime), p.Age/(24*time.Hour)),
		})
	})
	if h, again := p.horizon(ctx, false); store.IsConstraint(err) && again == nil && h.Seq >= plan.Horizon {
		return nil
	}
	return err
}

// numbered waits until the newest horizon is in force.
func (p *Pruner) numbered(ctx context.Context) error {
	for until := time.Now().Add(patience); ; {
		if p.Sequence != nil {
			if err := p.Sequence(ctx); err != nil {
				return err
			}
		}
		h, err := p.horizon(ctx, false)
		if err != nil || h.Said > 0 {
			return err
		}
		if time.Now().After(until) {
			return ErrUnnumbered
		}
		if err := pause(ctx, lookAgain); err != nil {
			return err
		}
	}
}

func (p *Pruner) horizon(ctx context.Context, inForce bool) (h audit.Horizon, err error) {
	err = p.DB.Read(ctx, func(tx *store.Tx) error {
		h, err = audit.LastHorizon(tx, inForce)
		return err
	})
	return h, err
}

// remove removes what is behind the horizon in force.
func (p *Pruner) remove(ctx context.Context) (removed int64, err error) {
	h, err := p.horizon(ctx, true)
	if err != nil || h.Seq == 0 {
		return 0, err
	}
	var first int64
	err = p.DB.Read(ctx, func(tx *store.Tx) error {
		first, err = audit.FirstKept(tx)
		return err
	})
	for ; err == nil && first <= h.Seq; first += batch {
		var n int64
		err = p.DB.InTx(ctx, func(tx *store.Tx) error {
			n, err = audit.Remove(tx, first, min(first+batch-1, h.Seq))
			return err
		})
		if err == nil {
			removed += n
			err = pause(ctx, breath)
		}
	}
	return removed, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
