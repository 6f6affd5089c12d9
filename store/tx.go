package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Tx is one transaction, for the goroutine and the duration of the function it was given to.
type Tx struct {
	Now time.Time // UTC, whole microseconds; the same for all that the transaction writes

	ctx      context.Context
	stmts    context.Context // what statements run under
	conn     conn
	engine   string
	snapshot bool
	open     []*Rows // handed out by Query, closed at the end at the latest
	// failed is the first failed statement: nothing runs after it, and the transaction cannot commit. SQLite would let
	// it go on, and on a full disk even outside any transaction.
	failed  error
	reading bool  // One or All is scanning rows
	ahead   asker // notes questions while Ahead lets them be asked; nil: they are asked
	watch   func(q string, args []any)
	told    []string // by Tell
}

type watched struct{}

// Watch gives a context under whose transactions fn is told every statement when it is run or asked for, but for bulk inserts. It is for tests
// that ask the database how it would go about a statement.
func Watch(ctx context.Context, fn func(q string, args []any)) context.Context {
	return context.WithValue(ctx, watched{}, fn)
}

// conn runs statements inside a transaction. *session and *pgConn are the two.
type conn interface {
	exec(ctx context.Context, q string, args []any) (int64, error)
	// query may be given a statement that is run often; once says that it is not read to its end at once, so that
	// the same statement could be run again meanwhile.
	query(ctx context.Context, once bool, q string, args []any) (*Rows, error)
	insert(ctx context.Context, into string, cols []string, rows [][]any) error
	// later runs a statement whose answer nobody needs, before the next one or with the commit, which then fails in its place.
	later(ctx context.Context, q string, args []any) error
}

// asker is a conn that can answer several queries in one round trip.
type asker interface {
	// ahead notes a query that will be asked soon.
	ahead(q string, args []any)
}

var (
	errEnded   = errors.New("store: the transaction has ended")
	errReading = errors.New("store: a statement was run while rows were being read; PostgreSQL cannot do that")
	errAhead   = errors.New("store: the question is only noted")
)

// Row is one row of an answer.
type Row interface{ Scan(dest ...any) error }

// Snapshot reports whether all that the transaction reads was so at one moment.
func (tx *Tx) Snapshot() bool { return tx.snapshot }

// Context is the context of the call that began the transaction.
func (tx *Tx) Context() context.Context { return tx.ctx }

// Engine is "sqlite" or "postgres".
func (tx *Tx) Engine() string { return tx.engine }

// SkipLocked ends the inner SELECT of a statement that claims rows: with it PostgreSQL's workers pass over rows that
// others are claiming. SQLite has one writer and needs nothing.
func (tx *Tx) SkipLocked() string { return skipLocked[tx.engine] }

// Share takes a name, which others may share, and keeps it until the transaction ends: whoever wants to Own it waits. Those who
// come while somebody waits to own it come after him. (Row locks are not like that: as long as one FOR SHARE follows another, who
// wants to change the row waits, if need be for ever.) So take it first, before whatever its holders may wait for. SQLite has one
// writer and needs nothing.
func (tx *Tx) Share(name string) error { return tx.take(shareName[tx.engine], name) }

// Own takes a name when nobody shares it, and keeps it from all others until the transaction ends. SQLite has one writer and
// needs nothing.
func (tx *Tx) Own(name string) error { return tx.take(ownName[tx.engine], name) }

func (tx *Tx) take(q, name string) error {
	if q == "" {
		return tx.usable()
	}
	return tx.Later(q, name)
}

// TryShare is Share for a transaction that holds something already. It waits for nobody, and reports whether it has the name.
func (tx *Tx) TryShare(name string) (bool, error) {
	q := tryShareName[tx.engine]
	if err := tx.usable(); q == "" || err != nil {
		return err == nil, err
	}
	var got string
	err := tx.QueryRow(q, name).Scan(&got)
	return got == "true", err
}

// Lock takes the rows of a SELECT, in its order, and keeps them until the transaction ends: whoever else wants to change
// one waits. A statement that changes several rows takes them in an order of its own; two of them may wait for each other
// in a circle, unless both took their rows in one order before. SQLite has one writer and needs nothing.
func (tx *Tx) Lock(q string, args ...any) error {
	lock := lockRows[tx.engine]
	if lock == "" {
		return tx.usable()
	}
	return tx.Later(q+lock, args...)
}

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(q string, args ...any) (int64, error) {
	if err := tx.usable(); err != nil {
		return 0, err
	}
	if tx.watch != nil {
		tx.watch(q, args)
	}
	n, err := tx.conn.exec(tx.stmts, q, args)
	if err != nil {
		return 0, tx.fail(err)
	}
	return n, nil
}

