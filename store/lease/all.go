package lease

import (
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// most bounds the leases that All gives. Their names are constants of the program, of which there are few.
const most = 64

// All gives, by name, until when the holder of each lease has it by its own clock, for operators. One that was given up is not among them; one
// whose time is over may be held yet, by a holder who has nothing to do with it just now.
func All(tx *store.Tx) (map[string]time.Time, error) {
	type held struct {
		name  string
		until time.Time
	}
	all, err := store.All(tx, func(r store.Row) (h held, err error) {
		return h, r.Scan(&h.name, store.At(&h.until))
	}, `SELECT name, until FROM leases WHERE until > 0 ORDER BY name LIMIT $1`, most)
	if err != nil {
		return nil, fmt.Errorf("reading leases: %w", err)
	}
	until := map[string]time.Time{}
	for _, h := range all {
		until[h.name] = h.until
	}
	return until, nil
}
