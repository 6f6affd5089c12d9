package policy_test

import (
	"encoding/json"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// near is a number of the list or one beside it.
func near(d dice, all []int64) int64 { return max(0, pick(d, all...)+int64(d.IntN(3))-1) }

// call makes the facts of one call of some tool, most often of the one that has actions.
func (d dice) call() *policy.Facts {
	if d.often(6) {
		return d.callOf(requestAction)
	}
	return d.callOf(pick(d, registry.All()...))
}

func (d dice) callOf(t *tools.Tool) *policy.Facts {
	f := &policy.Facts{
		Agent: pick(d, "key_a", "key_b", "jwt_c"), Name: pick(d, "day", "night"), Kind: pick(d, auth.KindKey, auth.KindSubToken, auth.KindJWT),
		Profile: pick(d, profiles...), Scopes: some(d, 0, 4, auth.AgentScopes), Ceiling: auth.Level(d.IntN(8)), RequiresApproval: d.often(15),
		Trust: trust.Score(min(near(d, scores()), 100_000)), NoTrust: d.often(4), Tainted: d.often(20), DryRun: d.often(8), Resumed: d.often(10),
		Tool: t, Merchant: "m", Args: argumentsOf(d, t), At: d.time(), Source: pick(d, "10.1.2.3", "11.0.0.1", "2001:db8::1", "", "nowhere"), Transport: pick(d, "mcp", "rest"),
	}
	if d.often(4) {
		f.Profile = pick(d, "", "scoped", "gone")
	}
	if d.often(30) {
		f.Caller, f.Owner = "sub_"+pick(d, "x", "y"), pick(d, "", "per_1")
	}
	if len(t.Actions) > 0 {
		f.Action = pick(d, t.Actions...).ID()
	}
	if d.often(60) {
		f.Objects = d.objects()
	}
	if !d.often(3) {
		f.Effect = d.effect(t)
	}
	return f
}

func scores() []int64 {
	all := make([]int64, len(points))
	for i, p := range points {
		all[i] = int64(p*1000 + 0.5)
	}
	return append(all, 0, 100_000, 100_000, 100_000)
}

// argumentsOf are those of the tool's example, of which some name another object.
func argumentsOf(d dice, t *tools.Tool) []byte {
	var args map[string]any
	if err := json.Unmarshal([]byte(t.Example), &args); err != nil {
		panic(t.Name + ": " + err.Error())
	}
	for _, name := range []string{"order_no", "customer_no", "ticket_id", "campaign_id"} {
		if _, there := args[name]; there && d.often(70) {
			args[name] = pick(d, "1", "2", "t1", "7", "c")
		}
	}
	if amount, ok := args["amount"].(map[string]any); ok {
		amount["amount_minor"] = pick(d, 399, 400, 401)
	}
	out, err := json.Marshal(args)
	if err != nil {
		panic(err)
	}
	return out
}

func (d dice) objects() []tools.Object {
	all := []tools.Object{}
	for range d.IntN(3) {
		all = append(all, some(d, min(1, d.IntN(20)), 2, objects)) // one in twenty may have no name
	}
	return all
}

// time is at one of the moments, or at an edge of the quiet hours, a little earlier or later.
func (d dice) time() time.Time {
	at := pick(d, moments...).Add(time.Duration(d.IntN(3)-1) * pick(d, time.Microsecond, time.Second, 30*time.Minute, 24*time.Hour))
	if d.often(50) {
		edge, _ := time.Parse("15:04", pick(d, hours...))
		at = time.Date(2026, 11, 20+d.IntN(14), edge.Hour(), edge.Minute(), 0, 0, time.UTC).Add(time.Duration(d.IntN(3)-1) * time.Second)
	}
	return at
}

func (d dice) effect(t *tools.Tool) *policy.Effect {
	e := &policy.Effect{Risk: t.Risk, Class: t.Class}
	if d.often(40) {
		r := &e.Risk
		*pick(d, &r.Undo, &r.Blast, &r.DataOut) = d.IntN(4)
		*pick(d, &r.Money, &r.Touch) = d.IntN(3)
		r.Reach = d.IntN(2)
	}
	if d.often(30) {
		e.Class = tools.Class(pick(d, append(classes, "")...))
	}
	if d.often(60) {
		e.Customers = near(d, counts)
	}
	if d.often(70) {
		e.Money = &shop.Money{AmountMinor: near(d, amounts), Currency: pick(d, currencies...)}
	}
	e.Asks = d.often(3)
	if d.often(15) {
		e.RunAt = d.time()
	}
	return e
}
