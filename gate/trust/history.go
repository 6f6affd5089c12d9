package trust

import (
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Moved is one line of the history of a score. Successes that follow one another are one line.
type Moved struct {
	Number int64  `json:"number"`
	Kind   Kind   `json:"kind"`
	Code   string `json:"code,omitempty"` // of a refusal
	Count  int64  `json:"count"`
	Change
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
	CallID  string    `json:"call_id,omitempty"`
	By      string    `json:"by,omitempty"`
	Note    string    `json:"note,omitempty"`
}

// History gives what moved the score of an agent, newest first. Between two lines it decayed.
func History(tx *store.Tx, merchant, agent string, limit int) ([]Moved, error) {
	return store.All(tx, func(r store.Row) (m Moved, err error) {
		err = r.Scan(&m.Number, &m.Kind, &m.Code, &m.Count, &m.Before, &m.After, store.At(&m.FirstAt), store.At(&m.LastAt), &m.CallID, &m.By, &m.Note)
		return m, err
	}, `SELECT number, kind, code, count, score_before, score_after, first_at, last_at, call_id, by_id, note FROM trust_moves
		WHERE merchant_id = $1 AND agent_id = $2 ORDER BY number DESC LIMIT $3`, merchant, agent, limit)
}

// An entry is what goes into the history.
type entry struct {
	Signal
	Change
	count int64
}

// note writes an entry down and gives the number of the newest. The row of the score is locked, so that numbers have no gaps.
func (r Rules) note(tx *store.Tx, k kept, e entry) (newest int64, err error) {
	if e.Kind == Success {
		if more, err := extend(tx, k, e); err != nil || more {
			return k.moves, err
		}
	}
	newest = k.moves + 1
	_, err = tx.Exec(`INSERT INTO trust_moves (merchant_id, agent_id, number, kind, code, count, score_before, score_after, first_at, last_at, call_id, by_id, note)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12)`,
		k.merchant, k.agent, newest, string(e.Kind), string(e.Code), e.count, int64(e.Before), int64(e.After), store.Micros(tx.Now), e.CallID, e.By, e.Note)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(`DELETE FROM trust_moves WHERE merchant_id = $1 AND agent_id = $2 AND number <= $3`, k.merchant, k.agent, newest-r.history())
	return newest, err
}

// extend adds successes to the newest line, when that is one of successes. Otherwise an agent at work would drive what matters out
// of its own history.
func extend(tx *store.Tx, k kept, e entry) (bool, error) {
	n, err := tx.Exec(`UPDATE trust_moves SET count = count + $1, score_after = $2, last_at = $3
		WHERE merchant_id = $4 AND agent_id = $5 AND number = $6 AND kind = 'success'`,
		e.count, int64(e.After), store.Micros(tx.Now), k.merchant, k.agent, k.moves)
	return n == 1, err
}
