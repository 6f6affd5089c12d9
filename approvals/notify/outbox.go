package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/store"
)

const (
	leaseTime   = time.Minute // how long a row is its sender's: longer than sending it may take
	perEndpoint = 4           // messages that are under way to an endpoint at a time, over all processes
	forgetAfter = 7 * 24 * time.Hour
	forgetStep  = 1000 // rows that are forgotten in one transaction
)

// A message is a row of the outbox, with what it takes to send it once it is claimed.
type message struct {
	endpoint Endpoint
	id       string // msg_…
	merchant string
	kind     string // its type
	subject  string
	approval string
	job      string
	attempts int64 // with the one that is under way
	created  time.Time
	owner    string // of the lease

	body    []byte
	secrets secrets
	problem string // a code: why it cannot be sent this time, although it is claimed
}

// free are rows that a sender may take: due, nobody's, and about nothing that is being sent to the same endpoint just now. $1 is the time. Neither here nor
// in ready is there an EXISTS: PostgreSQL makes a join of it, which it may begin with all that waits.
const free = ` o.state = 'waiting' AND o.next_at <= $1 AND (o.lease_until IS NULL OR o.lease_until <= $1)
	AND o.subject_id NOT IN (SELECT b.subject_id FROM outbox b WHERE b.endpoint_id = o.endpoint_id AND b.state = 'waiting' AND b.lease_until > $1)`

// ready are the endpoints to which something may be sent now, who waits longest first.
const ready = ` FROM webhook_endpoints e WHERE e.disabled_at IS NULL
	AND (SELECT o.id FROM outbox o WHERE o.endpoint_id = e.id AND` + free + ` ORDER BY o.next_at, o.id LIMIT 1) IS NOT NULL
	AND (SELECT COUNT(*) FROM outbox u WHERE u.endpoint_id = e.id AND u.state = 'waiting' AND u.lease_until > $1) < $2
	ORDER BY (SELECT MIN(d.next_at) FROM outbox d WHERE d.endpoint_id = e.id AND d.state = 'waiting'), e.id LIMIT 1`

// due reports whether there is something to claim. It only reads.
func (w *Webhooks) due(ctx context.Context) (found bool, err error) {
	err = w.DB.Read(ctx, func(tx *store.Tx) error {
		ids, err := store.All(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) }, `SELECT e.id`+ready, store.Micros(tx.Now), perEndpoint)
		found = len(ids) > 0
		return err
	})
	return found, err
}

// claim takes the next message for a sender, ready to be sent. ok is false when there is none.
func (w *Webhooks) claim(ctx context.Context, owner string) (m message, ok bool, err error) {
	for dropped := true; dropped && err == nil; {
		err = w.DB.InTx(ctx, func(tx *store.Tx) error {
			e, err := store.One(tx, scanEndpoint, `SELECT `+endpointColumns+ready+tx.SkipLocked(), store.Micros(tx.Now), perEndpoint)
			if err != nil {
				return err
			}
			if m, err = choose(tx, e); err != nil {
				return err
			}
			m.owner = owner
			dropped, err = w.take(tx, &m)
			return err
		})
	}
	if errors.Is(err, store.ErrNotFound) {
		return message{}, false, nil
	}
	return m, err == nil, err
}

// choose gives the row to send next to an endpoint. The endpoint is locked by now, and what is free is asked again: somebody may have taken
// a row between the question and the lock.
func choose(tx *store.Tx, e Endpoint) (message, error) {
	var busy int
	err := tx.QueryRow(`SELECT COUNT(*) FROM outbox WHERE endpoint_id = $1 AND state = 'waiting' AND lease_until > $2`, e.ID, store.Micros(tx.Now)).Scan(&busy)
	if err != nil {
		return message{}, fmt.Errorf("counting messages under way: %w", err)
	}
	if busy >= perEndpoint {
		return message{}, store.ErrNotFound
	}
	m, err := store.One(tx, scanMessage, `SELECT `+messageColumns+` FROM outbox o WHERE`+free+` AND o.endpoint_id = $2 ORDER BY o.next_at, o.id LIMIT 1`,
		store.Micros(tx.Now), e.ID)
	m.endpoint = e
	return m, err
}

