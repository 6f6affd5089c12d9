package auth

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// IsAgent reports whether an id is that of an agent of a merchant, a key or one that an issuer vouches for, whatever its state. A sub-token is
// none: it is somebody's.
func IsAgent(tx *store.Tx, merchant, id string) (bool, error) {
	var n int64
	err := tx.QueryRow(`SELECT (SELECT COUNT(*) FROM agent_keys WHERE merchant_id = $1 AND id = $2) + (SELECT COUNT(*) FROM jwt_agents WHERE merchant_id = $1 AND id = $2)`,
		merchant, id).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("reading the agent: %w", err)
	}
	return n > 0, nil
}
