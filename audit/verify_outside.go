package audit

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// opened is a signed checkpoint with what came of checking its signature.
type opened[T any] struct {
	of         T
	checkpoint checkpoint
	err        error
}

// openAll checks signatures, on all processors: one takes as long as ten entries, and a quiet gate signs each entry.
func openAll[T any](all []T, open func(T) (checkpoint, error)) []opened[T] {
	done := make([]opened[T], len(all))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(all)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				c, err := open(all[i])
				done[i] = opened[T]{all[i], c, err}
			}
		})
	}
	workers.Wait()
	return done
}

// keep takes checkpoints that were kept elsewhere, for when the walk has come to their sizes.
func (w *walk) keep(outside []string) error {
	for i, o := range openAll(outside, func(signed string) (checkpoint, error) { return openCheckpoint(signed, w.trusted) }) {
		c := o.checkpoint
		if o.err != nil {
			return fmt.Errorf("checkpoint %d of those kept outside: %w", i+1, o.err)
		}
		if other, ok := w.kept[c.size]; ok && other.root != c.root {
			return &BadEntry{Seq: c.size, Checkpoint: c.size, Why: "two checkpoints kept outside contradict each other"}
		}
		w.kept[c.size] = c
	}
	return nil
}

// outside checks a checkpoint kept elsewhere once the walk has reached its size.
func (w *walk) outside(r record) error {
	c, ok := w.kept[r.seq]
	if !ok {
		return nil
	}
	delete(w.kept, r.seq)
	if c.root != w.tree.root() {
		return w.since(w.agreed, c)
	}
	w.agreed = c
	w.report.Outside++
	return nil
}

// cut finds, at the end of the walk, the first checkpoint kept elsewhere that has more entries than are here.
func (w *walk) cut() error {
	var first checkpoint
	for _, c := range w.kept {
		if first.size == 0 || c.size < first.size {
			first = c
		}
	}
	if first.size == 0 {
		return nil
	}
	return &BadEntry{Seq: w.tree.size + 1, Checkpoint: first.size, Why: fmt.Sprintf(
		"the record ends before it; checkpoint %d of %s, which was kept outside, has %d entries",
		first.size, first.at.Format(time.DateTime), first.size)}
}
