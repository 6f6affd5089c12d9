package gate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// The tests of this package drive the gate with tools of their own over a table of effects, so that every turn a tool
// can take is there: growing, failing, panicking, slow. The real tools are driven through the gate in package server.

// house is a gate with a merchant, a key of every sort, and a person.
type house struct {
	*Gate
	t        *testing.T
	merchant string
	bot      auth.Principal // parks what has a class
	free     auth.Principal // parks nothing
	person   auth.Principal

	mu      sync.Mutex
	handled map[string]int // how often each test tool's code was reached
}

type moveIn struct {
	Thing          string `json:"thing" jsonschema:"minLength=1,maxLength=40"`
	Amount         int64  `json:"amount" jsonschema:"minimum=1,maximum=1000"`
	IdempotencyKey string `json:"idempotency_key,omitempty" jsonschema:"maxLength=255"`
	Reason         string `json:"reason,omitempty" jsonschema:"maxLength=500"`
	Note           string `json:"note,omitempty" jsonschema:"maxLength=40,description=Makes it another call"`
	DryRun         bool   `json:"dry_run,omitempty"`
}

type moveOut struct {
	Moved int64 `json:"moved"`
}

const aDescription = "A tool of the tests that moves an amount of a thing, to see what the gate makes of it."

func moveSpec(name, path string) tools.Spec {
	return tools.Spec{
		Name: name, Path: path, Title: "Move", Description: aDescription, Scope: "orders:refund",
		Risk: tools.Risk{Undo: 3, Blast: 1, Money: 2, Touch: 1, Reach: 1}, Class: tools.ClassSpend,
		Resource: "thing:/thing", Undo: "None", Routes: []tools.Route{{Method: "POST", Path: "/" + name}},
	}
}

// previewMove tells the thing's version and how much money a move would cost; both can be changed under a parked call.
func (h *house) previewMove(c *tools.Call, in moveIn) (tools.Preview, error) {
	h.reached("preview")
	var version, price int64
	err := c.QueryRow(`SELECT version, price FROM test_things WHERE name = $1`, in.Thing).Scan(&version, &price)
	if err != nil {
		return tools.Preview{}, err
	}
	return tools.Preview{
		Summary: "Move " + in.Thing, Money: &shop.Money{AmountMinor: in.Amount * price, Currency: "GBP"}, Customers: 1,
		Version: strconv.FormatInt(version, 10),
	}, nil
}

func (h *house) reached(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handled[what]++
}

func (h *house) move(c *tools.Call, in moveIn) (moveOut, error) {
	h.reached("move")
	if in.Thing == "panics" {
		panic("a fault in a tool")
	}
	if _, err := c.Exec(`INSERT INTO test_effects (call_id, thing, step) VALUES ($1, $2, 0)`, c.ID, in.Thing); err != nil {
		return moveOut{}, err
	}
	if in.Thing == "fails" {
		return moveOut{}, errors.New("a secret about the inside")
	}
	return moveOut{Moved: in.Amount}, nil
}

// walk is a stepped write: amount steps, one effect each.
func (h *house) walk(c *tools.Call, in moveIn, p *tools.Progress) (moveOut, error) {
	var at int64
	if len(p.Checkpoint) > 0 {
		if err := json.Unmarshal(p.Checkpoint, &at); err != nil {
			return moveOut{}, err
		}
	}
	at++
	if _, err := c.Exec(`INSERT INTO test_effects (call_id, thing, step) VALUES ($1, $2, $3)`, c.ID, in.Thing, at); err != nil {
		return moveOut{}, err
	}
	p.Checkpoint, p.Done = json.RawMessage(strconv.FormatInt(at, 10)), at == in.Amount
	p.Percent = int(100 * at / in.Amount)
	return moveOut{Moved: at}, nil
}

func (h *house) registry() *tools.Registry {
	walk := moveSpec("test_walk", "test.walk")
	read := tools.Spec{
		Name: "test_read", Path: "test.read", Title: "Read", Description: aDescription, Scope: "orders:read",
		Risk: tools.Risk{DataOut: 2}, Resource: "thing:*", Undo: "nothing to undo", Routes: []tools.Route{{Method: "GET", Path: "/things"}},
	}
	return tools.NewRegistry(
		tools.Define(moveSpec("test_move", "test.move"), tools.Func[moveIn, moveOut]{Preview: h.previewMove, Write: h.move}),
		tools.Define(walk, tools.Func[moveIn, moveOut]{Preview: h.previewMove, Step: h.walk}),
		tools.Define(read, tools.Func[struct{}, moveOut]{Read: func(*tools.Call, struct{}) (moveOut, error) {
			h.reached("read")
			return moveOut{Moved: 7}, nil
		}}),
	)
}

