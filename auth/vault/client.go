package vault

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/dtcgate/dtcgate/auth"
)

// Limits on what is asked of a provider.
const (
	askTime   = 10 * time.Second // for the whole exchange
	shakeTime = 5 * time.Second  // for the TLS handshake
	maxAnswer = 64 << 10         // bytes of an answer's body
	maxToken  = 16 << 10         // bytes of one token
	maxScopes = 100
)

// newClient makes an HTTP client for one provider. No two share one, so that no connection or credential of one can serve
// another. Proxies of the environment are not used, since they would dial for us and unchecked; redirects are answers like any other
// and no success; answers are bounded and not unpacked.
func newClient(allow func(netip.Addr) bool) *http.Client {
	return &http.Client{
		Timeout:       askTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: bounded{&http.Transport{
			Proxy: nil, DialContext: auth.Dialer(allow).DialContext, TLSHandshakeTimeout: shakeTime, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: 32 << 10, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		}},
	}
}

// bounded cuts answers at maxAnswer with an error: half a token must not look like one.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
	}
	return answer, err
}

// granted is what a provider answered, checked.
type granted struct {
	tokens
	lifetime time.Duration // of the access token; 0: the provider did not say
	scopes   []string      // nil: as asked for
	account  string
}

// slot waits until the provider may be asked one more question, and gives what ends it.
func (p *provider) slot(ctx context.Context) (release func(), err error) {
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// exchange turns an authorization code into tokens.
func (p *provider) exchange(ctx context.Context, code, verifier string) (granted, error) {
	options := []oauth2.AuthCodeOption{oauth2.VerifierOption(verifier)}
	if p.Resource != "" {
		options = append(options, oauth2.SetAuthURLParam("resource", p.Resource))
	}
	t, err := p.oauth.Exchange(context.WithValue(ctx, oauth2.HTTPClient, p.client), code, options...)
	if err != nil {
		return granted{}, failure(err)
	}
	return p.read(t)
}

// refresh asks for new tokens. oauth2.Config can refresh too, but not name the resource (RFC 8707, section 2.2); its
// sibling takes any parameter, the type of the grant included.
func (p *provider) refresh(ctx context.Context, refreshToken string) (granted, error) {
	params := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
	if p.Resource != "" {
		params.Set("resource", p.Resource)
	}
	c := clientcredentials.Config{
		ClientID: p.ClientID, ClientSecret: p.oauth.ClientSecret, TokenURL: p.TokenURL,
		AuthStyle: authStyles[p.Auth], EndpointParams: params,
	}
	t, err := c.Token(context.WithValue(ctx, oauth2.HTTPClient, p.client))
	if err != nil {
		return granted{}, failure(err)
	}
	return p.read(t)
}

// read checks an answer before any of it is kept. Tokens end up in headers of later requests, so they have the characters
// that RFC 6749, appendix A allows and no others.
func (p *provider) read(t *oauth2.Token) (granted, error) {
	g := granted{tokens: tokens{Access: t.AccessToken, Refresh: t.RefreshToken}}
	if !visible(t.AccessToken) || (t.RefreshToken != "" && !visible(t.RefreshToken)) || t.Type() != "Bearer" {
		return granted{}, &Failure{Code: failAnswer}
	}
	if !t.Expiry.IsZero() {
		g.lifetime = max(time.Until(t.Expiry), time.Second)
	}
	if text, ok := t.Extra("scope").(string); ok && text != "" {
		g.scopes = strings.Fields(text)
	}
	if len(g.scopes) > maxScopes {
		return granted{}, &Failure{Code: failAnswer}
	}
	for _, s := range g.scopes {
		if !scopeToken.MatchString(s) {
			return granted{}, &Failure{Code: failAnswer}
		}
	}
	if name, ok := t.Extra(cmp.Or(p.AccountField, "-")).(string); ok && label(name) {
		g.account = name
	}
	return g, nil
}

// visible reports whether s can be a token: 1 to maxToken characters of visible ASCII.
func visible(s string) bool {
	return s != "" && len(s) <= maxToken && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// revoke tells the provider that a grant is over (RFC 7009). The refresh token stands for the grant, the access token only
// for itself.
func (p *provider) revoke(ctx context.Context, t tokens) error {
	form := url.Values{"token": {cmp.Or(t.Refresh, t.Access)}, "token_type_hint": {"refresh_token"}}
	if t.Refresh == "" {
		form.Set("token_type_hint", "access_token")
	}
	if p.Auth != "basic" {
		form.Set("client_id", p.ClientID)
	}
	if p.Auth == "post" {
		form.Set("client_secret", p.oauth.ClientSecret)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.RevokeURL, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("revoking: %w", &Failure{Code: failReach})
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p.Auth == "basic" {
		r.SetBasicAuth(url.QueryEscape(p.ClientID), url.QueryEscape(p.oauth.ClientSecret)) // RFC 6749, section 2.3.1
	}
	answer, err := p.client.Do(r)
	if err != nil {
		return failure(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refusal(&oauth2.RetrieveError{Response: answer})
	}
	return nil
}
