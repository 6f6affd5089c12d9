package gate

import (
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// away lets deputy stand in for absent for so long, by the absent person's own word.
func (h *house) away(absent, deputy auth.Principal, long time.Duration) approvals.Delegation {
	h.t.Helper()
	d, err := h.Deputise(h.t.Context(), By{Principal: absent, Transport: "rest"}, Deputising{Deputy: deputy.Name, Until: h.db.Now().Add(long)})
	if err != nil {
		h.t.Fatalf("%s for %s: %v", deputy.Name, absent.Name, err)
	}
	return d
}

// refuses holds a vote to a refusal, and to counting nothing.
func (h *house) refuses(id string, p auth.Principal, b Ballot, code tools.Code, says string) {
	h.t.Helper()
	was := len(h.request(id).Votes)
	b.ID = id
	_, err := h.ballot(p, b)
	if r := wantCode(h.t, err, code); !strings.Contains(r.Message, says) {
		h.t.Errorf("%s is told %q, want %q in it", p.Name, r.Message, says)
	}
	if now := len(h.request(id).Votes); now != was {
		h.t.Errorf("a vote of %s that was refused made %d votes of %d", p.Name, now, was)
	}
}

func TestWhoMaySayWhoStandsIn(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx, now := t.Context(), time.Now()
		o.db.Now = func() time.Time { return now }
		mara, jo := o.hire("mara", "marketing"), o.hire("jo", "manager")
		say := func(by By, absent, deputy string) error {
			_, err := o.Deputise(ctx, by, Deputising{Absent: absent, Deputy: deputy, Until: now.Add(time.Hour)})
			return err
		}
		o.must("for oneself", say(mara, "", "jo"))
		o.must("an admin for somebody else", say(o.admin, "mara", "jo"))
		o.must("the operator for somebody else", say(o.operator, "mara", jo.Principal.ID))
		session := o.signIn(mara)
		o.must("in a new session", say(session, "", "jo"))
		now = now.Add(auth.StepUpTime + time.Second)
		for what, c := range map[string]struct {
			err  error
			code tools.Code
		}{
			"in an old session":              {say(session, "", "jo"), tools.StepUpRequired},
			"for somebody else":              {say(jo, "mara", "jo"), tools.ForbiddenScope},
			"for oneself by name":            {say(mara, "mara", "jo"), tools.ForbiddenScope},
			"an agent for itself":            {say(By{Principal: o.bot}, "", "jo"), tools.ForbiddenApprover},
			"an agent for somebody":          {say(By{Principal: o.bot}, "mara", "jo"), tools.ForbiddenScope},
			"an agent as deputy":             {say(mara, "", o.bot.ID), tools.NotFound},
			"nobody as deputy":               {say(mara, "", "eve"), tools.NotFound},
			"for nobody":                     {say(o.guard, "eve", "jo"), tools.NotFound},
			"the operator for nobody at all": {say(o.operator, "", "jo"), tools.InvalidArguments},
			"for oneself as deputy":          {say(mara, "", "mara"), tools.InvalidArguments},
		} {
			o.refused(what, c.code, c.err)
		}
		for what, span := range map[string][2]time.Duration{
			"over already": {-2 * time.Hour, -time.Hour}, "no time": {time.Hour, time.Hour}, "too long": {0, approvals.MaxDelegation + time.Second},
		} {
			_, err := o.Deputise(ctx, mara, Deputising{Deputy: "jo", From: now.Add(span[0]), Until: now.Add(span[1])})
			o.refused(what, tools.InvalidArguments, err)
		}
		if n := o.count(`SELECT COUNT(*) FROM delegations`); n != 4 {
			t.Errorf("there are %d delegations, want 4", n)
		}
		if made, not := len(o.entries("approval.delegated")), len(o.entries("approval.delegated.refused")); made != 4 || not != 13 {
			t.Errorf("%d are on record as made and %d as refused", made, not)
		}
	})
}

func TestWhoMayEndADelegation(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		mara, jo, sue := o.hire("mara", "marketing"), o.hire("jo", "manager"), o.hire("sue", "manager")
		end := func(by By, id string) error {
			_, err := o.EndDeputy(t.Context(), by, id)
			return err
		}
		for what, by := range map[string]By{"the absent person": mara, "the deputy": jo, "an admin": o.guard, "the operator": o.operator} {
			d := o.away(mara.Principal, jo.Principal, time.Hour)
			o.refused("somebody else", tools.ForbiddenScope, end(sue, d.ID))
			o.refused("an agent", tools.ForbiddenScope, end(By{Principal: o.bot}, d.ID))
			o.must(what, end(by, d.ID))
			o.refused(what+" again", tools.NotFound, end(by, d.ID))
		}
		o.refused("none", tools.NotFound, end(mara, "dlg_\x00"))
		_, err := o.Deputies(t.Context(), o.bot)
		o.refused("an agent that looks", tools.ForbiddenApprover, err)
		if all, err := o.Deputies(t.Context(), mara.Principal); err != nil || len(all) != 0 {
			t.Errorf("in force are %v: %v", all, err)
		}
	})
}

