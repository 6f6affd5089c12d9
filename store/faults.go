package store

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
)

// A Fault is how a database fails at one of its calls, for tests of whoever depends on it.
type Fault int

// The faults. None but AnswerLost keeps anything of the transaction.
const (
	NoFault    Fault = iota
	Busy             // somebody else has it locked
	IOError          // the disk or the network failed
	AnswerLost       // it was committed and nobody was told, as when a connection breaks; of other calls: Busy
	Cancelled        // the caller's context ended just after the commit; of other calls: IOError
	ReadOnly         // nothing can be written any more
)

// errors of the faults, as PostgreSQL would tell them. AnswerLost is what a connection that broke looks like.
var faultErrors = map[Fault]error{
	Busy:       &pgconn.PgError{Code: "55P03", Message: "a fault that a test has planted: locked"},
	IOError:    &pgconn.PgError{Code: "58030", Message: "a fault that a test has planted: input or output error"},
	AnswerLost: &pgconn.PgError{Code: "08006", Message: "a fault that a test has planted: connection lost"},
	Cancelled:  context.Canceled,
	ReadOnly:   &pgconn.PgError{Code: "25006", Message: "a fault that a test has planted: read-only"},
}

// Faulty lets an open database fail as fault says, which is asked at the beginning, at every statement, and at the commit of each transaction.
// It is for tests, before they use the DB; nothing else calls it, so that it is in no program.
func Faulty(db *DB, fault func() Fault) { db.engine = &faultyEngine{db.engine, fault} }

type faultyEngine struct {
	engine
	fault func() Fault
}

func (e *faultyEngine) write(ctx context.Context, run work) error {
	return e.in(ctx, e.engine.write, run)
}

func (e *faultyEngine) bulk(ctx context.Context, run work) error {
	return e.in(ctx, e.engine.bulk, run)
}

func (e *faultyEngine) read(ctx context.Context, run work) error {
	return e.in(ctx, e.engine.read, run)
}

// in runs one transaction that may fail at any of its calls.
func (e *faultyEngine) in(ctx context.Context, in func(context.Context, work) error, run work) error {
	if err := failed(e.fault()); err != nil {
		return lost("beginning a transaction", err)
	}
	end := e.fault()
	err := in(ctx, func(ctx context.Context, c conn) error {
		if err := run(ctx, &faultyConn{c, e.fault}); err != nil || end == AnswerLost || end == Cancelled {
			return err
		}
		if err := faultErrors[end]; err != nil {
			return lost("committing", err)
		}
		return nil
	})
	if err == nil && end != NoFault {
		return lost("committing", faultErrors[end])
	}
	return err
}

// failed is the error of a fault at anything but a commit.
func failed(f Fault) error {
	switch f {
	case AnswerLost:
		f = Busy
	case Cancelled:
		f = IOError
	}
	return faultErrors[f]
}

type faultyConn struct {
	conn
	fault func() Fault
}

func (c *faultyConn) exec(ctx context.Context, q string, args []any) (int64, error) {
	if err := failed(c.fault()); err != nil {
		return 0, err
	}
	return c.conn.exec(ctx, q, args)
}

func (c *faultyConn) ahead(q string, args []any) {
	if to, ok := c.conn.(asker); ok {
		to.ahead(q, args)
	}
}

func (c *faultyConn) query(ctx context.Context, once bool, q string, args []any) (*Rows, error) {
	if err := failed(c.fault()); err != nil {
		return nil, err
	}
	return c.conn.query(ctx, once, q, args)
}

func (c *faultyConn) insert(ctx context.Context, into string, cols []string, rows [][]any) error {
	if err := failed(c.fault()); err != nil {
		return err
	}
	return c.conn.insert(ctx, into, cols, rows)
}

func (c *faultyConn) later(ctx context.Context, q string, args []any) error {
	if err := failed(c.fault()); err != nil {
		return err
	}
	return c.conn.later(ctx, q, args)
}
