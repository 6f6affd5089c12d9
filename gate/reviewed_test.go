package gate

import (
	"fmt"
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

// An agent that was told no does not get round it by what makes no other question: a member that says what is so without it, another key,
// another order, other words, a sub-token of its own.
func TestADeniedQuestionIsTheSameHoweverItIsSpelled(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		key := h.mint(auth.Key{Name: "giver", Scopes: h.bot.Scopes, RequiresApproval: true, Ceiling: auth.MaxLevel, Depth: 1})
		out, err := h.call(key, "test_move", `{"thing":"lamp","amount":3}`)
		if err != nil {
			t.Fatal(err)
		}
		spellings := map[string]string{
			"as it was":                 `{"thing":"lamp","amount":3}`,
			"in another order":          `{"amount":3,"thing":"lamp"}`,
			"with a reason":             `{"thing":"lamp","amount":3,"reason":"because it stands in the way"}`,
			"under a key":               `{"thing":"lamp","amount":3,"idempotency_key":"k2"}`,
			"saying it is no rehearsal": `{"thing":"lamp","amount":3,"dry_run":false}`,
		}
		for name, args := range spellings {
			again, err := h.call(key, "test_move", args)
			if err != nil || h.result(again).JobID != h.result(out).JobID {
				t.Errorf("%s: asked anew while it waits (%v)", name, err)
			}
		}
		if err := h.vote(h.result(out).JobID, approvals.Deny); err != nil {
			t.Fatal(err)
		}
		for name, args := range spellings {
			args = strings.Replace(args, "k2", "k3", 1) // under k2 the first answer is told again
			for who, p := range map[string]auth.Principal{"the key": key, "a sub-token": h.give(key, auth.Delegation{Name: strings.ReplaceAll(name, " ", "-")})} {
				if _, err := h.call(p, "test_move", args); err == nil || asRefusal(err).Code != tools.ApprovalDenied {
					t.Errorf("%s, %s: %v", who, name, err)
				}
			}
		}
		if n := h.count(`SELECT COUNT(*) FROM approvals`); n != 1 {
			t.Errorf("people were asked %d times", n)
		}
	})
}

// A question that waits has reserved what it takes once, whoever asks again.
func TestAskingAgainReservesNothingMore(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		for range 3 {
			h.parked("test_move", oneLamp)
		}
		if n := h.count(`SELECT COUNT(*) FROM jobs`); n != 1 {
			t.Errorf("%d jobs", n)
		}
		if n := h.count(`SELECT COUNT(DISTINCT call_id) FROM budget_holds`); n > 1 {
			t.Errorf("%d calls hold a budget", n)
		}
	})
}

// Whoever administers may lend out nobody's roles that they could not give.
func TestNobodyLendsRolesThatTheyCouldNotGive(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		h.tx(func(tx *store.Tx) error {
			return auth.PutRole(tx, auth.Role{Merchant: h.merchant, Name: "clerk", Scopes: []auth.Scope{auth.KeysAdmin, auth.ApprovalsRead}})
		})
		people := h.people("carla clerk", "mara manager", "ann admin")
		ask := Deputising{Absent: "mara", Deputy: "carla", Until: h.db.Now().Add(time.Hour)}
		_, err := h.Deputise(t.Context(), By{Principal: people["carla"], Transport: "rest"}, ask)
		wantCode(t, err, tools.ForbiddenScope)
		if _, err := h.Deputise(t.Context(), By{Principal: people["ann"], Transport: "rest"}, ask); err != nil {
			t.Errorf("somebody who could give the role: %v", err)
		}
		if _, err := h.Deputise(t.Context(), By{Principal: people["carla"], Transport: "rest"}, Deputising{Deputy: "mara", Until: ask.Until}); err != nil {
			t.Errorf("for oneself: %v", err)
		}
	})
}

