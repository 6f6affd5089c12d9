package gate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/gate/rehearsal"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// lived is a house with a week of calls: free moved lamps (10 pence each) four times and rehearsed it once, bot asked for two, of which one was agreed to and one
// denied, a key without a profile and one without the scope were refused, and a read was made.
func lived(t *testing.T, db *store.DB) *house {
	h := newHouse(t, db)
	nobody := h.mint(auth.Key{Name: "nobody", Profile: "little", Scopes: []auth.Scope{"orders:read", "orders:refund"}, Ceiling: auth.MaxLevel})
	reader := h.mint(auth.Key{Name: "reader", Scopes: []auth.Scope{"orders:read"}, Ceiling: 4})
	for i := range 3 {
		h.must(h.free, fmt.Sprintf(`{"thing":"lamp","amount":%d,"idempotency_key":"k%d"}`, i+1, i))
	}
	h.must(h.free, `{"thing":"lamp","amount":3,"idempotency_key":"k2"}`) // again
	h.must(h.free, `{"thing":"lamp","amount":9,"dry_run":true}`)
	for _, p := range []auth.Principal{nobody, reader} {
		if _, err := h.call(p, "test_move", oneLamp); err == nil {
			t.Fatal("it was let through")
		}
	}
	if _, err := h.call(reader, "test_read", `{}`); err != nil {
		t.Fatal(err)
	}
	for _, d := range []approvals.Decision{approvals.Approve, approvals.Deny} {
		_, err := h.Vote(t.Context(), h.person, Ballot{ID: h.parked("test_move", oneLamp).JobID, Decision: d, Reason: "so it was agreed", Channel: "rest"})
		if err != nil {
			t.Fatal(err)
		}
	}
	h.resume()
	h.must(h.free, oneLamp)
	return h
}

func (h *house) must(p auth.Principal, args string) {
	h.t.Helper()
	if _, err := h.call(p, "test_move", args); err != nil {
		h.t.Fatal(err)
	}
}

func TestARehearsalTellsWhatADraftWouldDoOtherwise(t *testing.T) {
	spend := "approvals:\n- {name: spend, classes: [spend], need: {people: 1, from: [manager]}}\n"
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := lived(t, db)
		for _, c := range []struct {
			name, draft string
			want        map[rehearsal.Kind]int64
			summary     string
		}{
			{"the same", policytest.Open, nil, "None of 10 calls would get anything else."},
			{"people are asked", policytest.Open + spend, map[rehearsal.Kind]int64{rehearsal.Parked: 4}, "Of 10 calls 4 would be parked that ran."},
			{"nobody is asked", policytest.Open + "tools:\n  test_move: {class: none}\n", map[rehearsal.Kind]int64{rehearsal.Unparked: 2}, "Of 10 calls 2 would run that were parked."},
			{"the tool is off", policytest.Open + "tools:\n  test_move: {off: true}\n", map[rehearsal.Kind]int64{rehearsal.Refused: 7}, "Of 10 calls 7 would be refused."},
			{"reads are not granted", strings.Replace(policytest.Open, `tools: ["*"]`, `tools: [test_move]`, 1), map[rehearsal.Kind]int64{rehearsal.Refused: 1}, "Of 10 calls 1 would be refused."},
			{
				"more is granted", strings.Replace(policytest.Open, "scoped: {}", "scoped: {}\n  little: {tools: [test_move], resources: [\"*\"], ceiling: high}", 1),
				map[rehearsal.Kind]int64{rehearsal.Perhaps: 1},
				"Of 10 calls 1 that were refused would get further, as far as it can be known.",
			},
			{ // lamps for 10, 20, 30, twice 10 on hold, of which one is given back, and 10: all but the one for 30 fit
				"a budget", policytest.Open + "limits: {budgets: [{name: lamps, per: merchant, every: day, money: {amount_minor: 50, currency: GBP}}]}\n",
				map[rehearsal.Kind]int64{rehearsal.Refused: 1},
				"Of 10 calls 1 would be refused.",
			},
			{
				"the risk is rated higher than keys may go", policytest.Open + "tools:\n  test_read: {risk: {undo: 3, blast: 3, data_out: 3, reach: 1}}\n",
				map[rehearsal.Kind]int64{rehearsal.Refused: 1},
				"Of 10 calls 1 would be refused.",
			},
		} {
			t.Run(c.name, func(t *testing.T) {
				got := h.rehearsed(c.draft)
				if len(got.Changed) != len(c.want) || got.Summary != c.summary || got.Repeats != 1 || got.KeptRefused != 1 {
					t.Errorf("%+v", got)
				}
				for kind, n := range c.want {
					if got.Changed[kind] != n || len(got.Examples[kind]) != int(n) {
						t.Errorf("%s: %d, want %d", kind, got.Changed[kind], n)
					}
				}
			})
		}
		got := h.rehearsed(policytest.Open + spend)
		row := rehearsal.Row{Name: h.free.ID, Kind: rehearsal.Parked, Calls: 4, Customers: 4, Money: map[string]int64{"GBP": 70}}
		if len(got.Agents) != 1 || fmt.Sprint(got.Agents[0]) != fmt.Sprint(row) || got.Rules[0].Name != "approvals.spend" {
			t.Errorf("by agent %+v, by rule %+v", got.Agents, got.Rules)
		}
		e := got.Examples[rehearsal.Parked][0]
		if e.Was != (rehearsal.Was{Status: "done", Rule: "profiles.admin"}) || e.Would.Outcome != policy.Park || e.Money.AmountMinor != 10 || e.Tool != "test_move" {
			t.Errorf("the example is %+v", e)
		}
	})
}

