package audit

import (
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// horizonLock names what is held while a horizon is set or entries behind it go, so that two who prune do not meet.
const horizonLock = "audit.horizon"

// Reach is the greatest number, not above most, up to which all entries were signed by a time: the size of a checkpoint. 0: there is none.
// Checkpoints are many, and are signed in the order of their sizes, so it is found by halving.
func Reach(tx *store.Tx, by time.Time, most int64) (int64, error) {
	var failed error
	at := func(seq int64) stored {
		c, err := store.One(tx, scanStored, `SELECT size, note, at FROM audit_checkpoints WHERE size <= $1 ORDER BY size DESC LIMIT 1`, seq)
		if err != nil && !errors.Is(err, store.ErrNotFound) && failed == nil {
			failed = fmt.Errorf("reading the checkpoints by %s: %w", by.Format(time.DateTime), err)
		}
		return c
	}
	after := sort.Search(int(most), func(i int) bool { return at(int64(i) + 1).at.After(by) })
	return at(int64(after)).size, failed
}

// SetHorizon lets entries up to a number go, and puts that on record as e. The database refuses it when one of them is younger than LeastKept,
// or when a horizon as far is there. Nothing goes until e has a number.
func SetHorizon(tx *store.Tx, seq int64, e Entry) error {
	if err := tx.Own(horizonLock); err != nil {
		return err
	}
	e.Event, e.Resource = EventPruned, fmt.Sprintf("%s%d", pruned, seq)
	id, err := Append(tx, e)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO audit_horizons (seq, entry_id, at) VALUES ($1, $2, $3)`, seq, id, tx.Now.UnixMicro()); err != nil {
		return fmt.Errorf("setting the horizon of the audit log to %d: %w", seq, err)
	}
	return nil
}

// Remove removes the entries from a number up to another with their personal values, and gives how many they were. The database refuses it
// when one of them is not behind a horizon in force. Of the publishing of a policy the personal values go and the entry stays: receipts of calls
// that are younger prove by it under which text they were decided. There are as many as versions, whose texts are kept, too.
func Remove(tx *store.Tx, from, upTo int64) (int64, error) {
	if err := tx.Own(horizonLock); err != nil {
		return 0, err
	}
	const which = ` IN (SELECT s.entry_id FROM audit_sequence s WHERE s.seq >= $1 AND s.seq <= $2)`
	_, err := tx.Exec(`DELETE FROM audit_values WHERE entry_id`+which, from, upTo)
	if err != nil {
		return 0, fmt.Errorf("removing the personal values of entries %d to %d: %w", from, upTo, err)
	}
	n, err := tx.Exec(`DELETE FROM audit_entries WHERE event <> $3 AND id`+which, from, upTo, policyPublished)
	if err != nil {
		return 0, fmt.Errorf("removing entries %d to %d: %w", from, upTo, err)
	}
	return n, nil
}
