package auth

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
)

// A Key is what lets an agent in. It is listed without its secret, which exists only in the answer to MintKey.
type Key struct {
	ID               string    `json:"id"`
	Merchant         string    `json:"merchant_id"`
	Name             string    `json:"name"`
	Owner            string    `json:"owner_id,omitempty"` // per_…, who answers for it; empty: the operator
	Hint             string    `json:"hint"`
	Profile          string    `json:"profile"` // in the policy; empty: none, which grants nothing
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

	secrets keySecrets
}

// keySecrets are the hashes of what opens a key: its secret and, for a while, the one before it.
type keySecrets struct {
	sum   string
	old   string // "" when there is none
	until time.Time
}

// open reports whether a secret of this hash opens the key now. The lookup was by the hash, so its timing tells nothing
// about the secret; the compare costs nothing and keeps the rule that no secret is ever compared in variable time.
func (s keySecrets) open(sum string, now time.Time) bool {
	current := subtle.ConstantTimeCompare([]byte(s.sum), []byte(sum))
	old := subtle.ConstantTimeCompare([]byte(s.old), []byte(sum))
	return current == 1 || old == 1 && now.Before(s.until)
}

// ends gives when a secret of this hash, which opens the key, will not do so any more; the zero time for the key's own.
func (s keySecrets) ends(sum string) time.Time {
	if subtle.ConstantTimeCompare([]byte(s.sum), []byte(sum)) == 1 {
		return time.Time{}
	}
	return s.until
}

// DefaultDepth is how many sub-tokens deep a key may delegate when nobody says.
const DefaultDepth = 3

