package trust

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// plain are rules in which nothing happens by itself.
var plain = Rules{
	Start: 50_000, Signals: Weights{Success: 10, Refusal: -10, Guardrail: -20_000, Denial: -5_000}, Feedback: Range{-50_000, 20_000}, RisePerDay: Full,
	History: 5, Sandboxes: &Sandboxes{Strict: Terms{Ceiling: "L0"}, Adaptive: Terms{Ceiling: "L4"}},
}

// A desk is a database with a merchant, for tests.
type desk struct {
	*testing.T
	db       *store.DB
	merchant string
	now      time.Time
}

func newDesk(t *testing.T, db *store.DB) *desk {
	d := &desk{T: t, db: db, now: noon}
	db.Now = func() time.Time { return d.now }
	d.in(func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, "Ours")
		d.merchant = m.ID
		return err
	})
	return d
}

func (d *desk) in(fn func(*store.Tx) error) {
	d.Helper()
	if err := d.db.InTx(d.Context(), fn); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) move(r Rules, s Signal) (c Change) {
	d.Helper()
	d.in(func(tx *store.Tx) (err error) {
		c, err = Move(tx, r, d.merchant, "key_1", s)
		return err
	})
	return c
}

func (d *desk) of(r Rules, agent string) (s Score) {
	d.Helper()
	err := d.db.Read(d.Context(), func(tx *store.Tx) (err error) {
		s, err = Of(tx, r, d.merchant, agent)
		return err
	})
	if err != nil {
		d.Fatal(err)
	}
	return s
}

func (d *desk) history() (all []Moved) {
	d.Helper()
	err := d.db.Read(d.Context(), func(tx *store.Tx) (err error) {
		all, err = History(tx, d.merchant, "key_1", 100)
		return err
	})
	if err != nil {
		d.Fatal(err)
	}
	return all
}

func TestAFallShowsInTheVeryNextRead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		if got := d.of(plain, "key_1"); got != 50_000 {
			t.Errorf("one that was never seen is at %s", got)
		}
		if c := d.move(plain, Signal{Kind: Guardrail, CallID: "call_1"}); c != (Change{50_000, 30_000}) {
			t.Errorf("it moved %+v", c)
		}
		if got := d.of(plain, "key_1"); got != 30_000 {
			t.Errorf("after the fall it is %s", got)
		}
		if got := d.of(plain, "key_2"); got != 50_000 {
			t.Errorf("another's is %s", got)
		}
		d.move(plain, Signal{Kind: Refusal, Code: tools.NotFound, CallID: "call_2"})
		if got := d.of(plain, "key_1"); got != 29_990 || plain.Sandbox(got).Level != Strict {
			t.Errorf("after one more it is %s", got)
		}
	})
}

func TestTheScoreOfAnotherMerchantIsNotOurs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		d.move(plain, Signal{Kind: Guardrail})
		ours := d.merchant
		d.in(func(tx *store.Tx) error {
			m, err := auth.EnsureMerchant(tx, "Stranger")
			d.merchant = m.ID
			return err
		})
		if got := d.of(plain, "key_1"); got != 50_000 || len(d.history()) != 0 {
			t.Errorf("the stranger sees %s and %v", got, d.history())
		}
		d.in(func(tx *store.Tx) error {
			if all, err := List(tx, plain, d.merchant, auth.Page{Limit: 10}); err != nil || len(all) != 0 {
				t.Errorf("the stranger lists %v, %v", all, err)
			}
			all, err := List(tx, plain, ours, auth.Page{Limit: 10})
			if err != nil || len(all) != 1 || all[0].Agent != "key_1" || all[0].Score != 30_000 || all[0].Sandbox.Level != Adaptive {
				t.Errorf("we list %v, %v", all, err)
			}
			return nil
		})
	})
}

func TestWithoutRulesNothingIsWritten(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		if c := d.move(Rules{}, Signal{Kind: Guardrail}); c != (Change{Full, Full}) {
			t.Errorf("it moved %+v", c)
		}
		if got := d.of(Rules{}, "key_1"); got != Full || len(d.history()) != 0 {
			t.Errorf("it is %s after %v", got, d.history())
		}
	})
}

