package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A JWTAgent is an agent that an issuer vouches for. Its row is made when a token names it first, so that it has an id, for
// the record, for its jobs and its limits, and so that it can be revoked here, whatever the issuer goes on signing.
type JWTAgent struct {
	ID               string    `json:"id"`
	Merchant         string    `json:"merchant_id"`
	Issuer           string    `json:"issuer"`
	Subject          string    `json:"subject"`
	Name             string    `json:"name"`
	Owner            string    `json:"owner_id,omitempty"` // per_…
	Profile          string    `json:"profile"`            // in the policy
	Scopes           []Scope   `json:"scopes"`             // of the newest token that said something new
	Ceiling          Level     `json:"ceiling"`
	RequiresApproval bool      `json:"requires_approval"`
	Version          int64     `json:"version"`
	FirstSeenAt      time.Time `json:"first_seen_at"`
	ChangedAt        time.Time `json:"changed_at"` // when a token last said something new
	RevokedAt        time.Time `json:"revoked_at,omitzero"`
}

// maxJWTAgents bounds the agents of one issuer at one merchant: an issuer that makes up a subject for every token would fill the
// database.
const maxJWTAgents = 10_000

// ErrNewToken is the answer to a token that says something which is not on file yet. AdmitJWT puts it there.
var ErrNewToken = errors.New("the token says something new")

// AuthenticateJWT gives the principal of a verified token. It writes nothing: where there is something to write the error is
// ErrNewToken. Whatever is wrong with the token, the error is a *Refused.
func AuthenticateJWT(tx *store.Tx, t Token) (Principal, error) {
	named, err := t.onFile(tx)
	if err != nil {
		return Principal{}, err
	}
	a, err := findJWTAgent(tx, named)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && a.RevokedAt.IsZero() && !a.like(named):
		return Principal{}, ErrNewToken
	case err != nil:
		return Principal{}, fmt.Errorf("reading the agent of a token: %w", err)
	}
	return a.principal(tx, t)
}

// AdmitJWT is AuthenticateJWT for a token that says something new, and reports whether its agent was never seen before.
func AdmitJWT(tx *store.Tx, t Token) (p Principal, first bool, err error) {
	named, err := t.onFile(tx)
	if err != nil {
		return Principal{}, false, err
	}
	if first, err = named.insert(tx); err != nil {
		return Principal{}, false, err
	}
	a, err := findJWTAgent(tx, named)
	if err == nil && a.RevokedAt.IsZero() && !a.like(named) {
		a, err = a.become(tx, named)
	}
	if errors.Is(err, store.ErrNotFound) {
		return Principal{}, false, &Refused{Why: whyTooMany, Merchant: named.Merchant}
	}
	if err != nil {
		return Principal{}, false, fmt.Errorf("storing the agent of a token: %w", err)
	}
	p, err = a.principal(tx, t)
	return p, first, err
}

// onFile is what a token says in the form of a row: with the ids of the merchant and of the owner.
func (t Token) onFile(tx *store.Tx) (JWTAgent, error) {
	m, err := FindMerchant(tx, t.Merchant)
	if errors.Is(err, store.ErrNotFound) {
		return JWTAgent{}, refused(whyMerchant)
	}
	if err != nil {
		return JWTAgent{}, fmt.Errorf("reading the merchant of a token: %w", err)
	}
	a := JWTAgent{Merchant: m.ID, Issuer: t.Issuer, Subject: t.Subject, Name: shortName(t.Subject), Scopes: t.Scopes, Ceiling: t.Ceiling, RequiresApproval: t.RequiresApproval, Profile: t.Profile}
	if t.Owner == "" {
		return a, nil
	}
	owner, err := FindPerson(tx, m.ID, t.Owner)
	if errors.Is(err, store.ErrNotFound) {
		return JWTAgent{}, &Refused{Why: "owner", Merchant: m.ID}
	}
	a.Owner = owner.ID
	return a, err
}

// shortName cuts a subject to what a name may be long.
func shortName(subject string) string {
	if len(subject) > maxName {
		subject = strings.ToValidUTF8(subject[:maxName-len("…")], "") + "…"
	}
	return subject
}

// like reports whether a token's form of the row says the same.
func (a JWTAgent) like(named JWTAgent) bool {
	return a.Owner == named.Owner && a.Profile == named.Profile && a.Ceiling == named.Ceiling && a.RequiresApproval == named.RequiresApproval && slices.Equal(a.Scopes, named.Scopes)
}

// principal gives the agent with what this very token lets it do: the row knows the newest one, which may be another.
func (a JWTAgent) principal(tx *store.Tx, t Token) (Principal, error) {
	l := a.link()
	l.Scopes, l.ExpiresAt = t.Scopes, t.ExpiresAt
	return l.climb(tx)
}

