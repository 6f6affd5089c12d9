package gate

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// twoTiers is a policy under which moves wait for one manager, and those of more than a pound for a second person, who is of finance.
const twoTiers = policytest.Open + `
approvals:
- name: big
  classes: [spend]
  over: {money: {amount_minor: 100, currency: GBP}}
  need: {people: 2, roles: [finance], from: [manager], grants: true}
- name: small
  classes: [spend]
  need: {people: 1, from: [manager], grants: true}
`

// granting is hooked under twoTiers, with people who ask and decide.
func granting(t *testing.T, fn func(t *testing.T, h *house, k *hook, people map[string]auth.Principal)) {
	t.Helper()
	hooked(t, func(t *testing.T, h *house, k *hook) {
		h.publish(twoTiers)
		fn(t, h, k, h.people("ann manager", "max manager", "fin finance"))
	})
}

func pence(n int64) *approvals.Amounts {
	return &approvals.Amounts{Money: &shop.Money{AmountMinor: n, Currency: "GBP"}, Customers: 1}
}

// upTo wishes for that many moves of 1 to 5 lamps, of which each costs 10 pence.
func (h *house) upTo(from string, count int64) GrantWish {
	low, high := int64(1), int64(5)
	return GrantWish{
		From: from, Count: count, Each: pence(50), Until: h.db.Now().Add(time.Hour), Note: "lamps are moved all day",
		Bounds: map[string]approvals.Bound{"amount": {From: &low, To: &high}},
	}
}

func (h *house) by(p auth.Principal) By { return By{Principal: p, Transport: "rest"} }

// wish asks for a grant and gives the question.
func (h *house) wish(p auth.Principal, w GrantWish) GrantAsked {
	h.t.Helper()
	asked, err := h.AskForGrant(h.t.Context(), h.by(p), w)
	if err != nil {
		h.t.Fatal(err)
	}
	return asked
}

// allowed has people agree to a wish, and gives the grant.
func (h *house) allowed(asker auth.Principal, w GrantWish, agree ...auth.Principal) approvals.Grant {
	h.t.Helper()
	asked := h.wish(asker, w)
	for _, p := range agree {
		h.yes(asked.JobID, p)
	}
	h.resume()
	var g approvals.Grant
	if j := h.job(asked.JobID); j.Status != tools.JobSucceeded {
		h.t.Fatalf("the grant is %s: %s", j.Status, j.Why)
	} else if err := json.Unmarshal(j.Result, &g); err != nil {
		h.t.Fatal(err)
	}
	return g
}

// does calls test_move and tells whether it ran, or waits.
func (h *house) does(p auth.Principal, args string) tools.Status {
	h.t.Helper()
	out, err := h.call(p, "test_move", args)
	if err != nil {
		h.t.Fatal(err)
	}
	return out.Status
}

const threeLamps = `{"thing":"lamp","amount":3,"reason":"because it stands in the way"}`

func TestWhatPeopleAgreedToBeforehandRunsWithoutAsking(t *testing.T) {
	granting(t, func(t *testing.T, h *house, _ *hook, people map[string]auth.Principal) {
		from := h.parked("test_move", oneLamp).JobID
		g := h.allowed(people["ann"], h.upTo(from, 2), people["max"])
		for i, want := range []tools.Status{tools.Done, tools.Done, tools.PendingApproval} {
			if got := h.does(h.bot, threeLamps); got != want {
				t.Errorf("call %d is %s, want %s", i, got, want)
			}
		}
		e := h.entries("call")[1]
		if e.PolicyRule != "grant:"+g.ID || e.ApprovalID != g.Approval || e.Binding != g.Hash || e.Reason != "in place of approvals.small" {
			t.Errorf("recorded as %+v", e)
		}
		if len(h.entries("grant.asked")) != 1 || len(h.entries("grant.made")) != 1 {
			t.Error("that it was asked and made is not on record")
		}
		now, err := h.Grant(t.Context(), people["max"], g.ID)
		if err != nil || now.State != approvals.GrantUsedUp || now.Uses != 2 || now.Used.Minor() != 60 || now.Used.Customers != 2 {
			t.Errorf("the grant is %+v, %v", now, err)
		}
	})
}

