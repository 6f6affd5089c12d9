package auth

import (
	"fmt"
	"slices"
	"strings"
)

// A Scope is a right of the form area:verb. The list is closed; a key that asks for anything else is not minted.
type Scope string

// AgentScopes are the scopes that agents' keys may hold.
var AgentScopes = []Scope{
	"analytics:read", "catalog:read", "catalog:write", "pricing:write",
	"orders:read", "orders:write", "orders:fulfil", "orders:refund",
	"customers:read", "customers:pii", "customers:write", "customers:erase",
	"marketing:read", "marketing:write", "marketing:send",
	"ads:read", "ads:write", "ads:connect", "ads:spend",
	"store:read", "store:write", "store:publish",
	"support:read", "support:write", "actions:request",
}

// The scopes of people. Agents never hold one: who asks does not decide. See CarrierScopes for the keys of services.
const (
	ApprovalsRead     Scope = "approvals:read"
	ApprovalsResolve  Scope = "approvals:resolve"
	ApprovalsOverride Scope = "approvals:override"
	KeysAdmin         Scope = "keys:admin"
	PolicyAdmin       Scope = "policy:admin"
	AuditRead         Scope = "audit:read"
	WebhooksAdmin     Scope = "webhooks:admin"
)

// PeopleScopes are the scopes that only people may hold.
var PeopleScopes = []Scope{ApprovalsRead, ApprovalsResolve, ApprovalsOverride, KeysAdmin, PolicyAdmin, AuditRead, WebhooksAdmin}

// CarrierScopes are what the key of a service holds that carries people's decisions here, such as a chat's. It holds nothing beside: who asks
// does not decide, nor bring what others have decided.
var CarrierScopes = []Scope{ApprovalsResolve}

// KeyScopes are the scopes that keys may hold: those of agents, or those of carriers.
var KeyScopes = slices.Concat(AgentScopes, CarrierScopes)

// AllScopes are the scopes that a role may hold.
var AllScopes = slices.Concat(AgentScopes, PeopleScopes)

// ParseScopes checks names against the scopes that may be given and returns them sorted, each once. A pattern (orders:* or
// *:read) stands for those it names today: what is added to the list later is given to nobody who was given a pattern.
func ParseScopes(names []string, among []Scope) ([]Scope, error) {
	var scopes []Scope
	for _, n := range names {
		found := matching(strings.TrimSpace(n), among)
		if len(found) == 0 {
			return nil, fmt.Errorf("scope %q does not exist%s; the scopes are: %s; or patterns such as orders:* and *:read",
				strings.TrimSpace(n), suggest(Scope(strings.TrimSpace(n)), among), joinScopes(among))
		}
		scopes = append(scopes, found...)
	}
	slices.Sort(scopes)
	return slices.Compact(scopes), nil
}

func matching(name string, among []Scope) []Scope {
	area, verb, _ := strings.Cut(name, ":")
	var found []Scope
	for _, s := range among {
		a, v, _ := strings.Cut(string(s), ":")
		if string(s) == name || area == a && verb == "*" || area == "*" && verb == v {
			found = append(found, s)
		}
	}
	return found
}

func suggest(s Scope, among []Scope) string {
	area, verb, _ := strings.Cut(string(s), ":")
	for _, known := range among {
		a, v, _ := strings.Cut(string(known), ":")
		if v == verb && (strings.HasPrefix(a, area) || strings.HasPrefix(area, a)) {
			return fmt.Sprintf(" (did you mean %q?)", known)
		}
	}
	return ""
}

func joinScopes(scopes []Scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}
