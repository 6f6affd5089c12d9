package audit

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// Lag is how far the tree is behind the record.
type Lag struct {
	Pending int64     // entries without a number; at most lagMost are counted
	Oldest  time.Time // when the first of them was made; zero when there is none
	Size    int64     // entries that the last checkpoint is about
	Signed  time.Time // when that was; zero when there is none
}

// lagMost bounds the pending entries that are counted: beyond it the number says that there are at least so many.
const lagMost = 100_000

// ReadLag reads how far the tree is behind. The age of the oldest pending entry is read off its id.
func ReadLag(tx *store.Tx) (l Lag, err error) {
	var first string
	err = tx.QueryRow(`SELECT COUNT(*), COALESCE(MIN(entry_id), '') FROM (SELECT entry_id FROM audit_pending ORDER BY entry_id LIMIT $1) pending`,
		lagMost).Scan(&l.Pending, &first)
	if err == nil {
		l.Oldest, _ = store.IDTime(first)
		err = tx.QueryRow(`SELECT size, at FROM audit_checkpoints ORDER BY size DESC LIMIT 1`).Scan(&l.Size, store.At(&l.Signed))
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return l, fmt.Errorf("reading how far the tree is: %w", err)
	}
	return l, nil
}
