package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// contested is a database that gives up soon when another process has it locked, and that process.
func contested(t *testing.T) (db *store.DB, other func(q string)) {
	t.Helper()
	t.Cleanup(store.Impatient())
	path := storetest.DSN(t, "sqlite")
	db = storetest.Open(t, path)
	things(t, db)
	conn, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetMaxOpenConns(1)
	return db, func(q string) {
		t.Helper()
		if _, err := conn.Exec(q); err != nil {
			t.Error(err)
		}
	}
}

func TestALockedDatabaseIsUnavailableUntilItIsFree(t *testing.T) {
	db, other := contested(t)
	other("BEGIN IMMEDIATE")
	if err := db.InTx(t.Context(), adding("a")); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "locked by another process") {
		t.Errorf("writing to a locked database: %v", err)
	}
	if err := db.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Ping of a locked database: %v", err)
	}
	wantIDs(t, db) // reading goes on
	other("ROLLBACK")
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	inTx(t, db, adding("b"))
	wantIDs(t, db, "b")
}

// A writer that cannot get the lock turns away those behind it, who would only wait as long again each.
func TestALockedDatabaseTurnsAllWaitersAway(t *testing.T) {
	db, other := contested(t)
	// The first writer ends its batch by breaking it, so that the second must begin one.
	breaking := func(tx *store.Tx) error {
		_, err := tx.Exec("ROLLBACK")
		other("BEGIN IMMEDIATE")
		return err
	}
	for _, err := range gathered(t, db, breaking, adding("a"), adding("b"), adding("c"))[1:] {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a writer who waited got %v", err)
		}
	}
	other("ROLLBACK")
	inTx(t, db, adding("d"))
	wantIDs(t, db, "d")
}

func TestAFullDiskIsUnavailableUntilThereIsRoom(t *testing.T) {
	db := sqliteThings(t)
	big := func(tx *store.Tx) error {
		_, err := tx.Exec("INSERT INTO things (id) VALUES ($1)", strings.Repeat("x", 1<<20))
		return err
	}
	fill := func() { // for as long as the connection lasts; never below what the file has already
		inTx(t, db, func(tx *store.Tx) error { _, err := tx.Exec("PRAGMA max_page_count = 1"); return err })
	}
	for name, in := range map[string]func(context.Context, func(*store.Tx) error) error{"InTx": db.InTx, "Bulk": db.Bulk} {
		fill()
		if err := in(t.Context(), big); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("%s on a full disk: %v", name, err)
		}
	}
	fill()
	errs := gathered(t, db, adding("a"), func(tx *store.Tx) error { _ = big(tx); return nil }, adding("b"))
	for i, err := range errs[:2] {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("writer %d of a batch that met a full disk got %v", i, err)
		}
	}
	if errs[2] != nil {
		t.Errorf("the writer after the full disk got %v", errs[2])
	}
	wantIDs(t, db, "b")
	inTx(t, db, big)
}

func TestACutConnectionIsUnavailableOnce(t *testing.T) {
	db := storetest.Open(t, storetest.DSN(t, "postgres"))
	things(t, db)
	terminate := func(tx *store.Tx, which string) {
		_, err := tx.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + which)
		if err != nil && which != "pid = pg_backend_pid()" {
			t.Error(err)
		}
	}
	var pid int64
	inTx(t, db, func(tx *store.Tx) error { return tx.QueryRow("SELECT pg_backend_pid()").Scan(&pid) })
	err := db.InTx(t.Context(), func(tx *store.Tx) error {
		if err := add(tx, "a"); err != nil {
			return err
		}
		terminate(tx, "pid = pg_backend_pid()")
		return nil
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a cut connection: %v", err)
	}
	// One that is cut while it lies in the pool goes unnoticed.
	inTx(t, db, func(tx *store.Tx) error { return tx.QueryRow("SELECT pg_backend_pid()").Scan(&pid) })
	other := storetest.Open(t, storetest.DSN(t, "postgres"))
	inTx(t, other, func(tx *store.Tx) error { terminate(tx, fmt.Sprintf("pid = %d", pid)); return nil })
	inTx(t, db, adding("b"))
	wantIDs(t, db, "b")
}

func TestAStoppedServerIsUnavailableUntilItIsBack(t *testing.T) {
	server := storetest.StartPostgres(t)
	db := storetest.Open(t, server.DSN)
	things(t, db)
	inTx(t, db, adding("a"))
	for name, end := range map[string]func() error{"stopped": server.Stop, "killed": server.Kill} {
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			if err := errors.Join(add(tx, name), end()); err != nil {
				t.Error(err)
			}
			return nil
		})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("the commit on a server that was %s: %v", name, err)
		}
		for _, in := range []func(context.Context, func(*store.Tx) error) error{db.InTx, db.Read, db.Bulk} {
			if err := in(t.Context(), adding("no")); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("a transaction on a server that was %s: %v", name, err)
			}
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		wantIDs(t, db, "a")
	}
}

func TestAClosedStoreIsUnavailable(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		db, err := store.Open(t.Context(), storetest.DSN(t, engine))
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		for name, in := range map[string]func(context.Context, func(*store.Tx) error) error{"InTx": db.InTx, "Read": db.Read, "Bulk": db.Bulk} {
			if err := in(t.Context(), adding("a")); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s on %s: %v", name, engine, err)
			}
		}
	}
}

func TestOnlyTheDatabasesFaultsAreUnavailable(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&pgconn.PgError{Code: "08006"}, true},
		{&pgconn.PgError{Code: "25006"}, true},
		{&pgconn.PgError{Code: "40P01"}, true},
		{&pgconn.PgError{Code: "53100"}, true},
		{&pgconn.PgError{Code: "57P01"}, true},
		{&pgconn.PgError{Code: "58030"}, true},
		{&pgconn.PgError{Code: "23505"}, false},
		{&pgconn.PgError{Code: "25P02"}, false},
		{&pgconn.PgError{Code: "42601"}, false},
		{&pgconn.PgError{Code: "22P02"}, false},
		{&pgconn.PgError{}, false},
		{driver.ErrBadConn, true},
		{sql.ErrConnDone, true},
		{io.ErrUnexpectedEOF, true},
		{store.ErrNotFound, false},
		{context.Canceled, false},
		{fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, context.DeadlineExceeded), false},
		{errRefused, false},
		{nil, false},
	} {
		err := store.Unavailable(c.err)
		if errors.Is(err, store.ErrUnavailable) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v became %v", c.err, err)
		}
		if again := store.Unavailable(err); again != err {
			t.Errorf("%v became %v the second time", err, again)
		}
	}
}
