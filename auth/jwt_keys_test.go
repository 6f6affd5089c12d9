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
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
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
		fail := true
		k := &keySet{url: &url.URL{Scheme: "https", Host: "login.example.com"}, now: time.Now, onError: func(error) {}}
		k.client = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			asked = append(asked, time.Since(start))
			if fail {
				return nil, errors.New("away")
			}
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"keys":[]}`))}, nil
		})}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { k.run(ctx); close(done) }()
		time.Sleep(90 * time.Second)
		synctest.Wait()
		fail = false
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

// privateHosts are addresses and spellings of them that must never be asked (threats T6 and T60).
var privateHosts = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "169.254.169.254", "172.16.0.1",
	"172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1",
	"203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"::", "::2", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::10.0.0.1", "64:ff9b::a00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1",
	"2001::1", "2001:0:7f00:1::", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:a00:1::", "2002:7f00:1::", "2620:4f:8000::1", "3fff::1", "5f00::1",
	"fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "fe80::1%eth0", "2606:4700::1%eth0",
}

func TestPrivateAddressesAreNeitherConfiguredNorDialled(t *testing.T) {
	for _, host := range privateHosts {
		text := "https://" + host + "/keys"
		if strings.Contains(host, ":") {
			text = "https://[" + strings.ReplaceAll(host, "%", "%25") + "]/keys"
		}
		if u, err := parseOutbound(text); err == nil {
			t.Errorf("%s may be asked: %v", text, u)
		}
		address := netip.MustParseAddr(host)
		if err := only(public)("tcp", netip.AddrPortFrom(address, 443).String(), nil); !errors.Is(err, errNotPublic) {
			t.Errorf("%s may be dialled: %v", host, err)
		}
	}
	for _, host := range []string{"8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "2606:4700:4700::1111", "2a00:1450::1"} {
		if err := only(public)("tcp", netip.AddrPortFrom(netip.MustParseAddr(host), 443).String(), nil); err != nil {
			t.Errorf("%s may not be dialled: %v", host, err)
		}
	}
}

func TestAddressesInDisguiseAreNotConfigured(t *testing.T) {
	for _, text := range []string{
		"https://2130706433/keys", "https://0x7f000001/keys", "https://0x7f.1/keys", "https://017700000001/keys", "https://127.1/keys",
		"https://0177.0.0.1/keys", "https://127.0.0.1./keys", "https://10.0.0.1./", "https://1.2.3/", "https://foo.0x7f/", "https://①②⑦.0.0.1/", "https://%31%30.0.0.1/",
		"https://me@login.example.com/", "https://login.example.com@10.0.0.1/", "https:///keys", "https:login.example.com", "//login.example.com/keys",
		"ftp://login.example.com/", "file:///etc/passwd", "javascript:alert(1)", "data:application/json,{}", "http://login.example.com/", "unix:///run/x",
		"http://localhost.example.com/", "http://localhost./", "http://foo.localhost/", "http://[::ffff:127.0.0.1]/", "http://[::1%25lo]/", "https://login.example.com/#x", "", "keys",
	} {
		if u, err := parseOutbound(text); err == nil {
			t.Errorf("%q may be asked: %v", text, u)
		}
	}
	for _, text := range []string{"https://login.example.com/keys?v=1", "https://login.example.com:8443/", "http://127.0.0.1:1/keys", "http://localhost/keys", "http://[::1]/", "https://8.8.8.8/keys"} {
		if _, err := parseOutbound(text); err != nil {
			t.Error(err)
		}
	}
}

// TestANameThatLeadsInsideIsNotAsked dials a listener that stands for what a name server's answer may point at.
func TestANameThatLeadsInsideIsNotAsked(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	reached := make(chan struct{})
	go func() {
		if c, err := inside.Accept(); err == nil {
			c.Close()
			close(reached)
		}
	}()
	client := outboundClient(&url.URL{Scheme: "https", Host: "login.example.com"})
	if _, err := client.Get("http://" + inside.Addr().String()); !errors.Is(err, errNotPublic) { //nolint:noctx // a test
		t.Errorf("it got %v", err)
	}
	local := outboundClient(&url.URL{Scheme: "http", Host: "localhost"})
	if err := only(netip.Addr.IsLoopback)("tcp", "10.0.0.1:80", nil); !errors.Is(err, errNotPublic) {
		t.Errorf("a service of this machine may lead to %v", err)
	}
	select {
	case <-reached:
		t.Error("the inside was reached")
	default:
	}
	if answer, err := local.Get("http://" + inside.Addr().String()); err == nil { //nolint:noctx // a test
		answer.Body.Close()
	}
	<-reached // by the one that may
}
