package budget

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

const merchant = "mer_x"

var (
	noon    = time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)
	morning = time.Date(2026, 3, 11, 0, 0, 0, 0, time.UTC)
	day     = 24 * time.Hour
)

// each runs fn on both engines, at noon, with a merchant.
func each(t *testing.T, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		db.Now = func() time.Time { return noon }
		found(t, db, merchant)
		fn(t, db)
	})
}

func found(t testing.TB, db *store.DB, id string) {
	t.Helper()
	do(t, db, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO merchants (id, name, created_at) VALUES ($1, $1, 0)`, id)
		return err
	})
}

func do(t testing.TB, db *store.DB, fn func(*store.Tx) error) {
	t.Helper()
	if err := db.InTx(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// today is a charge of pounds of today.
func today(amount, limit int64) Charge {
	return Charge{Budget: "limits.budgets.daily", Subject: "key:k", Unit: "money:GBP", Amount: amount, Limit: limit, From: morning, Until: morning.Add(day)}
}

// tomorrow is c in the next period.
func tomorrow(c Charge) Charge {
	c.From, c.Until = c.Until, c.Until.Add(day)
	return c
}

func of1(c Charge) []Charge { return []Charge{c} }

func reserve(call string, all ...Charge) func(*store.Tx) error {
	return func(tx *store.Tx) error { return Reserve(tx, merchant, call, all) }
}

func settle(call string, all ...Charge) func(*store.Tx) error {
	return func(tx *store.Tx) error { return Settle(tx, merchant, call, all) }
}

func release(calls ...string) func(*store.Tx) error {
	return func(tx *store.Tx) error { return Release(tx, merchant, calls...) }
}

func spend(all ...Charge) func(*store.Tx) error {
	return func(tx *store.Tx) error { return Spend(tx, merchant, all) }
}

// over runs fn and wants it to exceed a budget of which so much is left.
func over(t *testing.T, db *store.DB, left int64, fn func(*store.Tx) error) {
	t.Helper()
	var e *Exceeded
	if err := db.InTx(t.Context(), fn); !errors.As(err, &e) || e.Left != left {
		t.Fatalf("got %v, want a budget exceeded of which %d are left", err, left)
	}
}

// is wants the counter of c to stand at reserved and spent.
func is(t *testing.T, db *store.DB, c Charge, reserved, spent int64) {
	t.Helper()
	do(t, db, func(tx *store.Tx) error {
		tx.Now = c.From
		all, err := Used(tx, merchant, Filter{Budget: c.Budget, Subject: c.Subject})
		for _, u := range all {
			if u.Unit == c.Unit && (u.Reserved != reserved || u.Spent != spent) {
				t.Fatalf("reserved %d, spent %d; want %d and %d", u.Reserved, u.Spent, reserved, spent)
			}
		}
		if len(all) == 0 && reserved+spent > 0 {
			t.Fatalf("there is no counter; want %d and %d", reserved, spent)
		}
		return err
	})
}

func TestWhatIsReservedIsSpentOrGivenBack(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		do(t, db, reserve("call_1", today(60, 100)))
		do(t, db, reserve("call_2", today(40, 100)))
		is(t, db, today(0, 100), 100, 0)
		over(t, db, 0, reserve("call_3", today(1, 100)))
		do(t, db, settle("call_1", today(60, 100)))
		is(t, db, today(0, 100), 40, 60)
		do(t, db, release("call_2"))
		is(t, db, today(0, 100), 0, 60)
		over(t, db, 40, spend(today(41, 100)))
		do(t, db, spend(today(40, 100)))
		is(t, db, today(0, 100), 0, 100)
	})
}

func TestSettlingAndReleasingAgainChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		for range 3 {
			do(t, db, reserve("call_1", today(60, 100)))
			do(t, db, reserve("call_2", today(30, 100)))
		}
		for range 3 {
			do(t, db, settle("call_1", today(60, 100)))
			do(t, db, release("call_1", "call_2", "call_2", "call_none"))
			is(t, db, today(0, 100), 0, 60)
		}
		do(t, db, reserve("call_1", today(60, 100))) // it has run: nothing is reserved for it any more
		is(t, db, today(0, 100), 0, 60)
		do(t, db, release())
	})
}

func TestWhatASmallerEffectLeavesIsFreeAgain(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		customers := today(500, 500)
		customers.Unit = "customers"
		do(t, db, reserve("call_1", today(100, 100), customers))
		customers.Amount = 0
		do(t, db, settle("call_1", today(70, 100), customers))
		is(t, db, today(0, 100), 0, 70)
		is(t, db, customers, 0, 0)
		do(t, db, spend(today(30, 100)))
	})
}

func TestALargerEffectIsHeldToTheLimit(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		do(t, db, reserve("call_1", today(50, 100)))
		do(t, db, spend(today(30, 100)))
		over(t, db, 70, settle("call_1", today(71, 100)))
		is(t, db, today(0, 100), 50, 30)
		do(t, db, settle("call_1", today(70, 100)))
		is(t, db, today(0, 100), 0, 100)
	})
}

func TestACallThatRunsInAnotherPeriodIsCountedThere(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		now := today(60, 100)
		then := tomorrow(now)
		do(t, db, reserve("call_1", now))
		do(t, db, reserve("call_2", tomorrow(today(50, 100))))
		over(t, db, 50, settle("call_1", then))
		is(t, db, now, 60, 0)
		do(t, db, release("call_2"))
		do(t, db, settle("call_1", then))
		is(t, db, now, 0, 0)
		is(t, db, then, 0, 60)
	})
}

func TestAJobThatBeginsInAnotherPeriodReservesThere(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		now := today(60, 100)
		do(t, db, reserve("call_1", now))
		do(t, db, reserve("call_1", tomorrow(now)))
		is(t, db, now, 0, 0)
		is(t, db, tomorrow(now), 60, 0)
		do(t, db, reserve("call_1", now)) // a clock that was set back
		is(t, db, now, 60, 0)
		do(t, db, release("call_1"))
		is(t, db, now, 0, 0)
		is(t, db, tomorrow(now), 0, 0)
	})
}

func TestALimitThatIsLoweredBindsWhatIsReserved(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		do(t, db, reserve("call_1", today(60, 100)))
		do(t, db, reserve("call_2", today(30, 100)))
		over(t, db, 20, settle("call_1", today(60, 50)))
		over(t, db, 0, spend(today(1, 50)))
		do(t, db, release("call_1"))
		do(t, db, settle("call_2", today(30, 50)))
		is(t, db, today(0, 50), 0, 30)
	})
}

func TestABudgetThatThePolicyDroppedIsGivenBack(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		other := today(5, 10)
		other.Budget = "limits.budgets.weekly"
		do(t, db, reserve("call_1", today(60, 100)))
		do(t, db, settle("call_1", other))
		is(t, db, today(0, 100), 0, 0)
		is(t, db, other, 0, 5)
	})
}

func TestAChargeOverTheWholeLimitSaysSo(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		do(t, db, spend(today(10, 100)))
		var e *Exceeded
		err := db.InTx(t.Context(), reserve("call_1", today(101, 100)))
		if !errors.As(err, &e) || e.Left != 90 || !e.Alone() {
			t.Errorf("got %v", err)
		}
		want := "limits.budgets.daily allows 100 money:GBP of key:k until 2026-03-12T00:00:00Z, of which 90 are left; the call takes 101"
		if err.Error() != want {
			t.Errorf("it says %q", err)
		}
		if err := db.InTx(t.Context(), reserve("call_1", today(91, 100))); !errors.As(err, &e) || e.Alone() {
			t.Errorf("got %v", err)
		}
	})
}

func TestNothingOfACallIsTakenWhenOneBudgetIsExceeded(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		first, last := today(1, 100), today(1, 0)
		first.Budget, last.Budget = "a", "z"
		over(t, db, 0, reserve("call_1", last, first))
		over(t, db, 0, spend(last, first))
		is(t, db, first, 0, 0)
	})
}

func TestNothingIsChargedNothing(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		do(t, db, reserve("call_1", today(0, 0)))
		do(t, db, spend(today(0, 0)))
		do(t, db, settle("call_1"))
		do(t, db, func(tx *store.Tx) error {
			var n int
			err := tx.QueryRow(`SELECT (SELECT COUNT(*) FROM budget_counters) + (SELECT COUNT(*) FROM budget_holds)`).Scan(&n)
			if n != 0 {
				t.Errorf("%d rows", n)
			}
			return err
		})
	})
}

func TestTheLargestAmountsDoNotOverflow(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		do(t, db, reserve("call_1", today(math.MaxInt64, math.MaxInt64)))
		over(t, db, 0, spend(today(1, math.MaxInt64)))
		over(t, db, 0, reserve("call_2", today(math.MaxInt64, math.MaxInt64)))
		do(t, db, settle("call_1", today(math.MaxInt64, math.MaxInt64)))
		over(t, db, 0, spend(today(math.MaxInt64, math.MaxInt64)))
		is(t, db, today(0, 0), 0, math.MaxInt64)
	})
}

func TestAChargeThatIsNoneIsRefused(t *testing.T) {
	db := storetest.New(t, "sqlite")
	for name, c := range map[string][]Charge{
		"negative":    of1(today(-1, 100)),
		"no limit":    of1(today(1, -1)),
		"no period":   of1(Charge{Budget: "b", Subject: "s", Unit: "calls", Amount: 1, Limit: 1}),
		"no budget":   of1(Charge{Subject: "s", Unit: "calls", Amount: 1, Limit: 1, From: morning, Until: noon}),
		"twice":       {today(1, 100), today(2, 100)},
		"empty again": {today(1, 100), today(0, 100), today(-5, 100)},
	} {
		for _, fn := range []func(*store.Tx) error{reserve("call_1", c...), settle("call_1", c...), spend(c...)} {
			if err := db.InTx(t.Context(), fn); !errors.Is(err, errUnfit) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestMerchantsDoNotShareACounter(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		found(t, db, "mer_y")
		do(t, db, reserve("call_1", today(100, 100)))
		do(t, db, func(tx *store.Tx) error { return Reserve(tx, "mer_y", "call_1", of1(today(100, 100))) })
		do(t, db, func(tx *store.Tx) error { return Release(tx, "mer_y", "call_1") })
		is(t, db, today(0, 100), 100, 0)
	})
}

func TestCountersThatWereChangedByHandAreNotFreedBelowNothing(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		do(t, db, reserve("call_1", today(60, 100)))
		do(t, db, func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE budget_counters SET reserved = 10`)
			return err
		})
		if err := db.InTx(t.Context(), release("call_1")); !errors.Is(err, errUneven) {
			t.Errorf("got %v", err)
		}
		is(t, db, today(0, 100), 10, 0)
	})
}

