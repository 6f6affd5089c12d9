package auth

import (
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// oidcAlgorithms are the signatures that ID tokens may have. There is no symmetric one among them: its key would be public.
var oidcAlgorithms = []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}

// oidcLeeway is allowed between the provider's clock and ours.
const oidcLeeway = time.Minute

// idClaims are the claims of an ID token (Core 1.0, 2 and 5.1).
type idClaims struct {
	jwt.RegisteredClaims
	Nonce    string           `json:"nonce"`
	Party    string           `json:"azp"`
	AuthTime *jwt.NumericDate `json:"auth_time"`
	Email    string           `json:"email"`
	Verified bool             `json:"email_verified"`
}

// identify reads an ID token as Core 1.0, 3.1.3.7 has it. One that is not for this request is *Refused.
func (o *OIDC) identify(r *oidcRequest, raw string, keys keyfunc.Keyfunc) (Identity, error) {
	var c idClaims
	_, err := jwt.ParseWithClaims(raw, &c, keys.Keyfunc,
		jwt.WithValidMethods(oidcAlgorithms), jwt.WithIssuer(o.config.Issuer), jwt.WithAudience(o.config.ClientID),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(oidcLeeway), jwt.WithTimeFunc(o.now), jwt.WithStrictDecoding())
	if err != nil {
		return Identity{}, &Refused{Why: "ID token"}
	}
	if err := o.fits(r, c); err != nil {
		return Identity{}, err
	}
	id := Identity{Issuer: c.Issuer, Subject: c.Subject}
	if c.Verified {
		id.Email, _ = ParseEmail(c.Email)
	}
	if c.AuthTime != nil && !c.AuthTime.After(o.now()) {
		id.SignedIn = c.AuthTime.UTC()
	}
	return id, nil
}

// fits holds the claims to the request that they answer.
func (o *OIDC) fits(r *oidcRequest, c idClaims) error {
	others := slices.ContainsFunc(c.Audience, func(a string) bool { return a != o.config.ClientID })
	switch {
	case subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(r.Nonce)) != 1:
		return &Refused{Why: "nonce"}
	case others, c.Party != "" && c.Party != o.config.ClientID:
		return &Refused{Why: "audience"}
	case c.Subject == "" || len(c.Subject) > maxSubject:
		return &Refused{Why: "subject"}
	case r.Fresh && (c.AuthTime == nil || c.AuthTime.Before(r.Began.Add(-oidcLeeway))):
		return &Refused{Why: "not fresh"} // max_age=0 was asked for, so auth_time has to be there (3.1.2.1)
	}
	return nil
}

// maxEmail is the longest address that mail can go to (RFC 5321, 4.5.3.1.3, without its angle brackets).
const maxEmail = 254

// ParseEmail reads an e-mail address as it is kept: ASCII in lower case. Others are refused, because two of them may look or fold alike.
func ParseEmail(s string) (string, error) {
	local, host, ok := strings.Cut(s, "@")
	plain := !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),:;<>[\]`, r) })
	host = strings.ToLower(host)
	if !ok || local == "" || !plain || len(s) > maxEmail || !domain.MatchString(host) {
		return "", fmt.Errorf("%q is not a plain e-mail address, such as mia@example.com", s)
	}
	return strings.ToLower(local) + "@" + host, nil
}

func domainOf(email string) string { return email[strings.LastIndexByte(email, '@')+1:] }
