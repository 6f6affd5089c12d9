package gate

import (
	"slices"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// A storeroom is a house whose things lie in boxes. Which box a thing is in stands in the database alone.
type storeroom struct{ *house }

type lookIn struct {
	Box string `json:"box,omitempty"`
}

type lookOut struct {
	Things []string `json:"things"`
	boxes  []string
}

func stored(t *testing.T, fn func(h storeroom)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := storeroom{newHouse(t, db)}
		h.exec(`CREATE TABLE test_boxes (thing TEXT PRIMARY KEY, box TEXT)`)
		h.exec(`INSERT INTO test_things VALUES ('vase', 1, 10), ('bowl', 1, 10)`)
		h.exec(`INSERT INTO test_boxes VALUES ('lamp', 'red'), ('vase', 'red'), ('bowl', 'blue')`)
		h.tools = tools.NewRegistry(h.boxTools()...)
		fn(h)
	})
}

// boxes are the type of the second name of a thing.
var boxes = []string{"box"}

func (h storeroom) boxTools() []*tools.Tool {
	look := moveSpec("test_look", "test.look")
	look.Scope, look.Risk, look.Class, look.Undo = "orders:read", tools.Risk{DataOut: 2, Taint: true}, tools.ClassNone, "nothing to undo"
	steps, vague := moveSpec("test_carry_steps", "test.carrysteps"), moveSpec("test_vague", "test.vague")
	return []*tools.Tool{
		h.priceTool(), realTool("dtc_undo"),
		tools.Define(moveSpec("test_carry", "test.carry"), tools.Func[moveIn, moveOut]{Objects: boxed, Kinds: boxes, Preview: h.previewMove, Write: h.move}),
		tools.Define(steps, tools.Func[moveIn, moveOut]{Objects: boxed, Kinds: boxes, Preview: h.previewMove, Step: h.walk}),
		tools.Define(vague, tools.Func[moveIn, moveOut]{
			Objects: func(*tools.Call, moveIn) ([]tools.Object, error) { return nil, nil }, Preview: h.previewMove, Write: h.move,
		}),
		tools.Define(look, tools.Func[lookIn, lookOut]{Read: h.look, Objects: lookedAt, Kinds: boxes, Rows: func(out lookOut) []tools.Object {
			all := make([]tools.Object, len(out.Things))
			for i, thing := range out.Things {
				all[i] = tools.Object{"thing:" + thing, "box:" + out.boxes[i] + "/" + thing}
			}
			return all
		}}),
	}
}

// boxed names a thing by itself and by its box.
func boxed(c *tools.Call, in moveIn) ([]tools.Object, error) {
	o := tools.Object{"thing:" + in.Thing}
	var box string
	if c.QueryRow(`SELECT box FROM test_boxes WHERE thing = $1`, in.Thing).Scan(&box) == nil {
		o = append(o, "box:"+box+"/"+in.Thing)
	}
	return []tools.Object{o}, nil
}

func lookedAt(_ *tools.Call, in lookIn) ([]tools.Object, error) {
	if in.Box == "" {
		return []tools.Object{{"thing:*", "box:*"}}, nil
	}
	return []tools.Object{{"thing:*", "box:" + in.Box + "/*"}}, nil
}

// look finds what lies in a box. In every box it finds what is in the blue one too, as a faulty filter would.
func (h storeroom) look(c *tools.Call, in lookIn) (out lookOut, err error) {
	c.QuoteOutsider()
	rows, err := store.All(c.Tx, func(r store.Row) (row [2]string, err error) { return row, r.Scan(&row[0], &row[1]) },
		`SELECT thing, box FROM test_boxes WHERE box = $1 OR box = 'blue' ORDER BY thing`, in.Box)
	for _, row := range rows {
		out.Things, out.boxes = append(out.Things, row[0]), append(out.boxes, row[1])
	}
	if err == nil && slices.Contains(out.Things, "unsettled") {
		err = tools.ErrNotYet
	}
	return out, err
}