func (a JWTAgent) link() storedLink {
	return storedLink{
		Link:     Link{Kind: KindJWT, ID: a.ID, Name: a.Name, Profile: a.Profile, Scopes: a.Scopes, Ceiling: a.Ceiling, RequiresApproval: a.RequiresApproval, Depth: DefaultDepth, Version: a.Version},
		merchant: a.Merchant, parent: a.Owner, revoked: a.RevokedAt,
	}
}

// jwtLink reads an agent with the scopes of the newest token seen.
func jwtLink(tx *store.Tx, id string) (storedLink, error) {
	a, err := store.One(tx, scanJWTAgent, `SELECT `+jwtColumns+` FROM jwt_agents WHERE id = $1`, id)
	return a.link(), err
}

// insert stores a new agent, and reports whether it was one.
func (a JWTAgent) insert(tx *store.Tx) (bool, error) {
	n, err := tx.Exec(`INSERT INTO jwt_agents (id, merchant_id, issuer, subject, name, owner_id, scopes, ceiling, requires_approval, first_seen_at, last_seen_at, profile)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8, CAST($9 AS BIGINT), CAST($10 AS BIGINT), CAST($10 AS BIGINT), $12
		WHERE (SELECT COUNT(*) FROM jwt_agents WHERE merchant_id = $2 AND issuer = $3) < $11
		ON CONFLICT DO NOTHING`,
		store.NewID("jwt", tx.Now), a.Merchant, a.Issuer, a.Subject, a.Name, a.owner(), list(a.Scopes), a.Ceiling.String(), flag(a.RequiresApproval),
		store.Micros(tx.Now), maxJWTAgents, a.Profile)
	if err != nil {
		return false, fmt.Errorf("storing the agent of a token: %w", err)
	}
	return n == 1, nil
}

// become writes down what a token says that is new. Of two tokens that say different things at the same time one is written
// down, and each goes by what it says itself.
func (a JWTAgent) become(tx *store.Tx, named JWTAgent) (JWTAgent, error) {
	_, err := tx.Exec(`UPDATE jwt_agents SET owner_id = $1, scopes = $2, ceiling = $3, requires_approval = $4, last_seen_at = $5, profile = $6, version = version + 1
		WHERE id = $7 AND version = $8 AND revoked_at IS NULL`,
		named.owner(), list(named.Scopes), named.Ceiling.String(), flag(named.RequiresApproval), store.Micros(tx.Now), named.Profile, a.ID, a.Version)
	if err != nil {
		return a, err
	}
	return findJWTAgent(tx, named)
}

func (a JWTAgent) owner() any {
	if a.Owner == "" {
		return nil
	}
	return a.Owner
}

// findJWTAgent reads the agent that is named by merchant, issuer and subject.
func findJWTAgent(tx *store.Tx, named JWTAgent) (JWTAgent, error) {
	return store.One(tx, scanJWTAgent, `SELECT `+jwtColumns+` FROM jwt_agents WHERE merchant_id = $1 AND issuer = $2 AND subject = $3`,
		named.Merchant, named.Issuer, named.Subject)
}

// ListJWTAgents gives a merchant's agents that issuers vouch for, those first that were seen last, revoked ones too, and no more than
// limit.
func ListJWTAgents(tx *store.Tx, merchant string, limit int) ([]JWTAgent, error) {
	return store.All(tx, scanJWTAgent, `SELECT `+jwtColumns+` FROM jwt_agents WHERE merchant_id = $1 ORDER BY first_seen_at DESC, id DESC LIMIT $2`, merchant, limit)
}

// RevokeJWTAgent ends an agent for good, from the next call on, whatever tokens its issuer signs. BeginChange comes before it. It answers store.ErrNotFound
// for one that is not there or is revoked already.
func RevokeJWTAgent(tx *store.Tx, merchant, id string) error {
	n, err := tx.Exec(`UPDATE jwt_agents SET revoked_at = $1, version = version + 1 WHERE merchant_id = $2 AND id = $3 AND revoked_at IS NULL`,
		store.Micros(tx.Now), merchant, id)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

const jwtColumns = `id, merchant_id, issuer, subject, name, COALESCE(owner_id, ''), scopes, ceiling, requires_approval, version, profile, first_seen_at, last_seen_at, revoked_at`

func scanJWTAgent(r store.Row) (JWTAgent, error) {
	var a JWTAgent
	var ceiling string
	var approval int64
	err := r.Scan(&a.ID, &a.Merchant, &a.Issuer, &a.Subject, &a.Name, &a.Owner, jsonList(&a.Scopes), &ceiling, &approval, &a.Version, &a.Profile,
		store.At(&a.FirstSeenAt), store.At(&a.ChangedAt), store.At(&a.RevokedAt))
	if err != nil {
		return JWTAgent{}, err
	}
	a.RequiresApproval = approval == 1
	a.Ceiling, err = ParseLevel(ceiling)
	return a, err
}