func TestADeputyBringsTheRolesOfTheAbsentPerson(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		people := h.people("mara marketing", "jo manager", "sue support")
		id := h.asked(h.bot, bigSend)
		h.refuses(id, people["sue"], Ballot{For: "mara"}, tools.ForbiddenApprover, "does not stand in")
		h.away(people["mara"], people["sue"], time.Hour)
		h.refuses(id, people["sue"], Ballot{}, tools.ForbiddenApprover, "This person has none of them")
		h.refuses(id, people["sue"], Ballot{For: "jo"}, tools.ForbiddenApprover, "does not stand in")
		h.refuses(id, people["sue"], Ballot{For: "nobody"}, tools.ForbiddenApprover, "does not stand in")
		d, err := h.ballot(people["sue"], Ballot{ID: id, For: "mara"})
		if err != nil || d.State != approvals.Pending || d.Missing != "1 person: one manager" || d.Votes[0].ForName != "mara" || d.Votes[0].Person != "sue" {
			t.Fatalf("%+v: %v", d.Request, err)
		}
		h.yes(id, people["jo"])
		h.resume()
		h.want(id, tools.JobSucceeded, 1)
		e := h.entries("approval.vote")[1]
		if want := []string{"person:" + people["sue"].ID, "person:" + people["mara"].ID}; e.Actor != want[0] || strings.Join(e.Chain, " ") != strings.Join(want, " ") {
			t.Errorf("on record is %s, %v", e.Actor, e.Chain)
		}
	})
}

func TestADeputysDenialEndsARequest(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		people := h.people("mara marketing", "sue support")
		h.away(people["mara"], people["sue"], time.Hour)
		id := h.asked(h.bot, bigSend)
		if d, err := h.ballot(people["sue"], Ballot{ID: id, For: "mara", Decision: approvals.Deny}); err != nil || d.State != approvals.Rejected {
			t.Errorf("it is %s: %v", d.State, err)
		}
	})
}

func TestNobodyCountsTwice(t *testing.T) {
	two := approvals.Rule{Name: "two", People: 2}
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		people := h.people("mara manager", "sue manager", "jo manager")
		h.away(people["mara"], people["sue"], time.Hour)
		h.away(people["mara"], people["jo"], time.Hour)
		h.away(people["jo"], people["sue"], time.Hour)
		both := h.asked(h.bot, two)
		h.yes(both, people["sue"])
		h.refuses(both, people["sue"], Ballot{For: "mara"}, tools.Conflict, "has a vote already")
		instead := h.asked(h.bot, two)
		if _, err := h.ballot(people["sue"], Ballot{ID: instead, For: "mara"}); err != nil {
			t.Fatal(err)
		}
		h.refuses(instead, people["sue"], Ballot{}, tools.Conflict, "has a vote already")
		h.refuses(instead, people["sue"], Ballot{For: "jo"}, tools.Conflict, "has a vote already")
		h.refuses(instead, people["jo"], Ballot{For: "mara"}, tools.Conflict, "has a vote already")
		h.refuses(instead, people["mara"], Ballot{}, tools.Conflict, "has a vote already")
		if d := h.yes(instead, people["jo"]); d.State != approvals.Approved {
			t.Errorf("two people said yes: %s", d.State)
		}
	})
}

func TestADeputyHandsNothingOn(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		people := h.people("mara marketing", "sue support", "tom support")
		h.away(people["mara"], people["sue"], time.Hour)
		h.away(people["sue"], people["tom"], time.Hour)
		id := h.asked(h.bot, bigSend)
		h.refuses(id, people["tom"], Ballot{For: "mara"}, tools.ForbiddenApprover, "does not stand in")
		h.refuses(id, people["tom"], Ballot{For: "sue"}, tools.ForbiddenApprover, "has none of them")
	})
}

