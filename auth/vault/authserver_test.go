package vault

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"
)

// planted stands in everything that must not get out, so that one search finds it all.
const planted = "PLANTED"

// An authServer is a provider's authorization server. It holds the client to OAuth 2.1: PKCE with S256, exact redirect
// addresses, codes that are good once, and refresh tokens that are replaced at each use. One that is used again ends its
// grant (RFC 9700, section 4.14.2).
type authServer struct {
	*httptest.Server
	t        testing.TB
	redirect string
	auth     string // how the client must authenticate
	resource string
	lifetime int // of access tokens, in seconds; 0: it does not say

	mu       sync.Mutex
	codes    map[string]*grant
	current  map[string]*grant // by the refresh token that is good
	used     map[string]*grant // by those that were
	revoked  []string
	asked    int // requests to the token endpoint
	reused   int
	complain []string
	forgives bool // a revoked grant goes on

	during func()                                            // runs while a token request waits for its answer
	answer func(w http.ResponseWriter, r *http.Request) bool // answers in its place, when it says so
}

type grant struct {
	user      string
	challenge string
	dead      bool
	access    string
	number    int
}

const (
	clientID     = "client-1"
	clientSecret = planted + "-client-secret+/&="
)

func newAuthServer(t testing.TB) *authServer {
	s := &authServer{
		t: t, auth: "basic", lifetime: 3600,
		codes: map[string]*grant{}, current: map[string]*grant{}, used: map[string]*grant{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /revoke", s.revoke)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.complain {
			t.Errorf("the authorization server was asked wrongly: %s", c)
		}
	})
	return s
}

// describes is the server as a configuration has it.
func (s *authServer) describes(t testing.TB, name string) Provider {
	t.Setenv("TEST_CLIENT_SECRET", clientSecret)
	s.redirect = "https://gate.example/connect/" + name + "/callback"
	return Provider{
		Name: name, Title: "Acme", AuthorizeURL: s.URL + "/authorize", TokenURL: s.URL + "/token", RevokeURL: s.URL + "/revoke",
		ClientID: clientID, ClientSecretEnv: "TEST_CLIENT_SECRET", Auth: "basic", Scopes: []string{"ads.read", "ads.write"}, AllowPrivate: true,
		AccountField: "account", AuthorizeParams: map[string]string{"access_type": "offline"},
	}
}

func (s *authServer) wrong(format string, args ...any) {
	s.complain = append(s.complain, fmt.Sprintf(format, args...))
}

// authorize lets in whoever the browser's cookie names.
func (s *authServer) authorize(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": clientID, "redirect_uri": s.redirect, "code_challenge_method": "S256",
		"scope": "ads.read ads.write", "access_type": "offline", "resource": s.resource,
	} {
		if got := q.Get(name); got != want {
			s.wrong("authorize: %s = %q, not %q", name, got, want)
		}
	}
	if len(q.Get("state")) < 22 || len(q.Get("code_challenge")) != 43 {
		s.wrong("authorize: state %q, challenge %q", q.Get("state"), q.Get("code_challenge"))
	}
	code := planted + "-code-" + rand.Text()
	user, _ := r.Cookie("user")
	s.codes[code] = &grant{user: user.Value, challenge: q.Get("code_challenge")}
	http.Redirect(w, r, s.redirect+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

// answers lets fn answer requests for tokens, as far as it reports that it did; nil ends that.
func (s *authServer) answers(fn func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = fn
}

// meanwhile lets fn happen while a token is asked for; nil ends that.
func (s *authServer) meanwhile(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.during = fn
}

func (s *authServer) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	during := s.during
	s.mu.Unlock()
	if during != nil {
		during()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.answer != nil && s.answer(w, r) {
		return
	}
	if !s.client(r) {
		refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	if got := r.PostFormValue("resource"); got != s.resource {
		s.wrong("token: resource %q, not %q", got, s.resource)
	}
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		s.fromCode(w, r)
	case "refresh_token":
		s.fromRefresh(w, r)
	default:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type")
	}
}

func (s *authServer) client(r *http.Request) bool {
	id, secret, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if basic != (s.auth == "basic") || r.URL.RawQuery != "" {
		s.wrong("token: client authentication is not %s, or stands in the address", s.auth)
	}
	return id == clientID && (secret == clientSecret || s.auth == "none" && secret == "")
}

func (s *authServer) fromCode(w http.ResponseWriter, r *http.Request) {
	g := s.codes[r.PostFormValue("code")]
	delete(s.codes, r.PostFormValue("code"))
	if g == nil || oauth2.S256ChallengeFromVerifier(r.PostFormValue("code_verifier")) != g.challenge || r.PostFormValue("redirect_uri") != s.redirect {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	s.give(w, g)
}

func (s *authServer) fromRefresh(w http.ResponseWriter, r *http.Request) {
	token := r.PostFormValue("refresh_token")
	if g := s.used[token]; g != nil {
		s.reused++
		g.dead = true
	}
	g := s.current[token]
	if g == nil || g.dead {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	delete(s.current, token)
	s.used[token] = g
	s.give(w, g)
}

func (s *authServer) give(w http.ResponseWriter, g *grant) {
	g.number++
	g.access = fmt.Sprintf("%s-access-%s-%d-%s", planted, g.user, g.number, rand.Text())
	refresh := planted + "-refresh-" + g.user + "-" + rand.Text()
	s.current[refresh] = g
	answer := map[string]any{"access_token": g.access, "token_type": "bearer", "refresh_token": refresh, "account": "Account of " + g.user}
	if s.lifetime > 0 {
		answer["expires_in"] = s.lifetime
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q,"error_description":"%s in a description","error_uri":"https://%s.example/"}`, code, planted, planted)
}

func (s *authServer) revoke(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.client(r) {
		s.wrong("revoke: wrong client")
	}
	token := r.PostFormValue("token")
	s.revoked = append(s.revoked, token)
	if g := s.current[token]; g != nil && !s.forgives {
		g.dead = true
	}
	w.WriteHeader(http.StatusOK)
}

// visit is what a browser does with the address that Begin gives: it goes there, the user agrees, and it is sent back.
func (s *authServer) visit(address, user string) Answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "user", Value: user})
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	answer.Body.Close()
	back, err := answer.Location()
	if err != nil || !strings.HasPrefix(back.String(), s.redirect+"?") {
		s.t.Fatalf("the provider sent the browser to %v: %v", back, err)
	}
	q := back.Query()
	return Answer{State: q.Get("state"), Code: q.Get("code"), Issuer: q.Get("iss"), Error: q.Get("error")}
}

// good reports whether an access token is the newest of a grant that is alive.
func (s *authServer) good(access string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.current {
		if g.access == access && !g.dead {
			return true
		}
	}
	return false
}

func (s *authServer) counts() (asked, reused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.reused
}
