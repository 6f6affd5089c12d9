package approvals

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Delegation says that one person stands in for another who is away, from a moment until another. It goes one step: a deputy hands nothing
// on, and votes for the absent person only about what was asked for neither of them.
type Delegation struct {
	ID        string    `json:"delegation_id"`
	Merchant  string    `json:"-"`
	AbsentID  string    `json:"absent_id"`
	Absent    string    `json:"absent"`
	DeputyID  string    `json:"deputy_id"`
	Deputy    string    `json:"deputy"`
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	MadeBy    string    `json:"made_by"` // person:… or operator
	CreatedAt time.Time `json:"created_at"`
}

const (
	// MaxDelegation is for how long somebody stands in at most, without being named anew.
	MaxDelegation = 90 * 24 * time.Hour
	// maxDelegations bounds how many of a merchant's are in force or to come, and maxOfPerson those of one person who is away.
	maxDelegations = 500
	maxOfPerson    = 20
)

// What a delegation may lack.
var (
	ErrSamePerson     = errors.New("nobody stands in for themselves")
	ErrNoSpan         = errors.New("a delegation ends after it begins, later than now, and after 90 days at most")
	ErrTooManyStandIn = errors.New("20 delegations of one person, or 500 of all, are in force or to come already")
)

// Delegate stores that somebody stands in. Whether both are people of the merchant is for the caller to know, who holds the rights.
func Delegate(tx *store.Tx, d Delegation) (Delegation, error) {
	if d.From.IsZero() {
		d.From = tx.Now
	}
	switch {
	case d.AbsentID == d.DeputyID:
		return d, ErrSamePerson
	case !d.Until.After(d.From), !d.Until.After(tx.Now), d.Until.Sub(d.From) > MaxDelegation:
		return d, ErrNoSpan
	}
	open, err := Delegations(tx, d.Merchant)
	if err != nil {
		return d, err
	}
	theirs := 0
	for _, one := range open {
		if one.AbsentID == d.AbsentID {
			theirs++
		}
	}
	if len(open) >= maxDelegations || theirs >= maxOfPerson {
		return d, ErrTooManyStandIn
	}
	d.ID, d.CreatedAt = store.NewID("dlg", tx.Now), tx.Now
	_, err = tx.Exec(`INSERT INTO delegations (id, merchant_id, absent_id, deputy_id, starts_at, ends_at, made_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		d.ID, d.Merchant, d.AbsentID, d.DeputyID, store.Micros(d.From), store.Micros(d.Until), d.MadeBy, store.Micros(tx.Now))
	if err != nil {
		return d, fmt.Errorf("storing a delegation: %w", err)
	}
	return d, nil
}

// EndDelegation ends one that is in force or to come. What its deputy has said in the meantime counts no more where it has not run.
func EndDelegation(tx *store.Tx, merchant, id string) error {
	n, err := tx.Exec(`UPDATE delegations SET revoked_at = $1 WHERE merchant_id = $2 AND id = $3 AND revoked_at IS NULL AND ends_at > $1`,
		store.Micros(tx.Now), merchant, id)
	return one(n, err, store.ErrNotFound)
}

const delegationsInForce = `SELECT d.id, d.merchant_id, d.absent_id, a.name, d.deputy_id, p.name, d.starts_at, d.ends_at, d.made_by, d.created_at
	FROM delegations d JOIN people a ON a.id = d.absent_id JOIN people p ON p.id = d.deputy_id
	WHERE d.merchant_id = $1 AND d.ends_at > $2 AND d.revoked_at IS NULL`

// Delegations gives a merchant's that are in force or to come, those that begin first first.
func Delegations(tx *store.Tx, merchant string) ([]Delegation, error) {
	return store.All(tx, scanDelegation, delegationsInForce+` ORDER BY d.starts_at, d.id`, merchant, store.Micros(tx.Now))
}

// FindDelegation gives one of those. Any other is store.ErrNotFound.
func FindDelegation(tx *store.Tx, merchant, id string) (Delegation, error) {
	if _, ok := store.IDTime(id); !ok { // no text that PostgreSQL would refuse
		return Delegation{}, store.ErrNotFound
	}
	return store.One(tx, scanDelegation, delegationsInForce+` AND d.id = $3`, merchant, store.Micros(tx.Now), id)
}

func scanDelegation(r store.Row) (Delegation, error) {
	var d Delegation
	return d, r.Scan(&d.ID, &d.Merchant, &d.AbsentID, &d.Absent, &d.DeputyID, &d.Deputy, store.At(&d.From), store.At(&d.Until), &d.MadeBy, store.At(&d.CreatedAt))
}
