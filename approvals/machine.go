package approvals

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals/claims"
	"github.com/dtcgate/dtcgate/tools"
)

// A Case is a request with its votes and the state of its job: all that a transition depends on, and all that it changes.
type Case struct {
	Request
	Job      tools.JobStatus
	RunAfter time.Time // the job is not to run before
}

// An Act is a kind of event.
type Act string

// What may happen to a case.
const (
	ActVote       Act = "vote"
	ActWithdraw   Act = "withdraw"   // a person takes back the own consent
	ActEscalate   Act = "escalate"   // the time of the next step has come
	ActCancel     Act = "cancel"     // whoever asked, or somebody above, calls it off
	ActSupersede  Act = "supersede"  // what is asked about was changed
	ActLapse      Act = "lapse"      // its time is over
	ActConsume    Act = "consume"    // the call is about to run
	ActInvalidate Act = "invalidate" // the call may not run any more
)

// An Event is something that happens to a case.
type Event struct {
	Act     Act
	Vote    Vote           // of ActVote, and whose it is of ActWithdraw
	Changed []tools.Change // of ActSupersede and ActInvalidate: what is not as it was shown
	Why     string         // in words, for whoever asked
	Code    string         // of ActSupersede and ActInvalidate
	By      string         // who did it, as in a chain; "": the gate, or of ActCancel whoever asked
}

// A World is what holds beside the case when something happens to it.
type World struct {
	Now time.Time
	// Voter gives what whoever cast a vote holds now: nothing for somebody who may not decide any more, and with the roles of the one
	// stood in for. A vote for somebody whom the person does not stand in for is ErrNoDeputy.
	Voter func(Vote) (Voter, error)
}

// A Voter is what somebody who votes holds.
type Voter struct {
	Decides, Overrides bool
	Roles              []string
}

// What a transition may meet.
var (
	ErrDecided   = errors.New("the request is decided already")
	ErrExpired   = errors.New("the request has expired")
	ErrVoted     = errors.New("this person has voted already")
	ErrUnseen    = errors.New("the vote does not name the hash that was seen")
	ErrOtherHash = errors.New("the request is bound to another hash than the one that was seen")
	ErrAltered   = errors.New("the stored request does not fit its hash")
	ErrBarred    = errors.New("the request was made for this person")
	ErrNoRole    = errors.New("none of this person's roles may vote on the request")
	ErrNoDecider = errors.New("this person may not decide")
	ErrNoDeputy  = errors.New("this person does not stand in for the other")
	ErrNoReason  = errors.New("the vote takes a reason")
	ErrNoRule    = errors.New("the rule lets nobody override it")
	ErrUnread    = errors.New("what does not fit the record is not acknowledged")
	ErrNotYet    = errors.New("its time has not come")
	ErrNoVote    = errors.New("this person has given no consent that could be withdrawn")
)

// A transition is one arrow of the machine: from where to where an act takes the request and its job, and what goes on record.
type transition struct {
	act          Act
	from, to     State
	job, jobThen tools.JobStatus
	event        string
}

// transitions are all arrows that change a state. A vote is ActVote until it decides; what it decides is decideBy.
var transitions = []transition{
	{actApprove, Pending, Approved, tools.JobPending, tools.JobQueued, "approval.approved"},
	{actReject, Pending, Rejected, tools.JobPending, tools.JobCancelled, "approval.rejected"},
	{ActCancel, Pending, Cancelled, tools.JobPending, tools.JobCancelled, "approval.cancelled"},
	{ActCancel, Approved, Cancelled, tools.JobQueued, tools.JobCancelled, "approval.cancelled"},
	{ActSupersede, Pending, Invalidated, tools.JobPending, tools.JobCancelled, "approval.invalidated"},
	{ActInvalidate, Approved, Invalidated, tools.JobQueued, tools.JobCancelled, "approval.invalidated"},
	{ActLapse, Pending, Expired, tools.JobPending, tools.JobExpired, "approval.expired"},
	{ActLapse, Approved, Expired, tools.JobQueued, tools.JobExpired, "approval.expired"},
	{ActConsume, Approved, Consumed, tools.JobQueued, tools.JobRunning, "approval.consumed"},
}

// What a vote decides.
const (
	actApprove Act = "approve"
	actReject  Act = "reject"
)

// Apply gives the case after an event, and the names of what goes on record. An event that may not happen changes nothing and is an error.
// It is pure: the same case, event and world give the same answer.
func (c Case) Apply(e Event, w World) (Case, []string, error) {
	switch e.Act {
	case ActVote:
		return c.vote(e.Vote, w)
	case ActWithdraw:
		return c.withdraw(e.Vote, w)
	case ActEscalate:
		return c.escalate(w.Now)
	case ActLapse:
		if !c.Overdue(w.Now) {
			return c, nil, ErrNotYet
		}
	case ActConsume:
		if err := c.usable(w.Now); err != nil {
			return c, nil, err
		}
	}
	next, event, err := c.follow(e.Act, w.Now)
	if err != nil {
		return c, nil, err
	}
	next.Changed = e.Changed
	return next, []string{event}, nil
}

