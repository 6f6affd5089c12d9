package auth

import (
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// Used is how often a principal, or one below it, was let through and turned away. It may lag behind the record by a second and a kill
// loses that second: it tells people which credentials are in use, and is no proof of anything.
type Used struct {
	Uses       int64     `json:"uses"`
	Refusals   int64     `json:"refusals"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
}

// maxUsage bounds how many principals one statement is about.
const maxUsage = 500

// Usage gives the use of principals by their ids. One that was never used has none.
func Usage(tx *store.Tx, ids ...string) (map[string]Used, error) {
	found := map[string]Used{}
	for len(ids) > 0 {
		n := min(len(ids), maxUsage)
		if err := readUsage(tx, ids[:n], found); err != nil {
			return nil, fmt.Errorf("reading the use of principals: %w", err)
		}
		ids = ids[n:]
	}
	return found, nil
}

func readUsage(tx *store.Tx, ids []string, found map[string]Used) error {
	marks, values := make([]string, len(ids)), make([]any, len(ids))
	for i, id := range ids {
		marks[i], values[i] = fmt.Sprintf("$%d", i+1), id
	}
	_, err := store.All(tx, func(r store.Row) (struct{}, error) {
		var id string
		var u Used
		var last int64
		err := r.Scan(&id, &u.Uses, &u.Refusals, &last)
		if last > 0 {
			u.LastUsedAt = time.UnixMicro(last).UTC()
		}
		found[id] = u
		return struct{}{}, err
	}, `SELECT principal_id, uses, refusals, last_used_at FROM principal_usage WHERE principal_id IN (`+strings.Join(marks, ", ")+`)`, values...)
	return err
}

// AddUsage adds to the counts of a principal. Whoever adds to several does so in the order of their ids.
func AddUsage(tx *store.Tx, merchant, id string, more Used) error {
	last := int64(0)
	if !more.LastUsedAt.IsZero() {
		last = more.LastUsedAt.UnixMicro()
	}
	_, err := tx.Exec(`INSERT INTO principal_usage (principal_id, merchant_id, uses, refusals, last_used_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (principal_id) DO UPDATE SET uses = principal_usage.uses + excluded.uses, refusals = principal_usage.refusals + excluded.refusals,
			last_used_at = CASE WHEN excluded.last_used_at > principal_usage.last_used_at THEN excluded.last_used_at ELSE principal_usage.last_used_at END`,
		id, merchant, more.Uses, more.Refusals, last)
	if err != nil {
		return fmt.Errorf("counting the use of %s: %w", id, err)
	}
	return nil
}
