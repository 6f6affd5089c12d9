package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// copyFrom is the number of rows from which COPY, which takes round trips of its own, is faster than INSERT.
	copyFrom = 256
	// mostUnsent bounds the statements that wait to be sent, and so what a transaction keeps in memory.
	mostUnsent = 32
)

// insertRows are the numbers of rows that one INSERT has.
var insertRows = [...]int{64, 16, 4, 1}

// pgConn is a transaction and the connection it runs on. A round trip to the server takes longer than most statements, so what begins the
// transaction goes with its first statement, and what nobody needs the answer of (inserts, locks) with the statement after it or with the
// commit: all of them are sent at once and carried out in their order (the protocol's pipelining). A failure of one is told by what it went with;
// the server then skips the rest, the commit too. Queries that are known to follow go along in the same way, and their answers are kept until they are
// asked (postgres_ahead.go).
type pgConn struct {
	of       *postgresEngine
	snapshot bool
	conn     *pgxpool.Conn // nil: lost
	begin    string        // what begins the transaction; "" once it has begun
	unsent   []pgStatement
	foreseen []pgStatement // queries that go with the next one
	answered []*pgAnswer   // to such queries
}

type pgStatement struct {
	text string
	args []any
}

// statementOf gives a statement with its arguments as PostgreSQL takes them.
func statementOf(q string, args []any) (pgStatement, error) {
	s := pgStatement{q, make([]any, len(args))}
	for i, a := range args {
		v, err := valueOf(a)
		if err != nil {
			return s, fmt.Errorf("store: argument $%d: %w", i+1, err)
		}
		s.args[i] = v
	}
	return s, nil
}

// later runs a statement before the next one, or with the commit.
func (c *pgConn) later(ctx context.Context, q string, args []any) error {
	c.answered = nil
	s, err := statementOf(q, args)
	if err != nil {
		return err
	}
	if c.unsent = append(c.unsent, s); len(c.unsent) < mostUnsent {
		return nil
	}
	return c.flush(ctx)
}

func (c *pgConn) exec(ctx context.Context, q string, args []any) (int64, error) {
	c.answered = nil
	s, err := statementOf(q, args)
	if err != nil {
		return 0, err
	}
	if c.begin == "" && len(c.unsent) == 0 {
		done, err := c.conn.Exec(ctx, s.text, s.args...)
		return done.RowsAffected(), err
	}
	answers, err := c.send(ctx, s)
	if err != nil {
		return 0, err
	}
	done, err := answers.Exec()
	if ended := answers.Close(); err == nil {
		err = ended
	}
	return done.RowsAffected(), err
}

func (c *pgConn) query(ctx context.Context, once bool, q string, args []any) (*Rows, error) {
	s, err := statementOf(q, args)
	if err != nil {
		return nil, err
	}
	types := c.conn.Conn().TypeMap()
	known, err := c.known(ctx, once, s)
	if err != nil {
		return nil, err
	}
	if known != nil {
		return &Rows{of: &pgRows{rows: known, types: types}}, nil
	}
	if c.begin == "" && len(c.unsent) == 0 {
		rows, err := c.conn.Query(ctx, s.text, s.args...)
		if err != nil {
			return nil, err
		}
		return &Rows{of: &pgRows{rows: rows, types: types}}, nil
	}
	answers, err := c.send(ctx, s)
	if err != nil {
		return nil, err
	}
	rows, err := answers.Query()
	if err != nil {
		_ = answers.Close() // says the same
		return nil, err
	}
	return &Rows{of: &pgRows{rows: rows, types: types, answers: answers}}, nil
}

func (c *pgConn) insert(ctx context.Context, into string, cols []string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	c.answered = nil
	if len(rows) < copyFrom {
		return c.insertLater(ctx, into, cols, rows)
	}
	if err := c.flush(ctx); err != nil {
		return err
	}
	_, err := c.conn.Conn().CopyFrom(ctx, pgx.Identifier{into}, cols, pgx.CopyFromRows(rows))
	return err
}

// insertLater inserts in statements of a few lengths, so that a connection need not prepare one for every number of rows.
func (c *pgConn) insertLater(ctx context.Context, into string, cols []string, rows [][]any) error {
	for _, n := range insertRows {
		if len(rows) < n {
			continue
		}
		text := postgresInserts.text(into, cols, n)
		for ; len(rows) >= n; rows = rows[n:] {
			if err := c.later(ctx, text, slices.Concat(rows[:n]...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush begins the transaction, unless that is done, and runs what waits.
func (c *pgConn) flush(ctx context.Context) error {
	if c.begin == "" && len(c.unsent) == 0 {
		return nil
	}
	answers, err := c.send(ctx)
	if err != nil {
		return err
	}
	return answers.Close()
}

// send sends what waits and then more, and gives the answers to that. It tries twice to begin: after a restart of the server the pool holds dead
// connections, and nothing has been done yet.
func (c *pgConn) send(ctx context.Context, more ...pgStatement) (pgx.BatchResults, error) {
	answers, err := c.sendOnce(ctx, more)
	if err != nil && c.begin != "" && c.conn.Conn().IsClosed() && ctx.Err() == nil {
		if err := c.reconnect(ctx); err != nil {
			return nil, lost("beginning a transaction", err)
		}
		answers, err = c.sendOnce(ctx, more)
	}
	if err == nil {
		c.begin, c.unsent = "", c.unsent[:0]
	}
	return answers, err
}

func (c *pgConn) reconnect(ctx context.Context) (err error) {
	c.of.pool.Reset()
	c.conn.Release()
	c.conn, err = c.of.pool.Acquire(ctx)
	return err
}

func (c *pgConn) sendOnce(ctx context.Context, more []pgStatement) (pgx.BatchResults, error) {
	var all pgx.Batch
	if c.begin != "" {
		all.Queue(c.begin)
	}
	for _, s := range c.unsent {
		all.Queue(s.text, s.args...)
	}
	before := all.Len()
	for _, s := range more {
		all.Queue(s.text, s.args...)
	}
	answers := c.conn.SendBatch(ctx, &all)
	for range before {
		if _, err := answers.Exec(); err != nil {
			_ = answers.Close() // says the same
			return nil, err
		}
	}
	return answers, nil
}

// commit ends the transaction with what waits. It outlives ctx: a commit that is cut off half-way leaves nobody knowing whether it happened.
func (c *pgConn) commit(ctx context.Context) error {
	if c.begin != "" && len(c.unsent) == 0 {
		return nil // nothing was done
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer stop()
	answers, err := c.sendOnce(ctx, []pgStatement{{text: "commit"}})
	if err != nil {
		return unavailable(err) // of a statement that went with it
	}
	done, err := answers.Exec()
	if ended := answers.Close(); err == nil {
		err = ended
	}
	if err == nil && done.String() != "COMMIT" {
		err = pgx.ErrTxCommitRollback
	}
	if err != nil {
		return lost("committing", err)
	}
	return nil
}

// close gives the connection back, and undoes what is not committed. For the end of a snapshot, which nothing comes of, nobody waits.
func (c *pgConn) close() {
	switch {
	case c.conn == nil:
	case c.conn.Conn().IsClosed() || c.conn.Conn().PgConn().TxStatus() == 'I':
		c.conn.Release()
	case c.snapshot:
		go c.rollback()
	default:
		c.rollback()
	}
}

// rollback undoes what is not committed. Should that fail, the connection is broken and the server does it.
func (c *pgConn) rollback() {
	ctx, stop := context.WithTimeout(context.Background(), endWithin)
	defer stop()
	defer c.conn.Release()
	_, _ = c.conn.Exec(ctx, "rollback")
}
