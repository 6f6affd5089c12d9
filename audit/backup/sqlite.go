package backup

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// snapshotSQLite copies a SQLite file with VACUUM INTO, on a connection of its own: one read transaction, beside which writers go on. Unlike
// the copy of pages that is SQLite's other way it leaves free pages behind, where values of forgotten people may stand.
func snapshotSQLite(ctx context.Context, _ *store.DB, dsn, file string, m *Manifest) error {
	empty, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // SQLite would follow the umask
	if err != nil {
		return err
	}
	if err := empty.Close(); err != nil {
		return err
	}
	live, err := openSQLite(dsn, url.Values{"mode": {"rw"}, "_pragma": {"busy_timeout(5000)"}})
	if err != nil {
		return err
	}
	_, err = live.ExecContext(ctx, "VACUUM INTO ?", file)
	if err := errors.Join(err, live.Close()); err != nil {
		return fmt.Errorf("copying the database: %w", err)
	}
	return readSQLite(ctx, file, func(db *sql.DB) error {
		if err := db.QueryRowContext(ctx, schemaQuery).Scan(&m.Schema); err != nil {
			return err
		}
		return m.readHead(db.QueryRowContext(ctx, audit.TreeHeadQuery))
	})
}

// Statements about any of our databases.
const schemaQuery = `SELECT MAX(version_id) FROM goose_db_version`

// readHead notes the last checkpoint of the snapshot. A record that no server has signed yet has none.
func (m *Manifest) readHead(row store.Row) (err error) {
	m.Checkpoint, err = audit.ScanTreeHead(row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// readSQLite opens a file that nobody writes; nothing is made beside it.
func readSQLite(ctx context.Context, file string, fn func(*sql.DB) error) error {
	db, err := openSQLite(file, url.Values{"mode": {"ro"}, "immutable": {"1"}})
	if err != nil {
		return err
	}
	return errors.Join(fn(db), db.Close())
}

func openSQLite(path string, settings url.Values) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.Clean(path)}).EscapedPath()+"?"+settings.Encode())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// checkSQLite has SQLite look at every page, row and reference of a backup, and holds the manifest to it.
func checkSQLite(ctx context.Context, dir string, m Manifest) error {
	found := m
	err := readSQLite(ctx, filepath.Join(dir, m.File), func(db *sql.DB) error {
		var said string
		if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said); err != nil {
			return err
		}
		if said != "ok" {
			return fmt.Errorf("SQLite finds it damaged: %s", said)
		}
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) || '' FROM pragma_foreign_key_check").Scan(&said); err != nil {
			return err
		}
		if said != "0" {
			return fmt.Errorf("%s rows refer to rows that are not there", said)
		}
		if err := db.QueryRowContext(ctx, schemaQuery).Scan(&found.Schema); err != nil {
			return err
		}
		return found.readHead(db.QueryRowContext(ctx, audit.TreeHeadQuery))
	})
	if err == nil && found != m {
		err = errors.New("its schema or its last checkpoint is not what the manifest says")
	}
	if err != nil {
		return fmt.Errorf("checking %s: %w", m.File, err)
	}
	return nil
}

// copyFile copies a backup's file to a place of its own, for its owner only.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// restoreSQLite makes the database beside its place, and puts it there when finish has done its part: whole or not at all.
func restoreSQLite(ctx context.Context, dir string, m Manifest, path string, finish func(*store.DB) error) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is something at %s already: a backup is restored to a place where there is nothing", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(path), ".unfinished-restore-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(unfinished)
	file := filepath.Join(unfinished, m.File)
	if err := copyFile(filepath.Join(dir, m.File), file); err != nil {
		return err
	}
	db, err := store.Open(ctx, file)
	if err != nil {
		return err
	}
	if err := errors.Join(finish(db), db.Close()); err != nil {
		return err
	}
	return place(file, path)
}

// place gives a closed database its name, if nobody has it.
func place(file, path string) error {
	if wal, err := os.Stat(file + "-wal"); err == nil && wal.Size() > 0 {
		return errors.New("the restored database has not been closed whole: somebody else has opened it")
	}
	if err := syncPath(file); err != nil {
		return err
	}
	if err := os.Link(file, path); err != nil { // unlike a rename it replaces nothing
		return err
	}
	return syncPath(filepath.Dir(path))
}
