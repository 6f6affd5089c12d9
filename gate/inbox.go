package gate

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

const (
	// inboxPage is how many requests stand on a page that shows one shelf, and inboxFew how many where it shows all.
	inboxPage = 50
	inboxFew  = 20
)

// An InboxFilter says what somebody wants to look at. What it leaves out fits all.
type InboxFilter struct {
	Class tools.Class
	Agent string // as the requests name it
	Rule  string
	Shelf string // mine, others; "": the top of each
	After string // the request with which the page before ended
}

// An Inbox is what an approver comes for, soonest over first.
type Inbox struct {
	Mine, Others Shelf
	Decided      []Summary // today, latest first; not when one shelf is looked at
	LastDecided  time.Time // zero for never
	Agents       []string  // of what was looked at, to choose from
	Rules        []string
	Now          time.Time
	Head         int64 // of the record, for who listens from there on
}

// A Shelf is requests of which a page is shown.
type Shelf struct {
	Cards []Summary
	Count int
	More  bool   // than Count
	Next  string // what After takes for the next page; "" for none

	ids     []string
	stopped string // the request up to which was looked for more; "" for all
}

// A Summary is a request in a list.
type Summary struct {
	approvals.Request
	Undo  Undo
	Given int // approvals that count towards Needed
	Asks  int // people whom the rule asks for
}

// Inbox gives p what waits for them, what waits for others and what was decided today. Every error is a *tools.Refusal.
func (g *Gate) Inbox(ctx context.Context, p auth.Principal, f InboxFilter) (Inbox, error) {
	return look(ctx, g, p, "", func(tx *store.Tx) (Inbox, error) { return g.inbox(tx, p, f) })
}

func (g *Gate) inbox(tx *store.Tx, p auth.Principal, f InboxFilter) (Inbox, error) {
	in := Inbox{Now: tx.Now}
	w, err := walkFor(tx, p, f)
	if err == nil {
		err = w.run(tx)
	}
	if err == nil {
		in.Head, err = audit.Head(tx)
	}
	for _, shelf := range []*Shelf{&w.mine, &w.others} {
		if err == nil {
			err = g.fill(tx, p, f, shelf)
		}
	}
	if err != nil {
		return in, err
	}
	in.Mine, in.Others, in.Agents, in.Rules = w.mine, w.others, slices.Sorted(maps.Keys(w.agents)), slices.Sorted(maps.Keys(w.rules))
	return in, g.decidedToday(tx, p, f, &in)
}

// fill reads the page that a shelf shows.
func (g *Gate) fill(tx *store.Tx, p auth.Principal, f InboxFilter, s *Shelf) error {
	size := inboxFew
	if f.Shelf != "" {
		size = inboxPage
	}
	page := s.ids[:min(size, len(s.ids))]
	if s.Count, s.More, s.Next = len(s.ids), s.stopped != "", s.stopped; len(s.ids) > size {
		s.Next = page[size-1]
	}
	found, err := approvals.FindAll(tx, p.Merchant, page)
	for _, r := range found {
		s.Cards = append(s.Cards, g.summary(r))
	}
	return err
}

func (g *Gate) decidedToday(tx *store.Tx, p auth.Principal, f InboxFilter, in *Inbox) (err error) {
	if in.LastDecided, err = approvals.LastDecided(tx, p.Merchant); err != nil || f.Shelf != "" {
		return err
	}
	found, err := approvals.DecidedSince(tx, p.Merchant, tx.Now.Truncate(24*time.Hour), inboxFew)
	for _, r := range found {
		in.Decided = append(in.Decided, g.summary(r))
	}
	return err
}

// summary is r in a list.
func (g *Gate) summary(r approvals.Request) Summary {
	s := Summary{Request: r, Undo: g.undoOf(r), Asks: max(r.Rule.People, len(r.Rule.Roles), 1)}
	for _, v := range r.Votes {
		if v.Decision == approvals.Approve && v.Withdrawn.IsZero() {
			s.Given++
		}
	}
	return s
}
