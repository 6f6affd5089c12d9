package auth

import "github.com/dtcgate/dtcgate/store"

// Unlinked gives the names of a merchant's active people who can sign in by nothing of their own, passkey or account of a provider, at most limit:
// they wait for a link or work with a token.
func Unlinked(tx *store.Tx, merchant string, limit int) ([]string, error) {
	return store.All(tx, func(r store.Row) (name string, err error) { return name, r.Scan(&name) }, `SELECT name FROM people p
		WHERE merchant_id = $1 AND revoked_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM passkeys k WHERE k.merchant_id = p.merchant_id AND k.person_id = p.id)
			AND NOT EXISTS (SELECT 1 FROM oidc_identities o WHERE o.person_id = p.id) ORDER BY id LIMIT $2`, merchant, limit)
}
