package vault

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/oauth2"

	"github.com/dtcgate/dtcgate/auth"
)

// A Provider describes an outside system and the client that we are to it, as an operator writes it down. The secret is
// never part of it: it stands in a file or in the environment.
type Provider struct {
	Name             string            `yaml:"name"`  // how tools, addresses and the record call it
	Title            string            `yaml:"title"` // how people call it
	AuthorizeURL     string            `yaml:"authorize_url"`
	TokenURL         string            `yaml:"token_url"`
	RevokeURL        string            `yaml:"revoke_url"` // RFC 7009; without it a grant ends here and not there
	Issuer           string            `yaml:"issuer"`     // what `iss` of an answer must be (RFC 9207)
	ClientID         string            `yaml:"client_id"`
	ClientSecretEnv  string            `yaml:"client_secret_env"`
	ClientSecretFile string            `yaml:"client_secret_file"`
	Auth             string            `yaml:"auth"` // how the client shows its secret: basic, post, or none for a public client
	Scopes           []string          `yaml:"scopes"`
	AuthorizeParams  map[string]string `yaml:"authorize_params"` // such as access_type: offline
	Resource         string            `yaml:"resource"`         // what the tokens are for (RFC 8707)
	RefreshAhead     time.Duration     `yaml:"refresh_ahead"`    // how long before its end a token is renewed; 5m
	AccountField     string            `yaml:"account_field"`    // member of the token answer that names the account
	AllowPrivate     bool              `yaml:"allow_private"`    // for a provider on a loopback address, in tests and development
}

// provider is a Provider that is ready to be asked.
type provider struct {
	Provider
	oauth  oauth2.Config
	client *http.Client
	slots  chan struct{} // held while it is asked
}

// maxAsking bounds how many questions a provider is asked at once by one process. One that hangs holds up no other.
const maxAsking = 8

const (
	defaultAhead = 5 * time.Minute
	maxAhead     = 24 * time.Hour
)

var (
	providerName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	// scopeToken is a scope as RFC 6749, section 3.3 has it.
	scopeToken = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{1,200}$`)
	authStyles = map[string]oauth2.AuthStyle{
		"basic": oauth2.AuthStyleInHeader, "post": oauth2.AuthStyleInParams, "none": oauth2.AuthStyleInParams,
	}
	// ours are the parameters of the authorization request that configuration may not set.
	ours = []string{
		"response_type", "client_id", "client_secret", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method",
		"resource", "request", "request_uri", "response_mode",
	}
)

// open checks a description, reads the secret and makes the client.
func (p Provider) open(redirect string) (*provider, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	secret, err := p.secret()
	if err != nil {
		return nil, err
	}
	if p.RefreshAhead == 0 {
		p.RefreshAhead = defaultAhead
	}
	if p.Title == "" {
		p.Title = p.Name
	}
	return &provider{
		Provider: p,
		client:   newClient(p.allowed()),
		slots:    make(chan struct{}, maxAsking),
		oauth: oauth2.Config{
			ClientID: p.ClientID, ClientSecret: secret, RedirectURL: redirect, Scopes: p.Scopes,
			Endpoint: oauth2.Endpoint{AuthURL: p.AuthorizeURL, TokenURL: p.TokenURL, AuthStyle: authStyles[p.Auth]},
		},
	}, nil
}

func (p Provider) check() error {
	switch {
	case !providerName.MatchString(p.Name):
		return errors.New("name must be lower-case letters, digits, _ and -, such as acme-ads")
	case !label(p.Title):
		return fmt.Errorf("title must be at most %d bytes of printable text", maxLabel)
	case p.ClientID == "":
		return errors.New("client_id is missing")
	case authStyles[p.Auth] == 0:
		return errors.New("auth must be basic, post or none")
	case p.RefreshAhead < 0 || p.RefreshAhead > maxAhead:
		return fmt.Errorf("refresh_ahead must be from 0 to %s", maxAhead)
	}
	for _, s := range p.Scopes {
		if !scopeToken.MatchString(s) {
			return fmt.Errorf("scope %q is not one (RFC 6749, section 3.3)", s)
		}
	}
	for name := range p.AuthorizeParams {
		if slices.Contains(ours, name) {
			return fmt.Errorf("authorize_params may not set %q", name)
		}
	}
	return p.checkAddresses()
}

func (p Provider) checkAddresses() error {
	for _, field := range []struct {
		name, value string
		required    bool
	}{
		{"authorize_url", p.AuthorizeURL, true},
		{"token_url", p.TokenURL, true},
		{"revoke_url", p.RevokeURL, false},
	} {
		if field.value == "" && !field.required {
			continue
		}
		if err := p.checkAddress(field.value); err != nil {
			return fmt.Errorf("%s: %w", field.name, err)
		}
	}
	if u, err := url.Parse(p.Resource); p.Resource != "" && (err != nil || !u.IsAbs() || u.Fragment != "") {
		return errors.New("resource must be an absolute URI without a fragment (RFC 8707, section 2)")
	}
	return nil
}

// checkAddress accepts what auth.ParseOutbound does, and a loopback address, which must not be a name, where that is wanted.
func (p Provider) checkAddress(raw string) error {
	u, err := auth.ParseOutbound(raw)
	switch local := err == nil && auth.HasLoopback(u); {
	case err != nil:
		return err
	case local && !p.AllowPrivate:
		return errors.New("an address of this machine needs allow_private, and is for tests and development")
	case !local && p.AllowPrivate:
		return errors.New("allow_private is for 127.0.0.1 and [::1] only")
	}
	return nil
}

// secret reads the client's secret, which has one place.
func (p Provider) secret() (string, error) {
	var secret string
	switch {
	case p.Auth == "none" && p.ClientSecretEnv+p.ClientSecretFile == "":
		return "", nil
	case p.Auth == "none" || (p.ClientSecretEnv == "") == (p.ClientSecretFile == ""):
		return "", errors.New("name the secret's place with one of client_secret_env and client_secret_file, or say auth: none")
	case p.ClientSecretEnv != "":
		secret = os.Getenv(p.ClientSecretEnv)
	default:
		raw, err := os.ReadFile(p.ClientSecretFile)
		if err != nil {
			return "", fmt.Errorf("reading the client secret: %w", err)
		}
		secret = strings.TrimSpace(string(raw))
	}
	if secret == "" {
		return "", errors.New("the client secret is empty")
	}
	return secret, nil
}

// authorizeURL is where the person's browser goes.
func (p *provider) authorizeURL(state, verifier string) string {
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier)}
	for name, value := range p.AuthorizeParams {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	if p.Resource != "" {
		options = append(options, oauth2.SetAuthURLParam("resource", p.Resource))
	}
	return p.oauth.AuthCodeURL(state, options...)
}

// allowed says which addresses the provider may be at.
func (p Provider) allowed() func(netip.Addr) bool {
	if p.AllowPrivate {
		return netip.Addr.IsLoopback
	}
	return auth.Public
}

// maxLabel bounds what people call a provider and a provider calls an account, in bytes.
const maxLabel = 80

func label(s string) bool {
	return len(s) <= maxLabel && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
