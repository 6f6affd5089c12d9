package gate

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// bounded is a policy whose profile clerk moves one lamp for at most 5.00, and asks people from 3.00 on.
const bounded = `language: 1
profiles:
  scoped: {}
  clerk:
    tools: [test.*]
    resources: ["thing:*"]
    ceiling: {undo: 3, money: {per_call_minor: 500, currency: GBP}, customers: {per_call: 9}, data: 3, reach: 1}
  other:
    tools: ["*"]
    resources: ["*"]
    ceiling: high
conditions: |
  permit (principal, action, resource);
approvals:
- {name: dear, over: {money: {amount_minor: 300, currency: GBP}}, need: {people: 2, from: [manager]}}
`

// under puts a document in force at the house's merchant.
func (h *house) under(document string) {
	h.t.Helper()
	h.change(func(tx *store.Tx) error {
		if _, problems := policy.New([]byte(document), h.tools); len(problems) > 0 {
			h.t.Fatal(problems)
		}
		now, err := auth.PolicyVersion(tx, h.merchant)
		if err == nil {
			_, err = policy.Publish(tx, policy.Version{Merchant: h.merchant, Source: document, Author: "test", Note: "test"}, now)
		}
		return err
	})
}

func (h *house) explained(p auth.Principal, tool, args string) Explanation {
	h.t.Helper()
	e, err := h.Explain(h.t.Context(), By{Principal: auth.OperatorPrincipal(h.merchant), Transport: "cli"}, Question{Key: p.ID, Tool: tool, Args: json.RawMessage(args)})
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

func TestAnExplanationListsEveryCheckAndSaysWhatTheCallGets(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		h.under(bounded)
		clerk := h.mint(auth.Key{Name: "clerk", Profile: "clerk", Scopes: []auth.Scope{"orders:read", "orders:refund"}, Ceiling: auth.MaxLevel})
		poor := h.mint(auth.Key{Name: "poor", Profile: "clerk", Ceiling: auth.MaxLevel})
		none := h.mint(auth.Key{Name: "none", Profile: "scoped", Scopes: []auth.Scope{"orders:refund"}, Ceiling: auth.MaxLevel})
		for _, c := range []struct {
			p          auth.Principal
			tool, args string
			outcome    policy.Outcome
			code       tools.Code
			rule       string
			asked      bool // whether checks of the effect were asked
		}{
			{clerk, "test_move", `{"thing":"lamp","amount":1}`, policy.Run, "", "profiles.clerk", true},
			{clerk, "test_move", `{"thing":"lamp","amount":40}`, policy.Park, "", "approvals.dear", true},
			{clerk, "test_move", `{"thing":"lamp","amount":60}`, policy.Refuse, tools.RiskCeiling, "profiles.clerk.ceiling", true},
			{poor, "test_move", `{"thing":"lamp","amount":60}`, policy.Refuse, tools.ForbiddenScope, "builtin.scope", true},
			{none, "test_move", `{"thing":"lamp","amount":1}`, policy.Refuse, tools.ForbiddenTool, "profiles.scoped", true},
			{clerk, "test_move", `{"thing":"lamp"}`, policy.Refuse, tools.InvalidArguments, "builtin.arguments", false},
			{clerk, "test_nothing", `{}`, policy.Refuse, tools.UnknownTool, "builtin.tool", false},
		} {
			e := h.explained(c.p, c.tool, c.args)
			if e.Outcome != c.outcome || e.Code != c.code || e.Rule != c.rule || e.PolicyVersion != 2 {
				t.Errorf("%s %s of %s: %s %s by %s, want %s %s by %s", c.tool, c.args, c.p.Name, e.Outcome, e.Code, e.Rule, c.outcome, c.code, c.rule)
			}
			last := e.Checks[len(e.Checks)-1]
			if asked := last.Verdict != notAsked && last.Check == "budgets"; asked != c.asked {
				t.Errorf("%s %s: the last check is %+v", c.tool, c.args, last)
			}
		}
		if n := h.effects() + h.count(`SELECT COUNT(*) FROM jobs`) + len(h.entries("call")); n != 0 {
			t.Errorf("explaining left %d effects, jobs and entries", n)
		}
	})
}

func TestTheNearestCallIsOneThatPasses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		h.under(bounded)
		clerk := h.mint(auth.Key{Name: "clerk", Profile: "clerk", Scopes: []auth.Scope{"orders:read", "orders:refund"}, Ceiling: auth.MaxLevel})
		e := h.explained(clerk, "test_move", `{"thing":"lamp","amount":60}`)
		if e.Nearest == nil {
			t.Fatal("there is one: a rehearsal at least")
		}
		args, err := patched([]byte(`{"thing":"lamp","amount":60}`), e.Nearest.Arguments)
		if err != nil {
			t.Fatal(err)
		}
		if again := h.explained(clerk, "test_move", string(args)); again.Outcome == policy.Refuse {
			t.Errorf("%s is refused as well: %s", args, again.Reason)
		}
	})
}

func TestRefusalsOfAPolicyNameNoRuleToTheAgent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		h.under(bounded)
		clerk := h.mint(auth.Key{Name: "clerk", Profile: "clerk", Scopes: []auth.Scope{"orders:read", "orders:refund"}, Ceiling: auth.MaxLevel})
		_, err := h.call(clerk, "test_move", `{"thing":"lamp","amount":60}`)
		raw, _ := json.Marshal(asRefusal(err))
		for _, secret := range []string{"other", "dear", "approvals."} {
			if strings.Contains(string(raw), secret) {
				t.Errorf("told %s", raw)
			}
		}
		if e := h.entries("call")[0]; e.PolicyRule != "profiles.clerk.ceiling" || e.PolicyVersion != 2 {
			t.Errorf("recorded under %s of version %d", e.PolicyRule, e.PolicyVersion)
		}
	})
}
