package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

var errRefused = errors.New("refused")

// things makes a table to write to.
func things(t *testing.T, db *store.DB) {
	t.Helper()
	inTx(t, db, func(tx *store.Tx) error {
		_, err := tx.Exec("CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, n BIGINT CHECK (n >= 0))")
		return err
	})
}

func sqliteThings(t *testing.T) *store.DB {
	t.Helper()
	db := storetest.Open(t, storetest.DSN(t, "sqlite"))
	things(t, db)
	return db
}

func add(tx *store.Tx, id string) error {
	_, err := tx.Exec("INSERT INTO things (id, n) VALUES ($1, $2)", id, 1)
	return err
}

// ids are all things, in order.
func ids(t *testing.T, db *store.DB) []string {
	t.Helper()
	var all []string
	err := db.Read(context.WithoutCancel(t.Context()), func(tx *store.Tx) (err error) {
		all, err = store.All(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) }, "SELECT id FROM things ORDER BY id")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantIDs(t *testing.T, db *store.DB, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), ids(t, db)); diff != "" {
		t.Errorf("things (-want +got):\n%s", diff)
	}
}

func inTx(t *testing.T, db *store.DB, fn func(*store.Tx) error) {
	t.Helper()
	if err := db.InTx(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// gathered lets the writers queue up behind one that holds the baton, then lets them all go, and returns their errors.
func gathered(t *testing.T, db *store.DB, writers ...func(*store.Tx) error) []error {
	t.Helper()
	holding, queued := make(chan struct{}), make(chan struct{})
	errs := make([]error, len(writers))
	var done sync.WaitGroup
	for i, write := range writers {
		done.Go(func() {
			errs[i] = db.InTx(t.Context(), func(tx *store.Tx) error {
				if i == 0 {
					close(holding)
					<-queued
				}
				return write(tx)
			})
		})
		if i == 0 {
			<-holding
		}
		waitFor(func() bool { return store.Waiting(db) == i })
	}
	close(queued)
	done.Wait()
	return errs
}

func waitFor(ready func() bool) {
	for !ready() {
		runtime.Gosched()
	}
}

func adding(id string) func(*store.Tx) error {
	return func(tx *store.Tx) error { return add(tx, id) }
}

func TestWaitingWritersShareOneCommit(t *testing.T) {
	db := sqliteThings(t)
	var writers []func(*store.Tx) error
	var want []string
	for i := range store.MaxMembers {
		want = append(want, fmt.Sprintf("%03d", i))
		writers = append(writers, adding(want[i]))
	}
	before := store.Commits(db)
	if err := errors.Join(gathered(t, db, writers...)...); err != nil {
		t.Fatal(err)
	}
	if n := store.Commits(db) - before; n != 1 {
		t.Errorf("%d writers needed %d commits, want 1", len(writers), n)
	}
	wantIDs(t, db, want...)
}

func TestABatchIsBounded(t *testing.T) {
	db := sqliteThings(t)
	var writers []func(*store.Tx) error
	for i := range store.MaxMembers + 1 {
		writers = append(writers, adding(fmt.Sprint(i)))
	}
	before := store.Commits(db)
	if err := errors.Join(gathered(t, db, writers...)...); err != nil {
		t.Fatal(err)
	}
	if n := store.Commits(db) - before; n != 2 {
		t.Errorf("%d writers needed %d commits, want 2", len(writers), n)
	}
}

func TestAFailedMemberLeavesTheOthers(t *testing.T) {
	db := sqliteThings(t)
	failing := func(tx *store.Tx) error { return errors.Join(add(tx, "failed"), errRefused) }
	for _, at := range []int{0, 1, 2} {
		writers := []func(*store.Tx) error{adding(fmt.Sprint("a", at)), adding(fmt.Sprint("b", at))}
		errs := gathered(t, db, slices.Insert(writers, at, failing)...)
		if !errors.Is(errs[at], errRefused) {
			t.Errorf("the failed member got %v", errs[at])
		}
		if err := errors.Join(slices.Delete(errs, at, at+1)...); err != nil {
			t.Errorf("with a failure at %d the others got %v", at, err)
		}
	}
	wantIDs(t, db, "a0", "a1", "a2", "b0", "b1", "b2")
}

func TestAPanicLeavesTheGroupUsable(t *testing.T) {
	db := sqliteThings(t)
	var seen any
	panicking := func(tx *store.Tx) error {
		if err := add(tx, "panicked"); err != nil {
			return err
		}
		panic("no")
	}
	errs := gathered(t, db, adding("before"), adding("beside"))
	func() {
		defer func() { seen = recover() }()
		errs = append(errs, db.InTx(t.Context(), panicking))
	}()
	if seen != "no" {
		t.Errorf("the caller saw %v, want its panic", seen)
	}
	errs = append(errs, gathered(t, db, adding("x"), adding("y"))...)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	wantIDs(t, db, "before", "beside", "x", "y")
}

// SQLite rolls the whole transaction back on a full disk and the like. A member that does so itself is the surest way
// to see it.
func TestABrokenBatchKeepsNothing(t *testing.T) {
	db := sqliteThings(t)
	breaking := func(tx *store.Tx) error {
		_, err := tx.Exec("ROLLBACK")
		return err
	}
	errs := gathered(t, db, adding("first"), breaking, adding("next"))
	for _, err := range errs[:2] {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a member of the broken batch got %v", err)
		}
	}
	if errs[2] != nil {
		t.Errorf("the writer after the broken batch got %v", errs[2])
	}
	wantIDs(t, db, "next")
}

// A caller that gives up while the baton is on its way to it must still commit what others left to it.
func TestGivingUpStrandsNobody(t *testing.T) {
	db := sqliteThings(t)
	for round := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		for i := range 3 {
			done.Go(func() {
				err := db.InTx(t.Context(), func(tx *store.Tx) error {
					if i == round%3 {
						cancel()
					}
					return add(tx, fmt.Sprintf("%d.%d", round, i))
				})
				if err != nil {
					t.Error(err)
				}
			})
			done.Go(func() {
				if err := db.InTx(ctx, func(*store.Tx) error { return nil }); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		done.Wait()
		cancel()
	}
	if n := len(ids(t, db)); n != 900 {
		t.Errorf("%d things, want 900", n)
	}
}

// Whatever its neighbours do, a transaction that returned nil is there and one that did not is not, on both engines.
func TestOnlyWhatSucceededIsKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		things(t, db)
		var mu sync.Mutex
		var want []string
		var done sync.WaitGroup
		for w := range 12 {
			done.Go(func() {
				for i := range 40 {
					id := fmt.Sprintf("%02d.%02d", w, i)
					if err := mischief(t, db, id); err == nil {
						mu.Lock()
						want = append(want, id)
						mu.Unlock()
					}
				}
			})
		}
		done.Wait()
		slices.Sort(want)
		wantIDs(t, db, want...)
		if len(want) < 100 || len(want) > 400 {
			t.Errorf("%d of 480 succeeded: the test is not what it was", len(want))
		}
	})
}

// mischief adds id, and half of the time spoils its transaction in one of the ways there are.
func mischief(t *testing.T, db *store.DB, id string) (err error) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panicked: %v", p)
		}
	}()
	in := db.InTx
	if rand.IntN(20) == 0 {
		in = db.Bulk
	}
	return in(ctx, func(tx *store.Tx) error {
		if err := add(tx, id); err != nil {
			return err
		}
		switch rand.IntN(12) {
		case 0:
			return errRefused
		case 1:
			panic("no")
		case 2:
			_ = add(tx, id) // a violated constraint that nobody looks at
		case 3:
			_, _ = tx.Exec("no SQL at all")
		case 4:
			cancel()
		case 5:
			_, _ = tx.Query("SELECT id FROM things") // left open
		case 6:
			_, err := tx.Exec("UPDATE things SET n = -1 WHERE id = $1", id)
			return err
		}
		return nil
	})
}