func TestAGrantHoldsOnlyWhatItsBoundsHold(t *testing.T) {
	granting(t, func(t *testing.T, h *house, k *hook, people map[string]auth.Principal) {
		w := h.upTo(h.parked("test_move", oneLamp).JobID, 4)
		w.Total = pence(90)
		w.Total.Customers = 4
		h.allowed(people["ann"], w, people["max"])
		other := h.mint(auth.Key{Name: "other", Scopes: h.bot.Scopes, Ceiling: auth.MaxLevel})
		for _, c := range []struct {
			who  auth.Principal
			args string
			want tools.Status
		}{
			{other, `{"thing":"lamp","amount":1}`, tools.PendingApproval},
			{h.bot, `{"thing":"panics","amount":1}`, tools.PendingApproval},
			{h.bot, `{"thing":"lamp","amount":6}`, tools.PendingApproval},
			{h.bot, `{"thing":"lamp","amount":4,"dry_run":true}`, tools.DryRun},
			{h.bot, `{"thing":"lamp","amount":5,"idempotency_key":"k1"}`, tools.Done},
			{h.bot, `{"thing":"lamp","amount":5,"idempotency_key":"k1"}`, tools.Done}, // a repeat takes nothing
			{h.bot, `{"thing":"lamp","amount":5}`, tools.PendingApproval},             // 50 of 90 are gone
			{h.bot, `{"thing":"lamp","amount":4}`, tools.Done},
		} {
			if got := h.does(c.who, c.args); got != c.want {
				t.Errorf("%s %s is %s, want %s", c.who.Name, c.args, got, c.want)
			}
		}
		if h.effects() != 2 {
			t.Errorf("%d effects", h.effects())
		}
	})
}

func TestAGrantTakesAsMuchConsentAsItsCallsTogether(t *testing.T) {
	granting(t, func(t *testing.T, h *house, _ *hook, people map[string]auth.Principal) {
		from := h.parked("test_move", oneLamp).JobID
		asked := h.wish(people["ann"], h.upTo(from, 10)) // 10 times 50 pence are judged as five pounds
		var r approvals.Request
		h.tx(func(tx *store.Tx) (err error) {
			r, err = approvals.Find(tx, h.merchant, asked.JobID)
			return err
		})
		if r.Rule.Name != "approvals.big" || r.Rule.People != 2 || !strings.Contains(r.Preview.Summary, "£0.50 and 1 customers each, £5.00") {
			t.Errorf("people are asked by %+v: %s", r.Rule, r.Preview.Summary)
		}
		if d := h.yes(asked.JobID, people["max"]); d.State != approvals.Pending {
			t.Errorf("one manager was enough")
		}
		_, err := h.ballot(people["ann"], Ballot{ID: asked.JobID})
		wantCode(t, err, tools.ForbiddenApprover) // who asked has no say
		h.yes(asked.JobID, people["fin"])
		h.resume()
		if got := h.does(h.bot, threeLamps); got != tools.Done {
			t.Errorf("the call is %s", got)
		}
	})
}

func TestOnlyAPersonWhoMayDecideAsksForAGrant(t *testing.T) {
	granting(t, func(t *testing.T, h *house, _ *hook, people map[string]auth.Principal) {
		w := h.upTo(h.parked("test_move", oneLamp).JobID, 2)
		for _, p := range []auth.Principal{h.bot, h.people("none")["none"]} {
			_, err := h.AskForGrant(t.Context(), h.by(p), w)
			wantCode(t, err, tools.ForbiddenScope)
		}
		_, err := h.AskForGrant(t.Context(), h.by(auth.OperatorPrincipal(h.merchant)), w)
		wantCode(t, err, tools.ForbiddenApprover)
	})
}

