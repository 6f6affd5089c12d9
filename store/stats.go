package store

import (
	"errors"
	"sync/atomic"
	"time"
)

// Stats say how busy a database is, counted by this process since it was opened.
type Stats struct {
	Connections int           // there may be at most
	InUse       int           // connections that are in a transaction now
	Waiting     int           // callers who wait for their turn to write now; SQLite only
	Waits       int64         // callers who had to wait for a connection; PostgreSQL only
	Waited      time.Duration // all of these together

	Transactions int64 // that were begun
	Unavailable  int64 // of these, those which ended with ErrUnavailable

	Commits SharedCommits // that writers shared; SQLite only
}

// SharedCommits are commits by how many writers shared them.
type SharedCommits struct {
	Count  int64 // commits
	Shares int64 // writers, in all of them
	// By has, for each of CommitShares, how many commits had at most so many writers.
	By [len(CommitShares)]int64
}

// CommitShares are the numbers of writers by which commits are told apart; maxMembers is the last.
var CommitShares = [...]int{1, 2, 4, 8, 16, 32, maxMembers}

// tally counts commits. Only the writer's turn adds, and anybody may read.
type tally struct {
	count, shares atomic.Int64
	by            [len(CommitShares)]atomic.Int64 // of up to so many, and more than the one before
}

// add counts a commit that so many writers shared.
func (t *tally) add(writers int) {
	t.count.Add(1)
	t.shares.Add(int64(writers))
	for i, most := range CommitShares {
		if writers <= most || i == len(CommitShares)-1 {
			t.by[i].Add(1)
			return
		}
	}
}

func (t *tally) read() SharedCommits {
	c := SharedCommits{Count: t.count.Load(), Shares: t.shares.Load()}
	sum := int64(0)
	for i := range t.by {
		sum += t.by[i].Load()
		c.By[i] = sum
	}
	return c
}

// Stats reads the counts. It asks the database nothing and waits for nobody who does.
func (db *DB) Stats() Stats {
	s := Stats{Transactions: db.transactions.Load(), Unavailable: db.unavailable.Load()}
	switch e := db.engine.(type) {
	case *sqliteEngine:
		e.stats(&s)
	case *postgresEngine:
		e.stats(&s)
	}
	return s
}

// count notes how a transaction ended.
func (db *DB) count(err error) {
	db.transactions.Add(1)
	if errors.Is(err, ErrUnavailable) {
		db.unavailable.Add(1)
	}
}

func (s *sqliteEngine) stats(to *Stats) {
	to.Connections = readers + 1
	to.InUse = readers - len(s.free)
	g := &s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	to.Waiting = len(g.queue)
	if g.held {
		to.InUse++
	}
	to.Commits = g.tally.read()
}

func (p *postgresEngine) stats(to *Stats) {
	pool := p.pool.Stat()
	to.Connections, to.InUse = int(pool.MaxConns()), int(pool.AcquiredConns())
	to.Waits, to.Waited = pool.EmptyAcquireCount(), pool.EmptyAcquireWaitTime()
}
