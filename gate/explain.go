package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A Question asks what would become of a call, were it made now.
type Question struct {
	Key  string          `json:"key" jsonschema:"maxLength=60,description=Who would make it: key_… or sub_… or jwt_…"`
	Tool string          `json:"tool" jsonschema:"maxLength=64"`
	Args json.RawMessage `json:"arguments,omitempty"`
}

// An Explanation is every check of a call in its order, for those who own the policy.
type Explanation struct {
	Outcome       policy.Outcome  `json:"outcome"`
	Rule          string          `json:"rule"` // that decides
	Code          tools.Code      `json:"error_code,omitempty"`
	Reason        string          `json:"reason,omitempty"`
	Needs         string          `json:"needs,omitempty"` // whose consent a parked call waits for
	Checks        []Explained     `json:"checks"`
	Facts         json.RawMessage `json:"facts,omitempty"` // what the policy is asked about
	Nearest       *tools.Nearest  `json:"nearest,omitempty"`
	PolicyVersion int64           `json:"policy_version"`
}

// An Explained is one check. The first that does not say ok decides; those behind it tell what else stands in the way.
type Explained struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"` // ok, a code, or not asked
	Rule    string `json:"rule,omitempty"`
	Input   string `json:"input,omitempty"` // what it looked at
	Reason  string `json:"reason,omitempty"`
}

// notAsked is the verdict of a check for which something was missing that an earlier one would have found.
const notAsked = "not asked"

// Explain judges a call that nobody makes and lists every check. Nothing comes of it but a line on record. It takes policy:admin.
func (g *Gate) Explain(ctx context.Context, by By, q Question) (Explanation, error) {
	op := Op{Event: "policy.explained", Scope: auth.PolicyAdmin}
	return examine(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (Explanation, string, error) {
		caller, err := auth.Principal{}, auth.ErrUnknownCredential
		if _, ok := store.IDTime(q.Key); ok { // no text that PostgreSQL would refuse
			caller, err = auth.LiveAt(tx, p.Merchant, q.Key)
		}
		if errors.Is(err, auth.ErrUnknownCredential) || err == nil && !caller.Agent() {
			err = tools.Refuse(tools.NotFound, "List the keys and use the id of one that is good: dtcgate key list.", "There is no such key, or it is revoked or has expired.")
		}
		if err != nil {
			return Explanation{}, "", err
		}
		e, err := g.explain(tx, caller, Request{Tool: q.Tool, Args: q.Args, Transport: by.Transport})
		return e, "key:" + q.Key, err
	})
}

// explain asks every check, also those behind the first refusal.
func (g *Gate) explain(tx *store.Tx, p auth.Principal, r Request) (Explanation, error) {
	c := g.newCall(p, r)
	c.Tx, c.planned = tx, true
	x := &explaining{gate: g, call: c}
	err := g.safely(c.ID, func() error { return x.all() })
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Outcome: policy.Run, Rule: c.decidedBy(), Checks: x.checks, PolicyVersion: c.PolicyVersion}
	if c.Tool != nil {
		e.Facts = c.recorded()
	}
	switch {
	case x.first != nil:
		r := asRefusal(x.first)
		e.Outcome, e.Rule, e.Code, e.Reason = policy.Refuse, x.rule, r.Code, r.Message
		e.Nearest = g.nearest(tx, p, c, x.first)
	case c.parked:
		e.Outcome, e.Needs = policy.Park, c.ask.Needs()
	}
	return e, nil
}

// explaining goes through the checks of one call.
type explaining struct {
	gate   *Gate
	call   *call
	checks []Explained
	first  error  // the refusal that decides
	rule   string // by which it was made
	stuck  bool   // what later checks look at could not be found out
}

// telling are the checks that find out what later ones look at.
var telling = []string{"policy", "tool", "arguments", "calls", "objects", callsHeld.name, callsJudge.name, "effect"}

func (x *explaining) all() error {
	c := x.call
	if err := x.ask(planChecks); err != nil || c.Tool == nil || c.policy == nil {
		return err
	}
	c.askOutside(c.Context())
	if err := c.learn(); err != nil {
		return err
	}
	if c.Tool.Writes() {
		return x.ask(planWriteChecks)
	}
	var err error
	if !x.stuck {
		c.facts.Effect, err = rated(c, tools.Preview{})
	}
	if err != nil {
		return err
	}
	if c.facts.Effect != nil {
		c.see()
	}
	return x.ask(planReadChecks)
}

func (x *explaining) ask(list []check) error {
	for _, k := range list {
		if x.stuck {
			x.checks = append(x.checks, Explained{Check: k.name, Verdict: notAsked})
			continue
		}
		x.call.know()
		err := k.judge(x.gate, x.call.Context(), x.call)
		if outOfReach(err) {
			return err
		}
		one := Explained{Check: k.name, Verdict: verdict(err), Input: x.call.input(k.name)}
		if err != nil {
			one.Rule, one.Reason = ruleOf(k, err), asRefusal(err).Message
			x.stuck = slices.Contains(telling, k.name)
			if x.first == nil {
				x.first, x.rule = err, one.Rule
			}
		}
		x.checks = append(x.checks, one)
	}
	return nil
}

// input says in a line what a check looked at.
func (c *call) input(check string) string {
	if c.Tool == nil {
		return ""
	}
	f := c.facts
	switch check {
	case "scope":
		return fmt.Sprintf("takes %s; held %s", words(append([]auth.Scope{c.Tool.Scope}, c.Tool.AnyScope...)), words(c.Principal.Scopes))
	case "profile", "profile objects", "profile ceiling":
		return fmt.Sprintf("profile %q, tool %s, objects %v", f.Profile, c.Tool.Name, f.Objects)
	case "action":
		return f.Action
	case "sandbox":
		return "trust " + f.Trust.String()
	case "ceiling":
		return fmt.Sprintf("rated %s; up to %s", c.risk.Level(), c.Principal.Ceiling)
	case "effect", "conditions", "approval", "budgets", "quiet", "freeze":
		raw, err := json.Marshal(f.Effect)
		if err == nil && f.Effect != nil {
			return string(raw)
		}
	}
	return ""
}
