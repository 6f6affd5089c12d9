package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// An Issuer is a token service outside dtcgate whose JWTs (RFC 9068 access tokens) let agents in, as the operator
// described it. Whatever it signs, its tokens reach no further than Scopes and Ceiling say here.
type Issuer struct {
	Name      string   `yaml:"name"`      // in messages to the operator
	Issuer    string   `yaml:"issuer"`    // the exact iss
	JWKSURL   string   `yaml:"jwks_url"`  // its public keys (RFC 7517)
	Audiences []string `yaml:"audiences"` // one of these must be in aud; none: the addresses of this server

	Algorithms []string      `yaml:"algorithms"` // of signatures; none: RS256, ES256, EdDSA
	Types      []string      `yaml:"types"`      // of tokens (typ); none: at+jwt, JWT
	Leeway     time.Duration `yaml:"leeway"`     // between its clock and ours; 0: 30 s
	MaxAge     time.Duration `yaml:"max_age"`    // of a token since iat; 0: 24 h

	Merchant string            `yaml:"merchant"` // whom all its tokens are for, when no claim says it
	Claims   ClaimNames        `yaml:"claims"`
	Require  map[string]string `yaml:"required_claims"` // each must be there with this value, alone or in a list

	Scopes  []string `yaml:"scopes"`  // the most that any of its tokens gives; orders:* and *:read are patterns
	Ceiling string   `yaml:"ceiling"` // the riskiest call of its agents; none: medium
	Profile string   `yaml:"profile"` // of its agents, in the policy; none grants nothing

	RequiresApproval bool `yaml:"requires_approval"` // people confirm every call of an approval class, as with a key
}

// ClaimNames are the claims in which an issuer says what we need to know.
type ClaimNames struct {
	Subject  string `yaml:"subject"`  // none: sub
	Scopes   string `yaml:"scopes"`   // none: scope, or scp where there is no scope
	Merchant string `yaml:"merchant"` // the name of a merchant
	Owner    string `yaml:"owner"`    // the external id or the name of a person; a token without it is refused
}

// What an issuer's settings are when they are left out, and how far they may go.
const (
	defaultLeeway = 30 * time.Second
	maxLeeway     = 5 * time.Minute
	defaultMaxAge = 24 * time.Hour
	maxMaxAge     = 30 * 24 * time.Hour
	maxIssuers    = 20
	defaultLevel  = "medium"
)

var (
	// algorithms are those with a key pair (RFC 7518 3.1, RFC 8037): with a shared secret, whoever can check a token can
	// make one.
	algorithms        = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	defaultAlgorithms = []string{"RS256", "ES256", "EdDSA"}
	defaultTypes      = []string{"at+jwt", "JWT"}
)

// Issuers are the token services whose tokens let agents in. It may be used concurrently.
type Issuers struct {
	byIss  map[string]*issuer
	names  []string // every iss, in the order of the settings
	scopes []Scope  // the most that any of them gives
}

// issuer is an Issuer with everything checked and filled in.
type issuer struct {
	Issuer
	scopes  []Scope
	ceiling Level
	keys    *keySet
}

// NewIssuers checks issuers for a server that the world knows as public. It asks nobody: Run does. onError is told what
// fails in the background.
func NewIssuers(public string, configured []Issuer, onError func(error)) (*Issuers, error) {
	if len(configured) > maxIssuers {
		return nil, fmt.Errorf("there are %d issuers; %d are allowed", len(configured), maxIssuers)
	}
	all := &Issuers{byIss: map[string]*issuer{}}
	for n, c := range configured {
		i, err := newIssuer(public, c, onError)
		if err != nil {
			return nil, fmt.Errorf("issuer %d (%s): %w", n+1, c.Name, err)
		}
		if all.byIss[c.Issuer] != nil {
			return nil, fmt.Errorf("issuer %d (%s): %s is there twice", n+1, c.Name, c.Issuer)
		}
		all.byIss[c.Issuer] = i
		all.names = append(all.names, c.Issuer)
		all.scopes = append(all.scopes, i.scopes...)
	}
	slices.Sort(all.scopes)
	all.scopes = slices.Compact(all.scopes)
	return all, nil
}

// Authorities gives the issuers' identifiers (RFC 8414), in the order they were configured.
func (i *Issuers) Authorities() []string { return i.names }