// lost counts the signals that concurrent moves of one agent lose.
func (d *desk) lost(moves int) (lost int64) {
	var all sync.WaitGroup
	errs := make(chan error, moves)
	for i := range moves {
		all.Go(func() {
			errs <- d.db.InTx(context.WithoutCancel(d.Context()), func(tx *store.Tx) error {
				if i%2 == 0 {
					_, err := Move(tx, plain, d.merchant, "key_1", Signal{Kind: Refusal, Code: tools.NotFound})
					return err
				}
				_, err := Succeeded(tx, plain, d.merchant, "key_1", 3)
				return err
			})
		})
	}
	all.Wait()
	for range moves {
		if err := <-errs; err != nil {
			d.Error(err)
		}
	}
	want := Score(50_000 - 10*moves/2 + 30*moves/2)
	return int64(want - d.of(plain, "key_1"))
}

func TestConcurrentMovesLoseNoSignal(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		if lost := newDesk(t, db).lost(64); lost != 0 {
			t.Errorf("%d thousandths of a point are lost", lost)
		}
	})
}

func TestHistoryTellsWhatMovedTheScoreAndIsBounded(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		plus := Score(1_500)
		d.move(plain, Signal{Kind: Feedback, By: "person:per_1", Note: "helpful", Weight: &plus})
		for range 3 {
			d.now = d.now.Add(time.Second)
			d.in(func(tx *store.Tx) error {
				_, err := Succeeded(tx, plain, d.merchant, "key_1", 7)
				return err
			})
		}
		d.now = d.now.Add(time.Second)
		d.move(plain, Signal{Kind: Refusal, Code: tools.RateLimited, CallID: "call_9"})
		all := d.history()
		var lines []string
		for _, m := range all {
			lines = append(lines, fmt.Sprintf("%d %s%s ×%d %s→%s %s %s%s%s", m.Number, m.Kind, m.Code, m.Count, m.Before, m.After, m.LastAt.Sub(m.FirstAt), m.CallID, m.By, m.Note))
		}
		want := "3 refusalRATE_LIMITED ×1 51.71→51.7 0s call_9\n2 success ×21 51.5→51.71 2s \n1 feedback ×1 50→51.5 0s person:per_1helpful"
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("the history is\n%s\nwant\n%s", got, want)
		}
		for range 10 {
			d.move(plain, Signal{Kind: Refusal, Code: tools.NotFound})
		}
		if all := d.history(); len(all) != 5 || all[0].Number != 13 || all[4].Number != 9 {
			t.Errorf("of a history of five there are %d, from %d", len(all), all[0].Number)
		}
	})
}

func TestFeedbackBeyondItsRangeMovesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		much := Score(20_001)
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := Move(tx, plain, d.merchant, "key_1", Signal{Kind: Feedback, Weight: &much})
			return err
		})
		if !errors.Is(err, ErrFeedback) || d.of(plain, "key_1") != 50_000 {
			t.Errorf("%v, %s", err, d.of(plain, "key_1"))
		}
	})
}

func TestOfIsOneReadByPrimaryKey(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		d.move(plain, Signal{Kind: Denial})
		var asked []string
		ctx := store.Watch(t.Context(), func(q string, _ []any) { asked = append(asked, q) })
		err := db.Read(ctx, func(tx *store.Tx) error {
			_, err := Of(tx, plain, d.merchant, "key_1")
			return err
		})
		if err != nil || len(asked) != 1 {
			t.Fatalf("%v, %q", err, asked)
		}
		if db.Engine() == "sqlite" {
			d.in(func(tx *store.Tx) error {
				var id, parent, unused int64
				var plan string
				err := tx.QueryRow("EXPLAIN QUERY PLAN "+asked[0], d.merchant, "key_1").Scan(&id, &parent, &unused, &plan)
				if !strings.Contains(plan, "USING INDEX") || !strings.Contains(plan, "agent_id=?") {
					t.Errorf("%v: %s", err, plan)
				}
				return err
			})
		}
	})
}

func TestAScoreDecaysBetweenReads(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d, r := newDesk(t, db), plain
		r.Decay = Decay{50_000, 24}
		d.move(r, Signal{Kind: Guardrail})
		d.now = d.now.Add(24 * time.Hour)
		if got := d.of(r, "key_1"); got != 40_000 {
			t.Errorf("after a half-life it is %s", got)
		}
		if c := d.move(r, Signal{Kind: Denial}); c != (Change{40_000, 35_000}) {
			t.Errorf("it moved %+v", c)
		}
	})
}
