package gate

import (
	"encoding/json"
	"fmt"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// traces are what calls have left: their jobs, and what the gate keeps beside each.
type traces struct{}

var _ tools.Traces = traces{}

// Open counts the jobs about any of these resources that have not ended, but for those of one tool.
func (traces) Open(tx *store.Tx, merchant string, resources []string, but string) (int, error) {
	return approvals.OpenAbout(tx, merchant, resources, but)
}

// Forget removes what ended jobs about these resources hold of words and values, and what their calls were answered of
// it. The keys stay: a repeat of such a call is answered with its job and does nothing again.
func (traces) Forget(tx *store.Tx, merchant string, resources []string) (int64, error) {
	with, err := approvals.WithBatches(tx, merchant, resources)
	if err != nil {
		return 0, err
	}
	if _, err := audit.EraseAbout(tx, merchant, with[len(resources):]); err != nil { // of the rest whoever erases takes care
		return 0, err
	}
	jobs, err := approvals.Forget(tx, merchant, with)
	for _, job := range jobs {
		if err == nil {
			err = forgetAnswer(tx, job)
		}
	}
	return int64(len(jobs)), err
}

func forgetAnswer(tx *store.Tx, job string) error {
	answers, err := store.All(tx, func(r store.Row) (body string, err error) { return body, r.Scan(&body) },
		`SELECT body FROM idempotency WHERE job_id = $1 AND job_id <> ''`, job)
	if err != nil {
		return fmt.Errorf("looking for what a job was answered: %w", err)
	}
	for _, body := range answers {
		var r tools.Result
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			return fmt.Errorf("reading what a job was answered: %w", err)
		}
		r.Preview = nil
		left, err := json.Marshal(r)
		if err == nil {
			_, err = tx.Exec(`UPDATE idempotency SET body = $1 WHERE job_id = $2 AND job_id <> '' AND body = $3`, string(left), job, body)
		}
		if err != nil {
			return fmt.Errorf("forgetting what a job was answered: %w", err)
		}
	}
	return nil
}