// Scopes gives every scope that a token of some issuer can give.
func (i *Issuers) Scopes() []Scope { return i.scopes }

// Run keeps the issuers' keys fresh until ctx ends.
func (i *Issuers) Run(ctx context.Context) {
	var asking sync.WaitGroup
	for _, from := range i.byIss {
		asking.Go(func() { from.keys.run(ctx) })
	}
	asking.Wait()
}

func newIssuer(public string, c Issuer, onError func(error)) (*issuer, error) {
	c.fill(public)
	keys, err := ParseOutbound(c.JWKSURL)
	if err != nil {
		return nil, fmt.Errorf("jwks_url: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	scopes, err := ParseScopes(c.Scopes, AgentScopes)
	if err != nil {
		return nil, fmt.Errorf("scopes: %w", err)
	}
	ceiling, err := ParseLevel(c.Ceiling)
	if err != nil {
		return nil, fmt.Errorf("ceiling: %w", err)
	}
	return &issuer{Issuer: c, scopes: scopes, ceiling: ceiling, keys: &keySet{
		url: keys, client: OutboundClient(keys), now: time.Now, onError: onError,
	}}, nil
}

// fill puts the defaults in place of what was left out. Clients mangle the resource that they ask a token for (RFC 8707):
// some leave the path away, some add a slash, so that all four addresses of this server name it.
func (c *Issuer) fill(public string) {
	orElse(&c.Algorithms, defaultAlgorithms)
	orElse(&c.Types, defaultTypes)
	orElse(&c.Audiences, []string{public + "/mcp", public + "/mcp/", public, public + "/"})
	c.Claims.Subject = cmp.Or(c.Claims.Subject, "sub")
	c.Ceiling = cmp.Or(c.Ceiling, defaultLevel)
	c.Leeway = cmp.Or(c.Leeway, defaultLeeway)
	c.MaxAge = cmp.Or(c.MaxAge, defaultMaxAge)
}

func orElse(set *[]string, otherwise []string) {
	if len(*set) == 0 {
		*set = otherwise
	}
}

// check refuses settings that would let in whom nobody meant.
func (c *Issuer) check() error {
	for _, a := range c.Algorithms {
		if !slices.Contains(algorithms, a) {
			return fmt.Errorf("algorithms: %q is not one of %s", a, strings.Join(algorithms, ", "))
		}
	}
	switch u, err := url.Parse(c.Issuer); {
	case strings.TrimSpace(c.Name) == "":
		return errors.New("name: give it one, such as company-login")
	case err != nil || u.Host == "" || (u.Scheme != "https" && !isLoopback(u)):
		return fmt.Errorf("issuer: %q is not the https address that stands in iss, exactly", c.Issuer)
	case slices.Contains(c.Audiences, ""):
		return errors.New("audiences: one is empty")
	case c.Leeway < 0 || c.Leeway > maxLeeway:
		return fmt.Errorf("leeway: %s is not between 0 and %s", c.Leeway, maxLeeway)
	case c.MaxAge < 0 || c.MaxAge > maxMaxAge:
		return fmt.Errorf("max_age: %s is not between 0 and %s", c.MaxAge, maxMaxAge)
	case (c.Merchant == "") == (c.Claims.Merchant == ""):
		return errors.New("say whom its tokens are for: either merchant (one for all) or claims.merchant (each says it)")
	case len(c.Scopes) == 0:
		return errors.New("scopes: say what its tokens may give at most, such as orders:read or *:read")
	}
	return nil
}

// allows reports whether a token's typ is one of the allowed. Media types have no case, and application/ may be left out
// (RFC 7515 4.1.9).
func (c *Issuer) allows(typ string) bool {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		typ = typ[len(prefix):]
	}
	return slices.ContainsFunc(c.Types, func(t string) bool { return t != "" && strings.EqualFold(t, typ) })
}

// validator checks the claims that every token has (RFC 7519 4.1, RFC 9068 2.2) as of now.
func (c *Issuer) validator(now time.Time) *jwt.Validator {
	return jwt.NewValidator(
		jwt.WithIssuer(c.Issuer), jwt.WithAudience(c.Audiences...), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(c.Leeway), jwt.WithTimeFunc(func() time.Time { return now }))
}
