package gate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

type batchIn struct {
	Calls          []tools.Planned `json:"calls" jsonschema:"minItems=2,maxItems=20"`
	IdempotencyKey string          `json:"idempotency_key"`
	Reason         string          `json:"reason"`
	DryRun         bool            `json:"dry_run,omitempty"`
}

type batchOut struct {
	Calls []tools.Made `json:"calls"`
}

// batching is hooked in a house that has a batch, a tool that nobody but holders of another scope may call, and one whose writes can be undone.
func batching(t *testing.T, fn func(t *testing.T, h *house, k *hook)) {
	t.Helper()
	hooked(t, func(t *testing.T, h *house, k *hook) {
		all := moveSpec("test_batch", "self.batch")
		all.Scope, all.Class, all.Resource, all.Risk = "", tools.ClassNone, "self", tools.Risk{Undo: 1, Blast: 1}
		far := moveSpec("test_far", "test.far")
		far.Scope = "pricing:write"
		paint := moveSpec("test_paint", "test.paint")
		paint.Risk, paint.Class = tools.Risk{Undo: 1, Blast: 1}, tools.ClassNone
		h.tools = tools.NewRegistry(append(h.tools.All(),
			tools.Define(all, tools.Func[batchIn, batchOut]{
				Calls:   func(in batchIn) ([]tools.Planned, error) { return in.Calls, nil },
				Preview: func(c *tools.Call, _ batchIn) (tools.Preview, error) { return c.Batch.Preview() },
				Write: func(c *tools.Call, _ batchIn) (batchOut, error) {
					made, err := c.Batch.Run()
					return batchOut{made}, err
				},
			}),
			tools.Define(far, tools.Func[moveIn, moveOut]{Preview: h.previewMove, Write: h.move}),
			tools.Define(paint, tools.Func[moveIn, moveOut]{
				Preview: func(c *tools.Call, in moveIn) (tools.Preview, error) {
					p, err := h.previewMove(c, in)
					p.Money, p.Customers = nil, 0
					return p, err
				},
				Write: h.move,
				Undo: tools.Reversible(func(*tools.Call, moveIn) (struct{}, error) { return struct{}{}, nil },
					func(c *tools.Call, in moveIn, _ moveOut, _ struct{}) error {
						_, err := c.Exec(`INSERT INTO test_effects (call_id, thing, step) VALUES ($1, $2, -1)`, c.ID, in.Thing)
						return err
					}),
			}),
		)...)
		fn(t, h, k)
	})
}

