// Package auth says who calls.
//
// Every call has a Principal: an agent that holds a key or a sub-token, an agent that a configured issuer vouches for, or
// a person. Secrets are opaque (package secret says what they look like), and the database keeps only their SHA-256, so a
// copy of it opens nothing.
//
// A principal belongs to one merchant (the tenant) and never sees another. It is a chain of links (chain.go): sub-tokens,
// the key or JWT they come from, the person who answers for it. Its reach is what every link allows, at the moment of
// asking: scopes, actions, tools, resources, networks, a ceiling on risk, the wish that people confirm what it does. What
// follows from these is decided in package gate, not here.
//
// Nothing is believed from memory. A chain is asked of the database when a request comes (Authenticate), again in the transaction of
// the call (Renew, Hold) and once more when a stored call runs (Live), so a revocation holds from the next call on. What a chain came to
// is kept in memory beside the revision of its merchant's rights at which it was read (Known), and is used again only while the
// database, in the snapshot of the one who asks, has that revision: every change of rights moves it. Hold also keeps the merchant's
// rights from changing until the transaction ends: a revocation waits for what runs, and nothing commits after it.
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
	KindKey      Kind = "api_key"
	KindSubToken Kind = "sub_token"
	KindJWT      Kind = "jwt" // an agent that a configured issuer vouches for
	KindPerson   Kind = "person"
	// KindOperator is whoever may run commands on the server's own machine.
	KindOperator Kind = "operator"
)

// Operator is the actor of what is done on the server's own machine.
const Operator = "operator:cli"

// OperatorPrincipal is the operator at work on a merchant. It holds every right of people.
func OperatorPrincipal(merchant string) Principal {
	return Principal{Kind: KindOperator, Merchant: merchant, Name: "operator", Scopes: PeopleScopes, Ceiling: MaxLevel}
}

// A Principal is who makes a call, as the database knew it when the call began. What it may do is what every link of its
// chain may do, at that moment.
type Principal struct {
	Kind             Kind
	ID               string // key_…, sub_…, jwt_… or per_…
	Merchant         string // mer_…
	Name             string
	Links            []Link    // from the caller up to the owner
	Scopes           []Scope   // that every link holds
	RequiresApproval bool      // every tool of an approval class waits for a person
	PolicyVersion    int64     // in force at the merchant; 0: none
	PolicyShadow     string    // hash of the draft that runs beside it; "": none
	Frozen           Freeze    // that stops its writes; none for most
	Ceiling          Level     // the riskiest call it may make
	ExpiresAt        time.Time // of the link that ends first; zero: never

	Asked []string // the chain of a stored call whose principal is gone; its names outlive it

	Session  string    // ses_…, of a person who signed in; empty for a token
	StepUpAt time.Time // when the person last showed who they are, in that session

	recalled   bool      // from memory, and not held against the database since
	revision   int64     // of the merchant's rights, on whose snapshot it was read; 0: it was not read on one
	opensUntil time.Time // when the secret that opened it ends, which was rotated; zero: it is the key's own
	opener     string    // hash of the secret that opened a key or was a person's token, so that what a rotation ended is over for calls on their way too
	most       []Scope   // that the credential which let it in carries; nil: all
}

// Recalled reports whether p is as it was read for an earlier call. Nothing may be told or done before Renew or Hold has found that it
// still is.
func (p Principal) Recalled() bool { return p.recalled }

// Agent reports whether p may call tools. People decide; they call none.
func (p Principal) Agent() bool {
	return p.Kind == KindKey || p.Kind == KindSubToken || p.Kind == KindJWT
}

// Chain names everybody the call is made for, the caller first, in the form the record and the binding use.
func (p Principal) Chain() []string {
	if p.Kind == KindOperator {
		return []string{Operator}
	}
	if len(p.Asked) > 0 {
		return p.Asked
	}
	if len(p.Links) == 0 {
		return []string{named(p.Kind, p.ID)}
	}
	names := make([]string, len(p.Links))
	for i, l := range p.Links {
		names[i] = named(l.Kind, l.ID)
	}
	return names
}

func named(kind Kind, id string) string {
	switch kind {
	case KindSubToken:
		return "subtoken:" + id
	case KindJWT:
		return "jwt:" + id
	case KindPerson:
		return "person:" + id
	}
	return "key:" + id
}

// Root is the link that stands for the agent itself, whatever sub-tokens hang under it: a key, or an agent of an issuer.
func (p Principal) Root() Link {
	for _, l := range slices.Backward(p.Links) {
		if l.Kind == KindKey || l.Kind == KindJWT {
			return l
		}
	}
	return Link{}
}

// Owner is the person who answers for the agent, per_…; "" for the operator's own.
func (p Principal) Owner() string {
	if n := len(p.Links); n > 0 && p.Links[n-1].Kind == KindPerson {
		return p.Links[n-1].ID
	}
	return ""
}

// Has reports whether p holds scope s. The empty scope is held by everybody.
func (p Principal) Has(s Scope) bool { return s == "" || slices.Contains(p.Scopes, s) }

// Lacks gives those of the scopes that p does not hold.
func (p Principal) Lacks(scopes []Scope) []Scope {
	var missing []Scope
	for _, s := range scopes {
		if !p.Has(s) {
			missing = append(missing, s)
		}
	}
	return missing
}

// ErrUnknownCredential is the answer to every secret that opens nothing. Refused wraps it with the reason.
var ErrUnknownCredential = errors.New("the credential is not valid")

// Refused is ErrUnknownCredential with what the record may know and the caller may not.
type Refused struct {
	Why      string // absent, malformed, unknown, revoked, expired, rotated, owner, network, …
	Who      string // the caller, as in a chain, when the secret was a real one
	Merchant string
}

func (r *Refused) Error() string { return ErrUnknownCredential.Error() + ": " + r.Why }

// Unwrap makes errors.Is(err, ErrUnknownCredential) true.
func (r *Refused) Unwrap() error { return ErrUnknownCredential }
