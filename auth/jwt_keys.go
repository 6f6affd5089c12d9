package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"

	"github.com/dtcgate/dtcgate/schemas"
)

// When an issuer is asked for its keys.
const (
	keysEvery   = 15 * time.Minute
	keysAgain   = time.Minute    // after a failure; and the shortest time between two questions for an unknown kid
	keysTooOld  = 24 * time.Hour // keys that could not be confirmed for so long open nothing
	maxKeys     = 100
	maxKeysBody = 1 << 20 // bytes
	minRSA      = 2048    // bits, RFC 7518 3.3
)

// keySet holds the public keys of one issuer. It asks for them in the background, and at once when a token names a key that
// it does not know, but then no more than once a minute, whoever sends whatever: other tokens with unknown keys are refused
// without a question and without waiting.
type keySet struct {
	url     *url.URL
	client  *http.Client
	now     func() time.Time
	onError func(error)
	asking  singleflight.Group // a token that comes while we ask waits for the answer

	mu    sync.Mutex // guards the rest
	keys  keyfunc.Keyfunc
	at    time.Time // when keys were answered
	asked time.Time // when they were last asked for
}

// errAskedLately tells run, where it has waited for find to ask, that it has not.
var errAskedLately = errors.New("the issuer was asked for its keys a moment ago")

// find gives the key of that kid for that algorithm.
func (k *keySet) find(ctx context.Context, kid, alg string) (any, error) {
	key, err := k.held(kid, alg)
	if !errors.Is(err, jwkset.ErrKeyNotFound) {
		return key, err
	}
	answered := k.asking.DoChan("", func() (any, error) {
		if !k.mayAsk() {
			return nil, errAskedLately
		}
		return nil, k.ask(context.WithoutCancel(ctx))
	})
	select {
	case <-answered:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return k.held(kid, alg)
}

// held looks among the keys in hand. Those are for signatures, and a key that says its algorithm is for that one.
func (k *keySet) held(kid, alg string) (any, error) {
	k.mu.Lock()
	keys, at := k.keys, k.at
	k.mu.Unlock()
	if keys == nil || k.now().Sub(at) > keysTooOld {
		return nil, jwkset.ErrKeyNotFound
	}
	return keys.Keyfunc(&jwt.Token{Header: map[string]any{jwkset.HeaderKID: kid, "alg": alg}})
}

// mayAsk reports whether the last question is long enough ago.
func (k *keySet) mayAsk() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked.IsZero() || k.now().Sub(k.asked) >= keysAgain
}

// run keeps the keys fresh until ctx ends.
func (k *keySet) run(ctx context.Context) {
	for {
		_, err, _ := k.asking.Do("", func() (any, error) { return nil, k.ask(ctx) })
		next := keysEvery
		if err != nil {
			next = keysAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
	}
}

// ask replaces the keys by those that the issuer has now: one that it took back opens nothing from here on.
func (k *keySet) ask(ctx context.Context) error {
	k.mu.Lock()
	k.asked = k.now()
	k.mu.Unlock()
	keys, err := k.fetch(ctx)
	if err != nil {
		err = fmt.Errorf("asking %s for the keys of tokens: %w", k.url.Redacted(), err)
		k.onError(err)
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys, k.at = keys, k.now()
	return nil
}

func (k *keySet) fetch(ctx context.Context) (keyfunc.Keyfunc, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := k.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", answer.Status)
	}
	raw, err := io.ReadAll(http.MaxBytesReader(nil, answer.Body, maxKeysBody))
	if err != nil {
		return nil, err
	}
	return parseKeys(raw)
}

// parseKeys reads a JWK Set (RFC 7517 5). A key of a kind that we do not use is passed over, as the RFC asks.
func parseKeys(raw []byte) (keyfunc.Keyfunc, error) {
	canonical, err := schemas.Canonical(raw)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(canonical, &set); err != nil || set.Keys == nil || len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it answers no set of 0 to %d keys", maxKeys)
	}
	held := jwkset.NewMemoryStorage()
	for _, raw := range set.Keys {
		key, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil || !verifies(key) {
			continue
		}
		if err := held.KeyWrite(context.Background(), key); err != nil {
			return nil, err
		}
	}
	return keyfunc.New(keyfunc.Options{Storage: held, UseWhitelist: []jwkset.USE{jwkset.UseSig, ""}})
}

// verifies reports whether a key can be named, is meant for it, and is public, of a kind whose signatures we check, and long
// enough.
func verifies(key jwkset.JWK) bool {
	said := key.Marshal()
	if said.KID == "" || len(said.KEYOPS) > 0 && !slices.Contains(said.KEYOPS, jwkset.KeyOpsVerify) {
		return false
	}
	switch k := key.Key().(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}
