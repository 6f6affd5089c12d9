package audit

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/dtcgate/dtcgate/store"
)

// FormatConsistency is the first member of a Consistency.
const FormatConsistency = "dtcgate.consistency/v1"

// A Consistency proves that one checkpoint's record holds all of another's, entry by entry and in the same order
// (RFC 6962, 2.1.2). It needs no database to be checked.
type Consistency struct {
	Format string      `json:"format"`
	Old    string      `json:"old"` // signed checkpoints
	New    string      `json:"new"`
	Proof  []tlog.Hash `json:"proof"`
}

// A Misfit is a checkpoint that does not fit the record, though its signature is good: the record was rewritten, or cut.
type Misfit struct {
	Size int64     `json:"size"`
	At   time.Time `json:"at"`
	Why  string    `json:"why"`
}

func (m *Misfit) Error() string {
	return fmt.Sprintf("checkpoint %d of %s does not fit the record: %s", m.Size, m.At.Format(time.DateTime), m.Why)
}

// ProveConsistency makes the proof that the record of two signed checkpoints is one. They may come from anywhere and in
// any order. The error is a *Misfit, which wraps ErrTampered, when the stored record is not that of one of them.
func ProveConsistency(tx *store.Tx, one, other string, trusted note.Verifiers) (Consistency, error) {
	from, to, err := openBoth(one, other, trusted)
	if err != nil {
		return Consistency{}, err
	}
	if from.size > to.size {
		one, other, from, to = other, one, to, from
	}
	for _, c := range []checkpoint{from, to} {
		if err := c.fits(tx); err != nil {
			return Consistency{}, err
		}
	}
	proof, err := tlog.ProveTree(to.size, from.size, storedTree{tx})
	if err == nil {
		err = tlog.CheckTree(proof, to.size, to.root, from.size, from.root)
	}
	if err != nil {
		return Consistency{}, fmt.Errorf("%w: proving that checkpoint %d grew out of %d: %w", ErrTampered, to.size, from.size, err)
	}
	return Consistency{FormatConsistency, one, other, notNil(proof)}, nil
}

func openBoth(one, other string, trusted note.Verifiers) (from, to checkpoint, err error) {
	if from, err = openCheckpoint(one, trusted); err != nil {
		return from, to, fmt.Errorf("the first checkpoint: %w", err)
	}
	if to, err = openCheckpoint(other, trusted); err != nil {
		return from, to, fmt.Errorf("the second checkpoint: %w", err)
	}
	if from.origin != to.origin {
		return from, to, fmt.Errorf("the checkpoints are of two logs, %q and %q", from.origin, to.origin)
	}
	return from, to, nil
}

// Unwrap makes a Misfit an ErrTampered.
func (m *Misfit) Unwrap() error { return ErrTampered }

// fits checks a checkpoint against the stored tree, of which it reads no more than the edge: the entries are for Verify.
func (c checkpoint) fits(tx *store.Tx) error {
	size, err := Head(tx)
	if err != nil {
		return err
	}
	if c.size > size {
		return &Misfit{c.size, c.at, fmt.Sprintf("the record ends after entry %d", size)}
	}
	tree, err := loadEdge(tx, c.size)
	if err != nil {
		return err
	}
	if tree.root() != c.root {
		return &Misfit{c.size, c.at, fmt.Sprintf("the first %d entries have another root", c.size)}
	}
	return nil
}

// Checked is what a Consistency proves.
type Checked struct {
	Old Checkpoint `json:"old"`
	New Checkpoint `json:"new"`
}

// Check holds a proof to the keys that are trusted, and to nothing else.
func (c Consistency) Check(trusted note.Verifiers) (Checked, error) {
	from, to, err := openBoth(c.Old, c.New, trusted)
	if err != nil {
		return Checked{}, err
	}
	if from.size > to.size {
		return Checked{}, errors.New("the first checkpoint is the newer one")
	}
	if err := tlog.CheckTree(c.Proof, to.size, to.root, from.size, from.root); err != nil {
		return Checked{}, fmt.Errorf("the proof does not lead from the first %d entries to the first %d", from.size, to.size)
	}
	return Checked{Checkpoint{from.size, from.at, c.Old}, Checkpoint{to.size, to.at, c.New}}, nil
}

// notNil is list, and an empty one for none: as JSON it is [] and never null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
