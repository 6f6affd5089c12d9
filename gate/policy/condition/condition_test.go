package condition

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

var (
	catalogue = tools.NewRegistry(dtc.Tools()...)
	profiles  = []string{"analyst", "support", "marketing"}
)

// ready is a set that has passed.
func ready(t testing.TB, text string) *Set {
	t.Helper()
	s, problems := Compile(text, 1)
	if len(problems) == 0 {
		problems = s.Check(catalogue, profiles)
	}
	if len(problems) > 0 {
		t.Fatalf("%s\n%v", text, problems)
	}
	return s
}

// wrong gives the problems of a text that stands from line 1.
func wrong(t testing.TB, text string) []strict.Problem {
	t.Helper()
	s, problems := Compile(text, 1)
	if len(problems) == 0 {
		problems = s.Check(catalogue, profiles)
	}
	return problems
}

const refundArgs = `{"amount":{"amount_minor":4500,"currency":"GBP"},"cause":"damaged","expected_version":3,"idempotency_key":"k-1",` +
	`"notify_customer":true,"order_no":"536365","reason":"broken"}`

// refund is a call as the gate hands it over, on Friday 27 November 2026, 22:15.
func refund() Request {
	return Request{
		Agent: "key_a", Name: "Ana", Kind: "api_key", Profile: "support", Scopes: []auth.Scope{"orders:read", "orders:refund"}, Ceiling: 5,
		Tool: "dtc_refund_order", Path: "orders.refund", Resources: []string{"order:536365"}, Input: []byte(refundArgs),
		Effect: Effect{Known: true, Level: 5, Undo: 2, Money: 1, Class: "spend", Writes: true, Customers: 1, MoneyMinor: 4500, Currency: "GBP"},
		Time:   time.Date(2026, 11, 27, 22, 15, 0, 0, time.UTC), Source: netip.MustParseAddr("10.1.2.3"), Environment: "production",
		Transport: "mcp", Trust: 72_500,
	}
}

func with(change func(*Request)) Request {
	q := refund()
	change(&q)
	return q
}

const night = `
permit (principal, action, resource);

@id("no-night-refunds")
@reason("Refunds wait for the morning.")
forbid (principal, action == Action::"dtc_refund_order", resource)
when { context.time.hour >= 21 || context.time.hour < 7 };
`

func TestForbidWinsAndSaysWhy(t *testing.T) {
	s := ready(t, night)
	d := s.Decide(refund())
	if d.Allowed || d.Rule != "conditions.no-night-refunds" || d.Why != "Refunds wait for the morning." || d.NoPermit || len(d.Errors) > 0 {
		t.Errorf("a refund at night: %+v", d)
	}
	d = s.Decide(with(func(q *Request) { q.Time = q.Time.Add(-6 * time.Hour) }))
	if !d.Allowed || d.Rule != "conditions.line 2" {
		t.Errorf("a refund in the afternoon: %+v", d)
	}
}

func TestNothingIsAllowedWithoutAPermit(t *testing.T) {
	for _, text := range []string{"", `forbid (principal, action, resource) when { context.tainted };`, `permit (principal in Profile::"analyst", action, resource);`} {
		if d := ready(t, text).Decide(refund()); d.Allowed || !d.NoPermit || d.Rule != "conditions" {
			t.Errorf("%q: %+v", text, d)
		}
	}
}

func TestASetThatWasNotCheckedDenies(t *testing.T) {
	s, _ := Compile("permit (principal, action, resource);", 1)
	if d := s.Decide(refund()); d.Allowed || len(d.Errors) == 0 {
		t.Errorf("%+v", d)
	}
	s = ready(t, "permit (principal, action, resource);")
	if d := s.Decide(with(func(q *Request) { q.Tool = "dtc_unheard_of" })); d.Allowed || len(d.Errors) == 0 {
		t.Errorf("a tool that nobody knows: %+v", d)
	}
	s.bound.Load().policies = nil
	bad, _ := Compile("permit (principal, action, resource) when { context.nowhere };", 1)
	if len(bad.Check(catalogue, profiles)) == 0 || bad.Decide(refund()).Allowed {
		t.Error("a set that failed its check allows")
	}
}

// Cedar leaves an erroring policy out: with a forbid that overflows the call would be allowed.
func TestAnEvaluationErrorDenies(t *testing.T) {
	s := ready(t, `permit (principal, action, resource);
		@id("sum") forbid (principal, action, resource) when { context.effect.money_minor * 9223372036854775807 > 5 };`)
	d := s.Decide(refund())
	if d.Allowed || d.Rule != "conditions.sum" || len(d.Errors) != 1 || d.NoPermit {
		t.Errorf("%+v", d)
	}
	if d := s.Decide(with(func(q *Request) { q.Effect.MoneyMinor = 0 })); !d.Allowed {
		t.Errorf("without the overflow: %+v", d)
	}
}

