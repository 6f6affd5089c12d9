package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the "sqlite" driver
)

// applicationID marks a SQLite file as dtcgate's: "dtcg".
const applicationID = 0x64746367

// The texts that differ, by engine.
var (
	skipLocked = map[string]string{"postgres": " FOR UPDATE SKIP LOCKED"}
	lockRows   = map[string]string{"postgres": " FOR UPDATE"}

	// Advisory locks of PostgreSQL go by a number and end with the transaction. Two names with one number only wait for each other.
	shareName    = map[string]string{"postgres": "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))"}
	tryShareName = map[string]string{"postgres": "SELECT CAST(pg_try_advisory_xact_lock_shared(hashtextextended($1, 0)) AS TEXT)"}
	ownName      = map[string]string{"postgres": "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"}

	// pings write something that is flushed at the commit and leaves no trace.
	pings = map[string]string{
		"sqlite":   "PRAGMA application_id = " + strconv.Itoa(applicationID),
		"postgres": "SELECT pg_logical_emit_message(true, 'dtcgate', 'ping')",
	}
)

// Pragmas of SQLite's connections. FULL because a commit that was answered must survive a power cut; recursive_triggers
// because without it REPLACE would delete rows past the append-only triggers.
var (
	readerPragmas = []string{"busy_timeout(5000)", "query_only(1)", "cache_size(-512)"}
	writerPragmas = []string{
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "recursive_triggers(1)",
		"cache_size(-4000)", "journal_size_limit(67108864)",
	}
)

func sqliteDSN(path string, pragmas []string) string {
	q := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	return "file:" + (&url.URL{Path: filepath.Clean(path)}).EscapedPath() + "?" + q.Encode()
}

//go:embed migrations
var migrations embed.FS

// appendOnlyVersion is the migration that protects the audit log's tables, the one step the engines spell differently.
const appendOnlyVersion = 3

// migrate brings the database to this program's schema. Each migration is a transaction with the note that it is done.
//
// Servers of the release before go on serving while it runs and after, until they are restarted. So a migration only adds: tables, indexes,
// and columns that may be left out of an INSERT (NOT NULL with a DEFAULT). What nothing reads any more is removed, renamed or made stricter by a
// later release, which then says from which schema on a program can use the result (table schema_usable, see refuseNewer).
func migrate(ctx context.Context, engine string, db *sql.DB) error {
	dialect, locker := goose.DialectSQLite3, goose.ProviderOption(nil)
	if engine == "postgres" {
		dialect, locker = goose.DialectPostgres, goose.WithSessionLocker(schemaLock{})
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	options := []goose.ProviderOption{
		goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(
			goose.NewGoMigration(appendOnlyVersion, &goose.GoFunc{RunTx: appendOnly(engine, appendOnlyTables...)}, nil),
			goose.NewGoMigration(policyVersion, &goose.GoFunc{RunTx: appendOnly(engine, "policies")}, nil),
			goose.NewGoMigration(horizonVersion, &goose.GoFunc{RunTx: permitHorizons(engine)}, nil),
			goose.NewGoMigration(pageKeyVersion, &goose.GoFunc{RunTx: makePageKey}, nil),
			goose.NewGoMigration(revisionVersion, &goose.GoFunc{RunTx: countRevisions(engine)}, nil),
			goose.NewGoMigration(layoutVersion, &goose.GoFunc{RunTx: layOut(engine)}, nil)),
	}
	if locker != nil {
		options = append(options, locker)
	}
	p, err := goose.NewProvider(dialect, db, files, options...)
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	if err := up(ctx, p); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	return refuseNewer(ctx, db, p)
}

// A migration of PostgreSQL that waits for a table has all calls that come after it wait behind it. So it waits for lockTime at most and is
// then undone, and tried again when those calls have passed.
const (
	lockTime  = "1s"
	lockPause = 500 * time.Millisecond
	lockTries = 60
)

// lockNotAvailable is PostgreSQL's SQLSTATE for a lock_timeout.
const lockNotAvailable = "55P03"

func up(ctx context.Context, p *goose.Provider) error {
	for try := 1; ; try++ {
		_, err := p.Up(ctx)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != lockNotAvailable || try == lockTries {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(lockPause):
		}
	}
}

// refuseNewer keeps an older program from writing into a schema that it cannot use.
func refuseNewer(ctx context.Context, db *sql.DB, p *goose.Provider) error {
	has, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("reading the database's version: %w", err)
	}
	sources := p.ListSources()
	knows := sources[len(sources)-1].Version
	if has <= knows {
		return nil
	}
	var usable int64
	if err := db.QueryRowContext(ctx, "SELECT usable_from FROM schema_usable").Scan(&usable); err != nil {
		return fmt.Errorf("reading from which version on the database's schema can be used: %w", err)
	}
	if usable > knows {
		return fmt.Errorf("store: the database has schema %d, of a newer dtcgate, which can be used from %d on; this one knows %d: use the newer program",
			has, usable, knows)
	}
	return nil
}

// schemaLock lets one process at a time migrate a PostgreSQL schema. SQLite's is lockFile.
type schemaLock struct{}

const schemaLockKey = "hashtextextended('dtcgate ' || current_schema(), 0)"

func (schemaLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock("+schemaLockKey+")")
	if err == nil {
		_, err = conn.ExecContext(ctx, "SET lock_timeout = '"+lockTime+"'") // the migrations run on this connection
	}
	return err
}

