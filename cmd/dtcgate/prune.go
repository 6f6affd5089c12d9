package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/retention"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

type auditPrune struct {
	asJSON
	OlderThan age  `required:"" placeholder:"400d" help:"Remove entries that are older. At least 30d."`
	DryRun    bool `help:"Only say what would go."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *auditPrune) Validate() error {
	if err := retention.CheckAge(time.Duration(c.OlderThan)); err != nil {
		return fmt.Errorf("--older-than: %w", err)
	}
	return nil
}

// prunedAnswer is what the command says.
type prunedAnswer struct {
	retention.Plan
	DryRun  bool  `json:"dry_run"`
	Removed int64 `json:"removed"`
}

func (c *auditPrune) Run(ctx context.Context, a *app) error {
	answer := prunedAnswer{DryRun: c.DryRun}
	err := a.with(ctx, func(db *store.DB) (err error) {
		if c.DryRun {
			return db.Read(ctx, func(tx *store.Tx) error {
				answer.Plan, err = retention.Look(tx, time.Duration(c.OlderThan))
				return err
			})
		}
		p := &retention.Pruner{DB: db, Age: time.Duration(c.OlderThan), Actor: auth.Operator}
		if p.Sequence, err = a.sequencer(db); err != nil {
			return err
		}
		answer.Plan, answer.Removed, err = p.Prune(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, answer, func(w io.Writer) { writePruned(w, answer) })
}

func writePruned(w io.Writer, p prunedAnswer) {
	for _, held := range p.Held {
		fmt.Fprintln(w, "Stays:", visible(held))
	}
	if p.DryRun {
		fmt.Fprintf(w, "%d entries of before %s would go, up to number %d. Their hashes stay.\n", p.Entries, when(p.Before), p.Horizon)
		return
	}
	fmt.Fprintf(w, "%d entries of before %s are gone, up to number %d. Their hashes stay.\n", p.Removed, when(p.Before), p.Horizon)
}

// sequencer numbers entries with the signing key that is at hand; nil without one, where only a server can. Beside a server it leaves the work to it.
func (a *app) sequencer(db *store.DB) (func(context.Context) error, error) {
	signer, key, err := audit.LoadSigner(a.auditKey())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	log := audit.New(audit.Config{DB: db, Signer: signer, VerifierKey: key})
	return func(ctx context.Context) error {
		_, err := log.Sequence(ctx)
		return err
	}, nil
}

type auditShow struct {
	asJSON
	Which string `arg:"" help:"An entry's number, or its id (aud_…)."`
}

// shown is an entry, or what is left of one that was pruned.
type shown struct {
	audit.Place
	Entry   json.RawMessage `json:"entry,omitempty"`
	Horizon *audit.Horizon  `json:"horizon,omitempty"` // that it went behind
}

func (c *auditShow) Run(ctx context.Context, a *app) error {
	var s shown
	err := a.with(ctx, func(db *store.DB) error {
		return db.Read(ctx, func(tx *store.Tx) (err error) {
			s, err = find(tx, c.Which)
			return err
		})
	})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no numbered entry %s: `dtcgate audit tail` shows the latest", visible(c.Which))
	}
	if err != nil {
		return err
	}
	return c.print(a, s, func(w io.Writer) { writeShown(w, s) })
}

// find looks an entry up by number or id.
func find(tx *store.Tx, which string) (s shown, err error) {
	seq, _ := strconv.ParseInt(which, 10, 64) // 0 when it is an id, and no entry's number
	if s.Place, err = audit.Locate(tx, seq, which); err != nil {
		return s, err
	}
	if s.Pruned {
		h, err := audit.LastHorizon(tx, true)
		s.Horizon = &h
		return s, err
	}
	stretch, err := audit.ReadStretch(tx, s.Seq-1, s.Seq, 1, 1, false)
	if err == nil && len(stretch.Entries) == 1 {
		s.Entry = json.RawMessage(stretch.Entries[0].Body)
	}
	return s, err
}

func writeShown(w io.Writer, s shown) {
	if s.Pruned {
		fmt.Fprintf(w, "%d  %s  PRUNED: those up to %d were removed; entry %d says so. Its hash is in the tree.\n", s.Seq, s.ID, s.Horizon.Seq, s.Horizon.Said)
		return
	}
	fmt.Fprintf(w, "%d  %s\n%s\n", s.Seq, s.ID, visible(string(s.Entry)))
}
