package store

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// pgAnswer is the answer to a query that was foreseen. It is read as an answer that comes from the server.
type pgAnswer struct {
	to     pgStatement
	fields []pgconn.FieldDescription
	rows   [][][]byte
	at     int // the row that is read, from 1
}

// ahead notes a query that goes with the next one.
func (c *pgConn) ahead(q string, args []any) {
	s, err := statementOf(q, args)
	if err != nil || len(c.foreseen) == mostUnsent || slices.ContainsFunc(s.args, incomparable) {
		return // asked by itself in its turn
	}
	if !slices.ContainsFunc(c.foreseen, s.equals) {
		c.foreseen = append(c.foreseen, s)
	}
}

func incomparable(arg any) bool { _, ok := arg.([]byte); return ok }

func (s pgStatement) equals(to pgStatement) bool {
	return s.text == to.text && slices.Equal(s.args, to.args)
}

// known gives the answer to a query that is known, or becomes so with those that are foreseen; nil, when it has to be asked by itself. What may be read
// row by row (once) takes no others along. A transaction that writes forgets what it knows as soon as it asks anything else: that may be a lock, or a
// change that answers.
func (c *pgConn) known(ctx context.Context, once bool, s pgStatement) (*pgAnswer, error) {
	for _, a := range c.answered {
		if a.to.equals(s) {
			return a.again(), nil
		}
	}
	if !c.snapshot {
		c.answered = nil
	}
	i := slices.IndexFunc(c.foreseen, s.equals)
	if i >= 0 {
		c.foreseen = slices.Delete(c.foreseen, i, i+1)
	}
	if once || len(c.foreseen) == 0 {
		return nil, nil
	}
	if err := c.askAll(ctx, append([]pgStatement{s}, c.foreseen...)); err != nil {
		return nil, err
	}
	asked := c.answered[0]
	if i < 0 { // it may be no question
		c.answered = c.answered[1:]
	}
	return asked.again(), nil
}

// askAll asks queries, and keeps their answers in place of those that it has.
func (c *pgConn) askAll(ctx context.Context, all []pgStatement) error {
	c.foreseen, c.answered = nil, nil
	answers, err := c.send(ctx, all...)
	if err != nil {
		return err
	}
	for _, s := range all {
		var a *pgAnswer
		if a, err = read(s, answers); err != nil {
			break
		}
		c.answered = append(c.answered, a)
	}
	if ended := answers.Close(); err == nil {
		err = ended
	}
	return err
}

// read reads the next answer.
func read(s pgStatement, answers pgx.BatchResults) (*pgAnswer, error) {
	rows, err := answers.Query()
	if err != nil {
		return nil, err
	}
	a := &pgAnswer{to: s, fields: slices.Clone(rows.FieldDescriptions())}
	for rows.Next() {
		a.rows = append(a.rows, copyOf(rows.RawValues()))
	}
	rows.Close()
	return a, rows.Err()
}

// copyOf copies the values of a row, NULL as nil.
func copyOf(raw [][]byte) [][]byte {
	size := 0
	for _, v := range raw {
		size += len(v)
	}
	values, all := make([][]byte, len(raw)), make([]byte, 0, size)
	for i, v := range raw {
		if v != nil {
			from := len(all)
			all = append(all, v...)
			values[i] = all[from:len(all):len(all)]
		}
	}
	return values
}

// again gives the answer from its first row on.
func (a *pgAnswer) again() *pgAnswer { return &pgAnswer{fields: a.fields, rows: a.rows} }

func (a *pgAnswer) Next() bool {
	a.at = min(a.at, len(a.rows)) + 1
	return a.at <= len(a.rows)
}

func (a *pgAnswer) FieldDescriptions() []pgconn.FieldDescription { return a.fields }

func (a *pgAnswer) RawValues() [][]byte {
	if a.at == 0 || a.at > len(a.rows) {
		return nil
	}
	return a.rows[a.at-1]
}

func (a *pgAnswer) Close() {}

func (a *pgAnswer) Err() error { return nil }
