package store

import (
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

// foresaw reports whether a query that is asked now was to go with the next one; it need not any more.
func (c *pgConn) foresaw(s pgStatement) bool {
	i := slices.IndexFunc(c.foreseen, s.equals)
	if i >= 0 {
		c.foreseen = slices.Delete(c.foreseen, i, i+1)
	}
	return i >= 0
}

// known gives the answer to a query, if it is known. A transaction that writes forgets all answers as soon as it asks anything else: that may be a
// lock, or a change that answers.
func (c *pgConn) known(s pgStatement) *pgAnswer {
	for _, a := range c.answered {
		if a.to.equals(s) {
			return a.again()
		}
	}
	if !c.snapshot {
		c.answered = nil
	}
	return nil
}

// readWithForeseen reads the answer to a query, and keeps those to what went with it. The query comes first: it may be a lock, or a change that answers.
func (c *pgConn) readWithForeseen(s pgStatement, answers pgx.BatchResults) (*pgAnswer, error) {
	asked, err := read(s, answers)
	if err == nil {
		err = c.keepForeseen(answers)
	}
	if ended := answers.Close(); err == nil {
		err = ended
	}
	return asked, err
}

// keepForeseen keeps the next answers, to what was foreseen.
func (c *pgConn) keepForeseen(answers pgx.BatchResults) error {
	for _, s := range c.foreseen {
		a, err := read(s, answers)
		if err != nil {
			return err
		}
		c.answered = append(c.answered, a)
	}
	c.foreseen = nil
	return nil
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
