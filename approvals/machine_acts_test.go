package approvals

import (
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/tools"
)

// The acts of a trial: each does something to the case or to its world, and holds the machine to what the oracle says of it.

// vote casts what somebody would: mostly a vote that counts, of somebody who may, and often enough one that is wrong in some way.
func (tr *trial) vote() {
	v := tr.someVote()
	if tr.rng.IntN(4) > 0 {
		for range 16 { // somebody who may, if there is one
			if tr.counts(v) {
				break
			}
			v = tr.someVote()
		}
	}
	want := tr.counts(v)
	err := tr.apply(Event{Act: ActVote, Vote: v})
	if (err == nil) != want {
		tr.fail("a vote %+v: %v; the naive way says %v", v, err, want)
	}
	if err == nil {
		tr.voted(v)
	}
}

// someVote is mostly sound in what it names, and that of anybody.
func (tr *trial) someVote() Vote {
	odd := func(oneIn int) bool { return tr.rng.IntN(oneIn) == 0 }
	people := tr.o.people
	v := Vote{PersonID: people[tr.rng.IntN(len(people))].id, Decision: Approve, Reason: "it looks right", Seen: tr.c.BindingHash, Acknowledged: !odd(4), Channel: "rest"}
	v.Person = "the person " + v.PersonID
	if odd(25) {
		v.Decision = Deny
	}
	if odd(10) || tr.c.Rule.Override && tr.o.find(v.PersonID).overrides() && odd(3) {
		v.Override = true
	}
	if odd(20) || v.Decision == Deny && odd(3) {
		v.Reason = []string{"", "  \n"}[tr.rng.IntN(2)]
	}
	if stands := tr.o.stands; len(stands) > 0 && odd(8) { // the same once more, or more than that
		v.PersonID, v.For = stands[0].person, stands[0].absent
		return v
	}
	if odd(20) {
		v.Seen = []string{"", "0123", tr.c.Fingerprint, strings.Repeat("0", 64), tr.c.BindingHash[:63]}[tr.rng.IntN(5)]
	}
	if odd(3) {
		v.For = people[tr.rng.IntN(len(people))].id
		for pair, is := range tr.o.deputy { // somebody for whom there is a deputy
			if is && odd(2) {
				v.PersonID, v.For = pair[0], pair[1]
			}
		}
		if v.For == v.PersonID {
			v.For = ""
		}
	}
	return v
}

// counts is whether a vote is to be taken, all in all.
func (tr *trial) counts(v Vote) bool {
	switch {
	case tr.c.State != Pending, !tr.live(), tr.altered:
		return false
	case v.Seen != tr.c.BindingHash && v.Seen != tr.c.Fingerprint:
		return false
	case (v.Override || v.Decision == Deny) && strings.TrimSpace(v.Reason) == "":
		return false
	case v.Decision == Approve && !v.Acknowledged && len(tr.c.Claims) > 0:
		return false
	}
	return tr.o.mayVote(v, tr.now)
}

// voted follows a vote that was taken.
func (tr *trial) voted(v Vote) {
	again := tr.o.hear(v, tr.now)
	want := Pending
	switch {
	case v.Decision == Deny:
		want, tr.vetoed = Rejected, true
	case tr.o.enough(tr.o.rule):
		want, tr.decidedAt = Approved, tr.now
		if tr.until = tr.now.Add(30 * time.Minute); tr.c.RunAfter.After(tr.now) {
			tr.until = tr.c.RunAfter.Add(30 * time.Minute)
		}
		if again {
			tr.n["approved by one who said so again"]++
		}
	}
	if tr.c.State != want {
		tr.fail("after the vote it is %s, want %s", tr.c.State, want)
	}
	tr.sameVotes()
	if want == Approved && !tr.c.ExecuteBefore.Equal(tr.until) {
		tr.fail("it may be used until %s, want %s", tr.c.ExecuteBefore, tr.until)
	}
}

