package gate

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// priced is what a change of price replaced.
type priced struct {
	Price   int64 `json:"price"`
	Version int64 `json:"version"`
}

// priceTool changes a thing's price and puts it back. An amount of 13 is one that cannot be taken back.
func (h *house) priceTool() *tools.Tool {
	spec := moveSpec("test_price", "test.price")
	spec.Risk = tools.Risk{Undo: 2, Blast: 1, Money: 1}
	return tools.Define(spec, tools.Func[moveIn, moveOut]{
		Preview: func(c *tools.Call, in moveIn) (tools.Preview, error) {
			p, err := h.previewMove(c, in)
			p.Changes = []tools.Change{{Object: in.Thing, Field: "price", From: "old", To: "new"}}
			return p, err
		},
		Write: func(c *tools.Call, in moveIn) (moveOut, error) {
			_, err := c.Exec(`UPDATE test_things SET price = $1, version = version + 1 WHERE name = $2`, in.Amount, in.Thing)
			return moveOut{Moved: in.Amount}, err
		},
		Undo: tools.Reversible(
			func(c *tools.Call, in moveIn) (p priced, err error) {
				if in.Amount == 13 {
					return p, tools.ErrNoUndo
				}
				return p, c.QueryRow(`SELECT price, version FROM test_things WHERE name = $1`, in.Thing).Scan(&p.Price, &p.Version)
			},
			func(c *tools.Call, in moveIn, _ moveOut, before priced) error {
				h.reached("restore")
				n, err := c.Exec(`UPDATE test_things SET price = $1, version = version + 1 WHERE name = $2 AND version = $3`,
					before.Price, in.Thing, before.Version+1)
				if err == nil && n == 0 {
					err = shop.ErrChanged
				}
				return err
			}),
	})
}

// realTool is one of the shop's own tools.
func realTool(name string) *tools.Tool {
	t, _ := tools.NewRegistry(dtc.Tools()...).Find(name)
	return t
}

func undoing(t *testing.T, fn func(t *testing.T, h *house, k *hook)) {
	t.Helper()
	hooked(t, func(t *testing.T, h *house, k *hook) {
		all := append(h.tools.All(), h.priceTool())
		h.tools = tools.NewRegistry(append(all, realTool("dtc_undo"))...)
		h.free.Scopes = append(h.free.Scopes, "orders:write") // who writes nothing that can be undone is not let in
		h.bot.Scopes = h.free.Scopes
		fn(t, h, k)
	})
}

const lampAt = `{"thing":"lamp","amount":70}`

func (h *house) price() int { return h.count(`SELECT price FROM test_things WHERE name = 'lamp'`) }

func (h *house) repriced() tools.Result {
	h.t.Helper()
	out, err := h.call(h.free, "test_price", lampAt)
	if err != nil {
		h.t.Fatal(err)
	}
	r := h.result(out)
	if r.UndoID == "" || r.UndoOwner != "key:"+h.free.ID || !r.UndoUntil.Equal(h.db.Now().Add(tools.UndoTime).Truncate(time.Microsecond)) {
		h.t.Fatalf("the answer says %+v", r)
	}
	return r
}

func (h *house) undo(p auth.Principal, id string) error {
	_, err := h.call(p, "dtc_undo", `{"undo_id":"`+id+`"}`)
	return err
}

func code(err error) tools.Code {
	r := (*tools.Refusal)(nil)
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

func TestAWriteIsUndoneOnceByItsOwner(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		r := h.repriced()
		out, err := h.call(h.free, "dtc_undo", `{"undo_id":"`+r.UndoID+`","dry_run":true}`)
		if p := h.result(out).Preview; err != nil || h.price() != 70 || p.Changes[0].From != "new" || p.Changes[0].To != "old" {
			t.Errorf("a rehearsal of the undo: %v, %+v, price %d", err, p, h.price())
		}
		for range 2 {
			if err := h.undo(h.free, r.UndoID); err != nil || h.price() != 10 {
				t.Errorf("undone: %v, price %d", err, h.price())
			}
		}
		if h.handled["restore"] != 1 || len(h.entries("effect.undone")) != 1 {
			t.Errorf("restored %d times, %d entries", h.handled["restore"], len(h.entries("effect.undone")))
		}
		if e := h.entries("effect.undone")[0]; e.Tool != "test_price" || e.Resource != "thing:lamp" || e.Actor != "key:"+h.free.ID {
			t.Errorf("on record: %+v", e)
		}
	})
}

