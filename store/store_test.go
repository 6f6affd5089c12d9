package store_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// each is storetest.Each with a table to write to.
func each(t *testing.T, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		things(t, db)
		fn(t, db)
	})
}

func TestAFailedStatementDoomsItsTransaction(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			if err := add(tx, "a"); err != nil {
				return err
			}
			if err := add(tx, "a"); !store.IsConstraint(err) || errors.Is(err, store.ErrUnavailable) {
				t.Errorf("the second insert gave %v, want a violated constraint", err)
			}
			if err := add(tx, "b"); !store.IsConstraint(err) {
				t.Errorf("the statement after gave %v, want the first failure", err)
			}
			return nil
		})
		if !store.IsConstraint(err) {
			t.Errorf("InTx gave %v, want the first failure", err)
		}
		wantIDs(t, db)
	})
}

func TestReadRefusesWrites(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		if err := db.Read(t.Context(), adding("a")); err == nil {
			t.Error("Read let a write through")
		}
		wantIDs(t, db)
		inTx(t, db, adding("b"))
		wantIDs(t, db, "b")
	})
}

func TestReadIsASnapshotBesideAWriter(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		inTx(t, db, adding("a"))
		count := func(tx *store.Tx) (n int64) {
			t.Helper()
			if err := tx.QueryRow("SELECT count(*) FROM things").Scan(&n); err != nil {
				t.Error(err)
			}
			return n
		}
		inTx(t, db, func(writer *store.Tx) error {
			if err := add(writer, "b"); err != nil {
				return err
			}
			return db.Read(t.Context(), func(tx *store.Tx) error {
				if n := count(tx); n != 1 {
					t.Errorf("beside an open writer Read sees %d things, want 1", n)
				}
				return nil
			})
		})
		err := db.Read(t.Context(), func(tx *store.Tx) error {
			before := count(tx)
			inTx(t, db, adding("c"))
			if after := count(tx); before != 2 || after != 2 {
				t.Errorf("Read sees %d, then %d things, want 2 and 2", before, after)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAnEndedContextUndoesTheTransaction(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.InTx(ctx, func(tx *store.Tx) error {
			err := add(tx, "a")
			cancel()
			return err
		})
		if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("cancelled while writing: %v", err)
		}
		for name, in := range map[string]func(context.Context, func(*store.Tx) error) error{
			"InTx": db.InTx, "Read": db.Read, "Bulk": db.Bulk,
		} {
			err := in(ctx, func(*store.Tx) error { t.Error(name + " began"); return nil })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s with an ended context: %v", name, err)
			}
		}
		wantIDs(t, db)
	})
}

func TestAnEndedContextStopsARunningBulkOrRead(t *testing.T) {
	const endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
	each(t, func(t *testing.T, db *store.DB) {
		for name, in := range map[string]func(context.Context, func(*store.Tx) error) error{"Bulk": db.Bulk, "Read": db.Read} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			err := in(ctx, func(tx *store.Tx) error {
				var n int64
				return tx.QueryRow(endless).Scan(&n)
			})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
		}
		inTx(t, db, adding("a"))
		wantIDs(t, db, "a")
	})
}

func TestATransactionEndsWithItsFunction(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		var leaked *store.Tx
		inTx(t, db, func(tx *store.Tx) error { leaked = tx; return add(tx, "a") })
		inTx(t, db, func(*store.Tx) error {
			if err := add(leaked, "b"); err == nil {
				t.Error("a transaction that had ended wrote into another")
			}
			return nil
		})
		wantIDs(t, db, "a")
	})
}

func TestNoStatementWhileRowsAreRead(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		inTx(t, db, adding("a"))
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := store.All(tx, func(store.Row) (int, error) { return 0, add(tx, "b") }, "SELECT id FROM things")
			return err
		})
		if err == nil {
			t.Error("a statement ran while rows were being read")
		}
		wantIDs(t, db, "a")
	})
}

func TestOneAndAll(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		scan := func(r store.Row) (id string, err error) { return id, r.Scan(&id) }
		inTx(t, db, func(tx *store.Tx) error {
			if all, err := store.All(tx, scan, "SELECT id FROM things"); err != nil || all == nil || len(all) != 0 {
				t.Errorf("All of nothing: %#v, %v", all, err)
			}
			_, err := store.One(tx, scan, "SELECT id FROM things WHERE id = $1", "a")
			if !errors.Is(err, store.ErrNotFound) || !errors.Is(err, sql.ErrNoRows) {
				t.Errorf("One of nothing: %v", err)
			}
			if id, err := store.One(tx, scan, "INSERT INTO things (id) VALUES ($1) RETURNING id", "a"); err != nil || id != "a" {
				t.Errorf("One of a written row: %q, %v", id, err)
			}
			if err := add(tx, "b"); err != nil {
				return err
			}
			all, err := store.All(tx, scan, "SELECT id FROM things ORDER BY id")
			if diff := cmp.Diff([]string{"a", "b"}, all); diff != "" {
				t.Errorf("All (-want +got):\n%s", diff)
			}
			return err
		})
	})
}

type named string

func TestInsertLoadsManyRows(t *testing.T) {
	for _, n := range []int{0, 1, 49, 50, 64, 65, 1000} {
		each(t, func(t *testing.T, db *store.DB) {
			var rows [][]any
			for i := range n {
				rows = append(rows, []any{named(store.NewID("row", time.Now())), i})
			}
			inTx(t, db, func(tx *store.Tx) error { return tx.Insert("things", []string{"id", "n"}, rows) })
			var count, sum int64
			err := db.Read(t.Context(), func(tx *store.Tx) error {
				return tx.QueryRow("SELECT count(*), CAST(COALESCE(SUM(n), 0) AS BIGINT) FROM things").Scan(&count, &sum)
			})
			if err != nil || count != int64(n) || sum != int64(n*(n-1)/2) {
				t.Errorf("inserted %d rows, found %d with sum %d, %v", n, count, sum, err)
			}
		})
	}
}

