package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/auth/authtest"
	"github.com/dtcgate/dtcgate/auth/secret"
)

const publicURL = "https://gate.example.com"

// trusting gives issuers that trust one, with changes to its settings.
func trusting(t testing.TB, from *authtest.Issuer, change func(*Issuer)) *Issuers {
	t.Helper()
	c := Issuer{
		Name: "test", Issuer: from.URL, JWKSURL: from.KeysURL(), Claims: ClaimNames{Merchant: "merchant"}, Scopes: []string{"orders:read", "orders:write", "catalog:read", "store:read"},
	}
	if change != nil {
		change(&c)
	}
	all, err := NewIssuers(publicURL, []Issuer{c}, func(err error) { t.Log(err) })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAGoodTokenSaysWhoCallsAndWhatFor(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Now()
	issuers := trusting(t, from, func(c *Issuer) {
		c.Claims.Owner, c.Ceiling, c.Algorithms = "sub", "low", []string{"RS256", "ES256", "EdDSA", "PS256"}
	})
	claims := from.Claims(now, map[string]any{"scope": "orders:write openid orders:refund catalog:read admin *:read"})
	exp := time.Unix(claims["exp"].(int64), 0).UTC().Add(defaultLeeway)
	want := Token{
		Issuer: from.URL, Subject: "robot", Merchant: "demo", Owner: "robot", Scopes: []Scope{"catalog:read", "orders:write"}, Ceiling: 1, ExpiresAt: exp,
	}
	for alg, kid := range map[string]string{"ES256": "es", "RS256": "rs", "EdDSA": "ed"} {
		got, err := issuers.Verify(t.Context(), from.Sign(t, map[string]any{"alg": alg, "typ": "application/AT+jwt", "kid": kid}, claims), now)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", alg, err, diff)
		}
	}
}

// TestWhatATokenMayNotBe is the table of attacks on JWTs (RFC 8725, and threat T13): every row is signed by the issuer with
// the right key unless it says otherwise.
func TestWhatATokenMayNotBe(t *testing.T) {
	from, other, now := authtest.NewIssuer(t), authtest.NewIssuer(t), time.Now()
	issuers := trusting(t, from, func(c *Issuer) { c.Require, c.Claims.Owner = map[string]string{"env": "prod"}, "owner" })
	good := map[string]any{"env": "prod", "owner": "mara"}
	table := badTokens(t, from, other, now, good)
	if _, err := issuers.Verify(t.Context(), from.Token(t, now, good), now); err != nil {
		t.Fatalf("the token that all others are made of: %v", err)
	}
	for name, c := range table {
		got, err := issuers.Verify(t.Context(), c.token, now)
		if why(err) != c.why || !errors.Is(err, ErrUnknownCredential) || got.Subject != "" || strings.Contains(err.Error(), from.URL) {
			t.Errorf("%s: %+v, %v, want %s", name, got, err, c.why)
		}
	}
}

type badToken struct{ token, why string }

func badTokens(t testing.TB, from, other *authtest.Issuer, now time.Time, good map[string]any) map[string]badToken {
	t.Helper()
	all := map[string]badToken{}
	maps.Copy(all, badHeaders(t, from, other, now, good))
	maps.Copy(all, badClaims(t, from, now, good))
	maps.Copy(all, badForms(t, from, now, good))
	return all
}

