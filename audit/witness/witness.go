// Package witness takes signed checkpoints out of the house.
//
// Who owns the database and the signing key can compute the whole record anew, or cut its end off together with the
// checkpoints: nothing inside shows it. A checkpoint that is kept where that person cannot write does (audit.Verify). So a
// Witness copies the newest one every so often, and once more at the end, to each of its destinations: a file that is only
// appended to, a webhook, another database.
//
// # What it promises
//
//   - Calls never wait for it. It reads one row, in a snapshot, and each destination has a loop of its own.
//   - A destination that fails is tried again after ever longer pauses, with what is newest then; what is between two
//     copies is covered by the later one. It is logged when it begins to fail and when it works again, and State tells.
//   - Before it copies, it proves that the new checkpoint grew out of the one that is kept there (audit.ProveConsistency).
//     What did not is not copied: the older copy is the evidence. After a restart a file and a database are asked for
//     what they keep; a webhook cannot be, so its first message of a process is sent unproved.
//   - It keeps no state of its own. Several replicas may copy to one place: a copy that is there already changes nothing
//     in a database, is one more line in a file, and has the same webhook-id in a webhook.
package witness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// Limits of copying.
const (
	firstPause = time.Second      // after a failure, and twice as long after each more
	maxPause   = time.Minute      // between attempts, unless copies are further apart anyway
	putTime    = 10 * time.Second // for one copy
	lastTime   = 3 * time.Second  // for the copy at the end
)

// A Destination is a place outside.
type Destination interface {
	// Name says what it is without a password, for logs and figures: file, webhook, database.
	Name() string
	// Put keeps a checkpoint durably. One that is kept already is no error.
	Put(ctx context.Context, c audit.Checkpoint) error
	// Last is the signed note of the newest that is kept, and "" when there is none or it cannot be told.
	Last(ctx context.Context) (string, error)
}

// Config is what a Witness needs.
type Config struct {
	DB           *store.DB
	Key          string // the log's public key; those that the database names are trusted beside it, as the sequencer does
	Every        time.Duration
	Destinations []Destination
	Log          func(destination string, err error) // told when one begins to fail, and with nil when it works again. May be nil
}

// Witness copies checkpoints. Its methods may be used concurrently.
type Witness struct {
	Config
	mu     sync.Mutex
	states []State // by destination
	kept   []string
}

// State is how far a destination has come.
type State struct {
	Destination string    `json:"destination"`
	Size        int64     `json:"size"`                   // entries that its newest checkpoint covers, as far as this process knows
	CopiedAt    time.Time `json:"copied_at,omitzero"`     // when it was put or found there
	Behind      int64     `json:"behind"`                 // entries signed since, when last looked
	FailingAt   time.Time `json:"failing_since,omitzero"` // since when nothing could be copied
	Problem     string    `json:"problem,omitempty"`
	Tampered    bool      `json:"tampered,omitempty"` // the record is not the one that is kept there
}

// New makes a witness. It starts nothing.
func New(c Config) *Witness {
	w := &Witness{Config: c, states: make([]State, len(c.Destinations)), kept: make([]string, len(c.Destinations))}
	for i, d := range c.Destinations {
		w.states[i].Destination = d.Name()
	}
	return w
}

// State tells of each destination, in their order.
func (w *Witness) State() []State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]State{}, w.states...)
}

// Run copies until ctx ends, and then once more what is newest: end it after the sequencer. The error says which copies of
// the end could not be made.
func (w *Witness) Run(ctx context.Context) error {
	errs := make([]error, len(w.Destinations))
	var all sync.WaitGroup
	for i := range w.Destinations {
		all.Go(func() { errs[i] = w.serve(ctx, i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// serve is the loop of one destination.
func (w *Witness) serve(ctx context.Context, i int) error {
	pause := time.Duration(0)
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
			defer cancel()
			return w.copy(last, i)
		case <-time.After(pause):
		}
		pause, failed = w.Every, failed+1
		if err := w.copy(ctx, i); err == nil {
			failed = 0
		} else {
			pause = min(firstPause<<min(failed-1, 10), max(maxPause, w.Every))
		}
	}
}

// Once copies what is new to all destinations, one after the other.
func (w *Witness) Once(ctx context.Context) error {
	var errs []error
	for i := range w.Destinations {
		errs = append(errs, w.copy(ctx, i))
	}
	return errors.Join(errs...)
}

// copy brings a destination the newest checkpoint, unless it has it, and notes what came of it.
func (w *Witness) copy(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	c, there, err := w.next(ctx, i)
	if err == nil && c.Size > 0 && !there {
		err = w.Destinations[i].Put(ctx, c)
	}
	if err != nil {
		err = fmt.Errorf("copying a checkpoint to the %s: %w", w.Destinations[i].Name(), err)
	}
	if ended := ctx.Err(); errors.Is(ended, context.Canceled) {
		return ended // by the process, which copies once more
	}
	w.note(i, c, err)
	return err
}

// next is the checkpoint to copy, nothing at all when none was signed, and whether it is there already.
func (w *Witness) next(ctx context.Context, i int) (c audit.Checkpoint, there bool, err error) {
	kept := w.kept[i] // of this loop alone
	if kept == "" {
		if kept, err = w.Destinations[i].Last(ctx); err != nil {
			return c, false, err
		}
	}
	err = w.DB.Read(ctx, func(tx *store.Tx) error {
		c, err = grownFrom(tx, kept, w.Key)
		return err
	})
	return c, c.Note == kept, err
}

// grownFrom is the newest checkpoint of a record that holds all of what is kept.
func grownFrom(tx *store.Tx, kept, key string) (audit.Checkpoint, error) {
	c, err := audit.LastCheckpoint(tx)
	switch {
	case errors.Is(err, store.ErrNotFound) && kept != "":
		return c, fmt.Errorf("%w: it has no checkpoint, and one is kept there", audit.ErrTampered)
	case errors.Is(err, store.ErrNotFound):
		return audit.Checkpoint{}, nil
	case err != nil || kept == "":
		return c, err
	}
	trusted, err := trusted(tx, key)
	if err == nil {
		_, err = audit.ProveConsistency(tx, kept, c.Note, trusted)
	}
	return c, err
}

func trusted(tx *store.Tx, key string) (note.Verifiers, error) {
	keys, err := trustedKeys(tx, key)
	if err != nil {
		return nil, err
	}
	return audit.Verifiers(keys...)
}

// trustedKeys are those whose checkpoints are copied: replicas may each have their own.
func trustedKeys(tx *store.Tx, key string) ([]string, error) {
	keys, err := audit.Keys(tx)
	if key != "" && !slices.Contains(keys, key) {
		keys = append(keys, key)
	}
	return keys, err
}

// note keeps what came of a copy, and logs when that is news.
func (w *Witness) note(i int, c audit.Checkpoint, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.states[i]
	was := *s
	if err != nil {
		s.Problem, s.Tampered, s.Behind = err.Error(), errors.Is(err, audit.ErrTampered), max(s.Behind, c.Size-s.Size)
		if s.FailingAt.IsZero() {
			s.FailingAt = w.DB.Now()
		}
	} else {
		*s, w.kept[i] = State{Destination: s.Destination, Size: c.Size, CopiedAt: w.DB.Now()}, c.Note
	}
	if w.Log != nil && ((was.Problem == "") != (s.Problem == "") || was.Tampered != s.Tampered) {
		w.Log(s.Destination, err)
	}
}
