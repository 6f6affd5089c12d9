package gate

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// brokered is a house with a tool of two actions: one that can be taken back and one that cannot.
func brokered(t *testing.T, fn func(t *testing.T, h *house, define func(undoable tools.Undo[struct{}, moveOut]))) {
	t.Helper()
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		base := h.tools.All()
		h.free = h.mint(auth.Key{Name: "lighter", Scopes: h.free.Scopes, Actions: []string{"lamps:*"}, Ceiling: auth.MaxLevel})
		fn(t, h, func(back tools.Undo[struct{}, moveOut]) {
			spec := tools.ActionSpec{
				Provider: "lamps", Name: "light", Title: "Light", Description: "Lights a lamp in the tests, and nothing else at all.",
				Risk: tools.Risk{Undo: 1}, Targets: []tools.Target{{Type: "thing", Example: "lamp"}}, Undo: "dtc_undo puts it out",
			}
			final := spec
			final.Name, final.Undo = "smash", "none"
			f := tools.Func[struct{}, moveOut]{
				Preview: func(*tools.Call, struct{}) (tools.Preview, error) { return tools.Preview{Summary: "Light"}, nil },
				Write:   func(*tools.Call, struct{}) (moveOut, error) { return moveOut{Moved: 1}, nil },
			}
			withUndo := f
			withUndo.Undo = back
			ask := moveSpec("test_ask", "test.ask")
			ask.Resource = "/target"
			h.tools = tools.NewRegistry(append(base, tools.Define(ask, tools.ByAction(
				[]*tools.Action{tools.DefineAction(spec, withUndo), tools.DefineAction(final, f)},
				func(in askIn) tools.Wish {
					return tools.Wish{Action: in.Action, Target: in.Target, Arguments: in.Arguments}
				})))...)
		})
	})
}

var nothingBack = tools.Reversible(
	func(*tools.Call, struct{}) (struct{}, error) { return struct{}{}, nil },
	func(*tools.Call, struct{}, moveOut, struct{}) error { return nil })

func (h *house) ask(action string) tools.Result {
	h.t.Helper()
	out, err := h.call(h.free, "test_ask", `{"action":"`+action+`","target":"thing:lamp","arguments":{}}`)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.result(out)
}

func TestWhatCannotBeUndoneIsSaidOfActionsToo(t *testing.T) {
	brokered(t, func(t *testing.T, h *house, define func(tools.Undo[struct{}, moveOut])) {
		define(nothingBack)
		h.ask("lamps:smash")
		var done []approvals.Effect
		h.tx(func(tx *store.Tx) (err error) {
			done, err = approvals.Effects(tx, h.merchant, h.free.ID, time.Time{}, 10)
			return err
		})
		if c := code(h.undo(h.free, done[0].UndoID)); c != tools.Conflict {
			t.Errorf("told %s", c)
		}
	})
}

func TestUndoOfAnActionNeedsItsGrantAndItsForm(t *testing.T) {
	brokered(t, func(t *testing.T, h *house, define func(tools.Undo[struct{}, moveOut])) {
		define(nothingBack)
		id := h.ask("lamps:light").UndoID
		grant := func(actions string) { h.exec(`UPDATE agent_keys SET actions = $1 WHERE id = $2`, actions, h.free.ID) }
		grant(`["lampsx:*","lamps:smash"]`)
		if c := code(h.undo(h.free, id)); c != tools.NotFound {
			t.Errorf("without the grant: %s", c)
		}
		grant(`["lamps:*"]`)
		h.exec(`UPDATE effects SET tool_schema_sha256 = tool_schema_sha256 || '0' WHERE id = $1`, id) // as an action with other arguments would leave it
		if c := code(h.undo(h.free, id)); c != tools.Conflict {
			t.Errorf("of another form: %s", c)
		}
		if n := h.count(`SELECT COUNT(*) FROM effects WHERE tool = 'test_ask' AND tool_schema_sha256 LIKE '% %'`); n != 1 {
			t.Error("the form of the action's arguments is not kept")
		}
	})
}

