package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/backup"
	"github.com/dtcgate/dtcgate/store"
)

type backupCmds struct {
	Take   backupTake   `cmd:"" default:"withargs" help:"Write a backup to a new folder."`
	Verify backupVerify `cmd:"" help:"Check that a backup is whole and its audit log is untouched."`
}

type backupTake struct {
	asJSON
	Dir string `arg:"" help:"The folder to make. It must not exist yet."`
}

func (c *backupTake) Run(ctx context.Context, a *app) error {
	var m backup.Manifest
	err := a.with(ctx, func(db *store.DB) (err error) {
		if m, err = backup.Take(ctx, db, a.dsn(), c.Dir, releaseName()); err != nil {
			return fmt.Errorf("no backup was made: %w", err)
		}
		err = db.InTx(ctx, func(tx *store.Tx) error {
			return record(tx, audit.Entry{Event: "backup.taken", Count: m.Size, Reason: "sha256 " + m.SHA256})
		})
		if err != nil { // a copy of everything does not leave without a record
			return fmt.Errorf("the backup was taken away again, as it could not be put on record: %w", errors.Join(err, os.RemoveAll(c.Dir)))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.print(a, m, func(w io.Writer) {
		writeManifest(w, m)
		fmt.Fprintf(w, "It holds no keys and no files. Keep apart from it, by a copy to another place:\n"+
			"  %s signs the record; without it the record goes on under a new key\n"+
			"  %s or $DTCGATE_VAULT_KEY opens what people connected; without it they connect again\n"+
			"  the file of --config, and %s/exports, with what customers were given\n"+
			"Check it with: %s\n", a.auditKey(), masterKeys{}.path(a), a.Data, a.command("backup verify "+c.Dir))
	})
}

func writeManifest(w io.Writer, m backup.Manifest) {
	fmt.Fprintf(w, "A backup of %s, %d bytes, schema %d, taken at %s.\n", m.Engine, m.Size, m.Schema, when(m.MadeAt))
	if m.Checkpoint.Note == "" {
		fmt.Fprintln(w, "Its record was not signed by any server yet.")
		return
	}
	fmt.Fprintf(w, "Its record is signed up to entry %d, with the root %s.\n", m.Checkpoint.Size, m.Checkpoint.Root)
}

type backupVerify struct {
	asJSON
	Dir string `arg:"" help:"The folder of the backup."`
}

// checkedBackup is what was found of a backup.
type checkedBackup struct {
	backup.Manifest
	Whole     bool          `json:"whole"`
	Record    *audit.Report `json:"record,omitempty"` // none where that takes a restore
	TrustedBy string        `json:"trusted_by,omitempty"`
}

func (c *backupVerify) Run(ctx context.Context, a *app) error {
	v := checkedBackup{Whole: true}
	m, report, checked, err := backup.Verify(ctx, c.Dir, "", a.trustTold(&v.TrustedBy))
	if err != nil {
		return err
	}
	v.Manifest = m
	if checked {
		v.Record = &report
	}
	return c.print(a, v, func(w io.Writer) {
		writeManifest(w, m)
		if !checked {
			fmt.Fprintln(w, "The file is whole and can be read to its end. Whether its rows and its record fit shows when it is restored: dtcgate restore "+c.Dir+" --to postgres://… an empty database.")
			return
		}
		writeReport(w, verified{Report: report, OK: true, TrustedBy: v.TrustedBy})
	})
}

// trustTold is trusted, which notes where the keys came from.
func (a *app) trustTold(from *string) backup.Trust {
	return func(ctx context.Context, db *store.DB) (note.Verifiers, error) {
		t, err := a.trusted(ctx, db)
		*from = t.from
		return t.verifiers, err
	}
}