func TestWhatCannotBeDecidedAgainIsCountedAsSuch(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := lived(t, db)
		h.tx(func(tx *store.Tx) error {
			all, err := audit.Find(tx, audit.Filter{Event: "call", Tool: "test_move", Limit: 100})
			for _, e := range all {
				if e.Status == "done" && err == nil {
					err = audit.Erase(tx, e.ID, policy.ArgumentsKept)
				}
			}
			return err
		})
		off := policytest.Open + "tools:\n  test_move: {off: true}\n"
		if got := h.rehearsed(off); got.Unknown[policy.LostArguments] != 4 || got.Changed[rehearsal.Refused] != 3 {
			t.Errorf("with arguments erased: %+v", got)
		}
		named := policytest.Open + "  forbid (principal, action, resource) when { principal.name == \"bot\" };\n"
		if got := h.rehearsed(named); got.Unknown[policy.LostName] != 5 || got.Differences() != 0 {
			t.Errorf("without names: %+v", got)
		}
		h.Gate.tools = tools.NewRegistry(h.tools.All()[1:]...)
		if got := h.rehearsed(policytest.Open); got.Unknown[policy.LostTool] == 0 {
			t.Errorf("with a tool gone: %+v", got)
		}
	})
}

func TestARehearsalIsForWhoMayPublish(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		h.tx(func(tx *store.Tx) error {
			_, _, err := auth.AddPerson(tx, h.merchant, "ada", "admin")
			return err
		})
		span := Span{Since: db.Now().Add(-time.Hour)}
		_, err := h.Replay(t.Context(), By{Principal: h.person, Transport: "rest"}, policytest.Open, span, nil)
		wantCode(t, err, tools.ForbiddenScope)
		_, err = h.CastShadow(t.Context(), By{Principal: h.person, Transport: "rest"}, policytest.Open, "why not")
		wantCode(t, err, tools.ForbiddenScope)
		_, err = h.Replay(t.Context(), operatorOf(h.merchant), "language: 2\n", span, nil)
		wantCode(t, err, tools.InvalidArguments)
		_, err = h.Replay(t.Context(), operatorOf(h.merchant), policytest.Open, Span{Since: db.Now().Add(-2 * MaxRehearsed)}, nil)
		wantCode(t, err, tools.InvalidArguments)
		if n := len(h.entries("policy.rehearsed.refused")); n != 3 {
			t.Errorf("%d refused rehearsals are on record", n)
		}
		h.rehearsed(policytest.Open)
		if n := len(h.entries("policy.rehearsed")); n != 1 {
			t.Errorf("%d rehearsals are on record", n)
		}
	})
}