func TestAnUndoThatPanicsIsNotUsedUp(t *testing.T) {
	brokered(t, func(t *testing.T, h *house, define func(tools.Undo[struct{}, moveOut])) {
		broken := true
		define(tools.Reversible(
			func(*tools.Call, struct{}) (struct{}, error) { return struct{}{}, nil },
			func(c *tools.Call, _ struct{}, _ moveOut, _ struct{}) error {
				_, err := c.Exec(`UPDATE test_things SET price = 1 WHERE name = 'lamp'`)
				if broken {
					panic("a fault in a restore")
				}
				return err
			}))
		id := h.ask("lamps:light").UndoID
		if c := code(h.undo(h.free, id)); c != tools.Internal || h.price() == 1 {
			t.Errorf("told %s, price %d", c, h.price())
		}
		all, _, err := h.Rewind(t.Context(), h.person, h.free.ID, time.Unix(0, 0), false)
		if err != nil || all[len(all)-1].Failed == "" || h.price() == 1 {
			t.Errorf("a rewind: %v, %+v, price %d", err, all, h.price())
		}
		broken = false
		if err := h.undo(h.free, id); err != nil || h.price() != 1 || len(h.entries("effect.undone")) != 1 {
			t.Errorf("when it is repaired: %v, price %d", err, h.price())
		}
	})
}

func TestUndoOfWhatIsErasedMeanwhileIsRefused(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		r := h.repriced()
		err := h.db.InTx(t.Context(), func(tx *store.Tx) error {
			u := undos{h.Gate}
			e, c, err := u.undoable(tx, h.free, r.UndoID)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := approvals.Forget(tx, h.merchant, []string{"thing:lamp"}); err != nil {
				t.Fatal(err)
			}
			_, err = u.restore(tx, c, e)
			return err
		})
		if code(err) != tools.Conflict || h.price() != 70 {
			t.Errorf("told %v, price %d", err, h.price())
		}
	})
}

func TestWhatIsErasedIsForgottenOfItsUndoToo(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		r := h.repriced()
		if err := h.undo(h.free, r.UndoID); err != nil {
			t.Fatal(err)
		}
		h.tx(func(tx *store.Tx) error {
			_, err := approvals.Forget(tx, h.merchant, []string{"thing:lamp"})
			return err
		})
		if n := h.count(`SELECT COUNT(*) FROM effects WHERE changes <> '[]' OR args <> ''`); n != 0 {
			t.Errorf("%d effects still hold what was erased", n)
		}
		if err := h.undo(h.free, r.UndoID); err != nil {
			t.Errorf("what is undone and erased reads %v", err)
		}
	})
}

func TestUndoEndsAtItsVeryTime(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, k *hook) {
		r := h.repriced()
		k.pass(r.UndoUntil.Sub(h.db.Now()))
		if c := code(h.undo(h.free, r.UndoID)); c != tools.Conflict || h.price() != 70 {
			t.Errorf("at its end: %s, price %d", c, h.price())
		}
		all, _, err := h.Rewind(t.Context(), h.person, h.free.ID, time.Unix(0, 0), true)
		if err != nil || all[len(all)-1].Failed == "" {
			t.Errorf("a rehearsed rewind says it would be undone: %v, %+v", err, all)
		}
		k.pass(-time.Microsecond)
		if err := h.undo(h.free, r.UndoID); err != nil || h.price() != 10 {
			t.Errorf("just before it: %v, price %d", err, h.price())
		}
	})
}

func TestOnlyADoneWriteLeavesAnEffect(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		keyed := `{"thing":"lamp","amount":70,"idempotency_key":"once"`
		for range 3 {
			if _, err := h.call(h.free, "test_price", keyed+`}`); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := h.call(h.free, "test_price", `{"thing":"lamp","amount":80,"dry_run":true}`); err != nil {
			t.Fatal(err)
		}
		h.parked("test_price", lampAt)
		if _, err := h.call(h.free, "test_move", `{"thing":"panics","amount":1}`); err == nil {
			t.Fatal("a call that fails is done")
		}
		if n := h.count(`SELECT COUNT(*) FROM effects`); n != 1 {
			t.Errorf("%d effects", n)
		}
	})
}

func TestARepeatedUndoIsAnsweredAlike(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		args := `{"undo_id":"` + h.repriced().UndoID + `","idempotency_key":"back"}`
		first, err := h.call(h.free, "dtc_undo", args)
		if err != nil {
			t.Fatal(err)
		}
		h.exec(`UPDATE test_things SET price = 99, version = version + 1 WHERE name = 'lamp'`)
		again, err := h.call(h.free, "dtc_undo", args)
		if err != nil || !again.Replayed || string(again.Body) != string(first.Body) || h.price() != 99 {
			t.Errorf("%v: %s, was %s", err, again.Body, first.Body)
		}
	})
}

