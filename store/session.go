package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"zombiezen.com/go/sqlite"
)

// session is one SQLite connection with its prepared statements, opened when it is first needed. It speaks to SQLite without database/sql,
// which took as long as SQLite itself for the short statements that a call is made of. One goroutine at a time uses it.
type session struct {
	path    string
	pragmas []string

	conn  *sqlite.Conn
	stmts map[string]*statement
	cut   chan struct{} // closed to interrupt what runs
}

// longestBound is how long a text may be that is remembered, in bytes: an id is that short, and a letter is not.
const longestBound = 64

// A statement is prepared. Its parameters are named by number.
type statement struct {
	*sqlite.Stmt
	params []int // for each parameter, which argument it is, from 0
	// bound are the whole numbers and short texts that parameters are bound to, and nil for others. SQLite plans a statement anew when a parameter is bound that its plan looked at, such as one
	// after LIMIT, also to what it was before, and that takes ten times as long as to run it.
	bound []any
	kept  bool // for the next time
	busy  bool // its rows are being read
}

func (s *session) open() error {
	if s.conn != nil {
		return nil
	}
	conn, err := sqlite.OpenConn(s.path, sqlite.OpenReadWrite)
	if err != nil {
		return err
	}
	conn.SetBusyTimeout(0) // what the pragma says; the library's own way would wait for ever
	s.conn, s.stmts, s.cut = conn, map[string]*statement{}, nil
	for _, p := range s.pragmas {
		if err := s.pragma(p); err != nil {
			s.drop()
			return fmt.Errorf("setting %s: %w", p, err)
		}
	}
	return nil
}

func (s *session) pragma(p string) error {
	st, err := s.transient("PRAGMA " + p)
	if err != nil {
		return err
	}
	return errors.Join(st.drain(), st.Finalize())
}

// drop closes the connection, which rolls back whatever is open on it. The next statement opens another.
func (s *session) drop() {
	if s.conn == nil {
		return
	}
	for _, st := range s.stmts {
		_ = st.Finalize() // what it failed with last
	}
	_ = s.conn.Close()
	s.conn, s.stmts, s.cut = nil, nil, nil
}

// interruptible has an ended ctx stop what runs until calm is called. It is for what nobody else is part of.
func (s *session) interruptible(ctx context.Context) (calm func(), err error) {
	if ctx.Done() == nil {
		return func() {}, s.open()
	}
	if err := s.watched(); err != nil {
		return nil, err
	}
	cut := s.cut
	stop := context.AfterFunc(ctx, func() { close(cut) })
	return func() {
		if stop() {
			return
		}
		<-cut
		if s.cut == cut && s.conn != nil {
			s.conn.SetInterrupt(nil)
			s.cut = nil
		}
	}, nil
}

// watched opens the connection with somebody who waits to interrupt it. That takes a goroutine, which ends with the connection.
func (s *session) watched() error {
	if err := s.open(); err != nil || s.cut != nil {
		return err
	}
	s.cut = make(chan struct{})
	s.conn.SetInterrupt(s.cut)
	return nil
}

// run executes a statement that steers the transaction; nothing interrupts it.
func (s *session) run(q string) error {
	_, err := s.exec(context.Background(), q, nil)
	return err
}

func (s *session) exec(ctx context.Context, q string, args []any) (int64, error) {
	st, err := s.prepare(q)
	if err != nil {
		return 0, interrupted(ctx, err)
	}
	if err := st.bind(args); err != nil {
		return 0, errors.Join(err, s.done(st))
	}
	err = st.drain()
	if err == nil {
		return int64(s.conn.Changes()), s.done(st)
	}
	_ = s.done(st)
	return 0, interrupted(ctx, err)
}

func (s *session) later(ctx context.Context, q string, args []any) error {
	_, err := s.exec(ctx, q, args)
	return err
}

// interrupted tells an ended context from a fault.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && sqlite.ErrCode(err).ToPrimary() == sqlite.ResultInterrupt {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

func (st *statement) drain() error {
	for {
		if more, err := st.Step(); !more || err != nil {
			return errors.Join(err, st.Reset())
		}
	}
}

// query begins a statement. Rows of the same statement may be open already, when somebody reads two answers at once.
func (s *session) query(ctx context.Context, once bool, q string, args []any) (*Rows, error) {
	prepare := s.prepare
	if once {
		prepare = s.transient
	}
	st, err := prepare(q)
	if err != nil {
		return nil, interrupted(ctx, err)
	}
	if err := st.bind(args); err != nil {
		return nil, errors.Join(err, s.done(st))
	}
	st.busy = true
	return &Rows{of: &sessionRows{session: s, of: st, ctx: ctx}}, nil
}

// prepare gives a statement, kept unless there are too many already.
func (s *session) prepare(q string) (*statement, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	if st := s.stmts[q]; st != nil && !st.busy {
		return st, nil
	} else if st != nil || len(s.stmts) >= maxStatements {
		return s.transient(q)
	}
	st, err := s.conn.Prepare(q)
	if err != nil {
		return nil, err
	}
	kept := prepared(st)
	kept.kept = true
	s.stmts[q] = kept
	return kept, nil
}