// one is a call of a batch, as tool, thing and amount: "test_move lamp 3".
func one(line string) string {
	var tool, thing string
	var amount int64
	if _, err := fmt.Sscan(line, &tool, &thing, &amount); err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"tool":%q,"arguments":{"thing":%q,"amount":%d}}`, tool, thing, amount)
}

// batchOf are the arguments of a batch of such calls.
func batchOf(key string, lines ...string) string {
	calls := make([]string, len(lines))
	for i, l := range lines {
		calls[i] = one(l)
	}
	return fmt.Sprintf(`{"calls":[%s],"idempotency_key":%q,"reason":"because they stand in the way"}`, strings.Join(calls, ","), key)
}

func (h *house) madeOf(raw json.RawMessage) []tools.Made {
	h.t.Helper()
	var out batchOut
	if err := json.Unmarshal(raw, &out); err != nil {
		h.t.Fatalf("%s: %v", raw, err)
	}
	return out.Calls
}

// tables are all rows that a call leaves, but for the record of its refusal and what follows from that.
func (h *house) tables() map[string]int {
	n := map[string]int{}
	for _, table := range []string{"test_effects", "effects", "idempotency", "jobs", "approvals", "budget_holds", "outbox"} {
		n[table] = h.count(`SELECT COUNT(*) FROM ` + table)
	}
	n["spent"] = h.count(`SELECT COALESCE(SUM(spent + reserved), 0) FROM budget_counters`)
	return n
}

func TestABatchRunsWholeOrNotAtAll(t *testing.T) {
	batching(t, func(t *testing.T, h *house, _ *hook) {
		h.publish(policytest.Open + "limits:\n  zone: Europe/London\n  budgets:\n  - {name: money, per: key, every: day, money: {amount_minor: 1000, currency: GBP}}\n")
		before := h.tables()
		for _, third := range []string{"test_move fails 1", "test_move panics 1", "test_move nowhere 1"} {
			if _, err := h.call(h.free, "test_batch", batchOf("k", "test_move lamp 1", "test_paint lamp 2", third)); err == nil {
				t.Errorf("%s: the batch ran", third)
			}
			if now := h.tables(); fmt.Sprint(now) != fmt.Sprint(before) {
				t.Errorf("%s: there was %v and is %v", third, before, now)
			}
		}
		out, err := h.call(h.free, "test_batch", batchOf("k", "test_move lamp 1", "test_paint lamp 2", "test_move lamp 3"))
		if err != nil {
			t.Fatal(err)
		}
		now := h.tables()
		if h.effects() != 3 || now["effects"] != 3 || now["idempotency"] != 4 || now["spent"] != 40 {
			t.Errorf("after the batch: %v", now)
		}
		made := h.madeOf(h.result(out).Result)
		if len(made) != 3 || string(made[2].Result) != `{"moved":3}` || made[0].UndoID != "" || made[1].UndoID == "" {
			t.Errorf("made %+v", made)
		}
		var told []string
		for _, e := range h.entries("call") {
			if e.Status == "done" {
				told = append(told, e.Tool+" "+e.Reason[:min(len(e.Reason), 12)])
			}
		}
		if want := []string{"test_batch ", "test_move in the batch", "test_paint in the batch", "test_move in the batch"}; !slices.Equal(told, want) {
			t.Errorf("on record are %q", told)
		}
		h.tx(func(tx *store.Tx) error {
			e, err := undos{h.Gate}.Undo(tx, h.free, made[1].UndoID)
			if e.State != tools.EffectUndone {
				t.Errorf("undone is %+v", e)
			}
			return err
		})
	})
}

func TestEachCallOfABatchIsJudgedAsACallOfItsOwn(t *testing.T) {
	batching(t, func(t *testing.T, h *house, k *hook) {
		low := h.mint(auth.Key{Name: "low", Scopes: h.free.Scopes, Ceiling: 3})
		alone := func(p auth.Principal, line string) *tools.Refusal {
			var c struct{ Arguments json.RawMessage }
			if err := json.Unmarshal([]byte(one(line)), &c); err != nil {
				t.Fatal(err)
			}
			_, err := h.call(p, strings.Fields(line)[0], string(c.Arguments))
			return asRefusal(err)
		}
		for _, c := range []struct {
			who  auth.Principal
			line string
		}{
			{h.free, "test_far lamp 1"},
			{h.free, "test_none lamp 1"},
			{h.free, "test_move nowhere 1"},
			{h.free, "test_move lamp 1001"},
			{low, "test_move lamp 1"},
		} {
			_, err := h.call(c.who, "test_batch", batchOf("k", "test_paint lamp 1", c.line))
			is, want := asRefusal(err), alone(c.who, c.line)
			if is.Code != want.Code || !strings.HasPrefix(is.Message, "calls[1]: ") || !strings.HasSuffix(is.Message, want.Message[4:]) && is.Code != tools.InvalidArguments {
				t.Errorf("%s: refused as %v, alone as %v", c.line, is, want)
			}
		}
		for line, want := range map[string]tools.Code{
			"test_walk lamp 1": tools.Conflict, "test_batch lamp 1": tools.Conflict, "test_read lamp 1": tools.Conflict, "test_cancel lamp 1": tools.Conflict,
		} {
			_, err := h.call(h.free, "test_batch", batchOf("k", "test_paint lamp 1", line))
			wantCode(t, err, want)
		}
		inside := strings.Replace(batchOf("k", "test_paint lamp 1", "test_paint lamp 2"), `"amount":2`, `"amount":2,"idempotency_key":"own"`, 1)
		_, err := h.call(h.free, "test_batch", inside)
		if r := wantCode(t, err, tools.InvalidArguments); r.Errors.Fields[0].Field != "calls[1].arguments.idempotency_key" {
			t.Errorf("refused for %+v", r.Errors)
		}
		k.setFor(h, 1e12)
		_, err = h.call(h.free, "test_batch", batchOf("k", "test_paint lamp 1", "test_hook lamp 1"))
		wantCode(t, err, tools.Conflict)
		if h.effects() != 0 {
			t.Errorf("%d effects", h.effects())
		}
	})
}

func TestABatchTakesTheConsentOfEachCallAndOfAllTogether(t *testing.T) {
	batching(t, func(t *testing.T, h *house, _ *hook) {
		h.publish(policytest.Open + `
