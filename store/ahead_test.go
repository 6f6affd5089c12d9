package store_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A kept is a row with what an answer may hold.
type kept struct {
	id   string
	n    int64
	none any
	sum  int64
}

func keptRows(tx *store.Tx, atLeast int) ([]kept, error) {
	return store.All(tx, func(r store.Row) (k kept, err error) { return k, r.Scan(&k.id, &k.n, &k.none, &k.sum) },
		"SELECT id, n, NULL, (SELECT SUM(n) FROM things) FROM things WHERE n >= $1 ORDER BY id", atLeast)
}

func nOf(tx *store.Tx, id string) (n int64, err error) {
	return n, tx.QueryRow("SELECT n FROM things WHERE id = $1", id).Scan(&n)
}

// What is asked ahead is answered as if it were asked in its turn: in a transaction that writes, after what it has done meanwhile, too.
func TestWhatIsAskedAheadIsAnsweredAsInItsTurn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		things(t, db)
		inTx(t, db, func(tx *store.Tx) error {
			return tx.Insert("things", []string{"id", "n"}, [][]any{{"a", 1}, {"b", 2}, {"c", 3}})
		})
		all := []kept{{"a", 1, nil, 6}, {"b", 2, nil, 6}, {"c", 3, nil, 6}}
		err := db.Read(t.Context(), func(tx *store.Tx) error {
			tx.Ahead(
				func() error { _, err := keptRows(tx, 1); return err },
				func() error { _, err := keptRows(tx, 9); return err },
				func() error { _, err := nOf(tx, "gone"); return err },
				func() error { _, err := nOf(tx, "b"); return err })
			for range 2 {
				if n, err := nOf(tx, "a"); n != 1 || err != nil {
					t.Errorf("what was not asked ahead is %d, %v", n, err)
				}
				if rows, err := keptRows(tx, 1); !slices.Equal(rows, all) || err != nil {
					t.Errorf("three rows are %v, %v", rows, err)
				}
				if rows, err := keptRows(tx, 9); rows == nil || len(rows) != 0 || err != nil {
					t.Errorf("no rows are %v, %v", rows, err)
				}
				if _, err := nOf(tx, "gone"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("what is not there: %v", err)
				}
				if n, err := nOf(tx, "b"); n != 2 || err != nil {
					t.Errorf("b is %d, %v", n, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for what, change := range map[string]func(*store.Tx) error{
			"an update":           func(tx *store.Tx) error { _, err := tx.Exec("UPDATE things SET n = n + 1 WHERE id = 'a'"); return err },
			"an update for later": func(tx *store.Tx) error { return tx.Later("UPDATE things SET n = n + 1 WHERE id = 'a'") },
			"an update that answers": func(tx *store.Tx) error {
				var n int64
				return tx.QueryRow("UPDATE things SET n = n + 1 WHERE id = 'a' RETURNING n").Scan(&n)
			},
			"an insert": func(tx *store.Tx) error {
				return errors.Join(tx.Insert("things", []string{"id", "n"}, [][]any{{store.NewID("row", tx.Now), 1}}), tx.Later("UPDATE things SET n = n + 1 WHERE id = 'a'"))
			},
		} {
			for _, sentBefore := range []bool{false, true} {
				inTx(t, db, func(tx *store.Tx) error {
					before, err := nOf(tx, "a")
					if err != nil {
						return err
					}
					tx.Ahead(func() error { _, err := nOf(tx, "a"); return err })
					if sentBefore {
						_, err = nOf(tx, "b")
					}
					if err = errors.Join(err, change(tx)); err != nil {
						return err
					}
					if after, err := nOf(tx, "a"); after != before+1 || err != nil {
						t.Errorf("after %s, sent before it: %v: %d became %d, %v", what, sentBefore, before, after, err)
					}
					return nil
				})
			}
		}
	})
}

// Nothing is done while questions are only noted, and no error of there stays.
func TestNothingIsDoneAhead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		things(t, db)
		inTx(t, db, func(tx *store.Tx) error {
			tx.Ahead(func() error {
				_, err := tx.Exec("INSERT INTO things (id, n) VALUES ('exec', 1)")
				_, locked := tx.TryShare("things")
				return errors.Join(err, locked, tx.Later("INSERT INTO things (id, n) VALUES ('later', 1)"), tx.Own("things"),
					tx.Insert("things", []string{"id", "n"}, [][]any{{"insert", 1}}),
					tx.QueryRow("INSERT INTO things (id, n) VALUES ('answers', 1) RETURNING n").Scan(new(int64)))
			})
			_, err := nOf(tx, "exec")
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("asked after what was not done: %v", err)
			}
			return nil
		})
		inTx(t, db, func(tx *store.Tx) error {
			if rows, err := keptRows(tx, 0); len(rows) != 0 {
				t.Errorf("%v were stored, %v", rows, err)
			}
			return nil
		})
	})
}

// A query that fails ahead fails what it goes with, and the transaction, whatever its function makes of that.
func TestAQueryThatFailsAheadCommitsNothing(t *testing.T) {
	db := storetest.New(t, "postgres")
	things(t, db)
	err := db.InTx(t.Context(), func(tx *store.Tx) error {
		tx.Ahead(func() error { return tx.QueryRow("SELECT n FROM nowhere").Scan(new(int64)) })
		_, err := tx.Exec("INSERT INTO things (id, n) VALUES ('a', 1)")
		if _, with := nOf(tx, "b"); with == nil || errors.Is(with, store.ErrNotFound) {
			t.Errorf("what it went with: %v", with)
		}
		return err
	})
	if err == nil {
		t.Error("the transaction was committed")
	}
	inTx(t, db, func(tx *store.Tx) error {
		if _, err := nOf(tx, "a"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("what was done before is there, %v", err)
		}
		return nil
	})
}
