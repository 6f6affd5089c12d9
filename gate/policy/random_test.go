package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// The generator of documents and of calls that the engine is asked about. The amounts, times and scores of documents come from short lists,
// and those of calls from the same lists and one beside, so that calls lie at every threshold and on both sides of it.

// dice are a source of chance that can be thrown again.
type dice struct{ *rand.Rand }

func newDice(seed, stream uint64) dice { return dice{rand.New(rand.NewPCG(seed, stream))} }

// often is true n times in a hundred.
func (d dice) often(n int) bool { return d.IntN(100) < n }

func pick[T any](d dice, all ...T) T { return all[d.IntN(len(all))] }

// some picks from low to high of them, each once.
func some[T any](d dice, low, high int, all []T) []T {
	n := min(low+d.IntN(high-low+1), len(all))
	picked := make([]T, n)
	for i, at := range d.Perm(len(all))[:n] {
		picked[i] = all[at]
	}
	return picked
}

type tree = map[string]any

func text(doc tree) []byte {
	out, err := yaml.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return out
}

var requestAction, _ = registry.Find("dtc_request_action")

var (
	registry      = tools.NewRegistry(dtc.Tools()...)
	toolPatterns  = patternsOf(registry)
	actionIDs     = idsOf(registry)
	resources     = []string{"*", "order:*", "order:1", "order:2", "ticket:*", "ticket:t1", "queue:*", "queue:returns/*", "queue:sales/*", "product:*", "variant:*", "customer:*", "customer:7", "campaign:*"}
	objects       = []string{"order:1", "order:2", "order:*", "ticket:t1", "ticket:t2", "ticket:*", "queue:returns/t1", "queue:sales/t1", "product:p", "variant:v", "customer:7", "customer:8", "campaign:c", ""}
	profiles      = []string{"alpha", "beta", "gamma"}
	amounts       = []int64{0, 1, 100, 5000, 50_000}
	counts        = []int64{0, 1, 25, 500}
	points        = []float64{20, 30, 50, 65, 70, 72.5, 99.999}
	levels        = []string{"low", "medium", "high", "L0", "L1", "L2", "L3", "L4", "L5", "L6", "L7"}
	currencies    = []string{"GBP", "GBP", "EUR"}
	classes       = []string{"spend", "contact", "destructive"}
	roles         = []string{"manager", "marketing", "finance", "security"}
	sandboxLevels = []string{"STRICT", "ADAPTIVE", "OPEN"}
	zones         = []string{"", "UTC", "Europe/London", "America/New_York", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu"}
	hours         = []string{"00:00", "02:30", "07:15", "08:00", "12:00", "21:00", "23:59"}
	moments       = []time.Time{
		time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC),
		time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC), // London sets its clocks
		time.Date(2026, 3, 8, 5, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 5, 0, 0, 0, time.UTC), // Havana over midnight, New York an hour later
		time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC), time.Date(2026, 10, 3, 15, 30, 0, 0, time.UTC), // Lord Howe, by half an hour
		time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	}
)