func newHouse(t *testing.T, db *store.DB) *house {
	t.Helper()
	h := &house{t: t, handled: map[string]int{}}
	h.Gate = New(Config{DB: db, Tools: h.registry(), Log: zerolog.New(zerolog.NewTestWriter(t))})
	h.tx(func(tx *store.Tx) error {
		for _, q := range []string{
			`CREATE TABLE test_things (name TEXT PRIMARY KEY, version BIGINT, price BIGINT)`,
			`CREATE TABLE test_effects (call_id TEXT, thing TEXT, step BIGINT)`,
			`CREATE INDEX test_effects_of_call ON test_effects (call_id)`,
			`INSERT INTO test_things VALUES ('lamp', 1, 10), ('panics', 1, 1), ('fails', 1, 1)`,
		} {
			if _, err := tx.Exec(q); err != nil {
				return err
			}
		}
		m, err := auth.EnsureMerchant(tx, "demo")
		if err != nil {
			return err
		}
		h.merchant = m.ID
		if err := policytest.Install(tx, m.ID); err != nil {
			return err
		}
		if _, _, err := auth.AddPerson(tx, m.ID, "owner", "manager"); err != nil {
			return err
		}
		h.person, err = auth.FindPerson(tx, m.ID, "owner")
		return err
	})
	scopes := []auth.Scope{"orders:read", "orders:refund"}
	h.bot = h.mint(auth.Key{Name: "bot", Scopes: scopes, RequiresApproval: true, Ceiling: auth.MaxLevel})
	h.free = h.mint(auth.Key{Name: "free", Scopes: scopes, Ceiling: auth.MaxLevel})
	return h
}

func (h *house) mint(k auth.Key) auth.Principal {
	h.t.Helper()
	k.Merchant, k.Profile = h.merchant, cmp.Or(k.Profile, "admin")
	var p auth.Principal
	h.tx(func(tx *store.Tx) error {
		_, secret, err := auth.MintKey(tx, k)
		if err == nil {
			p, err = auth.Authenticate(tx, secret)
		}
		return err
	})
	return p
}

func (h *house) tx(fn func(*store.Tx) error) {
	h.t.Helper()
	if err := h.db.InTx(h.t.Context(), fn); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) exec(q string, args ...any) {
	h.t.Helper()
	h.tx(func(tx *store.Tx) error {
		_, err := tx.Exec(q, args...)
		return err
	})
}

func (h *house) effects() int {
	h.t.Helper()
	return h.count(`SELECT COUNT(*) FROM test_effects`)
}

func (h *house) count(q string, args ...any) (n int) {
	h.t.Helper()
	h.tx(func(tx *store.Tx) error { return tx.QueryRow(q, args...).Scan(&n) })
	return n
}

// entries gives the record of one event, newest first.
func (h *house) entries(event string) []audit.Entry {
	h.t.Helper()
	var found []audit.Entry
	h.tx(func(tx *store.Tx) error {
		all, err := audit.Find(tx, audit.Filter{Event: event, Limit: 10_000})
		for _, s := range all {
			found = append(found, s.Entry)
		}
		return err
	})
	return found
}

func (h *house) call(p auth.Principal, tool, args string) (Outcome, error) {
	return h.Call(h.t.Context(), p, Request{Tool: tool, Args: []byte(args), Transport: "rest", Source: "127.0.0.1"})
}

// parked parks a move of one lamp and gives its job and approval.
func (h *house) parked(tool, args string) tools.Result {
	h.t.Helper()
	out, err := h.call(h.bot, tool, args)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.result(out)
}

func (h *house) result(out Outcome) tools.Result {
	h.t.Helper()
	var r tools.Result
	if err := json.Unmarshal(out.Body, &r); err != nil {
		h.t.Fatal(err)
	}
	return r
}

