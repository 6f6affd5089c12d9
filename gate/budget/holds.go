package budget

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// A hold is what a call has taken of a counter.
type hold struct {
	counter
	amount int64
}

// takeBack deletes what a call has reserved, and gives it. Of two that do so at once one gets it and the other nothing: what was read
// before it was deleted could be given back twice.
func takeBack(tx *store.Tx, merchant, call string) ([]hold, error) {
	open, err := store.All(tx, scanHold, `DELETE FROM budget_holds WHERE merchant_id = $1 AND call_id = $2 AND settled_at IS NULL
		RETURNING budget, subject, unit, from_at, amount`, merchant, call)
	if err != nil {
		return nil, fmt.Errorf("taking back what a call has reserved: %w", err)
	}
	return open, nil
}

// settled gives what a call has spent.
func settled(tx *store.Tx, merchant, call string) ([]hold, error) {
	done, err := store.All(tx, scanHold, `SELECT budget, subject, unit, from_at, amount FROM budget_holds
		WHERE merchant_id = $1 AND call_id = $2 AND settled_at IS NOT NULL`, merchant, call)
	if err != nil {
		return nil, fmt.Errorf("reading what a call has spent: %w", err)
	}
	return done, nil
}

func scanHold(r store.Row) (h hold, err error) {
	return h, r.Scan(&h.budget, &h.subject, &h.unit, &h.from, &h.amount)
}

// keep writes down what a call has taken of each counter.
func keep(tx *store.Tx, merchant, call string, steps []step, settle bool) error {
	var settledAt any
	if settle {
		settledAt = store.Micros(tx.Now)
	}
	for _, s := range steps {
		if s.charge == nil {
			continue
		}
		_, err := tx.Exec(`INSERT INTO budget_holds (merchant_id, call_id, budget, subject, unit, from_at, amount, settled_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, merchant, call, s.budget, s.subject, s.unit, s.from, s.charge.Amount, settledAt)
		if err != nil {
			return fmt.Errorf("writing down what a call has taken: %w", err)
		}
	}
	return nil
}
