package condition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/auth"
)

// naive is what Cedar says of the same text with nothing left out: all policies as they are written, and all facts of the call, put
// together without the tables of facts.go.
func naive(t *rapid.T, text string, q Request) (allowed bool) {
	set, err := cedar.NewPolicySetFromBytes("", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range q.Resources {
		entities, request := everything(t, q, name)
		decision, diagnostic := cedar.Authorize(set, entities, request)
		if decision != cedar.Allow || len(diagnostic.Errors) > 0 {
			return false
		}
	}
	return true
}

func everything(t *rapid.T, q Request, resource string) (cedar.EntityMap, cedar.Request) {
	principal, action := cedar.NewEntityUID("Agent", cedar.String(q.Agent)), cedar.NewEntityUID("Action", cedar.String(q.Tool))
	object := cedar.NewEntityUID("Resource", cedar.String(resource))
	kind, id, _ := strings.Cut(resource, ":")
	agent := cedar.RecordMap{
		"kind": cedar.String(q.Kind), "name": cedar.String(q.Name), "profile": cedar.String(q.Profile), "ceiling": cedar.Long(q.Ceiling),
		"requires_approval": cedar.Boolean(q.RequiresApproval), "scopes": setOf(q.Scopes),
	}
	if q.Owner != "" {
		agent["owner"] = cedar.String(q.Owner)
	}
	tool, _ := catalogue.Find(q.Tool)
	var groups []cedar.EntityUID
	for i := range tool.Path {
		if strings.HasPrefix(tool.Path[i:], ".") {
			groups = append(groups, cedar.NewEntityUID("Action", cedar.String(tool.Path[:i]+".*")))
		}
	}
	group := map[bool]cedar.String{true: "writes", false: "reads"}[tool.Writes()]
	entities := cedar.EntityMap{
		principal: {UID: principal, Parents: cedar.NewEntityUIDSet(cedar.NewEntityUID("Profile", cedar.String(q.Profile))), Attributes: cedar.NewRecord(agent)},
		action:    {UID: action, Parents: cedar.NewEntityUIDSet(append(groups, cedar.NewEntityUID("Action", group))...)},
		object:    {UID: object, Attributes: cedar.NewRecord(cedar.RecordMap{"type": cedar.String(kind), "id": cedar.String(id)})},
	}
	return entities, cedar.Request{Principal: principal, Action: action, Resource: object, Context: contextOf(t, q)}
}

func setOf[T ~string](words []T) cedar.Set {
	var all []cedar.Value
	for _, w := range words {
		all = append(all, cedar.String(w))
	}
	return cedar.NewSet(all...)
}

func contextOf(t *rapid.T, q Request) cedar.Record {
	e, class := q.Effect, q.Effect.Class
	if class == "" {
		class = "none"
	}
	var input cedar.Record
	if err := json.Unmarshal(q.Input, &input); err != nil {
		t.Fatal(err)
	}
	trust, err := cedar.NewDecimal(q.Trust, -3)
	if err != nil {
		t.Fatal(err)
	}
	context := cedar.RecordMap{
		"input": input, "environment": cedar.String(q.Environment), "transport": cedar.String(q.Transport), "tainted": cedar.Boolean(q.Tainted),
		"trust": trust, "action": cedar.String(q.Action),
		"effect": cedar.NewRecord(cedar.RecordMap{
			"level": cedar.Long(e.Level), "undo": cedar.Long(e.Undo), "blast": cedar.Long(e.Blast), "money": cedar.Long(e.Money), "touch": cedar.Long(e.Touch),
			"data_out": cedar.Long(e.DataOut), "reach": cedar.Long(e.Reach), "class": cedar.String(class), "writes": cedar.Boolean(e.Writes),
			"dry_run": cedar.Boolean(e.DryRun), "customers": cedar.Long(e.Customers), "money_minor": cedar.Long(e.MoneyMinor), "currency": cedar.String(e.Currency),
		}),
		"time": cedar.NewRecord(cedar.RecordMap{
			"hour": cedar.Long(q.Time.Hour()), "minute": cedar.Long(q.Time.Minute()), "weekday": cedar.String(strings.ToLower(q.Time.Weekday().String())),
			"date": cedar.String(q.Time.Format("2006-01-02")), "datetime": cedar.NewDatetime(q.Time),
		}),
	}
	if q.Source.IsValid() {
		context["source"] = cedar.IPAddr(netip.PrefixFrom(q.Source, q.Source.BitLen()))
	}
	return cedar.NewRecord(context)
}

var (
	principals = []string{
		"principal", `principal in Profile::"analyst"`, `principal in Profile::"support"`, `principal is Agent in Profile::"support"`, "principal is Agent",
		`principal == Agent::"key_a"`, `principal == Agent::"key_b"`, `principal in Agent::"key_b"`,
	}
	actions = []string{
		"action", `action == Action::"dtc_refund_order"`, `action in Action::"orders.*"`, `action in [Action::"dtc_pause", Action::"reads"]`,
		`action in [Action::"dtc_refund_order", Action::"writes"]`, `action == Action::"dtc_get_order"`,
	}
	resources = []string{"resource", "resource", "resource is Resource", `resource == Resource::"order:1"`, `resource in Resource::"order:2"`}
	facets    = []string{
		"context.tainted", "context.effect.level > 4", "context.effect.money_minor > 50000", `context.effect.class == "spend"`, "context.effect.writes",
		"context.effect.customers * 4611686018427387904 > 1", `context.effect == {"level": 1}.level`, `context.trust.lessThan(decimal("70.0"))`,
		"context.time.hour < 7", `context.time.weekday == "friday"`, `context.time.datetime < datetime("2026-11-27")`,
		`context has source && context.source.isInRange(ip("10.0.0.0/8"))`, `principal has owner && principal.owner == "Ana"`, `principal.scopes.contains("orders:refund")`,
		"principal.requires_approval", `principal in Profile::"support"`, `principal in [Profile::"support", Profile::"analyst"]`, `principal == Agent::"key_a"`,
		`resource.type == "order"`, `resource.id like "1*"`, `resource == Resource::"order:1"`, `action == Action::"dtc_refund_order"`, `action in Action::"orders.*"`,
		`context.input has cause && context.input.cause == "fraud"`, "context.input has amount && context.input.amount has amount_minor && context.input.amount.amount_minor > 4000",
		"context.input has lines && !context.input.lines.isEmpty()", `context.input has lines && context.input.lines.contains({"line": 1, "qty": 2})`,
		`context.environment == "production"`, "(if context.tainted then context.effect else context.effect).level == 5", "context.input == context.input", "true", "false",
	}
)

func aPolicy(t *rapid.T, i int) string {
	from := func(label string, all []string) string { return rapid.SampledFrom(all).Draw(t, label) }
	var b strings.Builder
	fmt.Fprintf(&b, "@id(\"p%d\") %s (%s, %s, %s)", i, from("effect", []string{"permit", "permit", "forbid"}), from("principal", principals), from("action", actions), from("resource", resources))
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		expr := from("facet", facets)
		switch rapid.IntRange(0, 4).Draw(t, "shape") {
		case 0:
			expr = fmt.Sprintf("(%s) && (%s)", expr, from("facet", facets))
		case 1:
			expr = fmt.Sprintf("(%s) || (%s)", expr, from("facet", facets))
		case 2:
			expr = fmt.Sprintf("!(%s)", expr)
		}
		fmt.Fprintf(&b, "\n%s { %s }", from("when", []string{"when", "unless"}), expr)
	}
	return b.String() + ";\n"
}