// Vote is the gate's, of somebody who has read the request and says why they deny it.
func (h *house) Vote(ctx context.Context, p auth.Principal, b Ballot) (Decided, error) {
	h.t.Helper()
	if b.Seen == "" {
		if err := h.db.Read(h.t.Context(), func(tx *store.Tx) error {
			r, err := approvals.Find(tx, p.Merchant, b.ID)
			b.Seen = r.BindingHash
			return err
		}); err != nil && !errors.Is(err, store.ErrNotFound) {
			h.t.Error(err)
		}
	}
	if b.Decision == approvals.Deny && b.Reason == "" {
		b.Reason = "too much"
	}
	return h.Gate.Vote(ctx, p, b)
}

func (h *house) vote(id string, d approvals.Decision) error {
	_, err := h.Vote(h.t.Context(), h.person, Ballot{ID: id, Decision: d, Channel: "rest"})
	return err
}

// resume carries out everything that is due.
func (h *house) resume() {
	h.t.Helper()
	for {
		worked, err := h.Resume(h.t.Context(), "worker-1")
		if err != nil {
			h.t.Fatal(err)
		}
		if !worked {
			return
		}
	}
}

func (h *house) job(id string) tools.Job {
	h.t.Helper()
	var j approvals.Job
	h.tx(func(tx *store.Tx) (err error) {
		j, err = approvals.FindJob(tx, h.merchant, id)
		return err
	})
	return j.Job
}

func wantCode(t *testing.T, err error, want tools.Code) *tools.Refusal {
	t.Helper()
	var r *tools.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal with %s", err, want)
	}
	if r.Code != want {
		t.Fatalf("got %s (%s), want %s", r.Code, r.Message, want)
	}
	return r
}

func TestNoEffectWithoutARecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		h.exec(`ALTER TABLE audit_pending RENAME TO audit_pending_away`)
		if _, err := h.call(h.free, "test_move", `{"thing":"lamp","amount":1,"idempotency_key":"k"}`); err == nil {
			t.Error("a write that cannot be recorded was answered")
		}
		if _, err := h.call(h.free, "test_read", `{}`); err == nil {
			t.Error("a read that cannot be recorded was answered")
		}
		if n := h.effects() + h.count(`SELECT COUNT(*) FROM idempotency`); n != 0 {
			t.Errorf("%d rows are left of calls that are not on record", n)
		}
		h.exec(`ALTER TABLE audit_pending_away RENAME TO audit_pending`)
		if _, err := h.call(h.free, "test_move", `{"thing":"lamp","amount":1,"idempotency_key":"k"}`); err != nil {
			t.Errorf("after the record is back: %v", err)
		}
	})
}

func TestNoRecordWithoutThePolicyInForce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		poor := h.mint(auth.Key{Name: "poor", Ceiling: auth.MaxLevel})
		for _, c := range []struct {
			p            auth.Principal
			tool, args   string
			status, code string
			checks       int
		}{
			{h.free, "test_read", `{}`, "done", "", 21},
			{h.free, "test_move", `{"thing":"lamp","amount":1}`, "done", "", 27},
			{h.free, "test_move", `{"thing":"lamp","amount":1,"dry_run":true}`, "dry_run", "", 27},
			{h.bot, "test_move", `{"thing":"lamp","amount":1}`, "pending_approval", "", 27},
			{h.free, "test_walk", `{"thing":"lamp","amount":1}`, "queued", "", 27},
			{poor, "test_move", `{"thing":"lamp","amount":1}`, "refused", "FORBIDDEN_SCOPE", 4},
			{h.free, "test_move", `{"thing":"lamp"}`, "refused", "INVALID_ARGUMENTS", 8},
			{h.free, "test_move", `{"thing":"nothing","amount":1}`, "refused", "NOT_FOUND", 18},
			{h.free, "test_nothing", `{}`, "refused", "UNKNOWN_TOOL", 2},
		} {
			_, _ = h.call(c.p, c.tool, c.args)
			e := h.entries("call")[0]
			if e.Status != c.status || e.Code != c.code || e.Tool != c.tool || len(e.Checks) != c.checks {
				t.Errorf("%s %s: recorded as %s %s on %s with %d checks, want %s %s with %d", c.tool, c.args, e.Status, e.Code, e.Tool, len(e.Checks), c.status, c.code, c.checks)
			}
			if e.PolicyVersion != 1 || e.PolicyRule == "" || len(e.Chain) == 0 || e.Actor != "key:"+c.p.ID || e.CallID == "" || e.LatencyMicros <= 0 {
				t.Errorf("%s %s: the entry lacks a part of the decision: %+v", c.tool, c.args, e)
			}
		}
	})
}

func TestRefusalsRunNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		low := h.mint(auth.Key{Name: "low", Scopes: []auth.Scope{"orders:refund"}, Ceiling: 4})
		none := h.mint(auth.Key{Name: "none", Ceiling: auth.MaxLevel})
		for _, c := range []struct {
			p    auth.Principal
			args string
			want tools.Code
		}{
			{none, `{"thing":"lamp","amount":1}`, tools.ForbiddenScope},
			{h.person, `{"thing":"lamp","amount":1}`, tools.ForbiddenTool},
			{low, `{"thing":"lamp","amount":1}`, tools.RiskCeiling},
			{h.free, `{"thing":"lamp","amount":1001}`, tools.InvalidArguments},
			{h.free, `{"thing":"lamp","amount":1,"Amount":2}`, tools.InvalidArguments},
			{h.free, `[1]`, tools.InvalidArguments},
			{h.free, `{"thing":"nobody's","amount":1}`, tools.NotFound},
			{h.free, `{"thing":"panics","amount":1}`, tools.Internal},
			{h.free, `{"thing":"fails","amount":1}`, tools.Internal},
		} {
			_, err := h.call(c.p, "test_move", c.args)
			r := wantCode(t, err, c.want)
			if r.Next == "" || r.CallID == "" || r.PolicyVersion != 1 {
				t.Errorf("%s: the refusal lacks the next step, the call or the policy: %+v", c.args, r)
			}
		}
		if n := h.effects(); n != 0 {
			t.Errorf("%d effects of refused calls", n)
		}
		out, err := h.call(low, "test_move", `{"thing":"lamp","amount":1,"dry_run":true}`)
		if err != nil || out.Status != tools.DryRun {
			t.Errorf("a rehearsal under the ceiling: %v %v", out.Status, err)
		}
	})
}

func TestANewToolCannotForgetACheck(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		none := h.mint(auth.Key{Name: "none", Ceiling: auth.MaxLevel})
		for _, tool := range h.tools.All() {
			_, err := h.call(none, tool.Name, `{"thing":"lamp","amount":1}`)
			wantCode(t, err, tools.ForbiddenScope)
		}
		if len(h.handled) != 0 {
			t.Errorf("code of tools was reached without the scope: %v", h.handled)
		}
	})
}

func TestFailClosed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, tool := range []string{"test_read", "test_move", "test_walk"} {
			_, err := h.call(h.free, tool, `{"thing":"lamp","amount":1}`)
			var r *tools.Refusal
			if !errors.As(err, &r) || r.Code != tools.Unavailable && r.Code != tools.InvalidArguments {
				t.Errorf("%s without a database: %v", tool, err)
			}
		}
		_, err := h.Authenticate(t.Context(), "sq_agt_nothing", "127.0.0.1")
		if err == nil {
			t.Error("a credential was accepted without a database")
		}
		if h.handled["move"]+h.handled["read"] != 0 {
			t.Errorf("tools ran without a database: %v", h.handled)
		}
	})
}

func TestAStrangersReasonIsForTheRecordOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		db.Now = func() time.Time { return now }
		var first string
		for i, secret := range []string{"", "sq_agt_x", "sq_agt_x", "sq_agt_x"} {
			_, err := h.Authenticate(t.Context(), secret, "192.0.2.1")
			r := wantCode(t, err, tools.Unauthorized)
			if i == 0 {
				first = r.Message
			}
			if r.Message != first || r.CallID != "" {
				t.Errorf("the answers to two bad credentials differ: %q %q", r.Message, first)
			}
		}
		if n := len(h.entries("auth.refused")); n != 2 {
			t.Errorf("%d entries within the minute, want one a reason", n)
		}
		now = now.Add(time.Minute)
		if err := h.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		if e := h.entries("auth.refused"); len(e) != 3 || e[0].Count != 2 {
			t.Errorf("the others were not counted: %+v", e)
		}
	})
}

func TestWhatWasNotFoundMayBeAnybodysAddress(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		for thing, want := range map[string]string{"vase": "thing:vase", "ada@example.com": "", "Ada Lovelace": ""} {
			_, err := h.call(h.free, "test_move", `{"thing":"`+thing+`","amount":1}`)
			wantCode(t, err, tools.NotFound)
			if e := h.entries("call")[0]; e.Resource != want {
				t.Errorf("%q is on record as %q", thing, e.Resource)
			}
		}
	})
}
