package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
)

// How long a link to sign in with is good for.
const (
	LinkTime    = 15 * time.Minute // when nobody says
	MaxLinkTime = 24 * time.Hour
	minLinkTime = time.Minute
)

// MintLink makes the secret of a link with which a person may sign in once. It takes the place of an earlier one, so that a person
// never has two. person is an id; one who is not there, or not the merchant's, is *Refused. ttl 0 is LinkTime.
func MintLink(tx *store.Tx, merchant, person string, ttl time.Duration) (plain string, expires time.Time, err error) {
	if ttl == 0 {
		ttl = LinkTime
	}
	if ttl < minLinkTime || ttl > MaxLinkTime {
		return "", time.Time{}, &Unfit{"time of a link", "is out of range", fmt.Sprintf("%s to %s", minLinkTime, MaxLinkTime)}
	}
	p, err := Live(tx, person)
	if err != nil {
		return "", time.Time{}, err
	}
	if p.Kind != KindPerson || p.Merchant != merchant {
		return "", time.Time{}, &Refused{Why: "unknown"}
	}
	plain, expires = secret.New(secret.Link), tx.Now.Add(ttl)
	_, err = tx.Exec(`INSERT INTO sign_in_links (person_id, merchant_id, secret_sha256, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (person_id) DO UPDATE SET secret_sha256 = excluded.secret_sha256, created_at = excluded.created_at,
			expires_at = excluded.expires_at, used_at = NULL`,
		p.ID, p.Merchant, secret.Hash(plain), store.Micros(tx.Now), store.Micros(expires))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("storing the link: %w", err)
	}
	return plain, expires, nil
}

// dropLink ends the link that a person has not used yet. Whoever made it held what the person held then.
func dropLink(tx *store.Tx, merchant, person string) error {
	_, err := tx.Exec(`DELETE FROM sign_in_links WHERE merchant_id = $1 AND person_id = $2`, merchant, person)
	if err != nil {
		return fmt.Errorf("ending a link: %w", err)
	}
	return nil
}

// dropLinks is dropLink for everybody who has a role.
func dropLinks(tx *store.Tx, merchant, role string) error {
	_, err := tx.Exec(`DELETE FROM sign_in_links WHERE merchant_id = $1
		AND person_id IN (SELECT person_id FROM person_roles WHERE merchant_id = $1 AND role = $2)`, merchant, role)
	if err != nil {
		return fmt.Errorf("ending links: %w", err)
	}
	return nil
}

// ProveByLink gives the person of a link. Whatever is wrong with the secret, the error is a *Refused.
func ProveByLink(tx *store.Tx, plain string) (Proof, error) {
	if !secret.WellFormed(secret.Link, plain) {
		return Proof{}, &Refused{Why: "malformed"}
	}
	l, err := findLink(tx, secret.Hash(plain))
	if err != nil {
		return Proof{}, err
	}
	if why := l.spent(tx.Now); why != "" {
		return Proof{}, l.refused(why)
	}
	p, err := Live(tx, l.person)
	return Proof{Person: p, How: ByLink, At: tx.Now, use: l.use}, err
}

// A signInLink is a row of sign_in_links.
type signInLink struct {
	sum, person, merchant string
	expires, used         time.Time
}

func findLink(tx *store.Tx, sum string) (signInLink, error) {
	l := signInLink{sum: sum}
	err := tx.QueryRow(`SELECT merchant_id, person_id, expires_at, used_at FROM sign_in_links WHERE secret_sha256 = $1`, sum).
		Scan(&l.merchant, &l.person, store.At(&l.expires), store.At(&l.used))
	if errors.Is(err, store.ErrNotFound) {
		return l, &Refused{Why: "unknown"}
	}
	if err != nil {
		return l, fmt.Errorf("reading the link: %w", err)
	}
	return l, nil
}

func (l signInLink) spent(now time.Time) string {
	switch {
	case !l.used.IsZero():
		return "used"
	case !now.Before(l.expires):
		return "expired"
	}
	return ""
}

func (l signInLink) refused(why string) error {
	return &Refused{Why: why, Who: named(KindPerson, l.person), Merchant: l.merchant}
}

// use lets one of many through that have read the same link.
func (l signInLink) use(tx *store.Tx) error {
	n, err := tx.Exec(`UPDATE sign_in_links SET used_at = $1 WHERE secret_sha256 = $2 AND used_at IS NULL AND expires_at > $1`,
		store.Micros(tx.Now), l.sum)
	if err != nil {
		return fmt.Errorf("using the link: %w", err)
	}
	if n == 0 {
		return l.refused("used")
	}
	return nil
}