approvals:
- {name: paint, tools: [test.paint], need: {people: 1, roles: [security]}}
- {name: big, tools: [test.move], over: {money: {amount_minor: 500, currency: GBP}}, need: {people: 1, roles: [finance]}}
`)
		people := h.people("max manager", "fin finance", "sec security")
		out, err := h.call(h.free, "test_batch", batchOf("small", "test_move lamp 20", "test_move lamp 30"))
		if err != nil || out.Status != tools.Done {
			t.Fatalf("a batch that nobody is asked about: %v, %v", out.Status, err)
		}
		out, err = h.call(h.free, "test_batch", batchOf("sum", "test_move lamp 20", "test_move lamp 31"))
		if err != nil || out.Status != tools.PendingApproval || h.result(out).Approval.Rule != "approvals.big" {
			t.Fatalf("a batch over the threshold is %s: %v", out.Body, err)
		}
		out, err = h.call(h.free, "test_batch", batchOf("all", "test_move lamp 20", "test_move lamp 32", "test_paint lamp 1"))
		if err != nil {
			t.Fatal(err)
		}
		r := h.result(out)
		if r.Approval.Rule != "approvals.big and approvals.paint" || !strings.Contains(r.Approval.Needs, "finance") || !strings.Contains(r.Approval.Needs, "security") {
			t.Errorf("it is asked of %+v", r.Approval)
		}
		if len(r.Preview.Calls) != 3 || r.Preview.Money.AmountMinor != 520 || r.Preview.Customers != 2 {
			t.Errorf("people are shown %+v", r.Preview)
		}
		if _, err := h.Vote(t.Context(), people["max"], Ballot{ID: r.JobID, Decision: approvals.Approve, Channel: "rest"}); err == nil {
			t.Error("somebody of neither rule voted")
		}
		h.yes(r.JobID, people["fin"])
		h.resume()
		if j := h.job(r.JobID); j.Status != tools.JobPending {
			t.Errorf("with the consent of one rule it is %s", j.Status)
		}
		h.yes(r.JobID, people["sec"])
		h.resume()
		if j := h.job(r.JobID); j.Status != tools.JobSucceeded || len(h.madeOf(j.Result)) != 3 || h.effects() != 5 {
			t.Errorf("with both it is %+v, with %d effects", j, h.effects())
		}
		if n := len(h.entries("call.resumed")); n != 4 {
			t.Errorf("%d entries of the batch and its calls", n)
		}
	})
}

func TestABatchThatIsNotAsShownIsInvalidatedAndSaysWhat(t *testing.T) {
	for change, want := range map[string]string{
		`UPDATE test_things SET version = 2 WHERE name = 'lamp'`: "call 2: version of the object",
		`UPDATE test_things SET price = 20 WHERE name = 'lamp'`:  "call 2: money",
		`DELETE FROM test_things WHERE name = 'lamp'`:            "call 2: effect",
	} {
		t.Run(want, func(t *testing.T) {
			batching(t, func(t *testing.T, h *house, _ *hook) {
				h.exec(`INSERT INTO test_things VALUES ('chair', 1, 1)`)
				r := h.parked("test_batch", batchOf("k", "test_paint chair 1", "test_move lamp 1", "test_paint chair 2"))
				if r.Status != tools.PendingApproval {
					t.Fatalf("it is %s", r.Status)
				}
				if err := h.vote(r.JobID, approvals.Approve); err != nil {
					t.Fatal(err)
				}
				h.exec(change)
				h.resume()
				var is approvals.Request
				h.tx(func(tx *store.Tx) (err error) {
					is, err = approvals.Find(tx, h.merchant, r.JobID)
					return err
				})
				var fields []string
				for _, ch := range is.Changed {
					fields = append(fields, ch.Field)
				}
				if is.State != approvals.Invalidated || !slices.Contains(fields, want) || h.effects() != 0 {
					t.Errorf("it is %s for %q with %d effects, want %q", is.State, fields, h.effects(), want)
				}
			})
		})
	}
}

func TestADeniedBatchIsNotAskedAgainAndAnOpenOneOnce(t *testing.T) {
	batching(t, func(t *testing.T, h *house, _ *hook) {
		r := h.parked("test_batch", batchOf("a", "test_move lamp 1", "test_move lamp 2"))
		if again := h.parked("test_batch", batchOf("b", "test_move lamp 1", "test_move lamp 2")); again.JobID != r.JobID {
			t.Error("the same is asked twice")
		}
		if err := h.vote(r.JobID, approvals.Deny); err != nil {
			t.Fatal(err)
		}
		args := strings.Replace(batchOf("c", "test_move lamp 1", "test_move lamp 2"), "because they", "because all of them", 1)
		_, err := h.call(h.bot, "test_batch", args)
		wantCode(t, err, tools.ApprovalDenied)
	})
}

func TestABatchIsDoneOnceHoweverOftenItIsSent(t *testing.T) {
	batching(t, func(t *testing.T, h *house, _ *hook) {
		const callers = 10
		bodies := make([]string, callers)
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				out, err := h.call(h.free, "test_batch", batchOf("same", "test_move lamp 1", "test_paint lamp 2"))
				if err != nil {
					t.Error(err)
				}
				bodies[i] = string(out.Body)
			})
		}
		all.Wait()
		if n := h.effects(); n != 2 || len(slices.Compact(bodies)) != 1 {
			t.Errorf("%d effects and answers %q", n, slices.Compact(bodies))
		}
		out, err := h.call(h.free, "test_move", `{"thing":"lamp","amount":1,"idempotency_key":"same.1","reason":"because they stand in the way"}`)
		if err != nil || !out.Replayed || h.effects() != 2 {
			t.Errorf("a call of the batch by itself: %s, %v", out.Body, err)
		}
		if _, err := h.call(h.free, "test_move", `{"thing":"lamp","amount":9,"idempotency_key":"other.2"}`); err != nil {
			t.Fatal(err)
		}
		_, err = h.call(h.free, "test_batch", batchOf("other", "test_move lamp 1", "test_move lamp 9"))
		wantCode(t, err, tools.IdempotencyConflict)
		if n := h.effects(); n != 3 {
			t.Errorf("%d effects", n)
		}
	})
}

func TestABatchThatWaitsHoldsItsBudgetsOnce(t *testing.T) {
	batching(t, func(t *testing.T, h *house, _ *hook) {
		h.publish(policytest.Open + "limits:\n  zone: Europe/London\n  budgets:\n  - {name: money, per: key, every: day, money: {amount_minor: 100, currency: GBP}}\n")
		_, err := h.call(h.bot, "test_batch", batchOf("over", "test_move lamp 5", "test_move lamp 6"))
		wantCode(t, err, tools.BudgetExceeded)
		r := h.parked("test_batch", batchOf("k", "test_move lamp 5", "test_move lamp 4"))
		if n := h.count(`SELECT SUM(reserved) FROM budget_counters`); n != 90 {
			t.Errorf("%d are on hold", n)
		}
		if err := h.vote(r.JobID, approvals.Approve); err != nil {
			t.Fatal(err)
		}
		h.resume()
		if n := h.count(`SELECT SUM(spent) + 1000 * SUM(reserved) FROM budget_counters`); n != 90 || h.effects() != 2 {
			t.Errorf("%d are spent, with %d effects", n, h.effects())
		}
	})
}

func TestABatchDoesWhatItsCallsDoOneByOne(t *testing.T) {
	batching(t, func(t *testing.T, h *house, _ *hook) {
		draw := rand.New(rand.NewPCG(7, 11))
		other := h.mint(auth.Key{Name: "other", Scopes: h.free.Scopes, Ceiling: auth.MaxLevel})
		for round := range 15 {
			lines := make([]string, 2+draw.IntN(6))
			for i := range lines {
				lines[i] = fmt.Sprint([]string{"test_move", "test_paint"}[draw.IntN(2)], " lamp ", 1+draw.IntN(9))
			}
			out, err := h.call(h.free, "test_batch", batchOf(fmt.Sprint("r", round), lines...))
			if err != nil {
				t.Fatal(err)
			}
			for i, made := range h.madeOf(h.result(out).Result) {
				var c struct{ Arguments json.RawMessage }
				if err := json.Unmarshal([]byte(one(lines[i])), &c); err != nil {
					t.Fatal(err)
				}
				alone, err := h.call(other, strings.Fields(lines[i])[0], string(c.Arguments))
				if r := h.result(alone); err != nil || string(r.Result) != string(made.Result) || (r.UndoID == "") != (made.UndoID == "") {
					t.Errorf("%s: %s alone, %s in a batch (%v)", lines[i], r.Result, made.Result, err)
				}
			}
		}
		for _, table := range []string{"effects"} {
			mine := h.count(`SELECT COUNT(*) FROM `+table+` WHERE principal_id = $1`, h.free.ID)
			if theirs := h.count(`SELECT COUNT(*) FROM `+table+` WHERE principal_id = $1`, other.ID); mine != theirs {
				t.Errorf("%d %s in batches, %d alone", mine, table, theirs)
			}
		}
	})
}

func TestWhatABatchMovesIsCountedTogether(t *testing.T) {
	pounds := func(n int64) *shop.Money { return &shop.Money{AmountMinor: n, Currency: "GBP"} }
	p := tools.Preview{}
	for _, q := range []tools.Preview{{Money: pounds(3), Customers: 1}, {Customers: 2}, {Money: pounds(4)}} {
		if err := add(&p, q); err != nil {
			t.Fatal(err)
		}
	}
	if p.Customers != 3 || p.Money.AmountMinor != 7 {
		t.Errorf("got %+v", p)
	}
	if err := add(&p, tools.Preview{Money: &shop.Money{AmountMinor: 1, Currency: "EUR"}}); asRefusal(err).Code != tools.Conflict {
		t.Errorf("two currencies: %v", err)
	}
	if err := add(&p, tools.Preview{Money: pounds(schemasMax)}); asRefusal(err).Code != tools.LimitExceeded {
		t.Errorf("too much: %v", err)
	}
}
