package gate

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// people are the house's people by name, with roles of those names: "mara marketing".
func (h *house) people(described ...string) map[string]auth.Principal {
	h.t.Helper()
	found := map[string]auth.Principal{}
	h.tx(func(tx *store.Tx) error {
		chief := auth.Role{Merchant: h.merchant, Name: "chief", Scopes: []auth.Scope{auth.ApprovalsResolve, auth.ApprovalsOverride}}
		if err := auth.PutRole(tx, chief); err != nil {
			return err
		}
		for _, d := range described {
			words := strings.Fields(d)
			if _, _, err := auth.AddPerson(tx, h.merchant, words[0], words[1:]...); err != nil {
				return err
			}
			p, err := auth.FindPerson(tx, h.merchant, words[0])
			if err != nil {
				return err
			}
			found[words[0]] = p
		}
		return nil
	})
	return found
}

// asked parks a move of one lamp for p under a rule, and gives its job.
func (h *house) asked(p auth.Principal, rule approvals.Rule) string {
	h.t.Helper()
	c := h.newCall(p, Request{Tool: "test_move", Args: []byte(oneLamp), Transport: "rest"})
	if err := h.judge(h.t.Context(), c, checks); err != nil {
		h.t.Fatal(err)
	}
	h.tx(func(tx *store.Tx) error {
		c.Tx = tx
		if err := h.judgeTx(c, writeChecks); err != nil {
			return err
		}
		binding, err := bind(c, nil)
		if err == nil {
			_, err = approvals.Park(tx, c.newJob(), approvals.Request{Class: c.class, Rule: rule, Binding: binding, Preview: c.preview})
		}
		return err
	})
	return c.job
}

func (h *house) ballot(p auth.Principal, b Ballot) (Decided, error) {
	b.Channel = "rest"
	if b.Decision == "" {
		b.Decision = approvals.Approve
	}
	return h.Vote(h.t.Context(), p, b)
}

// yes lets p approve what has to count.
func (h *house) yes(id string, p auth.Principal) Decided {
	h.t.Helper()
	d, err := h.ballot(p, Ballot{ID: id})
	if err != nil {
		h.t.Fatalf("%s: %v", p.Name, err)
	}
	return d
}

var bigSend = approvals.Rule{Name: "approvals.big-send", People: 2, Roles: []string{"marketing", "manager"}}

func TestACallRunsWhenAllWhomItWaitsForHaveAgreed(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		people := h.people("mara marketing", "jo manager")
		id := h.asked(h.bot, bigSend)
		for range 2 { // said again, it is answered alike
			if d := h.yes(id, people["mara"]); d.State != approvals.Pending || d.Missing != "1 person: one manager" || len(d.Votes) != 1 {
				t.Errorf("after one vote it is %s and needs %q", d.State, d.Missing)
			}
		}
		h.resume()
		h.want(id, tools.JobPending, 0)
		h.tx(func(tx *store.Tx) error {
			j, err := h.queue.Job(tx, h.bot, id)
			if a := j.Approval; a == nil || a.Rule != bigSend.Name || a.Needs != bigSend.Needs() || a.NeedsNow != "1 person: one manager" {
				t.Errorf("the agent is told %+v", a)
			}
			return err
		})
		if d := h.yes(id, people["jo"]); d.State != approvals.Approved || d.Missing != "" {
			t.Errorf("after both votes it is %s and needs %q", d.State, d.Missing)
		}
		h.resume()
		h.want(id, tools.JobSucceeded, 1)
	})
}

func TestWhoMayVoteIsSaidToWhoMayNot(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		people := h.people("mara marketing", "sue support", "sec security", "none", "ola manager", "chief chief")
		rule := bigSend
		rule.From, rule.Escalate = []string{"finance"}, []approvals.Escalation{{After: time.Hour, To: []string{"security"}}}
		owned := h.mint(auth.Key{Name: "owned", Scopes: []auth.Scope{"orders:refund"}, RequiresApproval: true, Ceiling: auth.MaxLevel, Owner: people["ola"].ID})
		id := h.asked(owned, rule)
		for name, says := range map[string]string{
			"sue":   "finance, manager, marketing",
			"sec":   "finance, manager, marketing",
			"chief": "finance, manager, marketing",
			"none":  "None of this person's roles may decide",
			"ola":   "has no say in it",
		} {
			for _, d := range []approvals.Decision{approvals.Approve, approvals.Deny} {
				_, err := h.ballot(people[name], Ballot{ID: id, Decision: d})
				if r := wantCode(t, err, tools.ForbiddenApprover); !strings.Contains(r.Message, says) {
					t.Errorf("%s is told %q, want %q in it", name, r.Message, says)
				}
			}
		}
		if d, err := h.Request(t.Context(), people["mara"], id); err != nil || len(d.Votes) != 0 {
			t.Errorf("%d votes were counted: %v", len(d.Votes), err)
		}
		k.pass(time.Hour)
		if d := h.yes(id, people["sec"]); d.State != approvals.Pending {
			t.Errorf("one vote of two: %s", d.State)
		}
		if d := h.yes(h.asked(owned, approvals.Rule{People: 1}), people["ola"]); d.State != approvals.Approved {
			t.Errorf("where one is enough, who answers for the agent decides: %s", d.State)
		}
	})
}

