// Package rehearsal decides recorded calls again, by a draft of a policy, and tells what would have been otherwise.
//
// It asks the same function that the gate asks, about the facts that stand in each call's record, and holds the answer to what really
// happened. It reads no database: whoever has the records hands them over in the order of time.
//
// What it promises:
//
//  1. A policy that is rehearsed on the calls that were made under it differs in none. A test holds that over calls of all kinds; where
//     it fails, a fact is missing from the record.
//  2. What cannot be decided again is counted as such, with the reason, and never taken for one or the other: arguments that are erased, a
//     tool that is gone, a call that came before facts were kept.
//  3. A call counts once. A repeat of it is none, and its turn after it has waited is looked at only where the draft let it wait as well.
//  4. What was refused by something other than a policy (a scope, a rate, arguments, an object that is not there) stays refused.
//
// Three things are approximate, because the record does not tell what would have happened: people are taken to have said what they said,
// and yes where nobody was asked; a budget begins empty with the first call, except that of what the live policy counted as well its own
// answer is believed as long as the draft has let no more through; and scores of trust are those that the live policy had led to.
package rehearsal

import (
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/tools"
)

// A Kind is a way in which the draft differs from what happened.
type Kind string

// The kinds of difference.
const (
	Allowed       Kind = "newly_allowed"     // was refused, and would run
	Perhaps       Kind = "perhaps_allowed"   // was refused before its effect was known, and would have got further
	RefusedParked Kind = "refused_to_parked" // was refused, and would wait for people
	Refused       Kind = "newly_refused"     // ran or waited, and would be refused
	Parked        Kind = "newly_parked"      // ran, and would wait for people
	Unparked      Kind = "parked_to_run"     // waited for people, and would run
	OtherPeople   Kind = "other_people"      // waited for people, and would wait for others; see Compare
	OtherRefusal  Kind = "other_refusal"     // was refused, and would be for another reason; see Compare
)

// Kinds are all there are, in the order in which they are told.
var Kinds = []Kind{Refused, Parked, Unparked, Allowed, RefusedParked, Perhaps}

// A Rehearsal is a draft on its way through the record.
type Rehearsal struct {
	draft   *policy.Policy
	live    func(version int64) *policy.Policy // nil where it cannot be read
	report  Report
	ledger  ledger
	waiting map[string]*waiting // calls that wait, by id
	ended   string              // the one of them that came to nothing last
}

// A waiting call may still be refused when its turn comes, or give back what it holds of budgets.
type waiting struct {
	held
	same bool // the draft let it wait as well
}

// maxWaiting bounds how many calls that wait are followed. One beyond it counts as it was decided when it came.
const maxWaiting = 200_000

// New begins a rehearsal. live gives the policy of a version that was in force.
func New(draft *policy.Policy, live func(version int64) *policy.Policy) *Rehearsal {
	return &Rehearsal{draft: draft, live: live, report: newReport(draft), ledger: ledger{}, waiting: map[string]*waiting{}}
}

// Report is what was found so far.
func (r *Rehearsal) Report() Report { return r.report.told() }

// Ended notes that a call that waited came to nothing: what it held of budgets is free again. Where it was refused when its turn came, that
// is the next on record.
func (r *Rehearsal) Ended(call string) {
	r.forget("")
	if w := r.waiting[call]; w != nil {
		r.ledger.release(w.held)
		w.held, r.ended = held{}, call
	}
}

// forget stops following the call that ended last, unless it is this one.
func (r *Rehearsal) forget(but string) {
	if r.ended != but {
		delete(r.waiting, r.ended)
	}
	r.ended = ""
}

// Take decides one recorded call again.
func (r *Rehearsal) Take(c policy.Record) {
	r.forget(c.CallID)
	if c.Event == policy.EventResumed {
		r.resumed(c)
		return
	}
	r.report.Entries++
	if c.Status == "replayed" {
		r.report.Repeats++
		return
	}
	r.report.Calls++
	was := before(&c)
	switch loss := lost(&c, r.draft); {
	case was == kept:
		r.report.KeptRefused++
	case loss != "":
		r.report.unknown(loss)
	default:
		r.decide(c, was)
	}
}

// decide asks the draft about a call as it came.
func (r *Rehearsal) decide(c policy.Record, was policy.Outcome) {
	v, h := r.ask(&c, was)
	kind := differs(&c, was, v)
	r.report.count(kind, &c, v)
	if (c.Status == string(tools.PendingApproval) || c.Status == string(tools.Queued)) && len(r.waiting) < maxWaiting {
		r.waiting[c.CallID] = &waiting{held: h, same: kind == ""}
	}
}

// ask is the draft's verdict, with the budgets.
func (r *Rehearsal) ask(c *policy.Record, was policy.Outcome) (policy.Verdict, held) {
	f := &c.Facts
	v := verdict(r.draft, f)
	if c.Granted() && v.Outcome == policy.Park {
		v.Outcome = policy.Run // people have agreed beforehand
	}
	if f.Effect == nil {
		return v, held{}
	}
	return r.ledger.charge(c, was, v, r.charging(c))
}

// charging is the policy that charged the call when it came, where the draft charges it; else nil.
func (r *Rehearsal) charging(c *policy.Record) *policy.Policy {
	if len(r.draft.Document.Limits.Budgets) == 0 && !r.draft.Bounded(c.Facts.Profile) {
		return nil
	}
	return r.live(c.Version)
}

// resumed asks the draft about a call whose turn came after it had waited, where the draft had let it wait as well. Of the last step of a long
// call the effect is not on record: that one was decided when it began.
func (r *Rehearsal) resumed(c policy.Record) {
	r.report.Entries++
	w := r.waiting[c.CallID]
	if w == nil {
		return
	}
	delete(r.waiting, c.CallID)
	if c.Status != string(tools.Done) {
		r.ledger.release(w.held)
	}
	was := before(&c)
	if !w.same || was == kept || c.Facts.Effect == nil || lost(&c, r.draft) != "" {
		return
	}
	v := verdict(r.draft, &c.Facts)
	switch refuses := v.Outcome == policy.Refuse; {
	case refuses && was != policy.Refuse:
		r.report.recount(Refused, &c, v)
	case !refuses && was == policy.Refuse && c.RefusedBy != "budgets":
		r.report.recount(Perhaps, &c, v)
	}
}
