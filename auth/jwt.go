package auth

import (
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"github.com/dtcgate/dtcgate/schemas"
)

// Why a JWT was refused, for the record: the caller is told nothing. See Refused.
const (
	whyMalformed = "malformed"
	whyIssuer    = "unknown issuer"
	whyAlgorithm = "algorithm not allowed"
	whyType      = "wrong type"
	whyKey       = "unknown signing key"
	whySignature = "wrong signature"
	whyExpired   = "expired"
	whyNotYet    = "not yet valid"
	whyTooOld    = "too old"
	whyAudience  = "wrong audience"
	whyClaims    = "wrong claims"
	whyMissing   = "claim missing"
	whyMerchant  = "unknown merchant"
	whyTooMany   = "too many agents"
)

func refused(why string) error { return &Refused{Why: why} }

// maxJWT bounds a token, in bytes.
const maxJWT = 8 << 10

// maxSubject bounds a subject, in bytes: OpenID Connect Core 1.0 section 2 has it for sub.
const maxSubject = 255

// IsJWT reports whether a secret has the form of a JWT, signed and compact: three parts between two dots. No secret of
// ours has a dot.
func IsJWT(secret string) bool { return strings.Count(secret, ".") == 2 }

// A Token is what a JWT says that an issuer signed and that is good now.
type Token struct {
	Issuer, Subject string
	Merchant        string // by name
	Owner           string // the external id or the name of a person; "" where the issuer names none
	Scopes          []Scope
	Ceiling         Level
	Profile         string // in the policy
	ExpiresAt       time.Time

	RequiresApproval bool
}

// parsedJWT is a token in its parts, of which nothing is believed yet.
type parsedJWT struct {
	header struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		Key       string `json:"kid"`

		Critical jsontext.Value `json:"crit"`
	}
	claims    jwt.MapClaims
	signed    string
	signature []byte
}

// Verify finds out what a JWT says. It reads the token once, strictly, and everything is checked and taken from that one
// reading: a name that is there twice, or in two cases, is refused. Of the header alg, typ, kid and crit count; keys and
// addresses of keys that a token brings along (jwk, jku, x5c, x5u) are not looked at. Whatever is wrong, the error is a
// *Refused, unless ctx ended.
func (i *Issuers) Verify(ctx context.Context, raw string, now time.Time) (Token, error) {
	t, err := parseJWT(raw)
	if err != nil {
		return Token{}, err
	}
	iss, _ := t.claims["iss"].(string)
	from, ok := i.byIss[iss]
	if !ok {
		return Token{}, refused(whyIssuer)
	}
	if err := from.checkHeader(t); err != nil {
		return Token{}, err
	}
	if err := from.checkSignature(ctx, t); err != nil {
		return Token{}, err
	}
	if err := from.checkClaims(t.claims, now); err != nil {
		return Token{}, err
	}
	return from.read(t.claims)
}

func parseJWT(raw string) (parsedJWT, error) {
	var t parsedJWT
	parts := strings.Split(raw, ".")
	if len(raw) > maxJWT || len(parts) != 3 {
		return t, refused(whyMalformed)
	}
	t.signed = raw[:len(raw)-len(parts[2])-1]
	for at, into := range []any{&t.header, &t.claims} {
		if err := decodePart(parts[at], into); err != nil {
			return t, refused(whyMalformed)
		}
	}
	var err error
	if t.signature, err = unbase64(parts[2]); err != nil {
		return t, refused(whyMalformed)
	}
	return t, nil
}

// unbase64 decodes a part in the encoding of RFC 7515 section 2, in which every value has one form: no padding, no line
// breaks (which the standard library passes over), no bits left over.
func unbase64(part string) ([]byte, error) {
	if part == "" || strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("not base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(part)
}

func decodePart(part string, into any) error {
	raw, err := unbase64(part)
	if err != nil {
		return err
	}
	canonical, err := schemas.Canonical(raw)
	if err != nil {
		return err
	}
	return json.Unmarshal(canonical, into) // names are compared exactly, unlike by encoding/json
}

// checkHeader refuses what RFC 8725 (JWT Best Current Practices) warns of: another algorithm than those agreed on (3.1),
// a token that was made for another use (3.11), and demands that we do not understand (RFC 7515 4.1.11).
func (i *issuer) checkHeader(t parsedJWT) error {
	switch {
	case !slices.Contains(i.Algorithms, t.header.Algorithm):
		return refused(whyAlgorithm)
	case len(t.header.Critical) > 0:
		return refused(whyMalformed)
	case !i.allows(t.header.Type) || i.notForAPIs(t.claims):
		return refused(whyType)
	}
	return nil
}

// notForAPIs reports whether a token is made for the program that a person signed in to, or for the issuer itself: ID
// tokens carry these claims (OpenID Connect Core 1.0 sections 2 and 3.3.2.11), and Keycloak says in a claim typ what a
// token is.
func (i *issuer) notForAPIs(claims jwt.MapClaims) bool {
	for _, name := range []string{"nonce", "at_hash", "c_hash", "s_hash"} {
		if _, ok := claims[name]; ok {
			return true
		}
	}
	said, ok := claims["typ"]
	typ, _ := said.(string)
	return ok && typ != "Bearer" && !i.allows(typ)
}

func (i *issuer) checkSignature(ctx context.Context, t parsedJWT) error {
	if t.header.Key == "" {
		return refused(whyKey)
	}
	key, err := i.keys.find(ctx, t.header.Key, t.header.Algorithm)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return refused(whyKey)
	}
	method := jwt.GetSigningMethod(t.header.Algorithm) // never nil: the algorithm is on the issuer's list
	if !onCurve(method, key) || method.Verify(t.signed, t.signature, key) != nil {
		return refused(whySignature)
	}
	return nil
}

// onCurve reports whether a key on a curve is on that of the algorithm (RFC 7518 3.4), which the library leaves open. That a
// key is of the algorithm's kind the library checks.
func onCurve(method jwt.SigningMethod, key any) bool {
	on, ok := method.(*jwt.SigningMethodECDSA)
	k, curved := key.(*ecdsa.PublicKey)
	return !ok || curved && k.Params().BitSize == on.CurveBits
}

func (i *issuer) checkClaims(claims jwt.MapClaims, now time.Time) error {
	if err := i.validator(now).Validate(claims); err != nil {
		return refused(whyOf(err))
	}
	issued, err := claims.GetIssuedAt()
	switch {
	case err != nil || issued == nil:
		return refused(whyMissing)
	case now.Sub(issued.Time) > i.MaxAge+i.Leeway:
		return refused(whyTooOld)
	}
	for name, want := range i.Require {
		if !holds(claims[name], want) {
			return refused(whyClaims)
		}
	}
	return nil
}

// whyOf names what the library found, the most telling first when it found several things.
func whyOf(err error) string {
	for _, known := range []struct {
		err error
		why string
	}{
		{jwt.ErrTokenRequiredClaimMissing, whyMissing},
		{jwt.ErrTokenInvalidAudience, whyAudience},
		{jwt.ErrTokenExpired, whyExpired},
		{jwt.ErrTokenNotValidYet, whyNotYet},
		{jwt.ErrTokenUsedBeforeIssued, whyNotYet},
	} {
		if errors.Is(err, known.err) {
			return known.why
		}
	}
	return whyClaims
}

// holds reports whether a claim is that text, or a list with it.
func holds(claim any, want string) bool {
	list, ok := claim.([]any)
	return claim == any(want) || ok && slices.Contains(list, any(want))
}