const messageColumns = `o.id, o.merchant_id, o.type, o.subject_id, o.approval_id, o.job_id, o.attempts, o.created_at`

func scanMessage(r store.Row) (m message, err error) {
	return m, r.Scan(&m.id, &m.merchant, &m.kind, &m.subject, &m.approval, &m.job, &m.attempts, store.At(&m.created))
}

// take makes m stand for all rows about its subject, makes it ready and leases it. dropped says that the endpoint does not want to be told what
// has become of the subject. A message that cannot be made fails as one that cannot be delivered: it holds up no other.
func (w *Webhooks) take(tx *store.Tx, m *message) (dropped bool, err error) {
	requested, err := merge(tx, m)
	if err != nil {
		return false, err
	}
	err = w.prepare(tx, m, requested)
	switch {
	case errors.Is(err, errUnwanted):
		return true, m.end(tx, "superseded", "")
	case errors.Is(err, vault.ErrSealed):
		m.problem = "sealed"
	case err != nil:
		m.problem = "internal"
	}
	w.hear("making "+m.id, err)
	m.attempts++
	n, err := tx.Exec(`UPDATE outbox SET attempts = $1, lease_owner = $2, lease_until = $3, type = $4
		WHERE endpoint_id = $5 AND id = $6 AND state = 'waiting' AND (lease_until IS NULL OR lease_until <= $7)`,
		m.attempts, m.owner, store.Micros(tx.Now.Add(leaseTime)), m.kind, m.endpoint.ID, m.id, store.Micros(tx.Now))
	if err == nil && n == 0 {
		err = store.ErrNotFound // somebody was quicker
	}
	if err != nil {
		return false, fmt.Errorf("taking a message: %w", err)
	}
	return false, nil
}

// errUnwanted says that an endpoint does not take the type that a message would have by now.
var errUnwanted = errors.New("the endpoint does not want this type of message")

// prepare makes m's type, body and signature keys, from what is so now.
func (w *Webhooks) prepare(tx *store.Tx, m *message, requested bool) error {
	kind, data, err := w.describe(tx, *m, requested)
	if err != nil {
		return err
	}
	if !slices.Contains(m.endpoint.Types, kind) {
		return errUnwanted
	}
	m.kind = kind
	if m.body, err = encode(m.kind, m.created, data); err != nil {
		return err
	}
	m.secrets, err = w.secrets(tx, m.endpoint)
	return err
}

// merge lets one row stand for all that wait about m's subject: the newest of those that nobody has tried, so that a receiver that knows an id
// does not take something new for a repeat. It reports whether the first of all is among them.
func merge(tx *store.Tx, m *message) (requested bool, err error) {
	rows, err := store.All(tx, scanMessage, `SELECT `+messageColumns+` FROM outbox o WHERE o.endpoint_id = $1 AND o.subject_id = $2 AND o.state = 'waiting'
		ORDER BY CASE WHEN o.attempts = 0 THEN 0 ELSE 1 END, o.id DESC`, m.endpoint.ID, m.subject)
	if err != nil {
		return false, fmt.Errorf("reading what waits about %s: %w", m.subject, err)
	}
	requested = slices.ContainsFunc(rows, func(r message) bool { return r.kind == approvals.MessageRequested })
	endpoint, owner := m.endpoint, m.owner
	*m = rows[0]
	m.endpoint, m.owner = endpoint, owner
	for _, old := range rows[1:] {
		old.endpoint = endpoint
		if err := old.end(tx, "superseded", ""); err != nil {
			return false, err
		}
	}
	return requested, nil
}

// end says what became of a row that nobody sends.
func (m message) end(tx *store.Tx, state, code string) error {
	_, err := tx.Exec(`UPDATE outbox SET state = $1, last_error = $2, ended_at = $3, lease_owner = '', lease_until = NULL
		WHERE endpoint_id = $4 AND id = $5 AND state = 'waiting'`, state, code, store.Micros(tx.Now), m.endpoint.ID, m.id)
	if err != nil {
		return fmt.Errorf("ending a message: %w", err)
	}
	return nil
}

