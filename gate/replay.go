package gate

import (
	"context"
	"errors"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/rehearsal"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A draft of a policy is rehearsed on the record: every call of a time is decided again by the facts it was decided by, and the draft's verdict is
// held to what happened. What counts as a difference, and what cannot be known, is told in package rehearsal.

// eventRehearsed is the event of a draft that was tried on the record.
const eventRehearsed = "policy.rehearsed"

// MaxRehearsed bounds how far back a rehearsal goes.
const MaxRehearsed = 90 * 24 * time.Hour

// A Span is the time whose calls a draft is rehearsed on. A zero Until is now.
type Span struct {
	Since, Until time.Time
}

// Replay rehearses a draft for who may publish one, and tells on the way how far it came. Every error is a *tools.Refusal.
func (g *Gate) Replay(ctx context.Context, by By, source string, span Span, progress func(rehearsal.Report)) (rehearsal.Report, error) {
	draft, err := g.admitRehearsal(ctx, by, source, &span)
	if err != nil {
		return rehearsal.Report{}, err
	}
	var report rehearsal.Report
	err = g.safely("rehearsal", func() (err error) {
		report, err = g.replayRecord(ctx, by.Principal.Merchant, draft, span, progress)
		return err
	})
	if err != nil {
		return report, g.refusePerson(ctx, by.Principal, eventRehearsed+".refused", Ballot{Channel: by.Transport, Source: by.Source}, err)
	}
	return report, nil
}

// admitRehearsal judges who wants a rehearsal, records it, and makes the draft ready.
func (g *Gate) admitRehearsal(ctx context.Context, by By, source string, span *Span) (*policy.Policy, error) {
	op := Op{Event: eventRehearsed, Scope: auth.PolicyAdmin}
	return examine(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (*policy.Policy, string, error) {
		if err := span.fit(tx.Now); err != nil {
			return nil, "", err
		}
		draft, err := g.readyDraft(tx, p.Merchant, source)
		return draft, draftNamed(source), err
	})
}

// readyDraft makes a document ready to be asked. One that could not be published is refused with all that is wrong with it.
func (g *Gate) readyDraft(tx *store.Tx, merchant, source string) (*policy.Policy, error) {
	d := Draft{source: source}
	err := g.review(tx, merchant, &d)
	if err == nil && len(d.Problems) > 0 {
		err = unfit(d.Problems)
	}
	return d.ready, err
}

// draftNamed names a document that is no version, on the record.
func draftNamed(source string) string { return shadowNamed(policy.Hash([]byte(source))) }

// fit completes a span and refuses one that is empty or too long.
func (s *Span) fit(now time.Time) error {
	if s.Until.IsZero() || s.Until.After(now) {
		s.Until = now
	}
	switch {
	case !s.Since.Before(s.Until):
		return tools.Wrong("since", "is not before the end", "a time before until, or before now", nil)
	case s.Until.Sub(s.Since) > MaxRehearsed:
		return tools.Wrong("since", "is too far back", "at most 90 days before the end", nil)
	}
	return nil
}

// rehearsalTime bounds the rehearsal that a publication waits for.
const rehearsalTime = 10 * time.Second

// rehearsal is what a draft would have done with the calls of the last while, as far as there is time to find out: the report says how far it came.
func (g *Gate) rehearsal(ctx context.Context, merchant string, draft *policy.Policy, since time.Duration) (rehearsal.Report, error) {
	short, cancel := context.WithTimeout(ctx, rehearsalTime)
	defer cancel()
	now := g.db.Now()
	report, err := g.replayRecord(short, merchant, draft, Span{now.Add(-since), now}, nil)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = nil
	}
	return report, err
}

// replayed are the events that a rehearsal reads: decisions, and the ends of what waited.
var replayed = []string{policy.EventCall, policy.EventResumed, "job.cancelled", "job.expired", "job.failed"}

// replayAtOnce is how many entries are read on one snapshot. Each page goes on where the one before ended, so that no snapshot is held for long.
const replayAtOnce = 1000

// replayRecord decides the calls of a span again, in the order in which they came. On an error the report is that of what was done.
func (g *Gate) replayRecord(ctx context.Context, merchant string, draft *policy.Policy, span Span, progress func(rehearsal.Report)) (rehearsal.Report, error) {
	r := rehearsal.New(draft, g.versions(ctx, merchant))
	page := audit.Span{
		Merchant: merchant, Events: replayed, After: store.FirstID("aud", span.Since), Until: store.FirstID("aud", span.Until),
		Personal: []string{policy.ArgumentsKept, policy.NameKept}, Limit: replayAtOnce,
	}
	report := func(through time.Time) rehearsal.Report {
		said := r.Report()
		said.Since, said.Until, said.Through, said.Complete = span.Since.UTC(), span.Until.UTC(), through.UTC(), !through.Before(span.Until)
		return said
	}
	for through := span.Since; ; {
		all, err := g.replayPage(ctx, r, page)
		if err != nil {
			return report(through), err
		}
		if through = span.Until; len(all) == page.Limit {
			page.After = all[len(all)-1].ID
			through, _ = store.IDTime(page.After)
		}
		if progress != nil {
			progress(report(through))
		}
		if len(all) < page.Limit {
			return report(through), nil
		}
	}
}

func (g *Gate) replayPage(ctx context.Context, r *rehearsal.Rehearsal, page audit.Span) (all []audit.Kept, err error) {
	err = g.db.Read(ctx, func(tx *store.Tx) (err error) {
		all, err = audit.Between(tx, page)
		return err
	})
	for _, kept := range all {
		if err != nil {
			return nil, err
		}
		err = g.replayOne(r, kept)
	}
	return all, err
}

func (g *Gate) replayOne(r *rehearsal.Rehearsal, kept audit.Kept) error {
	if kept.Event != policy.EventCall && kept.Event != policy.EventResumed {
		r.Ended(kept.CallID)
		return nil
	}
	c, err := policy.Recall(g.tools, kept)
	if err == nil {
		r.Take(c)
	}
	return err
}

// maxReplayedVersions bounds how many versions a rehearsal has at hand.
const maxReplayedVersions = 32

// versions finds policies that were in force, without taking up the room of those that are.
func (g *Gate) versions(ctx context.Context, merchant string) func(int64) *policy.Policy {
	known := map[int64]*policy.Policy{}
	return func(version int64) *policy.Policy {
		p, found := known[version]
		if found {
			return p
		}
		if p = g.policies.find(merchant, version); p == nil {
			_ = g.db.Read(ctx, func(tx *store.Tx) (err error) { // of one that cannot be read nothing is known
				p, err = policy.Load(tx, g.tools, merchant, version)
				return err
			})
		}
		if len(known) >= maxReplayedVersions {
			clear(known)
		}
		known[version] = p
		return p
	}
}
