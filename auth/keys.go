package auth

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Key is what lets an agent in. It is listed without its secret, which exists only in the answer to MintKey.
type Key struct {
	ID               string    `json:"id"`
	Merchant         string    `json:"merchant_id"`
	Name             string    `json:"name"`
	Owner            string    `json:"owner_id,omitempty"` // per_…, who answers for it; empty: the operator
	Hint             string    `json:"hint"`
	Scopes           []Scope   `json:"scopes"`
	Actions          []string  `json:"actions"` // what it may ask for with dtc_request_action: provider:name, provider:* or *
	Tools            []string  `json:"tools,omitempty"`
	Resources        []string  `json:"resources,omitempty"`
	Networks         Networks  `json:"networks,omitempty"`
	Rate             Rate      `json:"rate,omitzero"`
	RequiresApproval bool      `json:"requires_approval"`
	Ceiling          Level     `json:"ceiling"`
	Depth            int       `json:"depth"` // how many sub-tokens deep it may delegate
	Version          int64     `json:"version"`
	CreatedAt        time.Time `json:"created_at"`
	ExpiresAt        time.Time `json:"expires_at,omitzero"`
	RevokedAt        time.Time `json:"revoked_at,omitzero"`
	OldUntil         time.Time `json:"old_secret_until,omitzero"` // after a rotation: until when the secret before it still opens
}

// DefaultDepth is how many sub-tokens deep a key may delegate when nobody says.
const DefaultDepth = 3

