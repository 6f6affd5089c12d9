package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/witness"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
)

type auditReceipt struct {
	Call   string `arg:"" help:"The id of the call, call_…, of its job, job_…, or of one entry, aud_…."`
	Out    string `short:"o" placeholder:"FILE" help:"Write to a file, which must not be there yet, instead of stdout."`
	Values bool   `help:"Put the personal values in that are not erased: arguments, reasons. A file cannot be made to forget them."`
}

func (c *auditReceipt) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(db *store.DB) error {
		t, err := a.trusted(ctx, db)
		if err != nil {
			return err
		}
		var r audit.Receipt
		err = db.Read(ctx, func(tx *store.Tx) (err error) {
			r, err = audit.MakeReceipt(tx, c.Call, audit.ReceiptOptions{Trusted: t.verifiers, Policy: policyText, Values: c.Values})
			return err
		})
		switch unproved := (*audit.Unproved)(nil); {
		case errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("nothing is on record about %q; if it was removed by age, only a receipt of before can prove it", c.Call)
		case errors.As(err, &unproved):
			return fmt.Errorf("%w: the record does not hold; run dtcgate audit verify", err)
		case err != nil:
			return err
		}
		return c.write(a, r)
	})
}

// policyText finds a policy for a receipt.
func policyText(tx *store.Tx, merchant string, version int64) (audit.PolicyText, error) {
	v, err := policy.Find(tx, merchant, version)
	return audit.PolicyText{SHA256: v.Hash, Text: v.Source, At: v.At}, err
}

func (c *auditReceipt) write(a *app, r audit.Receipt) error {
	file, err := audit.Write(r)
	if err != nil {
		return err
	}
	return saveProof(a, c.Out, file)
}

// saveProof writes a file of proof whole, and replaces none.
func saveProof(a *app, path string, file []byte) error {
	if path == "" {
		_, err := a.out.Write(file)
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing the proof: %w", err)
	}
	_, err = f.Write(file)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

type auditConsistency struct {
	Old string `arg:"" optional:"" help:"A checkpoint: how many entries it covers, or a file of a witness, of which the oldest is taken. The oldest on record if left out."`
	New string `arg:"" optional:"" help:"Another one; of a witness's file the newest is taken. The newest on record if left out."`
	Out string `short:"o" placeholder:"FILE" help:"Write the proof to a file, which must not be there yet, instead of stdout."`
}

func (c *auditConsistency) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(db *store.DB) error {
		t, err := a.trusted(ctx, db)
		if err != nil {
			return err
		}
		var proof audit.Consistency
		err = db.Read(ctx, func(tx *store.Tx) error {
			from, err := checkpointNamed(tx, c.Old, audit.FirstCheckpoint, func(notes []string) string { return notes[0] }, t.keys)
			if err != nil {
				return err
			}
			to, err := checkpointNamed(tx, c.New, audit.LastCheckpoint, func(notes []string) string { return notes[len(notes)-1] }, t.keys)
			if err != nil {
				return err
			}
			proof, err = audit.ProveConsistency(tx, from, to, t.verifiers)
			return err
		})
		if err != nil {
			return err
		}
		file, err := audit.Write(proof)
		if err != nil {
			return err
		}
		return saveProof(a, c.Out, file)
	})
}

// checkpointNamed finds the signed note that an argument names: a stored one by its size or by default, or one of a place outside.
func checkpointNamed(tx *store.Tx, name string, otherwise func(*store.Tx) (audit.Checkpoint, error), choose func([]string) string, keys []string) (string, error) {
	if name == "" {
		c, err := otherwise(tx)
		if errors.Is(err, store.ErrNotFound) {
			err = errors.New("no checkpoint was signed yet: a running server signs one within a second")
		}
		return c.Note, err
	}
	if size, err := strconv.ParseInt(name, 10, 64); err == nil {
		c, err := audit.CheckpointOf(tx, size)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("there is no checkpoint of %d entries on record; name a size that was signed, or a file", size)
		}
		return c.Note, err
	}
	kept, err := witness.Read(tx.Context(), name, keys)
	if err != nil {
		return "", fmt.Errorf("reading checkpoints of %q: %w", name, err)
	}
	return choose(kept.Notes), nil
}

type auditCheck struct {
	asJSON
	File string   `arg:"" help:"What audit receipt or audit consistency wrote; - for stdin."`
	Key  []string `required:"" sep:"none" placeholder:"PUB" help:"The log's public key as audit key prints it, or a file that holds it. Have it from somewhere else than the file. May be repeated."`
}

// Run needs no database, and asks nobody.
func (c *auditCheck) Run(_ context.Context, a *app) error {
	keys, err := readKeys(c.Key)
	if err != nil {
		return err
	}
	trusted, err := audit.Verifiers(keys...)
	if err != nil {
		return fmt.Errorf("--key: %w", err)
	}
	file, err := readLimited(c.File, audit.MaxProof)
	if err != nil {
		return err
	}
	proof, err := audit.Read(file)
	if err != nil {
		return fmt.Errorf("nothing is proved. The file: %w", err)
	}
	switch p := proof.(type) {
	case audit.Receipt:
		found, err := p.Check(trusted)
		if err != nil {
			return fmt.Errorf("nothing is proved. What does not hold is %w", err)
		}
		return c.print(a, found, func(w io.Writer) { writeFindings(w, found) })
	case audit.Consistency:
		found, err := p.Check(trusted)
		if err != nil {
			return fmt.Errorf("nothing is proved: %w", err)
		}
		return c.print(a, found, func(w io.Writer) { writeChecked(w, found) })
	}
	return errors.New("nothing is proved: the file is of a kind that this program does not know")
}

// readKeys gives public keys, of which each is one or a file of some.
func readKeys(given []string) (keys []string, err error) {
	for _, key := range given {
		if strings.Count(key, "+") < 2 {
			b, err := readLimited(key, 64<<10)
			if err != nil {
				return nil, fmt.Errorf("--key: %w", err)
			}
			keys = append(keys, strings.Fields(string(b))...)
			continue
		}
		keys = append(keys, strings.TrimSpace(key))
	}
	if len(keys) == 0 {
		return nil, errors.New("--key: there is no key in it")
	}
	return keys, nil
}

// readLimited reads a file, or stdin for -, and one byte more than it may have at most.
func readLimited(path string, most int64) ([]byte, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	return io.ReadAll(io.LimitReader(f, most+1))
}
