package budget

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dtcgate/dtcgate/store"
)

// callers are how many calls come at once.
const callers = 64

// atOnceDo runs fn for each of the callers, all at the same time.
func atOnceDo(fn func(caller int)) {
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range callers {
		all.Go(func() {
			<-begin
			fn(i)
		})
	}
	close(begin)
	all.Wait()
}

// exceeded reports whether a budget said no; any other error fails the test.
func exceeded(t *testing.T, err error) bool {
	var e *Exceeded
	if err != nil && !errors.As(err, &e) {
		t.Error(err)
	}
	return err != nil
}

func TestCallersAtOnceTakeExactlyTheLimitAndNoMore(t *testing.T) {
	const limit, each64 = 100, 4 // of 256 calls
	for name, take := range map[string]func(call string) func(*store.Tx) error{
		"reserving": func(call string) func(*store.Tx) error { return reserve(call, today(1, limit)) },
		"spending":  func(string) func(*store.Tx) error { return spend(today(1, limit)) },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, db *store.DB) {
				var taken atomic.Int64
				atOnceDo(func(caller int) {
					for i := range each64 {
						if !exceeded(t, db.InTx(t.Context(), take(fmt.Sprintf("call_%d_%d", caller, i)))) {
							taken.Add(1)
						}
					}
				})
				used := int64(0)
				do(t, db, func(tx *store.Tx) error {
					all, err := Used(tx, merchant, Filter{})
					for _, u := range all {
						used += u.Reserved + u.Spent
					}
					return err
				})
				if taken.Load() != limit || used != limit {
					t.Errorf("%d calls were let through and %d is used up, of %d", taken.Load(), used, limit)
				}
			})
		})
	}
}

var errKilled = errors.New("killed before the commit")

// killed does what fn does in a transaction that never commits.
func killed(fn func(*store.Tx) error) func(*store.Tx) error {
	return func(tx *store.Tx) error { return errors.Join(fn(tx), errKilled) }
}

func TestCallersThatReserveSettleReleaseAndDieNeverGoOver(t *testing.T) {
	const limit, calls = 50, 6
	each(t, func(t *testing.T, db *store.DB) {
		var spent atomic.Int64
		atOnceDo(func(caller int) {
			r := rand.New(rand.NewPCG(uint64(caller), 4))
			for i := range calls {
				id, c := fmt.Sprintf("call_%d_%d", caller, i), today(1+r.Int64N(3), limit)
				if exceeded(t, db.InTx(t.Context(), reserve(id, c))) {
					continue
				}
				if err := db.InTx(t.Context(), killed(settle(id, c))); !errors.Is(err, errKilled) {
					t.Error(err)
				}
				c.Amount -= r.Int64N(2) // the effect is smaller than it was
				end, settled := settle(id, c), true
				if r.IntN(2) == 0 {
					end, settled = release(id), false
				}
				if err := db.InTx(t.Context(), end); err != nil {
					t.Error(err)
				} else if settled {
					spent.Add(c.Amount)
				}
				evenAndWithin(t, db, limit)
			}
		})
		is(t, db, today(0, limit), 0, spent.Load())
	})
}

// evenAndWithin wants no counter over the limit, and each to hold what calls have reserved of it. A snapshot sees both as they were at once.
func evenAndWithin(t *testing.T, db *store.DB, limit int64) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		wrong, err := store.All(tx, func(r store.Row) (s string, err error) {
			var reserved, spent, held int64
			err = r.Scan(&reserved, &spent, &held)
			return fmt.Sprintf("reserved %d, spent %d, of a limit of %d; calls hold %d", reserved, spent, limit, held), err
		}, `SELECT reserved, spent, held FROM (SELECT c.reserved AS reserved, c.spent AS spent, (SELECT COALESCE(CAST(SUM(h.amount) AS BIGINT), 0) FROM budget_holds h
				WHERE h.merchant_id = c.merchant_id AND h.budget = c.budget AND h.subject = c.subject AND h.unit = c.unit AND h.from_at = c.from_at
					AND h.settled_at IS NULL) AS held FROM budget_counters c) counters
			WHERE reserved + spent > $1 OR reserved < 0 OR spent < 0 OR reserved <> held`, limit)
		if len(wrong) > 0 {
			t.Error(wrong)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Calls that share counters in different orders would wait for each other, were counters not taken in one order for all.
func TestCallsThatShareBudgetsDoNotBlockEachOther(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		var all []Charge
		for i := range 4 {
			c := today(1, 1_000_000)
			c.Budget = fmt.Sprint("limits.budgets.", i)
			all = append(all, c)
		}
		atOnceDo(func(caller int) {
			r := rand.New(rand.NewPCG(uint64(caller), 4))
			for i := range 4 {
				mine := slices.Clone(all)
				r.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
				id, other := fmt.Sprintf("call_%d_%d", caller, i), fmt.Sprintf("call_%d_%d_other", caller, i)
				exceeded(t, db.InTx(t.Context(), reserve(id, mine...)))
				exceeded(t, db.InTx(t.Context(), reserve(other, tomorrow(mine[0]), mine[1])))
				exceeded(t, db.InTx(t.Context(), settle(other, tomorrow(mine[1]), mine[0])))
				exceeded(t, db.InTx(t.Context(), release(other, id, fmt.Sprintf("call_%d_%d", (caller+1)%callers, i))))
			}
		})
		evenAndWithin(t, db, 1_000_000)
	})
}

func TestACallThatIsSettledAndReleasedAtOnceIsCountedOnceOrNot(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		do(t, db, reserve("call_other", today(900, 1000)))
		for i := range 5 {
			id := fmt.Sprint("call_", i)
			do(t, db, reserve(id, today(10, 1000)))
			atOnceDo(func(caller int) {
				end := release(id)
				if caller%2 == 0 {
					end = settle(id, today(10, 1000))
				}
				if err := db.InTx(t.Context(), end); err != nil && caller%2 == 1 {
					t.Error(err)
				}
			})
			evenAndWithin(t, db, 1000)
		}
		do(t, db, release("call_other"))
		do(t, db, func(tx *store.Tx) error {
			all, err := Used(tx, merchant, Filter{})
			if len(all) != 1 || all[0].Reserved != 0 || all[0].Spent > 50 {
				t.Errorf("%+v: five calls of 10 cannot have spent more than 50", all)
			}
			return err
		})
	})
}
