package store_test

import (
	"cmp"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A round trip to PostgreSQL takes longer than most statements. The statements are run once before they are counted: a connection prepares each
// of them once.
func TestATransactionMakesNoRoundTripThatItCanSpare(t *testing.T) {
	dsn, trips := storetest.CountTrips(t, storetest.DSN(t, "postgres"))
	db := storetest.Open(t, dsn)
	things(t, db)
	count := func(tx *store.Tx) error {
		var n int64
		return tx.QueryRow("SELECT count(*) FROM things").Scan(&n)
	}
	other := func(tx *store.Tx) error {
		_, err := store.All(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) }, "SELECT id FROM things ORDER BY id LIMIT $1", 3)
		return err
	}
	later := func(tx *store.Tx) error {
		return tx.Insert("things", []string{"id", "n"}, [][]any{{store.NewID("row", tx.Now), 1}})
	}
	for _, c := range []struct {
		name string
		in   func() error
		want int64
	}{
		{"nothing", func() error { return db.InTx(t.Context(), func(*store.Tx) error { return nil }) }, 0},
		{"inserts and locks alone, with the commit", func() error {
			return db.InTx(t.Context(), func(tx *store.Tx) error { return cmp.Or(tx.Share("a"), tx.Own("b"), later(tx), later(tx)) })
		}, 1},
		{"a lock, a read and an insert: the read and the commit", func() error {
			return db.InTx(t.Context(), func(tx *store.Tx) error { return cmp.Or(tx.Own("a"), count(tx), later(tx)) })
		}, 2},
		{"one read, and its end, for which nobody waits", func() error { return db.Read(t.Context(), count) }, 2},
		{"two reads", func() error {
			return db.Read(t.Context(), func(tx *store.Tx) error { return cmp.Or(count(tx), count(tx)) })
		}, 3},
		{"two reads, the second one known ahead", func() error {
			return db.Read(t.Context(), func(tx *store.Tx) error {
				tx.Ahead(func() error { return count(tx) })
				return cmp.Or(other(tx), count(tx), count(tx))
			})
		}, 2},
		{"a change, and reads that are known ahead: the change, the reads and the commit", func() error {
			return db.InTx(t.Context(), func(tx *store.Tx) error {
				tx.Ahead(func() error { return count(tx) }, func() error { return other(tx) })
				_, err := tx.Exec("UPDATE things SET n = n + 1")
				return cmp.Or(err, count(tx), other(tx), count(tx), later(tx))
			})
		}, 3},
		{"reads that are known ahead, and one of them again after a change", func() error {
			return db.InTx(t.Context(), func(tx *store.Tx) error {
				tx.Ahead(func() error { return count(tx) })
				return cmp.Or(other(tx), count(tx), later(tx), count(tx))
			})
		}, 3},
	} {
		if took := trips.Least(t, db, func(int) error { return c.in() }); took != c.want {
			t.Errorf("%s: %d round trips, want %d", c.name, took, c.want)
		}
	}
}
