package approvals

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// The oracle of the property tests: who may vote, and when it is enough, read naively off what is written about it and from nothing but the
// decisions that were acknowledged. It shares with the machine the types and the table of who is who, and no code that decides.

// A townsman is somebody who may vote or not, in a town of the tests.
type townsman struct {
	id     string
	roles  []string
	active bool
}

// A town is who there is and who stands in for whom. The roles clerk and chief are special: a clerk decides nothing, a chief may override.
type town struct {
	people  []*townsman
	deputy  map[[2]string]bool // who, for whom
	changed bool               // since somebody looked
}

const (
	clerk = "clerk"
	chief = "chief"
)

var townRoles = []string{"marketing", "manager", "finance", "security", clerk, chief}

func newTown(rng *rand.Rand, people int) *town {
	w := &town{deputy: map[[2]string]bool{}, changed: true}
	for i := range people {
		w.people = append(w.people, &townsman{id: fmt.Sprint("p", i), roles: someRoles(rng), active: true})
	}
	return w
}

func someRoles(rng *rand.Rand) []string {
	roles := []string{townRoles[rng.IntN(len(townRoles))]}
	if rng.IntN(3) == 0 {
		roles = append(roles, townRoles[rng.IntN(len(townRoles))])
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

func (w *town) find(id string) *townsman {
	for _, p := range w.people {
		if p.id == id {
			return p
		}
	}
	return &townsman{id: id}
}

func (p *townsman) decides() bool {
	return p.active && slices.ContainsFunc(p.roles, func(role string) bool { return role != clerk })
}

func (p *townsman) overrides() bool { return p.active && slices.Contains(p.roles, chief) }

// voter is the town as the machine asks it.
func (w *town) voter(v Vote) (Voter, error) {
	p := w.find(v.PersonID)
	if !p.decides() {
		return Voter{}, nil
	}
	held := Voter{Decides: true, Overrides: p.overrides(), Roles: p.roles}
	if v.For == "" {
		return held, nil
	}
	absent := w.find(v.For)
	if !w.deputy[[2]string{v.PersonID, v.For}] || !absent.decides() {
		return Voter{}, ErrNoDeputy
	}
	held.Roles = slices.Concat(p.roles, absent.roles)
	return held, nil
}

// A decided is a decision of a person that was acknowledged.
type decided struct {
	person, absent string
	deny, override bool
	at             time.Time
	rolesNow       []string // what counts for it now; scratch of enough
}

// An oracle knows what was asked and what was acknowledged.
type oracle struct {
	*town
	rule    Rule
	chain   []string
	created time.Time
	stands  []decided // those that were not withdrawn
}

func naiveLeast(rule Rule) int {
	n := 1
	if rule.People > n {
		n = rule.People
	}
	if len(rule.Roles) > n {
		n = len(rule.Roles)
	}
	return n
}

// barred: nobody of the chain, but who answers for the agent where one person is enough, in the ordinary way.
func (o *oracle) barred(rule Rule, person string, override bool) bool {
	for i, link := range o.chain {
		if link != "person:"+person {
			continue
		}
		answersForIt := i > 0 && i == len(o.chain)-1
		if !answersForIt || override || naiveLeast(rule) > 1 {
			return true
		}
	}
	return false
}

// eligible: whoever may decide, or who has a role among those required, those beside them, and those of the escalations whose time had come.
func (o *oracle) eligible(rule Rule, roles []string, at time.Time) bool {
	named := strings.Join(rule.Roles, ",") + "," + strings.Join(rule.From, ",")
	if named == "," {
		return true
	}
	for _, step := range rule.Escalate {
		if !at.Before(o.created.Add(step.After)) {
			named += "," + strings.Join(step.To, ",")
		}
	}
	for _, role := range roles {
		if strings.Contains(","+named+",", ","+role+",") {
			return true
		}
	}
	return false
}

// rolesOf gives what somebody brings to a vote now, and whether they may vote at all.
func (o *oracle) rolesOf(person, absent string) ([]string, bool) {
	p := o.find(person)
	if !p.decides() {
		return nil, false
	}
	if absent == "" {
		return p.roles, true
	}
	if !o.deputy[[2]string{person, absent}] || !o.find(absent).decides() {
		return nil, false
	}
	return append(slices.Clone(p.roles), o.find(absent).roles...), true
}

// enough: no denial, and either an override that holds or some of the consents, no two of which speak for the same person, that are enough
// people and give every required role one of its own. It tries all subsets.
func (o *oracle) enough(rule Rule) bool {
	var good []decided
	for _, d := range o.stands {
		roles, may := o.rolesOf(d.person, d.absent)
		d.rolesNow = roles
		switch {
		case d.deny:
			return false
		case !may, o.barred(rule, d.person, d.override), d.absent != "" && o.barred(rule, d.absent, d.override):
		case d.override && rule.Override && o.find(d.person).overrides():
			return true
		case o.eligible(rule, roles, d.at):
			good = append(good, d)
		}
	}
	for subset := range 1 << len(good) {
		var people []string
		var held [][]string
		for i, d := range good {
			if subset&(1<<i) == 0 {
				continue
			}
			people, held = append(people, d.person), append(held, d.rolesNow)
			if d.absent != "" {
				people = append(people, d.absent)
			}
		}
		slices.Sort(people)
		distinct := len(slices.Compact(slices.Clone(people))) == len(people)
		if distinct && len(held) >= naiveLeast(rule) && seated(rule.Roles, held) == len(rule.Roles) {
			return true
		}
	}
	return false
}

// mayVote says whether a vote counts by who casts it and for whom, and what was said before.
func (o *oracle) mayVote(v Vote, now time.Time) bool {
	roles, may := o.rolesOf(v.PersonID, v.For)
	if !may || o.barred(o.rule, v.PersonID, v.Override) || v.For != "" && o.barred(o.rule, v.For, v.Override) {
		return false
	}
	if v.Override && (!o.rule.Override || !o.find(v.PersonID).overrides()) || !v.Override && !o.eligible(o.rule, roles, now) {
		return false
	}
	if v.Decision == Deny {
		return true // once nobody may say no any more there is no veto
	}
	for _, d := range o.stands {
		if !overlap(d, v) {
			continue
		}
		own := d.person == v.PersonID
		again := own && d.absent == v.For && d.override == v.Override && o.enough(o.rule) // the roles have become enough since
		stronger := own && v.Override && !d.override
		if !again && !stronger {
			return false
		}
	}
	return true
}

// overlap: some person is used by both.
func overlap(d decided, v Vote) bool {
	for _, a := range []string{d.person, d.absent} {
		for _, b := range []string{v.PersonID, v.For} {
			if a != "" && a == b {
				return true
			}
		}
	}
	return false
}

// hear notes a vote that was acknowledged.
func (o *oracle) hear(v Vote, now time.Time) (again bool) {
	for _, d := range o.stands {
		if d.person == v.PersonID && d.absent == v.For && d.deny == (v.Decision == Deny) && d.override == v.Override {
			return true
		}
	}
	o.forget(v.PersonID)
	o.stands = append(o.stands, decided{person: v.PersonID, absent: v.For, deny: v.Decision == Deny, override: v.Override, at: now})
	return false
}

func (o *oracle) forget(person string) {
	o.stands = slices.DeleteFunc(o.stands, func(d decided) bool { return d.person == person })
}

func (o *oracle) hasConsent(person string) bool {
	return slices.ContainsFunc(o.stands, func(d decided) bool { return d.person == person && !d.deny })
}
