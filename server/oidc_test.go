package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
)

// A desk is an identity provider of the tests' own. It holds this server to the protocol, and can be told to break it.
type desk struct {
	*testing.T
	*httptest.Server
	key   *ecdsa.PrivateKey
	now   func() time.Time
	mu    sync.Mutex
	codes map[string]url.Values // what a code was asked for with

	// What the next sign-in is to be like.
	user     string
	email    string
	signedIn time.Time                                    // auth_time; zero for none
	claims   func(jwt.MapClaims)                          // what else stands in the ID token
	sign     func(jwt.MapClaims) (string, error)          // nil: with the key
	told     func(map[string]any)                         // changes the metadata
	answer   func(w http.ResponseWriter, r *http.Request) // nil: the token endpoint works
}

const (
	deskClient = "dtcgate test"
	deskSecret = "s3cret: with/odd+signs%"
)

func newDesk(t *testing.T, now func() time.Time) *desk {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{T: t, key: key, now: now, codes: map[string]url.Values{}, user: "u1", email: "mia@example.com"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", d.describe)
	mux.HandleFunc("GET /keys", d.keys)
	mux.HandleFunc("POST /token", d.token)
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	return d
}

func (d *desk) reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (d *desk) describe(w http.ResponseWriter, _ *http.Request) {
	about := map[string]any{
		"issuer": d.URL, "authorization_endpoint": d.URL + "/authorize?tenant=1", "token_endpoint": d.URL + "/token", "jwks_uri": d.URL + "/keys",
		"authorization_response_iss_parameter_supported": true,
	}
	if d.told != nil {
		d.told(about)
	}
	d.reply(w, about)
}

func (d *desk) keys(w http.ResponseWriter, _ *http.Request) {
	raw, err := d.key.PublicKey.Bytes()
	if err != nil {
		d.Error(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	d.reply(w, map[string]any{"keys": []any{map[string]string{"kty": "EC", "crv": "P-256", "kid": "k1", "x": b64(raw[1:33]), "y": b64(raw[33:])}}})
}

// visit is what the person's browser does at the provider: it opens the address, and is sent back with the parameters.
func (d *desk) visit(address string) url.Values {
	d.Helper()
	u, err := url.Parse(address)
	if err != nil {
		d.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": deskClient, "code_challenge_method": "S256", "scope": "openid email", "tenant": "1",
	} {
		if q.Get(name) != want {
			d.Errorf("%s is %q in the request", name, q.Get(name))
		}
	}
	if len(q.Get("state")) < 26 || len(q.Get("nonce")) < 26 || len(q.Get("code_challenge")) != 43 || !strings.HasSuffix(q.Get("redirect_uri"), auth.CallbackPath) {
		d.Errorf("the request is %v", q)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	code := rand.Text()
	d.codes[code] = q
	return url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {d.URL}}
}

func (d *desk) token(w http.ResponseWriter, r *http.Request) {
	if d.answer != nil {
		d.answer(w, r)
		return
	}
	_ = r.ParseForm()
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id) // RFC 6749, 2.3.1
	secret, _ = url.QueryUnescape(secret)
	d.mu.Lock()
	asked, known := d.codes[r.PostForm.Get("code")]
	delete(d.codes, r.PostForm.Get("code"))
	d.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	switch {
	case id != deskClient || secret != deskSecret:
		d.Errorf("the client says it is %q", id)
	case !known:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	case r.PostForm.Get("grant_type") != "authorization_code", r.PostForm.Get("redirect_uri") != asked.Get("redirect_uri"),
		base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge"):
		d.Errorf("the code is redeemed with %v, and was asked for with %v", r.PostForm, asked)
	}
	raw, err := d.idToken(asked.Get("nonce"))
	if err != nil {
		d.Error(err)
	}
	d.reply(w, map[string]any{"access_token": "unused", "token_type": "Bearer", "id_token": raw})
}

func (d *desk) idToken(nonce string) (string, error) {
	c := jwt.MapClaims{
		"iss": d.URL, "aud": deskClient, "sub": d.user, "nonce": nonce, "iat": d.now().Unix(), "exp": d.now().Add(time.Minute).Unix(),
		"email": d.email, "email_verified": true,
	}
	if !d.signedIn.IsZero() {
		c["auth_time"] = d.signedIn.Unix()
	}
	if d.claims != nil {
		d.claims(c)
	}
	if d.sign != nil {
		return d.sign(c)
	}
	return signed(c, jwt.SigningMethodES256, "k1", d.key)
}

func signed(c jwt.MapClaims, method jwt.SigningMethod, kid string, key any) (string, error) {
	token := jwt.NewWithClaims(method, c)
	token.Header["kid"] = kid
	return token.SignedString(key)
}

// atDesk is a rig whose people sign in at a desk.
func atDesk(t *testing.T) (*rig, *desk, *moment) {
	t.Helper()
	g, m := newPages(t)
	d := newDesk(t, m.now)
	g.provider(d)
	g.must(g.db.InTx(t.Context(), func(tx *store.Tx) error { return auth.SetEmail(tx, g.store, g.ids["mia"], "mia@example.com") }))
	return g, d, m
}

// provider has people sign in at a desk.
func (g *rig) provider(d *desk) {
	g.Helper()
	o, err := auth.NewOIDC(auth.OIDCConfig{Issuer: d.URL, ClientID: deskClient, ClientSecret: deskSecret, Domains: []string{"example.com"}}, d.now)
	g.must(err)
	g.gate = gate.New(gate.Config{DB: g.db, Tools: fakes, Log: zerolog.New(g.log), Exports: g.exports, OIDC: o})
	g.server.gate = g.gate
}

// goes begins to sign in at the provider and gives the address there and the header that the browser brings back.
func (g *rig) goes(headers ...string) (address, cookie string) {
	g.Helper()
	resp, text := g.once("GET", "/sign-in/oidc?next=/approvals", "", append(headers, asPage)...)
	if resp.StatusCode != http.StatusSeeOther {
		g.Fatalf("%s %s", resp.Status, text)
	}
	c := g.given(resp, ceremonyCookie)
	if !c.Secure || !c.HttpOnly || c.MaxAge != 600 || c.SameSite != http.SameSiteLaxMode || c.Domain != "" || c.Path != "/" {
		g.Errorf("the cookie of the ceremony is %v", c)
	}
	return resp.Header.Get("Location"), "Cookie: " + ceremonyCookie + "=" + c.Value
}

// comes brings back what the provider answered, and gives the cookie of the session, "" for none.
func (g *rig) comes(answer url.Values, headers ...string) (session string, status int) {
	g.Helper()
	resp, _ := g.once("GET", auth.CallbackPath+"?"+answer.Encode(), "", append(headers, asPage)...)
	for _, c := range resp.Cookies() {
		if c.Name == sessionCookie && c.Value != "" {
			session = "Cookie: " + sessionCookie + "=" + c.Value
		}
	}
	if (session != "") != (resp.StatusCode == http.StatusSeeOther && resp.Header.Get("Location") == "/approvals") {
		g.Errorf("%s to %s with the session %q", resp.Status, resp.Header.Get("Location"), session)
	}
	return session, resp.StatusCode
}

func TestAPersonSignsInAtTheProvider(t *testing.T) {
	g, d, _ := atDesk(t)
	if _, text := g.once("GET", "/sign-in", "", asPage); !strings.Contains(text, "Sign in at 127.0.0.1") {
		t.Error("the page does not offer it")
	}
	address, cookie := g.goes()
	session, status := g.comes(d.visit(address), cookie)
	if session == "" {
		t.Fatal(status)
	}
	if resp, text := g.once("GET", "/me", "", asPage, session); resp.StatusCode != 200 || !strings.Contains(text, "mia") {
		t.Errorf("%s %s", resp.Status, text)
	}
	if log := g.log.String(); strings.Contains(log, "code=") || strings.Contains(log, "state=") || strings.Contains(log, "s3cret") {
		t.Error("the answer is in the log")
	}
}

// T2, T4: an answer counts once, with its own state, in the browser that asked, from the issuer that was asked, and in time.
func TestAnAnswerOfTheProviderThatWasNotAskedFor(t *testing.T) {
	g, d, m := atDesk(t)
	address, cookie := g.goes()
	other, otherCookie := g.goes()
	for name, c := range map[string]struct {
		change  func(url.Values)
		headers []string
		why     string
	}{
		"without a state":      {func(q url.Values) { q.Del("state") }, []string{cookie}, "state"},
		"an empty state":       {func(q url.Values) { q.Set("state", "") }, []string{cookie}, "state"},
		"a made-up state":      {func(q url.Values) { q.Set("state", rand.Text()) }, []string{cookie}, "state"},
		"two states":           {func(q url.Values) { q.Add("state", q.Get("state")) }, []string{cookie}, "state"},
		"the state of another": {func(q url.Values) { q.Set("state", d.visit(other).Get("state")) }, []string{cookie}, "state"},
		"in another browser":   {func(url.Values) {}, nil, "no ceremony"},
		"for another ceremony": {func(url.Values) {}, []string{otherCookie}, "state"},
		"two cookies":          {func(url.Values) {}, []string{cookie, otherCookie}, "no ceremony"},
		"of another issuer":    {func(q url.Values) { q.Set("iss", "https://evil.example") }, []string{cookie}, "issuer"},
		"of an issuer with /":  {func(q url.Values) { q.Set("iss", d.URL+"/") }, []string{cookie}, "issuer"},
		"of two issuers":       {func(q url.Values) { q.Add("iss", d.URL) }, []string{cookie}, "issuer"},
		"of no issuer":         {func(q url.Values) { q.Del("iss") }, []string{cookie}, "issuer"},
		"an error":             {func(q url.Values) { q.Set("error", "access_denied") }, []string{cookie}, "denied there"},
		"without a code":       {func(q url.Values) { q.Del("code") }, []string{cookie}, "code"},
		"two codes":            {func(q url.Values) { q.Add("code", "x") }, []string{cookie}, "code"},
		"a made-up code":       {func(q url.Values) { q.Set("code", "x") }, []string{cookie}, "code"},
	} {
		answer := d.visit(address)
		c.change(answer)
		if session, status := g.comes(answer, c.headers...); session != "" || status != 401 {
			t.Errorf("%s: %d %q", name, status, session)
		}
		g.refusedFor(c.why)
	}
	first, second := d.visit(address), d.visit(address)
	if session, status := g.comes(first, cookie); session == "" {
		t.Errorf("the right answer: %d", status)
	}
	if session, _ := g.comes(second, cookie); session != "" {
		t.Error("a state counts twice")
	}
	g.refusedFor("used")
	late, lateCookie := g.goes()
	answer := d.visit(late)
	m.pass(auth.CeremonyTime)
	if session, _ := g.comes(answer, lateCookie); session != "" {
		t.Error("an answer counts after ten minutes")
	}
	g.refusedFor("late")
}

func TestIDTokensThatAreNotForUs(t *testing.T) {
	g, d, m := atDesk(t)
	forger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	g.must(err)
	pub, err := d.key.PublicKey.Bytes()
	g.must(err)
	set := func(name string, value any) func(jwt.MapClaims) { return func(c jwt.MapClaims) { c[name] = value } }
	without := func(name string) func(jwt.MapClaims) { return func(c jwt.MapClaims) { delete(c, name) } }
	for name, change := range map[string]func(jwt.MapClaims){
		"another issuer":        set("iss", "https://evil.example"),
		"no issuer":             without("iss"),
		"another audience":      set("aud", "somebody else"),
		"also another audience": set("aud", []string{deskClient, "somebody else"}),
		"no audience":           without("aud"),
		"another party":         set("azp", "somebody else"),
		"another nonce":         set("nonce", rand.Text()),
		"no nonce":              without("nonce"),
		"no subject":            without("sub"),
		"an endless subject":    set("sub", strings.Repeat("a", 300)),
		"no end":                without("exp"),
		"an end in the past":    set("exp", m.now().Add(-2*time.Minute).Unix()),
		"made in the future":    set("iat", m.now().Add(time.Hour).Unix()),
		"not yet":               set("nbf", m.now().Add(time.Hour).Unix()),
	} {
		d.claims = change
		g.cannotSignIn(d, name)
	}
	d.claims = nil
	for name, sign := range map[string]func(jwt.MapClaims) (string, error){
		"alg none": func(c jwt.MapClaims) (string, error) {
			return signed(c, jwt.SigningMethodNone, "k1", jwt.UnsafeAllowNoneSignatureType)
		},
		"HS256 by pubkey": func(c jwt.MapClaims) (string, error) { return signed(c, jwt.SigningMethodHS256, "k1", pub) },
		"another key":     func(c jwt.MapClaims) (string, error) { return signed(c, jwt.SigningMethodES256, "k1", forger) },
		"an unknown kid":  func(c jwt.MapClaims) (string, error) { return signed(c, jwt.SigningMethodES256, "../k2", d.key) },
		"nonsense":        func(jwt.MapClaims) (string, error) { return "a.b.c", nil },
		"nothing":         func(jwt.MapClaims) (string, error) { return "", nil },
		"no signature": func(c jwt.MapClaims) (string, error) {
			raw, err := signed(c, jwt.SigningMethodES256, "k1", d.key)
			return raw[:strings.LastIndexByte(raw, '.')+1], err
		},
	} {
		d.sign = sign
		g.cannotSignIn(d, name)
	}
	d.sign = nil
	for name, change := range map[string]func(jwt.MapClaims){
		"an unverified address":       set("email_verified", false),
		"an address verified in text": set("email_verified", "true"),
		"an address of nobody":        set("email", "noa@example.com"),
	} {
		d.claims = change
		g.cannotSignIn(d, name)
	}
	d.claims = nil
	address, cookie := g.goes()
	if session, status := g.comes(d.visit(address), cookie); session == "" {
		t.Errorf("a good one: %d", status)
	}
}

func (g *rig) cannotSignIn(d *desk, name string) {
	g.Helper()
	address, cookie := g.goes()
	if session, status := g.comes(d.visit(address), cookie); session != "" || status != 401 {
		g.Errorf("%s: %d", name, status)
	}
}

func TestConfirmingAtTheProviderIsByTheSamePersonAndFresh(t *testing.T) {
	g, d, m := atDesk(t)
	address, cookie := g.goes()
	d.signedIn = m.now().Add(-8 * time.Hour)
	session, _ := g.comes(d.visit(address), cookie)
	if _, text := g.once("GET", "/me", "", asPage, session); !strings.Contains(text, "Confirm at") {
		t.Error("a password of this morning confirms who sits there now")
	}
	for name, c := range map[string]struct {
		user string
		at   time.Duration
		ok   bool
	}{
		"long ago": {"u1", -time.Hour, false}, "now": {"u1", 0, true},
	} {
		address, cookie := g.goes(session)
		q, _ := url.Parse(address)
		if q.Query().Get("prompt") != "login" || q.Query().Get("max_age") != "0" {
			t.Errorf("the provider is not asked to ask: %s", address)
		}
		d.signedIn = m.now().Add(c.at)
		if fresh, status := g.comes(d.visit(address), cookie, session); (fresh != "") != c.ok {
			t.Errorf("%s: %d", name, status)
		} else if c.ok {
			_, text := g.once("GET", "/me", "", asPage, fresh)
			if strings.Contains(text, "Confirm at") {
				t.Error("confirming does not confirm")
			}
			session = fresh
		}
	}
	g.person("noa")
	g.must(g.db.InTx(t.Context(), func(tx *store.Tx) error { return auth.SetEmail(tx, g.store, g.ids["noa"], "noa@example.com") }))
	address, cookie = g.goes(session)
	d.user, d.email, d.signedIn = "u2", "noa@example.com", m.now()
	if fresh, _ := g.comes(d.visit(address), cookie, session); fresh != "" {
		t.Error("somebody else confirms")
	}
	g.refusedFor("other person")
}

func TestAProviderThatIsOutOfOrder(t *testing.T) {
	const leak = "s3cret-detail"
	tell := func(name string, value any) func(map[string]any) { return func(m map[string]any) { m[name] = value } }
	for name, told := range map[string]func(map[string]any){
		"another issuer":       tell("issuer", "https://evil.example"),
		"a script as address":  tell("authorization_endpoint", "javascript:alert(1)"),
		"data as address":      tell("authorization_endpoint", "data:text/html,x"),
		"plain http elsewhere": tell("authorization_endpoint", "http://evil.example/authorize"),
		"no token endpoint":    tell("token_endpoint", ""),
		"keys in a file":       tell("jwks_uri", "file:///etc/passwd"),
		"endless":              tell("x", strings.Repeat("a", 300<<10)),
		"no text":              tell("issuer", 7),
	} {
		g, d, _ := atDesk(t)
		d.told = told
		resp, text := g.once("GET", "/sign-in/oidc", "", asPage)
		if resp.StatusCode != 503 || strings.Contains(text, "evil") || resp.Header.Get("Location") != "" {
			t.Errorf("%s: %s %s", name, resp.Status, text)
		}
	}
	g, d, _ := atDesk(t)
	for name, answer := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, leak, http.StatusInternalServerError) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example", http.StatusTemporaryRedirect)
		},
		"no ID token": func(w http.ResponseWriter, _ *http.Request) {
			d.reply(w, map[string]string{"access_token": leak, "token_type": "Bearer"})
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(leak)) },
	} {
		d.answer = answer
		address, cookie := g.goes()
		if session, status := g.comes(d.visit(address), cookie); session != "" || status != 503 {
			t.Errorf("%s: %d", name, status)
		}
	}
	if strings.Contains(g.log.String(), leak) {
		t.Error("what the provider said is in the log")
	}
}

