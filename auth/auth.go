// Package auth says who calls.
//
// Every call has a Principal: an agent that holds a key, or a person who holds a token. Both are opaque secrets of 256
// random bits with a prefix that names their kind and a checksum that refuses typing mistakes before any lookup; the
// database keeps only their SHA-256, so a copy of it opens nothing. High-entropy secrets need no slow hash.
//
// A principal belongs to one merchant (the tenant) and never sees another. Its reach is its scopes, its actions, a
// ceiling on risk and the wish that people confirm what it does; what follows from these is decided in package gate, not here. Nothing
// is cached: a key is read from the database on every call, so a revocation holds from the next call on.
//
// Authenticate answers ErrUnknownCredential for a secret that is wrong, revoked or expired alike: the caller learns
// nothing from the difference. The reason is for the record only.
package auth

import (
	"errors"
	"slices"
	"time"
)

// Kind tells principals apart.
type Kind string

// The kinds of principals.
const (
	KindKey    Kind = "api_key"
	KindPerson Kind = "person"
	// KindOperator is whoever may run commands on the server's own machine.
	KindOperator Kind = "operator"
)

// Operator is the actor of what is done on the server's own machine.
const Operator = "operator:cli"

// A Principal is who makes a call, as the database knew it when the call began.
type Principal struct {
	Kind             Kind
	ID               string // key_… or per_…
	Merchant         string // mer_…
	Name             string
	Scopes           []Scope
	Actions          []string  // grants of actions: provider:name, provider:* or *
	RequiresApproval bool      // every tool of an approval class waits for a person
	Ceiling          Level     // the riskiest call it may make
	ExpiresAt        time.Time // zero: never
	Session          string    // ses_… of a person that signed in; "" for a token
	StepUpAt         time.Time // when that person last showed who they are
}

// Chain names everybody the call is made for, the caller first, in the form the record and the binding use.
func (p Principal) Chain() []string {
	switch p.Kind {
	case KindPerson:
		return []string{"person:" + p.ID}
	case KindOperator:
		return []string{Operator}
	}
	return []string{"key:" + p.ID}
}

// Has reports whether p holds scope s. The empty scope is held by everybody.
func (p Principal) Has(s Scope) bool { return s == "" || slices.Contains(p.Scopes, s) }

// ErrUnknownCredential is the answer to every secret that opens nothing. Refused wraps it with the reason.
var ErrUnknownCredential = errors.New("the credential is not valid")

// Refused is ErrUnknownCredential with what the record may know and the caller may not.
type Refused struct {
	Why      string // absent, malformed, unknown, revoked, expired
	Who      string // the key or person, as in a chain, when the secret was a real one
	Merchant string
}

func (r *Refused) Error() string { return ErrUnknownCredential.Error() + ": " + r.Why }

// Unwrap makes errors.Is(err, ErrUnknownCredential) true.
func (r *Refused) Unwrap() error { return ErrUnknownCredential }