func TestAnErrorInAPermitDeniesAlthoughAnotherPermitApplies(t *testing.T) {
	s := ready(t, `@id("all") permit (principal, action, resource);
		@id("sum") permit (principal, action, resource) when { context.effect.money_minor * 9223372036854775807 > 5 };`)
	if d := s.Decide(refund()); d.Allowed || d.Rule != "conditions.sum" {
		t.Errorf("%+v", d)
	}
}

func TestAnEffectThatIsNotKnownDeniesWhereAPolicyLooksAtIt(t *testing.T) {
	s := ready(t, `permit (principal, action, resource);
		forbid (principal, action, resource) when { context.effect.customers > 500 };`)
	if d := s.Decide(with(func(q *Request) { q.Effect = Effect{} })); d.Allowed || len(d.Errors) == 0 {
		t.Errorf("%+v", d)
	}
	s = ready(t, `permit (principal, action, resource);
		forbid (principal, action, resource) when { context.tainted };`)
	if d := s.Decide(with(func(q *Request) { q.Effect = Effect{} })); !d.Allowed {
		t.Errorf("nothing looks at the effect: %+v", d)
	}
}

func TestEveryResourceHasToBeAllowed(t *testing.T) {
	s := ready(t, `@id("returns") permit (principal, action, resource) when { resource.type == "queue" && resource.id like "returns/*" };`)
	one := with(func(q *Request) { q.Resources = []string{"queue:returns/tk_1", "queue:returns/tk_2"} })
	if d := s.Decide(one); !d.Allowed {
		t.Errorf("both in the queue: %+v", d)
	}
	one.Resources = append(one.Resources, "queue:billing/tk_3")
	if d := s.Decide(one); d.Allowed || d.Resource != "queue:billing/tk_3" {
		t.Errorf("one is not: %+v", d)
	}
	one.Resources = nil
	if d := s.Decide(one); d.Allowed {
		t.Errorf("a call about nothing: %+v", d)
	}
}

func TestWhatCedarCannotHoldDeniesWhereverItStands(t *testing.T) {
	s := ready(t, `permit (principal, action, resource);
		forbid (principal, action == Action::"dtc_refund_order", resource) when { context.input.cause == "fraud" };`)
	for name, args := range map[string]string{
		"null in an argument that no policy looks at": strings.Replace(refundArgs, `"broken"`, "null", 1),
		"null in the argument":                        strings.Replace(refundArgs, `"damaged"`, "null", 1),
		"an integer beyond 64 bits":                   strings.Replace(refundArgs, "4500", "9223372036854775808", 1),
		"a fraction for an integer":                   strings.Replace(refundArgs, "4500", "4500.5", 1),
		"an exponent for an integer":                  strings.Replace(refundArgs, "4500", "4e3", 1),
		"a list for an object":                        strings.Replace(refundArgs, `{"amount_minor":4500,"currency":"GBP"}`, "[]", 1),
		"an argument that the tool does not have":     strings.Replace(refundArgs, `"cause"`, `"zzz":1,"cause"`, 1),
		"a name twice":                                strings.Replace(refundArgs, `"cause":"damaged"`, `"cause":"damaged","cause":"damaged"`, 1),
		"half a document":                             refundArgs[:40],
		"no arguments":                                "",
		"a list":                                      "[]",
	} {
		d := s.Decide(with(func(q *Request) { q.Input = []byte(args) }))
		if d.Allowed || len(d.Errors) == 0 {
			t.Errorf("%s: %+v", name, d)
		}
		if strings.Contains(strings.Join(d.Errors, ""), "9223372036854775808") {
			t.Errorf("%s: the error repeats the argument: %v", name, d.Errors)
		}
	}
	if d := s.Decide(refund()); !d.Allowed {
		t.Errorf("a good call: %+v", d)
	}
}