// patternsOf are the names and paths of all tools, and everything that they may be cut off to.
func patternsOf(r *tools.Registry) []string {
	var all []string
	for _, t := range r.All() {
		all = append(all, t.Name, t.Path)
		for _, name := range []string{t.Name, t.Path} {
			for i, c := range name {
				if c == '_' || c == '.' {
					all = append(all, name[:i+1]+"*")
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func idsOf(r *tools.Registry) []string {
	var all []string
	for _, a := range r.Actions() {
		all = append(all, a.ID())
	}
	return all
}

func (d dice) actionPatterns() []string {
	var all []string
	for _, id := range some(d, 1, 4, actionIDs) {
		provider, _, _ := strings.Cut(id, ":")
		all = append(all, pick(d, id, id, provider+":*", "*"))
	}
	return all
}

// document makes one that says something about most of what calls will be about, and mostly lets them pass.
func (d dice) document() tree {
	own := tree{"scoped": tree{}}
	for _, name := range profiles {
		own[name] = d.profile()
	}
	doc := tree{"language": 1, "profiles": own, "limits": d.limits(), "conditions": d.conditions(), "tools": d.overrides()}
	if d.often(80) {
		doc["environment"] = pick(d, "production", "test")
	}
	if d.often(40) {
		doc["freezes"] = d.freezes()
	}
	if d.often(60) {
		doc["trust"] = d.trust(false)
	}
	var rules []any
	for i := range d.IntN(6) {
		rules = append(rules, d.approval(fmt.Sprintf("rule-%d", i)))
	}
	doc["approvals"] = rules
	return doc
}

func (d dice) profile() tree {
	p := tree{"tools": []string{"*"}, "resources": []string{"*"}, "actions": tree{"request": d.actionPatterns(), "run": d.actionPatterns()}, "ceiling": d.ceiling()}
	if d.often(40) {
		p["tools"] = append(some(d, 2, 12, toolPatterns), pick(d, "dtc_*", "dtc_*", "dtc_get_*", "orders.*"))
	}
	if d.often(30) {
		p["resources"] = some(d, 3, 8, resources)
	}
	if d.often(50) {
		deny := tree{}
		if d.often(50) {
			deny["tools"] = some(d, 1, 3, toolPatterns)
		}
		if d.often(50) {
			deny["resources"] = some(d, 1, 2, resources[1:])
		}
		if d.often(50) {
			deny["actions"] = d.actionPatterns()[:1]
		}
		p["deny"] = deny
	}
	return p
}

func (d dice) ceiling() any {
	switch {
	case d.often(40):
		return pick(d, "high", "L7", "L6")
	case d.often(30):
		return pick(d, levels...)
	}
	v := tree{"undo": pick(d, 1, 2, 3, 3, 3), "data": pick(d, 1, 2, 3, 3), "reach": pick(d, 0, 1, 1, 1)}
	if d.often(40) {
		v["blast"] = d.IntN(4)
	}
	if d.often(80) {
		m := tree{"per_call_minor": pick(d, amounts...), "currency": pick(d, currencies...)}
		if d.often(50) {
			m["per_day_minor"] = 1 + pick(d, amounts...)
		}
		v["money"] = m
	}
	if d.often(80) {
		c := tree{"per_call": pick(d, counts...)}
		if d.often(50) {
			c["per_day"] = 1 + pick(d, counts...)
		}
		v["customers"] = c
	}
	return v
}

func (d dice) money() tree {
	return tree{"amount_minor": pick(d, amounts...), "currency": pick(d, currencies...)}
}

// about makes the part of a rule that says which calls it is about.
func (d dice) about(rule tree) tree {
	if d.often(50) {
		rule["tools"] = some(d, 1, 6, toolPatterns)
	}
	if d.often(30) {
		rule["classes"] = some(d, 1, 2, classes)
	}
	if d.often(25) {
		rule["profiles"] = some(d, 1, 2, profiles)
	}
	return rule
}

func (d dice) freezes() []any {
	var all []any
	for i := range 1 + d.IntN(2) {
		from := pick(d, moments...)
		length := pick(d, time.Minute, time.Hour, 3*24*time.Hour)
		all = append(all, d.about(tree{"name": fmt.Sprintf("freeze-%d", i), "from": from, "to": from.Add(length), "why": "It is busy."}))
	}
	return all
}

func (d dice) overrides() tree {
	all := tree{}
	for _, t := range some(d, 0, 8, registry.All()) {
		o := tree{}
		if d.often(15) {
			o["off"] = true
		}
		if d.often(40) {
			risk := tree{}
			for _, part := range some(d, 1, 3, []string{"undo", "blast", "money", "touch", "data_out", "reach"}) {
				risk[part] = d.IntN(map[string]int{"money": 3, "touch": 3, "reach": 2}[part]%4 + 2)
			}
			clip(risk, tree{"undo": 3, "blast": 3, "money": 2, "touch": 2, "data_out": 3, "reach": 1})
			o["risk"] = risk
		}
		if d.often(40) && t.Writes() {
			o["class"] = pick(d, append(classes, "none")...)
		}
		if d.often(30) {
			o["minimum_trust"] = pick(d, sandboxLevels...)
		}
		all[t.Name] = o
	}
	return all
}

func clip(values, most tree) {
	for name, v := range values {
		values[name] = min(v.(int), most[name].(int))
	}
}

// trust makes sandboxes, or nested ones, of which each allows what the one before it does.
func (d dice) trust(nested bool) tree {
	from := some(d, 2, 2, points[1:6])
	slices.Sort(from)
	boxes := tree{"strict": tree{"ceiling": pick(d, "low", "L3")}, "adaptive": tree{"ceiling": pick(d, "L4", "L5")}, "open": tree{}}
	if !nested {
		for name, most := range map[string]int{"strict": 8, "adaptive": 8, "open": 8} {
			terms := tree{}
			if d.often(60) || name == "strict" {
				terms["ceiling"] = pick(d, append(levels, "high", "high", "L6", "L5")...)
			}
			if d.often(50) || name == "adaptive" {
				terms["tools"] = append(some(d, 2, most, toolPatterns), pick(d, "dtc_*", "orders.*", "dtc_get_*"))
			}
			boxes[name] = terms
		}
	}
	if d.often(50) {
		boxes["adaptive"].(tree)["from"], boxes["open"].(tree)["from"] = from[0], from[1]
	}
	rules := tree{"start": 50, "bounds": tree{"lowest": 0, "highest": 100}, "sandboxes": boxes}
	if d.often(30) {
		rules["source"] = tree{"url": "https://trust.example.com/v1/score", "required": d.often(50)}
	}
	return rules
}

func (d dice) limits() tree {
	l := tree{"zone": pick(d, zones...)}
	var budgets []any
	for i := range d.IntN(4) {
		budgets = append(budgets, d.budget(fmt.Sprintf("budget-%d", i)))
	}
	l["budgets"] = budgets
	if d.often(30) {
		edges := some(d, 2, 2, hours)
		l["contact"] = tree{"quiet": tree{"from": edges[0], "to": edges[1]}}
	}
	return l
}

func (d dice) budget(name string) tree {
	b := d.about(tree{"name": name, "per": pick(d, "key", "chain", "merchant"), "every": pick(d, "hour", "hour", "day", "day", "week", "month")})
	switch d.IntN(3) {
	case 0:
		b["calls"] = pick(d, counts...)
	case 1:
		b["customers"] = pick(d, counts...)
	default:
		b["money"] = d.money()
	}
	return b
}

func (d dice) approval(name string) tree {
	r := d.about(tree{"name": name, "need": d.need()})
	if d.often(40) {
		over := tree{}
		if d.often(60) {
			over["money"] = d.money()
		}
		if d.often(60) || len(over) == 0 {
			over["customers"] = pick(d, counts...)
		}
		r["over"] = over
	}
	if d.often(40) {
		r["when"] = d.expression(facets)
	}
	return r
}

func (d dice) need() tree {
	if d.often(35) {
		return tree{"people": 0}
	}
	n := tree{"people": 2 + d.IntN(2)}
	if d.often(30) {
		n["people"] = 1
	}
	if d.often(40) {
		n["roles"] = some(d, 1, 2, roles)
		n["people"] = max(n["people"].(int), len(n["roles"].([]string)))
	}
	if d.often(30) {
		n["from"] = some(d, 1, 2, roles)
		n["expires"] = pick(d, "30m", "24h", "7d")
		n["escalate"] = []any{tree{"after": "10m", "to": some(d, 1, 2, roles)}}
		n["override"], n["grants"] = d.often(50), d.often(50)
	}
	return n
}

// The parts of conditions. An overflow is an error that no check of types can see.
const overflow = "context.effect.customers * 4611686018427387904 > 1"

var (
	facets = []string{
		"context.tainted", "context.effect.level > 4", "context.effect.level > 6", "context.effect.money_minor > 5000", "context.effect.money_minor >= 50000",
		`context.effect.class == "spend"`, `context.effect.class == "none"`, "context.effect.customers > 25", "context.effect.customers >= 500", "context.effect.touch > 0",
		`context.effect.currency == "EUR"`, "context.effect.dry_run", "context.effect.writes", "context.effect.data_out == 3", "context.effect.undo > 2", "context.effect.reach == 1", "context.effect.blast > 1",
		`context.trust.lessThan(decimal("70.0"))`, `context.trust.lessThanOrEqual(decimal("72.5"))`, "context.time.hour < 7", "context.time.minute >= 30", `context.time.weekday == "sunday"`,
		`context.time.date == "2026-11-27"`, `context.time.datetime < datetime("2026-11-27")`, `context has source && context.source.isInRange(ip("10.0.0.0/8"))`,
		`principal has owner && principal.owner == "per_1"`, `principal.scopes.contains("orders:refund")`, "principal.requires_approval", `principal in Profile::"beta"`,
		`principal == Agent::"key_b"`, `principal.name == "night"`, `principal.kind == "sub_token"`, "principal.ceiling > 4", `principal.profile == "gamma"`, `resource.type == "order"`, `resource.id like "1*"`,
		`resource == Resource::"ticket:t1"`, `action == Action::"dtc_refund_order"`, `action in Action::"orders.*"`, `context.environment == "production"`, `context.transport == "mcp"`, overflow,
	}
	ofOneAgent = `principal == Agent::"key_b", action, resource`
	heads      = []string{"principal, action, resource", "principal, action, resource", `principal in Profile::"alpha", action, resource`, `principal, action in Action::"orders.*", resource`, `principal, action in Action::"writes", resource`, ofOneAgent, `principal, action, resource == Resource::"order:2"`}
	ofInput    = []string{
		`forbid (principal, action == Action::"dtc_refund_order", resource) when { context.input.amount.amount_minor > 400 && context.input.cause == "goodwill" };`,
		`forbid (principal, action == Action::"dtc_search_orders", resource) when { context.input has limit && context.input.limit >= 5 };`,
		`forbid (principal, action == Action::"dtc_fulfil_order", resource) when { context.input.notify_customer };`,
		`forbid (principal, action == Action::"dtc_request_action", resource) when { context.action == "payments:refund" };`,
	}
)

func (d dice) expression(facets []string) string {
	e := pick(d, facets...)
	switch d.IntN(5) {
	case 0:
		return fmt.Sprintf("(%s) && (%s)", e, pick(d, facets...))
	case 1:
		return fmt.Sprintf("(%s) || (%s)", e, pick(d, facets...))
	case 2:
		return fmt.Sprintf("!(%s)", e)
	}
	return e
}

// conditions mostly permit everything, and forbid a little.
func (d dice) conditions() string {
	var b strings.Builder
	if d.often(85) {
		b.WriteString("permit (principal, action, resource);\n")
	} else if d.often(50) {
		fmt.Fprintf(&b, "@id(\"plain\") permit (%s);\n", pick(d, append(heads[2:], ofOneAgent, ofOneAgent)...))
	} else {
		fmt.Fprintf(&b, "@id(\"some\") permit (%s) when { %s };\n", pick(d, heads...), d.expression(facets))
	}
	for i := range pick(d, 0, 0, 1, 2, 5) {
		if d.often(70) {
			fmt.Fprintf(&b, "@id(\"c%d\")\n", i)
		}
		if d.often(20) {
			fmt.Fprintln(&b, pick(d, ofInput...))
			continue
		}
		fmt.Fprintf(&b, "%s (%s)\n", pick(d, "permit", "forbid", "forbid"), pick(d, heads...))
		fmt.Fprintf(&b, "%s { %s && %s };\n", pick(d, "when", "when", "when", "unless"), "("+d.expression(facets)+")", "("+d.expression(facets)+")")
	}
	return b.String()
}

// ready makes a document ready. The generator makes none that is wrong.
func ready(doc []byte) (*policy.Policy, *naive, error) {
	engine, problems := policy.New(doc, registry)
	if len(problems) > 0 {
		return nil, nil, fmt.Errorf("%v\n%s", problems, doc)
	}
	plain, err := newNaive(doc)
	return engine, plain, err
}