// badHeaders are good claims under another header or another signature.
func badHeaders(t testing.TB, from, other *authtest.Issuer, now time.Time, good map[string]any) map[string]badToken {
	t.Helper()
	claims := from.Claims(now, good)
	text, header := asJSON(t, claims), authtest.Header()
	signed := func(changes map[string]any) string {
		return from.SignText(t, asJSON(t, authtest.With(header, changes)), text, "ES256", "es")
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from.SetKey("p384", p384)
	public, err := x509.MarshalPKIXPublicKey(&p384.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hs256 := asJSON(t, map[string]any{"alg": "HS256", "typ": "at+jwt", "kid": "p384"})
	mine := authtest.NewKey(t)
	return map[string]badToken{
		"alg none":                          {authtest.SignWith(t, asJSON(t, authtest.With(header, map[string]any{"alg": "none"})), text, "none", jwt.UnsafeAllowNoneSignatureType), whyMalformed},
		"alg none with a signature":         {signed(map[string]any{"alg": "none"}), whyAlgorithm},
		"alg nOnE":                          {signed(map[string]any{"alg": "nOnE"}), whyAlgorithm},
		"no alg":                            {signed(map[string]any{"alg": nil}), whyAlgorithm},
		"alg a number":                      {signed(map[string]any{"alg": 256}), whyMalformed},
		"HS256 with the public key":         {authtest.SignWith(t, hs256, text, "HS256", public), whyAlgorithm},
		"an algorithm that is not agreed":   {signed(map[string]any{"alg": "ES512"}), whyAlgorithm},
		"the algorithm of another key kind": {signed(map[string]any{"alg": "RS256"}), whySignature},
		"the key says another algorithm":    {signed(map[string]any{"kid": "rs"}), whyKey},
		"a key of another curve":            {signed(map[string]any{"kid": "p384"}), whySignature},
		"no kid":                            {signed(map[string]any{"kid": nil}), whyKey},
		"kid a number":                      {signed(map[string]any{"kid": 1}), whyMalformed},
		"kid a path":                        {signed(map[string]any{"kid": "../../../../dev/null"}), whyKey},
		"kid an address":                    {signed(map[string]any{"kid": other.KeysURL()}), whyKey},
		"kid SQL":                           {signed(map[string]any{"kid": "x' UNION SELECT 'key"}), whyKey},
		"signed by another issuer":          {other.SignText(t, asJSON(t, header), text, "ES256", "es"), whySignature},
		"brings its own key (jwk)":          {authtest.SignWith(t, asJSON(t, authtest.With(header, map[string]any{"jwk": authtest.JWK("es", mine.Public())})), text, "ES256", mine), whySignature},
		"says where its key is (jku)":       {other.SignText(t, asJSON(t, authtest.With(header, map[string]any{"jku": other.KeysURL(), "x5u": other.KeysURL()})), text, "ES256", "es"), whySignature},
		"crit":                              {signed(map[string]any{"crit": []string{"b64"}, "b64": false}), whyMalformed},
		"crit of nothing":                   {from.SignText(t, `{"alg":"ES256","typ":"at+jwt","kid":"es","crit":null}`, text, "ES256", "es"), whyMalformed},
		"typ of an ID token":                {signed(map[string]any{"typ": "id+jwt"}), whyType},
		"typ of a logout token":             {signed(map[string]any{"typ": "logout+jwt"}), whyType},
		"no typ":                            {signed(map[string]any{"typ": nil}), whyType},
		"alg there twice":                   {from.SignText(t, `{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"es"}`, text, "ES256", "es"), whyMalformed},
		"alg in another case":               {from.SignText(t, `{"ALG":"ES256","typ":"at+jwt","kid":"es"}`, text, "ES256", "es"), whyAlgorithm},
	}
}

// badClaims are under a good header and well signed.
func badClaims(t testing.TB, from *authtest.Issuer, now time.Time, good map[string]any) map[string]badToken {
	t.Helper()
	bad := func(why string, changes map[string]any) badToken {
		all := maps.Clone(good)
		maps.Copy(all, changes)
		return badToken{from.Token(t, now, all), why}
	}
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	const claim = "claim missing"
	return map[string]badToken{
		"expired":                    bad(whyExpired, map[string]any{"exp": at(-time.Hour)}),
		"expired beyond the leeway":  bad(whyExpired, map[string]any{"exp": at(-31 * time.Second)}),
		"no exp":                     bad(claim, map[string]any{"exp": nil}),
		"exp 0":                      bad(claim, map[string]any{"exp": 0}),
		"exp a text":                 bad(whyClaims, map[string]any{"exp": "4102444800"}),
		"nbf in the future":          bad(whyNotYet, map[string]any{"nbf": at(time.Minute)}),
		"iat in the future":          bad(whyNotYet, map[string]any{"iat": at(time.Minute)}),
		"no iat":                     bad(claim, map[string]any{"iat": nil}),
		"older than max_age":         bad(whyTooOld, map[string]any{"iat": at(-25 * time.Hour)}),
		"iss of somebody else":       bad(whyIssuer, map[string]any{"iss": "https://login.example.com"}),
		"iss with a slash more":      bad(whyIssuer, map[string]any{"iss": from.URL + "/"}),
		"no iss":                     bad(whyIssuer, map[string]any{"iss": nil}),
		"iss a list":                 bad(whyIssuer, map[string]any{"iss": []string{from.URL}}),
		"aud of another API":         bad(whyAudience, map[string]any{"aud": "https://api.example.com"}),
		"aud a list without us":      bad(whyAudience, map[string]any{"aud": []string{"https://api.example.com", publicURL + "/mcp/x"}}),
		"aud begins like ours":       bad(whyAudience, map[string]any{"aud": publicURL + ".evil.example"}),
		"no aud":                     bad(claim, map[string]any{"aud": nil}),
		"aud of nobody":              bad(claim, map[string]any{"aud": []string{}}),
		"aud a number":               bad(claim, map[string]any{"aud": 1}),
		"no sub":                     bad(claim, map[string]any{"sub": nil}),
		"sub of nothing":             bad(claim, map[string]any{"sub": " "}),
		"sub a number":               bad(claim, map[string]any{"sub": 1}),
		"sub with a line break":      bad(claim, map[string]any{"sub": "robot\nroot"}),
		"sub without end":            bad(claim, map[string]any{"sub": strings.Repeat("x", maxSubject+1)}),
		"no merchant":                bad(claim, map[string]any{"merchant": nil}),
		"no owner":                   bad(claim, map[string]any{"owner": nil}),
		"scope a number":             bad(whyClaims, map[string]any{"scope": 7}),
		"scope a list of numbers":    bad(whyClaims, map[string]any{"scope": []any{"orders:read", 7}}),
		"a required claim missing":   bad(whyClaims, map[string]any{"env": nil}),
		"a required claim otherwise": bad(whyClaims, map[string]any{"env": "test"}),
		"nonce, as in an ID token":   bad(whyType, map[string]any{"nonce": "n"}),
		"at_hash, as in an ID token": bad(whyType, map[string]any{"at_hash": "x"}),
		"a refresh token":            bad(whyType, map[string]any{"typ": "Refresh"}),
	}
}

// badForms are no tokens, or such that two readers could read in two ways.
func badForms(t testing.TB, from *authtest.Issuer, now time.Time, good map[string]any) map[string]badToken {
	t.Helper()
	token := from.Token(t, now, good)
	parts := strings.Split(token, ".")
	claims := asJSON(t, from.Claims(now, good))
	signed := func(claims string) badToken {
		return badToken{from.SignText(t, asJSON(t, authtest.Header()), claims, "ES256", "es"), whyMalformed}
	}
	return map[string]badToken{
		"two parts":                    {parts[0] + "." + parts[1], whyMalformed},
		"four parts":                   {token + "." + parts[2], whyMalformed},
		"no signature":                 {parts[0] + "." + parts[1] + ".", whyMalformed},
		"another signature":            {parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)), whySignature},
		"a claim changed":              {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(claims, "robot", "admin", 1))) + "." + parts[2], whySignature},
		"padding":                      {token + "==", whyMalformed},
		"a line break in a part":       {parts[0] + "." + parts[1][:8] + "\n" + parts[1][8:] + "." + parts[2], whyMalformed},
		"a line break at the end":      {token + "\n", whyMalformed},
		"bits left over":               {leftover(t, parts), whyMalformed},
		"the other base64":             {strings.Join(parts[:2], ".") + ".+/" + parts[2][2:], whyMalformed},
		"larger than 8 KiB":            {from.Token(t, now, authtest.With(good, map[string]any{"pad": strings.Repeat("x", maxJWT)})), whyMalformed},
		"a claim there twice":          signed(strings.Replace(claims, `"sub"`, `"sub":"root","sub"`, 1)),
		"a claim there in two cases":   signed(strings.Replace(claims, `"sub"`, `"SUB":"root","sub"`, 1)),
		"a name that folds onto iss":   signed(strings.Replace(claims, `"sub"`, `"iſs":"root","sub"`, 1)),
		"a half surrogate":             signed(strings.Replace(claims, `robot`, `robot\ud800`, 1)),
		"NUL":                          signed(strings.Replace(claims, `robot`, `robot\u0000`, 1)),
		"text after the claims":        signed(claims + `{}`),
		"claims a list":                signed(`[` + claims + `]`),
		"claims null":                  signed(`null`),
		"nested without end":           signed(strings.Repeat(`[`, 2000) + strings.Repeat(`]`, 2000)),
		"exp beyond all numbers":       signed(strings.Replace(claims, `"exp":`, `"exp":1e400,"x":`, 1)),
		"exp that wraps round":         signed(strings.Replace(claims, `"exp":`, `"exp":9223372036854775807,"x":`, 1)),
		"encrypted, five parts":        {token + ".." + parts[0], whyMalformed},
		"only dots":                    {"..", whyMalformed},
		"a secret of ours between two": {"." + secret.New(secret.Key) + ".", whyMalformed},
	}
}

