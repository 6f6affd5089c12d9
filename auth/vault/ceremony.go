package vault

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// ceremonyTime is how long a person may take at the provider.
const ceremonyTime = 10 * time.Minute

// A Rejected is why an answer that a browser brought back from a provider was not taken.
type Rejected struct{ Why string }

func (r *Rejected) Error() string { return "the answer was not taken: " + r.Why }

// Reasons of Rejected.
const (
	RejectState    = "state"    // missing, never given out, used, expired, or given to somebody else
	RejectIssuer   = "issuer"   // `iss` is not the provider's (RFC 9207), or is missing
	RejectDenied   = "denied"   // the person or the provider said no
	RejectAnswer   = "answer"   // neither a code nor an error
	RejectExchange = "exchange" // the provider gave no tokens for the code; a code of Failure follows
)

// An Answer is what the browser brings back from a provider (RFC 6749, section 4.1.2; RFC 9207).
type Answer struct{ State, Code, Issuer, Error string }

// Begin starts connecting a person who is signed in, and gives the address at the provider that this person's browser goes
// to. The person must have shown lately who they are: whoever finds a session open could else put an account of their own in the place of
// this person's, and be sent what is meant for it. The answer is taken from the same session only. A second beginning in one session ends the first.
func (v *Vault) Begin(ctx context.Context, by By, name string) (string, error) {
	p, err := v.provider(name)
	if err != nil {
		return "", err
	}
	if by.Principal.Kind != auth.KindPerson || by.Principal.Session == "" || v.publicURL == "" {
		return "", ErrNoSession
	}
	keys, err := v.keys.now()
	if err != nil {
		return "", err
	}
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	c := ceremony{
		session: by.Principal.Session, provider: name, merchant: by.Principal.Merchant, person: by.Principal.ID, state: digest(state),
	}
	if c.verifier, err = keys.seal([]byte(verifier), c.binding()); err != nil {
		return "", err
	}
	err = v.db.InTx(ctx, func(tx *store.Tx) error {
		if err := by.confirmed(tx); err != nil {
			return err
		}
		return c.insert(tx)
	})
	if err != nil {
		return "", err
	}
	return p.authorizeURL(state, verifier), nil
}

// Finish takes what the browser brought back, exchanges the code and stores what it gives as the person's one connection
// to the provider; an earlier one ends. Whatever is wrong with the answer is a *Rejected, and the state is used up.
func (v *Vault) Finish(ctx context.Context, by By, name string, a Answer) (Connection, error) {
	p, err := v.provider(name)
	if err != nil {
		return Connection{}, err
	}
	keys, err := v.keys.now()
	if err != nil {
		return Connection{}, err
	}
	var verifier string
	err = v.decide(ctx, by, name, func(tx *store.Tx) (err error) {
		verifier, err = v.take(tx, by, p, a)
		return err
	})
	if err != nil {
		return Connection{}, err
	}
	asked := v.db.Now()
	g, err := p.exchangeOnce(ctx, a.Code, verifier)
	if err != nil {
		return Connection{}, v.decide(ctx, by, name, func(*store.Tx) error { return &Rejected{RejectExchange + ": " + codeOf(err)} })
	}
	var c Connection
	err = v.persist(ctx, func(tx *store.Tx) (err error) {
		c, err = keep(tx, by, p, keys, g, asked)
		return err
	})
	if err != nil && p.RevokeURL != "" {
		v.hear("revoking a grant that could not be stored", revokeThere(ctx, p, g.tokens))
	}
	return c, err
}

// decide runs fn in a transaction, which stands when fn rejects the answer: with the state used up, and the rejection on
// record.
func (v *Vault) decide(ctx context.Context, by By, name string, fn func(*store.Tx) error) error {
	var rejected *Rejected
	err := v.db.InTx(ctx, func(tx *store.Tx) error {
		if err := by.hold(tx); err != nil {
			return err
		}
		err := fn(tx)
		if !errors.As(err, &rejected) {
			return err
		}
		about := Connection{Merchant: by.Principal.Merchant, Person: by.Principal.ID, Provider: name}
		return by.record(tx, "connection.refused", "refused", about, rejected.Why)
	})
	if err == nil && rejected != nil {
		return rejected
	}
	return err
}

