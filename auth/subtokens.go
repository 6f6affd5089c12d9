package auth

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A SubToken is what a principal has given to somebody else. It is listed without its secret.
type SubToken struct {
	ID        string    `json:"id"`
	Merchant  string    `json:"merchant_id"`
	Parent    string    `json:"parent_id"`
	Name      string    `json:"name"`
	Audience  string    `json:"audience,omitempty"` // who it was made for
	Hint      string    `json:"hint"`
	Scopes    []Scope   `json:"scopes"`
	Actions   []string  `json:"actions,omitempty"`
	Tools     []string  `json:"tools,omitempty"`
	Resources []string  `json:"resources,omitempty"`
	Networks  Networks  `json:"networks,omitempty"`
	Ceiling   Level     `json:"ceiling"`
	Rate      Rate      `json:"rate,omitzero"`
	Depth     int       `json:"depth"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`

	// Of one that is listed:
	State string `json:"state,omitempty"` // active, or why it opens nothing: revoked, expired, parent revoked, owner revoked, …
	Used  Used   `json:"usage,omitzero"`

	version int64
}

func authenticateSubToken(tx *store.Tx, sum string) (Principal, error) {
	var stored string
	t, err := store.One(tx, func(r store.Row) (SubToken, error) { return scanSubTokenAnd(r, &stored) },
		`SELECT `+subTokenColumns+`, secret_sha256 FROM sub_tokens WHERE secret_sha256 = $1`, sum)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && subtle.ConstantTimeCompare([]byte(stored), []byte(sum)) != 1:
		return Principal{}, &Refused{Why: "unknown"}
	case err != nil:
		return Principal{}, fmt.Errorf("reading the sub-token: %w", err)
	}
	return t.link().climb(tx)
}

func subTokenLink(tx *store.Tx, id string) (storedLink, error) {
	t, err := store.One(tx, scanSubToken, `SELECT `+subTokenColumns+` FROM sub_tokens WHERE id = $1`, id)
	return t.link(), err
}

func (t SubToken) link() storedLink {
	return storedLink{
		Link: Link{
			Kind: KindSubToken, ID: t.ID, Name: t.Name, Scopes: t.Scopes, Actions: t.Actions, Tools: t.Tools, Resources: t.Resources, Networks: t.Networks,
			Ceiling: t.Ceiling, Rate: t.Rate, Depth: t.Depth, ExpiresAt: t.ExpiresAt, Version: t.version,
		},
		merchant: t.Merchant, parent: t.Parent, revoked: t.RevokedAt,
	}
}

const subTokenColumns = `id, merchant_id, parent_id, name, audience, hint, scopes, actions, tools, resources, networks, ceiling, per_minute, burst, depth,
	version, created_at, expires_at, revoked_at`

func scanSubToken(r store.Row) (SubToken, error) { return scanSubTokenAnd(r) }

func scanSubTokenAnd(r store.Row, more ...any) (SubToken, error) {
	var t SubToken
	var ceiling string
	err := r.Scan(append([]any{
		&t.ID, &t.Merchant, &t.Parent, &t.Name, &t.Audience, &t.Hint, jsonList(&t.Scopes), jsonList(&t.Actions), jsonList(&t.Tools), jsonList(&t.Resources),
		jsonList((*[]netip.Prefix)(&t.Networks)), &ceiling, &t.Rate.PerMinute, &t.Rate.Burst, &t.Depth, &t.version,
		store.At(&t.CreatedAt), store.At(&t.ExpiresAt), store.At(&t.RevokedAt),
	}, more...)...)
	if err != nil {
		return SubToken{}, err
	}
	t.Ceiling, err = ParseLevel(ceiling)
	return t, err
}
