package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/witness"
	"github.com/dtcgate/dtcgate/store"
)

type auditVerify struct {
	asJSON
	Against []string `placeholder:"FILE|DSN" sep:"none" help:"Hold the record to checkpoints that were kept elsewhere: a file of a witness, one signed checkpoint, or a witness's database. May be repeated."`
}

// verified is the report with what it rests on.
type verified struct {
	audit.Report
	OK         bool   `json:"ok"`
	TrustedBy  string `json:"trusted_by"`           // where the public keys came from: "audit.key" or "database"
	Unreadable int    `json:"unreadable,omitempty"` // lines of --against that are no checkpoints
}

func (c *auditVerify) Run(ctx context.Context, a *app) error {
	collectLess()
	var v verified
	err := a.with(ctx, func(db *store.DB) error {
		t, err := a.trusted(ctx, db)
		if err != nil {
			return err
		}
		v.TrustedBy = t.from
		var outside []string
		if outside, v.Unreadable, err = c.outside(ctx, t.keys); err != nil {
			return err
		}
		v.Report, err = audit.Verify(ctx, db, t.verifiers, outside...)
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

// outside reads what was kept elsewhere.
func (c *auditVerify) outside(ctx context.Context, keys []string) (notes []string, unreadable int, err error) {
	for _, place := range c.Against {
		kept, err := witness.Read(ctx, place, keys)
		if err != nil {
			return nil, 0, fmt.Errorf("--against: %w", err)
		}
		notes, unreadable = append(notes, kept.Notes...), unreadable+kept.Unreadable
	}
	return notes, unreadable, nil
}

// trustedKeys are the public keys that checkpoints must be signed by, and where they came from.
type trustedKeys struct {
	keys      []string
	verifiers note.Verifiers
	from      string // "audit.key" or "database"
}

// trusted gives the key of the signing key at hand, or else those that the database names, which whoever wrote to the
// database could have put there.
func (a *app) trusted(ctx context.Context, db *store.DB) (t trustedKeys, err error) {
	_, key, err := audit.LoadSigner(a.auditKey())
	t.keys, t.from = []string{key}, "audit.key"
	if errors.Is(err, fs.ErrNotExist) {
		t.from = "database"
		err = db.Read(ctx, func(tx *store.Tx) (err error) {
			t.keys, err = audit.Keys(tx)
			return err
		})
	}
	if err == nil {
		t.verifiers, err = audit.Verifiers(t.keys...)
	}
	return t, err
}

func writeReport(w io.Writer, v verified) {
	fmt.Fprintf(w, "%d entries: %d numbered, %d waiting for a server to number them.\n", v.Entries, v.Sequenced, v.Pending)
	if v.Pruned > 0 {
		fmt.Fprintf(w, "%d of them were pruned; their hashes are here.\n", v.Pruned)
	}
	if v.Unreadable > 0 {
		fmt.Fprintf(w, "%d lines of --against are no checkpoints: cut off by a crash, or changed. They were left out.\n", v.Unreadable)
	}
	if v.Bad != nil {
		return // run says it, on stderr
	}
	fmt.Fprintf(w, "All fit. %d signed checkpoints; root of the first %d entries: %s\n", v.Checkpoints, v.Size, v.Root)
	if v.Outside > 0 {
		fmt.Fprintf(w, "%d checkpoints that were kept elsewhere fit, too.\n", v.Outside)
	}
	if v.TrustedBy != "audit.key" {
		fmt.Fprintln(w, "The public keys came from the database itself, because the signing key is not here: compare them with a copy you kept.")
	}
}

type auditKey struct{}

// Run prints the public keys, one a line.
func (c *auditKey) Run(ctx context.Context, a *app) error {
	_, key, err := audit.LoadSigner(a.auditKey())
	if err == nil {
		fmt.Fprintln(a.out, key)
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return a.with(ctx, func(db *store.DB) error {
		t, err := a.trusted(ctx, db)
		for _, key := range slices.Sorted(slices.Values(t.keys)) {
			fmt.Fprintln(a.out, visible(key))
		}
		return err
	})
}
