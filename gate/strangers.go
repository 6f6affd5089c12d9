package gate

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// strangers counts refused credentials. The first of a source and reason in a minute is recorded at once, the others
// as one entry with their count, so that a flood of wrong keys neither fills the record nor hides in it.
type strangers struct {
	mu      sync.Mutex
	minute  time.Time
	counted map[stranger]int64
}

type stranger struct{ source, why, who, merchant string }

// maxStrangers bounds the sources that are told apart within a minute; those beyond it are counted as one.
const maxStrangers = 1000

func newStrangers() strangers { return strangers{counted: map[stranger]int64{}} }

// Authenticate finds the principal of a credential. A credential that opens nothing is refused without a reason, and
// the reason is recorded. Every error is a *tools.Refusal.
func (g *Gate) Authenticate(ctx context.Context, secret, source string) (auth.Principal, error) {
	var p auth.Principal
	err := g.db.Read(ctx, func(tx *store.Tx) (err error) {
		p, err = auth.Authenticate(tx, secret)
		return err
	})
	if addr, _ := netip.ParseAddr(source); err == nil && !p.MayComeFrom(addr) {
		err = &auth.Refused{Why: "network", Who: p.Chain()[0], Merchant: p.Merchant}
	}
	if err == nil {
		return p, nil
	}
	refused := (*auth.Refused)(nil)
	if errors.As(err, &refused) {
		err = g.turnAway(ctx, stranger{source: source, why: refused.Why, who: refused.Who, merchant: refused.Merchant})
	}
	if err == nil && refused.Why == "network" {
		return auth.Principal{}, tools.Refuse(tools.ForbiddenNetwork, "Call from where it was made for, or ask whoever minted it to add this network.",
			"This credential may not be used from this network.")
	}
	if err == nil {
		return auth.Principal{}, unauthorized()
	}
	r := *asRefusal(err)
	r.CallID = store.NewID("call", g.db.Now())
	g.logInternal(r.CallID, r.Code, err)
	return auth.Principal{}, &r
}

// turnAway counts a refused credential and records it when it is the first of its kind in this minute.
func (g *Gate) turnAway(ctx context.Context, s stranger) error {
	if err := g.writeStrangers(ctx, false); err != nil {
		return err
	}
	if !g.strangers.count(s) {
		return nil
	}
	err := g.db.InTx(ctx, func(tx *store.Tx) error { return recordStranger(tx, s, 1) })
	if err != nil {
		g.strangers.forget(s) // the next of its kind is the first on record
	}
	return err
}

func (l *strangers) forget(s stranger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.counted, s)
}

// count adds one to s and reports whether it is the first of its kind in this minute.
func (l *strangers) count(s stranger) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.counted[s]; !known && len(l.counted) >= maxStrangers {
		s = stranger{source: "many", why: s.why}
	}
	n, known := l.counted[s]
	l.counted[s] = n + 1
	return !known
}

// takeMinute gives what was counted in a minute that is over, or that is to end now, and begins a new one.
func (l *strangers) takeMinute(now time.Time, end bool) map[stranger]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	minute := now.Truncate(time.Minute)
	if minute.Equal(l.minute) && !end {
		return nil
	}
	over := l.counted
	l.minute, l.counted = minute, map[stranger]int64{}
	return over
}

// writeStrangers records how often each stranger came in the minute that is over, beyond the first time; with end also
// in the minute that is not.
func (g *Gate) writeStrangers(ctx context.Context, end bool) error {
	over := g.strangers.takeMinute(g.db.Now(), end)
	if len(over) == 0 {
		return nil
	}
	err := g.db.InTx(ctx, func(tx *store.Tx) error {
		for s, n := range over {
			if n < 2 {
				continue
			}
			if err := recordStranger(tx, s, n-1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		g.strangers.giveBack(over)
	}
	return err
}

// giveBack counts what could not be written down into the minute that has begun.
func (l *strangers) giveBack(over map[stranger]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, n := range over {
		l.counted[s] += n
	}
}

func recordStranger(tx *store.Tx, s stranger, n int64) error {
	e := audit.Entry{
		Merchant: s.merchant, Event: "auth.refused", Source: s.source, Actor: "unknown", Status: "refused",
		Code: string(tools.Unauthorized), Reason: s.why, Count: n, PolicyVersion: policyVersion,
	}
	if s.why == "network" {
		e.Code = string(tools.ForbiddenNetwork)
	}
	if s.who != "" {
		e.Actor, e.Chain = s.who, []string{s.who}
	}
	_, err := audit.Append(tx, e)
	return err
}
