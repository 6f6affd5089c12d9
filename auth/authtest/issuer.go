// Package authtest has a token service for tests: it signs tokens, well and badly, and serves its keys over HTTP.
package authtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Audience is what the tokens of an Issuer are for, unless a test says otherwise.
const Audience = "https://gate.example.com/mcp"

// An Issuer signs tokens. Its keys are es, rs and ed, with the algorithms ES256, RS256 and EdDSA.
type Issuer struct {
	URL string // its iss; the keys are at /keys

	mu    sync.Mutex
	keys  map[string]crypto.Signer // by kid
	asked int
	more  []map[string]any // further members of keys
	serve http.HandlerFunc // instead of the keys
}

// theRSA is one key for the whole process: making one takes long.
var theRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// NewIssuer starts an issuer that stops with the test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{keys: map[string]crypto.Signer{"es": NewKey(t), "rs": theRSA(), "ed": ed}}
	web := httptest.NewServer(i)
	t.Cleanup(web.Close)
	i.URL = web.URL
	return i
}

// NewKey makes a key for ES256.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// KeysURL is where the keys are.
func (i *Issuer) KeysURL() string { return i.URL + "/keys" }

// Asked is how often the keys were asked for.
func (i *Issuer) Asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// SetKey puts a key in place of the one with that kid; nil takes it away.
func (i *Issuer) SetKey(kid string, key crypto.Signer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys[kid] = key
	if key == nil {
		delete(i.keys, kid)
	}
}

// AddJWK serves one more key, as it is.
func (i *Issuer) AddJWK(jwk map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.more = append(i.more, jwk)
}

// Answer makes fn answer instead of the keys; nil brings them back.
func (i *Issuer) Answer(fn http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serve = fn
}

// ServeHTTP serves the keys, and refuses a question that carries a credential.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	switch {
	case r.Header.Get("Authorization") != "" || r.URL.Path != "/keys":
		http.Error(w, "not asked like that", http.StatusBadRequest)
	case i.serve != nil:
		i.serve(w, r)
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": i.set()})
	}
}

func (i *Issuer) set() []map[string]any {
	set := append([]map[string]any{}, i.more...)
	for kid, key := range i.keys {
		set = append(set, JWK(kid, key.Public()))
	}
	return set
}

// JWK is a public key in the form of RFC 7517.
func JWK(kid string, public crypto.PublicKey) map[string]any {
	text := base64.RawURLEncoding.EncodeToString
	switch k := public.(type) {
	case *rsa.PublicKey:
		return map[string]any{
			"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": text(k.N.Bytes()), "e": text(big.NewInt(int64(k.E)).Bytes()),
		}
	case *ecdsa.PublicKey:
		raw, err := k.Bytes() // 4, x, y
		if err != nil {
			panic(err)
		}
		half := len(raw) / 2
		return map[string]any{"kty": "EC", "kid": kid, "use": "sig", "crv": k.Params().Name, "x": text(raw[1 : half+1]), "y": text(raw[half+1:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "kid": kid, "use": "sig", "crv": "Ed25519", "x": text(k)}
	}
	panic(fmt.Sprintf("no JWK for a %T", public))
}

// Header is that of a good token, signed with the key es.
func Header() map[string]any { return map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": "es"} }

// Claims are those of a good token at that time, with changes made to them: a nil takes a claim away.
func (i *Issuer) Claims(now time.Time, changes map[string]any) map[string]any {
	return With(map[string]any{
		"iss": i.URL, "sub": "robot", "aud": Audience, "scope": "orders:read catalog:read", "merchant": "demo",
		"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}, changes)
}

// With gives members with changes: a nil takes one away.
func With(members, changes map[string]any) map[string]any {
	members = maps.Clone(members)
	maps.Copy(members, changes)
	maps.DeleteFunc(members, func(_ string, v any) bool { return v == nil })
	return members
}

// Token is a good token at that time, with changes to its claims.
func (i *Issuer) Token(t testing.TB, now time.Time, changes map[string]any) string {
	t.Helper()
	return i.Sign(t, Header(), i.Claims(now, changes))
}

// Sign makes a token of a header and claims, signed with the key and the algorithm that the header names.
func (i *Issuer) Sign(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	return i.SignText(t, marshal(t, header), marshal(t, claims), fmt.Sprint(header["alg"]), fmt.Sprint(header["kid"]))
}

// SignText is Sign for a header and claims that are any text.
func (i *Issuer) SignText(t testing.TB, header, claims, alg, kid string) string {
	t.Helper()
	i.mu.Lock()
	key := i.keys[kid]
	i.mu.Unlock()
	return SignWith(t, header, claims, alg, key)
}

// SignWith is SignText with any key, such as the bytes that a shared secret is.
func SignWith(t testing.TB, header, claims, alg string, key any) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString
	signed := text([]byte(header)) + "." + text([]byte(claims))
	signature, err := jwt.GetSigningMethod(alg).Sign(signed, key)
	if err != nil {
		t.Fatalf("signing with %s: %v", alg, err)
	}
	return signed + "." + text(signature)
}

func marshal(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
