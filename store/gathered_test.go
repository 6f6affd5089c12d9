package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func addAll(tx *store.Tx, ids []string) error {
	for _, id := range ids {
		if err := add(tx, id); err != nil {
			return err
		}
	}
	return nil
}

// Whoever is told that it is written finds it there, and who is told that it is not does not, whatever the others brought.
func TestWhatIsGatheredIsWrittenForEachAsIfAlone(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		things(t, db)
		g := &store.Gathered[string]{DB: db, Write: addAll}
		inTx(t, db, adding("taken"))
		var all sync.WaitGroup
		want := []string{"taken"}
		for i := range 40 {
			id := fmt.Sprintf("%02d", i)
			if i%10 == 3 {
				id = "taken"
			} else {
				want = append([]string{}, append(want[:len(want)-1], id, "taken")...)
			}
			all.Go(func() {
				if err := g.Do(t.Context(), id); (err != nil) != (id == "taken") {
					t.Errorf("%s: %v", id, err)
				}
			})
		}
		all.Wait()
		wantIDs(t, db, want...)
	})
}

func TestGatheredWritesAreOneTransaction(t *testing.T) {
	db := sqliteThings(t)
	holding, gathered := make(chan struct{}), make(chan struct{})
	largest := 0
	g := &store.Gathered[string]{DB: db, Write: func(tx *store.Tx, ids []string) error {
		largest = max(largest, len(ids))
		return addAll(tx, ids)
	}}
	var all sync.WaitGroup
	all.Go(func() {
		inTx(t, db, func(*store.Tx) error { close(holding); <-gathered; return nil })
	})
	<-holding
	for i := range 10 {
		all.Go(func() {
			if err := g.Do(t.Context(), fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	waitFor(func() bool { return store.Brought(g) == 10 })
	close(gathered)
	all.Wait()
	if largest != 10 {
		t.Errorf("at most %d of 10 were written together", largest)
	}
}

// What is committed and then looks as if it were not, as when there is no more time for the answer, is there once and is not tried again.
func TestWhatMayBeCommittedIsNotTriedAgainOneByOne(t *testing.T) {
	db := sqliteThings(t)
	var plan []store.Fault
	var mu sync.Mutex
	store.Faulty(db, func() (next store.Fault) {
		mu.Lock()
		defer mu.Unlock()
		if len(plan) > 0 {
			next, plan = plan[0], plan[1:]
		}
		return next
	})
	holding, gathered := make(chan struct{}), make(chan struct{})
	g := &store.Gathered[string]{DB: db, Write: addAll}
	var all sync.WaitGroup
	all.Go(func() {
		inTx(t, db, func(*store.Tx) error {
			close(holding)
			<-gathered
			return nil
		})
	})
	<-holding
	mu.Lock()
	plan = []store.Fault{store.NoFault, store.Cancelled} // at the beginning, and at the end
	mu.Unlock()
	for i := range 3 {
		all.Go(func() {
			if err := g.Do(t.Context(), fmt.Sprint(i)); !errors.Is(err, context.Canceled) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	waitFor(func() bool { return store.Brought(g) == 3 })
	close(gathered)
	all.Wait()
	wantIDs(t, db, "0", "1", "2")
}

// One that panics when each is tried by itself takes with it who was not tried yet, and nobody else.
func TestAPanicAmongThoseThatAreTriedOneByOneHoldsUpNobody(t *testing.T) {
	db := sqliteThings(t)
	holding, gathered := make(chan struct{}), make(chan struct{})
	g := &store.Gathered[string]{DB: db, Write: func(tx *store.Tx, ids []string) error {
		if len(ids) > 1 {
			return errors.New("not together")
		}
		if ids[0] == "1" {
			panic("no")
		}
		return addAll(tx, ids)
	}}
	var all sync.WaitGroup
	all.Go(func() {
		inTx(t, db, func(*store.Tx) error { close(holding); <-gathered; return nil })
	})
	<-holding
	for i := range 3 {
		all.Go(func() {
			defer func() { _ = recover() }()
			if err := g.Do(t.Context(), fmt.Sprint(i)); (err == nil) != (i == 0) {
				t.Errorf("%d: %v", i, err)
			}
		})
		waitFor(func() bool { return store.Brought(g) == i+1 })
	}
	close(gathered)
	all.Wait()
	wantIDs(t, db, "0")
}

// Whoever was to write for the others may fail, panic or have no more time: nobody waits for ever, and the next one begins anew.
func TestNobodyWaitsForAWriterThatIsGone(t *testing.T) {
	db := sqliteThings(t)
	broken := true
	g := &store.Gathered[string]{DB: db, Write: func(tx *store.Tx, ids []string) error {
		if broken {
			panic("no")
		}
		return addAll(tx, ids)
	}}
	func() {
		defer func() { _ = recover() }()
		_ = g.Do(t.Context(), "lost")
	}()
	broken = false
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Do(ended, "late"); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
	if err := g.Do(t.Context(), "kept"); err != nil {
		t.Error(err)
	}
	wantIDs(t, db, "kept")
}
