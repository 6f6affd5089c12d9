package store_test

import (
	"errors"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func heard(told <-chan struct{}) bool {
	select {
	case <-told:
		return true
	default:
		return false
	}
}

func TestWhoListensIsWokenByWhatIsDurableAndByNothingElse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		told, stop := db.Listen("job:1")
		defer stop()
		failed := errors.New("this transaction is undone")
		tell := func(name string, end error) error {
			return db.InTx(t.Context(), func(tx *store.Tx) error {
				tx.Tell(name)
				if heard(told) {
					t.Error("woken before the commit")
				}
				return end
			})
		}
		if err := tell("job:1", failed); !errors.Is(err, failed) || heard(told) {
			t.Errorf("woken by what was undone (%v)", err)
		}
		if err := tell("job:2", nil); err != nil || heard(told) {
			t.Errorf("woken by what was told of another (%v)", err)
		}
		if err := tell("job:1", nil); err != nil || !heard(told) {
			t.Errorf("not woken (%v)", err)
		}
		again, stop := db.Listen("job:1")
		defer stop()
		if heard(again) {
			t.Error("who listens again hears what was told before")
		}
	})
}

// Who waits holds something of the process, so that nothing may be left when nobody waits.
func TestNoBellIsKeptThatNobodyListensTo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		_, first := db.Listen("job:1")
		_, second := db.Listen("job:1")
		first()
		if n := store.Bells(db); n != 1 {
			t.Errorf("%d bells while one listens", n)
		}
		second()
		told, third := db.Listen("job:1")
		if err := db.InTx(t.Context(), func(tx *store.Tx) error { tx.Tell("job:1"); return nil }); err != nil || !heard(told) {
			t.Errorf("not woken (%v)", err)
		}
		third()
		if n := store.Bells(db); n != 0 {
			t.Errorf("%d bells are left", n)
		}
	})
}
