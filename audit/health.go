package audit

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// Health is how the record stands, for whoever looks after it.
type Health struct {
	Entries     int64     // that have a number
	Newest      time.Time // entry; zero: there is none
	Pending     int64     // that have no number yet, at most pendingShown
	Oldest      time.Time // of them
	Checkpoint  int64     // size of the last one that was signed
	CheckpointT time.Time
}

const pendingShown = 10_000

// HealthOf reads it. It costs the same however long the record is.
func HealthOf(tx *store.Tx) (h Health, err error) {
	err = tx.QueryRow(`SELECT COALESCE((SELECT MAX(seq) FROM audit_sequence), 0)`).Scan(&h.Entries)
	if err == nil {
		err = tx.QueryRow(`SELECT COUNT(*), COALESCE(MIN(entry_id), '') FROM (SELECT entry_id FROM audit_pending ORDER BY entry_id LIMIT $1) p`, pendingShown).
			Scan(&h.Pending, &idTime{&h.Oldest})
	}
	if err == nil {
		err = none(tx.QueryRow(`SELECT size, at FROM audit_checkpoints ORDER BY size DESC LIMIT 1`).Scan(&h.Checkpoint, store.At(&h.CheckpointT)))
	}
	if err == nil {
		err = none(tx.QueryRow(`SELECT at FROM audit_entries ORDER BY id DESC LIMIT 1`).Scan(store.At(&h.Newest)))
	}
	if err != nil {
		return h, fmt.Errorf("reading the state of the record: %w", err)
	}
	return h, nil
}

// idTime scans the time that an id tells.
type idTime struct{ into *time.Time }

// Scan implements sql.Scanner.
func (t *idTime) Scan(v any) error {
	id, _ := v.(string)
	*t.into, _ = store.IDTime(id)
	return nil
}

func none(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
