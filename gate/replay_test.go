package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/rehearsal"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// busyPolicy is the document that a merchant begins with, and more of everything that decides: budgets that run out, hours, a freeze, what looks at
// names, amounts, hours and networks.
var busyPolicy = replaced(string(policy.Default),
	"refusal: -1,", "refusal: -0.3,",
	"open: {from: 70}", "open: {from: 60}",
	"- name: spend\n  classes: [spend]\n", "- name: spend\n  classes: [spend]\n  over: {money: {amount_minor: 800, currency: GBP}}\n",
	"# - {name: calls, per: key, every: hour, calls: 5000}", "- {name: calls, per: key, every: hour, calls: 6}",
	"money: {amount_minor: 100000, currency: GBP}, tools", "money: {amount_minor: 2500, currency: GBP}, tools",
	"customers: 20000, classes", "customers: 300, classes",
	`# quiet: {from: "21:00", to: "08:00"}`, `quiet: {from: "21:00", to: "08:00"}`,
	"# Cedar. A call needs", `freezes:
- {name: peak, from: 2026-11-22T12:00:00Z, to: 2026-11-22T15:00:00Z, tools: [prices.*, store.*, products.update]}

# Cedar. A call needs`,
	`  @id("granted")`, `  @id("named")
  forbid (principal, action == Action::"dtc_get_cohorts", resource) when { principal.name like "*2" };
  @id("late")
  forbid (principal, action == Action::"dtc_get_attribution", resource) when { context.time.hour >= 16 && context.transport == "mcp" };
  @id("away")
  forbid (principal, action == Action::"dtc_search_products", resource) when { context has source && context.source.isInRange(ip("10.0.0.0/25")) };
  @id("much")
  forbid (principal, action == Action::"dtc_refund_order", resource) when { context.input.amount.amount_minor > 1500 };
  @id("granted")`,
)

func replaced(text string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			panic("the document has no " + pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

// A bustle is a shop in which many agents do all there is to do, at random.
type bustle struct {
	*house
	*rand.Rand
	now     time.Time
	callers []auth.Principal
	people  []auth.Principal
	seen    map[string][]string // ids that answers gave, by the argument that takes them
	calls   int
}

func newBustle(t *testing.T, db *store.DB, document string) *bustle {
	if _, problems := policy.New([]byte(document), tools.NewRegistry(dtc.Tools()...)); len(problems) > 0 {
		t.Fatal(problems)
	}
	b := &bustle{house: &house{t: t, handled: map[string]int{}}, Rand: rand.New(rand.NewPCG(4, 2)), now: time.Date(2026, 11, 22, 9, 30, 0, 123456789, shop.London), seen: map[string][]string{}}
	db.Now = func() time.Time { b.now = b.now.Add(time.Millisecond); return b.now }
	b.Gate = New(Config{DB: db, Tools: tools.NewRegistry(dtc.Tools()...), Log: zerolog.New(zerolog.NewTestWriter(t))})
	b.tx(func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, "demo")
		if err == nil {
			b.merchant = m.ID
			_, err = policy.Install(tx, m.ID, []byte(document), "test")
		}
		return err
	})
	if _, err := shop.LoadDemo(t.Context(), db, b.merchant, 1, b.now); err != nil {
		t.Fatal(err)
	}
	b.hire()
	return b
}

// hire lets in agents of every profile, and some that have little of their own, with sub-tokens below them.
func (b *bustle) hire() {
	for i, roles := range [][]string{{"manager", "finance"}, {"marketing", "security"}, {"compliance"}} {
		name := fmt.Sprint("person", i)
		b.tx(func(tx *store.Tx) error {
			if _, _, err := auth.AddPerson(tx, b.merchant, name, roles...); err != nil {
				return err
			}
			p, err := auth.FindPerson(tx, b.merchant, name)
			b.people = append(b.people, p)
			return err
		})
	}
	profiles := []string{"admin", "assistant", "marketing", "operations", "support", "merchandising", "analyst", "scoped", "admin", "assistant", "admin", "assistant"}
	for i, profile := range profiles {
		k := auth.Key{Name: fmt.Sprint("bot", i), Profile: profile, Scopes: auth.AgentScopes, Actions: []string{"*"}, Ceiling: auth.MaxLevel, RequiresApproval: i%3 == 0 || i == 11, Depth: 1}
		switch i {
		case 8:
			k.Scopes, k.Actions = []auth.Scope{"orders:read", "analytics:read", "actions:request"}, []string{"payments:refund"}
		case 9:
			k.Ceiling = 3
		case 10:
			k.Rate = auth.Rate{PerMinute: 2}
		}
		b.callers = append(b.callers, b.mint(k))
	}
	for _, giver := range []int{0, 1, 4, 11} {
		b.tx(func(tx *store.Tx) error {
			p := b.callers[giver]
			_, secret, err := auth.MintSubToken(tx, p, auth.Delegation{Name: "sub2", TTL: 23 * time.Hour, Ceiling: "high"})
			if err == nil {
				p, err = auth.Authenticate(tx, secret)
				b.callers = append(b.callers, p)
			}
			return err
		})
	}
}