func TestWithoutAProviderThereIsNone(t *testing.T) {
	g, _ := newPages(t)
	for _, path := range []string{"/sign-in/oidc", auth.CallbackPath + "?code=a&state=b"} {
		if resp, _ := g.once("GET", path, "", asPage); resp.StatusCode != 404 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

func TestPasskeyAnswersThatProveNothing(t *testing.T) {
	g, _ := newPages(t)
	g.server.public = "http://localhost"
	resp, text := g.once("POST", "/sign-in/passkey/options", `{"next":"//evil.example"}`, jsonBody)
	var options map[string]any
	if err := json.Unmarshal([]byte(text), &options); err != nil || resp.StatusCode != 200 || options["userVerification"] != "required" || options["rpId"] != "localhost" {
		t.Fatalf("%s %s", resp.Status, text)
	}
	cookie := "Cookie: " + ceremonyCookie + "=" + g.given(resp, ceremonyCookie).Value
	good := map[string]any{"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": map[string]any{
		"clientDataJSON": "e30", "authenticatorData": "AAAA", "signature": "AAAA", "userHandle": "AAAA",
	}}
	for name, change := range map[string]func(map[string]any){
		"made up": func(map[string]any) {}, "without an id": func(m map[string]any) { delete(m, "id") }, "without a response": func(m map[string]any) { delete(m, "response") },
		"of another type": func(m map[string]any) { m["type"] = "password" }, "with numbers": func(m map[string]any) { m["rawId"] = 7 },
	} {
		m := maps.Clone(good)
		change(m)
		raw, _ := json.Marshal(m)
		for _, headers := range [][]string{{jsonBody, cookie}, {jsonBody}} {
			if resp, text := g.once("POST", "/sign-in/passkey", string(raw), headers...); resp.StatusCode != 401 {
				t.Errorf("%s: %s %s", name, resp.Status, text)
			}
		}
	}
	for name, raw := range map[string]string{"nothing": "", "half": `{"id":`, "twice": `{"id":"a","id":"b"}`} {
		if resp, _ := g.once("POST", "/sign-in/passkey", raw, jsonBody, cookie); resp.StatusCode != 400 {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	g.server.public = ""
	if resp, _ := g.once("POST", "/sign-in/passkey/options", `{}`, jsonBody); resp.StatusCode != 404 {
		t.Errorf("under an IP address: %s", resp.Status)
	}
}