func TestNobodyStandsInWhereEitherMayNotDecide(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		people := h.people("ola manager", "sue support", "none")
		owned := h.mint(auth.Key{Name: "owned", Scopes: []auth.Scope{"orders:refund"}, RequiresApproval: true, Ceiling: auth.MaxLevel, Owner: people["ola"].ID})
		h.away(people["ola"], people["sue"], time.Hour)
		h.away(people["sue"], people["ola"], time.Hour)
		h.away(people["sue"], people["none"], time.Hour)
		h.away(people["none"], people["sue"], time.Hour)
		id := h.asked(owned, approvals.Rule{Name: "two", People: 2})
		h.refuses(id, people["sue"], Ballot{For: "ola"}, tools.ForbiddenApprover, "has no say in it") // for whoever answers for the agent
		h.refuses(id, people["ola"], Ballot{For: "sue"}, tools.ForbiddenApprover, "has no say in it") // and whoever answers for it
		h.refuses(id, people["none"], Ballot{For: "sue"}, tools.ForbiddenApprover, "None of this person's roles")
		h.refuses(id, people["sue"], Ballot{For: "none"}, tools.ForbiddenApprover, "does not stand in")
	})
}

// A yes in place of somebody is as good as the delegation is when the call runs.
func TestADelegationThatEndsBetweenTheVoteAndTheRunIsAVoteLost(t *testing.T) {
	for name, end := range map[string]func(h *house, k *hook, d approvals.Delegation, people map[string]auth.Principal){
		"it is over": func(_ *house, k *hook, _ approvals.Delegation, _ map[string]auth.Principal) { k.pass(10 * time.Minute) },
		"it was ended": func(h *house, _ *hook, d approvals.Delegation, people map[string]auth.Principal) {
			if _, err := h.EndDeputy(h.t.Context(), By{Principal: people["mara"]}, d.ID); err != nil {
				h.t.Fatal(err)
			}
		},
		"the absent person left": func(h *house, _ *hook, _ approvals.Delegation, people map[string]auth.Principal) {
			h.tx(func(tx *store.Tx) error { return auth.RevokePerson(tx, h.merchant, people["mara"].ID) })
		},
		"the absent person lost the role": func(h *house, _ *hook, _ approvals.Delegation, people map[string]auth.Principal) {
			h.tx(func(tx *store.Tx) error {
				return auth.GiveRoles(tx, h.merchant, people["mara"].ID, []string{"support"})
			})
		},
		"the deputy left": func(h *house, _ *hook, _ approvals.Delegation, people map[string]auth.Principal) {
			h.tx(func(tx *store.Tx) error { return auth.RevokePerson(tx, h.merchant, people["sue"].ID) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			hooked(t, func(t *testing.T, h *house, k *hook) {
				people := h.people("mara marketing", "jo manager", "sue support")
				d := h.away(people["mara"], people["sue"], 10*time.Minute)
				id := h.asked(h.bot, bigSend)
				h.yes(id, people["jo"])
				if d, err := h.ballot(people["sue"], Ballot{ID: id, For: "mara"}); err != nil || d.State != approvals.Approved {
					t.Fatalf("%s: %v", d.State, err)
				}
				end(h, k, d, people)
				h.resume()
				h.want(id, tools.JobCancelled, 0)
				if j := h.job(id); j.Reason != "invalidated" || !strings.Contains(j.Why, "one marketing") {
					t.Errorf("%s: %s", j.Reason, j.Why)
				}
			})
		})
	}
}

func TestAVoteForSomebodyCountsNoMoreWhileARequestWaits(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		people := h.people("mara marketing", "jo manager", "sue support")
		h.away(people["mara"], people["sue"], 10*time.Minute)
		id := h.asked(h.bot, bigSend)
		if _, err := h.ballot(people["sue"], Ballot{ID: id, For: "mara"}); err != nil {
			t.Fatal(err)
		}
		k.pass(10 * time.Minute)
		if d := h.yes(id, people["jo"]); d.State != approvals.Pending || d.Missing != "1 person: one marketing" {
			t.Errorf("it is %s and needs %q", d.State, d.Missing)
		}
	})
}

func TestADelegationBeginsWhenItSays(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		people := h.people("mara marketing", "sue support")
		from := h.db.Now().Add(time.Hour)
		_, err := h.Deputise(t.Context(), h.operator(), Deputising{Absent: "mara", Deputy: "sue", From: from, Until: from.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		id := h.asked(h.bot, bigSend)
		h.refuses(id, people["sue"], Ballot{For: "mara"}, tools.ForbiddenApprover, "does not stand in")
		k.pass(time.Hour)
		if _, err := h.ballot(people["sue"], Ballot{ID: id, For: "mara"}); err != nil {
			t.Error(err)
		}
	})
}
