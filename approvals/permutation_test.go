//go:build !race

package approvals

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/tools"
)

// Every order in which nine things may happen to one request, tried on the pure machine (after the isolation tester of PostgreSQL, which runs
// every interleaving of named steps). The machine is a function, so that orders with the same beginning share it: 986,409 events for the
// 362,880 orders.

// A permuted is a request in the middle of an order.
type permuted struct {
	c                    Case
	now                  time.Time
	gone                 string // the approver who was revoked
	asker, strict, fresh bool
	ran                  int
	acknowledged         []Vote
	vetoed               bool // a denial was acknowledged
	order                []string
}

var (
	permutedRule   = Rule{Name: "two", People: 2, Roles: []string{"marketing", "manager"}}
	permutedStrict = Rule{Name: "three", People: 3}
	permutedRoles  = map[string][]string{"mara": {"marketing"}, "jo": {"manager"}, "vic": {"manager"}}
)

func (p *permuted) world() World {
	return World{Now: p.now, Voter: func(v Vote) (Voter, error) {
		return Voter{Decides: v.PersonID != p.gone, Roles: permutedRoles[v.PersonID]}, nil
	}}
}

func (p *permuted) cast(t *testing.T, person string, d Decision) {
	v := Vote{PersonID: person, Decision: d, Reason: "because", Seen: p.c.BindingHash}
	next, _, err := p.c.Apply(Event{Act: ActVote, Vote: v}, p.world())
	if err == nil {
		p.acknowledged = append(slices.Clip(p.acknowledged), v)
		p.vetoed = p.vetoed || d == Deny
	} else if !errors.Is(err, ErrDecided) && !errors.Is(err, ErrExpired) && !errors.Is(err, ErrNoDecider) {
		t.Fatalf("%v: %s is told %v", p.order, person, err)
	}
	p.c = next
}

// consume is what a worker does: it judges, and then runs or ends it.
func (p *permuted) consume(t *testing.T) {
	if p.c.State != Approved {
		if _, _, err := p.c.Apply(Event{Act: ActConsume}, p.world()); err == nil {
			t.Fatalf("%v: it was used as %s", p.order, p.c.State)
		}
		return
	}
	rule := permutedRule
	if p.strict {
		rule = permutedStrict
	}
	agreed, err1 := p.c.satisfied(permutedRule, p.world())
	still, err2 := p.c.satisfied(rule, p.world())
	act := ActInvalidate
	switch {
	case p.c.Overdue(p.now):
		act = ActLapse
	case agreed && still && p.asker && p.fresh:
		act = ActConsume
	}
	next, _, err := p.c.Apply(Event{Act: act}, p.world())
	if err := errors.Join(err, err1, err2); err != nil {
		t.Fatalf("%v: %s of an approval: %v", p.order, act, err)
	}
	if p.c = next; act == ActConsume {
		p.ran++
	}
}

var permutedSteps = map[string]func(*testing.T, *permuted){
	"approve1":         func(t *testing.T, p *permuted) { p.cast(t, "mara", Approve) },
	"approve2":         func(t *testing.T, p *permuted) { p.cast(t, "jo", Approve) },
	"veto":             func(t *testing.T, p *permuted) { p.cast(t, "vic", Deny) },
	"consume":          func(t *testing.T, p *permuted) { p.consume(t) },
	"revoke requester": func(_ *testing.T, p *permuted) { p.asker = false },
	"revoke approver":  func(_ *testing.T, p *permuted) { p.gone = "mara" },
	"edit policy":      func(_ *testing.T, p *permuted) { p.strict = true },
	"change resource":  func(_ *testing.T, p *permuted) { p.fresh = false },
	"expire": func(_ *testing.T, p *permuted) {
		p.now = p.now.Add(TimeToDecide)
		if next, _, err := p.c.Apply(Event{Act: ActLapse}, p.world()); err == nil {
			p.c = next
		}
	},
}

// mayRun is what is to come of an order, by the places of its steps alone: it runs when both have agreed before, and nothing has been taken
// away; and no denial was in time, which it is until both have agreed.
func mayRun(order []string) bool {
	at := func(step string) int {
		if i := slices.Index(order, step); i >= 0 {
			return i
		}
		return len(order)
	}
	agreed, consumed := max(at("approve1"), at("approve2")), at("consume")
	if agreed == len(order) || consumed == len(order) || agreed > consumed || at("veto") < agreed {
		return false
	}
	for _, spoils := range []string{"expire", "revoke requester", "revoke approver", "edit policy", "change resource"} {
		if at(spoils) < consumed {
			return false
		}
	}
	return true
}

// judge holds the end of an order to what is to come of it.
func (p permuted) judge(t *testing.T) bool {
	want := mayRun(p.order)
	if p.ran > 1 || (p.ran == 1) != want {
		t.Fatalf("%v: it ran %d times, want %v", p.order, p.ran, want)
	}
	if p.ran == 1 && p.vetoed {
		t.Fatalf("%v: it ran after a denial that was acknowledged", p.order)
	}
	for _, v := range p.acknowledged {
		if !slices.ContainsFunc(p.c.Votes, func(kept Vote) bool { return kept.PersonID == v.PersonID && kept.Decision == v.Decision }) {
			t.Fatalf("%v: the vote of %s is lost", p.order, v.PersonID)
		}
	}
	if p.consume(t); p.ran > 1 || p.ran == 1 && !want {
		t.Fatalf("%v: once more, and it ran", p.order)
	}
	return want
}

// permute tries every order of the steps that are left, and counts the orders and those in which it ran.
func (p permuted) permute(t *testing.T, left []string) (orders, ran int) {
	if len(left) == 0 {
		if p.judge(t) {
			ran = 1
		}
		return 1, ran
	}
	for i, step := range left {
		next := p
		next.order = append(slices.Clip(p.order), step)
		permutedSteps[step](t, &next)
		n, m := next.permute(t, slices.Delete(slices.Clone(left), i, i+1))
		orders, ran = orders+n, ran+m
	}
	return orders, ran
}

func TestOfNoOrderOfNineStepsSomethingElseComes(t *testing.T) {
	r := Request{State: Pending, Rule: permutedRule, CreatedAt: startOfTime, ExpiresAt: startOfTime.Add(TimeToDecide), Binding: Binding{V: 1, Chain: []string{"key:bot"}}}
	var err error
	if r.Binding.EffectHash, err = EffectHash(r.Preview, nil); err == nil {
		err = r.bind()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := permuted{c: Case{Request: r, Job: tools.JobPending}, now: startOfTime, asker: true, fresh: true}
	steps := []string{"approve1", "approve2", "veto", "expire", "revoke requester", "revoke approver", "edit policy", "change resource", "consume"}
	orders, ran := p.permute(t, steps)
	if orders != 362_880 || ran == 0 {
		t.Errorf("%d orders were tried, in %d it ran", orders, ran)
	}
	t.Logf("%d orders, in %d it ran", orders, ran)
}
