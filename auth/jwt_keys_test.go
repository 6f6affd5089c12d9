package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtcgate/dtcgate/auth/authtest"
)

// clocked gives issuers whose keys are as old as the clock says.
func clocked(t testing.TB, from *authtest.Issuer) (issuers *Issuers, pass func(time.Duration)) {
	t.Helper()
	var ahead atomic.Int64
	issuers = trusting(t, from, nil)
	issuers.byIss[from.URL].keys.now = func() time.Time { return time.Unix(1_800_000_000, ahead.Load()) }
	return issuers, func(d time.Duration) { ahead.Add(int64(d)) }
}

func TestAnUnknownKeyIsAskedForOnceAMinuteAtMost(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Now()
	issuers, pass := clocked(t, from)
	unknown := func(n int) string {
		header := asJSON(t, authtest.With(authtest.Header(), map[string]any{"kid": fmt.Sprint("key", n)}))
		return from.SignText(t, header, asJSON(t, from.Claims(now, nil)), "ES256", "es")
	}
	for minute := 1; minute <= 3; minute++ {
		var all sync.WaitGroup
		for n := range 200 {
			all.Go(func() {
				if _, err := issuers.Verify(t.Context(), unknown(n), now); why(err) != whyKey {
					t.Errorf("an unknown key: %v", err)
				}
			})
		}
		all.Wait()
		pass(keysAgain - 1)
		if _, err := issuers.Verify(t.Context(), unknown(0), now); why(err) != whyKey || from.Asked() != minute {
			t.Fatalf("%v; asked %d times in %d minutes", err, from.Asked(), minute)
		}
		pass(1)
	}
	if _, err := issuers.Verify(t.Context(), from.Token(t, now, nil), now); err != nil || from.Asked() != 3 {
		t.Errorf("a key that is known: %v, asked %d times", err, from.Asked())
	}
}

func TestATokenOfAKeyThatWasRotatedInWaitsForTheAnswer(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Now()
	issuers, pass := clocked(t, from)
	old := from.Token(t, now, nil)
	if _, err := issuers.Verify(t.Context(), old, now); err != nil {
		t.Fatal(err)
	}
	from.SetKey("es", nil)
	from.SetKey("es2", authtest.NewKey(t))
	token := from.Sign(t, authtest.With(authtest.Header(), map[string]any{"kid": "es2"}), from.Claims(now, nil))
	pass(keysAgain)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := issuers.Verify(t.Context(), token, now); err != nil {
				t.Errorf("a token of the new key: %v", err)
			}
		})
	}
	all.Wait()
	if _, err := issuers.Verify(t.Context(), old, now); why(err) != whyKey || from.Asked() != 2 {
		t.Errorf("a token of the key that was taken back: %v; asked %d times", err, from.Asked())
	}
}

func TestKeysAreKeptWhileTheIssuerIsAwayForADayAtMost(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Now()
	issuers, pass := clocked(t, from)
	token := from.Token(t, now, nil)
	if _, err := issuers.Verify(t.Context(), token, now); err != nil {
		t.Fatal(err)
	}
	from.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	pass(keysTooOld)
	if _, err := issuers.Verify(t.Context(), token, now); err != nil {
		t.Errorf("after a day: %v", err)
	}
	pass(1)
	if _, err := issuers.Verify(t.Context(), token, now); why(err) != whyKey {
		t.Errorf("after more than a day: %v", err)
	}
	from.Answer(nil)
	pass(keysAgain)
	if _, err := issuers.Verify(t.Context(), token, now); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}

