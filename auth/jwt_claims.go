package auth

import (
	"slices"
	"strings"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

// read takes what we need to know from the claims of a token that is good.
func (i *issuer) read(claims jwt.MapClaims) (Token, error) {
	t := Token{Issuer: i.Issuer.Issuer, Merchant: i.Merchant, Ceiling: i.ceiling, Profile: i.Profile, RequiresApproval: i.RequiresApproval}
	for _, c := range []struct {
		name string
		into *string
	}{{i.Claims.Subject, &t.Subject}, {i.Claims.Merchant, &t.Merchant}, {i.Claims.Owner, &t.Owner}} {
		if c.name == "" {
			continue
		}
		var ok bool
		if *c.into, ok = claims[c.name].(string); !ok || !plain(*c.into) {
			return Token{}, refused(whyMissing)
		}
	}
	granted, ok := scopesOf(claims, i.Claims.Scopes)
	if !ok {
		return Token{}, refused(whyClaims)
	}
	for _, s := range i.scopes {
		if slices.Contains(granted, string(s)) {
			t.Scopes = append(t.Scopes, s)
		}
	}
	exp, err := claims.GetExpirationTime()
	if err != nil {
		return Token{}, refused(whyClaims)
	}
	t.ExpiresAt = exp.Add(i.Leeway).UTC()
	return t, nil
}

// plain reports whether a name from outside may stand in records and on screens.
func plain(s string) bool {
	return strings.TrimSpace(s) != "" && len(s) <= maxSubject && !strings.ContainsFunc(s, unicode.IsControl)
}

// scopesOf gives the scopes that a token names: words in a text (RFC 8693 4.2), or a list. A token without any has none.
func scopesOf(claims jwt.MapClaims, name string) (scopes []string, ok bool) {
	if name == "" {
		name = "scope"
		if _, ok := claims[name]; !ok {
			name = "scp"
		}
	}
	switch named := claims[name].(type) {
	case nil:
		return nil, true
	case string:
		return strings.Fields(named), true
	case []any:
		for _, s := range named {
			text, ok := s.(string)
			if !ok {
				return nil, false
			}
			scopes = append(scopes, text)
		}
		return scopes, true
	}
	return nil, false
}