func (schemaLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, reset := conn.ExecContext(ctx, "RESET lock_timeout")
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock("+schemaLockKey+")")
	return errors.Join(reset, err)
}

// byteOrder gives PostgreSQL SQLite's name for comparing text by its bytes, so that a column can ask both for it.
const byteOrder = `DO $$ BEGIN
	IF to_regcollation('"binary"') IS NULL THEN
		PERFORM pg_advisory_xact_lock(` + schemaLockKey + `);
		CREATE COLLATION IF NOT EXISTS "binary" FROM pg_catalog."C";
	END IF;
END $$`

// pageKeyVersion is the migration that makes the key which seals cursors.
const pageKeyVersion = 16

// makePageKey makes the key once for all processes on the database. Who reads it reads the pages, too.
func makePageKey(ctx context.Context, tx *sql.Tx) error {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return fmt.Errorf("making the key of cursors: %w", err)
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO page_keys (id, secret) VALUES ('cursors', '"+hex.EncodeToString(secret)+"')")
	return err
}

// appendOnlyTables are never changed once written.
var appendOnlyTables = []string{"audit_entries", "audit_sequence", "audit_tree", "audit_checkpoints"}

// policyVersion is the migration that protects the versions of policies.
const policyVersion = 28

// appendOnly has the database itself refuse to change or remove rows of these tables, whoever asks.
func appendOnly(engine string, tables ...string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		for _, table := range tables {
			for _, q := range appendOnlySQL(engine, table) {
				if _, err := tx.ExecContext(ctx, q); err != nil {
					return fmt.Errorf("protecting %s: %w", table, err)
				}
			}
		}
		return nil
	}
}

// revisionVersion is the migration that has the database count the revision of a merchant's rights.
const revisionVersion = 39

// rights are the tables that say who may do what, each with the columns of which a change is one of rights; "" for all.
var rights = []struct{ table, columns string }{
	{"agent_keys", ""},
	{"sub_tokens", ""},
	{"roles", ""},
	{"person_roles", ""},
	{"freezes", ""},
	{"people", "revoked_at, version, token_scopes"},
	{"merchants", "policy_version, policy_shadow"},
}

// countRevisions has the database move merchants.revision because what is kept in memory is good for one revision: with each row of these tables that
// an UPDATE or (but of merchants, without which nobody is let in) a DELETE reaches, and with each INSERT of a person's role or a freeze, whoever sends it.
//
// An INSERT into the others changes nobody's rights that were read before it: every link of a chain that was read has its row, ids and secrets are
// unique, and a role that is given is there (a foreign key says so). What fires no trigger of a row moves nothing: SQLite's INSERT OR REPLACE over
// a row that is there, PostgreSQL's TRUNCATE, triggers that were turned off. The gate does none of that; who does it by hand moves the revision by hand.
func countRevisions(engine string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		for _, r := range rights {
			for _, q := range revisionSQL(engine, r.table, r.columns) {
				if _, err := tx.ExecContext(ctx, q); err != nil {
					return fmt.Errorf("counting the revisions of %s: %w", r.table, err)
				}
			}
		}
		return nil
	}
}

// revisionSQL makes a trigger for every kind of change that may matter, see countRevisions.
func revisionSQL(engine, table, columns string) (all []string) {
	id, kinds := "merchant_id", map[string]string{"UPDATE": "OLD", "DELETE": "OLD"}
	switch table {
	case "merchants":
		id, kinds = "id", map[string]string{"UPDATE": "OLD"}
	case "person_roles", "freezes":
		kinds["INSERT"] = "NEW"
	}
	for kind, row := range kinds {
		of := ""
		if kind == "UPDATE" && columns != "" {
			of = " OF " + columns
		}
		t := strings.NewReplacer("{t}", table, "{kind}", kind, "{of}", of, "{name}", "revision_"+table+"_"+strings.ToLower(kind),
			"{move}", "UPDATE merchants SET revision = revision + 1 WHERE id = "+row+"."+id+";")
		if engine == "sqlite" {
			all = append(all, t.Replace("CREATE TRIGGER {name} AFTER {kind}{of} ON {t} BEGIN {move} END"))
			continue
		}
		all = append(all,
			t.Replace("CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {move} RETURN NULL; END $$"),
			t.Replace("CREATE TRIGGER {name} AFTER {kind}{of} ON {t} FOR EACH ROW EXECUTE FUNCTION {name}()"))
	}
	return all
}

func appendOnlySQL(engine, table string) []string {
	t := strings.NewReplacer("{t}", table)
	if engine == "sqlite" {
		return []string{
			t.Replace("CREATE TRIGGER {t}_update BEFORE UPDATE ON {t} BEGIN SELECT RAISE(ABORT, '{t} is append-only'); END"),
			t.Replace("CREATE TRIGGER {t}_delete BEFORE DELETE ON {t} BEGIN SELECT RAISE(ABORT, '{t} is append-only'); END"),
		}
	}
	return []string{
		// 23001 is restrict_violation, which IsConstraint knows, as it does SQLite's RAISE.
		`CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = '23001'; END $$`,
		t.Replace("CREATE TRIGGER {t}_change BEFORE UPDATE OR DELETE ON {t} FOR EACH ROW EXECUTE FUNCTION append_only()"),
		t.Replace("CREATE TRIGGER {t}_truncate BEFORE TRUNCATE ON {t} FOR EACH STATEMENT EXECUTE FUNCTION append_only()"),
	}
}
