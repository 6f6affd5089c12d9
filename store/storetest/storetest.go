// Package storetest runs storage tests on real databases: SQLite in a file of the test's own, and PostgreSQL in a
// schema of the test's own.
//
// The PostgreSQL is the one at DTCGATE_TEST_DATABASE_URL. Without that variable the package starts a temporary server
// for the test process from the machine's binaries (see Launch). `go run ./store/storetest/postgres -- go test ./...`
// starts one server for all test processes.
package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver

	"github.com/dtcgate/dtcgate/store"
)

// URLVariable names the PostgreSQL that tests use; each test makes and drops a schema in it.
const URLVariable = "DTCGATE_TEST_DATABASE_URL"

// Engines are the engines every storage test runs on.
func Engines(testing.TB) []string { return []string{"sqlite", "postgres"} }

// Each runs fn once per engine, each time as a subtest with an empty, migrated database.
func Each(t *testing.T, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	for _, engine := range Engines(t) {
		t.Run(engine, func(t *testing.T) {
			dsn := DSN(t, engine)
			if engine == "sqlite" {
				copyMigrated(t, dsn)
			}
			fn(t, Open(t, dsn))
		})
	}
}

// EachFilled is Each on databases that fill has filled. On SQLite it fills one database a process and key, and copies it: a load takes
// longer than most tests of what is loaded.
func EachFilled(t *testing.T, key string, fill func(context.Context, *store.DB) error, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	for _, engine := range Engines(t) {
		t.Run(engine, func(t *testing.T) {
			dsn := DSN(t, engine)
			if engine == "sqlite" {
				copyFilled(t, key, fill, dsn)
			}
			db := Open(t, dsn)
			if engine != "sqlite" {
				if err := fill(t.Context(), db); err != nil {
					t.Fatal(err)
				}
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

// DSN is the address of an empty database of the test's own, which disappears when the test ends.
func DSN(t testing.TB, engine string) string {
	t.Helper()
	if engine == "sqlite" {
		return filepath.Join(t.TempDir(), "test.db")
	}
	return schema(t)
}

// copyMigrated saves a test the migrations, which cost it more than all the rest.
func copyMigrated(t *testing.T, path string) {
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
	return sql.Open("pgx", os.Getenv(URLVariable))
})

// schema makes a PostgreSQL schema and returns an address whose search_path is that schema.
func schema(t testing.TB) string {
	t.Helper()
	db, err := shared()
	if err != nil {
		t.Fatalf("starting PostgreSQL for tests: %v", err)
	}
	name := "test_" + rand.Text()
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf("CREATE SCHEMA %q", name)); err != nil {
		t.Fatalf("making a schema in %s: %v", URLVariable, err)
	}
	t.Cleanup(func() {
		if _, err := db.ExecContext(context.Background(), fmt.Sprintf("DROP SCHEMA %q CASCADE", name)); err != nil {
			t.Errorf("dropping a test's schema: %v", err)
		}
	})
	dsn, err := url.Parse(os.Getenv(URLVariable))
	if err != nil {
		t.Fatalf("%s is not an address postgres://…", URLVariable)
	}
	q := dsn.Query()
	q.Set("search_path", `"`+name+`"`)
	dsn.RawQuery = q.Encode()
	return dsn.String()
}
