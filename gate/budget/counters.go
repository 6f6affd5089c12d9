package budget

import (
	"errors"
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// run changes the counter in one statement, which takes nothing unless it fits.
func (s step) run(tx *store.Tx, merchant string, settle bool) error {
	if s.charge == nil {
		return s.free(tx, merchant)
	}
	if s.charge.Amount > s.charge.Limit {
		return s.exceeded(tx, merchant)
	}
	take := s.take
	if s.held > 0 {
		take = s.exchange
	}
	n, err := take(tx, merchant, settle)
	switch {
	case err != nil:
		return fmt.Errorf("charging %s: %w", s.budget, err)
	case n == 0:
		return s.exceeded(tx, merchant)
	}
	return nil
}

// amounts are what a charge adds to reserved and spent.
func (c Charge) amounts(settle bool) (reserved, spent int64) {
	if settle {
		return 0, c.Amount
	}
	return c.Amount, 0
}

func (s step) take(tx *store.Tx, merchant string, settle bool) (int64, error) {
	reserved, spent := s.charge.amounts(settle)
	return tx.Exec(`INSERT INTO budget_counters (merchant_id, budget, subject, unit, from_at, until_at, allowed, reserved, spent)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (merchant_id, budget, subject, unit, from_at) DO UPDATE SET until_at = excluded.until_at, allowed = excluded.allowed,
			reserved = budget_counters.reserved + excluded.reserved, spent = budget_counters.spent + excluded.spent
		WHERE excluded.reserved + excluded.spent <= excluded.allowed - budget_counters.reserved - budget_counters.spent`,
		merchant, s.budget, s.subject, s.unit, s.from, store.Micros(s.charge.Until), s.charge.Limit, reserved, spent)
}

// exchange gives back what is held and takes the charge of the same counter.
func (s step) exchange(tx *store.Tx, merchant string, settle bool) (int64, error) {
	reserved, spent := s.charge.amounts(settle)
	return tx.Exec(`UPDATE budget_counters SET until_at = $1, allowed = $2,
			reserved = reserved - CAST($3 AS BIGINT) + CAST($4 AS BIGINT), spent = spent + CAST($5 AS BIGINT)
		WHERE merchant_id = $6 AND budget = $7 AND subject = $8 AND unit = $9 AND from_at = $10
			AND reserved >= $3 AND CAST($4 AS BIGINT) + CAST($5 AS BIGINT) <= CAST($2 AS BIGINT) - (reserved - CAST($3 AS BIGINT)) - spent`,
		store.Micros(s.charge.Until), s.charge.Limit, s.held, reserved, spent, merchant, s.budget, s.subject, s.unit, s.from)
}

// free gives back what is held, and spend makes it spent.
func (s step) free(tx *store.Tx, merchant string) error { return s.unhold(tx, merchant, 0) }

func (s step) spend(tx *store.Tx, merchant string) error { return s.unhold(tx, merchant, s.held) }

func (s step) unhold(tx *store.Tx, merchant string, spent int64) error {
	n, err := tx.Exec(`UPDATE budget_counters SET reserved = reserved - CAST($1 AS BIGINT), spent = spent + CAST($2 AS BIGINT)
		WHERE merchant_id = $3 AND budget = $4 AND subject = $5 AND unit = $6 AND from_at = $7 AND reserved >= $1`,
		s.held, spent, merchant, s.budget, s.subject, s.unit, s.from)
	if err == nil && n == 0 {
		err = errUneven
	}
	if err != nil {
		return fmt.Errorf("freeing %s: %w", s.budget, err)
	}
	return nil
}

// exceeded gives the error of a charge that does not fit, with what is left for it.
func (s step) exceeded(tx *store.Tx, merchant string) error {
	used, err := s.used(tx, merchant)
	if err != nil {
		return err
	}
	return &Exceeded{Charge: *s.charge, Left: max(0, s.charge.Limit-(used-s.held))}
}

// used is what the counter has reserved and spent.
func (s step) used(tx *store.Tx, merchant string) (used int64, err error) {
	err = tx.QueryRow(`SELECT reserved + spent FROM budget_counters
		WHERE merchant_id = $1 AND budget = $2 AND subject = $3 AND unit = $4 AND from_at = $5`,
		merchant, s.budget, s.subject, s.unit, s.from).Scan(&used)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", s.budget, err)
	}
	return used, nil
}
