package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Freeze stops the writes of one link and of all that stands below it, or of every agent of the merchant, until somebody lifts it. It is part of
// a principal as its rights are: it is read where they are read, and BeginChange comes before it is made or lifted, so that a freeze that is
// acknowledged has waited for the writes that run, and none begins after it.
type Freeze struct {
	ID         string    `json:"id"`
	Merchant   string    `json:"merchant_id"`
	Subject    string    `json:"subject_id,omitempty"` // key_…, sub_…, jwt_… or per_…; "": every agent
	Reason     string    `json:"reason"`
	By         string    `json:"frozen_by"` // as in a chain
	At         time.Time `json:"frozen_at"`
	LiftReason string    `json:"lift_reason,omitempty"`
	LiftedBy   string    `json:"lifted_by,omitempty"`
	LiftedAt   time.Time `json:"lifted_at,omitzero"`
}

// Open reports whether the freeze holds.
func (f Freeze) Open() bool { return f.ID != "" && f.LiftedAt.IsZero() }

// maxFreezes bounds the open freezes of a merchant.
const maxFreezes = 1000

// ErrTooManyFreezes says that so many are frozen one by one that all of them had better be.
var ErrTooManyFreezes = errors.New("too many are frozen one by one")

// BeginFreeze stops the writes of a subject, "" for every agent, after BeginChange. Who is frozen already stays so by the freeze that is there,
// which it gives; made says that there was none. A subject that the merchant has not is store.ErrNotFound.
func BeginFreeze(tx *store.Tx, f Freeze) (now Freeze, made bool, err error) {
	if f.Subject != "" {
		if err := mayBeFrozen(tx, f.Merchant, f.Subject); err != nil {
			return f, false, err
		}
	}
	n, err := tx.Exec(`INSERT INTO freezes (id, merchant_id, subject_id, reason, frozen_by, frozen_at) SELECT $1, $2, $3, $4, $5, CAST($6 AS BIGINT)
		WHERE (SELECT COUNT(*) FROM freezes WHERE merchant_id = $2 AND lifted_at IS NULL) < $7 ON CONFLICT DO NOTHING`,
		store.NewID("frz", tx.Now), f.Merchant, f.Subject, f.Reason, f.By, store.Micros(tx.Now), maxFreezes)
	if err != nil {
		return f, false, fmt.Errorf("freezing: %w", err)
	}
	now, err = store.One(tx, scanFreeze, `SELECT `+freezeColumns+` FROM freezes WHERE merchant_id = $1 AND subject_id = $2 AND lifted_at IS NULL`, f.Merchant, f.Subject)
	if errors.Is(err, store.ErrNotFound) {
		err = ErrTooManyFreezes
	}
	return now, n == 1, err
}

// mayBeFrozen asks whether an id is that of a link of the merchant's.
func mayBeFrozen(tx *store.Tx, merchant, id string) error {
	if _, ok := store.IDTime(id); !ok { // no text that PostgreSQL would refuse
		return store.ErrNotFound
	}
	_, err := readLink(tx, merchant, id)
	if errors.Is(err, ErrUnknownCredential) {
		err = store.ErrNotFound
	}
	return err
}

// LiftFreeze ends a freeze, after BeginChange, and gives it. One that is not there or was lifted before is store.ErrNotFound.
func LiftFreeze(tx *store.Tx, merchant, id, by, reason string) (Freeze, error) {
	if _, ok := store.IDTime(id); !ok {
		return Freeze{}, store.ErrNotFound
	}
	n, err := tx.Exec(`UPDATE freezes SET lifted_at = $1, lifted_by = $2, lift_reason = $3 WHERE merchant_id = $4 AND id = $5 AND lifted_at IS NULL`,
		store.Micros(tx.Now), by, reason, merchant, id)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return Freeze{}, fmt.Errorf("lifting %s: %w", id, err)
	}
	return FindFreeze(tx, merchant, id)
}

// FindFreeze gives a merchant's freeze, lifted or not.
func FindFreeze(tx *store.Tx, merchant, id string) (Freeze, error) {
	return store.One(tx, scanFreeze, `SELECT `+freezeColumns+` FROM freezes WHERE merchant_id = $1 AND id = $2`, merchant, id)
}

// Freezes lists a merchant's freezes that hold, and those that were lifted since a time, newest first.
func Freezes(tx *store.Tx, merchant string, since time.Time, limit int) ([]Freeze, error) {
	return store.All(tx, scanFreeze, `SELECT `+freezeColumns+` FROM freezes WHERE merchant_id = $1 AND (lifted_at IS NULL OR lifted_at >= $2) ORDER BY id DESC LIMIT $3`,
		merchant, since.UnixMicro(), limit)
}

// OpenFreezes lists the freezes that hold at any merchant, oldest first.
func OpenFreezes(tx *store.Tx, limit int) ([]Freeze, error) {
	return store.All(tx, scanFreeze, `SELECT `+freezeColumns+` FROM freezes WHERE lifted_at IS NULL ORDER BY id LIMIT $1`, limit)
}

// frozenBy gives the freeze that stops a chain, that of all agents first; none when nothing does.
func frozenBy(tx *store.Tx, merchant string, chain []Link) (Freeze, error) {
	args, marks := []any{merchant}, []string{"''"}
	for _, l := range chain {
		args = append(args, l.ID)
		marks = append(marks, fmt.Sprintf("$%d", len(args)))
	}
	f, err := store.One(tx, scanFreeze, `SELECT `+freezeColumns+` FROM freezes WHERE merchant_id = $1 AND lifted_at IS NULL
		AND subject_id IN (`+strings.Join(marks, ", ")+`) ORDER BY CASE WHEN subject_id = '' THEN 0 ELSE 1 END, id LIMIT 1`, args...)
	if errors.Is(err, store.ErrNotFound) {
		return Freeze{}, nil
	}
	return f, err
}

const freezeColumns = `id, merchant_id, subject_id, reason, frozen_by, frozen_at, lift_reason, lifted_by, lifted_at`

func scanFreeze(r store.Row) (f Freeze, err error) {
	return f, r.Scan(&f.ID, &f.Merchant, &f.Subject, &f.Reason, &f.By, store.At(&f.At), &f.LiftReason, &f.LiftedBy, store.At(&f.LiftedAt))
}