// leftover changes the bits of the signature's last character that stand for nothing.
func leftover(t testing.TB, parts []string) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	at := strings.IndexByte(alphabet, parts[2][len(parts[2])-1])
	other := parts[2][:len(parts[2])-1] + string(alphabet[at^1])
	a, _ := base64.RawURLEncoding.DecodeString(parts[2])
	b, err := base64.RawURLEncoding.DecodeString(other)
	if err != nil || string(a) != string(b) {
		t.Fatal("this is not the same signature in another form")
	}
	return parts[0] + "." + parts[1] + "." + other
}

func TestAKeyOnACurveSignsForThatCurveOnly(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Now()
	issuers := trusting(t, from, func(c *Issuer) { c.Algorithms = []string{"ES384"} })
	key := authtest.NewKey(t) // on P-256
	from.SetKey("es", key)
	text := base64.RawURLEncoding.EncodeToString
	signed := text([]byte(`{"alg":"ES384","typ":"at+jwt","kid":"es"}`)) + "." + text([]byte(asJSON(t, from.Claims(now, nil))))
	sum := sha512.Sum384([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := slices.Concat(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48)))
	if err := jwt.SigningMethodES384.Verify(signed, signature, &key.PublicKey); err != nil {
		t.Fatalf("the library itself refuses it now: %v", err)
	}
	if _, err := issuers.Verify(t.Context(), signed+"."+text(signature), now); why(err) != whySignature {
		t.Errorf("ES384 with a key on P-256: %v", err)
	}
}

