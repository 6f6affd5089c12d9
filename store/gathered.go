package store

import (
	"context"
	"errors"
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

// Do writes what with whatever else is to be written, and returns when it is durable. A context that ends meanwhile leaves it to the others.
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

// write writes what waits. When one of several cannot be written, each is tried by itself, so that nobody fails for another.
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
	err = g.DB.InTx(ctx, func(tx *Tx) error {
		all = g.take()
		what := make([]T, len(all))
		for i, b := range all {
			what[i] = b.what
		}
		return g.Write(tx, what)
	})
	if err == nil || len(all) < 2 || errors.Is(err, ErrUnavailable) {
		return
	}
	for _, b := range all {
		b.done <- g.DB.InTx(ctx, func(tx *Tx) error { return g.Write(tx, []T{b.what}) })
	}
	all = []*brought[T]{}
}