func TestAWishThatMakesNoGrantSaysWhy(t *testing.T) {
	granting(t, func(t *testing.T, h *house, k *hook, people map[string]auth.Principal) {
		from, zero, one := h.parked("test_move", oneLamp).JobID, int64(0), int64(1)
		walks := h.parked("test_walk", oneLamp).JobID
		k.setFor(h, time.Hour)
		later := h.parked("test_hook", oneLamp).JobID
		for what, c := range map[string]struct {
			change func(*GrantWish)
			want   tools.Code
		}{
			"no calls":          {func(w *GrantWish) { w.Count = 0 }, tools.InvalidArguments},
			"too many":          {func(w *GrantWish) { w.Count = approvals.MaxGrantUses + 1 }, tools.InvalidArguments},
			"over":              {func(w *GrantWish) { w.Until = h.db.Now() }, tools.InvalidArguments},
			"too long":          {func(w *GrantWish) { w.Until = h.db.Now().Add(approvals.MaxGrantTime + time.Minute) }, tools.InvalidArguments},
			"no note":           {func(w *GrantWish) { w.Note = "" }, tools.InvalidArguments},
			"no such call":      {func(w *GrantWish) { w.From = "job_nothing" }, tools.NotFound},
			"many steps":        {func(w *GrantWish) { w.From = walks }, tools.Conflict},
			"set for later":     {func(w *GrantWish) { w.From = later }, tools.Conflict},
			"another argument":  {func(w *GrantWish) { w.Bounds["other"] = approvals.Bound{Any: true} }, tools.InvalidArguments},
			"a guard":           {func(w *GrantWish) { w.Bounds["reason"] = approvals.Bound{Any: true} }, tools.InvalidArguments},
			"anything":          {func(w *GrantWish) { w.Bounds["amount"] = approvals.Bound{Any: true} }, tools.InvalidArguments},
			"no way":            {func(w *GrantWish) { w.Bounds["amount"] = approvals.Bound{} }, tools.InvalidArguments},
			"two ways":          {func(w *GrantWish) { w.Bounds["thing"] = approvals.Bound{Any: true, From: &zero, To: &one} }, tools.InvalidArguments},
			"an empty range":    {func(w *GrantWish) { w.Bounds["amount"] = approvals.Bound{From: &one, To: &zero} }, tools.InvalidArguments},
			"other money":       {func(w *GrantWish) { w.Each.Money.Currency = "EUR" }, tools.InvalidArguments},
			"a total too small": {func(w *GrantWish) { w.Total = pence(49) }, tools.InvalidArguments},
		} {
			w := h.upTo(from, 2)
			c.change(&w)
			_, err := h.AskForGrant(t.Context(), h.by(people["ann"]), w)
			if r := asRefusal(err); err == nil || r.Code != c.want {
				t.Errorf("%s: %v, want %s", what, err, c.want)
			}
		}
		h.publish(strings.ReplaceAll(twoTiers, ", grants: true", ""))
		_, err := h.AskForGrant(t.Context(), h.by(people["ann"]), h.upTo(from, 2))
		wantCode(t, err, tools.ForbiddenByPolicy)
	})
}