func aCall(t *rapid.T) Request {
	pick := func(label string, all ...string) string { return rapid.SampledFrom(all).Draw(t, label) }
	flip := func(label string) bool { return rapid.Bool().Draw(t, label) }
	number := func(label string, all ...int64) int64 { return rapid.SampledFrom(all).Draw(t, label) }
	q := Request{
		Agent: pick("agent", "key_a", "key_b"), Name: "Ana", Kind: "api_key", Profile: pick("profile", "analyst", "support", "other", ""), Owner: pick("owner", "", "Ana"),
		Ceiling: 5, RequiresApproval: flip("approval"), Tool: pick("tool", "dtc_refund_order", "dtc_pause", "dtc_get_order"), Tainted: flip("tainted"),
		Environment: pick("environment", "production", "test"), Transport: "rest", Trust: number("trust", 0, 69_999, 70_000, 100_000),
		Time:      time.Date(2026, 11, 26, int(number("hour", 3, 12)), 5, 0, 0, time.UTC).Add(time.Duration(number("days", 0, 1)) * 24 * time.Hour),
		Resources: rapid.SliceOfN(rapid.SampledFrom([]string{"order:1", "order:2", "order:17", "ticket:1", ""}), 1, 3).Draw(t, "resources"),
		Effect: Effect{
			Known: true, Level: number("level", 0, 4, 5), Class: pick("class", "", "spend"), Writes: flip("writes"), Customers: number("customers", 0, 1, 3),
			MoneyMinor: number("money", 0, 50_000, 50_001),
		},
	}
	if flip("source") {
		q.Source = netip.MustParseAddr(pick("address", "10.0.0.1", "11.0.0.1", "2001:db8::1"))
	}
	if flip("scope") {
		q.Scopes = []auth.Scope{"orders:refund"}
	}
	q.Input = []byte("{}")
	if q.Tool == "dtc_refund_order" {
		q.Input = []byte(strings.Replace(refundArgs, "4500", pick("amount", "4000", "4001"), 1))
		if flip("lines") {
			q.Input = bytes.Replace(q.Input, []byte(`{"amount"`), []byte(pick("which", `{"lines":[{"line":1,"qty":2}],"amount"`, `{"lines":[],"amount"`)), 1)
		}
	}
	return q
}