// sameVotes holds the votes of the case to those that were acknowledged.
func (tr *trial) sameVotes() {
	var standing []Vote
	for _, v := range tr.c.Votes {
		if v.Withdrawn.IsZero() {
			standing = append(standing, v)
		}
	}
	if len(standing) != len(tr.o.stands) {
		tr.fail("%d votes stand, want %d", len(standing), len(tr.o.stands))
	}
	for _, d := range tr.o.stands {
		i := slices.IndexFunc(standing, func(v Vote) bool { return v.PersonID == d.person })
		if i < 0 || standing[i].For != d.absent || (standing[i].Decision == Deny) != d.deny || standing[i].Override != d.override ||
			standing[i].Seen != tr.hash || !standing[i].At.Equal(d.at) {
			tr.fail("the vote of %s is not as it was cast: %+v", d.person, standing)
		}
	}
}

func (tr *trial) withdraw() {
	people := tr.o.people
	person := people[tr.rng.IntN(len(people))].id
	if stands := tr.o.stands; len(stands) > 0 && tr.rng.IntN(3) > 0 {
		person = stands[tr.rng.IntN(len(stands))].person
	}
	want := tr.c.State == Pending && tr.live() && tr.o.hasConsent(person)
	err := tr.apply(Event{Act: ActWithdraw, Vote: Vote{PersonID: person}})
	if (err == nil) != want {
		tr.fail("%s withdraws: %v, want %v", person, err, want)
	}
	if err == nil {
		tr.o.forget(person)
		tr.sameVotes()
	}
}

// pass lets time go by, mostly little, and sometimes to the very moment at which something ends or begins.
func (tr *trial) pass() {
	moments := []time.Time{tr.c.ExpiresAt, tr.until}
	for _, e := range tr.c.Rule.Escalate {
		moments = append(moments, tr.c.CreatedAt.Add(e.After), tr.c.CreatedAt.Add(e.After))
	}
	if !tr.c.RunAfter.IsZero() {
		moments = append(moments, tr.c.RunAfter)
	}
	to := tr.now.Add(time.Duration(1+tr.rng.IntN(20)) * time.Minute)
	if tr.rng.IntN(3) == 0 {
		to = moments[tr.rng.IntN(len(moments))].Add(time.Duration(tr.rng.IntN(3)-1) * time.Microsecond)
	}
	if to.After(tr.now) {
		tr.now = to
	}
}

func (tr *trial) changePeople() {
	people := tr.o.people
	p, other := people[tr.rng.IntN(len(people))], people[tr.rng.IntN(len(people))]
	tr.o.changed = true
	if stands := tr.o.stands; len(stands) > 0 && tr.rng.IntN(3) == 0 { // one whose word counts
		p = tr.o.find(stands[tr.rng.IntN(len(stands))].person)
	}
	switch pair := [2]string{p.id, other.id}; {
	case tr.rng.IntN(3) > 0 && p != other:
		tr.o.deputy[pair] = tr.rng.IntN(4) > 0
	case tr.rng.IntN(4) == 0:
		p.active = !p.active
	default:
		p.roles = someRoles(tr.rng)
	}
}

func (tr *trial) escalate() {
	due := 0
	for _, e := range tr.c.Rule.Escalate {
		if !tr.now.Before(tr.c.CreatedAt.Add(e.After)) {
			due++
		}
	}
	level := tr.c.Level
	want := tr.c.State == Pending && tr.live() && due > level
	err := tr.apply(Event{Act: ActEscalate})
	if (err == nil) != want || want && tr.c.Level != due {
		tr.fail("an escalation to level %d: %v, want %v and %d", tr.c.Level, err, want, due)
	}
}

func (tr *trial) lapse() {
	want := (tr.c.State == Pending || tr.c.State == Approved) && !tr.live()
	err := tr.apply(Event{Act: ActLapse})
	if (err == nil) != want || want && tr.c.State != Expired {
		tr.fail("it lapses as %s: %v, want %v", tr.c.State, err, want)
	}
}

func (tr *trial) cancel() {
	want := tr.c.State == Pending || tr.c.State == Approved
	err := tr.apply(Event{Act: ActCancel, By: "key:bot", Why: "not needed"})
	if (err == nil) != want || want && tr.c.State != Cancelled {
		tr.fail("it is cancelled as %s: %v, want %v", tr.c.State, err, want)
	}
}