// settle stores what came of an attempt, unless the lease has been lost: then somebody else sends it, under the same id.
func (w *Webhooks) settle(ctx context.Context, m message, a answer) error {
	return w.DB.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.Lock(`SELECT id FROM webhook_endpoints WHERE id = $1`, m.endpoint.ID); err != nil {
			return err
		}
		state, next := w.fate(m, a, tx.Now)
		var ended time.Time
		if state != "waiting" {
			ended = tx.Now
		}
		n, err := tx.Exec(`UPDATE outbox SET state = $1, next_at = $2, ended_at = $3, last_status = $4, last_error = $5, lease_owner = '', lease_until = NULL
			WHERE endpoint_id = $6 AND id = $7 AND state = 'waiting' AND lease_owner = $8`,
			state, store.Micros(next), store.Micros(ended), a.status, a.problem, m.endpoint.ID, m.id, m.owner)
		if err != nil {
			return fmt.Errorf("storing what came of a message: %w", err)
		}
		if n == 0 {
			return nil
		}
		return m.settled(tx, state, a)
	})
}

// fate is the state of a message after an attempt, and when it is tried again.
func (w *Webhooks) fate(m message, a answer, now time.Time) (state string, next time.Time) {
	if a.ok() {
		return "sent", now
	}
	wait, again := w.wait(m.attempts, a.retryAfter)
	if a.gone() || !again {
		return "dead", now
	}
	return "waiting", now.Add(wait)
}

// settled marks the endpoint, and puts on record what is final.
func (m message) settled(tx *store.Tx, state string, a answer) error {
	switch {
	case state == "sent":
		_, err := tx.Exec(`UPDATE webhook_endpoints SET failing_at = NULL WHERE id = $1 AND failing_at IS NOT NULL`, m.endpoint.ID)
		return errors.Join(err, record(tx, "channel.sent", m.endpoint, m, ""))
	case state == "waiting":
		return nil
	case a.gone():
		return errors.Join(record(tx, "channel.failed", m.endpoint, m, a.problem), disable(tx, m.endpoint))
	}
	_, err := tx.Exec(`UPDATE webhook_endpoints SET failing_at = $1 WHERE id = $2 AND failing_at IS NULL AND disabled_at IS NULL`,
		store.Micros(tx.Now), m.endpoint.ID)
	return errors.Join(err, record(tx, "channel.failed", m.endpoint, m, a.problem))
}

// record puts on record what became of a message, or of an endpoint. The code is ours.
func record(tx *store.Tx, event string, e Endpoint, m message, code string) error {
	entry := audit.Entry{
		Merchant: e.Merchant, Event: event, Status: "done", Code: code, Actor: itself, Chain: []string{itself}, Transport: "webhook",
		Resource: "webhook:" + e.ID, ApprovalID: m.approval, JobID: m.job, Count: m.attempts,
	}
	if code != "" {
		entry.Status = "failed"
	}
	if m.id != "" {
		entry.Reason = m.kind + " " + m.id
	}
	if _, err := audit.Append(tx, entry); err != nil {
		return fmt.Errorf("recording %s: %w", event, err)
	}
	return nil
}

// forget does away with rows that ended long ago, some at a time.
func (w *Webhooks) forget(ctx context.Context) error {
	var old bool
	before := store.Micros(w.DB.Now().Add(-forgetAfter))
	const which = ` FROM outbox WHERE state <> 'waiting' AND ended_at <= $1`
	err := w.DB.Read(ctx, func(tx *store.Tx) error {
		ids, err := store.All(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) }, `SELECT id`+which+` LIMIT 1`, before)
		old = len(ids) > 0
		return err
	})
	if err != nil || !old {
		return err
	}
	return w.DB.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM outbox WHERE state <> 'waiting' AND id IN (SELECT id`+which+` ORDER BY ended_at LIMIT $2)`, before, forgetStep)
		return err
	})
}
