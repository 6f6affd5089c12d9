package gate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

func TestAYesThatIsWithdrawnCountsNoMore(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		people := h.people("mara marketing", "jo manager")
		withdraw := func(p auth.Principal, id string) (Decided, error) {
			return h.Withdraw(t.Context(), p, Ballot{ID: id, Reason: "I looked again", Channel: "rest"})
		}
		id := h.asked(h.bot, bigSend)
		_, err := withdraw(people["mara"], id)
		wantCode(t, err, tools.Conflict)
		h.yes(id, people["mara"])
		_, err = withdraw(people["jo"], id) // nobody takes back what another said
		wantCode(t, err, tools.Conflict)
		d, err := withdraw(people["mara"], id)
		if err != nil || d.State != approvals.Pending || d.Missing != bigSend.Needs() || d.Votes[0].Withdrawn.IsZero() {
			t.Fatalf("%+v: %v", d.Request, err)
		}
		_, err = withdraw(people["mara"], id)
		wantCode(t, err, tools.Conflict)
		if d := h.yes(id, people["jo"]); d.State != approvals.Pending {
			t.Errorf("with one yes of two it is %s", d.State)
		}
		h.resume()
		h.want(id, tools.JobPending, 0)
		if d := h.yes(id, people["mara"]); d.State != approvals.Approved || len(d.Votes) != 2 {
			t.Errorf("said again it is %s with %d votes", d.State, len(d.Votes))
		}
		_, err = withdraw(people["mara"], id)
		wantCode(t, err, tools.Conflict) // it is decided
		if e := h.entries("approval.vote_withdrawn"); len(e) != 1 || e[0].Actor != "person:"+people["mara"].ID {
			t.Errorf("on record: %+v", e)
		}
		late := h.asked(h.bot, bigSend)
		h.yes(late, people["mara"])
		k.pass(approvals.TimeToDecide)
		_, err = withdraw(people["mara"], late)
		wantCode(t, err, tools.ApprovalExpired)
	})
}

// owned is a key for which somebody answers.
func (h *house) owned(p auth.Principal) auth.Principal {
	return h.mint(auth.Key{Name: "owned", Scopes: []auth.Scope{"orders:refund"}, RequiresApproval: true, Ceiling: auth.MaxLevel, Owner: p.ID})
}

func TestWhoMayCallOffWhatSomebodyElseAskedFor(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		people := h.people("ola manager", "jo manager", "ada admin")
		key := h.owned(people["ola"])
		off := func(p auth.Principal, id, reason string) (Decided, error) {
			return h.CallOff(t.Context(), p, Ballot{ID: id, Reason: reason, Channel: "rest"})
		}
		for _, name := range []string{"ola", "ada"} {
			waits, approved := h.asked(key, bigSend), h.asked(key, approvals.Rule{People: 1})
			h.yes(approved, people["jo"])
			for _, id := range []string{waits, approved} {
				for _, p := range []auth.Principal{people["jo"], h.bot, key} {
					_, err := off(p, id, "no")
					wantCode(t, err, tools.ForbiddenApprover)
				}
				d, err := off(people[name], id, " the shop is closed ")
				if err != nil || d.State != approvals.Cancelled || d.Job.Status != tools.JobCancelled || d.Job.Why != name+" called it off: the shop is closed" {
					t.Fatalf("%s: %s, %+v: %v", name, d.State, d.Job, err)
				}
				_, err = off(people[name], id, "no")
				wantCode(t, err, tools.Conflict)
			}
		}
		h.resume()
		if h.effects() != 0 {
			t.Errorf("%d effects of what was called off", h.effects())
		}
		id := h.asked(key, bigSend)
		for _, reason := range []string{strings.Repeat("x", maxReason+1), "use " + secret.New(secret.Key)} {
			_, err := off(people["ola"], id, reason)
			wantCode(t, err, tools.InvalidArguments)
			_, err = h.Withdraw(t.Context(), people["ola"], Ballot{ID: id, Reason: reason, Channel: "rest"})
			wantCode(t, err, tools.InvalidArguments)
		}
		for _, e := range h.entries("approval.cancelled") {
			if e.Actor != "person:"+people["ola"].ID && e.Actor != "person:"+people["ada"].ID {
				t.Errorf("on record %s called it off", e.Actor)
			}
		}
	})
}