func TestUndoIsForWhoMayMakeTheCall(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, k *hook) {
		r := h.repriced()
		if c := code(h.undo(h.bot, r.UndoID)); c != tools.NotFound {
			t.Errorf("another key is told %s", c)
		}
		unscoped, low := h.free, h.free
		unscoped.Scopes, low.Ceiling = []auth.Scope{"orders:write"}, 3
		if c := code(h.undo(unscoped, r.UndoID)); c != tools.ForbiddenScope {
			t.Errorf("a key without the scope is told %s", c)
		}
		if c := code(h.undo(low, r.UndoID)); c != tools.RiskCeiling {
			t.Errorf("a key under a low ceiling is told %s", c)
		}
		k.pass(tools.UndoTime)
		if c := code(h.undo(h.free, r.UndoID)); c != tools.Conflict || h.price() != 70 {
			t.Errorf("after its time: %s, price %d", c, h.price())
		}
		k.pass(30 * 24 * time.Hour)
		h.sweep()
		if c := code(h.undo(h.free, r.UndoID)); c != tools.NotFound {
			t.Errorf("after a month: %s", c)
		}
	})
}

// What the policy says of a call it says of the undo of one: otherwise a freeze could be broken by taking back what was done before it.
func TestUndoIsHeldToThePolicyOfTheCallItTakesBack(t *testing.T) {
	for what, c := range map[string]struct {
		source string
		code   tools.Code
		rule   string
	}{
		"a freeze":    {openWith("freezes:\n- {name: peak, from: 2020-01-01T00:00:00Z, to: 2100-01-01T00:00:00Z, tools: [test.price]}\n"), tools.Frozen, "freezes.peak"},
		"off":         {openWith("tools: {test_price: {off: true}}\n"), tools.ForbiddenTool, "tools.test_price.off"},
		"a condition": {openWith("  @id(\"lamp\")\n  forbid (principal, action == Action::\"test_price\", resource == Resource::\"thing:lamp\");\n"), tools.ForbiddenByPolicy, "conditions.lamp"},
		"a ceiling":   {open("    ceiling: high\n", "    ceiling: L4\n"), tools.RiskCeiling, "profiles.admin.ceiling"},
		"trust":       {openWith("tools: {test_price: {minimum_trust: OPEN}}\ntrust: {start: 50, sandboxes: {strict: {ceiling: low}, adaptive: {ceiling: high}}}\n"), tools.TrustTooLow, "tools.test_price.minimum_trust"},
	} {
		undoing(t, func(t *testing.T, h *house, _ *hook) {
			h.free = h.mint(auth.Key{Name: "clerk", Scopes: []auth.Scope{"orders:refund", "orders:write"}, Ceiling: auth.MaxLevel})
			id := h.repriced().UndoID
			h.publish(c.source)
			h.free = h.anew(h.free)
			wantCode(t, h.undo(h.free, id), c.code)
			if e := h.entries("call")[0]; h.price() != 70 || e.PolicyRule != c.rule {
				t.Errorf("%s: the price is %d, refused by %s", what, h.price(), e.PolicyRule)
			}
			h.publish(policytest.Open)
			h.free = h.anew(h.free)
			if err := h.undo(h.free, id); err != nil || h.price() != 10 {
				t.Errorf("%s: afterwards the price is %d: %v", what, h.price(), err)
			}
		})
	}
}

func TestUndoOverwritesNothingNewer(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		r := h.repriced()
		h.exec(`UPDATE test_things SET price = 99, version = version + 1 WHERE name = 'lamp'`)
		if c := code(h.undo(h.free, r.UndoID)); c != tools.Conflict || h.price() != 99 {
			t.Errorf("told %s, price %d", c, h.price())
		}
		if n := h.count(`SELECT COUNT(*) FROM effects WHERE state = 'open'`); n != 1 {
			t.Error("a refused undo is used up")
		}
	})
}

func TestWhatCannotBeUndoneSaysWhy(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		for tool, args := range map[string]string{"test_move": oneLamp, "test_price": `{"thing":"lamp","amount":13}`} {
			out, err := h.call(h.free, tool, args)
			if r := h.result(out); err != nil || r.UndoID != "" || r.Undo == "" {
				t.Errorf("%s: %v, %+v", tool, err, r)
			}
		}
		var final []approvals.Effect
		h.tx(func(tx *store.Tx) (err error) {
			final, err = approvals.Effects(tx, h.merchant, h.free.ID, time.Time{}, 10)
			return err
		})
		for _, e := range final {
			if err := h.undo(h.free, e.UndoID); e.State != tools.EffectFinal || code(err) != tools.Conflict || !strings.Contains(err.Error(), "cannot be undone") {
				t.Errorf("%s is %s: %v", e.Tool, e.State, err)
			}
		}
		if len(final) != 2 {
			t.Errorf("%d effects", len(final))
		}
	})
}

