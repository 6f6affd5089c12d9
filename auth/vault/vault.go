// Package vault keeps what opens outside systems: for each person and provider the tokens that the person granted, and what other packages
// give Keys to keep (secrets.go).
//
// A Connection is one grant. It begins with a ceremony (OAuth 2.1 authorization code with PKCE): Begin makes the address
// that the person's browser goes to, Finish takes what it brings back and exchanges it. Token hands out a short-lived
// access token by the name of the provider, and renews it first when it is about to expire; Run renews all of them ahead
// of time. Refresh tokens leave the vault for their provider only.
//
// # At rest
//
// Tokens are sealed with AES-256-GCM (tink) under a master key that is not in the database. What is sealed is bound to
// merchant, person, provider, connection and the row's version, so that a ciphertext moved to another row, or an older
// one put back under a newer version, does not open. Who can write the database can still put a whole older row back: it
// holds tokens that the provider has replaced since. Keys says how master keys are kept and changed.
//
// # One at a time
//
// Providers rotate refresh tokens and end the whole grant when an old one is used again (RFC 9700, section 4.14.2). So one
// refresh runs at a time, over all processes: it takes the lease of its connection in one transaction, asks the provider
// outside any, and stores the answer in another that names the lease. The lease is longer than asking and storing may
// take together. It does not depend on the ends of calls: whoever asked for a token may leave, the answer is kept.
//
// Killed between the provider's answer and our commit, the new refresh token is lost: no protocol closes that gap. Nothing
// is done between the two but the commit, which is repeated while the database is away. The next refresh is then refused
// by the provider (invalid_grant), the connection is broken and says so, and the person connects again. It is never asked
// twice: a broken connection holds no token.
//
// # What is told
//
// No error, log line, entry of the record or answer repeats a token, a secret or a provider's text: what went wrong is one of
// the codes in failure.go. Every connection made, refused, broken or revoked, every refresh that failed and every change of
// master keys is on record. Providers are asked over https, never at a private address, and no redirect is followed
// (address.go, client.go).
package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// What callers are told.
var (
	ErrUnknownProvider = errors.New("no provider of that name is configured")
	// ErrNotConnected says that the person has no connection to the provider, or none any more.
	ErrNotConnected = errors.New("not connected")
	// ErrBroken says that the provider no longer honours the grant: the person has to connect again.
	ErrBroken = errors.New("the connection is broken")
	// ErrNoSession says that only a person who is signed in can connect: the answer comes back to that browser.
	ErrNoSession = errors.New("connecting needs a person who is signed in")
	// ErrStepUp says that the person in the session has not shown lately who they are.
	ErrStepUp = errors.New("connecting needs a person who has shown lately who they are")
	// ErrSealed says that no master key at hand opens what is stored, or that it was stored for something else.
	ErrSealed = errors.New("the stored tokens do not open: restore the vault's key, or connect again")
)

// Config is everything a Vault depends on.
type Config struct {
	DB        *store.DB
	Keys      *Keys
	Providers []Provider
	PublicURL string      // where browsers reach the server, such as https://gate.example.com; "": nobody can connect
	OnError   func(error) // hears what Run could not do; it is tried again. May be nil
}

// A Vault hands out access tokens and keeps them fresh. It may be used concurrently, and by several processes on one
// database.
type Vault struct {
	db        *store.DB
	keys      *Keys
	providers map[string]*provider
	publicURL string
	onError   func(error)
	look      time.Duration // lookTime but in tests

	flights singleflight.Group // what callers of Token wait for, by connection
}

// New makes a vault. It starts nothing. What is wrong with a provider's description is the error, and so is a secret that
// is not where it should be.
func New(c Config) (*Vault, error) {
	v := &Vault{
		db: c.DB, keys: c.Keys, providers: map[string]*provider{}, publicURL: c.PublicURL,
		onError: c.OnError, look: lookTime,
	}
	for _, p := range c.Providers {
		known, err := p.open(v.redirect(p.Name))
		if err != nil {
			return nil, fmt.Errorf("provider %q: %w", p.Name, err)
		}
		if v.providers[p.Name] != nil {
			return nil, fmt.Errorf("provider %q: the name is taken twice", p.Name)
		}
		v.providers[p.Name] = known
	}
	return v, nil
}

// redirect is where a provider sends the browser back to. Each provider has its own, so that an answer cannot be taken for
// another one's (RFC 9700, section 4.4.2), and it is registered with the provider exactly so.
func (v *Vault) redirect(provider string) string {
	return v.publicURL + "/connect/" + provider + "/callback"
}

func (v *Vault) provider(name string) (*provider, error) {
	p := v.providers[name]
	if p == nil {
		return nil, ErrUnknownProvider
	}
	return p, nil
}

// An Offer is a provider that a person may connect, with the connection there is.
type Offer struct {
	Name       string      `json:"name"`
	Title      string      `json:"title"`
	Connection *Connection `json:"connection,omitempty"`
}

// Offers gives what a person may connect and has connected, by name.
func (v *Vault) Offers(ctx context.Context, p auth.Principal) ([]Offer, error) {
	own, err := v.listed(ctx, p, p.ID)
	if err != nil {
		return nil, err
	}
	offers := []Offer{}
	for _, name := range slices.Sorted(maps.Keys(v.providers)) {
		o := Offer{Name: name, Title: v.providers[name].Title}
		if i := slices.IndexFunc(own, func(c Connection) bool { return c.Provider == name && c.State != Revoked }); i >= 0 {
			o.Connection = &own[i]
		}
		offers = append(offers, o)
	}
	return offers, nil
}

func (v *Vault) hear(doing string, err error) {
	if err != nil && v.onError != nil && !errors.Is(err, context.Canceled) {
		v.onError(fmt.Errorf("%s: %w", doing, err))
	}
}