// MintKey stores k as a new key and gives it with its secret, which is shown this once.
func MintKey(tx *store.Tx, k Key) (Key, string, error) {
	if err := cmp.Or(k.check(tx), k.checkOwner(tx)); err != nil {
		return Key{}, "", err
	}
	plain := secret.New(secret.Key)
	k.ID, k.Hint, k.CreatedAt, k.Version = store.NewID("key", tx.Now), secret.Hint(plain), tx.Now, 1
	k.Actions = append([]string{}, k.Actions...) // none is [] and not null
	var owner any
	if k.Owner != "" {
		owner = k.Owner
	}
	_, err := tx.Exec(`INSERT INTO agent_keys (id, merchant_id, name, secret_sha256, hint, scopes, requires_approval, ceiling, created_at, expires_at, actions,
			owner_id, tools, resources, networks, per_minute, burst, depth, profile)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
		k.ID, k.Merchant, k.Name, secret.Hash(plain), k.Hint, list(k.Scopes), flag(k.RequiresApproval), k.Ceiling.String(),
		store.Micros(k.CreatedAt), store.Micros(k.ExpiresAt), list(k.Actions),
		owner, list(k.Tools), list(k.Resources), list(k.Networks), k.Rate.PerMinute, k.Rate.Burst, k.Depth, k.Profile)
	if err != nil {
		return Key{}, "", fmt.Errorf("storing the key: %w", err)
	}
	return k, plain, nil
}

// check holds a key that is to be stored to what a key can be. What is wrong with it is *Unfit.
func (k Key) check(tx *store.Tx) error {
	if err := cmp.Or(checkName(k.Name), k.Rate.check(), checkPatterns("tools", k.Tools), checkPatterns("resources", k.Resources), checkProfile(k.Profile)); err != nil {
		return err
	}
	switch {
	case !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(tx.Now):
		return &Unfit{"expiry", "is past", "a time to come"}
	case k.Depth < 0 || k.Depth > MaxDepth:
		return &Unfit{"depth", "is out of range", fmt.Sprintf("how many sub-tokens deep it may delegate, 0 to %d", MaxDepth)}
	case len(k.Networks) > maxPatterns:
		return &Unfit{"networks", "are too many", fmt.Sprintf("at most %d", maxPatterns)}
	}
	return checkScopes(k.Scopes)
}

// profileName is how profiles are named in a policy.
var profileName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)

// checkProfile holds the name of a profile to its form. Whether the policy has it is asked where the policy is known.
func checkProfile(name string) error {
	if name == "" || profileName.MatchString(name) {
		return nil
	}
	return &Unfit{"profile", "is no name of a profile", "a name in lower case of at most 40 characters, as it stands in the policy"}
}

// checkScopes keeps people's scopes from agents: who asks does not decide. A key is an agent's or a carrier's, never both.
func checkScopes(scopes []Scope) error {
	among := AgentScopes
	if slices.ContainsFunc(scopes, func(s Scope) bool { return slices.Contains(CarrierScopes, s) }) {
		among = CarrierScopes
	}
	for _, s := range scopes {
		if !slices.Contains(among, s) {
			return &Unfit{"scopes", "hold some that no key has together", joinScopes(CarrierScopes) + " alone, or some of " + joinScopes(AgentScopes)}
		}
	}
	return nil
}

// Carries reports whether k is the key of a service that may carry what people decide there.
func (k Key) Carries() bool { return slices.Contains(k.Scopes, ApprovalsResolve) }

// checkOwner refuses a key that nobody answers for, and scopes that its owner does not hold: they would do nothing now, and
// something on the day on which the owner is given them.
func (k Key) checkOwner(tx *store.Tx) error {
	if k.Owner == "" {
		return nil
	}
	owner, err := climb(tx, k.Merchant, k.Owner)
	if errors.Is(err, ErrUnknownCredential) || err == nil && owner.Kind != KindPerson {
		return &Unfit{"owner_id", "is nobody who could answer for the key", "the id of an active person of the merchant"}
	}
	if err != nil {
		return err
	}
	if missing := owner.Lacks(k.Scopes); len(missing) > 0 {
		return &Beyond{Who: "owner", Missing: missing}
	}
	return nil
}

// Authenticate finds the principal that a secret belongs to. Whatever is wrong with the secret, the error is a *Refused.
func Authenticate(tx *store.Tx, plain string) (Principal, error) {
	switch {
	case plain == "":
		return Principal{}, &Refused{Why: "absent"}
	case secret.WellFormed(secret.Key, plain):
		return authenticateKey(tx, secret.Hash(plain))
	case secret.WellFormed(secret.SubToken, plain):
		return authenticateSubToken(tx, secret.Hash(plain))
	case secret.WellFormed(secret.Person, plain):
		return authenticatePerson(tx, secret.Hash(plain))
	}
	return Principal{}, &Refused{Why: "malformed"}
}

func authenticateKey(tx *store.Tx, sum string) (Principal, error) {
	for _, column := range []string{"secret_sha256", "old_sha256"} {
		k, err := store.One(tx, scanKey, `SELECT `+keyColumns+` FROM agent_keys WHERE `+column+` = $1`, sum)
		switch {
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return Principal{}, fmt.Errorf("reading the key: %w", err)
		case k.secrets.open(sum, tx.Now):
			p, err := k.link().climb(tx)
			p.opener = sum
			p.opensUntil = k.secrets.ends(sum)
			return p, err
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
			Kind: KindKey, ID: k.ID, Name: k.Name, Profile: k.Profile, Scopes: k.Scopes, Actions: k.Actions, Tools: k.Tools, Resources: k.Resources, Networks: k.Networks,
			Ceiling: k.Ceiling, Rate: k.Rate, RequiresApproval: k.RequiresApproval, Depth: k.Depth, ExpiresAt: k.ExpiresAt, Version: k.Version,
		},
		merchant: k.Merchant, parent: k.Owner, revoked: k.RevokedAt, secrets: k.secrets,
	}
}

const keyColumns = `id, merchant_id, name, hint, scopes, requires_approval, ceiling, created_at, expires_at, revoked_at, actions,
	COALESCE(owner_id, ''), tools, resources, networks, per_minute, burst, depth, version, profile, secret_sha256, COALESCE(old_sha256, ''), old_until`

func scanKey(r store.Row) (Key, error) {
	var k Key
	var ceiling string
	var approval int64
	err := r.Scan(
		&k.ID, &k.Merchant, &k.Name, &k.Hint, jsonList(&k.Scopes), &approval, &ceiling,
		store.At(&k.CreatedAt), store.At(&k.ExpiresAt), store.At(&k.RevokedAt), jsonList(&k.Actions),
		&k.Owner, jsonList(&k.Tools), jsonList(&k.Resources), jsonList((*[]netip.Prefix)(&k.Networks)), &k.Rate.PerMinute, &k.Rate.Burst, &k.Depth, &k.Version, &k.Profile,
		&k.secrets.sum, &k.secrets.old, store.At(&k.OldUntil),
	)
	if err != nil {
		return Key{}, err
	}
	k.RequiresApproval = approval == 1
	k.secrets.until = k.OldUntil
	k.Ceiling, err = ParseLevel(ceiling)
	return k, err
}

// maxPatterns bounds each list of a link, and maxPattern what stands in it, in bytes.
const (
	maxPatterns = 100
	maxPattern  = 120
)

// goodPattern is a name, or what all of several begin with. A star alone is none: whoever is to have everything is given no list.
var goodPattern = regexp.MustCompile(`^[A-Za-z0-9_.:/#,-]*[A-Za-z0-9_.:/#,*-]$`)

func checkPatterns(field string, all []string) error {
	if len(all) > maxPatterns {
		return &Unfit{field, "are too many", fmt.Sprintf("at most %d names and patterns", maxPatterns)}
	}
	for _, p := range all {
		star := strings.IndexByte(p, '*')
		if len(p) > maxPattern || !goodPattern.MatchString(p) || star == 0 || star > 0 && !strings.ContainsRune(starAfter, rune(p[star-1])) {
			return &Unfit{field, "hold one that is no name and no pattern", "whole names, or what several begin with up to a . _ : or / and then *, such as order:*"}
		}
	}
	return nil
}

// maxName bounds the names of keys and people; they stand in records and on screens.
const maxName = 80

func checkName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return &Unfit{"name", "is empty", "what the record and people will say, such as growth-bot"}
	case len(name) > maxName:
		return &Unfit{"name", "is too long", fmt.Sprintf("at most %d bytes", maxName)}
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return &Unfit{"name", "holds a control character", "one line of text"}
	case strings.HasPrefix(name, "per_"):
		return &Unfit{"name", "looks like an id", "a name that does not begin with per_"}
	case secret.In(name):
		return &Unfit{"name", "holds a secret", "a name: secrets are shown once and never written down"}
	}
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
