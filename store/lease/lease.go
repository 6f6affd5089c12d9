// Package lease lets one of the processes on a database do a thing that one at a time should do.
//
// A lease is a row of the table leases. Its holder changes the row each time it renews; whoever has watched the row stand
// unchanged for the lease's time, by its own clock, may take it over. So no two clocks are compared: it matters that
// they run equally fast, not what they show. A holder that was killed is followed after that time, one that gave its
// lease up at once.
//
// A lease saves work and keeps order; it protects nothing by itself, for a holder may be paused and wake up after it
// was followed. So Take belongs into the transaction of what the lease is for: where somebody has taken over meanwhile,
// Take says so and the caller undoes the transaction. The row is locked by then, so that of two who take it at once one
// waits for the other and sees that it came second.
package lease

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Lease is one process's view of a lease. It may be used concurrently.
type Lease struct {
	name  string
	owner string
	time  time.Duration
	clock func() time.Time // of this process; only differences count

	mu    sync.Mutex
	seen  term
	since time.Time // when seen was first seen
}

// A term is a row of leases: it is never the same after a renewal.
type term struct {
	owner string
	until int64 // says nothing but that it is another; 0: given up
}

// New gives a lease that is followed after d without a renewal, as clock has it. The owner is another for each process.
func New(name, owner string, d time.Duration, clock func() time.Time) *Lease {
	return &Lease{name: name, owner: owner, time: d, clock: clock}
}

// Free reports whether Take could have the lease. It only reads, but remembers what it read: who waits for a lease asks it
// again and again.
func (l *Lease) Free(tx *store.Tx) (bool, error) {
	t, there, err := l.read(tx)
	return !there || l.mayHave(t), err
}

// Take takes the lease or renews it. false: another process has it.
func (l *Lease) Take(tx *store.Tx) (bool, error) {
	t, there, err := l.read(tx)
	if err != nil || there && !l.mayHave(t) {
		return false, err
	}
	until := tx.Now.Add(l.time).UnixMicro()
	if until == t.until {
		until++
	}
	q, args := `INSERT INTO leases (name, owner, until) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, []any{l.name, l.owner, until}
	if there {
		q, args = `UPDATE leases SET owner = $2, until = $3 WHERE name = $1 AND owner = $4 AND until = $5`, append(args, t.owner, t.until)
	}
	n, err := tx.Exec(q, args...)
	if err != nil {
		return false, fmt.Errorf("taking the lease %s: %w", l.name, err)
	}
	return n == 1, nil
}

// GiveUp lets another process have the lease at once, if this one holds it.
func (l *Lease) GiveUp(tx *store.Tx) error {
	if _, err := tx.Exec(`UPDATE leases SET until = 0 WHERE name = $1 AND owner = $2`, l.name, l.owner); err != nil {
		return fmt.Errorf("giving up the lease %s: %w", l.name, err)
	}
	return nil
}

func (l *Lease) read(tx *store.Tx) (t term, there bool, err error) {
	err = tx.QueryRow(`SELECT owner, until FROM leases WHERE name = $1`, l.name).Scan(&t.owner, &t.until)
	if errors.Is(err, store.ErrNotFound) {
		return t, false, nil
	}
	if err != nil {
		return t, false, fmt.Errorf("reading the lease %s: %w", l.name, err)
	}
	return t, true, nil
}

func (l *Lease) mayHave(t term) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t != l.seen {
		l.seen, l.since = t, l.clock()
	}
	return t.owner == l.owner || t.until == 0 || l.clock().Sub(l.since) >= l.time
}
