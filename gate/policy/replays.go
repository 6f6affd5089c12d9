package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Replay is the rehearsal of a draft by some process, which writes down how far it is.
type Replay struct {
	ID       string          `json:"id"` // rpl_…
	Merchant string          `json:"-"`
	AskedBy  string          `json:"asked_by"` // as in a chain
	Status   ReplayStatus    `json:"status"`
	Why      string          `json:"why,omitempty"` // it failed
	Report   json.RawMessage `json:"report"`        // so far
	At       time.Time       `json:"created_at"`
	AliveAt  time.Time       `json:"alive_at"` // when its process last wrote something down
}

// A ReplayStatus is what is known of a rehearsal.
type ReplayStatus string

// The states of a rehearsal.
const (
	ReplayRunning ReplayStatus = "running"
	ReplayDone    ReplayStatus = "done"
	ReplayFailed  ReplayStatus = "failed"
)

// The bounds of rehearsals.
const (
	ReplaysAtOnce = 2                  // of one merchant that run
	replaysKept   = 50                 // of one merchant
	replayKept    = 7 * 24 * time.Hour // how long one is kept
	replayDead    = 15 * time.Second   // without a sign of life it runs no more
)

// ErrTooManyReplays says that as many rehearsals of a merchant run as may.
var ErrTooManyReplays = errors.New("too many rehearsals run")

// BeginReplay stores a rehearsal that is about to run, and forgets old ones. Two that begin at once are told apart by the lock on the merchant's name.
func BeginReplay(tx *store.Tx, r Replay) (Replay, error) {
	if err := tx.Own("rehearsals at " + r.Merchant); err != nil {
		return r, err
	}
	dead := store.Micros(tx.Now.Add(-replayDead))
	for _, q := range []struct {
		text string
		args []any
	}{
		{`UPDATE policy_replays SET status = 'failed', why = $1 WHERE merchant_id = $2 AND status = 'running' AND alive_at < $3`, []any{died, r.Merchant, dead}},
		{`DELETE FROM policy_replays WHERE merchant_id = $1 AND status <> 'running' AND created_at < $2`, []any{r.Merchant, store.Micros(tx.Now.Add(-replayKept))}},
		{`DELETE FROM policy_replays WHERE merchant_id = $1 AND status <> 'running' AND id NOT IN
			(SELECT id FROM policy_replays WHERE merchant_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2)`, []any{r.Merchant, replaysKept - 1}},
	} {
		if _, err := tx.Exec(q.text, q.args...); err != nil {
			return r, fmt.Errorf("forgetting rehearsals: %w", err)
		}
	}
	running, err := store.One(tx, func(r store.Row) (n int, err error) { return n, r.Scan(&n) },
		`SELECT COUNT(*) FROM policy_replays WHERE merchant_id = $1 AND status = 'running'`, r.Merchant)
	if err != nil || running >= ReplaysAtOnce {
		return r, errors.Join(err, ErrTooManyReplays)
	}
	r.ID, r.Status, r.Report, r.At, r.AliveAt = store.NewID("rpl", tx.Now), ReplayRunning, json.RawMessage("{}"), tx.Now, tx.Now
	_, err = tx.Exec(`INSERT INTO policy_replays (id, merchant_id, asked_by, status, why, report, created_at, alive_at) VALUES ($1, $2, $3, 'running', '', $4, $5, $5)`,
		r.ID, r.Merchant, r.AskedBy, string(r.Report), store.Micros(r.At))
	if err != nil {
		err = fmt.Errorf("storing a rehearsal: %w", err)
	}
	return r, err
}

// died is why a rehearsal failed of which nothing is heard any more.
const died = "The process that ran it has ended."

// ErrReplayOver says that a rehearsal was taken for dead, or is done.
var ErrReplayOver = errors.New("the rehearsal is over")

// AdvanceReplay writes down how far a running rehearsal is, or how it ended.
func AdvanceReplay(tx *store.Tx, r Replay) error {
	n, err := tx.Exec(`UPDATE policy_replays SET status = $1, why = $2, report = $3, alive_at = $4 WHERE id = $5 AND merchant_id = $6 AND status = 'running'`,
		string(r.Status), r.Why, string(r.Report), store.Micros(tx.Now), r.ID, r.Merchant)
	switch {
	case err != nil:
		return fmt.Errorf("writing down a rehearsal: %w", err)
	case n == 0:
		return ErrReplayOver
	}
	return nil
}

// FindReplay gives a rehearsal of a merchant.
func FindReplay(tx *store.Tx, merchant, id string) (Replay, error) {
	r, err := store.One(tx, func(row store.Row) (r Replay, err error) {
		var report string
		err = row.Scan(&r.ID, &r.Merchant, &r.AskedBy, &r.Status, &r.Why, &report, store.At(&r.At), store.At(&r.AliveAt))
		r.Report = json.RawMessage(report)
		return r, err
	}, `SELECT id, merchant_id, asked_by, status, why, report, created_at, alive_at FROM policy_replays WHERE merchant_id = $1 AND id = $2`, merchant, id)
	if err == nil && r.Status == ReplayRunning && tx.Now.Sub(r.AliveAt) > replayDead {
		r.Status, r.Why = ReplayFailed, died
	}
	return r, err
}
