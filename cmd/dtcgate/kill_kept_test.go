package main

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// acknowledge notes that a call was answered.
func (l *ledger) acknowledge(c *call) {
	l.noteKey(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, c)
}

// acknowledged are the calls that were answered by now, in that order.
func (l *ledger) acknowledged() []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}

// stillThere is what can be said right after a kill, while work goes on: whatever was acknowledged is in the database (C4).
// Whether it all fits together is for the checker, when everything has come to rest.
func stillThere(tx *store.Tx, told []*call) (found []finding, err error) {
	keys, err := keysKept(tx)
	if err != nil {
		return nil, err
	}
	for _, c := range told {
		lost, err := c.lost(tx, keys)
		if err != nil {
			return nil, err
		}
		if lost != "" {
			found = append(found, finding{"C4", fmt.Sprintf("%s: %v", lost, c)})
		}
	}
	return found, nil
}

// personActs are the events by which the record tells what people did to a job.
var personActs = map[string]string{
	vote: "approval.vote", withdraw: "approval.vote_withdrawn", callOff: "approval.cancelled", reconcile: "job.reconciled",
}

// lost says what of an acknowledged call is not in the database; nothing of most. The queries name what the indexes are partial by: without it each
// would read the whole record.
func (c *call) lost(tx *store.Tx, keys map[string]keyRow) (what string, err error) {
	there := func(q string, args ...any) bool {
		n := 0
		if err == nil {
			err = tx.QueryRow(q, args...).Scan(&n)
		}
		return n > 0 || err != nil
	}
	_, minted := keys[c.keyID()]
	switch event := personActs[c.tool]; {
	case c.unknown(), c.person() && !c.ok():
	case c.tool == mint && !minted:
		what = "the key is lost"
	case c.tool == revoke && !keys[c.about].revoked:
		what = "the revocation is lost"
	case event != "" && !there(`SELECT COUNT(*) FROM audit_entries WHERE job_id = $1 AND job_id <> '' AND event = $2 AND actor = $3`, c.about, event, "person:"+c.who.ID):
		what = "what a person did is lost"
	case !c.person() && !there(`SELECT COUNT(*) FROM audit_entries WHERE call_id = $1 AND call_id <> ''`, c.id):
		what = "answered and not on record"
	case c.ok() && c.key != "" && !there(`SELECT COUNT(*) FROM idempotency WHERE merchant_id = $1 AND principal_id = $2 AND key = $3 AND status <> ''`,
		c.who.Merchant, c.who.ID, c.key):
		what = "the idempotency key is lost"
	case c.ok() && c.result().JobID != "" && !there(`SELECT COUNT(*) FROM jobs WHERE id = $1`, c.result().JobID):
		what = "the job is lost"
	}
	return what, err
}

// checkKept holds what was acknowledged since the last time against the database.
func (r *rig) checkKept() {
	r.t.Helper()
	told := r.book.acknowledged()
	r.withDB(func(db *store.DB) error {
		return db.Read(r.t.Context(), func(tx *store.Tx) error {
			found, err := stillThere(tx, told[r.kept:])
			for _, f := range found {
				r.t.Errorf("after a kill: %s", f)
			}
			return err
		})
	})
	r.kept = len(told)
}
