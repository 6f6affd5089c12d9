package auth

import (
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// jwtLink reads an agent that an issuer vouches for, with the scopes of the newest token seen.
func jwtLink(tx *store.Tx, id string) (storedLink, error) {
	return store.One(tx, func(r store.Row) (l storedLink, err error) {
		var ceiling string
		var revoked time.Time
		l.Kind, l.Depth = KindJWT, DefaultDepth
		if err = r.Scan(&l.ID, &l.merchant, &l.Name, &l.parent, jsonList(&l.Scopes), &ceiling, &l.Version, store.At(&revoked)); err != nil {
			return l, err
		}
		l.revoked = revoked
		l.Ceiling, err = ParseLevel(ceiling)
		return l, err
	}, `SELECT id, merchant_id, name, COALESCE(owner_id, ''), scopes, ceiling, version, revoked_at FROM jwt_agents WHERE id = $1`, id)
}
