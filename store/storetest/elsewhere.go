package storetest

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

// Elsewhere is an empty place to which a backup of dsn can be restored: a file that does not exist, or a schema of the same name in a
// PostgreSQL database of its own.
func Elsewhere(t testing.TB, dsn string) string {
	t.Helper()
	if !strings.Contains(dsn, "://") {
		return filepath.Join(t.TempDir(), "restored.db")
	}
	db, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	name := "restored_" + strings.ToLower(rand.Text())
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+name+" STRATEGY file_copy"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("dropping a test's database: %v", err)
		}
	})
	address, err := url.Parse(dsn)
	if err != nil {
		t.Fatalf("%s is not an address postgres://…", URLVariable)
	}
	address.Path = "/" + name
	own, err := sql.Open("pgx", address.String())
	if err == nil {
		_, err = own.ExecContext(t.Context(), "CREATE SCHEMA "+address.Query().Get("search_path"))
		err = errors.Join(err, own.Close())
	}
	if err != nil {
		t.Fatalf("making a database to restore to: %v", err)
	}
	return address.String()
}
