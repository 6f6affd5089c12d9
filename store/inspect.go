package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// Facts are what a database says about itself, for whoever looks after it.
type Facts struct {
	Engine  string // sqlite or postgres
	Schema  int64  // that it has
	Knows   int64  // that this program knows
	Clock   time.Time
	Setting map[string]string // by the engine's own names
}

// Inspect reads the facts of an existing database without bringing its schema up to date, and changes nothing. A SQLite file that is not there is
// fs.ErrNotExist. No error quotes a password.
func Inspect(ctx context.Context, dsn string) (Facts, error) {
	if isPostgres(dsn) {
		return inspectPostgres(ctx, dsn)
	}
	if _, err := os.Stat(dsn); err != nil {
		return Facts{}, err
	}
	return inspectSQLite(ctx, dsn)
}

// settingsOf are asked one by one: a database that does not know one tells the others all the same.
var settingsOf = map[string]map[string]string{
	"sqlite": {
		"version":      "SELECT sqlite_version()",
		"journal_mode": "PRAGMA journal_mode",
		"quick_check":  "PRAGMA quick_check(1)",
	},
	"postgres": {
		"server_version":     "SELECT current_setting('server_version')",
		"server_version_num": "SELECT current_setting('server_version_num')",
		"fsync":              "SELECT current_setting('fsync')",
		"synchronous_commit": "SELECT current_setting('synchronous_commit')",
		"full_page_writes":   "SELECT current_setting('full_page_writes')",
		"max_connections":    "SELECT current_setting('max_connections')",
		"data_checksums":     "SELECT current_setting('data_checksums')",
		"is_superuser":       "SELECT current_setting('is_superuser')",
		"tls":                "SELECT CASE WHEN ssl THEN 'on' ELSE 'off' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
		"local":              "SELECT CASE WHEN inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1' THEN 'on' ELSE 'off' END",
		"pool":               "SELECT '" + strconv.Itoa(poolSize) + "'",
	},
}

func inspectSQLite(ctx context.Context, path string) (f Facts, err error) {
	db, err := sql.Open("sqlite", sqliteDSN(path, readerPragmas)+"&mode=ro")
	if err != nil {
		return f, err
	}
	defer db.Close()
	if f, err = inspect(ctx, "sqlite", db); err == nil {
		f.Clock = time.Now() // it has none of its own
		f.Setting["synchronous"], err = sqliteSynchronous(ctx)
	}
	return f, err
}

// sqliteSynchronous gives what the connections that write are set to, by asking one. It is a setting of connections and not of files.
func sqliteSynchronous(ctx context.Context) (string, error) {
	db, err := sql.Open("sqlite", strings.Replace(sqliteDSN("x", writerPragmas), "file:x", "file::memory:", 1))
	if err != nil {
		return "", err
	}
	defer db.Close()
	return textOf(ctx, db, "PRAGMA synchronous")
}

func inspectPostgres(ctx context.Context, dsn string) (f Facts, err error) {
	cfg, err := postgresConfig(dsn)
	if err != nil {
		return f, err
	}
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	if f, err = inspect(ctx, "postgres", db); err != nil {
		return f, fmt.Errorf("cannot reach PostgreSQL at %s:%d (password not shown): %w", cfg.Host, cfg.Port, err)
	}
	var micros int64
	err = db.QueryRowContext(ctx, "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)").Scan(&micros)
	f.Clock = time.UnixMicro(micros)
	return f, err
}

func inspect(ctx context.Context, engine string, db *sql.DB) (Facts, error) {
	f := Facts{Engine: engine, Setting: map[string]string{}, Knows: knownSchema()}
	if err := db.PingContext(ctx); err != nil {
		return f, err
	}
	for _, name := range slices.Sorted(maps.Keys(settingsOf[engine])) {
		text, err := textOf(ctx, db, settingsOf[engine][name])
		if err != nil && ctx.Err() != nil {
			return f, ctx.Err()
		}
		if err != nil {
			text = "unknown: " + err.Error()
		}
		f.Setting[name] = text
	}
	version, err := textOf(ctx, db, "SELECT CAST(MAX(version_id) AS TEXT) FROM goose_db_version WHERE is_applied")
	if err != nil { // nobody has made a schema yet
		return f, nil //nolint:nilerr // Schema 0 says it
	}
	f.Schema, err = strconv.ParseInt(version, 10, 64)
	return f, err
}

func textOf(ctx context.Context, db *sql.DB, q string) (text string, err error) {
	return text, db.QueryRowContext(ctx, q).Scan(&text)
}

// knownSchema is the newest migration of this program.
func knownSchema() int64 {
	newest := int64(max(appendOnlyVersion, policyVersion, pageKeyVersion, revisionVersion))
	files, err := fs.ReadDir(migrations, "migrations")
	if err != nil {
		panic(err) // they are embedded
	}
	for _, file := range files {
		number, _, _ := strings.Cut(file.Name(), "_")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			newest = max(newest, n)
		}
	}
	return newest
}

// errAddress does not say what it stumbles over, which may be a piece of the password.
var errAddress = errors.New("store: the PostgreSQL address cannot be read (it is not shown, as it may hold a password); " +
	"it is postgres://user:password@host:port/database, with special characters percent-encoded")