func TestAnUndoOfAnotherMerchantIsNotFound(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		id := h.repriced().UndoID
		pretended, there := h.free, ""
		h.tx(func(tx *store.Tx) error {
			m, err := auth.EnsureMerchant(tx, "other")
			there = m.ID
			if err == nil {
				err = policytest.Install(tx, m.ID)
			}
			return err
		})
		ours := h.merchant
		h.merchant = there
		other := h.mint(auth.Key{Name: "other", Scopes: h.free.Scopes, Ceiling: auth.MaxLevel})
		h.merchant = ours
		pretended.Merchant = there // with the very id of the key
		for want, p := range map[tools.Code]auth.Principal{tools.NotFound: other, tools.Unauthorized: pretended} {
			if c := code(h.undo(p, id)); c != want {
				t.Errorf("told %s, want %s", c, want)
			}
		}
		operator := auth.Principal{Kind: auth.KindOperator, Merchant: "mer_other"}
		if all, _, err := h.Rewind(t.Context(), operator, h.free.ID, time.Unix(0, 0), false); err != nil || len(all) != 0 || h.price() != 70 {
			t.Errorf("a rewind from elsewhere: %v, %+v", err, all)
		}
	})
}

// quoting is a house with a read and a write whose answers quote an outsider.
func quoting(t *testing.T, fn func(t *testing.T, h *house)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		read := moveSpec("test_letters", "test.letters")
		read.Risk, read.Class, read.Routes[0].Method, read.Resource, read.Undo = tools.Risk{DataOut: 2, Taint: true}, tools.ClassNone, "GET", "thing:*", "nothing to undo"
		h.tools = tools.NewRegistry(
			tools.Define(read, tools.Func[struct{}, moveOut]{Read: func(c *tools.Call, _ struct{}) (moveOut, error) {
				c.QuoteOutsider()
				return moveOut{}, nil
			}}),
			tools.Define(moveSpec("test_move", "test.move"), tools.Func[moveIn, moveOut]{
				Preview: func(c *tools.Call, in moveIn) (tools.Preview, error) {
					c.QuoteOutsider()
					return h.previewMove(c, in)
				},
				Write: h.move,
			}))
		fn(t, h)
	})
}

func (h *house) tainted(p auth.Principal) bool {
	h.t.Helper()
	return h.count(`SELECT COUNT(*) FROM taints WHERE principal_id = $1`, p.ID) > 0
}

func TestAWriteThatQuotesTaintsToo(t *testing.T) {
	quoting(t, func(t *testing.T, h *house) {
		if _, err := h.call(h.free, "test_move", `{"thing":"lamp","amount":1,"dry_run":true}`); err != nil || !h.tainted(h.free) {
			t.Errorf("a rehearsal: %v", err)
		}
		if h.tainted(h.bot) {
			t.Error("a key that read nothing is tainted")
		}
		if _, err := h.call(h.bot, "test_move", oneLamp); err != nil || !h.tainted(h.bot) {
			t.Errorf("a parked call: %v", err)
		}
	})
}

func TestNothingIsQuotedWithoutItsTaintAndItsRecord(t *testing.T) {
	for _, table := range []string{"taints", "audit_entries"} {
		t.Run(table, func(t *testing.T) {
			quoting(t, func(t *testing.T, h *house) {
				h.exec(`ALTER TABLE ` + table + ` RENAME TO gone`)
				out, err := h.call(h.free, "test_letters", `{}`)
				if r := (*tools.Refusal)(nil); !errors.As(err, &r) || len(out.Body) > 0 {
					t.Errorf("answered %s, %v", out.Body, err)
				}
				if h.exec(`ALTER TABLE gone RENAME TO ` + table); h.tainted(h.free) {
					t.Error("tainted by what was not told")
				}
			})
		})
	}
}

type askIn struct {
	Action         string                     `json:"action"`
	Target         string                     `json:"target"`
	Arguments      map[string]json.RawMessage `json:"arguments"`
	IdempotencyKey string                     `json:"idempotency_key,omitempty" jsonschema:"maxLength=255"`
	Reason         string                     `json:"reason,omitempty" jsonschema:"maxLength=500"`
	DryRun         bool                       `json:"dry_run,omitempty"`
}