func TestClocksMayDifferByTheLeewayAndNoMore(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Unix(1_800_000_000, 0)
	issuers := trusting(t, from, func(c *Issuer) { c.Leeway, c.MaxAge = time.Minute, time.Hour })
	for name, c := range map[string]struct {
		claim string
		by    time.Duration
		why   string
	}{
		"exp at the edge": {"exp", -time.Minute + time.Second, ""}, "exp over": {"exp", -time.Minute, whyExpired},
		"nbf at the edge": {"nbf", time.Minute, ""}, "nbf over": {"nbf", time.Minute + time.Second, whyNotYet},
		"iat at the edge": {"iat", time.Minute, ""}, "iat over": {"iat", time.Minute + time.Second, whyNotYet},
		"age at the edge": {"iat", -61 * time.Minute, ""}, "age over": {"iat", -61*time.Minute - time.Second, whyTooOld},
	} {
		_, err := issuers.Verify(t.Context(), from.Token(t, now, map[string]any{c.claim: now.Add(c.by).Unix()}), now)
		if why(err) != c.why || (err == nil) != (c.why == "") {
			t.Errorf("%s: %v, want %q", name, err, c.why)
		}
	}
}

// TestATokenForSomebodyElseIsRefused is threat T3: whatever stands in aud, one of our own addresses must be in it.
func TestATokenForSomebodyElseIsRefused(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Now()
	ours := trusting(t, from, nil)
	named := trusting(t, from, func(c *Issuer) { c.Audiences = []string{"api://dtcgate"} })
	for _, c := range []struct {
		aud         any
		ours, named bool
	}{
		{publicURL + "/mcp", true, false},
		{publicURL + "/mcp/", true, false},
		{publicURL, true, false},
		{publicURL + "/", true, false},
		{[]string{"https://other.example.com", publicURL}, true, false},
		{"api://dtcgate", false, true},
		{[]string{"api://dtcgate", publicURL}, true, true},
		{publicURL + "/MCP", false, false},
		{publicURL + "/mcp//", false, false},
		{publicURL + "/mcp?x", false, false},
		{"http://gate.example.com/mcp", false, false},
		{"https://GATE.example.com", false, false},
		{"gate.example.com", false, false},
		{"*", false, false},
	} {
		token := from.Token(t, now, map[string]any{"aud": c.aud})
		for issuers, want := range map[*Issuers]bool{ours: c.ours, named: c.named} {
			if _, err := issuers.Verify(t.Context(), token, now); (err == nil) != want {
				t.Errorf("aud %v, configured %t: %v", c.aud, issuers == named, err)
			}
		}
	}
}

