package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	readers = 8 // connections for Read
	// maxStatements bounds the prepared statements of a connection. The project's texts are constants, so that only a
	// programmer's mistake gets there; what is beyond runs unprepared.
	maxStatements = 1000
	// chunkRows is how many rows one INSERT of a bulk load has; more gain nothing on SQLite.
	chunkRows = 16
	// maxParams is SQLite's bound for the parameters of a statement.
	maxParams = 32766
)

// sqliteEngine is a SQLite file: one connection that writes, several that read.
type sqliteEngine struct {
	writer, reader *sql.DB
	group          group
	free           chan *session // the sessions of readers that nobody uses now
}

func openSQLite(ctx context.Context, path string) (engine, error) {
	if err := makeFile(path); err != nil {
		return nil, err
	}
	unlock, err := lockFile(ctx, path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	writer, err := sql.Open("sqlite", sqliteDSN(path, writerPragmas))
	if err != nil {
		return nil, err
	}
	writer.SetMaxOpenConns(1)
	if err := claimFile(ctx, writer, path); err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	if err := migrate(ctx, "sqlite", writer); err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	reader, err := sql.Open("sqlite", sqliteDSN(path, readerPragmas))
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	s := &sqliteEngine{writer: writer, reader: reader, group: group{session: &session{db: writer}}, free: make(chan *session, readers)}
	for range readers {
		s.free <- &session{db: reader}
	}
	return s, nil
}

// makeFile creates a file that is missing, for its owner only: SQLite would follow the umask, and -wal and -shm take its
// mode. It must not open one that exists, since closing it would take away the locks that this process has on it.
func makeFile(path string) error {
	if path == "" || strings.HasPrefix(path, ":") || strings.HasPrefix(path, "file:") || strings.Contains(path, "://") {
		return errors.New("store: the database is a path like ./dtcgate-data/dtcgate.db or an address like postgres://user@host/name")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the database's folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f.Close()
	}
	info, statErr := os.Stat(path)
	switch {
	case statErr != nil:
		return fmt.Errorf("making the database: %w", err)
	case info.IsDir():
		return fmt.Errorf("store: %s is a directory; the database is a file in it", path)
	}
	return nil
}

// lockFile keeps other processes from creating or migrating the same file meanwhile. The lock is SQLite's own, on an
// empty file beside the database, so that it works on every system and ends with its process.
func lockFile(ctx context.Context, path string) (unlock func() error, err error) {
	if err := makeFile(path + "-lock"); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", sqliteDSN(path+"-lock", []string{"busy_timeout(60000)"}))
	if err != nil {
		return nil, err
	}
	l := &session{db: db}
	unlock = func() error { l.drop(); return db.Close() }
	if _, err := l.exec(ctx, "BEGIN EXCLUSIVE", nil); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for another dtcgate that is opening %s: %w", path, err), unlock())
	}
	return unlock, nil
}

// claimFile marks a new file as dtcgate's, and refuses somebody else's database.
func claimFile(ctx context.Context, db *sql.DB, path string) error {
	var id, tables int64
	err := db.QueryRowContext(ctx, "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id").Scan(&id, &tables)
	if hasSQLiteCode(err, 26 /* SQLITE_NOTADB */) || err == nil && id != applicationID && (id != 0 || tables > 0) {
		return fmt.Errorf("store: %s is not a dtcgate database", path)
	}
	if err != nil {
		return fmt.Errorf("opening the database %s: %w", path, err)
	}
	_, err = db.ExecContext(ctx, pings["sqlite"])
	return err
}

func (s *sqliteEngine) name() string { return "sqlite" }

func (s *sqliteEngine) write(ctx context.Context, run work) error { return s.group.do(ctx, false, run) }

func (s *sqliteEngine) bulk(ctx context.Context, run work) error { return s.group.do(ctx, true, run) }

func (s *sqliteEngine) read(ctx context.Context, run work) error {
	var r *session
	select {
	case r = <-s.free:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.free <- r }()
	if err := r.run("BEGIN"); err != nil {
		r.drop()
		return lost("beginning a read", err)
	}
	defer func() {
		if err := r.run("ROLLBACK"); err != nil {
			r.drop() // an interrupted statement may have ended the transaction
		}
	}()
	return run(ctx, r)
}

func (s *sqliteEngine) close() error {
	if err := s.group.take(context.Background()); err != nil {
		return err
	}
	defer s.group.leave()
	s.group.session.drop()
	for range readers {
		r := <-s.free
		r.drop()
		defer func() { s.free <- r }() // a Read after Close gets an error of the closed pool
	}
	return errors.Join(s.reader.Close(), s.writer.Close())
}

// session is one SQLite connection with its prepared statements, opened when it is first needed.
type session struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

// drop closes the connection, which rolls back whatever is open on it. The next statement opens another.
func (s *session) drop() {
	if s.conn == nil {
		return
	}
	for _, st := range s.stmts {
		st.Close() // SQLite would keep the connection, and its locks, for them
	}
	_ = s.conn.Raw(func(any) error { return driver.ErrBadConn }) // Close would give it back to the pool
	s.conn, s.stmts = nil, nil
}

// run executes a statement that steers the transaction; nothing interrupts it.
func (s *session) run(q string) error {
	_, err := s.exec(context.Background(), q, nil)
	return err
}

func (s *session) exec(ctx context.Context, q string, args []any) (sql.Result, error) {
	st, err := s.prepare(ctx, q)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return s.conn.ExecContext(ctx, q, args...)
	}
	return st.ExecContext(ctx, args...)
}

func (s *session) query(ctx context.Context, once bool, q string, args []any) (*sql.Rows, error) {
	st, err := s.prepare(ctx, q)
	if err != nil {
		return nil, err
	}
	if st == nil || once {
		return s.conn.QueryContext(ctx, q, args...)
	}
	return st.QueryContext(ctx, args...)
}

// prepare returns nil when there are too many statements already.
func (s *session) prepare(ctx context.Context, q string) (*sql.Stmt, error) {
	if s.conn == nil {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		s.conn, s.stmts = conn, map[string]*sql.Stmt{}
	}
	st := s.stmts[q]
	if st != nil || len(s.stmts) >= maxStatements {
		return st, nil
	}
	st, err := s.conn.PrepareContext(ctx, q)
	if err != nil {
		return nil, err
	}
	s.stmts[q] = st
	return st, nil
}

// insertOrFail is an INSERT that leaves its first rows in place when a later one is refused. SQLite then need not keep every
// page it changes as it was before the statement, which was a fifth of a bulk load; and a failed statement's transaction, or
// its savepoint, is rolled back anyhow.
const insertOrFail = "INSERT OR FAIL INTO"

func (s *session) insert(ctx context.Context, into string, cols []string, rows [][]any) error {
	n := max(1, min(chunkRows, maxParams/len(cols)))
	args := make([]any, 0, n*len(cols))
	text := ""
	for len(rows) > 0 {
		if len(rows) < n {
			n, text = 1, "" // the rest one by one, so that a table needs two statements and not one per length
		}
		if text == "" {
			text = insertSQL(insertOrFail, into, cols, n, unnamed)
		}
		args = args[:0]
		for _, r := range rows[:n] {
			args = append(args, r...)
		}
		if _, err := s.exec(ctx, text, args); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}
