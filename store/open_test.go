package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func TestOpenMakesFilesForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "some where", "50%? #1")
	path := filepath.Join(dir, "dtcgate.db")
	things(t, storetest.Open(t, path))
	for name, want := range map[string]fs.FileMode{"": 0o700, "dtcgate.db": 0o600, "dtcgate.db-wal": 0o600, "dtcgate.db-shm": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %o, want %o", name, got, want)
		}
	}
}

func TestOpenKeepsWhatIsThere(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			dsn := storetest.DSN(t, engine)
			first := storetest.Open(t, dsn)
			things(t, first)
			inTx(t, first, adding("a"))
			wantIDs(t, storetest.Open(t, dsn), "a")
		})
	}
}

func TestOpenByManyAtOnceMigratesOnce(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			dsn := storetest.DSN(t, engine)
			var done sync.WaitGroup
			for range 8 {
				done.Go(func() {
					db, err := store.Open(t.Context(), dsn)
					if err != nil {
						t.Error(err)
						return
					}
					defer db.Close()
					if err := db.Ping(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			done.Wait()
			versions, err := readAll(t, storetest.Open(t, dsn), func(r store.Row) (n int64, err error) { return n, r.Scan(&n) },
				"SELECT version_id FROM goose_db_version GROUP BY version_id HAVING COUNT(*) > 1")
			if err != nil || len(versions) > 0 {
				t.Errorf("migrations that ran twice: %v, %v", versions, err)
			}
		})
	}
}

func TestOpenRefusesANewerSchemaUnlessThatSaysItCanBeUsed(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			dsn := storetest.DSN(t, engine)
			newer := func(usable string) {
				inTx(t, storetest.Open(t, dsn), func(tx *store.Tx) error {
					_, err := tx.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (90000, TRUE)")
					if err == nil {
						_, err = tx.Exec("UPDATE schema_usable SET usable_from = " + usable)
					}
					return err
				})
			}
			newer("40")
			if err := storetest.Open(t, dsn).Ping(t.Context()); err != nil {
				t.Errorf("a schema that this program can use: %v", err)
			}
			newer("90000")
			wantRefusal(t, dsn, "of a newer dtcgate")
		})
	}
}

// A migration that waits for a table has every call wait behind it that comes later.
func TestAMigrationThatWaitsForALockGivesUpAndTriesAgain(t *testing.T) {
	dsn := storetest.DSN(t, "postgres")
	db := storetest.Open(t, dsn)
	inTx(t, db, func(tx *store.Tx) error {
		for _, q := range []string{"DROP INDEX outbox_leased", "DELETE FROM goose_db_version WHERE version_id >= 43"} {
			if _, err := tx.Exec(q); err != nil {
				return err
			}
		}
		return nil
	})
	held, release, released := make(chan bool), make(chan bool), make(chan error, 1)
	go func() {
		released <- db.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec("LOCK TABLE goose_db_version IN SHARE MODE") // it may be read, but no migration noted
			close(held)
			<-release
			return err
		})
	}()
	<-held
	opened := make(chan error, 1)
	go func() {
		other, err := store.Open(t.Context(), dsn)
		if err == nil {
			err = other.Close()
		}
		opened <- err
	}()
	waits := func() bool {
		n, err := readAll(t, db, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) },
			"SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = current_setting('application_name') AND wait_event_type = 'Lock'")
		return err == nil && n[0] > 0
	}
	soon(t, "the migration to wait", waits)
	soon(t, "the migration to wait no more", func() bool { return !waits() })
	close(release)
	if err := errors.Join(<-released, <-opened); err != nil {
		t.Errorf("not migrated when the lock was free: %v", err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	text, other := filepath.Join(dir, "text"), filepath.Join(dir, "other.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database. ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign, err := sql.Open("sqlite", other)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	if _, err := foreign.Exec("CREATE TABLE theirs (x TEXT)"); err != nil {
		t.Fatal(err)
	}
	for dsn, want := range map[string]string{
		text:                                 text + " is not a dtcgate database",
		other:                                other + " is not a dtcgate database",
		dir:                                  "is a directory",
		filepath.Join(text, "x.db"):          "not a directory",
		"":                                   "a path like",
		":memory:":                           "a path like",
		"mysql://root:hunter2@db/x":          "a path like",
		"postgres://u:hunter2@[/x":           "cannot be read",
		"postgres://u:hunter2/@h:1/x":        "cannot be read",
		"postgres://u:hunter2@h:9999999/x":   "cannot be read",
		"postgres://u:hunter2@127.0.0.1:1/x": "cannot reach PostgreSQL at 127.0.0.1:1 (password not shown)",
	} {
		wantRefusal(t, dsn, want)
	}
}

func wantRefusal(t *testing.T, dsn, want string) {
	t.Helper()
	db, err := store.Open(t.Context(), dsn)
	if err == nil {
		db.Close()
		t.Fatalf("%q was opened", dsn)
	}
	if said := fmt.Sprintf("%v %+v", err, err); !strings.Contains(said, want) || strings.Contains(said, "hunter2") {
		t.Errorf("%q: %v; want %q and no password", dsn, err, want)
	}
}

// The rooms may add rows to the audit log's tables; nobody may change or remove them.
func TestTheAuditLogIsAppendOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		inTx(t, db, func(tx *store.Tx) error {
			for _, q := range []string{
				"INSERT INTO audit_entries (id, at, merchant, event, call_id, job_id, actor, tool, body) VALUES ('e', 1, '', '', '', '', '', '', '{}')",
				"INSERT INTO audit_sequence (seq, entry_id) VALUES (1, 'e')",
				"INSERT INTO audit_tree (seq, hashes) VALUES (1, '')",
				"INSERT INTO audit_checkpoints (size, note, at) VALUES (1, '', 1)",
			} {
				if _, err := tx.Exec(q); err != nil {
					return fmt.Errorf("%s: %w", q, err)
				}
			}
			return nil
		})
		for table, column := range map[string]string{"audit_entries": "body", "audit_sequence": "entry_id", "audit_tree": "hashes", "audit_checkpoints": "note"} {
			changes := []string{
				"UPDATE " + table + " SET " + column + " = 'x'", "DELETE FROM " + table,
				"WITH old AS (SELECT 1) UPDATE " + table + " SET " + column + " = " + column,
			}
			if db.Engine() == "sqlite" {
				changes = append(changes, "INSERT OR REPLACE INTO "+table+" SELECT * FROM "+table, "UPDATE OR REPLACE "+table+" SET "+column+" = 'x'")
			} else {
				changes = append(changes, "TRUNCATE "+table+" CASCADE", "WITH gone AS (DELETE FROM "+table+" RETURNING 1) SELECT * FROM gone")
			}
			for _, q := range changes {
				err := db.InTx(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(q); return err })
				if !store.IsConstraint(err) || !strings.Contains(err.Error(), "append-only") {
					t.Errorf("%s: %v", q, err)
				}
			}
		}
	})
}
