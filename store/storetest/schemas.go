package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A migrated PostgreSQL schema costs 200 ms of processor to make and drop, more than most tests that use it. So it is used again when
// it can be shown to be as new: see emptied.

// clean are schemas as the migrations leave them, which no test uses.
var clean struct {
	sync.Mutex
	schemas []migratedSchema
}

type migratedSchema struct {
	name, dsn string
	tables    string // their names, with spaces between them
	made      string // what it is made of and what the migrations put into it: the answer to likeness
}

// cleanSchema is the address of a migrated PostgreSQL schema that nobody else uses until the test ends.
func cleanSchema(t testing.TB) string {
	t.Helper()
	s, again := reused()
	if !again {
		s.name, s.dsn = newSchema(t)
		if err := s.migrate(t.Context()); err != nil {
			t.Fatalf("making a test database: %v", err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() || !s.emptied(context.Background()) {
			dropSchema(t, s.name)
			return
		}
		clean.Lock()
		defer clean.Unlock()
		clean.schemas = append(clean.schemas, s)
	})
	return s.dsn
}

// process begins the names of this process's schemas.
var process = "test_" + rand.Text()[:12] + "_"

const processLock = "hashtextextended($1, 0)"

// hold tells other processes that the schemas of this one are in use, until it ends, however it does.
func hold(db *sql.DB) error {
	conn, err := db.Conn(context.Background()) // never closed
	if err == nil {
		_, err = conn.ExecContext(context.Background(), "SELECT pg_advisory_lock("+processLock+")", process)
	}
	return err
}

// sweep drops the schemas of processes that have ended.
func sweep(db *sql.DB) error {
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var names string
	err = conn.QueryRowContext(ctx, `SELECT COALESCE(string_agg(nspname, ' '), '') FROM pg_namespace WHERE nspname ~ '^test_[A-Z2-7]{12}_[A-Z2-7]+$'`).Scan(&names)
	for _, name := range strings.Fields(names) {
		if err == nil {
			err = dropAbandoned(ctx, conn, name)
		}
	}
	return err
}

func dropAbandoned(ctx context.Context, conn *sql.Conn, name string) error {
	owner := name[:len(process)]
	var ended bool
	if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock("+processLock+")", owner).Scan(&ended); err != nil || !ended {
		return err
	}
	_, err := conn.ExecContext(ctx, fmt.Sprintf("DROP SCHEMA IF EXISTS %q CASCADE", name))
	_, unlock := conn.ExecContext(ctx, "SELECT pg_advisory_unlock("+processLock+")", owner)
	return errors.Join(err, unlock)
}

func reused() (s migratedSchema, ok bool) {
	clean.Lock()
	defer clean.Unlock()
	if last := len(clean.schemas) - 1; last >= 0 {
		s, ok, clean.schemas = clean.schemas[last], true, clean.schemas[:last]
	}
	return s, ok
}

// newSchema makes a PostgreSQL schema and returns its name, and an address whose search_path is that schema.
func newSchema(t testing.TB) (name, dsn string) {
	t.Helper()
	db, err := shared()
	if err != nil {
		t.Fatalf("starting PostgreSQL for tests: %v", err)
	}
	name = process + rand.Text()
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf("CREATE SCHEMA %q", name)); err != nil {
		t.Fatalf("making a schema in %s: %v", URLVariable, err)
	}
	address, err := url.Parse(os.Getenv(URLVariable))
	if err != nil {
		t.Fatalf("%s is not an address postgres://…", URLVariable)
	}
	q := address.Query()
	q.Set("search_path", `"`+name+`"`)
	q.Set("application_name", name) // tells its sessions from others
	address.RawQuery = q.Encode()
	return name, address.String()
}

func dropSchema(t testing.TB, name string) {
	t.Helper()
	db, err := shared()
	if err == nil {
		_, err = db.ExecContext(context.Background(), fmt.Sprintf("DROP SCHEMA %q CASCADE", name))
	}
	if err != nil {
		t.Errorf("dropping a test's schema: %v", err)
	}
}

func (s *migratedSchema) migrate(ctx context.Context) error {
	db, err := store.Open(ctx, s.dsn)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	return s.tx(ctx, func(tx *sql.Tx) (err error) {
		var filled string
		if err := tx.QueryRowContext(ctx, filledTables).Scan(&filled); err != nil {
			return err
		}
		if filled != "" {
			return fmt.Errorf("migrations put rows into %s: emptyTables and likeness must know", filled)
		}
		if err := tx.QueryRowContext(ctx, tables).Scan(&s.tables); err != nil {
			return err
		}
		s.made, err = likeness(ctx, tx)
		return err
	})
}

