package approvals

import (
	"encoding/json"
	"fmt"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// happen lets an event happen to a request, and gives it afterwards. The job's row is held first and the request read after it, so that of
// two events at once the second sees what the first has done; every transaction takes the two in this order.
func happen(tx *store.Tx, r Request, e Event) (Request, error) {
	if err := tx.Lock(`SELECT id FROM jobs WHERE id = $1`, r.JobID); err != nil {
		return r, fmt.Errorf("holding the job: %w", err)
	}
	j, err := findJob(tx, r.JobID)
	if err != nil {
		return r, err
	}
	r, err = Find(tx, r.Merchant, r.ID)
	if err != nil {
		return r, err
	}
	return happenTo(tx, j, r, e)
}

// happenTo is happen for a job whose row the transaction holds.
func happenTo(tx *store.Tx, j Job, r Request, e Event) (Request, error) {
	c := Case{Request: r, Job: j.Status, RunAfter: j.RunAfter}
	next, events, err := c.Apply(e, held(tx, r.Merchant))
	if err != nil {
		return r, err
	}
	for _, event := range events {
		if err := record(tx, j, event, next.entry(e)); err != nil {
			return r, err
		}
	}
	return next.Request, write(tx, j, c, next, e)
}

// write stores what an event has changed: the job, the votes and the request, each only if it is as it was.
func write(tx *store.Tx, j Job, was, now Case, e Event) error {
	if now.Job != was.Job && e.Act != ActConsume { // a job that begins is moved by whoever runs it
		if err := moveJob(tx, j, now.move(was, e)); err != nil {
			return err
		}
	}
	var err error
	switch e.Act {
	case ActVote:
		if !was.Heard(e.Vote) {
			err = putVote(tx, was.ID, now.Votes[len(now.Votes)-1])
		}
	case ActWithdraw:
		e.Vote.Withdrawn = tx.Now
		err = withdrawVote(tx, was.ID, e.Vote)
	}
	if err != nil {
		return err
	}
	return writeRequest(tx, was.Request, now.Request)
}

// writeRequest is the compare-and-set of a request. A version says that nobody has moved it since it was read; of an approval that is used
// up, the statement names once more what makes it good.
func writeRequest(tx *store.Tx, was, now Request) error {
	changed, err := json.Marshal(now.Changed)
	if err != nil {
		return fmt.Errorf("writing what changed: %w", err)
	}
	if now.Changed == nil {
		changed = []byte("[]")
	}
	where, args := `id = $7 AND state = $8 AND version = $9`, []any{
		string(now.State), store.Micros(now.DecidedAt), store.Micros(now.ExecuteBefore), int64(now.Level), store.Micros(now.EscalateAt()), string(changed),
		was.ID, string(was.State), was.Version,
	}
	if now.State == Consumed {
		where += ` AND binding_sha256 = $10 AND execute_before > $11`
		args = append(args, was.BindingHash, store.Micros(tx.Now))
	}
	n, err := tx.Exec(`UPDATE approvals SET state = $1, decided_at = $2, execute_before = $3, level = $4, escalate_at = $5, changed = $6,
		version = version + 1 WHERE `+where, args...)
	return one(n, err, ErrDecided)
}

// move is what becomes of the job when an event takes a case from one state to another.
func (c Case) move(was Case, e Event) move {
	m := move{from: was.Job, to: c.Job, by: byItself}
	switch {
	case e.Act == ActVote:
		m.by = "person:" + e.Vote.PersonID
		if c.State == Rejected {
			m.reason, m.why = "denied", fmt.Sprintf("%s denied it: %q. Do not retry the same request; change what was objected to, or leave it.", e.Vote.Person, e.Vote.Reason)
		}
	case e.Act == ActCancel:
		m.reason, m.why, m.by = "cancelled", e.Why, e.By
	case e.Act == ActLapse && was.State == Approved:
		m.reason, m.why = "expired", "It was approved but could not run in time. It may be asked again."
	case e.Act == ActLapse:
		m.reason, m.why = "expired", "Nobody decided in time. It may be asked again."
	case e.Act == ActSupersede, e.Act == ActInvalidate:
		m.reason, m.why = "invalidated", e.Why
	}
	return m
}

// entry fills in what goes on record of an event.
func (c Case) entry(e Event) func(*audit.Entry) {
	return func(a *audit.Entry) {
		a.Binding = c.BindingHash
		switch e.Act {
		case ActVote, ActWithdraw:
			v := e.Vote
			a.Actor, a.Chain = "person:"+v.PersonID, []string{"person:" + v.PersonID}
			if v.For != "" {
				a.Chain = append(a.Chain, "person:"+v.For)
			}
			a.Transport, a.Status, a.Count = v.Channel, string(v.Decision), v.OpenSeconds
			a.Reason = string(v.Flag)
			a.Personal = map[string]string{"reason": v.Reason}
		case ActEscalate:
			a.Actor, a.Chain, a.Count = byItself, []string{byItself}, int64(c.Level)
		case ActCancel:
			if e.By != "" {
				a.Actor, a.Chain = e.By, above(c.Binding.Chain, e.By)
			}
			a.Personal = map[string]string{"reason": e.Why}
		case ActConsume:
		default:
			a.Actor, a.Chain, a.Reason, a.Code = byItself, []string{byItself}, e.Why, e.Code
		}
	}
}

// Escalate takes the steps of escalation that are due on up to limit requests, and gives how many it took.
func Escalate(tx *store.Tx, limit int) (int, error) {
	due, err := store.All(tx, scanRequest, `SELECT `+requestColumns+` FROM approvals
		WHERE state = 'pending' AND escalate_at IS NOT NULL AND escalate_at <= $1 ORDER BY created_at, id LIMIT $2`, store.Micros(tx.Now), limit)
	if err != nil {
		return 0, fmt.Errorf("reading requests that wait for long: %w", err)
	}
	for _, r := range due {
		if err := ignore(happen(tx, r, Event{Act: ActEscalate})); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// Supersede ends a pending request because what it asks about was changed. When somebody was quicker it changes nothing.
func Supersede(tx *store.Tx, r Request, changed []tools.Change, why string) error {
	return ignore(happen(tx, r, Event{Act: ActSupersede, Changed: changed, Why: why, Code: string(tools.ApprovalInvalidated)}))
}

// Cancel ends a request that waits, or whose call has not begun, for somebody who may.
func Cancel(tx *store.Tx, r Request, by, why string) (Request, error) {
	return happen(tx, r, Event{Act: ActCancel, By: by, Why: why})
}