func TestManyUndoOneWriteAtOnce(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		r := h.repriced()
		var all sync.WaitGroup
		var failed atomic.Int64
		for range 16 {
			all.Go(func() {
				if h.undo(h.free, r.UndoID) != nil {
					failed.Add(1)
				}
			})
		}
		all.Wait()
		if failed.Load() != 0 || h.price() != 10 || len(h.entries("effect.undone")) != 1 {
			t.Errorf("%d failed, price %d, undone %d times", failed.Load(), h.price(), len(h.entries("effect.undone")))
		}
	})
}

func TestAJobTellsHowItIsUndone(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		id := h.parked("test_price", lampAt).JobID
		if err := h.vote(id, approvals.Approve); err != nil {
			t.Fatal(err)
		}
		h.resume()
		j := h.job(id)
		if j.UndoID == "" || h.price() != 70 {
			t.Fatalf("the job is %+v", j)
		}
		if err := h.undo(h.bot, j.UndoID); err != nil || h.price() != 10 {
			t.Errorf("undone: %v, price %d", err, h.price())
		}
		if h.job(id).UndoID != "" {
			t.Error("the job still offers its undo")
		}
	})
}

func TestAPersonRewindsWhatAKeyDid(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		h.repriced()
		if _, err := h.call(h.free, "test_move", oneLamp); err != nil {
			t.Fatal(err)
		}
		h.tx(func(tx *store.Tx) error { return auth.RevokeKey(tx, h.merchant, h.free.ID) })
		operator := auth.Principal{Kind: auth.KindOperator, Merchant: h.merchant}
		since := time.Unix(0, 0)
		all, more, err := h.Rewind(t.Context(), operator, h.free.ID, since, true)
		if err != nil || more || len(all) != 2 || all[0].Tool != "test_move" || all[0].State != tools.EffectFinal || h.price() != 70 {
			t.Fatalf("a rehearsal: %v, %+v", err, all)
		}
		all, _, err = h.Rewind(t.Context(), operator, h.free.ID, since, false)
		if err != nil || all[1].State != tools.EffectUndone || h.price() != 10 {
			t.Errorf("%v, %+v, price %d", err, all, h.price())
		}
		if e := h.entries("effect.undone")[0]; e.Actor != auth.Operator {
			t.Errorf("on record as done by %s", e.Actor)
		}
		if _, _, err := h.Rewind(t.Context(), h.free, h.free.ID, since, false); code(err) != tools.ForbiddenApprover || len(h.entries("effect.refused")) != 1 {
			t.Errorf("a key is told %v", err)
		}
	})
}

func TestARewindGoesOnWhenOneEffectCannotBeUndone(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		h.repriced()
		h.exec(`INSERT INTO test_things VALUES ('vase', 1, 20)`)
		if _, err := h.call(h.free, "test_price", `{"thing":"vase","amount":5}`); err != nil {
			t.Fatal(err)
		}
		h.exec(`UPDATE test_things SET version = version + 1 WHERE name = 'vase'`)
		all, _, err := h.Rewind(t.Context(), h.person, h.free.ID, time.Unix(0, 0), false)
		if err != nil || len(all) != 2 || all[0].Failed == "" || all[1].State != tools.EffectUndone || h.price() != 10 {
			t.Errorf("%v, %+v", err, all)
		}
	})
}

func TestWhoReadOutsidersTextIsTainted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		quotes := false
		read := moveSpec("test_letters", "test.letters")
		read.Risk, read.Class, read.Routes[0].Method, read.Resource, read.Undo = tools.Risk{DataOut: 2, Taint: true}, tools.ClassNone, "GET", "thing:*", "nothing to undo"
		h.tools = tools.NewRegistry(tools.Define(read, tools.Func[struct{}, moveOut]{Read: func(c *tools.Call, _ struct{}) (moveOut, error) {
			if quotes {
				c.QuoteOutsider()
			}
			return moveOut{}, nil
		}}))
		for _, quotes = range []bool{false, true} {
			if _, err := h.call(h.free, "test_letters", `{}`); err != nil {
				t.Fatal(err)
			}
			h.tx(func(tx *store.Tx) error {
				taint, err := auth.TaintOf(tx, h.free)
				if quotes != (taint != nil) || quotes && (taint.Tool != "test_letters" || taint.Until.Sub(tx.Now) > auth.TaintTime) {
					t.Errorf("quotes %v: %+v", quotes, taint)
				}
				return err
			})
		}
	})
}