func TestInsertIsPartOfItsTransaction(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		rows := make([][]any, 200)
		for i := range rows {
			rows[i] = []any{store.NewID("row", time.Now()), nil}
		}
		err := db.Bulk(t.Context(), func(tx *store.Tx) error {
			return errors.Join(tx.Insert("things", []string{"id", "n"}, rows), errRefused)
		})
		if !errors.Is(err, errRefused) {
			t.Error(err)
		}
		rows[150] = rows[0]
		err = db.Bulk(t.Context(), func(tx *store.Tx) error { return tx.Insert("things", []string{"id", "n"}, rows) })
		if !store.IsConstraint(err) {
			t.Errorf("a row twice: %v", err)
		}
		rows[150] = []any{"short"}
		err = db.Bulk(t.Context(), func(tx *store.Tx) error { return tx.Insert("things", []string{"id", "n"}, rows) })
		if err == nil || !strings.Contains(err.Error(), "row 150") {
			t.Errorf("a row too short: %v", err)
		}
		wantIDs(t, db)
	})
}

func TestTimesAreMicrosecondsInUTC(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		zone := time.FixedZone("CET", 3600)
		db.Now = func() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 123456789, zone) }
		want := time.Date(2026, 11, 22, 9, 0, 0, 123456000, time.UTC)
		inTx(t, db, func(tx *store.Tx) error {
			if tx.Now != want {
				t.Errorf("Now is %v, want %v", tx.Now, want)
			}
			_, err := tx.Exec("INSERT INTO things (id, n) VALUES ($1, $2), ($3, $4)", "now", store.Micros(tx.Now), "never", store.Micros(time.Time{}))
			return err
		})
		got, err := readAll(t, db, func(r store.Row) (at time.Time, err error) {
			at = time.Now() // NULL must overwrite it
			return at, r.Scan(store.At(&at))
		}, "SELECT n FROM things ORDER BY id")
		if diff := cmp.Diff([]time.Time{{}, want}, got); diff != "" || err != nil {
			t.Errorf("times (-want +got):\n%s%v", diff, err)
		}
		var at time.Time
		if err := store.At(&at).Scan("2026-11-22"); err == nil {
			t.Error("a text was read as a time")
		}
	})
}

func readAll[T any](t *testing.T, db *store.DB, scan func(store.Row) (T, error), q string, args ...any) (all []T, err error) {
	err = db.Read(t.Context(), func(tx *store.Tx) error {
		all, err = store.All(tx, scan, q, args...)
		return err
	})
	return all, err
}

// The traps of the common SQL: what other drivers bind wrongly or count differently.
func TestBothEnginesReadTheSameSQL(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		inTx(t, db, func(tx *store.Tx) error { return errors.Join(add(tx, "a"), add(tx, "b"), add(tx, "c")) })
		scan := func(r store.Row) (id string, err error) { return id, r.Scan(&id) }
		for _, c := range []struct {
			q    string
			args []any
			want []string
		}{
			{"SELECT id FROM things WHERE n = $2 AND id = $1", []any{"a", 1}, []string{"a"}},
			{"SELECT id FROM things WHERE id = $1 OR id > $1 AND n = $2 ORDER BY id", []any{"b", 1}, []string{"b", "c"}},
			{"SELECT id FROM things WHERE (n, id) > ($1, $2) ORDER BY n, id LIMIT $3", []any{1, "a", 1}, []string{"b"}},
			{"SELECT id FROM things WHERE n = CAST($1 AS BIGINT) + $2 ORDER BY id", []any{0, 1}, []string{"a", "b", "c"}},
			{"INSERT INTO things (id, n) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET n = excluded.n RETURNING id", []any{"a", 5}, []string{"a"}},
			{"UPDATE things SET n = 9 WHERE id = (SELECT id FROM things WHERE n = 1 ORDER BY id LIMIT 1" + " {SKIP}) AND n = 1 RETURNING id", nil, []string{"b"}},
		} {
			inTx(t, db, func(tx *store.Tx) error {
				got, err := store.All(tx, scan, strings.Replace(c.q, "{SKIP}", tx.SkipLocked(), 1), c.args...)
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.q, diff)
				}
				return err
			})
		}
	})
}

func TestRowCountsDecide(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		inTx(t, db, func(tx *store.Tx) error {
			for _, c := range []struct {
				q    string
				want int64
			}{
				{"INSERT INTO things (id, n) VALUES ('a', 1) ON CONFLICT DO NOTHING", 1},
				{"INSERT INTO things (id, n) VALUES ('a', 1) ON CONFLICT DO NOTHING", 0},
				{"UPDATE things SET n = 2 WHERE id = 'a' AND n = 1", 1},
				{"UPDATE things SET n = 2 WHERE id = 'a' AND n = 1", 0},
				{"UPDATE things SET n = 2 WHERE id = 'a'", 1},
				{"DELETE FROM things WHERE id = 'b'", 0},
			} {
				if n, err := tx.Exec(c.q); n != c.want || err != nil {
					t.Errorf("%s: %d rows, %v; want %d", c.q, n, err, c.want)
				}
			}
			return nil
		})
	})
}
