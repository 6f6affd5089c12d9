package approvals

import (
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// OldestOpen is when the oldest job that has not ended, or whose request has not, was made; the zero time when there is none. What is on
// record about it begins there. Each part has an index of its own.
func OldestOpen(tx *store.Tx) (time.Time, error) {
	at, err := store.One(tx, func(r store.Row) (at time.Time, err error) { return at, r.Scan(store.At(&at)) }, `SELECT MIN(created_at) FROM (
		SELECT created_at FROM jobs WHERE status = 'queued'
		UNION ALL SELECT created_at FROM jobs WHERE status = 'running'
		UNION ALL SELECT created_at FROM jobs WHERE status = 'indeterminate'
		UNION ALL SELECT j.created_at FROM approvals a JOIN jobs j ON j.id = a.job_id WHERE a.state = 'pending'
		UNION ALL SELECT j.created_at FROM approvals a JOIN jobs j ON j.id = a.job_id WHERE a.state = 'approved') open`)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the oldest job that is open: %w", err)
	}
	return at, nil
}
