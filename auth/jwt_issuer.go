package auth

import "time"

// An Issuer is a token service outside dtcgate whose JWTs (RFC 9068 access tokens) let agents in, as the operator
// described it. Whatever it signs, its tokens reach no further than Scopes and Ceiling say here.
type Issuer struct {
	Name      string   `yaml:"name"`      // in records; of our own choosing
	Issuer    string   `yaml:"issuer"`    // the exact iss
	JWKSURL   string   `yaml:"jwks_url"`  // its public keys (RFC 7517)
	Audiences []string `yaml:"audiences"` // one of these must be in aud; none: the addresses of this server

	Algorithms []string      `yaml:"algorithms"` // of signatures; none: RS256, ES256, EdDSA
	Types      []string      `yaml:"types"`      // of tokens (typ); none: at+jwt, JWT
	Leeway     time.Duration `yaml:"leeway"`     // between its clock and ours; 0: 30 s
	MaxAge     time.Duration `yaml:"max_age"`    // of a token since iat; 0: 24 h

	Merchant string            `yaml:"merchant"` // whom all its tokens are for, when no claim says it
	Claims   ClaimNames        `yaml:"claims"`
	Require  map[string]string `yaml:"required_claims"` // each must be there with this value, alone or in a list

	Scopes  []string `yaml:"scopes"`  // the most that any of its tokens gives; orders:* and *:read are patterns
	Ceiling string   `yaml:"ceiling"` // the riskiest call of its agents; none: medium
}

// ClaimNames are the claims in which an issuer says what we need to know.
type ClaimNames struct {
	Subject  string `yaml:"subject"`  // none: sub
	Scopes   string `yaml:"scopes"`   // none: scope, or scp where there is no scope
	Merchant string `yaml:"merchant"` // the name of a merchant
	Owner    string `yaml:"owner"`    // the external id or the name of a person; a token without it is refused
}