// follow takes the arrow of an act from where the case stands.
func (c Case) follow(act Act, now time.Time) (Case, string, error) {
	at := slices.IndexFunc(transitions, func(t transition) bool { return t.act == act && t.from == c.State && t.job == c.Job })
	if at < 0 {
		return c, "", ErrDecided
	}
	t := transitions[at]
	c.State, c.Job = t.to, t.jobThen
	switch {
	case t.to == Approved:
		c.DecidedAt, c.ExecuteBefore = now, later(now, c.RunAfter).Add(TimeToRun)
	case t.to != Consumed:
		c.DecidedAt = now
	}
	return c, t.event, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// usable says why an approval cannot be used.
func (c Case) usable(now time.Time) error {
	switch {
	case c.State == Approved && c.Overdue(now):
		return ErrExpired
	case !c.Intact():
		return ErrAltered
	}
	return nil
}

// escalate takes the steps whose time has come.
func (c Case) escalate(now time.Time) (Case, []string, error) {
	if c.State != Pending || c.Overdue(now) {
		return c, nil, ErrDecided
	}
	var events []string
	for c.Level < len(c.Rule.Escalate) && now.Sub(c.CreatedAt) >= c.Rule.Escalate[c.Level].After {
		c.Level++
		events = append(events, "approval.escalated")
	}
	if events == nil {
		return c, nil, ErrNotYet
	}
	return c, events, nil
}

// EscalateAt is when the next step of escalation is due; the zero time when there is none.
func (r Request) EscalateAt() time.Time {
	if r.State != Pending || r.Level >= len(r.Rule.Escalate) {
		return time.Time{}
	}
	return r.CreatedAt.Add(r.Rule.Escalate[r.Level].After)
}

// vote counts a vote. A denial ends the request, and so does a consent with which there are enough; until then it stays pending. Somebody
// who says the same once more is ErrVoted, unless the roles of those who voted have become enough since.
func (c Case) vote(v Vote, w World) (Case, []string, error) {
	if err := c.Takes(v, w); err != nil {
		return c, nil, err
	}
	v.Seen, v.At = c.BindingHash, w.Now
	next, events, again := c, []string(nil), c.Heard(v)
	if !again {
		var err error
		if next, events, err = c.count(v); err != nil {
			return c, nil, err
		}
	}
	act := actReject
	if v.Decision == Approve {
		enough, err := next.satisfied(next.Rule, w)
		if err != nil {
			return c, nil, err
		}
		if !enough && again {
			return c, nil, ErrVoted
		}
		if !enough {
			return next, events, nil
		}
		act = actApprove
	}
	next, event, err := next.follow(act, w.Now)
	if err != nil {
		return c, nil, err
	}
	return next, append(events, event), nil
}

// count puts a vote among the others. A consent may become a denial or an override, and nothing else.
func (c Case) count(v Vote) (Case, []string, error) {
	rest := slices.Clone(c.Votes)
	for i, old := range c.Votes {
		switch {
		case !old.counts():
		case old.PersonID == v.PersonID && old.Decision == Approve && !old.Override && (v.Decision == Deny || v.Override):
			rest = slices.Delete(rest, i, i+1)
		case old.sharesPerson(v) && v.Decision == Approve: // a denial is never held back by somebody else's consent
			return c, nil, ErrVoted
		}
	}
	rest = slices.DeleteFunc(rest, func(old Vote) bool { return old.PersonID == v.PersonID }) // one that was withdrawn
	c.Votes = append(rest, v)
	if v.Override {
		return c, []string{"approval.vote", "approval.overridden"}, nil
	}
	return c, []string{"approval.vote"}, nil
}

// withdraw takes back a person's own consent.
func (c Case) withdraw(v Vote, w World) (Case, []string, error) {
	switch {
	case c.State != Pending:
		return c, nil, ErrDecided
	case c.Overdue(w.Now):
		return c, nil, ErrExpired
	}
	at := slices.IndexFunc(c.Votes, func(old Vote) bool { return old.PersonID == v.PersonID && old.Decision == Approve && old.counts() })
	if at < 0 {
		return c, nil, ErrNoVote
	}
	c.Votes = slices.Clone(c.Votes)
	c.Votes[at].Withdrawn = w.Now
	return c, []string{"approval.vote_withdrawn"}, nil
}

// Takes says why the case does not take a vote: the state and the time of the request, the hash that was seen, and whether this person may
// decide about it, now.
func (c Case) Takes(v Vote, w World) error {
	if err := c.open(v, w.Now); err != nil {
		return err
	}
	if c.Bars(c.Rule, v) {
		return ErrBarred
	}
	voter, err := w.Voter(v)
	switch {
	case err != nil:
		return err
	case !voter.Decides:
		return ErrNoDecider
	case v.Override && !c.Rule.Override:
		return ErrNoRule
	case v.Override && !voter.Overrides:
		return ErrNoRole
	case !v.Override && !c.Rule.Admits(voter.Roles, w.Now.Sub(c.CreatedAt)):
		return ErrNoRole
	case (v.Override || v.Decision == Deny) && strings.TrimSpace(v.Reason) == "":
		return ErrNoReason
	case v.Decision == Approve && !v.Acknowledged && c.contradicted():
		return ErrUnread
	}
	return nil
}

// open says why the request takes no vote at all, or not one that saw this.
func (c Case) open(v Vote, now time.Time) error {
	switch {
	case c.State == Expired || c.State == Pending && c.Overdue(now):
		return ErrExpired
	case c.State != Pending:
		return ErrDecided
	case v.Seen == "":
		return ErrUnseen
	case v.Seen != c.BindingHash && v.Seen != c.Fingerprint:
		return ErrOtherHash
	case !c.Intact():
		return ErrAltered
	}
	return nil
}

// contradicted reports whether what the agent says does not fit the record in something that matters.
func (r Request) contradicted() bool {
	return slices.ContainsFunc(r.Claims, func(c claims.Claim) bool { return c.Material })
}

// satisfied reports whether the votes satisfy a rule in this world.
func (c Case) satisfied(rule Rule, w World) (bool, error) {
	for _, one := range rule.parts() {
		if lacks, err := c.weigh(one, w.Voter); err != nil || !lacks.met() {
			return false, err
		}
	}
	return true, nil
}

// weigh gives what the votes lack to satisfy a rule, where the voters hold what read tells. No person counts twice, neither by the own
// vote nor by that of a deputy.
func (r Request) weigh(rule Rule, read func(Vote) (Voter, error)) (shortfall, error) {
	var yes [][]string
	var counted []Vote
	var overridden bool
	for _, v := range r.Votes {
		switch {
		case !v.counts():
			continue
		case v.Decision != Approve:
			return shortfall{people: rule.least()}, nil
		case r.Bars(rule, v), v.Seen != r.BindingHash, slices.ContainsFunc(counted, v.sharesPerson):
			continue
		}
		counted = append(counted, v)
		p, err := read(v)
		if errors.Is(err, ErrNoDeputy) {
			continue
		}
		switch {
		case err != nil:
			return shortfall{}, fmt.Errorf("reading who voted: %w", err)
		case v.Override && rule.Override && p.Overrides:
			overridden = true
		case p.Decides && rule.Admits(p.Roles, v.At.Sub(r.CreatedAt)):
			yes = append(yes, p.Roles)
		}
	}
	if overridden {
		return shortfall{}, nil
	}
	return rule.short(yes), nil
}

// counts reports whether the vote stands.
func (v Vote) counts() bool { return v.Withdrawn.IsZero() }

// sharesPerson reports whether two votes speak for the same person.
func (v Vote) sharesPerson(other Vote) bool {
	mine, others := v.speaksFor(), other.speaksFor()
	return slices.ContainsFunc(mine, func(person string) bool { return slices.Contains(others, person) })
}

// speaksFor are the people whom a vote uses up: whoever cast it, and the one stood in for.
func (v Vote) speaksFor() []string {
	if v.For == "" {
		return []string{v.PersonID}
	}
	return []string{v.PersonID, v.For}
}

// Heard reports whether the same person has said the same before.
func (r Request) Heard(v Vote) bool {
	return slices.ContainsFunc(r.Votes, func(old Vote) bool {
		return old.counts() && old.PersonID == v.PersonID && old.For == v.For && old.Decision == v.Decision && old.Override == v.Override &&
			(v.Seen == r.BindingHash || v.Seen == r.Fingerprint)
	})
}

// Bars reports whether a vote on r cannot count under a rule, because the person, or the one stood in for, is among those r was made for. Who
// answers for the agent, the last of its chain, may decide where one person is enough, and overrides nothing. Who asked in person never decides.
func (r Request) Bars(rule Rule, v Vote) bool {
	return slices.ContainsFunc(v.speaksFor(), func(person string) bool {
		at := slices.Index(r.Binding.Chain, "person:"+person)
		answers := at > 0 && at == len(r.Binding.Chain)-1
		return at >= 0 && (!answers || v.Override || rule.least() > 1)
	})
}