// take uses up the state of an answer and gives the verifier that belongs to it, if the answer is what it should be.
func (v *Vault) take(tx *store.Tx, by By, p *provider, a Answer) (string, error) {
	c, err := findCeremony(tx, digest(a.State))
	if errors.Is(err, store.ErrNotFound) {
		return "", &Rejected{RejectState}
	}
	if err != nil {
		return "", fmt.Errorf("reading a ceremony: %w", err)
	}
	// Used up first, whoever brings it and whatever else is wrong: a state that was seen elsewhere is worth nothing.
	n, err := tx.Exec(`UPDATE connection_ceremonies SET used_at = $1 WHERE state_sha256 = $2 AND used_at IS NULL`,
		store.Micros(tx.Now), c.state)
	if err != nil {
		return "", err
	}
	switch {
	case n == 0 || !tx.Now.Before(c.expires) || !c.of(by.Principal, p.Name):
		return "", &Rejected{RejectState}
	case a.Issuer != p.Issuer:
		return "", &Rejected{RejectIssuer}
	case a.Error != "":
		return "", &Rejected{RejectDenied}
	case !visible(a.Code):
		return "", &Rejected{RejectAnswer}
	}
	return c.open(v.keys)
}

// exchangeOnce does not end with its caller: a code is good once.
func (p *provider) exchangeOnce(ctx context.Context, code, verifier string) (granted, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	release, err := p.slot(ctx)
	if err != nil {
		return granted{}, failure(err)
	}
	defer release()
	return p.exchange(ctx, code, verifier)
}

// keep stores a new grant. A person has one connection to a provider; the earlier one ends here only, since providers that
// know one grant for each user and client would end the new one with it.
func keep(tx *store.Tx, by By, p *provider, keys *ring, g granted, asked time.Time) (Connection, error) {
	if err := by.hold(tx); err != nil {
		return Connection{}, err
	}
	earlier, err := live(tx, by.Principal.Merchant, by.Principal.ID, p.Name)
	switch {
	case err == nil:
		err = end(tx, by, earlier, becauseReplaced)
	case errors.Is(err, ErrNotConnected):
		err = nil
	}
	if err != nil {
		return Connection{}, err
	}
	c := Connection{
		ID: store.NewID("con", tx.Now), Merchant: by.Principal.Merchant, Person: by.Principal.ID, Provider: p.Name, State: Connected,
		Account: g.account, Scopes: g.scopes, Version: 1, CreatedAt: tx.Now, UpdatedAt: tx.Now,
	}
	if c.Scopes == nil {
		c.Scopes = append([]string{}, p.Scopes...)
	}
	c.ExpiresAt, c.RefreshAt = p.times(asked, g)
	if err := c.seal(keys, g.tokens); err != nil {
		return Connection{}, err
	}
	if err := insertConnection(tx, c); err != nil {
		return Connection{}, err
	}
	return c, by.record(tx, "connection.made", "done", c, "")
}

// A ceremony is a row of connection_ceremonies.
type ceremony struct {
	session, provider, merchant, person string
	state                               string // SHA-256 in hex: the state itself is with the browser only
	verifier                            string // sealed
	expires                             time.Time
}

func digest(state string) string {
	sum := sha256.Sum256([]byte(state))
	return hex.EncodeToString(sum[:])
}

func (c ceremony) binding() []byte {
	return binding("verifier", c.merchant, c.person, c.provider, c.session, c.state)
}

// of reports whether the ceremony was begun in the session of p, for that provider.
func (c ceremony) of(p auth.Principal, provider string) bool {
	same := func(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
	return same(c.session, p.Session) && same(c.person, p.ID) && same(c.merchant, p.Merchant) && c.provider == provider
}

func (c ceremony) insert(tx *store.Tx) error {
	_, err := tx.Exec(`INSERT INTO connection_ceremonies (session_id, provider, merchant_id, person_id, state_sha256, verifier, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (session_id, provider) DO UPDATE SET merchant_id = excluded.merchant_id, person_id = excluded.person_id,
			state_sha256 = excluded.state_sha256, verifier = excluded.verifier, created_at = excluded.created_at,
			expires_at = excluded.expires_at, used_at = NULL`,
		c.session, c.provider, c.merchant, c.person, c.state, c.verifier, store.Micros(tx.Now), store.Micros(tx.Now.Add(ceremonyTime)))
	if err != nil {
		return fmt.Errorf("storing a ceremony: %w", err)
	}
	return nil
}

func findCeremony(tx *store.Tx, state string) (ceremony, error) {
	return store.One(tx, func(r store.Row) (c ceremony, err error) {
		return c, r.Scan(&c.session, &c.provider, &c.merchant, &c.person, &c.state, &c.verifier, store.At(&c.expires))
	}, `SELECT session_id, provider, merchant_id, person_id, state_sha256, verifier, expires_at FROM connection_ceremonies WHERE state_sha256 = $1`, state)
}

// open gives the verifier. tink finds the key by the ciphertext's own prefix.
func (c ceremony) open(k *Keys) (string, error) {
	r, err := k.now()
	if err != nil {
		return "", err
	}
	verifier, err := r.unseal(c.verifier, c.binding())
	return string(verifier), err
}
