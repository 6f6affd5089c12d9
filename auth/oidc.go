package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/dtcgate/dtcgate/store"
)

// OIDCConfig describes the identity provider at which people sign in.
type OIDCConfig struct {
	Issuer       string   // exactly as it stands in its tokens
	ClientID     string   // that this server is registered under
	ClientSecret string   // "" for a public client
	Domains      []string // of e-mail addresses that are believed on first sign-in; none: only who is linked already comes in
}

// An OIDC signs people in at an identity provider: OpenID Connect Core 1.0, authorization code flow (3.1), with PKCE S256 (RFC 7636), a nonce and
// the issuer in the answer (RFC 9207). Use NewOIDC.
type OIDC struct {
	config   OIDCConfig
	now      func() time.Time
	provider provider
}

// CallbackPath is where the provider sends people back to. An origin before it is the redirect_uri to register.
const CallbackPath = "/sign-in/oidc/callback"

// ErrProvider says that the identity provider did not answer as it should. It wraps what happened, which holds no secret.
var ErrProvider = errors.New("the identity provider did not answer as it should")

// NewOIDC checks the description of a provider. It asks the provider nothing.
func NewOIDC(c OIDCConfig, now func() time.Time) (*OIDC, error) {
	if c.ClientID == "" {
		return nil, errors.New("sign_in: client_id is missing: it is what the identity provider calls this server")
	}
	u, err := ParseOutbound(c.Issuer)
	if err != nil {
		return nil, fmt.Errorf("sign_in: issuer: %w", err)
	}
	for _, d := range c.Domains {
		if !domain.MatchString(d) {
			return nil, fmt.Errorf("sign_in: %q is not a domain of e-mail addresses, such as example.com", d)
		}
	}
	return &OIDC{config: c, now: now, provider: newProvider(c.Issuer, u)}, nil
}

// Host names the provider for people.
func (o *OIDC) Host() string { return hostOf(o.config.Issuer) }

var domain = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)

// oidcRequest is what the answer to an authorization request is held to.
type oidcRequest struct {
	Issuer   string    `json:"issuer"`
	Redirect string    `json:"redirect"`
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Began    time.Time `json:"began"`
	Fresh    bool      `json:"fresh"` // the person has to sign in there anew
}

// Begin gives the address at the provider where a person signs in. person is who it has to be, and who then has to sign in there anew; "" for
// anybody.
func (o *OIDC) Begin(ctx context.Context, origin, person string) (string, Ceremony, error) {
	meta, err := o.provider.metadata(ctx)
	if err != nil {
		return "", Ceremony{}, err
	}
	c := newCeremony(o.now(), ToSignOIDC, origin, person)
	c.OIDC = &oidcRequest{
		Issuer: o.config.Issuer, Redirect: origin + CallbackPath, State: rand.Text(), Nonce: rand.Text(),
		Verifier: oauth2.GenerateVerifier(), Began: o.now(), Fresh: person != "",
	}
	params := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(c.OIDC.Verifier), oauth2.SetAuthURLParam("nonce", c.OIDC.Nonce)}
	if c.OIDC.Fresh {
		params = append(params, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return o.client(meta, c.OIDC.Redirect).AuthCodeURL(c.OIDC.State, params...), c, nil
}

func (o *OIDC) client(meta metadata, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: o.config.ClientID, ClientSecret: o.config.ClientSecret, RedirectURL: redirect, Scopes: []string{"openid", "email"},
		Endpoint: oauth2.Endpoint{AuthURL: meta.Authorization, TokenURL: meta.Token, AuthStyle: meta.style(o.config.ClientSecret)},
	}
}

// An Identity is whom a provider vouches for.
type Identity struct {
	Issuer   string
	Subject  string
	Email    string    // verified by the provider, in lower case; "" for none
	SignedIn time.Time // when the person showed the provider who they are; zero when it does not say
}

// Finish checks what the provider sent the person back with, and asks it who that was. An answer that does not belong to c is *Refused.
func (o *OIDC) Finish(ctx context.Context, c Ceremony, answer url.Values) (Identity, error) {
	if c.OIDC == nil || c.OIDC.Issuer != o.config.Issuer {
		return Identity{}, &Refused{Why: "no ceremony"}
	}
	meta, err := o.provider.metadata(ctx)
	if err != nil {
		return Identity{}, err
	}
	code, err := o.code(c.OIDC, meta, answer)
	if err != nil {
		return Identity{}, err
	}
	done, err := o.provider.turn(ctx)
	if err != nil {
		return Identity{}, err
	}
	defer done()
	raw, err := o.exchange(ctx, c.OIDC, meta, code)
	if err != nil {
		return Identity{}, err
	}
	keys, err := o.provider.keys(ctx, meta)
	if err != nil {
		return Identity{}, err
	}
	return o.identify(c.OIDC, raw, keys)
}