func TestARehearsalRunsOnAndTellsHowFarItIs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := lived(t, db)
		by, span := operatorOf(h.merchant), Span{Since: db.Now().Add(-time.Hour)}
		r, err := h.StartReplay(t.Context(), by, policytest.Open, span)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil && (r.Status == "" || r.Status == policy.ReplayRunning) {
			time.Sleep(20 * time.Millisecond)
			r, err = h.ShowReplay(t.Context(), by, r.ID)
		}
		if err != nil || r.Status != policy.ReplayDone || !strings.Contains(string(r.Report), "None of 10 calls") {
			t.Fatalf("%v %+v %s", err, r, r.Report)
		}
		// Processes that died with theirs.
		for range policy.ReplaysAtOnce {
			h.tx(func(tx *store.Tx) error {
				r, err = policy.BeginReplay(tx, policy.Replay{Merchant: h.merchant, AskedBy: "operator:cli"})
				return err
			})
		}
		_, err = h.StartReplay(t.Context(), by, policytest.Open, span)
		wantCode(t, err, tools.LimitExceeded)
		later := db.Now
		db.Now = func() time.Time { return later().Add(time.Minute) }
		if r, err = h.ShowReplay(t.Context(), by, r.ID); err != nil || r.Status != policy.ReplayFailed {
			t.Errorf("a dead one shows as %v %+v", err, r)
		}
		if _, err = h.StartReplay(t.Context(), by, policytest.Open, span); err != nil {
			t.Errorf("after dead ones: %v", err)
		}
		if err := db.InTx(t.Context(), func(tx *store.Tx) error { return policy.AdvanceReplay(tx, r) }); err != policy.ErrReplayOver {
			t.Errorf("a dead one goes on: %v", err)
		}
		_, err = h.ShowReplay(t.Context(), by, "rpl_x")
		wantCode(t, err, tools.NotFound)
	})
}

func TestAShadowIsHeardAndDecidesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		_, err := h.ShadowReport(t.Context(), operatorOf(h.merchant))
		wantCode(t, err, tools.NotFound)
		h.cast(strings.Replace(policytest.Open, `tools: ["*"]`, `tools: [test_move]`, 1) + `
approvals:
- {name: two, classes: [spend], need: {people: 2, from: [manager]}}
`)
		h.must(h.free, oneLamp)
		if _, err := h.call(h.free, "test_read", `{}`); err != nil {
			t.Fatal(err)
		}
		h.vote(h.parked("test_move", oneLamp).JobID, approvals.Approve)
		h.resume()
		if h.effects() != 2 {
			t.Errorf("%d effects under a shadow that would have let none happen", h.effects())
		}
		report, err := h.ShadowReport(t.Context(), operatorOf(h.merchant))
		if err != nil {
			t.Fatal(err)
		}
		want := "[{test_move newly_parked 1} {test_move other_people 1} {test_read newly_refused 1}]"
		if fmt.Sprint(report.Tools) != want || report.Differences != 3 || !report.Complete {
			t.Errorf("%+v", report)
		}
		if e := h.entries(policy.EventDiffers); len(e) != 3 || e[0].CallID == "" || e[0].PolicyRule != "approvals.two" {
			t.Errorf("on record: %+v", e)
		}
		if _, err := h.LiftShadow(t.Context(), operatorOf(h.merchant)); err != nil {
			t.Fatal(err)
		}
		h.must(h.again(h.free), oneLamp)
		if n := len(h.entries(policy.EventDiffers)); n != 3 {
			t.Errorf("it is heard after its end: %d", n)
		}
	})
}

func (h *house) cast(document string) policy.Shadow {
	h.t.Helper()
	s, err := h.CastShadow(h.t.Context(), operatorOf(h.merchant), document, "to see")
	if r, ok := err.(*tools.Refusal); ok {
		h.t.Fatalf("%s %+v", r, r.Errors)
	}
	h.free, h.bot = h.again(h.free), h.again(h.bot)
	return s
}

// again is a caller as it comes with its next request.
func (h *house) again(p auth.Principal) auth.Principal {
	h.tx(func(tx *store.Tx) (err error) {
		p, err = auth.Renew(tx, p)
		return err
	})
	return p
}

func TestABrokenShadowTouchesNoCall(t *testing.T) {
	for name, breakIt := range map[string]func(*house){
		"its text cannot be read": func(h *house) { h.exec(`UPDATE policy_shadows SET source = 'language: x'`) },
		"it is gone":              func(h *house) { h.exec(`DELETE FROM policy_shadows`) },
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				h := newHouse(t, db)
				h.cast(policytest.Open + "tools:\n  test_move: {off: true}\n")
				breakIt(h)
				h.must(h.free, oneLamp)
				h.vote(h.parked("test_move", oneLamp).JobID, approvals.Approve)
				h.resume()
				if h.effects() != 2 || len(h.entries("call")) != 2 || len(h.entries("call.resumed")) != 1 || len(h.entries(policy.EventDiffers)) != 0 {
					t.Errorf("%d effects, %d calls on record", h.effects(), len(h.entries("call")))
				}
			})
		})
	}
}

func TestAShadowThatPanicsTouchesNoCall(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		h.cast(policytest.Open)
		c := h.newCall(h.free, Request{})
		c.Tool, _ = h.tools.Find("test_move")
		if err := h.shadow(nil, c, policy.EventCall, "done", ""); err != nil { // without a transaction there is nothing to read it with
			t.Error(err)
		}
	})
}