func TestTheTableItselfHoldsNoMoreThanTheLimit(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		do(t, db, reserve("call_1", today(60, 100)))
		for _, change := range []string{`spent = 41`, `reserved = 101`, `reserved = -1`, `spent = -1`, `allowed = 59`} {
			err := db.InTx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`UPDATE budget_counters SET ` + change)
				return err
			})
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), "constraint") {
				t.Errorf("%s: %v", change, err)
			}
		}
	})
}

func TestARehearsalIsToldWhatWouldFitAndTakesNothing(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		fits := func(c Charge) func(*store.Tx) error {
			return func(tx *store.Tx) error { return Fits(tx, merchant, of1(c)) }
		}
		do(t, db, fits(today(100, 100)))
		do(t, db, reserve("call_1", today(60, 100)))
		do(t, db, fits(today(40, 100)))
		do(t, db, fits(today(0, 0)))
		over(t, db, 40, fits(today(41, 100)))
		over(t, db, 0, fits(today(1, 50)))
		over(t, db, 40, fits(today(101, 100)))
		is(t, db, today(0, 100), 60, 0)
	})
}

func TestTheListHasThePeriodsThatLast(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		c := today(60, 100)
		do(t, db, spend(c))
		do(t, db, reserve("call_1", tomorrow(c)))
		c.Subject = "key:a"
		do(t, db, reserve("call_2", c))
		do(t, db, func(tx *store.Tx) error {
			all, err := Used(tx, merchant, Filter{})
			if len(all) != 2 || all[0].Subject != "key:a" || all[1] != (Use{c.Budget, "key:k", c.Unit, c.From, c.Until, 100, 0, 60}) {
				t.Errorf("listed %+v", all)
			}
			if all, _ := Used(tx, merchant, Filter{Subject: "key:k", Limit: 1}); len(all) != 1 || all[0].Subject != "key:k" {
				t.Errorf("of one subject: %+v", all)
			}
			if all, _ := Used(tx, "mer_y", Filter{}); len(all) != 0 {
				t.Errorf("of another merchant: %+v", all)
			}
			return err
		})
	})
}

func TestWhatIsOldAndDoneIsForgotten(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		waiting := today(1, 100)
		waiting.Subject = "key:waiting"
		do(t, db, settle("call_1", today(60, 100)))
		do(t, db, reserve("call_2", waiting))
		left := func(after time.Duration) (counters, holds int) {
			do(t, db, func(tx *store.Tx) error {
				tx.Now = noon.Add(after)
				if err := Forget(tx); err != nil {
					return err
				}
				return tx.QueryRow(`SELECT (SELECT COUNT(*) FROM budget_counters), (SELECT COUNT(*) FROM budget_holds)`).Scan(&counters, &holds)
			})
			return counters, holds
		}
		if counters, holds := left(Kept); counters != 2 || holds != 2 {
			t.Errorf("after %s there are %d counters and %d holds", Kept, counters, holds)
		}
		if counters, holds := left(Kept + day); counters != 1 || holds != 1 {
			t.Errorf("of what is old, %d counters and %d holds are left; want what still waits", counters, holds)
		}
		do(t, db, release("call_2"))
		if counters, holds := left(Kept + day); counters != 0 || holds != 0 {
			t.Errorf("%d counters and %d holds are left", counters, holds)
		}
	})
}