func (b *bustle) one(of []string) string { return of[b.IntN(len(of))] }

// step is one call of somebody, and what people and time do meanwhile.
func (b *bustle) step() {
	b.calls++
	b.now = b.now.Add(time.Duration(b.IntN(90)) * time.Second)
	p := b.callers[b.IntN(len(b.callers))]
	tool, args := b.any(p)
	b.make(p, Request{
		Tool: tool, Args: args, Transport: b.one([]string{"mcp", "rest"}), Source: b.one([]string{"127.0.0.1", "10.0.0.9", "::1", "10.0.0.200"}), FillFacts: b.IntN(4) == 0,
	})
	if b.calls%9 == 0 {
		b.decide()
	}
	if b.calls%5 == 0 {
		b.resume()
	}
	if b.calls%50 == 0 {
		if err := b.Sweep(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
	}
}

// make makes a call as an agent would: what it expected wrongly it says rightly the next time, and sometimes it asks twice.
func (b *bustle) make(p auth.Principal, r Request) {
	out, err := b.Call(b.t.Context(), p, r)
	var members map[string]any
	if now := staleness(err); now != nil && json.Unmarshal(r.Args, &members) == nil {
		maps.Copy(members, now)
		r.Args, _ = json.Marshal(members)
		out, _ = b.Call(b.t.Context(), p, r)
	}
	b.learn(p, out)
	if b.IntN(10) == 0 {
		_, _ = b.Call(b.t.Context(), p, r)
	}
}

func staleness(err error) map[string]any {
	r := (*tools.Refusal)(nil)
	if !errors.As(err, &r) || r.Code != tools.StaleExpectation || r.Errors == nil {
		return nil
	}
	now := maps.Clone(r.Errors.Now)
	maps.DeleteFunc(now, func(name string, _ any) bool { return !strings.HasPrefix(name, "expected_") })
	return now
}

// often are tools that are called more than others.
var often = []string{
	"dtc_refund_order", "dtc_refund_order", "dtc_refund_order", "dtc_refund_order", "dtc_create_discount", "dtc_request_action", "dtc_get_tickets", "dtc_undo", "dtc_send_campaign", "dtc_create_campaign", "dtc_cancel_job",
	"dtc_get_cohorts", "dtc_get_attribution",
}

// any is some call: a tool's example, most often changed in some way.
func (b *bustle) any(p auth.Principal) (string, []byte) {
	t := b.tools.All()[b.IntN(len(b.tools.All()))]
	if b.IntN(2) == 0 {
		t, _ = b.tools.Find(b.one(often))
	}
	if b.IntN(40) == 0 {
		return "dtc_no_such_tool", nil
	}
	raw := t.Example
	for _, name := range []string{"undo_id", "job_id"} {
		id := name + "_unknown"
		if own := b.seen[name+p.ID]; len(own) > 0 {
			id = b.one(own)
		}
		raw = strings.ReplaceAll(raw, "{{"+name+"}}", id)
	}
	var args map[string]any
	if json.Unmarshal([]byte(raw), &args) != nil {
		return t.Name, []byte(raw)
	}
	b.vary(t, args)
	out, _ := json.Marshal(args)
	return t.Name, out
}

func (b *bustle) vary(t *tools.Tool, args map[string]any) {
	if _, ok := args["idempotency_key"]; ok && b.IntN(8) > 0 {
		args["idempotency_key"] = fmt.Sprint("key", b.calls)
	}
	for _, name := range []string{"name", "code", "subject", "category", "text", "title"} {
		if v, ok := args[name].(string); ok {
			args[name] = fmt.Sprint(v, b.calls)
		}
	}
	if _, ok := args["order_no"]; ok && b.IntN(3) > 0 {
		args["order_no"] = fmt.Sprint(70001 + b.IntN(1990))
	}
	switch t.Name {
	case "dtc_refund_order":
		args["amount"] = map[string]any{"amount_minor": 100 + b.IntN(2000), "currency": "GBP"}
	case "dtc_request_action":
		args["target"] = fmt.Sprintf("month:2026-%02d", 1+b.IntN(10))
		if b.IntN(3) == 0 {
			args["action"] = b.tools.Actions()[b.IntN(len(b.tools.Actions()))].ID()
		}
	case "dtc_get_tickets":
		args["queue"] = b.one([]string{"returns", "general", "orders"})
	}
	if _, has := t.Input.Property("dry_run"); has && b.IntN(4) == 0 {
		args["dry_run"] = true
	}
	if b.IntN(25) == 0 {
		args["no_such_field"] = 1
	}
}

// learn keeps the ids of an answer for later calls.
func (b *bustle) learn(p auth.Principal, out Outcome) {
	var r tools.Result
	if json.Unmarshal(out.Body, &r) != nil {
		return
	}
	if r.JobID != "" {
		b.seen["job_id"+p.ID] = append(b.seen["job_id"+p.ID], r.JobID)
	}
	if r.UndoID != "" {
		b.seen["undo_id"+p.ID] = append(b.seen["undo_id"+p.ID], r.UndoID)
	}
}

// decide lets people vote on what waits.
func (b *bustle) decide() {
	all, err := b.Requests(b.t.Context(), b.people[0], false)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range all {
		d := approvals.Approve
		if b.IntN(5) == 0 {
			d = approvals.Deny
		}
		for _, p := range b.people {
			_, _ = b.Vote(b.t.Context(), p, Ballot{ID: r.JobID, Decision: d, Reason: "it is what was agreed", Channel: "rest"})
		}
	}
}

func operatorOf(merchant string) By {
	return By{Principal: auth.OperatorPrincipal(merchant), Transport: "cli"}
}

// rehearsed is the whole record under a document.
func (h *house) rehearsed(document string) rehearsal.Report {
	h.t.Helper()
	report, err := h.Replay(h.t.Context(), operatorOf(h.merchant), document, Span{Since: h.db.Now().AddDate(0, 0, -60)}, nil)
	if r := (*tools.Refusal)(nil); errors.As(err, &r) {
		h.t.Fatalf("%s %+v", r, r.Errors)
	}
	return report
}

// outcomes counts what became of the calls, by status and rule.
func (b *bustle) outcomes() map[string]int {
	b.t.Helper()
	found := map[string]int{}
	for _, e := range append(b.entries("call"), b.entries("call.resumed")...) {
		found[e.Event+" "+e.Status+" "+e.PolicyRule]++
	}
	return found
}

// of counts the outcomes that begin so.
func of(found map[string]int, begin string) (n int) {
	for name, times := range found {
		if strings.HasPrefix(name, begin) {
			n += times
		}
	}
	return n
}

// inOneGoroutine leaves a test of thousands of calls, one after the other, to the run without the race detector, which has nothing to find in it.
func inOneGoroutine(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine and thousands of calls: it runs without the race detector")
	}
}