// limited makes a key for some objects only.
func (h storeroom) limited(confirm bool, resources ...string) auth.Principal {
	return h.mint(auth.Key{
		Name: "limited", Scopes: []auth.Scope{"orders:read", "orders:refund", "orders:write"}, Ceiling: auth.MaxLevel, RequiresApproval: confirm,
		Resources: resources, Depth: 3,
	})
}

// last is the last check of the newest call on record.
func (h storeroom) last() (audit.Entry, audit.Check) {
	e := h.entries("call")[0]
	return e, e.Checks[len(e.Checks)-1]
}

func carry(thing string) string {
	return `{"thing":"` + thing + `","amount":1,"reason":"because it stands"}`
}

func TestAnObjectIsReachedByAnyOfItsNames(t *testing.T) {
	stored(t, func(h storeroom) {
		for _, c := range []struct {
			resources []string
			thing     string
			may       bool
		}{
			{[]string{"box:red/*"}, "lamp", true},
			{[]string{"box:*"}, "lamp", true},
			{[]string{"box:red/lamp"}, "lamp", true},
			{[]string{"thing:lamp"}, "lamp", true},
			{[]string{"thing:bowl", "box:red/*"}, "bowl", true},
			{[]string{"box:red/*"}, "bowl", false},
			{[]string{"box:red/lamp"}, "vase", false},
			{[]string{"thing:vase", "box:blue/*"}, "lamp", false},
			{[]string{"box:red/*"}, "nothing", false},
			{[]string{"box:red/*"}, "red/lamp", false},
		} {
			before := h.effects()
			_, err := h.call(h.limited(false, c.resources...), "test_carry", carry(c.thing))
			switch {
			case c.may && err != nil:
				h.t.Errorf("%v: %s is refused: %v", c.resources, c.thing, err)
			case c.may:
				continue
			}
			wantCode(h.t, err, tools.ForbiddenResource)
			if e, k := h.last(); e.Status != "refused" || k.Name != "objects" || k.Verdict != string(tools.ForbiddenResource) || h.effects() != before {
				h.t.Errorf("%v: %s is on record as %s by %+v, with %d effects", c.resources, c.thing, e.Status, k, h.effects()-before)
			}
		}
	})
}

// Whoever is limited learns nothing about what is beyond: not even whether it is there.
func TestWhatIsNotThereIsRefusedLikeWhatIsOutOfReach(t *testing.T) {
	stored(t, func(h storeroom) {
		p := h.limited(false, "box:red/*")
		var told []tools.Refusal
		for _, thing := range []string{"bowl", "nothing"} {
			_, err := h.call(p, "test_carry", carry(thing))
			r := *wantCode(h.t, err, tools.ForbiddenResource)
			r.CallID = ""
			told = append(told, r)
		}
		if told[0] != told[1] {
			h.t.Errorf("%+v and %+v", told[0], told[1])
		}
	})
}

func TestACallThatIsAboutNothingIsOutOfReachForTheLimited(t *testing.T) {
	stored(t, func(h storeroom) {
		_, err := h.call(h.limited(false, "thing:*"), "test_vague", carry("lamp"))
		wantCode(h.t, err, tools.ForbiddenResource)
		if _, err := h.call(h.free, "test_vague", carry("lamp")); err != nil {
			h.t.Error(err)
		}
	})
}

// Each link of a chain may know an object by another name.
func TestEveryLinkOfAChainIsAskedByEveryName(t *testing.T) {
	stored(t, func(h storeroom) {
		key := h.limited(false, "thing:*")
		child := h.give(key, auth.Delegation{Resources: []string{"thing:lamp", "thing:bowl"}})
		h.tx(func(tx *store.Tx) error {
			_, _, err := auth.ChangeKey(tx, h.merchant, key.ID, 1, func(k *auth.Key) error { k.Resources = []string{"box:red/*"}; return nil })
			return err
		})
		if _, err := h.call(child, "test_carry", carry("lamp")); err != nil {
			h.t.Error(err)
		}
		for _, thing := range []string{"bowl", "vase"} { // what only one of the two reaches
			_, err := h.call(child, "test_carry", carry(thing))
			wantCode(h.t, err, tools.ForbiddenResource)
		}
	})
}

