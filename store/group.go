package store

import (
	"context"
	"sync"
)

// maxMembers bounds how many callers share a commit, and with it how long the first of them waits.
const maxMembers = 64

// group lets concurrent writers of a SQLite file share one fsynced commit. There is one baton, and no goroutine of its
// own: whoever holds the baton joins the open batch (or begins one) and runs its work. If others are
// waiting it then hands the baton on and waits for the batch's end; otherwise it commits for all. While it commits the
// next batch gathers behind it.
//
// A member works in a savepoint; when it fails it rolls back to that and touches nobody else. The first of a batch has none, which would have SQLite keep every
// page it changes as it was: its failure ends the batch, in which nobody else is yet. If rolling back fails, SQLite may have
// rolled the whole transaction back (it does so on a full disk): the batch is broken, its members all get
// ErrUnavailable and nothing of it is kept.
type group struct {
	session *session // owned by the baton's holder, as is open
	open    *batch
	closed  bool
	commits int64 // for tests
	tally   tally // for Stats

	mu    sync.Mutex // guards what follows
	held  bool
	queue []chan error // waiting callers: nil hands over the baton, an error turns them away
}

// batch is one transaction and those who share it.
type batch struct {
	members int
	kept    int // members whose work is to be committed
	alone   bool
	spoiled bool          // its first member failed, so that nobody may join
	err     error         // why nothing is kept; final once done is closed
	done    chan struct{} // closed when the batch is committed or lost
}

// do runs run as a member of a batch and returns when that is durable.
func (g *group) do(ctx context.Context, alone bool, run work) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	b, err := g.turn(ctx, alone, run)
	if err != nil {
		return err
	}
	<-b.done
	return b.err
}

// turn is what a caller does while it holds the baton, which it gives up in the end even if run panics.
func (g *group) turn(ctx context.Context, alone bool, run work) (*batch, error) {
	defer g.leave()
	b, err := g.join(alone)
	if err != nil {
		return nil, err
	}
	kept := false
	defer func() {
		if !kept {
			g.undo(b)
		}
	}()
	// An interrupted statement would take the work of the others with it, so only one that is alone can be.
	if alone {
		calm, err := g.session.interruptible(ctx)
		if err != nil {
			return nil, lost("beginning a transaction", err)
		}
		defer calm()
	} else {
		ctx = context.WithoutCancel(ctx)
	}
	if err := run(ctx, g.session); err != nil {
		return nil, err
	}
	if b.members > 1 {
		if err := g.session.run("RELEASE member"); err != nil {
			return nil, lost("ending a savepoint", err)
		}
	}
	kept = true
	b.kept++
	return b, nil
}

// join enters the open batch or begins one. A database that cannot begin turns all who wait away: each of them would
// only wait for the same lock again.
func (g *group) join(alone bool) (*batch, error) {
	if alone {
		g.finish()
	}
	if g.closed {
		return nil, lost("beginning a transaction", errClosed)
	}
	if g.open == nil {
		if err := g.session.run("BEGIN IMMEDIATE"); err != nil {
			err = lost("beginning a transaction", err)
			g.session.drop()
			g.turnAway(err)
			return nil, err
		}
		g.open = &batch{alone: alone, done: make(chan struct{})}
	}
	b := g.open
	if b.members++; b.members > 1 {
		if err := g.session.run("SAVEPOINT member"); err != nil {
			b.err = lost("beginning a savepoint", err)
			return nil, b.err
		}
	}
	return b, nil
}

// undo takes back what the member that is in b now has done.
func (g *group) undo(b *batch) {
	if b.members == 1 {
		b.spoiled = true // leave ends it, and with it what was done
		return
	}
	err := g.session.run("ROLLBACK TO member")
	if err == nil {
		err = g.session.run("RELEASE member")
	}
	if err != nil {
		b.err = lost("rolling back to a savepoint", err)
	}
}

// leave hands the baton to the next caller, after ending the batch if that one is not to join it.
func (g *group) leave() {
	if b := g.open; b != nil && b.err == nil && !b.alone && !b.spoiled && b.members < maxMembers && g.handOn() {
		return
	}
	g.finish()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = g.next()
}

// finish commits the open batch, or drops a broken one together with its connection, and wakes its members.
func (g *group) finish() {
	b := g.open
	if b == nil {
		return
	}
	g.open = nil
	if b.err == nil && b.kept > 0 {
		Reach(CommitBegins)
		if err := g.session.run("COMMIT"); err != nil {
			b.err = lost("committing", err)
		}
		Reach(CommitEnds)
		g.commits++
		g.tally.add(b.kept)
	} else if b.err == nil {
		b.err = g.session.run("ROLLBACK")
	}
	if b.err != nil {
		g.session.drop()
	}
	close(b.done)
}

// take waits for the baton.
func (g *group) take(ctx context.Context) error {
	g.mu.Lock()
	if !g.held {
		g.held = true
		g.mu.Unlock()
		return nil
	}
	turn := make(chan error, 1)
	g.queue = append(g.queue, turn)
	g.mu.Unlock()
	select {
	case err := <-turn:
		return err
	case <-ctx.Done():
		if !g.quit(turn) && <-turn == nil {
			g.leave() // the baton was on its way: others may count on the commit
		}
		return ctx.Err()
	}
}

// quit leaves the queue; false means that the caller has been sent for already.
func (g *group) quit(turn chan error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.queue {
		if w == turn {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			return true
		}
	}
	return false
}

// handOn gives the baton to the caller who has waited longest, if there is one.
func (g *group) handOn() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.next()
}

// next is handOn for those who hold mu.
func (g *group) next() bool {
	if len(g.queue) == 0 {
		return false
	}
	g.queue[0] <- nil
	g.queue = g.queue[1:]
	return true
}

// turnAway gives err to all who wait.
func (g *group) turnAway(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, turn := range g.queue {
		turn <- err
	}
	g.queue = nil
}
