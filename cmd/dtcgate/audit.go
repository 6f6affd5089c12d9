package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

type auditCmds struct {
	Tail   auditTail   `cmd:"" help:"Print the latest entries."`
	Verify auditVerify `cmd:"" help:"Check that nothing on record was changed, removed or put in."`

	Receipt     auditReceipt     `cmd:"" help:"Write all that is on record about a call into one file that proves it."`
	Consistency auditConsistency `cmd:"" help:"Write the proof that two checkpoints are of one record."`
	Check       auditCheck       `cmd:"" help:"Check such a file, without a database, and say what it proves."`
	Key         auditKey         `cmd:"" help:"Print the public key that checks need."`
	Show        auditShow        `cmd:"" help:"Print one entry by its number or id, or say that it was pruned."`
	Export      auditExport      `cmd:"" help:"Write entries as OCSF events in JSON lines."`
	Sinks       auditSinks       `cmd:"" help:"List where servers copy the log to, and how far each has come."`
	Prune       auditPrune       `cmd:"" help:"Remove old entries. Their hashes stay, so that everything else still verifies."`
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