func TestAGrantStops(t *testing.T) {
	for what, change := range map[string]func(h *house, k *hook, g approvals.Grant, people map[string]auth.Principal) error{
		"when somebody who may decide revokes it": func(h *house, _ *hook, g approvals.Grant, people map[string]auth.Principal) error {
			for range 2 { // again is answered alike
				if now, err := h.RevokeGrant(t.Context(), h.by(people["fin"]), g.ID, "enough"); err != nil || now.State != approvals.GrantRevoked {
					h.t.Errorf("revoked: %+v, %v", now, err)
				}
			}
			if n := len(h.entries("grant.revoked")); n != 1 {
				h.t.Errorf("%d entries", n)
			}
			return nil
		},
		"when its time is over": func(_ *house, k *hook, _ approvals.Grant, _ map[string]auth.Principal) error {
			k.pass(time.Hour)
			return nil
		},
		"when who agreed is gone": func(h *house, _ *hook, _ approvals.Grant, people map[string]auth.Principal) error {
			h.exec(`UPDATE people SET revoked_at = 1 WHERE id = $1`, people["max"].ID)
			return nil
		},
		"when who agreed lost the role": func(h *house, _ *hook, _ approvals.Grant, people map[string]auth.Principal) error {
			h.exec(`UPDATE person_roles SET role = 'support' WHERE person_id = $1`, people["max"].ID)
			return nil
		},
		"when the policy asks for more": func(h *house, _ *hook, _ approvals.Grant, _ map[string]auth.Principal) error {
			h.publish(strings.Replace(twoTiers, "people: 1", "people: 2", 1))
			return nil
		},
		"when the policy asks for more of all its calls together": func(h *house, _ *hook, _ approvals.Grant, _ map[string]auth.Principal) error {
			h.publish(strings.Replace(twoTiers, "amount_minor: 100", "amount_minor: 99", 1))
			return nil
		},
		"when the rule lets nobody agree beforehand": func(h *house, _ *hook, _ approvals.Grant, _ map[string]auth.Principal) error {
			h.publish(strings.ReplaceAll(twoTiers, ", grants: true", ""))
			return nil
		},
		"when the template is altered": func(h *house, _ *hook, _ approvals.Grant, _ map[string]auth.Principal) error {
			h.exec(`UPDATE grants SET template = REPLACE(template, '"to":5', '"to":9')`)
			return nil
		},
		"when the template is altered with its seal": func(h *house, _ *hook, g approvals.Grant, _ map[string]auth.Principal) error {
			text := strings.Replace(string(g.Text), `"to":5`, `"to":9`, 1)
			h.exec(`UPDATE grants SET template = $1, sha256 = $2`, text, approvals.Seal([]byte(text)))
			return nil
		},
		"when the question is altered": func(h *house, _ *hook, g approvals.Grant, _ map[string]auth.Principal) error {
			h.exec(`UPDATE approvals SET rule = REPLACE(rule, '"people":1', '"people":0') WHERE id = $1`, g.Approval)
			return nil
		},
		"when what it was made from is erased": func(h *house, _ *hook, _ approvals.Grant, _ map[string]auth.Principal) error {
			h.tx(func(tx *store.Tx) error {
				_, err := approvals.Forget(tx, h.merchant, []string{"thing:lamp"})
				return err
			})
			return nil
		},
		"when the tool takes other arguments": func(h *house, _ *hook, _ approvals.Grant, _ map[string]auth.Principal) error {
			for _, t := range h.tools.All() {
				if t.Name == "test_move" {
					t.Input.Hash += "x"
				}
			}
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			granting(t, func(t *testing.T, h *house, k *hook, people map[string]auth.Principal) {
				g := h.allowed(people["ann"], h.upTo(h.parked("test_move", oneLamp).JobID, 2), people["max"])
				h.tx(func(tx *store.Tx) (err error) {
					g, err = approvals.FindGrant(tx, h.merchant, g.ID)
					return err
				})
				if got := h.does(h.bot, `{"thing":"lamp","amount":2}`); got != tools.Done {
					t.Fatalf("before, the call is %s", got)
				}
				if err := change(h, k, g, people); err != nil {
					t.Fatal(err)
				}
				if got := h.does(h.bot, `{"thing":"lamp","amount":2}`); got != tools.PendingApproval || h.effects() != 1 {
					t.Errorf("the call is %s, with %d effects", got, h.effects())
				}
			})
		})
	}
}

