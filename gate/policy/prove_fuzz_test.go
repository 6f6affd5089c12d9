package policy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A dice makes random documents, assertions and calls of them. Their numbers come from a small set, so that they meet.
type dice struct{ *rand.Rand }

func (d dice) one(of ...string) string { return of[d.IntN(len(of))] }
func (d dice) half() bool              { return d.IntN(2) == 0 }

func (d dice) some(of ...string) string {
	var all []string
	for _, s := range of {
		if d.IntN(3) == 0 {
			all = append(all, fmt.Sprintf("%q", s))
		}
	}
	if len(all) == 0 {
		all = []string{fmt.Sprintf("%q", of[d.IntN(len(of))])}
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// maybe gives the text in two of five cases.
func (d dice) maybe(text string) string {
	if d.IntN(5) < 2 {
		return text
	}
	return ""
}

var (
	fuzzProfiles = []string{"a", "b", "c"}
	fuzzTools    = []string{"*", "orders.*", "campaigns.*", "tickets.*", "ads.*", "customers.get", "dtc_refund_order", "dtc_request_action", "customers.*", "discounts.create", "dtc_send_campaign"}
	fuzzObjects  = []string{"*", "order:*", "queue:returns/*", "queue:billing/*", "campaign:*", "ticket:*", "order:77", "customer:*", "queue:*"}
	fuzzClasses  = []string{"none", "spend", "contact", "destructive"}
	fuzzActions  = []string{"*", "helpdesk:*", "helpdesk:send_reply", "payments:refund"}
	fuzzRoles    = []string{"manager", "marketing", "finance"}
)

func (d dice) amount() string   { return d.one("0", "1", "100", "5000", "5001", "20000") }
func (d dice) number() string   { return d.one("0", "1", "25", "500", "501") }
func (d dice) currency() string { return d.one("GBP", "EUR") }
func (d dice) money() string {
	return fmt.Sprintf("{amount_minor: %s, currency: %s}", d.amount(), d.currency())
}

func (d dice) match() string {
	return d.maybe(", tools: "+d.some(fuzzTools...)) + d.maybe(", classes: "+d.some(fuzzClasses[1:]...)) + d.maybe(", profiles: "+d.some(fuzzProfiles...))
}

func (d dice) ceiling() string {
	if d.half() {
		return d.one("low", "medium", "high", "L5", "L6")
	}
	return fmt.Sprintf("{undo: %d, data: %d, reach: %d%s%s}", d.IntN(4), d.IntN(4), d.IntN(2),
		d.maybe(fmt.Sprintf(", money: {per_call_minor: %s, per_day_minor: %s, currency: %s}", d.amount(), d.amount(), d.currency())),
		d.maybe(fmt.Sprintf(", customers: {per_call: %s, per_day: %s}", d.number(), d.number())))
}

// expr is a condition. Some look at what no search covers.
func (d dice) expr() string {
	op := d.one("<", "<=", ">", ">=", "==", "!=")
	all := []string{
		"context.effect.money_minor " + op + " " + d.amount(), "context.effect.customers " + op + " " + d.number(), "context.tainted", "!context.tainted",
		"context.effect.reach == 1", "context.effect.level >= 5", "context.effect.class == \"spend\"", "context.effect.touch > 0", "context.effect.data_out >= 3",
		"context.trust." + d.one("lessThan", "greaterThanOrEqual") + "(decimal(\"" + d.one("30.0", "50.5", "70.0") + "\"))",
		"context.effect.currency " + d.one("==", "!=") + " \"" + d.currency() + "\"", "principal.profile == \"" + d.one(fuzzProfiles...) + "\"",
		"context.time.hour < 12", "resource.type == \"order\"", "principal.requires_approval", "context.effect.money_minor > context.effect.customers",
	}
	e := d.one(all...)
	switch d.IntN(4) {
	case 0:
		return "(" + e + " && " + d.one(all...) + ")"
	case 1:
		return "(" + e + " || " + d.one(all...) + ")"
	}
	return e
}

func (d dice) policy(i int) string {
	head := d.one("principal", `principal in Profile::"a"`) + ", " + d.one("action", "action", `action in Action::"writes"`, `action in Action::"orders.*"`, `action == Action::"dtc_refund_order"`) + ", resource"
	when := " when { " + d.expr() + " }"
	if d.IntN(4) == 0 {
		when = ""
	}
	return fmt.Sprintf("  @id(\"p%d\")\n  %s (%s)%s;\n", i, d.one("permit", "forbid", "forbid"), head, when)
}

func (d dice) need() string {
	people := d.IntN(3)
	if people == 0 {
		return "{people: 0}"
	}
	return fmt.Sprintf("{people: %d%s%s}", people, d.maybe(", roles: ["+d.one(fuzzRoles...)+"]"), d.maybe(", override: true"))
}

func (d dice) document() string {
	var b strings.Builder
	b.WriteString("language: 1\nprofiles:\n  scoped: {}\n")
	for _, p := range fuzzProfiles {
		fmt.Fprintf(&b, "  %s: {tools: %s, resources: %s, ceiling: %s%s%s}\n", p, d.some(fuzzTools...), d.some(fuzzObjects...), d.ceiling(),
			d.maybe(", actions: {request: "+d.some(fuzzActions...)+", run: "+d.some(fuzzActions...)+"}"),
			d.maybe(", deny: {tools: "+d.some(fuzzTools[1:]...)+", resources: "+d.some(fuzzObjects[1:]...)+"}"))
	}
	b.WriteString(d.maybe("tools:\n  dtc_refund_order: {risk: {money: 0, reach: 0}}\n  dtc_update_customer: {class: contact, minimum_trust: OPEN}\n  dtc_fulfil_order: {class: none}\n"))
	b.WriteString(d.maybe("freezes:\n- {name: peak, from: 2026-11-27T00:00:00Z, to: 2026-12-01T00:00:00Z" + d.match() + "}\n- {name: more, from: 2026-11-28T21:30:00Z, to: 2026-12-02T00:00:00Z" + d.match() + "}\n"))
	b.WriteString(d.maybe("trust:\n  start: 75\n  sandboxes:\n    strict: {ceiling: low}\n    adaptive: {from: 30, ceiling: medium}\n    open: {from: " + d.one("70", "72.5") + "}\n"))
	b.WriteString("conditions: |\n  permit (principal, action, resource)" + d.maybe(" when { "+d.expr()+" }") + ";\n")
	for i := range d.IntN(4) {
		b.WriteString(d.policy(i))
	}
	b.WriteString("limits:\n  zone: Europe/London\n")
	b.WriteString(d.maybe("  budgets:\n  - {name: m, per: key, every: day, money: " + d.money() + d.match() + "}\n  - {name: c, per: key, every: day, customers: " + d.number() + d.match() + "}\n"))
	b.WriteString(d.maybe("  contact:\n    quiet: {from: \"" + d.one("21:00", "01:00") + "\", to: \"08:00\"}\n"))
	b.WriteString("approvals:\n")
	for i := range 1 + d.IntN(5) {
		over := d.maybe(", over: {" + d.one("money: "+d.money(), "customers: "+d.number()) + "}")
		fmt.Fprintf(&b, "- {name: r%d%s%s%s, need: %s}\n", i, d.match(), over, d.maybe(", when: '"+d.expr()+"'"), d.need())
	}
	return b.String()
}

// calls are the for of an assertion.
func (d dice) calls() string {
	var all []string
	for _, part := range []string{
		"profiles: " + d.some(fuzzProfiles...), "tools: " + d.some(fuzzTools...), "classes: " + d.some(fuzzClasses...), "writes: true",
		"money: {over: " + d.amount() + d.maybe(", currency: "+d.currency()) + "}", "customers: {over: " + d.number() + "}",
		d.one("touches: true", "touches: false", "reaches: true", "undo: 2", "data: 2", "level: L5", "level: high"),
		"trust: {" + d.one("below: 30", "from: 70", "from: 50.5") + "}", "tainted: " + d.one("true", "false"), "requires_approval: true",
		"resource: \"" + d.one(fuzzObjects[1:]...) + "\"",
	} {
		if d.IntN(4) == 0 {
			all = append(all, part)
		}
	}
	return strings.Join(all, ", ")
}

func (d dice) assertion() string {
	what := d.one(
		"always: {outcome: [refuse]}", "always: {outcome: [refuse, park], people: 2}", "always: {people: 1}", "always: {roles: [manager]}", "always: {people: 1, override: true}",
		"never: {outcome: [refuse]}", "never: {outcome: [park]}", "never: {outcome: [run]}", "never: {people_under: 1}", "never: {outcome: [park], without_roles: [manager]}",
		"always: {outcome: [run]}", "always: {outcome: [run, park]}")
	return "language: 1\nassertions:\n- {name: x, for: {" + d.calls() + "}, " + what + "}\n"
}

// fact is a random call that a tool can make.
func (d dice) fact(p *Policy) *Facts {
	all := registry.All()
	t := all[d.IntN(len(all))]
	f := &Facts{
		Agent: "key_x", Kind: auth.KindKey, Profile: d.one(append(fuzzProfiles, "scoped")...), Ceiling: auth.MaxLevel, Scopes: auth.AgentScopes, Tool: t, Transport: d.one("mcp", "rest"),
		RequiresApproval: d.half(), Tainted: d.half(), Trust: d.score(p), Args: []byte("{}"), At: d.time(),
	}
	if len(t.Actions) > 0 {
		f.Action = t.Actions[d.IntN(len(t.Actions))].ID()
	}
	ratings := t.RatingsOf(f.Action)
	r := ratings[d.IntN(len(ratings))]
	f.Effect = &Effect{Risk: r.Risk, Class: r.Class, Asks: r.Asks}
	if t.Writes() && r.Risk.Money > 0 && d.IntN(5) > 0 {
		f.Effect.Money = &shop.Money{AmountMinor: d.near(0, 1, 100, 5000, 5001, 20000), Currency: d.one("GBP", "EUR", "USD")}
	}
	f.Effect.Customers = d.near(0, 1, 25, 500, 501)
	if !t.Crowd(r.Risk) {
		f.Effect.Customers = min(f.Effect.Customers, 1)
	}
	if t.Foresaw(f.Action, tools.Preview{Customers: f.Effect.Customers, Money: f.Effect.Money, Asks: r.Asks}, r) != nil {
		return d.fact(p)
	}
	f.Objects = []tools.Object{d.object(t.KindsOf(f.Action))}
	return f
}

func (d dice) near(of ...int64) int64 {
	if d.IntN(4) == 0 {
		return d.Int64N(100_000)
	}
	return max(0, of[d.IntN(len(of))]+d.Int64N(3)-1)
}

func (d dice) score(p *Policy) trust.Score {
	if !p.Document.Trust.Used() {
		return trust.Full
	}
	return min(trust.Full, trust.Score(d.near(0, 30_000, 50_500, 70_000, 72_500, 100_000)))
}

func (d dice) time() time.Time {
	return time.Date(2026, 11, 20+d.IntN(20), d.IntN(24), d.IntN(60), 0, 0, time.UTC)
}

func (d dice) object(kinds []string) tools.Object {
	if kinds == nil {
		return tools.Object{d.one("campaign:x", "discount:y")}
	}
	var o tools.Object
	for i, kind := range kinds {
		switch {
		case i > 0 && d.IntN(4) == 0:
		case kind == "queue":
			o = append(o, d.one("queue:returns/x", "queue:billing/x", "queue:sales/x", "queue:returns/*"))
		default:
			o = append(o, kind+":"+d.one("77", "5", "*"))
		}
	}
	return o
}

// TestNoRandomCallBreaksWhatWasProved holds findings to the policy itself: a random call that is not as an assertion says, which was found to
// hold, is a hole in the search. A witness has to be one of the calls, and to break the assertion when it is asked about.
func TestNoRandomCallBreaksWhatWasProved(t *testing.T) {
	InOneGoroutine(t)
	documents, calls := 30, 300 // about 50,000 calls; DTCGATE_PROVE_DOCUMENTS asks for more
	if n, err := strconv.Atoi(os.Getenv("DTCGATE_PROVE_DOCUMENTS")); err == nil {
		documents = n
	}
	count := map[Result]int{}
	for seed := range uint64(documents) {
		d := dice{rand.New(rand.NewPCG(seed, 5))}
		document := d.document()
		p, problems := New([]byte(document), registry)
		if len(problems) > 0 {
			t.Fatalf("seed %d: %v\n%s", seed, strict.Problems(problems), document)
		}
		for range 6 {
			text := d.assertion()
			asked, problems := readAssertions([]byte(text), p, registry)
			if len(problems) > 0 {
				t.Fatalf("seed %d: %v\n%s", seed, strict.Problems(problems), text)
			}
			proof, problems := Prove(context.Background(), p, registry, []byte(text), func(int, int) {})
			h := &hunt{prover: &prover{policy: p}, assertion: &asked[0]}
			if len(problems) > 0 {
				count["empty"]++
			} else {
				count[proof.Findings[0].Result]++
			}
			for range calls {
				f := d.fact(p)
				v := p.final(f)
				if !asked[0].For.covers(f.Profile, f.Tool, f.Action) || !h.inScope(f) {
					continue
				}
				count["calls"]++
				switch broken := asked[0].breaks(&v); {
				case len(problems) > 0:
					t.Fatalf("seed %d: said to be about no call: %+v %+v\n%s", seed, f, f.Effect, text)
				case broken && proof.Findings[0].Result == Holds:
					t.Fatalf("seed %d: said to hold, and %s\n%s\n%s\n%+v %+v", seed, newWitness(p, f, &v).Words, text, document, f, f.Effect)
				}
			}
		}
	}
	t.Log(count)
}

// TestChecksTurnOnNothingButTheAxesTheySay moves a call along all other axes and expects the same answer: a check that looked at more would
// have the search turn back too early.
func TestChecksTurnOnNothingButTheAxesTheySay(t *testing.T) {
	for seed := range uint64(40) {
		d := dice{rand.New(rand.NewPCG(seed, 6))}
		document := d.document()
		p, problems := New([]byte(document), registry)
		if len(problems) > 0 {
			t.Fatal(strict.Problems(problems))
		}
		k := newProver(p, registry)
		for range 300 {
			at := k.places[d.IntN(len(k.places))]
			values := k.values(at, &Calls{})
			s := newSearch(k.favourable, at, &Calls{})
			move := func(where axes) {
				for i, some := range values {
					if where&(1<<i) != 0 {
						some[d.IntN(len(some))](&s.point)
					}
				}
			}
			move(everything)
			for name, one := range s.questions(at) {
				before := one.ok(&s.point)
				move(everything &^ one.reads &^ onWhen)
				if one.ok(&s.point) != before {
					t.Fatalf("seed %d: %s of %+v looks at more than it says: %+v %+v\n%s", seed, name, at, s.facts, s.effect, document)
				}
			}
		}
	}
}

// questions are all that a search asks.
func (s *search) questions(at place) map[string]test {
	all := map[string]test{
		"approval": {at.asks(s.policy), func(x *point) bool { return x.policy.through(&x.facts).Outcome == Park }},
		"budgets":  {onRating | onMoney | onCustomers, func(x *point) bool { return x.policy.unaffordable(&x.facts) != nil }},
	}
	for _, c := range checks {
		all[c.Name] = test{at.reads(s.policy, c.Name), func(x *point) bool { return c.Judge(x.policy, &x.facts) == nil }}
	}
	return all
}

// large is a document of 100 profiles and 301 rules, all of which can be told apart.
func large() string {
	var b, conditions, approvals strings.Builder
	b.WriteString("language: 1\nprofiles:\n  scoped: {}\n")
	conditions.WriteString("conditions: |\n  permit (principal, action, resource);\n")
	approvals.WriteString("approvals:\n")
	for i := range 100 {
		fmt.Fprintf(&b, "  p%d: {tools: [\"*\"], resources: [\"*\"], actions: {request: [\"*\"]}, ceiling: {undo: 3, data: 2, reach: 1, money: {per_call_minor: %d, per_day_minor: 90000, currency: GBP}, customers: {per_call: %d, per_day: 10000}}}\n", i, 10_000+i, 1000+i)
		fmt.Fprintf(&conditions, "  forbid (principal in Profile::\"p%d\", action, resource) when { context.effect.money_minor > %d && context.tainted };\n", i, 5000+i)
		fmt.Fprintf(&approvals, "- {name: a%d, profiles: [p%d], over: {money: {amount_minor: %d, currency: GBP}}, need: {people: 2}}\n", i, i, 2000+i)
		fmt.Fprintf(&approvals, "- {name: b%d, classes: [spend, contact, destructive], over: {customers: %d}, need: {people: 2}}\n", i, 900-i)
	}
	approvals.WriteString("- {name: rest, classes: [spend, contact, destructive], need: {people: 1}}\n")
	trust := "trust:\n  start: 75\n  sandboxes:\n    strict: {ceiling: low}\n    adaptive: {from: 30, ceiling: medium}\n    open: {from: 70}\n"
	return b.String() + conditions.String() + trust + approvals.String()
}

func TestALargeDocumentIsSearchedWhole(t *testing.T) {
	InOneGoroutine(t)
	began := time.Now()
	proof := proofOf(t, large(), `
language: 1
assertions:
- {name: money takes people, for: {money: {over: 0}}, always: {people: 1}}
- {name: much money takes two, for: {money: {over: 2100, currency: GBP}, tools: [orders.refund]}, always: {people: 2}}
- {name: many customers take two, for: {customers: {over: 900}}, always: {people: 2}}
- {name: a fallen agent reads, for: {trust: {below: 30}, writes: true}, always: {outcome: [refuse]}}
- {name: a trusted agent may note, for: {tools: [orders.note], trust: {from: 70}}, never: {outcome: [refuse]}}
`)
	want := map[string]Result{
		"money takes people": Fails, "much money takes two": Holds, "many customers take two": Holds, "a fallen agent reads": Holds,
		"a trusted agent may note": Fails, // the profile scoped grants nothing
	}
	for _, f := range proof.Findings {
		t.Logf("%s %s: %d places, %d questions %v", f.Name, f.Result, f.Places, f.Asked, f.Witness)
		if f.Result != want[f.Name] {
			t.Errorf("%s %s, want %s", f.Name, f.Result, want[f.Name])
		}
	}
	t.Log(time.Since(began).Round(time.Millisecond))
}
