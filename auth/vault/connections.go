package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// State is what has become of a connection.
type State string

// The states. Broken and revoked connections hold no tokens; a revoked one is there for people to see, for a while.
const (
	Connected State = "connected"
	Broken    State = "broken"
	Revoked   State = "revoked"
)

// A Connection is what a person granted us at a provider, without the tokens.
type Connection struct {
	ID        string    `json:"id"`
	Merchant  string    `json:"-"`
	Person    string    `json:"person_id"`
	Provider  string    `json:"provider"`
	State     State     `json:"state"`
	Account   string    `json:"account,omitempty"`
	Scopes    []string  `json:"scopes"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // of the access token
	RefreshAt time.Time `json:"refresh_at,omitzero"` // zero: there is nothing to refresh
	Attempts  int64     `json:"failed_attempts"`     // since the last success
	LastError string    `json:"last_error,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	KeyID     string    `json:"key_id,omitempty"`
	Version   int64     `json:"version"`

	sealed string
}

const connectionColumns = `id, merchant_id, person_id, provider, state, account, scopes, ciphertext, key_id, version,
	expires_at, refresh_at, attempts, last_error, created_at, updated_at, revoked_at`

func scanConnection(r store.Row) (Connection, error) {
	var c Connection
	var scopes string
	err := r.Scan(&c.ID, &c.Merchant, &c.Person, &c.Provider, &c.State, &c.Account, &scopes, &c.sealed, &c.KeyID, &c.Version,
		store.At(&c.ExpiresAt), store.At(&c.RefreshAt), &c.Attempts, &c.LastError,
		store.At(&c.CreatedAt), store.At(&c.UpdatedAt), store.At(&c.RevokedAt))
	if err != nil {
		return Connection{}, err
	}
	return c, json.Unmarshal([]byte(scopes), &c.Scopes)
}

// maxListed bounds a list of connections. A merchant has a few for each person.
const maxListed = 1000

// List gives a merchant's connections, newest first, those that ended lately too: of one person, or with "" of all.
func List(tx *store.Tx, merchant, person string) ([]Connection, error) {
	return store.All(tx, scanConnection, `SELECT `+connectionColumns+` FROM connections
		WHERE merchant_id = $1 AND ($2 = '' OR person_id = $2) ORDER BY created_at DESC, id DESC LIMIT $3`, merchant, person, maxListed)
}

// Connections gives what p may see: an admin all of the merchant's, another person those of their own.
func (v *Vault) Connections(ctx context.Context, p auth.Principal) ([]Connection, error) {
	return v.listed(ctx, p, "")
}

// listed gives the connections of a person, or with "" all that p may see.
func (v *Vault) listed(ctx context.Context, p auth.Principal, person string) (all []Connection, err error) {
	err = v.db.Read(ctx, func(tx *store.Tx) error {
		p, err := auth.Renew(tx, p)
		if err != nil {
			return err
		}
		if p.Agent() {
			return ErrNoSession
		}
		if !p.Has(auth.KeysAdmin) {
			person = p.ID
		}
		all, err = List(tx, p.Merchant, person)
		return err
	})
	return all, err
}

// live gives the connection of a person at a provider that has not been revoked.
func live(tx *store.Tx, merchant, person, provider string) (Connection, error) {
	c, err := store.One(tx, scanConnection, `SELECT `+connectionColumns+` FROM connections
		WHERE merchant_id = $1 AND person_id = $2 AND provider = $3 AND state <> 'revoked'`, merchant, person, provider)
	if errors.Is(err, store.ErrNotFound) {
		return c, ErrNotConnected
	}
	return c, err
}

// Why connections are revoked.
const (
	becauseAsked    = "on request"
	becauseReplaced = "replaced by a new one"
	becauseGone     = "the person is gone"
)

func insertConnection(tx *store.Tx, c Connection) error {
	scopes, err := json.Marshal(c.Scopes)
	if err != nil {
		return fmt.Errorf("writing scopes: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO connections (id, merchant_id, person_id, provider, state, account, scopes, ciphertext, key_id, version,
			expires_at, refresh_at, created_at, updated_at)
		VALUES ($1, $2, $3, $4, 'connected', $5, $6, $7, $8, $9, $10, $11, $12, $12)`,
		c.ID, c.Merchant, c.Person, c.Provider, c.Account, string(scopes), c.sealed, c.KeyID, c.Version,
		store.Micros(c.ExpiresAt), store.Micros(c.RefreshAt), store.Micros(tx.Now))
	if err != nil {
		return fmt.Errorf("storing the connection: %w", err)
	}
	return nil
}

// Revoke ends a connection of a merchant, whoever it belongs to, and then tells the provider, where it can be told. It
// answers ErrNotConnected when there is none of that id, or it has ended.
func (v *Vault) Revoke(ctx context.Context, by By, id string) (Connection, error) {
	var c Connection
	err := v.db.InTx(ctx, func(tx *store.Tx) (err error) {
		if err := by.hold(tx); err != nil {
			return err
		}
		if c, err = End(tx, by.Principal.Merchant, id); err != nil {
			return err
		}
		return by.record(tx, "connection.revoked", "done", c, becauseAsked)
	})
	if err != nil {
		return Connection{}, err
	}
	v.Tell(ctx, by, c)
	return c, nil
}

// End is the part of Revoke that happens in the database, for callers that hold, judge and record the change themselves. They
// hand what it gives to Tell when it is committed.
func End(tx *store.Tx, merchant, id string) (Connection, error) {
	c, err := store.One(tx, scanConnection, `SELECT `+connectionColumns+` FROM connections
		WHERE merchant_id = $1 AND id = $2 AND state <> 'revoked'`, merchant, id)
	if errors.Is(err, store.ErrNotFound) {
		return Connection{}, ErrNotConnected
	}
	if err != nil {
		return Connection{}, err
	}
	return c, forget(tx, c)
}

// end revokes a connection and records why.
func end(tx *store.Tx, by By, c Connection, why string) error {
	if err := forget(tx, c); err != nil {
		return err
	}
	return by.record(tx, "connection.revoked", "done", c, why)
}

// forget revokes a connection and does away with its tokens. The grant at the provider is not touched.
func forget(tx *store.Tx, c Connection) error {
	n, err := tx.Exec(`UPDATE connections SET state = 'revoked', ciphertext = '', key_id = '', refresh_at = NULL, expires_at = NULL,
			lease_owner = '', lease_until = NULL, version = version + 1, updated_at = $1, revoked_at = $1
		WHERE id = $2 AND state <> 'revoked'`, store.Micros(tx.Now), c.ID)
	if err == nil && n == 0 {
		err = ErrNotConnected
	}
	return err
}

// Tell revokes the grant of a connection, as it was, at the provider. Ours is over by then, whatever the provider says; that it could not be told is
// on record, because the grant has to be ended there by hand.
func (v *Vault) Tell(ctx context.Context, by By, c Connection) {
	p := v.providers[c.Provider]
	if c.sealed == "" || p == nil || p.RevokeURL == "" {
		return
	}
	t, err := c.open(v.keys)
	if err == nil {
		err = revokeThere(ctx, p, t)
	}
	if err == nil {
		return
	}
	v.hear("recording a revocation that did not reach the provider", v.persist(ctx, func(tx *store.Tx) error {
		return by.record(tx, "connection.revoke_failed", "failed", c, codeOf(err))
	}))
}

// revokeThere does not end with its caller.
func revokeThere(ctx context.Context, p *provider, t tokens) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	release, err := p.slot(ctx)
	if err != nil {
		return failure(err)
	}
	defer release()
	return p.revoke(ctx, t)
}
