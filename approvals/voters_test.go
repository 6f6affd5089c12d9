package approvals

import (
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

func TestNoKeyIsSomebodyWhoDecides(t *testing.T) {
	onBoard(t, func(t *testing.T, b *board) {
		var key auth.Key
		b.tx(func(tx *store.Tx) (err error) {
			if key, _, err = auth.MintKey(tx, auth.Key{Merchant: b.merchant, Name: "bot", Profile: "admin", Scopes: []auth.Scope{"orders:read"}, Ceiling: auth.MaxLevel}); err == nil {
				_, err = tx.Exec(`UPDATE agent_keys SET scopes = '["approvals:resolve"]' WHERE id = $1`, key.ID) // which nobody may give it
			}
			return err
		})
		b.refuses(b.asked(Rule{People: 1}), Vote{PersonID: key.ID, Person: "bot", Decision: Approve}, ErrNoDecider)
	})
}