// One person cannot use up the delegations of all.
func TestOnePersonIsAwayInSoManyDelegations(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		people := h.people("mara manager", "jo manager")
		for i := range 25 {
			_, err := h.Deputise(t.Context(), By{Principal: people["mara"], Transport: "rest"}, Deputising{Deputy: "jo", Until: h.db.Now().Add(time.Hour)})
			if i < 20 && err != nil {
				t.Fatal(err)
			}
			if i >= 20 {
				wantCode(t, err, tools.LimitExceeded)
			}
		}
	})
}

// Text that a database cannot hold is an answer of ours and no fault inside.
func TestTextThatIsNoneIsRefusedAsSuch(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		id := h.parked("test_move", oneLamp).Approval.ApprovalID
		for _, bad := range []string{"a\x00b", "a\xffb"} {
			_, err := h.Vote(t.Context(), h.person, Ballot{ID: id, Decision: approvals.Deny, Reason: bad})
			wantCode(t, err, tools.InvalidArguments)
			_, err = h.CallOff(t.Context(), h.person, Ballot{ID: id, Reason: bad})
			wantCode(t, err, tools.InvalidArguments)
			_, err = h.Reconcile(t.Context(), h.person, Reconciliation{JobID: id, Outcome: tools.Happened, Reason: bad})
			wantCode(t, err, tools.InvalidArguments)
			_, err = h.Reconcile(t.Context(), h.person, Reconciliation{JobID: bad, Outcome: tools.Happened, Reason: "I looked"})
			wantCode(t, err, tools.NotFound)
		}
	})
}

// What somebody says to a request is kept and told to an agent: it is bounded, and holds no secret.
func TestAReasonToCallOffIsHeldToTheSameBounds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		admin := h.people("ann admin")["ann"]
		id := h.parked("test_move", oneLamp).Approval.ApprovalID
		for _, bad := range []string{strings.Repeat("x", maxReason+1), secret.New(secret.Key)} {
			_, err := h.CallOff(t.Context(), admin, Ballot{ID: id, Reason: bad})
			wantCode(t, err, tools.InvalidArguments)
			_, err = h.RevokeGrant(t.Context(), By{Principal: admin}, "gr_none", bad)
			wantCode(t, err, tools.InvalidArguments)
		}
		if _, err := h.CallOff(t.Context(), admin, Ballot{ID: id, Reason: "not today"}); err != nil {
			t.Fatal(err)
		}
		if e := h.entries("approval.cancelled"); len(e) != 1 || e[0].Digests["reason"] == "" {
			t.Errorf("why is not on record: %+v", e)
		}
	})
}

// A standing grant for what cannot be undone is consent to all of it: it takes what consent to one such call takes.
func TestAGrantOfWhatCannotBeUndoneTakesAConfirmation(t *testing.T) {
	granting(t, func(t *testing.T, h *house, _ *hook, people map[string]auth.Principal) {
		asked := h.wish(people["ann"], h.upTo(h.parked("test_move", oneLamp).JobID, 3))
		d, err := h.Request(t.Context(), people["max"], asked.JobID)
		if err != nil {
			t.Fatal(err)
		}
		if u := h.undoOf(d.Request); u.Never == "" {
			t.Error("the question does not say that the calls cannot be undone")
		}
	})
}

// What the server remarks about a call may change by itself, such as how old an order is. That makes no other question of it.
func TestADenialOutlivesWhatTheServerRemarks(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		looks := 0
		k.preview = func(c *tools.Call, in moveIn) (tools.Preview, error) {
			looks++
			p, err := h.previewMove(c, in)
			p.Warnings = []string{fmt.Sprintf("The order is %d days old.", looks)}
			return p, err
		}
		first := h.parked("test_hook", oneLamp).JobID
		if again := h.parked("test_hook", oneLamp).JobID; again != first {
			t.Error("asked twice")
		}
		if err := h.vote(first, approvals.Deny); err != nil {
			t.Fatal(err)
		}
		_, err := h.call(h.bot, "test_hook", oneLamp)
		wantCode(t, err, tools.ApprovalDenied)
	})
}
