package auth

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth/authtest"
)

// fuzzed is an issuer that asks nobody, whose one key is known to the test.
func fuzzed(t testing.TB) (*Issuers, ed25519.PrivateKey, time.Time) {
	t.Helper()
	now := time.Unix(1_800_000_000, 0).UTC()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	set, err := parseKeys([]byte(asJSON(t, map[string]any{"keys": []any{authtest.JWK("k", key.Public())}})))
	if err != nil {
		t.Fatal(err)
	}
	all, err := NewIssuers(publicURL, []Issuer{{
		Name: "fuzz", Issuer: "https://login.example.com", JWKSURL: "https://login.example.com/keys", Claims: ClaimNames{Merchant: "m"},
		Scopes: []string{"orders:read", "orders:write"}, Require: map[string]string{"env": "prod"},
	}}, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	keys := all.byIss["https://login.example.com"].keys
	keys.keys, keys.at, keys.asked, keys.now = set, now, now, func() time.Time { return now }
	keys.client = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("asked") })}
	return all, key, now
}

// FuzzJWT signs any header and claims, or takes any signature. What is accepted must be signed by the key, and must say what
// a second reading of it says, with encoding/json and by the plain words of the standards. Of a good token no byte can be changed.
func FuzzJWT(f *testing.F) {
	issuers, key, now := fuzzed(f)
	const header = `{"alg":"EdDSA","kid":"k","typ":"at+jwt"}`
	const claims = `{"iss":"https://login.example.com","sub":"robot","aud":"https://gate.example.com/mcp","env":"prod","m":"demo",` +
		`"iat":1799999990,"exp":1800000100,"scope":"orders:read x"}`
	add := func(header, claims string, signature []byte) { f.Add(header, claims, signature, uint16(90), "\n") }
	add(header, claims, nil)
	add(header, claims, []byte("signature"))
	for _, change := range []string{"A", "=", ".", "..", "\r\n", "+", "/", "eyJhbGciOiJub25lIn0."} {
		for _, at := range []uint16{0, 20, 56, 60, 300, 385, 1000} {
			f.Add(header, claims, []byte(nil), at, change)
		}
	}
	add(`{"alg":"none","kid":"k","typ":"at+jwt"}`, claims, nil)
	add(`{"alg":"HS256","kid":"k","typ":"at+jwt"}`, claims, hmacOf(key.Public().(ed25519.PublicKey), `{"alg":"HS256","kid":"k","typ":"at+jwt"}`, claims))
	add(`{"alg":"EdDSA","kid":"k","typ":"at+jwt","jwk":{"kty":"OKP","crv":"Ed25519","x":"AAAA"},"crit":["exp"]}`, claims, nil)
	add(strings.ToUpper(header), claims, nil)
	add(header, strings.Replace(claims, `"exp"`, `"EXP":1,"exp"`, 1), nil)
	add(header, strings.Replace(claims, `"scope":"orders:read x"`, `"scp":["orders:write"],"nbf":1800000030.5`, 1), nil)
	f.Fuzz(func(t *testing.T, header, claims string, signature []byte, at uint16, change string) {
		text := base64.RawURLEncoding.EncodeToString
		signed := text([]byte(header)) + "." + text([]byte(claims))
		right := ed25519.Sign(key, []byte(signed))
		if len(signature) == 0 {
			signature = right
		}
		got, err := issuers.Verify(context.Background(), signed+"."+text(signature), now)
		if err != nil {
			if r := (*Refused)(nil); !errors.As(err, &r) || !reflect.DeepEqual(got, Token{}) {
				t.Fatalf("refused with %v and %+v", err, got)
			}
			return
		}
		if !bytes.Equal(signature, right) {
			t.Fatal("a signature that is not the issuer's was accepted")
		}
		want, ok := plainly(header, claims, now)
		if !ok || !reflect.DeepEqual(got, want) {
			t.Fatalf("accepted as %+v; the second reading is %t, %+v", got, ok, want)
		}
		token := signed + "." + text(signature)
		changed := changedAt(token, int(at), change)
		if _, err := issuers.Verify(context.Background(), changed, now); err == nil && changed != token {
			t.Fatalf("%q is accepted, which %q was made of", changed, token)
		}
	})
}

// changedAt writes over a text from a place in it, or behind it.
func changedAt(text string, at int, change string) string {
	at = min(at, len(text))
	return text[:at] + change + text[min(at+len(change), len(text)):]
}

// hmacOf signs with a public key as if it were a secret: what a library takes that lets the token choose the algorithm.
func hmacOf(public []byte, header, claims string) []byte {
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))))
	return mac.Sum(nil)
}

// plainly reads a token of the fuzzed issuer naively and says what it is good for, if it is.
func plainly(header, claims string, now time.Time) (Token, bool) {
	var h, c map[string]any
	if json.Unmarshal([]byte(header), &h) != nil || json.Unmarshal([]byte(claims), &c) != nil {
		return Token{}, false
	}
	_, crit := h["crit"]
	typ, _ := h["typ"].(string)
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	exp, hasExp := c["exp"].(float64)
	iat, hasIat := c["iat"].(float64)
	nbf, _ := c["nbf"].(float64)
	exp, iat, nbf = math.Floor(exp), math.Floor(iat), math.Floor(nbf) // the library keeps whole seconds
	at := float64(now.Unix())
	ok := h["alg"] == "EdDSA" && h["kid"] == "k" && (typ == "at+jwt" || typ == "jwt") && !crit &&
		c["iss"] == "https://login.example.com" && namesUs(c["aud"]) && (c["env"] == "prod" || listed(c["env"], "prod")) &&
		hasExp && hasIat && exp+30 > at && iat-30 <= at && at-iat <= 24*3600+30 && nbf-30 <= at && c["nonce"] == nil && c["at_hash"] == nil
	t := Token{Issuer: "https://login.example.com", Ceiling: 4, ExpiresAt: time.Unix(int64(exp)+30, 0).UTC()}
	t.Subject, _ = c["sub"].(string)
	t.Merchant, _ = c["m"].(string)
	said, has := c["scope"]
	if !has {
		said = c["scp"]
	}
	words, _ := said.(string)
	for _, s := range []Scope{"orders:read", "orders:write"} {
		for _, w := range strings.Fields(words) {
			if w == string(s) && (len(t.Scopes) == 0 || t.Scopes[len(t.Scopes)-1] != s) {
				t.Scopes = append(t.Scopes, s)
			}
		}
		if listed(said, string(s)) {
			t.Scopes = append(t.Scopes, s)
		}
	}
	return t, ok && t.Subject != "" && t.Merchant != ""
}

func namesUs(aud any) bool {
	for _, us := range []string{"https://gate.example.com", "https://gate.example.com/mcp"} {
		if aud == us || aud == us+"/" || listed(aud, us) || listed(aud, us+"/") {
			return true
		}
	}
	return false
}

func listed(list any, want string) bool {
	all, _ := list.([]any)
	for _, v := range all {
		if v == want {
			return true
		}
	}
	return false
}