// emptied brings a schema back to what the migrations left, and reports whether it is that: no session uses it any more, nothing but
// tables was added, nothing altered or dropped, the rows that migrations wrote are the same, and no table has grown so that the next test would be slower.
func (s *migratedSchema) emptied(ctx context.Context) bool {
	if !s.abandoned(ctx) {
		return false
	}
	var made string
	err := s.tx(ctx, func(tx *sql.Tx) (err error) {
		if err := s.dropAdded(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, emptyTables); err != nil {
			return err
		}
		made, err = likeness(ctx, tx)
		return err
	})
	return err == nil && made == s.made
}

// dropAdded drops the tables that a test added.
func (s *migratedSchema) dropAdded(ctx context.Context, tx *sql.Tx) error {
	var now string
	if err := tx.QueryRowContext(ctx, tables).Scan(&now); err != nil {
		return err
	}
	before := strings.Fields(s.tables)
	for _, name := range strings.Fields(now) {
		if slices.Contains(before, name) {
			continue
		}
		if _, err := tx.ExecContext(ctx, fmt.Sprintf("DROP TABLE %q", name)); err != nil {
			return err
		}
	}
	return nil
}

// abandoned reports whether all sessions of the schema have ended. A session that was closed takes the server a moment to end.
func (s *migratedSchema) abandoned(ctx context.Context) bool {
	db, err := shared()
	for range 100 {
		var sessions int
		if err == nil {
			err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = $1", s.name).Scan(&sessions)
		}
		if err != nil || sessions == 0 {
			return err == nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	return false
}

func (s *migratedSchema) tx(ctx context.Context, fn func(*sql.Tx) error) error {
	db, err := shared()
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`SET LOCAL search_path = %q`, s.name)); err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

const tables = `SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = current_schema()`

// filledTables names the tables with rows that emptyTables would delete.
const filledTables = `SELECT COALESCE(string_agg(c.relname, ', '), '') FROM pg_class c
	WHERE c.relnamespace = CAST(quote_ident(current_schema()) AS regnamespace) AND c.relkind = 'r'
		AND c.relname NOT LIKE 'goose_%' AND c.relname NOT IN ('page_keys', 'schema_usable') AND pg_relation_size(c.oid) > 0`

// emptyTables deletes the rows that no migration wrote, without the triggers that forbid it, and starts the sequences again. Tables that
// migrations fill are left to likeness. It fails for a table above 1 MB.
const emptyTables = `DO $$ DECLARE r RECORD; filled BOOLEAN; BEGIN
	SET LOCAL session_replication_role = replica;
	FOR r IN SELECT c.relname, c.relkind, pg_relation_size(c.oid) AS size FROM pg_class c
		WHERE c.relnamespace = CAST(quote_ident(current_schema()) AS regnamespace) AND c.relkind IN ('r', 'S')
			AND c.relname NOT LIKE 'goose_%' AND c.relname NOT IN ('page_keys', 'schema_usable')
	LOOP
		IF r.relkind = 'S' THEN
			PERFORM setval(CAST(quote_ident(r.relname) AS regclass), 1, FALSE);
		ELSIF r.size > 1048576 THEN
			RAISE EXCEPTION '% has grown', r.relname;
		ELSIF r.size > 0 THEN
			EXECUTE format('DELETE FROM %I', r.relname);
		END IF;
	END LOOP;
END $$`

// likeness is a hash of what is in a schema: relations, columns, constraints, triggers and functions, and the rows of tables that
// migrations fill.
func likeness(ctx context.Context, tx *sql.Tx) (hash string, err error) {
	return hash, tx.QueryRowContext(ctx, `WITH ours AS (SELECT CAST(quote_ident(current_schema()) AS regnamespace) AS id),
		parts AS (
			SELECT concat_ws(' ', 'relation', c.oid, c.relname, c.relkind, c.relhastriggers, c.relchecks, c.relnatts) AS part
				FROM pg_class c, ours WHERE c.relnamespace = ours.id
			UNION ALL SELECT concat_ws(' ', 'column', a.attrelid, a.attname, a.atttypid, a.attnotnull, a.attisdropped, a.atthasdef)
				FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, ours WHERE c.relnamespace = ours.id
			UNION ALL SELECT concat_ws(' ', 'constraint', o.oid, o.conname) FROM pg_constraint o, ours WHERE o.connamespace = ours.id
			UNION ALL SELECT concat_ws(' ', 'trigger', g.oid, g.tgname, g.tgenabled)
				FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid, ours WHERE c.relnamespace = ours.id
			UNION ALL SELECT concat_ws(' ', 'function', p.oid, p.prosrc) FROM pg_proc p, ours WHERE p.pronamespace = ours.id
			UNION ALL SELECT 'migration ' || CAST(v AS TEXT) FROM goose_db_version v
			UNION ALL SELECT 'key ' || CAST(k AS TEXT) FROM page_keys k
			UNION ALL SELECT 'usable ' || CAST(u AS TEXT) FROM schema_usable u
		)
		SELECT md5(string_agg(part, chr(10) ORDER BY part)) FROM parts`).Scan(&hash)
}
