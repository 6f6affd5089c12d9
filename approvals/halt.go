package approvals

import (
	"fmt"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// whyHalted is what the agent reads of its job while it is frozen.
const whyHalted = "It waits: writes are frozen. It goes on by itself when that is lifted."

// Halt lets go of a queued job, or of a running one between two steps, that a worker found frozen. Nobody takes it up until Wake, but for a
// running one that its caller asks to stop. What it has done stands, and the time for which an approval is good goes on.
//
// The transaction shares the rights of the merchant, which Wake owns: either Wake sees the job halted, or the worker sees the freeze lifted.
func Halt(tx *store.Tx, j Job, f auth.Freeze) error {
	n, err := tx.Exec(`UPDATE jobs SET halted_at = $1, why = $2, lease_owner = '', lease_until = CASE WHEN status = 'running' THEN CAST($1 AS BIGINT) ELSE lease_until END, updated_at = $1
		WHERE id = $3 AND status = $4 AND lease_owner = $5 AND halted_at IS NULL`, store.Micros(tx.Now), whyHalted, j.JobID, string(j.Status), j.Owner)
	if err := one(n, err, ErrLeaseLost); err != nil {
		return err
	}
	return record(tx, j, "job.halted", func(e *audit.Entry) {
		e.Status, e.Code, e.Reason = string(j.Status), string(tools.Frozen), "freeze:"+f.ID
	})
}

// Wake lets the halted jobs of a merchant go on, after BeginChange. Those that another freeze stops are halted again when they are taken up.
func Wake(tx *store.Tx, merchant string) error {
	if err := tx.Lock(`SELECT id FROM jobs WHERE merchant_id = $1 AND halted_at IS NOT NULL ORDER BY created_at, id`, merchant); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE jobs SET halted_at = NULL, why = CASE WHEN status IN ('queued', 'running') THEN '' ELSE why END, updated_at = $1
		WHERE merchant_id = $2 AND halted_at IS NOT NULL`, store.Micros(tx.Now), merchant)
	if err != nil {
		return fmt.Errorf("waking what was halted: %w", err)
	}
	return nil
}

// AnnounceFreeze tells the endpoints of a merchant that a freeze began, or was lifted, in the transaction in which it is.
func AnnounceFreeze(tx *store.Tx, f auth.Freeze) error {
	message := MessageFrozen
	if !f.Open() {
		message = MessageLifted
	}
	return tell(tx, f.Merchant, message, f.ID, "", "")
}
