package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

type auditCmds struct {
	Tail   auditTail   `cmd:"" help:"Print the latest entries."`
	Verify auditVerify `cmd:"" help:"Check that nothing on record was changed, removed or put in."`
	Show   auditShow   `cmd:"" help:"Print one entry by its number or id, or say that it was pruned."`
	Export auditExport `cmd:"" help:"Write entries as OCSF events in JSON lines."`
	Sinks  auditSinks  `cmd:"" help:"List where servers copy the log to, and how far each has come."`
	Prune  auditPrune  `cmd:"" help:"Remove old entries. Their hashes stay, so that everything else still verifies."`
}

type auditTail struct {
	asJSON
	Follow bool `short:"f" help:"Go on with what comes in, until interrupted. With --json: one document a line."`
	Lines  int  `short:"n" default:"20" help:"How many entries to begin with."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *auditTail) Validate() error {
	if c.Lines < 1 || c.Lines > 10_000 {
		return errors.New("--lines must be 1 to 10000")
	}
	return nil
}

func (c *auditTail) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(db *store.DB) error {
		entries, err := latest(ctx, db, c.Lines)
		if err != nil {
			return err
		}
		if c.Follow {
			return c.follow(ctx, a, db, entries)
		}
		return c.print(a, entries, func(w io.Writer) {
			for _, e := range entries {
				writeEntry(w, e)
			}
		})
	})
}

// latest gives the newest entries, oldest first. Those that no server has numbered yet are among them, with number 0.
func latest(ctx context.Context, db *store.DB, n int) (entries []audit.Sequenced, err error) {
	err = db.Read(ctx, func(tx *store.Tx) error {
		entries, err = audit.Find(tx, audit.Filter{Limit: n})
		return err
	})
	slices.Reverse(entries)
	return entries, err
}

// followEvery is how often new entries are looked for.
const followEvery = 300 * time.Millisecond

// follow prints numbered entries as they come. Those without a number are left for when they have one.
func (c *auditTail) follow(ctx context.Context, a *app, db *store.DB, entries []audit.Sequenced) error {
	var last int64
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		for _, e := range entries {
			if e.Seq == 0 {
				continue
			}
			last = max(last, e.Seq)
			if err := c.printLine(a, e); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := db.Read(ctx, func(tx *store.Tx) (err error) {
			entries, err = audit.Tail(tx, last, 1000)
			return err
		})
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (c *auditTail) printLine(a *app, e audit.Sequenced) error {
	if !c.JSON {
		writeEntry(a.out, e)
		return a.out.err
	}
	if err := json.NewEncoder(a.out).Encode(e); err != nil {
		return err
	}
	return a.out.err
}

// writeEntry prints one line: the number, the time, and what the entry has.
func writeEntry(w io.Writer, e audit.Sequenced) {
	number := "-"
	if e.Seq > 0 {
		number = fmt.Sprint(e.Seq)
	}
	parts := []string{fmt.Sprintf("%6s  %s  %-20s", number, when(e.At), e.Event)}
	for _, part := range []string{e.Tool, e.Status, e.Code, e.Level, e.Actor, e.Resource, e.JobID, e.Reason} {
		if part != "" {
			parts = append(parts, visible(part))
		}
	}
	if e.Count > 1 {
		parts = append(parts, fmt.Sprintf("%d times", e.Count))
	}
	fmt.Fprintln(w, strings.Join(parts, "  "))
}

type auditVerify struct{ asJSON }

// verified is the report with what it rests on.
type verified struct {
	audit.Report
	OK        bool   `json:"ok"`
	TrustedBy string `json:"trusted_by"` // where the public keys came from: "audit.key" or "database"
}

func (c *auditVerify) Run(ctx context.Context, a *app) error {
	var v verified
	err := a.with(ctx, func(db *store.DB) error {
		trusted, from, err := a.trusted(ctx, db)
		if err != nil {
			return err
		}
		v.TrustedBy = from
		v.Report, err = audit.Verify(ctx, db, trusted)
		v.OK = v.Bad == nil
		return err
	})
	if err != nil {
		return err
	}
	if err := c.print(a, v, func(w io.Writer) { writeReport(w, v) }); err != nil {
		return err
	}
	if !v.OK {
		return fmt.Errorf("the audit log was tampered with: %w", v.Bad)
	}
	return nil
}

// trusted gives the public keys that checkpoints must be signed by: the one of the signing key at hand, or else those
// that the database names, which whoever wrote to the database could have put there.
func (a *app) trusted(ctx context.Context, db *store.DB) (trusted note.Verifiers, from string, err error) {
	_, key, err := audit.LoadSigner(a.auditKey())
	keys, from := []string{key}, "audit.key"
	if errors.Is(err, fs.ErrNotExist) {
		from = "database"
		err = db.Read(ctx, func(tx *store.Tx) (err error) {
			keys, err = audit.Keys(tx)
			return err
		})
	}
	if err != nil {
		return nil, "", err
	}
	trusted, err = audit.Verifiers(keys...)
	return trusted, from, err
}

func writeReport(w io.Writer, v verified) {
	fmt.Fprintf(w, "%d entries: %d numbered, %d waiting for a server to number them.\n", v.Entries, v.Sequenced, v.Pending)
	if v.Pruned > 0 {
		fmt.Fprintf(w, "%d of them were pruned; their hashes are here.\n", v.Pruned)
	}
	if v.Bad != nil {
		return // run says it, on stderr
	}
	fmt.Fprintf(w, "All fit. %d signed checkpoints; root of the first %d entries: %s\n", v.Checkpoints, v.Size, v.Root)
	if v.TrustedBy != "audit.key" {
		fmt.Fprintln(w, "The public keys came from the database itself, because the signing key is not here: compare them with a copy you kept.")
	}
}