func TestASetIsReachedByWhoReachesAllOfIt(t *testing.T) {
	stored(t, func(h storeroom) {
		h.exec(`DELETE FROM test_boxes WHERE box = 'blue'`)
		for _, c := range []struct {
			resources []string
			args      string
			may       bool
		}{
			{[]string{"box:red/*"}, `{"box":"red"}`, true},
			{[]string{"thing:*"}, `{"box":"red"}`, true},
			{[]string{"box:*"}, `{}`, true},
			{[]string{"box:red/*"}, `{}`, false},
			{[]string{"box:red/*"}, `{"box":"blue"}`, false},
			{[]string{"box:red/lamp"}, `{"box":"red"}`, false},
			{[]string{"box:red/*"}, `{"box":"red/lamp"}`, true}, // nothing lies in such a box
			{[]string{"box:red/*"}, `{"box":"*"}`, false},
		} {
			_, err := h.call(h.limited(false, c.resources...), "test_look", c.args)
			if c.may && err != nil {
				h.t.Errorf("%v: %s is refused: %v", c.resources, c.args, err)
			}
			if !c.may {
				wantCode(h.t, err, tools.ForbiddenResource)
			}
		}
	})
}

func TestAnAnswerThatShowsWhatIsOutsideIsNotTold(t *testing.T) {
	stored(t, func(h storeroom) {
		p := h.limited(false, "box:red/*", "thing:unsettled")
		for _, more := range []string{"", `INSERT INTO test_boxes VALUES ('unsettled', 'red')`} { // which has the read asked again
			if more != "" {
				h.exec(more)
			}
			out, err := h.call(p, "test_look", `{"box":"red"}`)
			r := wantCode(h.t, err, tools.ForbiddenResource)
			if told := r.Message + r.Next; out.Body != nil || r.Errors != nil || strings.Contains(told, "bowl") || strings.Contains(told, "blue") {
				h.t.Errorf("the caller is told %s %+v", out.Body, r)
			}
			e, k := h.last()
			if e.Status != "refused" || e.Code != string(tools.ForbiddenResource) || k.Name != "rows" || strings.Contains(e.Reason, "bowl") {
				h.t.Errorf("it is on record as %s %s (%s) by %+v", e.Status, e.Code, e.Reason, k)
			}
		}
		h.tx(func(tx *store.Tx) error {
			taint, err := auth.TaintOf(tx, p)
			if taint != nil {
				h.t.Error("who was told nothing is tainted by it")
			}
			return err
		})
		h.exec(`DELETE FROM test_boxes WHERE box = 'blue' OR thing = 'unsettled'`)
		if out, err := h.call(p, "test_look", `{"box":"red"}`); err != nil || !strings.Contains(string(out.Body), "vase") {
			h.t.Errorf("what is inside is not told: %s, %v", out.Body, err)
		}
	})
}

