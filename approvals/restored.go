package approvals

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// Unended lists the jobs of all merchants that wait for people, wait to run, or run, oldest first.
func Unended(tx *store.Tx) ([]Job, error) {
	jobs, err := store.All(tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE status IN ('pending_approval', 'queued', 'running') ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("listing jobs that have not ended: %w", err)
	}
	return jobs, nil
}

// Forgotten makes a queued job that nobody had to be asked about indeterminate: it may have been sent at a time of which the database knows
// nothing any more. Its execution would have had the id that is stored here, so that with probe the outside system can be asked for it.
func Forgotten(tx *store.Tx, j Job, why string, probe bool) error {
	_, err := tx.Exec(`INSERT INTO executions (job_id, execution_id, sends, sent_at, probes, decided_by) VALUES ($1, $2, 0, $3, 0, '')`,
		j.JobID, ExecutionID(j, ""), store.Micros(tx.Now))
	if err != nil {
		return fmt.Errorf("storing what may have been sent: %w", err)
	}
	return inDoubt(tx, j, tools.JobQueued, why, probe)
}