func TestAnAnswerThatIsNoKeySetChangesNothing(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Now()
	issuers, pass := clocked(t, from)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	token := from.Token(t, now, nil)
	if _, err := issuers.Verify(t.Context(), token, now); err != nil {
		t.Fatal(err)
	}
	keys := issuers.byIss[from.URL].keys
	for name, answer := range map[string]http.HandlerFunc{
		"nothing": body(""), "no JSON": body("<html>"), "no keys": body("{}"), "keys null": body(`{"keys":null}`), "keys a text": body(`{"keys":"es"}`),
		"keys twice":     body(`{"keys":[],"keys":[]}`),
		"many keys":      body(`{"keys":[` + strings.Repeat(`{},`, maxKeys) + `{}]}`),
		"more than 1 MB": body(`{"keys":[],"x":"` + strings.Repeat("x", maxKeysBody) + `"}`),
		"a redirect":     func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"not modified":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) },
		"half of it": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"keys":[]}`)
		},
	} {
		from.Answer(answer)
		pass(keysAgain)
		if err := keys.ask(t.Context()); err == nil {
			t.Errorf("%s was taken for keys", name)
		}
		if _, err := issuers.Verify(t.Context(), token, now); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
	from.Answer(body(`{"keys":[]}`))
	if _, err := issuers.Verify(t.Context(), token, now); err != nil {
		t.Fatal(err)
	}
	if err := keys.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := issuers.Verify(t.Context(), token, now); why(err) != whyKey {
		t.Errorf("all keys were taken back: %v", err)
	}
}

func TestOnlyKeysForSignaturesAreKept(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Now()
	x5u := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("x5u was asked") }))
	defer x5u.Close()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	short := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	shared := map[string]any{"kty": "oct", "k": base64.RawURLEncoding.EncodeToString([]byte("secret"))}
	for kid, jwk := range map[string]map[string]any{
		"shared":     shared,
		"encryption": authtest.With(authtest.JWK("", ed.Public()), map[string]any{"use": "enc"}),
		"signing":    authtest.With(authtest.JWK("", ed.Public()), map[string]any{"key_ops": []string{"sign"}}),
		"short":      authtest.JWK("", short),
		"broken":     {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
		"other":      {"kty": "OKP", "crv": "Ed448", "x": "AA"},
		"":           authtest.JWK("", ed.Public()),
		"good":       authtest.With(authtest.JWK("", ed.Public()), map[string]any{"use": nil, "key_ops": []string{"verify"}, "x5u": "https" + strings.TrimPrefix(x5u.URL, "http")}),
	} {
		from.AddJWK(authtest.With(jwk, map[string]any{"kid": kid}))
		from.SetKey(kid, nil)
	}
	issuers := trusting(t, from, nil)
	if _, err := issuers.Verify(t.Context(), from.Token(t, now, nil), now); err != nil {
		t.Fatalf("a good key among them: %v", err)
	}
	keys := issuers.byIss[from.URL].keys
	for _, kid := range []string{"shared", "encryption", "signing", "short", "broken", "other", ""} {
		for _, alg := range []string{"EdDSA", "RS256", "ES256", "HS256", ""} {
			if key, err := keys.held(kid, alg); err == nil {
				t.Errorf("the key %q was kept for %q: %T", kid, alg, key)
			}
		}
	}
	if _, err := keys.held("good", "EdDSA"); err != nil {
		t.Errorf("a key without use: %v", err)
	}
}

func TestKeysAreAskedForInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Duration
		start := time.Now()
		var back atomic.Bool
		k := &keySet{url: &url.URL{Scheme: "https", Host: "login.example.com"}, now: time.Now, onError: func(error) {}}
		k.client = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			asked = append(asked, time.Since(start))
			if !back.Load() {
				return nil, errors.New("away")
			}
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"keys":[]}`))}, nil
		})}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { k.run(ctx); close(done) }()
		time.Sleep(90 * time.Second)
		synctest.Wait()
		back.Store(true)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		stop()
		<-done
		if got := fmt.Sprint(asked); got != "[0s 1m0s 2m0s 17m0s]" {
			t.Errorf("asked at %s", got)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (fn roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return fn(r) }

func TestACallerThatLeavesDoesNotWaitForKeys(t *testing.T) {
	from, now := authtest.NewIssuer(t), time.Now()
	hold := make(chan struct{})
	defer close(hold)
	from.Answer(func(http.ResponseWriter, *http.Request) { <-hold })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := trusting(t, from, nil).Verify(ctx, from.Token(t, now, nil), now); !errors.Is(err, context.Canceled) {
		t.Errorf("it got %v", err)
	}
}
