package budget

import (
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Use is how much of a budget one subject has used up in a period.
type Use struct {
	Budget   string    `json:"budget"`
	Subject  string    `json:"subject"`
	Unit     string    `json:"unit"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	Limit    int64     `json:"limit"`    // under which something was last taken; the policy may say another by now
	Reserved int64     `json:"reserved"` // by calls that wait or run
	Spent    int64     `json:"spent"`
}

// A Filter says which uses are listed. What it leaves out fits all.
type Filter struct {
	Budget, Subject string
	Limit           int // at most so many; 0 is 100
}

// defaultLimit is how many uses are listed when nobody says.
const defaultLimit = 100

// Used lists what a merchant's budgets have used up in the periods that last, by budget, subject and unit. Where nothing was used there
// is no row.
func Used(tx *store.Tx, merchant string, f Filter) ([]Use, error) {
	if f.Limit == 0 {
		f.Limit = defaultLimit
	}
	all, err := store.All(tx, scanUse, `SELECT budget, subject, unit, from_at, until_at, allowed, reserved, spent FROM budget_counters
		WHERE merchant_id = $1 AND from_at <= $2 AND until_at > $2 AND ($3 = '' OR budget = $3) AND ($4 = '' OR subject = $4)
		ORDER BY budget, subject, unit, from_at LIMIT $5`, merchant, store.Micros(tx.Now), f.Budget, f.Subject, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("listing budgets: %w", err)
	}
	return all, nil
}

func scanUse(r store.Row) (u Use, err error) {
	return u, r.Scan(&u.Budget, &u.Subject, &u.Unit, store.At(&u.From), store.At(&u.Until), &u.Limit, &u.Reserved, &u.Spent)
}

// A Share is what one call has taken of a budget, and how the budget stands with it.
type Share struct {
	Use
	Amount int64
}

// Left is what others can still take.
func (s Share) Left() int64 { return max(0, s.Limit-s.Reserved-s.Spent) }

// Shares lists what a call has taken of budgets, reserved or spent.
func Shares(tx *store.Tx, merchant, call string) ([]Share, error) {
	all, err := store.All(tx, scanShare, `SELECT c.budget, c.subject, c.unit, c.from_at, c.until_at, c.allowed, c.reserved, c.spent, h.amount
		FROM budget_holds h JOIN budget_counters c ON c.merchant_id = h.merchant_id AND c.budget = h.budget AND c.subject = h.subject
			AND c.unit = h.unit AND c.from_at = h.from_at
		WHERE h.merchant_id = $1 AND h.call_id = $2 ORDER BY c.budget, c.subject, c.unit, c.from_at`, merchant, call)
	if err != nil {
		return nil, fmt.Errorf("listing what a call has taken: %w", err)
	}
	return all, nil
}

func scanShare(r store.Row) (s Share, err error) {
	return s, r.Scan(&s.Budget, &s.Subject, &s.Unit, store.At(&s.From), store.At(&s.Until), &s.Limit, &s.Reserved, &s.Spent, &s.Amount)
}

// Fits tells whether all charges could be taken now, as Spend would, and takes none: for rehearsals and explanations. Somebody else may
// take it the next moment.
func Fits(tx *store.Tx, merchant string, all []Charge) error {
	steps, err := plan(nil, all)
	if err != nil {
		return err
	}
	for _, s := range steps {
		used, err := s.used(tx, merchant)
		if err != nil {
			return err
		}
		if s.charge.Amount > s.charge.Limit-used {
			return &Exceeded{Charge: *s.charge, Left: max(0, s.charge.Limit-used)}
		}
	}
	return nil
}

// Kept is how long counters can be looked up after their period, and for how long it is known that a call has been settled.
const Kept = 7 * 24 * time.Hour

// forgetMax bounds what one Forget deletes of each table.
const forgetMax = 1000

// Forget deletes some of what is older than Kept: counters of which nothing is reserved any more, and holds that are settled. It
// waits for nobody.
func Forget(tx *store.Tx) error {
	before := store.Micros(tx.Now.Add(-Kept))
	_, err := tx.Exec(`DELETE FROM budget_counters WHERE reserved = 0 AND (merchant_id, budget, subject, unit, from_at) IN
		(SELECT merchant_id, budget, subject, unit, from_at FROM budget_counters WHERE until_at < $1 AND reserved = 0
			ORDER BY until_at LIMIT $2`+tx.SkipLocked()+`)`, before, forgetMax)
	if err != nil {
		return fmt.Errorf("forgetting old budgets: %w", err)
	}
	_, err = tx.Exec(`DELETE FROM budget_holds WHERE (merchant_id, call_id, budget, subject, unit, from_at) IN
		(SELECT merchant_id, call_id, budget, subject, unit, from_at FROM budget_holds WHERE settled_at < $1
			ORDER BY settled_at LIMIT $2`+tx.SkipLocked()+`)`, before, forgetMax)
	if err != nil {
		return fmt.Errorf("forgetting what calls have settled: %w", err)
	}
	return nil
}