// maxCode bounds an authorization code, in bytes.
const maxCode = 4096

// code takes the authorization code out of an answer. The state comes first: an answer without the right one says nothing.
func (o *OIDC) code(r *oidcRequest, meta metadata, answer url.Values) (string, error) {
	state, ok := sole(answer, "state")
	if !ok || subtle.ConstantTimeCompare([]byte(state), []byte(r.State)) != 1 {
		return "", &Refused{Why: "state"}
	}
	// RFC 9207, 2.4: an answer of another issuer is that of a mix-up.
	issuer, ok := sole(answer, "iss")
	if given := answer.Has("iss"); given && (!ok || issuer != r.Issuer) || !given && meta.SendsIssuer {
		return "", &Refused{Why: "issuer"}
	}
	if answer.Has("error") {
		return "", &Refused{Why: "denied there"}
	}
	code, ok := sole(answer, "code")
	if !ok || code == "" || len(code) > maxCode {
		return "", &Refused{Why: "code"}
	}
	return code, nil
}

// sole gives a parameter that came exactly once (RFC 6749, 3.1: no parameter may come twice).
func sole(q url.Values, name string) (string, bool) {
	if len(q[name]) != 1 {
		return "", false
	}
	return q[name][0], true
}

// exchange gives the ID token for a code.
func (o *OIDC) exchange(ctx context.Context, r *oidcRequest, meta metadata, code string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, o.provider.http), outboundTime)
	defer cancel()
	token, err := o.client(meta, r.Redirect).Exchange(ctx, code, oauth2.VerifierOption(r.Verifier))
	if told := (*oauth2.RetrieveError)(nil); errors.As(err, &told) {
		if told.ErrorCode == "invalid_grant" { // RFC 6749, 5.2: the code is not, or no longer, good
			return "", &Refused{Why: "code"}
		}
		return "", fmt.Errorf("%w: its token endpoint answered %d", ErrProvider, told.Response.StatusCode) // the rest may repeat our secret
	}
	if err != nil {
		return "", fmt.Errorf("%w: its token endpoint gave no token", ErrProvider)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return "", fmt.Errorf("%w: its token endpoint gave no ID token", ErrProvider)
	}
	return raw, nil
}

// Prove gives the person that an identity is. An account is known by issuer and subject; on its first sign-in the person is found by the
// verified e-mail address, and from then on by the account alone. Somebody unknown is *Refused.
func (o *OIDC) Prove(tx *store.Tx, c Ceremony, id Identity) (Proof, error) {
	link := func(*store.Tx) error { return nil }
	p, err := linked(tx, id)
	if errors.Is(err, store.ErrNotFound) {
		p, err = o.byEmail(tx, id)
		link = func(tx *store.Tx) error { return linkAccount(tx, p, id) }
	}
	if err != nil {
		return Proof{}, err
	}
	use := func(tx *store.Tx) error {
		if err := link(tx); err != nil {
			return err
		}
		return c.end(tx)
	}
	return Proof{Person: p, How: ByOIDC, At: id.SignedIn, use: use}, c.admits(p)
}

func linked(tx *store.Tx, id Identity) (Principal, error) {
	var person string
	err := tx.QueryRow(`SELECT person_id FROM oidc_identities WHERE issuer = $1 AND subject = $2`, id.Issuer, id.Subject).Scan(&person)
	if err != nil {
		return Principal{}, err
	}
	return Live(tx, person)
}

// byEmail finds the one person with the identity's address. An address that two merchants know is nobody's: this must not choose.
func (o *OIDC) byEmail(tx *store.Tx, id Identity) (Principal, error) {
	unknown := &Refused{Why: "unknown"}
	if id.Email == "" || !slices.Contains(o.config.Domains, domainOf(id.Email)) {
		return Principal{}, unknown
	}
	found, err := store.All(tx, scanPerson, `SELECT `+personColumns+` FROM people WHERE email = $1 AND email <> '' AND revoked_at IS NULL LIMIT 2`, id.Email)
	if err != nil {
		return Principal{}, fmt.Errorf("reading people: %w", err)
	}
	if len(found) != 1 {
		return Principal{}, unknown
	}
	return found[0].principal(tx)
}

// linkAccount keeps an account for a person. One who has another account there already is refused: the address was given to somebody else.
func linkAccount(tx *store.Tx, p Principal, id Identity) error {
	n, err := tx.Exec(`INSERT INTO oidc_identities (issuer, subject, merchant_id, person_id, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		id.Issuer, id.Subject, p.Merchant, p.ID, store.Micros(tx.Now))
	if err != nil {
		return fmt.Errorf("linking an account: %w", err)
	}
	if n == 0 {
		return &Refused{Why: "other account", Who: named(KindPerson, p.ID), Merchant: p.Merchant}
	}
	return nil
}