func TestWhatHasRunIsNotCalledOff(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		id := h.approved("test_move")
		h.resume()
		admin := h.people("ada admin")["ada"]
		_, err := h.CallOff(t.Context(), admin, Ballot{ID: id, Channel: "rest"})
		wantCode(t, err, tools.Conflict)
		h.want(id, tools.JobSucceeded, 1)
	})
}

// An agent ends what those ask for who have their rights from it, and nothing else.
func TestAJobIsCancelledByItsCallerAndByThoseAbove(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		key := h.rooted(true)
		between := h.give(key, auth.Delegation{Depth: 1})
		leaf, sibling := h.give(between, auth.Delegation{}), h.give(between, auth.Delegation{})
		chain := []string{"subtoken:" + leaf.ID, "subtoken:" + between.ID, "key:" + key.ID, "person:" + h.person.ID}
		cancel := func(p auth.Principal, id string) (j tools.Job, err error) {
			err = h.db.InTx(t.Context(), func(tx *store.Tx) error {
				j, err = h.queue.CancelJob(tx, p, id, "wrong text")
				return err
			})
			return j, err
		}
		for at, p := range []auth.Principal{leaf, between, key} {
			out, err := h.call(leaf, "test_move", lamps(at+1))
			if err != nil {
				t.Fatal(err)
			}
			id := h.result(out).JobID
			for _, other := range []auth.Principal{sibling, h.bot, h.person} {
				if _, err := cancel(other, id); err != store.ErrNotFound {
					t.Errorf("%s cancels the job of another: %v", other.Name, err)
				}
			}
			j, err := cancel(p, id)
			if err != nil || j.Status != tools.JobCancelled || !strings.HasSuffix(j.Why, " cancelled it before it began: wrong text") {
				t.Fatalf("%s: %+v: %v", p.Name, j, err)
			}
			for _, event := range []string{"approval.cancelled", "job.cancelled"} {
				if e := h.entries(event)[0]; e.JobID != id || e.Actor != chain[at] || !slices.Equal(e.Chain, chain[at:]) {
					t.Errorf("%s by %s is on record as by %s, %v", event, p.Name, e.Actor, e.Chain)
				}
			}
		}
		out, err := h.call(between, "test_move", lamps(9))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cancel(leaf, h.result(out).JobID); err != store.ErrNotFound {
			t.Errorf("a sub-token cancels the job of its giver: %v", err)
		}
	})
}

func TestARunningJobOfASubTokenIsAskedToStop(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		key := h.rooted(false)
		leaf := h.give(key, auth.Delegation{})
		out, err := h.call(leaf, "test_walk", `{"thing":"lamp","amount":5}`)
		if err != nil {
			t.Fatal(err)
		}
		h.tx(func(tx *store.Tx) error {
			j, _, err := approvals.Claim(tx, "w")
			if err == nil {
				_, err = h.begin(tx, j, "w", nil)
			}
			return err
		})
		h.tx(func(tx *store.Tx) error {
			j, err := h.queue.CancelJob(tx, key, h.result(out).JobID, "")
			if j.Status != tools.JobRunning {
				t.Errorf("it is %s", j.Status)
			}
			return err
		})
		if e := h.entries("job.stop_asked"); len(e) != 1 || e[0].Actor != "key:"+key.ID {
			t.Errorf("on record: %+v", e)
		}
	})
}

func TestAReportIsForPeople(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		h.yes(h.asked(h.bot, approvals.Rule{People: 1}), h.person)
		k.pass(25 * time.Hour)
		h.asked(h.bot, approvals.Rule{People: 1})
		for days, asked := range map[int]int64{1: 1, 2: 2, 90: 2} {
			if all, err := h.ApprovalReport(t.Context(), h.person, days); err != nil || len(all) != 1 || all[0].Asked != asked || all[0].Rule == "" {
				t.Errorf("of %d days: %+v, %v", days, all, err)
			}
		}
		for _, days := range []int{0, -1, 91} {
			_, err := h.ApprovalReport(t.Context(), h.person, days)
			wantCode(t, err, tools.InvalidArguments)
		}
		_, err := h.ApprovalReport(t.Context(), h.bot, 7)
		wantCode(t, err, tools.ForbiddenApprover)
		_, err = h.ApprovalReport(t.Context(), h.people("none")["none"], 7)
		wantCode(t, err, tools.ForbiddenScope)
	})
}