func TestScopesAreTextOrAListAndNeverMoreThanTheIssuerMayGive(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Now()
	standard, named := trusting(t, from, nil), trusting(t, from, func(c *Issuer) { c.Claims.Scopes = "permissions" })
	for _, c := range []struct {
		issuers *Issuers
		claims  map[string]any
		want    []Scope
	}{
		{standard, map[string]any{"scope": "orders:read  store:read"}, []Scope{"orders:read", "store:read"}},
		{standard, map[string]any{"scope": []string{"orders:write", "orders:read"}}, []Scope{"orders:read", "orders:write"}},
		{standard, map[string]any{"scope": nil, "scp": []string{"orders:read"}}, []Scope{"orders:read"}},
		{standard, map[string]any{"scope": nil, "scp": "orders:read"}, []Scope{"orders:read"}},
		{standard, map[string]any{"scope": "orders:read", "scp": "store:read"}, []Scope{"orders:read"}},
		{standard, map[string]any{"scope": "marketing:send customers:erase"}, nil},
		{standard, map[string]any{"scope": "*:read orders:* * approvals:resolve keys:admin"}, nil},
		{standard, map[string]any{"scope": nil}, nil},
		{standard, map[string]any{"scope": ""}, nil},
		{named, map[string]any{"permissions": []string{"orders:read"}, "scope": "store:read"}, []Scope{"orders:read"}},
		{named, map[string]any{"scope": "store:read"}, nil},
	} {
		got, err := c.issuers.Verify(t.Context(), from.Token(t, now, c.claims), now)
		if diff := cmp.Diff(c.want, got.Scopes); diff != "" || err != nil {
			t.Errorf("%v: %v\n%s", c.claims, err, diff)
		}
	}
}

func TestARequiredClaimMayStandInAList(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Now()
	issuers := trusting(t, from, func(c *Issuer) { c.Require = map[string]string{"groups": "agents"} })
	for _, c := range []struct {
		groups any
		ok     bool
	}{{"agents", true}, {[]any{1, map[string]any{}, "agents"}, true}, {[]string{"people"}, false}, {"agents people", false}, {map[string]any{"agents": true}, false}, {true, false}} {
		if _, err := issuers.Verify(t.Context(), from.Token(t, now, map[string]any{"groups": c.groups}), now); (err == nil) != c.ok {
			t.Errorf("groups %v: %v", c.groups, err)
		}
	}
}

func TestAnIssuerThatWouldLetInTooManyIsNotTaken(t *testing.T) {
	good := Issuer{Name: "sso", Issuer: "https://login.example.com", JWKSURL: "https://login.example.com/keys", Merchant: "demo", Scopes: []string{"orders:*"}}
	if _, err := NewIssuers(publicURL, []Issuer{good}, nil); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Issuer){
		`"none" is not one of`:       func(c *Issuer) { c.Algorithms = []string{"RS256", "none"} },
		`"HS256" is not one of`:      func(c *Issuer) { c.Algorithms = []string{"HS256"} },
		`"" is not one of`:           func(c *Issuer) { c.Algorithms = []string{""} },
		"name: ":                     func(c *Issuer) { c.Name = "" },
		`issuer: "login`:             func(c *Issuer) { c.Issuer = "login.example.com" },
		`issuer: "http:`:             func(c *Issuer) { c.Issuer = "http://login.example.com" },
		"audiences: ":                func(c *Issuer) { c.Audiences = []string{"a", ""} },
		"leeway: 6m0s":               func(c *Issuer) { c.Leeway = 6 * time.Minute },
		"leeway: -1s":                func(c *Issuer) { c.Leeway = -time.Second },
		"max_age: 1000h":             func(c *Issuer) { c.MaxAge = 1000 * time.Hour },
		"either merchant":            func(c *Issuer) { c.Claims.Merchant = "org" },
		"whom its tokens are for":    func(c *Issuer) { c.Merchant = "" },
		"at most":                    func(c *Issuer) { c.Scopes = nil },
		`scope "orders:all" does`:    func(c *Issuer) { c.Scopes = []string{"orders:all"} },
		`scope "approvals:resolve" `: func(c *Issuer) { c.Scopes = []string{"approvals:resolve"} },
		"ceiling: ":                  func(c *Issuer) { c.Ceiling = "huge" },
		"jwks_url: ":                 func(c *Issuer) { c.JWKSURL = "http://login.example.com/keys" },
	} {
		c := good
		change(&c)
		if _, err := NewIssuers(publicURL, []Issuer{c}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := NewIssuers(publicURL, []Issuer{good, good}, nil); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same issuer twice: %v", err)
	}
	if _, err := NewIssuers(publicURL, make([]Issuer, maxIssuers+1), nil); err == nil {
		t.Error("issuers without end were taken")
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func BenchmarkVerify(b *testing.B) {
	from, now := authtest.NewIssuer(b), time.Now()
	issuers := trusting(b, from, nil)
	for alg, kid := range map[string]string{"ES256": "es", "RS256": "rs", "EdDSA": "ed"} {
		token := from.Sign(b, map[string]any{"alg": alg, "typ": "at+jwt", "kid": kid}, from.Claims(now, nil))
		b.Run(alg, func(b *testing.B) {
			for b.Loop() {
				if _, err := issuers.Verify(b.Context(), token, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
