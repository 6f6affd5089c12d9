package witness

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// A Database keeps checkpoints in a table of its own in another database. It is not opened by store.Open, which would make
// a gate's whole schema there, or move that of another gate to this program's version. Once the table is there, a role
// that may SELECT and INSERT is enough, and better: it cannot take back what it has copied.
type Database struct {
	db  *sql.DB
	key string // whose checkpoints: several logs may share the table
}

// table holds checkpoints of any logs. All but the time is its key, so that two that contradict each other are both kept.
const table = `CREATE TABLE IF NOT EXISTS dtcgate_checkpoints (
	key  TEXT   NOT NULL, -- name and hash of the key that signed
	size BIGINT NOT NULL,
	note TEXT   NOT NULL,
	at   BIGINT NOT NULL, -- unix microseconds
	PRIMARY KEY (key, size, note)
)`

// errAddress quotes nothing: the address may hold a password.
var errAddress = errors.New("its address cannot be read; it is postgres://user:password@host:port/database or the path of a SQLite file")

// OpenDatabase prepares a database for the checkpoints of the log with this public key. It asks nothing yet: one that is
// out of reach now may be there later.
func OpenDatabase(dsn, publicKey string) (*Database, error) {
	db, err := openForeign(dsn)
	if err != nil {
		return nil, errAddress
	}
	db.SetMaxOpenConns(1)
	return &Database{db, keyName(publicKey)}, nil
}

func openForeign(dsn string) (*sql.DB, error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		c, err := pgx.ParseConfig(dsn)
		if err != nil {
			return nil, err
		}
		return stdlib.OpenDB(*c), nil
	}
	if dsn == "" || strings.Contains(dsn, "://") {
		return nil, errAddress
	}
	path := (&url.URL{Path: filepath.Clean(dsn)}).EscapedPath()
	return sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(2000)&_pragma=synchronous(FULL)")
}

// keyName is what audit.KeyOf gives for what the key signed.
func keyName(publicKey string) string {
	parts := strings.SplitN(publicKey, "+", 3)
	return strings.Join(parts[:min(2, len(parts))], "+")
}

// Close gives its connection up.
func (d *Database) Close() error { return d.db.Close() }

// Name is what it is.
func (*Database) Name() string { return "database" }

// Put adds a row. The key of another replica's checkpoint stands in its own row.
func (d *Database) Put(ctx context.Context, c audit.Checkpoint) error {
	_, err := d.db.ExecContext(ctx, `INSERT INTO dtcgate_checkpoints (key, size, note, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		audit.KeyOf(c.Note), c.Size, c.Note, store.Micros(c.At))
	return err
}

// Last is the newest of the log, and makes the table when it cannot be read.
func (d *Database) Last(ctx context.Context) (string, error) {
	note, err := d.last(ctx)
	if err == nil {
		return note, nil
	}
	if _, failed := d.db.ExecContext(ctx, table); failed != nil {
		return "", fmt.Errorf("%w; and the table cannot be made: %w", err, failed)
	}
	return d.last(ctx)
}

func (d *Database) last(ctx context.Context) (note string, err error) {
	err = d.db.QueryRowContext(ctx, `SELECT note FROM dtcgate_checkpoints WHERE key = $1 ORDER BY size DESC, at DESC LIMIT 1`, d.key).Scan(&note)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return note, err
}

// notes are all that are kept of the log, oldest first.
func (d *Database) notes(ctx context.Context) (notes []string, err error) {
	rows, err := d.db.QueryContext(ctx, `SELECT note FROM dtcgate_checkpoints WHERE key = $1 ORDER BY size`, d.key)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var note string
		if err := rows.Scan(&note); err != nil {
			return nil, err
		}
		notes = append(notes, note)
	}
	return notes, rows.Err()
}
