package auth

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// Ended counts what EndShortLived ended.
type Ended struct{ SubTokens, Sessions, Links int64 }

// EndShortLived ends all that opens for a while only: sub-tokens, sessions of browsers, links that were not used. It is for a database that
// comes from a backup, in which what was revoked since opens again; keys, people's tokens and passkeys are too many to make anew, and stay.
func EndShortLived(tx *store.Tx) (e Ended, err error) {
	merchants, err := store.All(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) }, `SELECT id FROM merchants ORDER BY id`)
	if err != nil {
		return e, err
	}
	for _, m := range merchants {
		if err := BeginChange(tx, m); err != nil {
			return e, err
		}
	}
	now := store.Micros(tx.Now)
	for _, end := range []struct {
		ended *int64
		q     string
		args  []any
	}{
		{&e.SubTokens, `UPDATE sub_tokens SET revoked_at = $1, version = version + 1 WHERE revoked_at IS NULL AND expires_at > $1`, []any{now}},
		{&e.Sessions, `UPDATE sessions SET revoked_at = $1 WHERE revoked_at IS NULL AND expires_at > $1`, []any{now}},
		{&e.Links, `DELETE FROM sign_in_links`, nil},
	} {
		if *end.ended, err = tx.Exec(end.q, end.args...); err != nil {
			return e, fmt.Errorf("ending what opens for a while: %w", err)
		}
	}
	return e, nil
}
