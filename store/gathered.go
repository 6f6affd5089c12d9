package store

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

// Gathered are writes of many callers that one statement can do together. Whoever comes first begins a transaction, and writes in it what
// everybody has brought by the time it is his turn; who comes later begins the next, which shares the commit where it can. Nobody waits
// for more to come. All its methods may be used concurrently.
type Gathered[T any] struct {
	DB *DB
	// Write does all of them, or none. It must not depend on who brought what.
	Write func(*Tx, []T) error

	mu      sync.Mutex // guards what follows
	waiting []*brought[T]
	begun   bool // somebody is about to take what waits
}

type brought[T any] struct {
	what T
	done chan error
}

// Do writes what with whatever else is to be written, and returns when it is durable. The time that there is for it is that of whoever writes,
// who came before: all that come should have about as much.
func (g *Gathered[T]) Do(ctx context.Context, what T) error {
	b := &brought[T]{what, make(chan error, 1)}
	if g.add(b) {
		g.write(ctx)
	}
	return <-b.done
}

// add reports whether the caller is to write.
func (g *Gathered[T]) add(b *brought[T]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, b)
	first := !g.begun
	g.begun = true
	return first
}

func (g *Gathered[T]) take() []*brought[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.waiting
	g.waiting, g.begun = nil, false
	return all
}

// write writes what waits. When one of several cannot be written, each is tried by itself, so that nobody fails for another. What failed later is
// not tried again: it may be committed all the same.
func (g *Gathered[T]) write(ctx context.Context) {
	var all []*brought[T]
	err := errors.New("store: gathered writes were given up")
	defer func() {
		if all == nil {
			all = g.take()
		}
		for _, b := range all {
			b.done <- err
		}
	}()
	var refused error
	runtime.Gosched() // whoever is ready comes along, and a commit is shared by more
	err = g.DB.InTx(ctx, func(tx *Tx) error {
		all = g.take()
		what := make([]T, len(all))
		for i, b := range all {
			what[i] = b.what
		}
		refused = g.Write(tx, what)
		return refused
	})
	if refused == nil || len(all) < 2 || errors.Is(err, ErrUnavailable) {
		return
	}
	for len(all) > 0 {
		all[0].done <- g.DB.InTx(ctx, func(tx *Tx) error { return g.Write(tx, []T{all[0].what}) })
		all = all[1:]
	}
}
