//go:build !race

package main

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// TestServersServeOnWhileTheNextReleaseMigrates does to a loaded database what a migration of the next release may do (see store's migrate): every
// table gets a column, and there is a new table and a new index. Then a server of this release starts on it.
func TestServersServeOnWhileTheNextReleaseMigrates(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, engine, 1)
			f.load()
			<-f.wire.works
			f.withDB(func(db *store.DB) error { return expand(t, db) })
			f.rest()
			if n := f.front.refused.Load(); n > 0 {
				t.Errorf("%d calls failed while the schema grew", n)
			}
			f.end(syscall.SIGTERM)
			f.finish(f.callers)
			t.Logf("%d calls", len(f.book.calls))
			f.check()
		})
	}
}

// expand is a migration of the next release.
func expand(t *testing.T, db *store.DB) error {
	list := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'goose_%' ORDER BY name`
	if db.Engine() == "postgres" {
		list = `SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename NOT LIKE 'goose_%' ORDER BY tablename`
	}
	var tables []string
	err := db.Read(t.Context(), func(tx *store.Tx) (err error) {
		tables, err = store.All(tx, text, list)
		return err
	})
	if err != nil || len(tables) < 20 {
		return fmt.Errorf("%d tables: %w", len(tables), err)
	}
	for _, table := range tables {
		err = errors.Join(err, step(t, db, `ALTER TABLE `+table+` ADD COLUMN of_next_release TEXT NOT NULL DEFAULT ''`))
	}
	return errors.Join(err,
		step(t, db, `CREATE INDEX next_jobs ON jobs (of_next_release)`),
		step(t, db, `CREATE TABLE of_next_release (id TEXT NOT NULL PRIMARY KEY)`),
		step(t, db, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (90000, TRUE)`))
}

// step runs one statement as migrations do: one that does not get its lock soon gives up and tries again.
func step(t *testing.T, db *store.DB, q string) (err error) {
	for range 60 {
		err = db.InTx(t.Context(), func(tx *store.Tx) error {
			if db.Engine() == "postgres" {
				if _, err := tx.Exec(`SET LOCAL lock_timeout = '1s'`); err != nil {
					return err
				}
			}
			_, err := tx.Exec(q)
			return err
		})
		if err == nil {
			return nil
		}
		<-time.After(100 * time.Millisecond)
	}
	return fmt.Errorf("%s: %w", q, err)
}
