package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
)

var errClosed = errors.New("the database is closed")

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
	group   group
	closed  atomic.Bool
	readers int           // sessions that read, however many were opened
	free    chan *session // the sessions of readers that nobody uses now; none once it is closed
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
	if err := prepareFile(ctx, path); err != nil {
		return nil, err
	}
	s := &sqliteEngine{group: group{session: &session{path: path, pragmas: writerPragmas}}, free: make(chan *session, readers)}
	if err := s.group.session.open(); err != nil {
		return nil, fmt.Errorf("opening the database %s: %w", path, err)
	}
	for range readers {
		r := &session{path: path, pragmas: readerPragmas}
		if err := r.watched(); err != nil {
			return nil, errors.Join(fmt.Errorf("opening the database %s: %w", path, err), s.close())
		}
		s.free <- r
		s.readers++
	}
	return s, nil
}

// prepareFile brings the file to this program's schema, through database/sql, which the library for migrations speaks.
func prepareFile(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", sqliteDSN(path, writerPragmas))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	err = claimFile(ctx, db, path)
	if err == nil {
		err = migrate(ctx, "sqlite", db)
	}
	return errors.Join(err, db.Close())
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
	l := &session{path: path + "-lock", pragmas: []string{"busy_timeout(60000)"}}
	unlock = func() error { l.drop(); return nil }
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
	if s.closed.Load() {
		return lost("beginning a read", errClosed)
	}
	calm, err := r.interruptible(ctx)
	if err == nil {
		_, err = r.exec(ctx, "BEGIN", nil)
	}
	if err != nil {
		r.drop()
		if ctx.Err() != nil {
			return err // it was interrupted, and nothing is wrong with the database
		}
		return lost("beginning a read", err)
	}
	defer func() {
		calm()
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
	s.closed.Store(true)
	s.group.session.drop()
	s.group.closed = true
	for range s.readers {
		r := <-s.free
		r.drop()
		defer func() { s.free <- r }() // for a Read after Close, which is told so
	}
	return nil
}
