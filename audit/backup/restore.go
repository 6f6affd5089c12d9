package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// Trust gives the public keys by which a database's checkpoints are believed.
type Trust func(context.Context, *store.DB) (note.Verifiers, error)

// Verify checks a backup as far as that goes without a place to restore it to. That is, of SQLite, all of it, the audit log on a copy in
// scratch included, which needs as much room as the backup; of PostgreSQL, that the file is whole and can be read to its end, and checked is
// false.
func Verify(ctx context.Context, dir, scratch string, trust Trust) (m Manifest, report audit.Report, checked bool, err error) {
	if m, err = Open(dir); err != nil {
		return m, report, false, err
	}
	if m.Engine == "postgres" {
		return m, report, false, checkPostgres(ctx, dir, m)
	}
	if err := checkSQLite(ctx, dir, m); err != nil {
		return m, report, false, err
	}
	report, err = checkCopy(ctx, dir, m, scratch, trust)
	return m, report, true, err
}

// checkCopy verifies the audit log of a backup on a copy, since opening a database brings its schema up to date.
func checkCopy(ctx context.Context, dir string, m Manifest, scratch string, trust Trust) (report audit.Report, err error) {
	folder, err := os.MkdirTemp(scratch, "dtcgate-verify-*")
	if err != nil {
		return report, err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, m.File)
	if err := copyFile(filepath.Join(dir, m.File), file); err != nil {
		return report, err
	}
	db, err := store.Open(ctx, file)
	if err != nil {
		return report, err
	}
	report, err = m.checkRecord(ctx, db, trust)
	return report, errors.Join(err, db.Close())
}

// checkRecord verifies the audit log, and that it is the one which the manifest's checkpoint signed. A record that does not fit is the error.
func (m Manifest) checkRecord(ctx context.Context, db *store.DB, trust Trust) (audit.Report, error) {
	trusted, err := trust(ctx, db)
	if err != nil {
		return audit.Report{}, err
	}
	var kept []string
	if m.Checkpoint.Note != "" {
		kept = append(kept, m.Checkpoint.Note)
	}
	report, err := audit.Verify(ctx, db, trusted, kept...)
	if err == nil && report.Bad != nil {
		err = fmt.Errorf("the audit log in the backup was tampered with: %w", report.Bad)
	}
	if err == nil && report.Size != m.Checkpoint.Size {
		err = fmt.Errorf("the audit log in the backup ends with checkpoint %d, and the manifest says %d", report.Size, m.Checkpoint.Size)
	}
	return report, err
}

// Restore puts a backup to where to leads, a place where there is nothing, and verifies its audit log. settle then puts in order what a
// backup cannot know, in the transaction that ends the restore. The database is held afterwards (Servable).
func Restore(ctx context.Context, dir, to string, trust Trust, settle func(*store.Tx, Manifest) error) (m Manifest, report audit.Report, err error) {
	if m, err = Open(dir); err != nil {
		return m, report, err
	}
	restore := restoreSQLite
	if m.Engine == "postgres" {
		restore = restorePostgres
	}
	if strings.Contains(to, "://") != (m.Engine == "postgres") {
		return m, report, fmt.Errorf("the backup is of %s: it cannot be restored to another engine", m.Engine)
	}
	err = restore(ctx, dir, m, to, func(db *store.DB) (err error) {
		if report, err = m.checkRecord(ctx, db, trust); err != nil {
			return err
		}
		return db.Bulk(ctx, func(tx *store.Tx) error {
			if err := settle(tx, m); err != nil {
				return err
			}
			return hold(tx)
		})
	})
	return m, report, err
}
