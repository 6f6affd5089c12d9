// Package store is the database: one SQL text on two engines, SQLite (a file, the embedded default) and PostgreSQL.
//
// Open opens and migrates. Rooms own their SQL and run it in a *Tx, which DB.InTx, DB.Read or DB.Bulk hands them. InTx
// returns nil only when its work is durable. On SQLite concurrent callers of InTx share one fsynced commit, with a
// savepoint each (group.go), and on both engines Gathered writes what many callers brought in one statement; on PostgreSQL
// each transaction has a connection to itself. A failed statement dooms its transaction on
// both engines, as PostgreSQL has it. Whatever the database itself cannot do (locked, full, read-only, lost, a failed
// commit) comes back as ErrUnavailable, nothing of the transaction is kept, and the next call tries afresh.
//
// # The SQL both engines understand
//
//   - $1, $2 … numbered in order of first use; a number may be used again
//   - types TEXT and BIGINT only; JSON is TEXT and is decoded in Go; hashes are hex TEXT; ids are made in Go (NewID)
//   - times are unix microseconds from Go (Tx.Now, Micros, At), never now(); a flag is a time that may be NULL
//   - "insert unless there" is ON CONFLICT DO NOTHING and the row count; "change only if still X" is a WHERE and the
//     row count; every UPDATE that moves a state names the old state in its outer WHERE
//   - a read that decides a write of the same transaction needs that WHERE too: PostgreSQL runs READ COMMITTED
//   - CAST($1 AS BIGINT) where PostgreSQL cannot tell a parameter's type ($1 + $2)
//   - no arrays, ILIKE, jsonb, booleans, serials, deferred constraints, INSERT OR REPLACE; SELECT … FOR UPDATE only
//     through Tx.SkipLocked and Tx.Lock; what no row stands for is locked by name, through Tx.Share and Tx.Own
//   - locks are taken in one order by all: a deadlock is a mistake of ours, and no transaction is run again because of one
//   - no statement while rows of the same transaction are still being read: PostgreSQL's connection is busy then
//   - TEXT sorts by bytes on SQLite and by the database's collation on PostgreSQL: page and compare by ids and times, or
//     declare the column TEXT COLLATE "binary", which is by bytes on both
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dtcgate/dtcgate/store/spans"
)

// ErrNotFound is returned by One and by QueryRow's Scan when there is no row. It wraps sql.ErrNoRows.
var ErrNotFound = fmt.Errorf("not found: %w", sql.ErrNoRows)

// ErrUnavailable says that the database could not do its part: it is locked, full, read-only, damaged or out of
// reach, or a commit failed. Nothing of the transaction is kept (a commit whose connection broke may have reached
// PostgreSQL all the same). It may work later; the caller's input is not at fault.
var ErrUnavailable = errors.New("the store is unavailable")

// DB is an open database. All its methods may be used concurrently.
type DB struct {
	// Now is the clock of Tx.Now: on PostgreSQL the database's (clock.go). Tests replace it before they use the DB.
	Now func() time.Time
	// Spans traces transactions of calls that are traced; nil: none. It is set before the DB is used.
	Spans *spans.Tracer

	engine engine
	dsn    string
	bells  bells
	untold untold // to other processes
	clock  clock

	transactions, unavailable atomic.Int64 // see Stats
}

// engine is what differs between SQLite and PostgreSQL. Each of write, bulk and read calls run at most once, in the
// caller's goroutine, inside a transaction of its kind; run's error or panic undoes what it did.
type engine interface {
	name() string
	write(ctx context.Context, run work) error
	bulk(ctx context.Context, run work) error
	read(ctx context.Context, run work) error
	close() error
}

// work is the body of one transaction. Statements run under the context it is given, which is not always the
// caller's (see group.turn).
type work func(ctx context.Context, c conn) error

// Open opens the database at dsn, creating and migrating it as needed: a postgres:// address, or the path of a SQLite
// file, whose missing folders are made too. Several processes may open the same database at once.
// No error quotes a password.
func Open(ctx context.Context, dsn string) (*DB, error) {
	open := openSQLite
	if isPostgres(dsn) {
		open = openPostgres
	}
	e, err := open(ctx, dsn)
	if err != nil {
		return nil, unavailable(err)
	}
	db := &DB{engine: e, dsn: dsn}
	db.Now = db.clock.now
	if isPostgres(dsn) {
		if err := db.clock.set(ctx, db.askTime); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, nil
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// Close waits for running transactions to end and closes the database.
func (db *DB) Close() error { return db.engine.close() }

// Engine is "sqlite" or "postgres".
func (db *DB) Engine() string { return db.engine.name() }

// Ping shows that a write can be committed. It leaves nothing behind.
func (db *DB) Ping(ctx context.Context) error {
	return db.InTx(ctx, func(tx *Tx) error {
		_, err := tx.Exec(pings[tx.Engine()])
		return err
	})
}

// InTx runs fn in a read-write transaction and returns after the commit. fn's error, a failed statement, a panic or an
// ended ctx undoes everything. fn must not block on anything but the database, nor call DB's methods: on SQLite all
// writers wait for it.
func (db *DB) InTx(ctx context.Context, fn func(*Tx) error) error {
	return db.run(ctx, "db.write", db.engine.write, fn)
}

// Read runs fn on a snapshot and refuses writes. It neither blocks writers nor waits for them.
func (db *DB) Read(ctx context.Context, fn func(*Tx) error) error {
	return db.run(ctx, reading, db.engine.read, fn)
}

// Bulk is InTx for imports: it shares its commit with nobody, and an ended ctx stops even a running statement.
func (db *DB) Bulk(ctx context.Context, fn func(*Tx) error) error {
	return db.run(ctx, "db.bulk", db.engine.bulk, fn)
}

// reading is what a read is called in traces.
const reading = "db.read"

func (db *DB) run(ctx context.Context, kind string, in func(context.Context, work) error, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, span := db.Spans.Part(ctx, kind)
	var told []string
	err := unavailable(in(ctx, func(stmts context.Context, c conn) error {
		tx := &Tx{Now: db.Now().UTC().Truncate(time.Microsecond), ctx: ctx, stmts: stmts, conn: c, engine: db.engine.name(), snapshot: kind == reading}
		tx.watch, _ = ctx.Value(watched{}).(func(string, []any))
		defer tx.end()
		if err := fn(tx); err != nil {
			return err
		}
		tx.closeRows()
		if tx.failed != nil {
			return tx.failed
		}
		told = tx.told
		return ctx.Err()
	}))
	if err == nil {
		db.tell(told)
	}
	db.count(err)
	span.End(err)
	return err
}