// What is left out, asked once or answered beforehand changes no answer.
func TestPlansAnswerAsCedarDoes(t *testing.T) {
	w, err := newWorld(catalogue, profiles)
	if err != nil {
		t.Fatal(err)
	}
	allowed := 0
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for i := range rapid.IntRange(0, 6).Draw(t, "policies") {
			text.WriteString(aPolicy(t, i))
		}
		s, problems := Compile(text.String(), 1)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		s.bound.Store(bind(w, s.policies)) // without Check: what it would refuse is to be answered alike too
		for range 5 {
			q := aCall(t)
			d := s.Decide(q)
			if d.Allowed != naive(t, text.String(), q) {
				t.Fatalf("%+v\n%s\n%+v", d, text.String(), q)
			}
			if d.Allowed {
				allowed++
			}
			if len(d.Errors) > 0 && d.Allowed || d.Why != "" && d.Allowed || d.NoPermit && d.Rule != "conditions" {
				t.Fatalf("%+v", d)
			}
		}
	})
	if allowed == 0 {
		t.Error("nothing was ever allowed: the test shows nothing")
	}
}

func TestASetMayBeAskedByManyAtOnce(t *testing.T) {
	s := ready(t, night+`forbid (principal in Profile::"analyst", action in Action::"orders.*", resource) when { resource.type == "order" };`)
	var all sync.WaitGroup
	answers := make([][]Decision, 8)
	for i := range answers {
		all.Go(func() {
			for _, tool := range catalogue.All() {
				for _, profile := range append(slices.Clone(profiles), "", "other") {
					answers[i] = append(answers[i], s.Decide(with(func(q *Request) { q.Tool, q.Profile = tool.Name, profile })))
				}
			}
		})
	}
	all.Wait()
	for i := range answers {
		if fmt.Sprint(answers[i]) != fmt.Sprint(answers[0]) {
			t.Fatalf("two callers get different answers")
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(night)
	for _, p := range principals {
		for _, e := range facets {
			f.Add(fmt.Sprintf("permit (%s, action, resource) when { %s };", p, e))
		}
	}
	w, err := newWorld(catalogue, profiles)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, problems := Compile(text, 1)
		if (s == nil) != (len(problems) > 0) {
			t.Fatalf("%v and %v", s, problems)
		}
		if s == nil {
			return
		}
		s.Check(catalogue, profiles)
		s.bound.Store(bind(w, s.policies))
		s.Decide(refund())
		s.Thresholds()
		for _, p := range s.policies {
			p.Outside()
		}
	})
}

func FuzzCompileWhen(f *testing.F) {
	for _, e := range facets {
		f.Add(e)
		f.Add(e + "}; permit (principal, action, resource) when { true")
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, problems := CompileWhen(text, 1)
		if (w == nil) != (len(problems) > 0) {
			t.Fatalf("%v and %v", w, problems)
		}
		if w != nil && len(w.Check(catalogue, profiles, []string{"dtc_refund_order"})) == 0 {
			w.Holds(refund())
		}
	})
}