// Later runs a statement when nobody needs to know how many rows it changed. PostgreSQL is given it with the next statement, or with the commit,
// and saves a round trip; what it fails with then comes from there. What is read of anything but the database before the next statement may be older
// than what it does.
func (tx *Tx) Later(q string, args ...any) error {
	if err := tx.usable(); err != nil {
		return err
	}
	if tx.watch != nil {
		tx.watch(q, args)
	}
	if err := tx.conn.later(tx.stmts, q, args); err != nil {
		return tx.fail(err)
	}
	return nil
}

// Ahead says what will be asked soon: each SELECT that asks put. There they fail, as does all that would be done to the database or could answer with a
// change, and nothing comes of that. PostgreSQL is sent the queries with the next one and answers all in one round trip; with SQLite there is none to
// spare, and asks are not run. An answer counts for the same query with the same arguments until others are asked ahead, and in a transaction that
// writes only while nothing else has been asked or done since.
func (tx *Tx) Ahead(asks ...func() error) {
	to, ok := tx.conn.(asker)
	if !ok || tx.usable() != nil {
		return
	}
	tx.ahead = to
	defer func() { tx.ahead = nil }()
	for _, ask := range asks {
		_ = ask() // errAhead, or there is nothing that it asks
	}
}

// Query runs a statement for its rows. Prefer All: the caller closes the rows before the next statement.
func (tx *Tx) Query(q string, args ...any) (*Rows, error) {
	rows, err := tx.query(true, q, args)
	if err == nil {
		tx.open = append(tx.open, rows)
	}
	return rows, err
}

func (tx *Tx) query(once bool, q string, args []any) (*Rows, error) {
	if tx.ahead != nil {
		if strings.HasPrefix(q, "SELECT ") {
			tx.ahead.ahead(q, args)
		}
		return nil, errAhead
	}
	if err := tx.usable(); err != nil {
		return nil, err
	}
	if tx.watch != nil {
		tx.watch(q, args)
	}
	rows, err := tx.conn.query(tx.stmts, once, q, args)
	if err != nil {
		return nil, tx.fail(err)
	}
	return rows, nil
}

// QueryRow is a query for one row. It runs when its Scan is called, which returns ErrNotFound when there is none.
func (tx *Tx) QueryRow(q string, args ...any) Row { return &row{tx, q, args} }

// Insert adds rows, each with a value per column, the fastest way the engine has. into is a plain table name.
func (tx *Tx) Insert(into string, cols []string, rows [][]any) error {
	if err := tx.usable(); err != nil {
		return err
	}
	for i, r := range rows {
		if len(r) != len(cols) {
			return tx.fail(fmt.Errorf("store: row %d for %s has %d values for %d columns", i, into, len(r), len(cols)))
		}
	}
	if err := tx.conn.insert(tx.stmts, into, cols, rows); err != nil {
		return tx.fail(err)
	}
	return nil
}

// One returns the first row of a query, or ErrNotFound.
func One[T any](tx *Tx, scan func(Row) (T, error), q string, args ...any) (T, error) {
	return scan(tx.QueryRow(q, args...))
}

// All returns all rows of a query. The slice is never nil when the error is.
func All[T any](tx *Tx, scan func(Row) (T, error), q string, args ...any) ([]T, error) {
	rows, err := tx.query(false, q, args)
	if err != nil {
		return nil, err
	}
	tx.reading = true
	defer func() { tx.reading = false; rows.Close() }()
	all := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, tx.fail(err)
	}
	return all, nil
}

type row struct {
	tx   *Tx
	q    string
	args []any
}

func (r *row) Scan(dest ...any) error {
	rows, err := r.tx.query(false, r.q, r.args)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return r.tx.fail(err)
		}
		return ErrNotFound
	}
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	if err := rows.Close(); err != nil {
		return r.tx.fail(err)
	}
	return nil
}

func (tx *Tx) usable() error {
	if tx.failed != nil {
		return tx.failed
	}
	if tx.ahead != nil {
		return errAhead
	}
	if tx.reading {
		return tx.fail(errReading)
	}
	return nil
}

func (tx *Tx) fail(err error) error {
	err = unavailable(err)
	if tx.failed == nil {
		tx.failed = err
	}
	return err
}

// closeRows closes what Query handed out, and notices a failure that nobody looked for.
func (tx *Tx) closeRows() {
	for _, rows := range tx.open {
		_ = rows.Close() // Err says it
		if err := rows.Err(); err != nil {
			tx.fail(err)
		}
	}
	tx.open = nil
}

// end keeps a Tx that outlives its function from writing into somebody else's transaction.
func (tx *Tx) end() {
	tx.closeRows()
	tx.failed = errEnded
}

// Micros is t as it is stored: unix microseconds, or NULL for the zero time.
func Micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// At scans what Micros stored into t, in UTC; NULL gives the zero time.
func At(t *time.Time) sql.Scanner { return (*micros)(t) }

type micros time.Time

func (m *micros) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*m = micros{}
	case int64:
		*m = micros(time.UnixMicro(v).UTC())
	default:
		return fmt.Errorf("store: a time is stored as unix microseconds, not as %T", v)
	}
	return nil
}