// What a call is about is asked again whenever the call goes on, as is all else.
func TestWhatHasMovedOutOfReachIsNotTouchedLater(t *testing.T) {
	const move = `UPDATE test_boxes SET box = 'blue' WHERE thing = 'lamp'`
	t.Run("by a call that waited", func(t *testing.T) {
		stored(t, func(h storeroom) {
			out, err := h.call(h.limited(true, "box:red/*"), "test_carry", carry("lamp"))
			if err != nil {
				h.t.Fatal(err)
			}
			job := h.result(out).JobID
			if err := h.vote(job, approvals.Approve); err != nil {
				h.t.Fatal(err)
			}
			h.exec(move)
			h.resume()
			if j := h.job(job); j.Status != tools.JobCancelled || !strings.Contains(j.Why, string(tools.ForbiddenResource)) || h.effects() != 0 {
				h.t.Errorf("the job is %s (%s), with %d effects", j.Status, j.Why, h.effects())
			}
		})
	})
	t.Run("by the next step", func(t *testing.T) {
		stored(t, func(h storeroom) {
			out, err := h.call(h.limited(false, "box:red/*"), "test_carry_steps", `{"thing":"lamp","amount":3}`)
			if err != nil {
				h.t.Fatal(err)
			}
			var j approvals.Job
			h.tx(func(tx *store.Tx) (err error) {
				if j, _, err = approvals.Claim(tx, "w"); err == nil {
					_, err = h.begin(tx, j, "w", nil)
				}
				return err
			})
			j.Owner = "w"
			if _, err := h.step(h.t.Context(), j.JobID, j.Owner); err != nil {
				h.t.Fatal(err)
			}
			h.exec(move)
			if err := h.steps(h.t.Context(), j, j.Owner); err != nil {
				h.t.Fatal(err)
			}
			if j := h.job(h.result(out).JobID); j.Status != tools.JobFailed || j.Reason != string(tools.ForbiddenResource) || h.effects() != 1 {
				h.t.Errorf("the job is %s (%s), with %d effects", j.Status, j.Reason, h.effects())
			}
		})
	})
	t.Run("by a repeat", func(t *testing.T) {
		stored(t, func(h storeroom) {
			p, args := h.limited(false, "box:red/*"), `{"thing":"lamp","amount":1,"idempotency_key":"k"}`
			if _, err := h.call(p, "test_carry", args); err != nil {
				h.t.Fatal(err)
			}
			if out, err := h.call(p, "test_carry", args); err != nil || !out.Replayed {
				h.t.Fatalf("%+v, %v", out, err)
			}
			h.exec(move)
			_, err := h.call(p, "test_carry", args)
			wantCode(h.t, err, tools.ForbiddenResource)
		})
	})
}

func TestALimitedKeyUndoesWhatItStillReachesAndSeesWhatItHasUndone(t *testing.T) {
	stored(t, func(h storeroom) {
		p := h.limited(false, "thing:lamp", "thing:vase")
		undo := func(id string) error {
			_, err := h.call(p, "dtc_undo", `{"undo_id":"`+id+`"}`)
			return err
		}
		done := func(thing string) string {
			out, err := h.call(p, "test_price", `{"thing":"`+thing+`","amount":5}`)
			if err != nil {
				h.t.Fatal(err)
			}
			return h.result(out).UndoID
		}
		lamp, vase := done("lamp"), done("vase")
		for range 2 { // the second time it is told that it is undone: the arguments are forgotten by then
			if err := undo(lamp); err != nil {
				h.t.Fatal(err)
			}
		}
		h.tx(func(tx *store.Tx) error {
			_, _, err := auth.ChangeKey(tx, h.merchant, p.ID, 1, func(k *auth.Key) error { k.Resources = []string{"thing:lamp"}; return nil })
			return err
		})
		wantCode(h.t, undo(vase), tools.ForbiddenResource)
	})
}

// Whoever may not reach a thing learns nothing of it by leaving out what it would have to have seen.
func TestFactsAreFilledInOnlyOfWhatMayBeReached(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		k.preview = func(*tools.Call, moveIn) (tools.Preview, error) {
			return tools.Preview{}, tools.Refuse(tools.Conflict, "", "It is sent.")
		}
		narrow := h.mint(auth.Key{
			Name: "narrow", Scopes: []auth.Scope{"orders:refund"}, Ceiling: auth.MaxLevel, RequiresApproval: true, Resources: []string{"thing:vase"},
		})
		for _, c := range []struct {
			by     auth.Principal
			policy string
		}{{h.bot, open(`resources: ["*"]`, `resources: ["thing:vase"]`)}, {narrow, policytest.Open}} {
			h.publish(c.policy)
			for _, thing := range []string{"lamp", "nothing"} {
				_, err := h.Call(t.Context(), h.anew(c.by), Request{Tool: "test_hook", Args: []byte(`{"thing":"` + thing + `","reason":"because it stands"}`), FillFacts: true})
				wantCode(t, err, tools.ForbiddenResource)
			}
		}
	})
}