func TestOnlyWhomTheRuleLetsOverrides(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		people := h.people("mara marketing", "boss chief")
		may := bigSend
		may.Override = true
		id, strict := h.asked(h.bot, may), h.asked(h.bot, bigSend)
		for _, c := range []struct {
			who, id, reason string
			want            tools.Code
		}{
			{"mara", id, "urgent", tools.ForbiddenApprover},
			{"boss", strict, "urgent", tools.ForbiddenApprover},
			{"boss", id, "", tools.InvalidArguments},
			{"boss", id, " \n", tools.InvalidArguments},
		} {
			_, err := h.ballot(people[c.who], Ballot{ID: c.id, Override: true, Reason: c.reason})
			wantCode(t, err, c.want)
		}
		d, err := h.ballot(people["boss"], Ballot{ID: id, Override: true, Reason: "urgent"})
		if err != nil || d.State != approvals.Approved || !d.Votes[0].Override {
			t.Fatalf("%s: %v", d.State, err)
		}
		h.resume()
		h.want(id, tools.JobSucceeded, 1)
		if e := h.entries("approval.overridden"); len(e) != 1 || e[0].Status != "approve" {
			t.Errorf("on record: %+v", e)
		}
		denied := h.asked(h.bot, may)
		if d, err := h.ballot(people["boss"], Ballot{ID: denied, Override: true, Decision: approvals.Deny, Reason: "no"}); err != nil || d.State != approvals.Rejected {
			t.Errorf("%s: %v", d.State, err)
		}
	})
}

func TestARoleThatIsLostBetweenTheVoteAndTheRunIsAVoteLost(t *testing.T) {
	for name, lose := range map[string]func(*store.Tx, string, auth.Principal) error{
		"the role": func(tx *store.Tx, m string, p auth.Principal) error {
			return auth.GiveRoles(tx, m, p.ID, []string{"support"})
		},
		"the right": func(tx *store.Tx, m string, _ auth.Principal) error {
			return auth.PutRole(tx, auth.Role{Merchant: m, Name: "manager"})
		},
		"the override": func(tx *store.Tx, m string, _ auth.Principal) error {
			return auth.PutRole(tx, auth.Role{Merchant: m, Name: "chief", Scopes: []auth.Scope{auth.ApprovalsResolve}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			hooked(t, func(t *testing.T, h *house, _ *hook) {
				people := h.people("mara marketing", "jo manager", "boss chief")
				rule := bigSend
				rule.Override = true
				id := h.asked(h.bot, rule)
				h.yes(id, people["mara"])
				b := Ballot{ID: id}
				who := people["jo"]
				if name == "the override" {
					who, b.Override, b.Reason = people["boss"], true, "urgent"
				}
				if d, err := h.ballot(who, b); err != nil || d.State != approvals.Approved {
					t.Fatalf("%s: %v", d.State, err)
				}
				h.tx(func(tx *store.Tx) error { return lose(tx, h.merchant, who) })
				h.resume()
				h.want(id, tools.JobCancelled, 0)
				if j := h.job(id); j.Reason != "invalidated" || !strings.Contains(j.Why, "2 people: one marketing, one manager") {
					t.Errorf("%s: %s", j.Reason, j.Why)
				}
			})
		})
	}
}

func TestALongQuestionKeepsItsKeyUntilItsAnswerIsKnown(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		args := strings.Replace(oneLamp, "{", `{"idempotency_key":"k",`, 1)
		first := h.parked("test_move", args)
		const open = 20 * 24 * time.Hour // as of a rule that gives people so long
		h.exec(`UPDATE approvals SET expires_at = expires_at + $1`, open.Microseconds())
		k.pass(open)
		h.sweep()
		h.yes(first.JobID, h.person)
		h.resume()
		h.sweep()
		if again := h.parked("test_move", args); again.JobID != first.JobID || h.effects() != 1 {
			t.Errorf("a repeat became %s, the call %s; %d effects", again.JobID, first.JobID, h.effects())
		}
	})
}

func TestVotesThatComeAtOnceAreAllCounted(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		people := h.people("mara marketing", "jo manager", "boss marketing manager")
		const requests = 10
		for range requests {
			id := h.asked(h.bot, bigSend)
			var all sync.WaitGroup
			var late atomic.Int64
			for _, p := range people {
				all.Go(func() {
					_, err := h.ballot(p, Ballot{ID: id})
					if r := (*tools.Refusal)(nil); errors.As(err, &r) && r.Code == tools.Conflict {
						late.Add(1)
					} else if err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			d, err := h.Request(t.Context(), h.person, id)
			if err != nil || d.State != approvals.Approved || len(d.Votes)+int(late.Load()) != len(people) {
				t.Fatalf("it is %s with %d votes and %d late ones: %v", d.State, len(d.Votes), late.Load(), err)
			}
		}
		h.resume()
		if h.effects() != requests || len(h.entries("approval.approved")) != requests {
			t.Errorf("%d effects and %d approvals of %d requests", h.effects(), len(h.entries("approval.approved")), requests)
		}
	})
}
