package store_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func TestSharedCommitsAreCounted(t *testing.T) {
	db := storetest.New(t, "sqlite")
	before := db.Stats()
	const writers = 200
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			if err := db.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	after := db.Stats()
	count, shares := after.Commits.Count-before.Commits.Count, after.Commits.Shares-before.Commits.Shares
	if shares != writers || count == 0 || count > writers {
		t.Errorf("%d writers shared %d commits", shares, count)
	}
	if last := after.Commits.By[len(after.Commits.By)-1]; last != after.Commits.Count {
		t.Errorf("%d of %d commits had a number of writers", last, after.Commits.Count)
	}
	if after.Waiting != 0 || after.InUse != 0 || after.Transactions-before.Transactions != writers {
		t.Errorf("%+v", after)
	}
}

func TestWhatTheDatabaseCouldNotDoIsCounted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		own := errors.New("the caller's own")
		if err := db.InTx(t.Context(), func(*store.Tx) error { return own }); !errors.Is(err, own) {
			t.Fatal(err)
		}
		if s := db.Stats(); s.Unavailable != 0 || s.Transactions == 0 || s.Connections == 0 {
			t.Errorf("%+v", s)
		}
		storetest.Settle(db)
		inside := 0
		if err := db.InTx(t.Context(), func(*store.Tx) error { inside = db.Stats().InUse; return nil }); err != nil || inside != 1 {
			t.Errorf("%d connections in use: %v", inside, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) || db.Stats().Unavailable != 1 {
			t.Errorf("%v: %+v", err, db.Stats())
		}
	})
}