func TestAGrantReplacesTheAskingAndNoOtherCheck(t *testing.T) {
	for what, c := range map[string]struct {
		change func(h *house)
		want   tools.Code
	}{
		"a freeze": {func(h *house) {
			h.publish(twoTiers + "freezes:\n- {name: now, from: 2000-01-01T00:00:00Z, to: 2100-01-01T00:00:00Z}\n")
		}, tools.Frozen},
		"a budget": {func(h *house) {
			h.publish(twoTiers + "limits:\n  budgets:\n  - {name: few, per: key, every: day, money: {amount_minor: 9, currency: GBP}}\n")
		}, tools.BudgetExceeded},
		"a ceiling": {func(h *house) { h.exec(`UPDATE agent_keys SET ceiling = 'L2'`) }, tools.RiskCeiling},
		"a scope":   {func(h *house) { h.exec(`UPDATE agent_keys SET scopes = '["orders:read"]'`) }, tools.ForbiddenScope},
	} {
		t.Run(what, func(t *testing.T) {
			granting(t, func(t *testing.T, h *house, _ *hook, people map[string]auth.Principal) {
				g := h.allowed(people["ann"], h.upTo(h.parked("test_move", oneLamp).JobID, 2), people["max"])
				c.change(h)
				_, err := h.call(h.bot, "test_move", threeLamps)
				wantCode(t, err, c.want)
				if now, err := h.Grant(t.Context(), people["max"], g.ID); err != nil || now.Uses != 0 {
					t.Errorf("a call that did not run has used it: %+v, %v", now, err)
				}
			})
		})
	}
}

func TestAtAQuietHourAGrantLetsNothingThrough(t *testing.T) {
	granting(t, func(t *testing.T, h *house, _ *hook, people map[string]auth.Principal) {
		h.allowed(people["ann"], h.upTo(h.parked("test_move", oneLamp).JobID, 2), people["max"])
		h.publish(twoTiers + "limits:\n  contact:\n    quiet: {from: \"00:00\", to: \"23:59\"}\n")
		if h.db.Now().UTC().Format("15:04") == "23:59" {
			t.Skip("the one minute at which nothing is quiet")
		}
		if got := h.does(h.bot, threeLamps); got != tools.PendingApproval {
			t.Errorf("the call is %s", got)
		}
	})
}

func TestACallThatFailsHasUsedNothing(t *testing.T) {
	granting(t, func(t *testing.T, h *house, _ *hook, people map[string]auth.Principal) {
		from := h.parked("test_move", `{"thing":"fails","amount":1}`).JobID
		g := h.allowed(people["ann"], h.upTo(from, 2), people["max"])
		_, err := h.call(h.bot, "test_move", `{"thing":"fails","amount":2}`)
		wantCode(t, err, tools.Internal)
		if now, _ := h.Grant(t.Context(), people["max"], g.ID); now.Uses != 0 || h.effects() != 0 {
			t.Errorf("%d uses, %d effects", now.Uses, h.effects())
		}
		if e := h.entries("call")[0]; e.Binding != "" || e.ApprovalID != "" {
			t.Errorf("the refusal names the grant: %+v", e)
		}
	})
}

func TestWhatPeopleAreAskedAboutOrHaveDeniedNoGrantLetsThrough(t *testing.T) {
	granting(t, func(t *testing.T, h *house, _ *hook, people map[string]auth.Principal) {
		from := h.parked("test_move", oneLamp).JobID
		h.allowed(people["ann"], h.upTo(from, 2), people["max"])
		if got := h.does(h.bot, oneLamp); got != tools.PendingApproval {
			t.Errorf("the call that people are asked about is %s", got)
		}
		if err := h.vote(from, approvals.Deny); err != nil {
			t.Fatal(err)
		}
		_, err := h.call(h.bot, "test_move", oneLamp)
		wantCode(t, err, tools.ApprovalDenied)
		if got := h.does(h.bot, threeLamps); got != tools.Done {
			t.Errorf("another call is %s", got)
		}
	})
}