// MintKey stores k as a new key and gives it with its secret, which is shown this once.
func MintKey(tx *store.Tx, k Key) (Key, string, error) {
	if err := k.check(tx); err != nil {
		return Key{}, "", err
	}
	secret := newSecret(prefixKey)
	k.ID, k.Hint, k.CreatedAt, k.Version = store.NewID("key", tx.Now), hint(secret), tx.Now, 1
	k.Actions = append([]string{}, k.Actions...) // none is [] and not null
	var owner any
	if k.Owner != "" {
		owner = k.Owner
	}
	_, err := tx.Exec(`INSERT INTO agent_keys (id, merchant_id, name, secret_sha256, hint, scopes, requires_approval, ceiling, created_at, expires_at, actions,
			owner_id, tools, resources, networks, per_minute, burst, depth)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
		k.ID, k.Merchant, k.Name, hashSecret(secret), k.Hint, list(k.Scopes), flag(k.RequiresApproval), k.Ceiling.String(),
		store.Micros(k.CreatedAt), store.Micros(k.ExpiresAt), list(k.Actions),
		owner, list(k.Tools), list(k.Resources), list(k.Networks), k.Rate.PerMinute, k.Rate.Burst, k.Depth)
	if err != nil {
		return Key{}, "", fmt.Errorf("storing the key: %w", err)
	}
	return k, secret, nil
}

// check holds a key that is to be stored to what a key can be.
func (k Key) check(tx *store.Tx) error {
	if err := errors.Join(checkName(k.Name), k.Rate.check(), checkPatterns(k.Tools), checkPatterns(k.Resources)); err != nil {
		return err
	}
	switch {
	case !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(tx.Now):
		return fmt.Errorf("the key would expire at %s, which is past", k.ExpiresAt.Format(time.RFC3339))
	case k.Depth < 0 || k.Depth > MaxDepth:
		return fmt.Errorf("a key may delegate 0 to %d sub-tokens deep, not %d", MaxDepth, k.Depth)
	case k.Owner == "":
		return nil
	}
	owner, err := Live(tx, k.Owner)
	if errors.Is(err, ErrUnknownCredential) || err == nil && (owner.Merchant != k.Merchant || owner.Kind != KindPerson) {
		return fmt.Errorf("the owner %s is no active person of the merchant", k.Owner)
	}
	return err
}

// ListKeys gives a merchant's keys, oldest first, revoked ones too.
func ListKeys(tx *store.Tx, merchant string) ([]Key, error) {
	return store.All(tx, scanKey, `SELECT `+keyColumns+` FROM agent_keys WHERE merchant_id = $1 ORDER BY created_at, id`, merchant)
}

// RevokeKey ends a key for good, from the next call on. It answers store.ErrNotFound for a key that is not there or
// is revoked already.
func RevokeKey(tx *store.Tx, merchant, id string) error {
	n, err := tx.Exec(`UPDATE agent_keys SET revoked_at = $1, version = version + 1 WHERE merchant_id = $2 AND id = $3 AND revoked_at IS NULL`,
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
	case wellFormed(prefixSub, secret):
		return authenticateSubToken(tx, hashSecret(secret))
	case wellFormed(prefixPerson, secret):
		return authenticatePerson(tx, hashSecret(secret))
	}
	return Principal{}, &Refused{Why: "malformed"}
}

func authenticateKey(tx *store.Tx, sum string) (Principal, error) {
	for _, q := range []string{` FROM agent_keys WHERE secret_sha256 = $1`, ` FROM agent_keys WHERE old_sha256 = $1 AND old_until > $2`} {
		var stored, old string
		args := []any{sum, store.Micros(tx.Now)}[:strings.Count(q, "$")]
		k, err := store.One(tx, func(r store.Row) (Key, error) { return scanKeyAnd(r, &stored, &old) },
			`SELECT `+keyColumns+`, secret_sha256, COALESCE(old_sha256, '')`+q, args...)
		switch {
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return Principal{}, fmt.Errorf("reading the key: %w", err)
		case subtle.ConstantTimeCompare([]byte(stored), []byte(sum))|subtle.ConstantTimeCompare([]byte(old), []byte(sum)) == 1:
			// The lookup is by a hash of the secret, so its timing tells nothing about the secret; the compare costs
			// nothing and keeps the rule that no secret is ever compared in variable time.
			return k.link().climb(tx)
		}
	}
	return Principal{}, &Refused{Why: "unknown"}
}

func keyLink(tx *store.Tx, id string) (storedLink, error) {
	k, err := store.One(tx, scanKey, `SELECT `+keyColumns+` FROM agent_keys WHERE id = $1`, id)
	return k.link(), err
}

func (k Key) link() storedLink {
	return storedLink{
		Link: Link{
			Kind: KindKey, ID: k.ID, Name: k.Name, Scopes: k.Scopes, Actions: k.Actions, Tools: k.Tools, Resources: k.Resources, Networks: k.Networks,
			Ceiling: k.Ceiling, Rate: k.Rate, RequiresApproval: k.RequiresApproval, Depth: k.Depth, ExpiresAt: k.ExpiresAt, Version: k.Version,
		},
		merchant: k.Merchant, parent: k.Owner, revoked: k.RevokedAt,
	}
}

const keyColumns = `id, merchant_id, name, hint, scopes, requires_approval, ceiling, created_at, expires_at, revoked_at, actions,
	COALESCE(owner_id, ''), tools, resources, networks, per_minute, burst, depth, version, old_until`

func scanKey(r store.Row) (Key, error) { return scanKeyAnd(r) }

func scanKeyAnd(r store.Row, more ...any) (Key, error) {
	var k Key
	var ceiling string
	var approval int64
	err := r.Scan(append([]any{
		&k.ID, &k.Merchant, &k.Name, &k.Hint, jsonList(&k.Scopes), &approval, &ceiling,
		store.At(&k.CreatedAt), store.At(&k.ExpiresAt), store.At(&k.RevokedAt), jsonList(&k.Actions),
		&k.Owner, jsonList(&k.Tools), jsonList(&k.Resources), jsonList((*[]netip.Prefix)(&k.Networks)), &k.Rate.PerMinute, &k.Rate.Burst, &k.Depth, &k.Version,
		store.At(&k.OldUntil),
	}, more...)...)
	if err != nil {
		return Key{}, err
	}
	k.RequiresApproval = approval == 1
	k.Ceiling, err = ParseLevel(ceiling)
	return k, err
}

// maxPatterns bounds each list of a link, and maxPattern what stands in it, in bytes.
const (
	maxPatterns = 100
	maxPattern  = 120
)

// goodPattern is a name, or what all of several begin with.
var goodPattern = regexp.MustCompile(`^[A-Za-z0-9_.:#,-]*[A-Za-z0-9_.:#,*-]$`)

func checkPatterns(all []string) error {
	if len(all) > maxPatterns {
		return fmt.Errorf("%d patterns are too many; %d are allowed", len(all), maxPatterns)
	}
	for _, p := range all {
		star := strings.IndexByte(p, '*')
		if len(p) > maxPattern || !goodPattern.MatchString(p) || star == 0 || star > 0 && !strings.ContainsRune("._:", rune(p[star-1])) {
			return fmt.Errorf("%q is no name and no pattern: write a whole name, or what several begin with up to a . _ or : and then *, such as order:*", p)
		}
	}
	return nil
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