// changeFacts takes the ground from under an approval: the resource changes, the policy asks for more, the requester is gone.
func (tr *trial) changeFacts() {
	switch tr.rng.IntN(4) {
	case 0:
		tr.fresh = false
	case 1:
		tr.asker = false
	default:
		tr.policy = aRule(tr.rng)
	}
}

func (tr *trial) supersede() {
	if tr.fresh {
		return
	}
	want := tr.c.State == Pending
	changed := []tools.Change{{Field: "version of the object", From: "1", To: "2"}}
	err := tr.apply(Event{Act: ActSupersede, Changed: changed, Why: "it was changed"})
	if (err == nil) != want || want && (tr.c.State != Invalidated || len(tr.c.Changed) != 1) {
		tr.fail("it is superseded as %s: %v, want %v", tr.c.State, err, want)
	}
}

// run is what a worker does: it judges anew, and uses the approval or ends it. Whether it may is the oracle's to say.
func (tr *trial) run() {
	usable := tr.c.State == Approved && tr.live() && !tr.altered
	if !usable || tr.rng.IntN(8) == 0 { // a worker that does not look
		if err := tr.useBlindly(usable); !usable && err == nil {
			tr.fail("an approval was used that is not there, is stale or altered")
		}
		return
	}
	ok := tr.asker && tr.fresh
	for _, rule := range []Rule{tr.c.Rule, tr.policy} {
		is, err := tr.c.satisfied(rule, tr.world())
		if want := tr.o.enough(rule); is != want || err != nil {
			tr.fail("the votes satisfy %+v: %v %v; the naive way says %v", rule, is, err, want)
		}
		ok = ok && is
	}
	if !ok {
		if err := tr.apply(Event{Act: ActInvalidate, Why: "it changed"}); err != nil || tr.c.State != Invalidated {
			tr.fail("what may not run any more is %s: %v", tr.c.State, err)
		}
		return
	}
	tr.executes()
}

// useBlindly tries to use what cannot be used.
func (tr *trial) useBlindly(usable bool) error {
	if usable {
		return nil
	}
	return tr.apply(Event{Act: ActConsume})
}

func (tr *trial) executes() {
	if err := tr.apply(Event{Act: ActConsume}); err != nil || tr.c.State != Consumed {
		tr.fail("what may run is %s: %v", tr.c.State, err)
	}
	if tr.executed++; tr.executed > 1 || tr.vetoed || !tr.o.enough(tr.o.rule) {
		tr.fail("it ran %d times, after a veto: %v", tr.executed, tr.vetoed)
	}
	if len(tr.o.stands) > 1 {
		tr.n["consumed with two or more"]++
	}
	for _, d := range tr.o.stands {
		switch {
		case d.override:
			tr.n["consumed by an override"]++
		case d.absent != "":
			tr.n["consumed with a deputy"]++
		case !slices.ContainsFunc(tr.o.find(d.person).roles, func(r string) bool { return tr.c.Rule.Admits([]string{r}, 0) }):
			tr.n["consumed with somebody of an escalation"]++
		}
	}
}

// alter changes something of what is stored that was shown or bound.
func (tr *trial) alter() {
	if tr.altered || tr.also != nil || tr.ended != "" {
		return
	}
	tr.altered = true
	switch r := &tr.c.Request; tr.rng.IntN(7) {
	case 0:
		r.Preview.Customers++
	case 1:
		r.Facts = []tools.Fact{{Label: "Order", Value: "#1043"}}
	case 2:
		r.Rule.People++
	case 3:
		r.Rule.Override = !r.Rule.Override
	case 4:
		r.Binding.ArgsHash += "0"
	case 5:
		r.Binding.Chain = append(slices.Clone(r.Binding.Chain), "person:p5")
	case 6:
		r.BindingHash = strings.Repeat("0", 64)
		r.Fingerprint = Fingerprint(r.BindingHash)
	}
}

// finally lets time go on until nothing is open any more.
func (tr *trial) finally() {
	if tr.ended != "" {
		return
	}
	tr.run()
	if tr.ended == "" {
		tr.now = later(tr.c.ExpiresAt, tr.until)
		tr.lapse()
	}
	if tr.ended == "" {
		tr.fail("it never ends: %s", tr.c.State)
	}
}
