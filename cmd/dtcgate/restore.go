package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/backup"
	"github.com/dtcgate/dtcgate/audit/witness"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

type restoreCmds struct {
	From    restoreFrom    `cmd:"" default:"withargs" help:"Restore a backup. No server serves the database until it is released."`
	Release restoreRelease `cmd:"" help:"Let a restored database be served."`
}

type restoreFrom struct {
	asJSON
	Dir     string   `arg:"" help:"The folder of the backup."`
	To      string   `required:"" placeholder:"PATH|postgres://…" help:"Where the database is to be: a file that does not exist, or an empty PostgreSQL database."`
	Outside []string `placeholder:"FILE,…" help:"Checkpoints of the record that were kept elsewhere: files of a witness, or of one signed checkpoint. They show what was rewritten, and what was lost since the backup."`
}

// restoredTold is what a restore says of what it did.
type restoredTold struct {
	backup.Manifest
	Record    audit.Report     `json:"record"`
	TrustedBy string           `json:"trusted_by"`
	Lost      []audit.TreeHead `json:"lost,omitempty"` // checkpoints of entries that the backup does not have
	gate.Restored
}

func (c *restoreFrom) Run(ctx context.Context, a *app) (err error) {
	told := restoredTold{}
	kept, err := readNotes(ctx, c.Outside)
	if err != nil {
		return err
	}
	if !strings.Contains(c.To, "://") {
		unlock, err := lockServer(c.To)
		if err != nil {
			return err
		}
		defer unlock()
	}
	trust := a.trustTold(&told.TrustedBy)
	compare := func(ctx context.Context, db *store.DB) (note.Verifiers, error) {
		trusted, err := trust(ctx, db)
		if err == nil {
			told.Lost, err = compareOutside(ctx, db, trusted, kept)
		}
		return trusted, err
	}
	told.Manifest, told.Record, err = backup.Restore(ctx, c.Dir, c.To, compare, func(tx *store.Tx, m backup.Manifest) (err error) {
		g := gate.New(gate.Config{Tools: registry, Log: zerolog.New(secret.Redacting(a.err))})
		if told.Restored, err = g.AfterRestore(tx, m.MadeAt); err != nil {
			return err
		}
		return record(tx, audit.Entry{Event: "backup.restored", Count: m.Checkpoint.Size, Reason: "taken at " + when(m.MadeAt) + ", sha256 " + m.SHA256})
	})
	if err != nil {
		return err
	}
	return c.print(a, told, func(w io.Writer) { told.write(w) })
}

// readNotes reads files as a witness keeps them, or of one signed checkpoint each.
func readNotes(ctx context.Context, files []string) (notes []string, err error) {
	for _, file := range files {
		kept, err := witness.Read(ctx, file, nil)
		if err != nil {
			return nil, fmt.Errorf("--outside: %w", err)
		}
		notes = append(notes, kept.Notes...)
	}
	return notes, nil
}

// compareOutside holds the restored record to checkpoints that were kept elsewhere. Those of entries beyond it, which were lost, it gives.
func compareOutside(ctx context.Context, db *store.DB, trusted note.Verifiers, kept []string) (lost []audit.TreeHead, err error) {
	var ends int64
	err = db.Read(ctx, func(tx *store.Tx) (err error) {
		ends, err = audit.Head(tx)
		return err
	})
	within := []string{}
	for _, signed := range kept {
		h, openErr := audit.OpenTreeHead(signed, trusted)
		if openErr != nil {
			return nil, fmt.Errorf("a checkpoint of --outside is not signed by a key that is trusted here: %w", openErr)
		}
		if h.Size > ends {
			lost = append(lost, h)
		} else {
			within = append(within, signed)
		}
	}
	if err != nil || len(within) == 0 {
		return lost, err
	}
	report, err := audit.Verify(ctx, db, trusted, within...)
	if err == nil && report.Bad != nil {
		err = fmt.Errorf("the record in the backup is not the one that was signed: %w", report.Bad)
	}
	return lost, err
}

func (t restoredTold) write(w io.Writer) {
	writeManifest(w, t.Manifest)
	writeReport(w, verified{Report: t.Record, OK: true, TrustedBy: t.TrustedBy})
	if len(t.Lost) > 0 {
		last := slices.MaxFunc(t.Lost, func(a, b audit.TreeHead) int { return int(a.Size - b.Size) })
		fmt.Fprintf(w, "LOST: entries %d to %d at least, the last signed at %s.\n", t.Record.Size+1, last.Size, when(last.At))
	}
	fmt.Fprintf(w, "\nWhat was done after %s is not in it. Before you release it:\n", when(t.MadeAt))
	writeJobs(w, "were being sent to outside systems, or about to be. Nobody knows what came of them; say so with `dtcgate jobs reconcile`", t.Doubtful)
	writeJobs(w, "were open and have ended. They may have been done since: look before they are asked again", t.Restored.Ended)
	fmt.Fprintf(w, "- %d messages to customers waited to be handed over; they were taken for sent.\n", t.Letters)
	fmt.Fprintf(w, "- %d sub-tokens, %d sessions and %d links were ended.\n", t.Closed.SubTokens, t.Closed.Sessions, t.Closed.Links)
	fmt.Fprint(w, "- Keys, people and tokens that were revoked since the backup open again: revoke them again.\n"+
		"- Idempotency keys of calls since the backup are forgotten: agents that repeat such a call do it a second time.\n"+
		"- Tokens of outside systems that were renewed since are stale: their people connect again.\n"+
		"- Messages to webhooks since the backup may come once more, under their ids.\n"+
		"No server serves this database until it is released:  dtcgate restore release --db …\n")
}

func writeJobs(w io.Writer, what string, jobs []tools.Job) {
	fmt.Fprintf(w, "- %d calls %s.\n", len(jobs), what)
	for _, j := range jobs {
		fmt.Fprintf(w, "    %s  %s  %s\n", j.JobID, j.Tool, visible(j.Summary))
	}
}

type restoreRelease struct{}

func (c *restoreRelease) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(db *store.DB) error {
		if err := backup.Servable(ctx, db); !errors.Is(err, backup.ErrHeld) {
			if err == nil {
				err = errors.New("this database is not held: it may be served")
			}
			return err
		}
		err := db.InTx(ctx, func(tx *store.Tx) error {
			if held, err := backup.Release(tx); err != nil || !held {
				return err
			}
			return record(tx, audit.Entry{Event: "backup.released"})
		})
		if err == nil {
			fmt.Fprintln(a.out, "Released. Servers may serve it now.")
		}
		return err
	})
}
