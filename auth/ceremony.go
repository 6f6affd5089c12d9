package auth

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/dtcgate/dtcgate/store"
)

// CeremonyTime is how long a person may take between the two halves of a ceremony.
const CeremonyTime = 10 * time.Minute

// A Purpose is what a ceremony is for. One for another purpose is refused.
type Purpose string

// The purposes of ceremonies.
const (
	ToSignIn   Purpose = "passkey"  // to sign in, or to show once more who one is, with a passkey
	ToRegister Purpose = "register" // to add a passkey
	ToSignOIDC Purpose = "oidc"     // as the first, at an identity provider
)

// A Ceremony is what has to be known when a person comes back from an authenticator or an identity provider. It is handed to the browser,
// sealed, in a cookie: so it is bound to that browser, nobody can read or make one, and beginnings that come to nothing leave
// no row. That each ends well only once is what the table used_ceremonies is for.
type Ceremony struct {
	ID      string                `json:"id"`
	Purpose Purpose               `json:"for"`
	Person  string                `json:"person,omitempty"` // whom it has to be; "" for anybody
	Origin  string                `json:"origin"`           // of the page it began on
	Next    string                `json:"next,omitempty"`   // where the person wants to go
	Expires time.Time             `json:"expires"`
	Passkey *webauthn.SessionData `json:"passkey,omitempty"`
	OIDC    *oidcRequest          `json:"oidc,omitempty"`
}

func newCeremony(now time.Time, purpose Purpose, origin, person string) Ceremony {
	return Ceremony{ID: rand.Text(), Purpose: purpose, Person: person, Origin: origin, Expires: now.Add(CeremonyTime)}
}

// sealedFor keeps a sealed ceremony apart from everything else that is sealed with the same key.
func (p Purpose) sealedFor() string { return "ceremony " + string(p) }

// SealCeremony gives c as the text of a cookie.
func SealCeremony(tx *store.Tx, c Ceremony) (string, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("writing the ceremony: %w", err)
	}
	return Seal(tx, raw, c.Purpose.sealedFor())
}

// OpenCeremony reads the text of a cookie. One that was not made here, is for something else, or has taken too long is *Refused.
func OpenCeremony(tx *store.Tx, sealed string, purpose Purpose) (Ceremony, error) {
	if sealed == "" {
		return Ceremony{}, &Refused{Why: "no ceremony"}
	}
	raw, err := Unseal(tx, sealed, purpose.sealedFor())
	if errors.Is(err, ErrForeign) {
		return Ceremony{}, &Refused{Why: "no ceremony"}
	}
	if err != nil {
		return Ceremony{}, err
	}
	var c Ceremony
	if err := json.Unmarshal(raw, &c); err != nil {
		return Ceremony{}, fmt.Errorf("reading the ceremony: %w", err)
	}
	if !tx.Now.Before(c.Expires) {
		return Ceremony{}, &Refused{Why: "late"}
	}
	return c, nil
}

// end uses c up, in the transaction of what it was for. Of several that try, the primary key lets one through.
func (c Ceremony) end(tx *store.Tx) error {
	if _, err := tx.Exec(`DELETE FROM used_ceremonies WHERE expires_at < $1`, store.Micros(tx.Now)); err != nil {
		return fmt.Errorf("forgetting ceremonies: %w", err)
	}
	n, err := tx.Exec(`INSERT INTO used_ceremonies (id, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING`, c.ID, store.Micros(c.Expires))
	if err != nil {
		return fmt.Errorf("using the ceremony: %w", err)
	}
	if n == 0 {
		return &Refused{Why: "used"}
	}
	return nil
}

// admits reports whether p is whom the ceremony has to be about.
func (c Ceremony) admits(p Principal) error {
	if c.Person != "" && c.Person != p.ID {
		return &Refused{Why: "other person", Who: "person:" + p.ID, Merchant: p.Merchant}
	}
	return nil
}
