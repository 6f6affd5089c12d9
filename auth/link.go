package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// How long a link to sign in with is good for.
const (
	LinkTime    = 15 * time.Minute // when nobody says
	MaxLinkTime = 24 * time.Hour
	minLinkTime = time.Minute
)

// MintLink makes the secret of a link with which a person may sign in once. It takes the place of an earlier one, so that a person
// never has two. ttl 0 is LinkTime.
func MintLink(tx *store.Tx, merchant, person string, ttl time.Duration) (secret string, expires time.Time, err error) {
	if ttl == 0 {
		ttl = LinkTime
	}
	if ttl < minLinkTime || ttl > MaxLinkTime {
		return "", time.Time{}, fmt.Errorf("a link may be good for %s to %s, not for %s", minLinkTime, MaxLinkTime, ttl)
	}
	p, err := FindPerson(tx, merchant, person)
	if err != nil {
		return "", time.Time{}, err
	}
	secret, expires = newSecret(prefixLink), tx.Now.Add(ttl)
	_, err = tx.Exec(`INSERT INTO sign_in_links (person_id, merchant_id, secret_sha256, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (person_id) DO UPDATE SET secret_sha256 = excluded.secret_sha256, created_at = excluded.created_at,
			expires_at = excluded.expires_at, used_at = NULL`,
		p.ID, p.Merchant, hashSecret(secret), store.Micros(tx.Now), store.Micros(expires))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("storing the link: %w", err)
	}
	return secret, expires, nil
}

// UseLink uses a link up and gives its person. Of many that try, the UPDATE lets one through. Whatever is wrong with the secret, the
// error is a *Refused.
func UseLink(tx *store.Tx, secret string) (Principal, error) {
	if !wellFormed(prefixLink, secret) {
		return Principal{}, &Refused{Why: "malformed"}
	}
	sum := hashSecret(secret)
	n, err := tx.Exec(`UPDATE sign_in_links SET used_at = $1 WHERE secret_sha256 = $2 AND used_at IS NULL AND expires_at > $1`,
		store.Micros(tx.Now), sum)
	if err != nil {
		return Principal{}, fmt.Errorf("using the link: %w", err)
	}
	var merchant, person string
	var used time.Time
	err = tx.QueryRow(`SELECT merchant_id, person_id, used_at FROM sign_in_links WHERE secret_sha256 = $1`, sum).
		Scan(&merchant, &person, store.At(&used))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Principal{}, &Refused{Why: "unknown"}
	case err != nil:
		return Principal{}, fmt.Errorf("reading the link: %w", err)
	case n == 0 && used.IsZero():
		return Principal{}, &Refused{Why: "expired", Who: "person:" + person, Merchant: merchant}
	case n == 0:
		return Principal{}, &Refused{Why: "used", Who: "person:" + person, Merchant: merchant}
	}
	return livingPerson(tx, merchant, person)
}

// livingPerson is the principal of somebody who shows who they are, if they may still come in. It looks for the id alone: FindPerson
// also takes names, and somebody may be named as somebody else's id.
func livingPerson(tx *store.Tx, merchant, id string) (Principal, error) {
	p, err := store.One(tx, scanPerson, `SELECT `+personColumns+` FROM people WHERE merchant_id = $1 AND id = $2 AND revoked_at IS NULL`, merchant, id)
	if errors.Is(err, store.ErrNotFound) {
		return Principal{}, &Refused{Why: "owner", Who: "person:" + id, Merchant: merchant}
	}
	if err != nil {
		return Principal{}, fmt.Errorf("reading the person: %w", err)
	}
	return p.principal(), nil
}
