package auth

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
)

// How long the secret before a rotation goes on opening the key.
const (
	DefaultOverlap = 24 * time.Hour
	MaxOverlap     = 30 * 24 * time.Hour
)

// ErrChanged says that somebody else has changed what is to be changed, since it was read.
var ErrChanged = errors.New("it has been changed since it was read")

// FindKey gives a merchant's key, whatever its state.
func FindKey(tx *store.Tx, merchant, id string) (Key, error) {
	return store.One(tx, scanKey, `SELECT `+keyColumns+` FROM agent_keys WHERE merchant_id = $1 AND id = $2`, merchant, id)
}

// State is what a key is at now: active, expired or revoked.
func (k Key) State(now time.Time) string { return cmp.Or(k.link().ended(now), "active") }

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

// RotateKey gives a key a new secret, which is shown this once. The one before it is good for the overlap yet; one that was
// before that is good no more. With no overlap nothing that the old secret let in commits afterwards.
func RotateKey(tx *store.Tx, merchant, id string, overlap time.Duration) (Key, string, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Key{}, "", &Unfit{"overlap", "is out of range", fmt.Sprintf("0 to %d hours; 0 ends the old secret at once", MaxOverlap/time.Hour)}
	}
	plain := secret.New(secret.Key)
	var until time.Time
	if overlap > 0 {
		until = tx.Now.Add(overlap)
	}
	n, err := tx.Exec(`UPDATE agent_keys SET old_sha256 = CASE WHEN CAST($1 AS BIGINT) IS NULL THEN NULL ELSE secret_sha256 END, old_until = $1,
			secret_sha256 = $2, hint = $3
		WHERE merchant_id = $4 AND id = $5 AND revoked_at IS NULL`, store.Micros(until), secret.Hash(plain), secret.Hint(plain), merchant, id)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return Key{}, "", fmt.Errorf("storing the new secret: %w", err)
	}
	k, err := FindKey(tx, merchant, id)
	return k, plain, err
}

// ChangeKey changes what a key may do, if it is still the version that somebody has seen, and gives it before and after. The
// change may not make another key of it: id, merchant and owner stay. A key that is not there, or is revoked, is
// store.ErrNotFound; one that was changed since is ErrChanged.
func ChangeKey(tx *store.Tx, merchant, id string, version int64, change func(*Key) error) (before, after Key, err error) {
	if before, err = FindKey(tx, merchant, id); err != nil {
		return before, after, err
	}
	if !before.RevokedAt.IsZero() {
		return before, after, store.ErrNotFound
	}
	after = before
	if err = change(&after); err != nil {
		return before, after, err
	}
	after.ID, after.Merchant, after.Owner, after.Version = before.ID, before.Merchant, before.Owner, version+1
	if err = after.check(tx); err == nil && !slices.Equal(before.Scopes, after.Scopes) {
		err = after.checkOwner(tx)
	}
	if err != nil {
		return before, after, err
	}
	return before, after, after.store(tx, version)
}

// store writes the terms of a key over those of the version before.
func (k Key) store(tx *store.Tx, version int64) error {
	n, err := tx.Exec(`UPDATE agent_keys SET name = $1, scopes = $2, requires_approval = $3, ceiling = $4, expires_at = $5, actions = $6,
			tools = $7, resources = $8, networks = $9, per_minute = $10, burst = $11, depth = $12, version = $13, profile = $14
		WHERE merchant_id = $15 AND id = $16 AND version = $17 AND revoked_at IS NULL`,
		k.Name, list(k.Scopes), flag(k.RequiresApproval), k.Ceiling.String(), store.Micros(k.ExpiresAt), list(k.Actions),
		list(k.Tools), list(k.Resources), list(k.Networks), k.Rate.PerMinute, k.Rate.Burst, k.Depth, k.Version, k.Profile, k.Merchant, k.ID, version)
	if err == nil && n == 0 {
		return ErrChanged
	}
	if err != nil {
		return fmt.Errorf("storing the key: %w", err)
	}
	return nil
}

// Widens reports whether a key on these terms may do anything that it may not do on those of before.
func (k Key) Widens(before Key) bool {
	return !within(k.Scopes, before.Scopes, equal[Scope]) ||
		!within(k.Actions, before.Actions, func(a, b string) bool { return a == b || grants(b, a) }) ||
		!narrows(k.Tools, before.Tools, covers) || !narrows(k.Resources, before.Resources, covers) || !narrows(k.Networks, before.Networks, holdsAll) ||
		!k.Rate.within(before.Rate) || k.Ceiling > before.Ceiling || k.Depth > before.Depth ||
		before.RequiresApproval && !k.RequiresApproval || k.Profile != "" && k.Profile != before.Profile ||
		!before.ExpiresAt.IsZero() && (k.ExpiresAt.IsZero() || k.ExpiresAt.After(before.ExpiresAt))
}

// within reports whether each element of a list is one that some element of another allows.
func within[T any](few, many []T, allows func(few, many T) bool) bool {
	return !slices.ContainsFunc(few, func(a T) bool {
		return !slices.ContainsFunc(many, func(b T) bool { return allows(a, b) })
	})
}

// narrows is within for lists of which an empty one allows everything.
func narrows[T any](few, many []T, allows func(few, many T) bool) bool {
	return len(many) == 0 || len(few) > 0 && within(few, many, allows)
}

func equal[T comparable](a, b T) bool { return a == b }

// covers reports whether a pattern names everything that another does.
func covers(few, many string) bool { return few == many || Fits(many, few) }

// holdsAll reports whether a network has all addresses of another.
func holdsAll(few, many netip.Prefix) bool {
	return many.Bits() <= few.Bits() && many.Contains(few.Addr())
}
