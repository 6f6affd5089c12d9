package approvals

import (
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// countMost bounds what is counted for operators: beyond it the number says that there are at least so many.
const countMost = 100_000

// OpenTotal are the requests that wait for people, of all merchants.
type OpenTotal struct {
	Requests int64
	Oldest   time.Time // when the first of them was asked; zero when there is none
}

// CountOpen counts what waits for people.
func CountOpen(tx *store.Tx) (o OpenTotal, err error) {
	err = tx.QueryRow(`SELECT COUNT(*), MIN(created_at) FROM (SELECT created_at FROM approvals WHERE state = 'pending' LIMIT $1) open`,
		countMost).Scan(&o.Requests, store.At(&o.Oldest))
	if err != nil {
		return o, fmt.Errorf("counting what waits for people: %w", err)
	}
	return o, nil
}

// JobTotal are the jobs that a worker has to do with, of all merchants.
type JobTotal struct {
	Due           int64     // and may be taken up at once
	Oldest        time.Time // since when the first of these is due; zero when there is none
	Running       int64
	Indeterminate int64 // of which nobody knows whether they had their effect
}

// CountJobs counts what workers have to do.
func CountJobs(tx *store.Tx) (w JobTotal, err error) {
	err = tx.QueryRow(`SELECT COUNT(*), MIN(run_after) FROM (SELECT run_after FROM jobs WHERE status = 'queued' AND run_after <= $1 AND halted_at IS NULL ORDER BY run_after LIMIT $2) due`,
		store.Micros(tx.Now), countMost).Scan(&w.Due, store.At(&w.Oldest))
	for _, c := range []struct {
		status string
		into   *int64
	}{{"running", &w.Running}, {"indeterminate", &w.Indeterminate}} {
		if err == nil { // the status stands in the text, so that the index of that status is used
			err = tx.QueryRow(`SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE status = '`+c.status+`' LIMIT $1) counted`, countMost).Scan(c.into)
		}
	}
	if err != nil {
		return w, fmt.Errorf("counting jobs: %w", err)
	}
	return w, nil
}
