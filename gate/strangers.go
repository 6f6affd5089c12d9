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

// strangers counts who was turned away before there was a call: for a credential, or for the network it came from. The
// first of a source and reason in a minute is recorded at once, the others as one entry with their count, so that a flood
// neither fills the record nor hides in it.
type strangers struct {
	mu      sync.Mutex
	minute  time.Time
	counted map[stranger]int64
	apart   map[string]int // how many sources are told apart in this minute, by event
}

type stranger struct {
	event, source, why, who, merchant string
	code                              tools.Code
}

// The events that turning a stranger away is recorded as.
const (
	authRefused    = "auth.refused"
	networkRefused = "network.refused"
)

// toldApart is how many sources are told apart within a minute. Those beyond are counted as one. Anybody who finds the port
// is a source for the network.
var toldApart = map[string]int{authRefused: 1000, networkRefused: 100}

func newStrangers() strangers {
	return strangers{counted: map[stranger]int64{}, apart: map[string]int{}}
}

// Authenticate finds the principal of a credential. A credential that opens nothing is refused without a reason, and
// the reason is recorded. Every error is a *tools.Refusal.
func (g *Gate) Authenticate(ctx context.Context, secret, source string) (auth.Principal, error) {
	p, err := g.callerOf(ctx, secret, source)
	return g.admit(ctx, p, err, source)
}

// Recognize is Authenticate for whoever will hand the principal to Call, Visible or Confirm and to nothing else: it may be as it was for an
// earlier call, and they find out whether it still is.
func (g *Gate) Recognize(ctx context.Context, secret, source string) (auth.Principal, error) {
	if p, ok := g.known.Recall(secret, g.db.Now()); ok {
		if addr, _ := netip.ParseAddr(source); p.MayComeFrom(addr) {
			return p, nil
		}
	}
	return g.Authenticate(ctx, secret, source)
}

// Confirm gives a principal that was recognized as it is now. Every error is a *tools.Refusal, as of Authenticate.
func (g *Gate) Confirm(ctx context.Context, p auth.Principal, source string) (auth.Principal, error) {
	if !p.Recalled() {
		return p, nil
	}
	var now auth.Principal
	err := g.db.Read(ctx, func(tx *store.Tx) (err error) {
		now, err = auth.Renew(tx, p)
		return err
	})
	return g.admit(ctx, now, err, source)
}

// admit gives the principal that was found, or records why there is none.
func (g *Gate) admit(ctx context.Context, p auth.Principal, err error, source string) (auth.Principal, error) {
	if addr, _ := netip.ParseAddr(source); err == nil && !p.MayComeFrom(addr) {
		err = &auth.Refused{Why: "network", Who: p.Chain()[0], Merchant: p.Merchant}
	}
	if err == nil {
		return p, nil
	}
	answer := unauthorized()
	if refused := (*auth.Refused)(nil); errors.As(err, &refused) {
		if refused.Why == "network" {
			answer = foreignNetwork()
		}
		g.used.countOne(refused.Merchant, refused.Who, auth.Used{Refusals: 1, LastUsedAt: g.db.Now()})
		_, err = g.turnAway(ctx, stranger{
			event: authRefused, source: source, why: refused.Why, who: refused.Who, merchant: refused.Merchant, code: answer.Code,
		})
	}
	if err == nil {
		return auth.Principal{}, answer
	}
	r := *asRefusal(err)
	r.CallID = store.NewID("call", g.db.Now())
	g.logInternal(r.CallID, r.Code, err)
	return auth.Principal{}, &r
}

// RefuseNetwork refuses a request for the network that it comes from, before anything of it was read. The second result
// reports whether it is on record by itself, and not as one of a count.
func (g *Gate) RefuseNetwork(ctx context.Context, source, why string) (*tools.Refusal, bool) {
	first, err := g.turnAway(ctx, stranger{event: networkRefused, source: source, why: why, code: tools.ForbiddenNetwork})
	r := tools.Refuse(tools.ForbiddenNetwork, "Call from a network that the operator allows, or ask the operator to allow yours.",
		"Requests from this network are not served here.")
	r.CallID = store.NewID("call", g.db.Now())
	if err != nil {
		g.logInternal(r.CallID, tools.Unavailable, err)
	}
	return r, first
}

// turnAway counts a stranger, and records it when it is the first of its kind in this minute. That the stranger has hung up
// makes no difference.
func (g *Gate) turnAway(ctx context.Context, s stranger) (first bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if err := g.writeStrangers(ctx, false); err != nil {
		return false, err
	}
	counted, first := g.strangers.count(s)
	if !first {
		return false, nil
	}
	if counted.source != manySources {
		counted.source = s.source // the exact address
	}
	err = g.db.InTx(ctx, func(tx *store.Tx) error { return recordStranger(tx, counted, 1) })
	if err != nil {
		g.strangers.forget(s) // the next of its kind is the first on record
	}
	return true, err
}

func (l *strangers) forget(s stranger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kind := l.kind(s)
	if _, known := l.counted[kind]; known { // unless the minute has ended meanwhile
		delete(l.counted, kind)
		l.apart[s.event]--
	}
}

// count adds one to the strangers of s's kind, and reports whether it is the first of them in this minute.
func (l *strangers) count(s stranger) (kind stranger, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kind = l.kind(s)
	n, known := l.counted[kind]
	l.counted[kind] = n + 1
	if !known {
		l.apart[s.event]++
	}
	return kind, !known
}

// manySources stands for all sources beyond those that are told apart.
const manySources = "many"

// kind is what s is counted as.
func (l *strangers) kind(s stranger) stranger {
	s.source = block(s.source)
	if _, known := l.counted[s]; !known && l.apart[s.event] >= toldApart[s.event] {
		return stranger{event: s.event, source: manySources, why: s.why, code: s.code}
	}
	return s
}

// subscriber is the part of an IPv6 address, in bits, that is not its owner's to choose: networks are given out as a /64 or
// more (RFC 6177), and in it anybody has a new address for every request.
const subscriber = 64

// block gives the addresses that are one source: an IPv4 address, or a /64 of IPv6.
func block(source string) string {
	addr, err := netip.ParseAddr(source)
	if err != nil {
		return source
	}
	if addr = addr.Unmap(); addr.Is4() || addr.IsLoopback() {
		return addr.String()
	}
	return netip.PrefixFrom(addr.WithZone(""), subscriber).Masked().String()
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
	clear(l.apart)
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
		Merchant: s.merchant, Event: s.event, Source: s.source, Actor: "unknown", Status: "refused",
		Code: string(s.code), Reason: s.why, Count: n,
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