// transient gives a statement that done ends.
func (s *session) transient(q string) (*statement, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	st, rest, err := s.conn.PrepareTransient(q)
	if err == nil && rest > 0 {
		err = errors.Join(errors.New("store: more than one statement at once"), st.Finalize())
	}
	if err != nil {
		return nil, err
	}
	return prepared(st), nil
}

func prepared(st *sqlite.Stmt) *statement {
	params := make([]int, st.BindParamCount())
	for i := range params {
		params[i] = i
		if name := st.BindParamName(i + 1); name != "" && name[0] == '$' {
			if n, err := strconv.Atoi(name[1:]); err == nil {
				params[i] = n - 1
			}
		}
	}
	return &statement{Stmt: st, params: params, bound: make([]any, len(params))}
}

func (s *session) done(st *statement) error {
	st.busy = false
	if s.conn == nil || st.kept {
		return nil
	}
	return st.Finalize()
}

func (st *statement) bind(args []any) error {
	for i, n := range st.params {
		if n >= len(args) {
			return fmt.Errorf("store: a statement has a parameter $%d and %d arguments", n+1, len(args))
		}
		v, err := valueOf(args[n])
		if err != nil {
			return fmt.Errorf("store: argument $%d: %w", n+1, err)
		}
		if st.holds(i, v) {
			continue
		}
		switch v := v.(type) {
		case nil:
			st.BindNull(i + 1)
		case int64:
			st.BindInt64(i+1, v)
		case string:
			st.BindText(i+1, v)
		case []byte:
			st.BindBytes(i+1, v)
		case float64:
			st.BindFloat(i+1, v)
		case time.Time:
			return fmt.Errorf("store: argument $%d is a time; store its microseconds", n+1)
		}
	}
	return nil
}

// holds reports whether a parameter is bound to v already, and remembers that it will be.
func (st *statement) holds(i int, v any) bool {
	switch was := st.bound[i].(type) {
	case int64:
		if n, ok := v.(int64); ok && n == was {
			return true
		}
	case string:
		if text, ok := v.(string); ok && text == was {
			return true
		}
	}
	st.bound[i] = nil
	text, isText := v.(string)
	if _, isNumber := v.(int64); isNumber || isText && len(text) <= longestBound {
		st.bound[i] = v
	}
	return false
}

// sessionRows is an answer of SQLite. Nothing runs before the first row is asked for.
type sessionRows struct {
	session *session
	of      *statement // nil: closed
	ctx     context.Context
}

func (r *sessionRows) next() (bool, error) {
	if r.of == nil {
		return false, nil
	}
	more, err := r.of.Step()
	if err != nil {
		return false, interrupted(r.ctx, err)
	}
	return more, nil
}

func (r *sessionRows) columns() ([]string, error) {
	if r.of == nil {
		return nil, errors.New("store: the rows are closed")
	}
	names := make([]string, r.of.ColumnCount())
	for i := range names {
		names[i] = r.of.ColumnName(i)
	}
	return names, nil
}

func (r *sessionRows) scan(dest []any) error {
	if r.of == nil {
		return errors.New("store: the rows are closed")
	}
	if n := r.of.ColumnCount(); n != len(dest) {
		return fmt.Errorf("store: %d columns are read into %d places", n, len(dest))
	}
	for i, d := range dest {
		if err := r.column(i, d); err != nil {
			return fmt.Errorf("store: column %s: %w", r.of.ColumnName(i), err)
		}
	}
	return nil
}

// column reads one column, the usual ones without a detour.
func (r *sessionRows) column(i int, dest any) error {
	kind := r.of.ColumnType(i)
	switch d := dest.(type) {
	case *string:
		if kind == sqlite.TypeText {
			*d = r.of.ColumnText(i)
			return nil
		}
	case *int64:
		if kind == sqlite.TypeInteger {
			*d = r.of.ColumnInt64(i)
			return nil
		}
	}
	var value any
	switch kind {
	case sqlite.TypeText, sqlite.TypeBlob:
		value = r.of.ColumnText(i)
	case sqlite.TypeInteger:
		value = r.of.ColumnInt64(i)
	case sqlite.TypeFloat:
		value = r.of.ColumnFloat(i)
	}
	return assign(dest, value)
}

func (r *sessionRows) close() error {
	st := r.of
	if st == nil {
		return nil
	}
	r.of = nil
	if r.session.conn == nil { // dropped meanwhile, and the statement with it
		return nil
	}
	return errors.Join(st.Reset(), r.session.done(st))
}

func (s *session) insert(ctx context.Context, into string, cols []string, rows [][]any) error {
	args := make([]any, 0, min(chunkRows, len(rows))*len(cols))
	for _, n := range []int{chunkRows, 4, 1} { // so that a table needs three statements, and not one per length
		n = max(1, min(n, maxParams/len(cols)))
		if len(rows) < n {
			continue
		}
		text := sqliteInserts.text(into, cols, n)
		for ; len(rows) >= n; rows = rows[n:] {
			args = args[:0]
			for _, r := range rows[:n] {
				args = append(args, r...)
			}
			if _, err := s.exec(ctx, text, args); err != nil {
				return err
			}
		}
	}
	return nil
}
