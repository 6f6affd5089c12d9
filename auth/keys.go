package auth

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Key is what lets an agent in. It is listed without its secret, which exists only in the answer to MintKey.
type Key struct {
	ID               string    `json:"id"`
	Merchant         string    `json:"merchant_id"`
	Name             string    `json:"name"`
	Hint             string    `json:"hint"`
	Scopes           []Scope   `json:"scopes"`
	Actions          []string  `json:"actions"` // what it may ask for with dtc_request_action: provider:name, provider:* or *
	RequiresApproval bool      `json:"requires_approval"`
	Ceiling          Level     `json:"ceiling"`
	CreatedAt        time.Time `json:"created_at"`
	ExpiresAt        time.Time `json:"expires_at,omitzero"`
	RevokedAt        time.Time `json:"revoked_at,omitzero"`
}

// MintKey stores k as a new key and gives it with its secret, which is shown this once.
func MintKey(tx *store.Tx, k Key) (Key, string, error) {
	if err := checkName(k.Name); err != nil {
		return Key{}, "", err
	}
	if !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(tx.Now) {
		return Key{}, "", fmt.Errorf("the key would expire at %s, which is past", k.ExpiresAt.Format(time.RFC3339))
	}
	secret := newSecret(prefixKey)
	k.ID, k.Hint, k.CreatedAt = store.NewID("key", tx.Now), hint(secret), tx.Now
	scopes, err := json.Marshal(k.Scopes)
	if err != nil {
		return Key{}, "", fmt.Errorf("writing scopes: %w", err)
	}
	k.Actions = append([]string{}, k.Actions...) // none is [] and not null
	actions, err := json.Marshal(k.Actions)
	if err != nil {
		return Key{}, "", fmt.Errorf("writing actions: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO agent_keys (id, merchant_id, name, secret_sha256, hint, scopes, requires_approval, ceiling, created_at, expires_at, actions)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		k.ID, k.Merchant, k.Name, hashSecret(secret), k.Hint, string(scopes), flag(k.RequiresApproval), k.Ceiling.String(),
		store.Micros(k.CreatedAt), store.Micros(k.ExpiresAt), string(actions))
	if err != nil {
		return Key{}, "", fmt.Errorf("storing the key: %w", err)
	}
	return k, secret, nil
}

// ListKeys gives a merchant's keys, oldest first, revoked ones too.
func ListKeys(tx *store.Tx, merchant string) ([]Key, error) {
	return store.All(tx, scanKey, `SELECT `+keyColumns+` FROM agent_keys WHERE merchant_id = $1 ORDER BY created_at, id`, merchant)
}

// RevokeKey ends a key for good, from the next call on. It answers store.ErrNotFound for a key that is not there or
// is revoked already.
func RevokeKey(tx *store.Tx, merchant, id string) error {
	n, err := tx.Exec(`UPDATE agent_keys SET revoked_at = $1 WHERE merchant_id = $2 AND id = $3 AND revoked_at IS NULL`,
		store.Micros(tx.Now), merchant, id)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

// Authenticate finds the principal that a secret belongs to. Whatever is wrong with the secret, the error is a *Refused.
func Authenticate(tx *store.Tx, secret string) (Principal, error) {
	switch {
	case secret == "":
		return Principal{}, &Refused{Why: "absent"}
	case wellFormed(prefixKey, secret):
		return authenticateKey(tx, hashSecret(secret))
	case wellFormed(prefixPerson, secret):
		return authenticatePerson(tx, hashSecret(secret))
	}
	return Principal{}, &Refused{Why: "malformed"}
}

// LiveKey gives a key's principal as it is now, for a call that was parked under it. A revoked or expired key is *Refused.
func LiveKey(tx *store.Tx, id string) (Principal, error) {
	k, err := store.One(tx, scanKey, `SELECT `+keyColumns+` FROM agent_keys WHERE id = $1`, id)
	return livingKey(tx, k, err)
}

func authenticateKey(tx *store.Tx, sum string) (Principal, error) {
	var stored string
	k, err := store.One(tx, func(r store.Row) (Key, error) {
		return scanKeyAnd(r, &stored)
	}, `SELECT `+keyColumns+`, secret_sha256 FROM agent_keys WHERE secret_sha256 = $1`, sum)
	// The lookup is by a hash of the secret, so its timing tells nothing about the secret; the compare costs nothing
	// and keeps the rule that no secret is ever compared in variable time.
	if err == nil && subtle.ConstantTimeCompare([]byte(stored), []byte(sum)) != 1 {
		err = store.ErrNotFound
	}
	return livingKey(tx, k, err)
}

func livingKey(tx *store.Tx, k Key, err error) (Principal, error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Principal{}, &Refused{Why: "unknown"}
	case err != nil:
		return Principal{}, fmt.Errorf("reading the key: %w", err)
	case !k.RevokedAt.IsZero():
		return Principal{}, &Refused{Why: "revoked", Who: "key:" + k.ID, Merchant: k.Merchant}
	case !k.ExpiresAt.IsZero() && !tx.Now.Before(k.ExpiresAt):
		return Principal{}, &Refused{Why: "expired", Who: "key:" + k.ID, Merchant: k.Merchant}
	}
	return Principal{
		Kind: KindKey, ID: k.ID, Merchant: k.Merchant, Name: k.Name, Scopes: k.Scopes, Actions: k.Actions,
		RequiresApproval: k.RequiresApproval, Ceiling: k.Ceiling, ExpiresAt: k.ExpiresAt,
	}, nil
}

const keyColumns = `id, merchant_id, name, hint, scopes, requires_approval, ceiling, created_at, expires_at, revoked_at, actions`

func scanKey(r store.Row) (Key, error) { return scanKeyAnd(r) }

func scanKeyAnd(r store.Row, more ...any) (Key, error) {
	var k Key
	var scopes, actions, ceiling string
	var approval int64
	err := r.Scan(append([]any{
		&k.ID, &k.Merchant, &k.Name, &k.Hint, &scopes, &approval, &ceiling,
		store.At(&k.CreatedAt), store.At(&k.ExpiresAt), store.At(&k.RevokedAt), &actions,
	}, more...)...)
	if err != nil {
		return Key{}, err
	}
	k.RequiresApproval = approval == 1
	if k.Ceiling, err = ParseLevel(ceiling); err != nil {
		return Key{}, err
	}
	return k, errors.Join(json.Unmarshal([]byte(scopes), &k.Scopes), json.Unmarshal([]byte(actions), &k.Actions))
}

// maxName bounds the names of keys and people; they stand in records and on screens.
const maxName = 80

func checkName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("a name is needed, such as growth-bot")
	case len(name) > maxName:
		return fmt.Errorf("the name is %d bytes long; %d are allowed", len(name), maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("the name holds a control character")
	}
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
