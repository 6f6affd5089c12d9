package approvals

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// The types of the messages that webhook endpoints are told. Package approvals/notify sends them.
const (
	MessageRequested  = "approval.requested"
	MessageUpdated    = "approval.updated"  // it is pending still
	MessageResolved   = "approval.resolved" // it is not pending any more
	MessageJobUpdated = "job.updated"
	MessageFrozen     = "freeze.started" // see AnnounceFreeze
	MessageLifted     = "freeze.lifted"
)

// MessageTypes are all of them.
var MessageTypes = []string{MessageRequested, MessageUpdated, MessageResolved, MessageJobUpdated, MessageFrozen, MessageLifted}

// messages tells the type of message that an event on the record becomes. Events that are not here are told nobody: that an approval was
// consumed is told by its job, that jobs are halted by the freeze, and the steps of a running job would be many messages with nothing to do about them.
var messages = map[string]string{
	"approval.requested":      MessageRequested,
	"approval.vote":           MessageUpdated,
	"approval.vote_withdrawn": MessageUpdated,
	"approval.escalated":      MessageUpdated,
	"approval.delegated":      MessageUpdated,
	"approval.overridden":     MessageResolved,
	"approval.approved":       MessageResolved,
	"approval.rejected":       MessageResolved,
	"approval.cancelled":      MessageResolved,
	"approval.expired":        MessageResolved,
	"approval.invalidated":    MessageResolved,
	"job.queued":              MessageJobUpdated,
	"job.started":             MessageJobUpdated,
	"job.succeeded":           MessageJobUpdated,
	"job.failed":              MessageJobUpdated,
	"job.cancelled":           MessageJobUpdated,
	"job.expired":             MessageJobUpdated,
	"job.indeterminate":       MessageJobUpdated,
	"job.reconciled":          MessageJobUpdated,
}

// announce puts what happened to a job into the outbox, once for each endpoint of the merchant that wants to be told, in the transaction in
// which it happens: what is rolled back is told nobody, and what is committed is told for sure.
func announce(tx *store.Tx, j Job, event string) error {
	message, ok := messages[event]
	if !ok {
		return nil
	}
	subject := j.ApprovalID
	if message == MessageJobUpdated {
		subject = j.JobID
	}
	return tell(tx, j.Merchant, message, subject, j.ApprovalID, j.JobID)
}

// tell puts a message into the outbox, once for each endpoint of the merchant that wants to be told.
func tell(tx *store.Tx, merchant, message, subject, approval, job string) error {
	_, err := tx.Exec(`INSERT INTO outbox (endpoint_id, id, merchant_id, type, subject_id, approval_id, job_id, state, attempts, next_at,
			lease_owner, last_status, last_error, created_at)
		SELECT id, $1, merchant_id, $2, $3, $4, $5, 'waiting', 0, CAST($6 AS BIGINT), '', 0, '', CAST($6 AS BIGINT) FROM webhook_endpoints
		WHERE merchant_id = $7 AND disabled_at IS NULL AND types LIKE '% ' || $2 || ' %'`,
		store.NewID("msg", tx.Now), message, subject, approval, job, store.Micros(tx.Now), merchant)
	if err != nil {
		return fmt.Errorf("announcing %s: %w", message, err)
	}
	return nil
}
