package notify

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// countMost bounds what is counted for operators: beyond it the number says that there are at least so many.
const countMost = 100_000

// Waiting are the messages that have not arrived yet, of all merchants.
type Waiting struct {
	Messages int64
	Oldest   time.Time // when the first of them was put there; zero when there is none
}

// CountWaiting counts what is in the outbox.
func CountWaiting(tx *store.Tx) (w Waiting, err error) {
	err = tx.QueryRow(`SELECT COUNT(*), MIN(created_at) FROM (SELECT created_at FROM outbox WHERE state = 'waiting' LIMIT $1) waiting`,
		countMost).Scan(&w.Messages, store.At(&w.Oldest))
	if err != nil {
		return w, fmt.Errorf("counting the outbox: %w", err)
	}
	return w, nil
}

// Results are what may come of an attempt to send: it was taken, or why it was not. The codes are those of problemIn and problemOf.
var Results = []string{"sent", "redirect", gone, "status", "not_public", "timeout", "unreachable", "sealed", "internal"}

// attempts are the attempts of this process by what came of them, as in Results.
type attempts [9]atomic.Int64

// count notes what came of an attempt.
func (a *attempts) count(of answer) {
	result := of.problem
	if of.ok() {
		result = Results[0]
	}
	for i, r := range Results {
		if r == result {
			a[i].Add(1)
		}
	}
}

// Attempts gives how many attempts of this process had the nth of Results.
func (w *Webhooks) Attempts(n int) int64 { return w.attempts[n].Load() }
