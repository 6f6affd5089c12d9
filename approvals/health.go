package approvals

import (
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Backlog is what waits for workers, for whoever looks after them.
type Backlog struct {
	Due       int64     // queued jobs whose time has come
	Oldest    time.Time // of them
	Abandoned int64     // running jobs whose lease has run out
	InDoubt   int64     // of which nobody knows whether they happened
	Halted    int64     // that wait until a freeze is lifted
}

// BacklogOf reads it, over all merchants.
func BacklogOf(tx *store.Tx) (b Backlog, err error) {
	err = tx.QueryRow(`SELECT
			(SELECT COUNT(*) FROM jobs WHERE status = 'queued' AND run_after <= $1 AND halted_at IS NULL),
			(SELECT MIN(run_after) FROM jobs WHERE status = 'queued' AND run_after <= $1 AND halted_at IS NULL),
			(SELECT COUNT(*) FROM jobs WHERE status = 'running' AND lease_until <= $1 AND halted_at IS NULL),
			(SELECT COUNT(*) FROM jobs WHERE status = 'indeterminate'),
			(SELECT COUNT(*) FROM jobs WHERE halted_at IS NOT NULL AND status IN ('queued', 'running'))`, store.Micros(tx.Now)).
		Scan(&b.Due, store.At(&b.Oldest), &b.Abandoned, &b.InDoubt, &b.Halted)
	if err != nil {
		return b, fmt.Errorf("reading what waits for workers: %w", err)
	}
	return b, nil
}
