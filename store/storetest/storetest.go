// Package storetest runs storage tests on real databases: SQLite in a file of the test's own, and PostgreSQL in a
// schema of the test's own.
//
// The PostgreSQL is the one at DTCGATE_TEST_DATABASE_URL. Without that variable the package starts a temporary server
// for the test process from the machine's binaries (see Launch). `go run ./store/storetest/postgres -- go test ./...`
// starts one server for all test processes.
package storetest

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver

	"github.com/dtcgate/dtcgate/store"
)

// URLVariable names the PostgreSQL that tests use; each test has a schema of its own in it.
const URLVariable = "DTCGATE_TEST_DATABASE_URL"

// Engines are the engines every storage test runs on.
func Engines(testing.TB) []string { return []string{"sqlite", "postgres"} }

// Each runs fn once per engine, each time as a subtest with an empty, migrated database.
func Each(t *testing.T, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	for _, engine := range Engines(t) {
		t.Run(engine, func(t *testing.T) { fn(t, New(t, engine)) })
	}
}

// New opens an empty, migrated database of the test's own.
func New(t testing.TB, engine string) *store.DB {
	t.Helper()
	if engine == "sqlite" {
		dsn := DSN(t, engine)
		copyMigrated(t, dsn)
		return Open(t, dsn)
	}
	return Open(t, cleanSchema(t))
}

// EachFilled is Each on databases that fill has filled. On SQLite it fills one database a process and key, and copies it: a load takes
// longer than most tests of what is loaded.
func EachFilled(t *testing.T, key string, fill func(context.Context, *store.DB) error, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	for _, engine := range Engines(t) {
		t.Run(engine, func(t *testing.T) {
			if engine == "sqlite" {
				dsn := DSN(t, engine)
				copyFilled(t, key, fill, dsn)
				fn(t, Open(t, dsn))
				return
			}
			db := New(t, engine)
			if err := fill(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			fn(t, db)
		})
	}
}

// filled are the contents of SQLite databases by key.
var filled sync.Map

func copyFilled(t *testing.T, key string, fill func(context.Context, *store.DB) error, path string) {
	t.Helper()
	made, _ := filled.LoadOrStore(key, sync.OnceValues(func() ([]byte, error) { return sqliteFile(fill) }))
	file, err := made.(func() ([]byte, error))()
	if err == nil {
		err = os.WriteFile(path, file, 0o600)
	}
	if err != nil {
		t.Fatalf("making a test database: %v", err)
	}
}

// Open opens dsn and closes it when the test ends.
func Open(t testing.TB, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatalf("opening a test database: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("closing a test database: %v", err)
		}
	})
	return db
}

// DSN is the address of an empty database of the test's own, without this program's schema, which disappears when the test ends.
func DSN(t testing.TB, engine string) string {
	t.Helper()
	if engine == "sqlite" {
		return filepath.Join(t.TempDir(), "test.db")
	}
	name, dsn := newSchema(t)
	t.Cleanup(func() { dropSchema(t, name) })
	return dsn
}

// copyMigrated saves a test the migrations, which cost it more than all the rest.
func copyMigrated(t testing.TB, path string) {
	t.Helper()
	file, err := migrated()
	if err == nil {
		err = os.WriteFile(path, file, 0o600)
	}
	if err != nil {
		t.Fatalf("making a test database: %v", err)
	}
}

// migrated is the content of an empty SQLite database with this program's schema.
var migrated = sync.OnceValues(func() ([]byte, error) {
	return sqliteFile(func(context.Context, *store.DB) error { return nil })
})

// sqliteFile is the content of a SQLite database that fill has filled.
func sqliteFile(fill func(context.Context, *store.DB) error) ([]byte, error) {
	dir, err := os.MkdirTemp("", "dtcgate-sqlite")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "test.db")
	db, err := store.Open(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fill(context.Background(), db), db.Close()); err != nil { // Close moves everything into the one file
		return nil, err
	}
	return os.ReadFile(path)
}

// shared is the process's connection to the PostgreSQL that tests share.
var shared = sync.OnceValues(func() (*sql.DB, error) {
	if os.Getenv(URLVariable) == "" {
		server, err := Launch(false)
		if err != nil {
			return nil, err
		}
		// Nobody stops this server: its guard does when this process ends.
		if err := os.Setenv(URLVariable, server.DSN); err != nil {
			return nil, err
		}
	}
	db, err := sql.Open("pgx", os.Getenv(URLVariable))
	if err != nil {
		return nil, err
	}
	return db, errors.Join(sweep(db), hold(db))
})