func TestDecimalsAreExactOrNothing(t *testing.T) {
	of := &shape{kind: record, members: []member{{"rate", &shape{kind: decimal}, false}}}
	for args, want := range map[string]string{
		`{"rate":12.5}`: "12.5", `{"rate":12}`: "12.0", `{"rate":-0.0001}`: "-0.0001", `{"rate":1.00001}`: "", `{"rate":1e2}`: "", `{"rate":9e300}`: "",
		`{"rate":999999999999999999}`: "", `{"rate":null}`: "",
	} {
		v, err := readInput([]byte(args), of, wholly)
		if got := ""; err == nil {
			got = strings.TrimSuffix(strings.TrimPrefix(string(v.MarshalCedar()), `{"rate":decimal("`), `")}`)
			if got != want {
				t.Errorf("%s is %s (%s)", args, got, v.MarshalCedar())
			}
		} else if want != "" {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestEachFactIsWhatThePolicySees(t *testing.T) {
	for _, expr := range []string{
		`principal == Agent::"key_a"`, `principal in Profile::"support"`, `principal.profile == "support"`, `principal.name == "Ana"`, `principal.kind == "api_key"`,
		`!(principal has owner)`, `principal.scopes.contains("orders:refund")`, `principal.ceiling == 5`, `!principal.requires_approval`,
		`action == Action::"dtc_refund_order"`, `action in Action::"orders.*"`, `action in Action::"writes"`, `!(action in Action::"reads")`,
		`resource == Resource::"order:536365"`, `resource.type == "order" && resource.id == "536365"`,
		`context.input.amount.amount_minor == 4500`, `context.input has notify_customer && !(context.input has lines)`, `context.input.cause == "damaged"`,
		`context.effect.customers == 1 && context.effect.money_minor == 4500 && context.effect.currency == "GBP" && context.effect.class == "spend"`,
		`context.effect.writes && !context.effect.dry_run && context.effect.level == 5 && context.effect.undo == 2`,
		`context.time.hour == 22 && context.time.minute == 15 && context.time.weekday == "friday" && context.time.date == "2026-11-27"`,
		`context.time.datetime < datetime("2026-11-28")`, `context has source && context.source.isInRange(ip("10.0.0.0/8"))`,
		`context.environment == "production" && context.transport == "mcp" && !context.tainted && context.action == ""`,
		`context.trust.greaterThan(decimal("72.4")) && context.trust.lessThan(decimal("72.6"))`,
		`context.effect == context.effect && context.input == context.input && context == context`,
		`(if context.tainted then context.effect else context.effect).level == 5`, `(if context.tainted then principal else principal).ceiling == 5`,
	} {
		s, problems := Compile(`permit (principal, action == Action::"dtc_refund_order", resource) when { `+expr+` };`, 1)
		if len(problems) == 0 {
			problems = s.Check(catalogue, profiles)
		}
		if len(problems) > 0 {
			t.Errorf("%s: %v", expr, problems)
		} else if d := s.Decide(refund()); !d.Allowed {
			t.Errorf("%s: %+v", expr, d)
		}
	}
}

func TestAnAddressIsTheSameInBothFamilies(t *testing.T) {
	s := ready(t, `permit (principal, action, resource) when { context has source && context.source.isInRange(ip("10.0.0.0/8")) };`)
	if d := s.Decide(with(func(q *Request) { q.Source = netip.MustParseAddr("::ffff:10.1.2.3") })); !d.Allowed {
		t.Errorf("mapped into IPv6: %+v", d)
	}
	if d := s.Decide(with(func(q *Request) { q.Source = netip.Addr{} })); d.Allowed {
		t.Errorf("without an address: %+v", d)
	}
}

func TestReadsNamesWhatCanBeLookedAt(t *testing.T) {
	s := ready(t, night+`forbid (principal in Profile::"analyst", action == Action::"dtc_refund_order", resource) when { context.effect.level > 2 || context.input.cause == "fraud" };`)
	if got := s.Reads("dtc_refund_order", "support"); got != (Reads{Time: true}) {
		t.Errorf("support: %+v", got)
	}
	if got := s.Reads("dtc_refund_order", "analyst"); got != (Reads{Time: true, Effect: true, Input: true}) {
		t.Errorf("analyst: %+v", got)
	}
	if got := s.Reads("dtc_search_orders", "analyst"); got != (Reads{}) {
		t.Errorf("a tool without conditions: %+v", got)
	}
}

func TestTheProverLearnsConstantsAndWhatItCannotSearch(t *testing.T) {
	s := ready(t, `
	@id("a") forbid (principal in Profile::"support", action in [Action::"dtc_refund_order"], resource) when { context.effect.money_minor > 50000 || 5 <= context.effect.customers };
	@id("b") permit (principal, action, resource) when { context.trust.greaterThan(decimal("70.1")) && [1, 2].contains(context.effect.level) && !context.tainted };
	@id("c") permit (principal, action, resource) when { context.effect.money_minor * 2 > 7 && resource.type == "order" && principal.name like "a*" };
	@id("d") permit (principal == Agent::"key_a", action, resource) when { context has source || principal in [Profile::"support"] };`)
	got := s.Thresholds()
	for path, want := range map[string][]int64{
		"context.effect.money_minor": {50000}, "context.effect.customers": {5}, "context.trust": {70100}, "context.effect.level": {1, 2},
	} {
		if !equal(got[path], want) {
			t.Errorf("%s: %v, not %v", path, got[path], want)
		}
	}
	for i, want := range []string{
		"action context.effect.customers context.effect.money_minor principal.profile | ",
		"context.effect.level context.tainted context.trust | ",
		"context.effect.money_minor principal.name resource.type | context.effect.money_minor principal.name resource.type",
		"context.source principal principal.profile | context.source principal",
	} {
		p := s.Policies()[i]
		if got := strings.Join(p.Depends(), " ") + " | " + strings.Join(p.Outside(), " "); got != want {
			t.Errorf("%s: %s\nnot %s", p.ID(), got, want)
		}
	}
}

func equal(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
