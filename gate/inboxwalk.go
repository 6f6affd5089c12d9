package gate

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

const (
	// walkStep is how many requests are read at once.
	walkStep = 250
	// walkCount is up to where the requests of a shelf are counted: beyond it there are more.
	walkCount = 100
	// walkNear bounds how many requests are looked at for those that wait for others, and walkFar for those that wait for the reader. Where
	// a walk ends before the requests do, the next page goes on from there.
	walkNear = 1000
	walkFar  = 20_000
)

// A walk goes through what is pending, in the order in which it lapses, and puts it on two shelves until both are full. Once only requests for
// the reader are looked for, the database passes over rules under which the reader never has a vote: somebody who may vote on few of
// thousands finds these all the same.
type walk struct {
	mine, others  Shelf
	agents, rules map[string]bool // of what was looked at
	voices        []voice
	only          string
	q             approvals.Glances
	never         map[string]bool // stored rules under which the reader has no vote, whatever time it is
	looked        int
}

func walkFor(tx *store.Tx, p auth.Principal, f InboxFilter) (*walk, error) {
	w := &walk{
		agents: map[string]bool{}, rules: map[string]bool{}, never: map[string]bool{}, only: f.Shelf,
		q: approvals.Glances{Merchant: p.Merchant, Person: p.ID, Class: f.Class, AskedBy: f.Agent, Rule: f.Rule, Limit: walkStep},
	}
	var err error
	if w.voices, err = voicesOf(tx, p); err != nil || f.After == "" {
		return w, err
	}
	after, err := approvals.Find(tx, p.Merchant, f.After)
	if errors.Is(err, store.ErrNotFound) {
		return w, nil // from the top
	}
	w.q.After, w.q.AfterID = after.ExpiresAt, after.ID
	return w, err
}

func (w *walk) run(tx *store.Tx) error {
	for {
		some, err := w.q.Read(tx)
		if err != nil {
			return err
		}
		for _, n := range some {
			w.put(n, tx.Now)
		}
		w.looked += len(some)
		if len(some) < walkStep || w.done() {
			return nil
		}
	}
}

// put takes note of a request and puts it on its shelf.
func (w *walk) put(n approvals.Glance, now time.Time) {
	w.agents[n.AskedBy], w.rules[n.Rule.Name] = true, true
	w.q.After, w.q.AfterID = n.ExpiresAt, n.ID
	if !slices.ContainsFunc(w.voices, func(v voice) bool { return n.Rule.Admits(v.roles, approvals.MaxTimeToDecide) }) {
		w.never[n.Stored] = true
	}
	shelf := &w.others
	if n.Said == "" && now.Before(n.ExpiresAt) && slices.ContainsFunc(w.voices, func(v voice) bool { return v.fits(n, now) }) {
		shelf = &w.mine
	}
	if shelf.stopped == "" {
		shelf.ids = append(shelf.ids, n.ID)
	}
}

// done says whether there is nothing more to look for, and closes shelves for which that is so.
func (w *walk) done() bool {
	if w.others.stopped == "" && (w.only == "mine" || len(w.others.ids) >= walkCount || w.looked >= walkNear) {
		w.others.stopped = w.q.AfterID
		w.q.Not = slices.Sorted(maps.Keys(w.never))
		w.q.Not = w.q.Not[:min(len(w.q.Not), walkStep)]
	}
	if w.mine.stopped == "" && (w.only == "others" || len(w.voices) == 0 || len(w.mine.ids) >= walkCount || w.looked >= walkFar) {
		w.mine.stopped = w.q.AfterID
	}
	return w.mine.stopped != "" && w.others.stopped != ""
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
