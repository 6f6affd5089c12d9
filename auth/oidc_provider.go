package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"golang.org/x/oauth2"
)

const (
	providerTurns = 8         // exchanges at once: whoever comes with a made-up code costs the provider a request
	metadataTime  = time.Hour // how long what a provider says about itself is believed
	maxDocument   = 256 << 10 // of a provider's metadata or keys, in bytes
)

// A provider is an identity provider as it describes itself (OpenID Connect Discovery 1.0).
type provider struct {
	issuer string
	local  bool // it is on this machine
	http   *http.Client
	turns  chan struct{}
	known  chan metadata // holds the one that was read last; empty while somebody reads it anew
}

// newProvider is the issuer at u. It is asked like every service outside: at public addresses, and without following redirects, which would carry
// the client's secret and the code to wherever they point.
func newProvider(issuer string, u *url.URL) provider {
	p := provider{
		issuer: issuer, local: isLoopback(u), http: OutboundClient(u),
		turns: make(chan struct{}, providerTurns), known: make(chan metadata, 1),
	}
	p.known <- metadata{}
	return p
}

// metadata is what a provider says about itself, as far as it matters here.
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Keys          string   `json:"jwks_uri"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
	SendsIssuer   bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207, 3

	read time.Time
}

// metadata gives what the provider says about itself, read at most once an hour. Callers wait for one that reads.
func (p provider) metadata(ctx context.Context) (metadata, error) {
	var m metadata
	select {
	case m = <-p.known:
	case <-ctx.Done():
		return metadata{}, ctx.Err()
	}
	defer func() { p.known <- m }()
	if time.Since(m.read) < metadataTime {
		return m, nil
	}
	fresh, err := p.discover(ctx)
	if err != nil {
		return metadata{}, err
	}
	m = fresh
	return m, nil
}

func (p provider) discover(ctx context.Context) (metadata, error) {
	raw, err := p.get(ctx, strings.TrimSuffix(p.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return metadata{}, err
	}
	m := metadata{read: time.Now()}
	if err := json.Unmarshal(raw, &m); err != nil {
		return metadata{}, fmt.Errorf("%w: its metadata is not JSON", ErrProvider)
	}
	if m.Issuer != p.issuer { // Discovery 1.0, 4.3
		return metadata{}, fmt.Errorf("%w: its metadata is that of another issuer", ErrProvider)
	}
	for _, endpoint := range []string{m.Authorization, m.Token, m.Keys} {
		if err := checkEndpoint(endpoint, p.local); err != nil {
			return metadata{}, fmt.Errorf("%w: one of its endpoints is not an https address", ErrProvider)
		}
	}
	return m, nil
}

// keys reads the provider's public keys. They are read for each sign-in, which are few: so a key that was withdrawn is not believed.
func (p provider) keys(ctx context.Context, m metadata) (keyfunc.Keyfunc, error) {
	raw, err := p.get(ctx, m.Keys)
	if err != nil {
		return nil, err
	}
	keys, err := keyfunc.NewJWKSetJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: its keys cannot be read", ErrProvider)
	}
	return keys, nil
}

func (p provider) get(ctx context.Context, address string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProvider, err)
	}
	resp, err := p.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProvider, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s answered %d", ErrProvider, r.URL.Path, resp.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil || len(raw) > maxDocument {
		return nil, fmt.Errorf("%w: %s gave more than %d bytes, or broke off", ErrProvider, r.URL.Path, maxDocument)
	}
	return raw, nil
}

// turn waits until few enough are at the provider, and gives what to call at the end.
func (p provider) turn(ctx context.Context) (done func(), err error) {
	select {
	case p.turns <- struct{}{}:
		return func() { <-p.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// style is how this server authenticates at the token endpoint: in a header unless the provider takes it in the body only (Core 1.0, 9).
func (m metadata) style(secret string) oauth2.AuthStyle {
	basic := len(m.AuthMethods) == 0 || slices.Contains(m.AuthMethods, "client_secret_basic")
	if secret != "" && basic {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

// checkEndpoint holds an address of a provider to https. With local, plain http to this machine will do: a provider under development.
func checkEndpoint(address string, local bool) error {
	u, err := ParseOutbound(address)
	if err == nil && isLoopback(u) && !local {
		err = ErrNotPublic
	}
	return err
}