// Of 100 calls at once under a grant of ten, ten run and the others ask.
func TestNoRaceUsesAGrantMoreOftenThanItLasts(t *testing.T) {
	granting(t, func(t *testing.T, h *house, _ *hook, people map[string]auth.Principal) {
		g := h.allowed(people["ann"], h.upTo(h.parked("test_move", oneLamp).JobID, 10), people["max"], people["fin"])
		var all sync.WaitGroup
		var mu sync.Mutex
		got := map[tools.Status]int{}
		for range 100 {
			all.Go(func() {
				out, err := h.call(h.bot, "test_move", threeLamps)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					got[tools.Status(asRefusal(err).Code)]++
					return
				}
				got[out.Status]++
			})
		}
		all.Wait()
		if got[tools.Done] != 10 || got[tools.PendingApproval] != 90 || h.effects() != 10 {
			t.Errorf("%v, %d effects", got, h.effects())
		}
		if now, _ := h.Grant(t.Context(), people["max"], g.ID); now.Uses != 10 || now.Used.Minor() != 300 {
			t.Errorf("the grant is %+v", now)
		}
	})
}

// What was read of a grant decides nothing: of 100 who all read it fresh, ten take.
func TestAGrantThatManyReadAtOnceIsTakenAsOftenAsItLasts(t *testing.T) {
	granting(t, func(t *testing.T, h *house, _ *hook, people map[string]auth.Principal) {
		g := h.allowed(people["ann"], h.upTo(h.parked("test_move", oneLamp).JobID, 10), people["max"], people["fin"])
		var all sync.WaitGroup
		var taken, failed atomic.Int64
		for range 100 {
			all.Go(func() {
				err := h.db.InTx(t.Context(), func(tx *store.Tx) error {
					ok, err := g.Take(tx, *pence(30))
					if ok {
						taken.Add(1)
					}
					return err
				})
				if err != nil {
					failed.Add(1)
				}
			})
		}
		all.Wait()
		if taken.Load() != 10 || failed.Load() != 0 {
			t.Errorf("%d took it, and %d failed", taken.Load(), failed.Load())
		}
		if now, _ := h.Grant(t.Context(), people["max"], g.ID); now.Uses != 10 || now.Used.Minor() != 300 || now.Used.Customers != 10 {
			t.Errorf("the grant is %+v", now)
		}
	})
}

// Whatever is called, the uses of a grant and the sum of what they do stay under its bounds, and what ran is within them.
func TestWhateverIsCalledAGrantIsNeverOverdrawn(t *testing.T) {
	granting(t, func(t *testing.T, h *house, _ *hook, people map[string]auth.Principal) {
		from := h.parked("test_move", oneLamp).JobID
		rng := rand.New(rand.NewPCG(1, 2))
		for range 5 {
			w := h.upTo(from, 1+rng.Int64N(8))
			w.Total = pence(50 + 10*rng.Int64N(30))
			w.Total.Customers = 1 + rng.Int64N(9)
			g := h.allowed(people["ann"], w, people["max"], people["fin"])
			var uses, sum int64
			for range 25 {
				amount := 1 + rng.Int64N(7)
				args, _ := json.Marshal(moveIn{Thing: "lamp", Amount: amount})
				if h.does(h.bot, string(args)) != tools.Done {
					continue
				}
				uses, sum = uses+1, sum+10*amount
				if amount > 5 || uses > w.Count || sum > w.Total.Minor() || uses > w.Total.Customers {
					t.Fatalf("%d lamps ran as use %d, %d pence together, of %+v", amount, uses, sum, w)
				}
			}
			now, err := h.RevokeGrant(t.Context(), h.by(people["ann"]), g.ID, "")
			if err != nil || now.Uses != uses || now.Used.Minor() != sum {
				t.Errorf("%d uses and %d pence ran, and counted were %+v, %v", uses, sum, now, err)
			}
		}
	})
}
