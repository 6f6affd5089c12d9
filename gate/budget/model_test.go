package budget

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A model is the naive form of the tables: what is used of a counter is added up anew whenever it is asked.
type model struct {
	held, done map[string][]Charge // by call
	spent      []Charge
}

func (m *model) copy() *model {
	return &model{held: maps.Clone(m.held), done: maps.Clone(m.done), spent: slices.Clone(m.spent)}
}

func (m *model) used(at counter) (reserved, spent int64) {
	for _, call := range m.held {
		for _, c := range call {
			if c.counter() == at {
				reserved += c.Amount
			}
		}
	}
	for _, c := range m.spent {
		if c.counter() == at {
			spent += c.Amount
		}
	}
	return reserved, spent
}

// fits reports whether a charge that is counted already is within its limit.
func (m *model) fits(all []Charge) bool {
	for _, c := range all {
		if reserved, spent := m.used(c.counter()); c.Amount > 0 && reserved+spent > c.Limit {
			return false
		}
	}
	return true
}

func (m *model) reserve(call string, all []Charge) bool {
	all = m.open(call, all)
	m.held[call] = all
	return m.fits(all)
}

func (m *model) settle(call string, all []Charge) bool {
	all = m.open(call, all)
	delete(m.held, call)
	m.done[call], m.spent = append(slices.Clone(m.done[call]), all...), append(m.spent, all...)
	return m.fits(all)
}

// open are the charges that were not settled before.
func (m *model) open(call string, all []Charge) []Charge {
	return slices.DeleteFunc(slices.Clone(all), func(c Charge) bool {
		return c.Amount == 0 || slices.ContainsFunc(m.done[call], func(d Charge) bool { return d.counter().sameBudget(c) })
	})
}

func (m *model) spend(all []Charge) bool {
	m.spent = append(m.spent, all...)
	return m.fits(all)
}

func someCharges(t *rapid.T) (all []Charge) {
	for _, name := range []string{"a", "b"} {
		if !rapid.Bool().Draw(t, "charged to "+name) {
			continue
		}
		c := today(rapid.Int64Range(0, 12).Draw(t, "amount"), rapid.SampledFrom([]int64{0, 7, 20, 20, 20}).Draw(t, "limit"))
		if c.Budget = name; rapid.IntRange(0, 3).Draw(t, "tomorrow") == 0 {
			c = tomorrow(c)
		}
		all = append(all, c)
	}
	return all
}

// act draws one thing that may happen, and gives it as the database and as the model does it.
func act(t *rapid.T, merchant string) (func(*store.Tx) error, func(*model) bool) {
	call := fmt.Sprint("call_", rapid.IntRange(0, 4).Draw(t, "call"))
	all := someCharges(t)
	switch rapid.SampledFrom([]string{"reserve", "reserve", "settle", "release", "spend"}).Draw(t, "act") {
	case "reserve":
		return func(tx *store.Tx) error { return Reserve(tx, merchant, call, all) }, func(m *model) bool { return m.reserve(call, all) }
	case "settle":
		return func(tx *store.Tx) error { return Settle(tx, merchant, call, all) }, func(m *model) bool { return m.settle(call, all) }
	case "release":
		return func(tx *store.Tx) error { return Release(tx, merchant, call, "call_0") },
			func(m *model) bool { delete(m.held, call); delete(m.held, "call_0"); return true }
	}
	return func(tx *store.Tx) error { return Spend(tx, merchant, all) }, func(m *model) bool { return m.spend(all) }
}

func TestTheCountersAreWhatCallsHoldAndHaveSpent(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			db := storetest.New(t, engine)
			n := 0
			rapid.Check(t, func(rt *rapid.T) {
				n++
				merchant, m := fmt.Sprint("mer_", n), &model{held: map[string][]Charge{}, done: map[string][]Charge{}}
				found(t, db, merchant)
				for range rapid.IntRange(1, 25).Draw(rt, "acts") {
					m = oneAct(rt, db, merchant, m)
					compare(rt, db, merchant, m)
				}
				end(rt, db, merchant, m)
			})
		})
	}
}

// oneAct does something in the database and in the model, and gives the model afterwards.
func oneAct(t *rapid.T, db *store.DB, merchant string, before *model) *model {
	inDB, inModel := act(t, merchant)
	dies := rapid.IntRange(0, 4).Draw(t, "killed") == 0
	if dies {
		inDB = killed(inDB)
	}
	after := before.copy()
	fits := inModel(after)
	err := db.InTx(t.Context(), inDB)
	var e *Exceeded
	if over := errors.As(err, &e); over == fits || err != nil && !over && !dies {
		t.Fatalf("got %v; the model says that it fits: %t", err, fits)
	}
	if err != nil {
		return before
	}
	return after
}

// compare wants every counter to be what the model adds up.
func compare(t *rapid.T, db *store.DB, merchant string, m *model) {
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		for _, budget := range []string{"a", "b"} {
			for _, c := range []Charge{today(0, 0), tomorrow(today(0, 0))} {
				c.Budget = budget
				var reserved, spent int64
				err := tx.QueryRow(`SELECT COALESCE(CAST(SUM(reserved) AS BIGINT), 0), COALESCE(CAST(SUM(spent) AS BIGINT), 0) FROM budget_counters
					WHERE merchant_id = $1 AND budget = $2 AND from_at = $3`, merchant, budget, c.From.UnixMicro()).Scan(&reserved, &spent)
				if err != nil {
					return err
				}
				if r, s := m.used(c.counter()); r != reserved || s != spent {
					t.Fatalf("%s from %s: reserved %d, spent %d; the model says %d and %d", budget, c.From, reserved, spent, r, s)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// end releases every call; nothing is reserved any more, and no hold is left open.
func end(t *rapid.T, db *store.DB, merchant string, m *model) {
	calls := slices.Collect(maps.Keys(m.held))
	var open int
	err := db.InTx(t.Context(), func(tx *store.Tx) error {
		if err := Release(tx, merchant, calls...); err != nil {
			return err
		}
		return tx.QueryRow(`SELECT (SELECT COUNT(*) FROM budget_counters WHERE merchant_id = $1 AND reserved <> 0)
			+ (SELECT COUNT(*) FROM budget_holds WHERE merchant_id = $1 AND settled_at IS NULL)`, merchant).Scan(&open)
	})
	if err != nil || open != 0 {
		t.Fatalf("%d counters and holds are left reserved, %v", open, err)
	}
}