// varied are outcomes of which a record must have some to show anything.
var varied = []string{
	"call done profiles.", "call done builtin.free", "call dry_run", "call pending_approval approvals.", "call pending_approval builtin.always_asks", "call pending_approval builtin.key_requires_approval", "call replayed",
	"call refused builtin.arguments", "call refused builtin.ceiling", "call refused builtin.effect", "call refused builtin.scope", "call refused builtin.tool",
	"call refused builtin.rate", "call refused conditions.late", "call refused conditions.much", "call refused conditions.named", "call refused conditions.away",
	"call refused freezes.", "call refused limits.budgets.refunds", "call refused limits.budgets.calls", "call refused profiles.support", "call refused profiles.scoped",
	"call refused trust.", "call.resumed done",
}

func TestAPolicyThatIsRehearsedOnItsOwnCallsDiffersInNone(t *testing.T) {
	inOneGoroutine(t)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		b := newBustle(t, db, busyPolicy)
		if _, err := b.CastShadow(t.Context(), operatorOf(b.merchant), busyPolicy, "its own shadow"); err != nil {
			t.Fatal(err)
		}
		var half time.Time
		for i := range 1500 {
			if b.step(); i == 750 {
				half = b.now
			}
		}
		if n := len(b.entries(policy.EventDiffers)); n != 0 {
			t.Errorf("beside itself it differed %d times: %+v", n, b.entries(policy.EventDiffers)[0])
		}
		got := b.rehearsed(busyPolicy)
		lost := got.Unknown[rehearsal.LostNested] + got.Unknown[policy.LostBatch] // undos, judged by what they take back, and batches, by their calls
		if shown, _ := json.MarshalIndent(got, "", " "); got.Differences() != 0 || !got.Complete || got.Calls != got.Unchanged+got.KeptRefused+lost || len(got.Unknown) > 2 {
			t.Errorf("%s", shown)
		}
		later, err := b.Replay(t.Context(), operatorOf(b.merchant), busyPolicy, Span{Since: half}, nil)
		if err != nil || later.Differences() != 0 || later.Calls == 0 || later.Calls >= got.Calls { // its budgets were used before
			t.Errorf("from the middle on: %v %+v", err, later)
		}
		found := b.outcomes()
		for _, name := range varied {
			if of(found, name) == 0 {
				t.Errorf("nothing of %s happened", name)
			}
		}
		if t.Failed() {
			shown, _ := json.MarshalIndent(found, "", " ")
			t.Logf("%s", shown)
		}
	})
}
