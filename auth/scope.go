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

// ApprovalsResolve is the right to decide about a parked call. People hold it and agents never do.
const ApprovalsResolve Scope = "approvals:resolve"

// ParseScopes checks names against the list of scopes that agents may hold and gives them sorted, each once.
func ParseScopes(names []string) ([]Scope, error) {
	var scopes []Scope
	for _, n := range names {
		s := Scope(strings.TrimSpace(n))
		if !slices.Contains(AgentScopes, s) {
			return nil, fmt.Errorf("scope %q does not exist%s; the scopes are: %s", s, suggest(s), joinScopes(AgentScopes))
		}
		scopes = append(scopes, s)
	}
	slices.Sort(scopes)
	return slices.Compact(scopes), nil
}

func suggest(s Scope) string {
	area, verb, _ := strings.Cut(string(s), ":")
	for _, known := range AgentScopes {
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
