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

func TestNobodyStandsInForSomebodyWhoMayNotDecide(t *testing.T) {
	onBoard(t, func(t *testing.T, b *board) {
		deputy, absent := b.person("jo", "manager"), b.person("mara", "manager")
		b.tx(func(tx *store.Tx) error {
			_, err := tx.Exec(`INSERT INTO delegations (id, merchant_id, absent_id, deputy_id, starts_at, ends_at, made_by, created_at) VALUES ('dlg_1', $1, $2, $3, $4, $5, 'operator', $4)`,
				b.merchant, absent.PersonID, deputy.PersonID, store.Micros(tx.Now), store.Micros(tx.Now.Add(TimeToDecide)))
			return err
		})
		deputy.For = absent.PersonID
		r := b.asked(Rule{People: 2})
		b.give(absent) // no role any more
		b.refuses(r, deputy, ErrNoDeputy)
		b.give(absent, "manager")
		b.casts(r, deputy)
	})
}
