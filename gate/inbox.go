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
	// inboxLooks bounds how many pending requests one look tells apart. What comes after is only said to be there.
	inboxLooks = 10_000
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

func (f InboxFilter) fits(n approvals.Glance) bool {
	return (f.Class == "" || f.Class == n.Class) && (f.Agent == "" || f.Agent == n.AskedBy) && (f.Rule == "" || f.Rule == n.Rule.Name)
}

// An Inbox is what an approver comes for, soonest over first.
type Inbox struct {
	Mine, Others Shelf
	Decided      []Summary // today, latest first; not when one shelf is looked at
	LastDecided  time.Time // zero for never
	Agents       []string  // of what waits, to choose from
	Rules        []string
	Full         bool // there is more than inboxLooks, and what comes after was not looked at
	Now          time.Time
	Head         int64 // of the record, for who listens from there on
}

// A Shelf is requests of which a page is shown.
type Shelf struct {
	Total int
	Cards []Summary
	Next  string // what After takes for the next page; "" for none
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
	pending, err := approvals.Glances(tx, p.Merchant, p.ID, inboxLooks+1)
	if err != nil {
		return Inbox{}, err
	}
	in := Inbox{Now: tx.Now, Full: len(pending) > inboxLooks}
	in.offer(pending)
	if in.Head, err = audit.Head(tx); err != nil {
		return in, err
	}
	voices, err := voicesOf(tx, p)
	if err != nil {
		return in, err
	}
	mine, others := sortOut(pending, f, func(n approvals.Glance) bool {
		return n.Said == "" && tx.Now.Before(n.ExpiresAt) && slices.ContainsFunc(voices, func(v voice) bool { return v.fits(n, tx.Now) })
	})
	if f.Shelf != "others" {
		if in.Mine, err = g.shelf(tx, p, f, mine); err != nil {
			return in, err
		}
	}
	if f.Shelf != "mine" {
		if in.Others, err = g.shelf(tx, p, f, others); err != nil {
			return in, err
		}
	}
	in.Mine.Total, in.Others.Total = len(mine), len(others)
	return in, g.decidedToday(tx, p, f, &in)
}

// offer lists whose requests and which rules there are to choose from.
func (in *Inbox) offer(pending []approvals.Glance) {
	agents, rules := map[string]bool{}, map[string]bool{}
	for _, n := range pending {
		agents[n.AskedBy], rules[n.Rule.Name] = true, true
	}
	in.Agents, in.Rules = slices.Sorted(maps.Keys(agents)), slices.Sorted(maps.Keys(rules))
}

// sortOut tells the requests that wait for the reader from those that wait for others.
func sortOut(pending []approvals.Glance, f InboxFilter, forReader func(approvals.Glance) bool) (mine, others []string) {
	for _, n := range pending {
		switch {
		case !f.fits(n):
		case forReader(n):
			mine = append(mine, n.ID)
		default:
			others = append(others, n.ID)
		}
	}
	return mine, others
}

// A voice is one in which a person may speak: the own, or that of somebody the person stands in for.
type voice struct {
	vote  approvals.Vote
	roles []string
}

// voicesOf gives a person's voices; none of somebody who may not decide.
func voicesOf(tx *store.Tx, p auth.Principal) ([]voice, error) {
	if mayDecide(p) != nil {
		return nil, nil
	}
	own, err := auth.RolesOf(tx, p.ID)
	if err != nil {
		return nil, err
	}
	absent, err := approvals.StandsInFor(tx, p.Merchant, p.ID)
	if err != nil {
		return nil, err
	}
	voices := []voice{{approvals.Vote{PersonID: p.ID}, own}}
	for _, id := range absent {
		theirs, err := auth.RolesOf(tx, id)
		if err != nil {
			return nil, err
		}
		voices = append(voices, voice{approvals.Vote{PersonID: p.ID, For: id}, slices.Concat(own, theirs)})
	}
	return voices, nil
}

// fits reports whether a request wants to hear this voice. It is approvals.MayVote without a question to the database, for lists of
// thousands; a vote is judged by that.
func (v voice) fits(n approvals.Glance, now time.Time) bool {
	return !n.Bars(v.vote) && n.Rule.Admits(v.roles, now.Sub(n.CreatedAt))
}

// shelf reads the page of ids that f asks for.
func (g *Gate) shelf(tx *store.Tx, p auth.Principal, f InboxFilter, ids []string) (Shelf, error) {
	size := inboxFew
	if f.Shelf != "" {
		size = inboxPage
	}
	from := slices.Index(ids, f.After) + 1 // one that is decided by now leads to the first page
	page := ids[from:min(from+size, len(ids))]
	s := Shelf{}
	if from+size < len(ids) {
		s.Next = page[len(page)-1]
	}
	found, err := approvals.FindAll(tx, p.Merchant, page)
	for _, r := range found {
		s.Cards = append(s.Cards, g.summary(r))
	}
	return s, err
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
