package auth

import (
	"fmt"
	"slices"
	"strings"
)

// MayRequest reports whether every link of p that calls holds an action, provider:name: by its own id, by its provider's
// (helpdesk:*) or by *. People answer for actions and hold none themselves.
func (p Principal) MayRequest(action string) bool {
	for _, l := range p.Links {
		if l.Kind != KindPerson && !slices.ContainsFunc(l.Actions, func(grant string) bool { return grants(grant, action) }) {
			return false
		}
	}
	return len(p.Links) > 0
}

// grants compares whole words: there is no pattern that holds a part of a name.
func grants(grant, action string) bool {
	provider, _, ok := strings.Cut(action, ":")
	return ok && (grant == action || grant == "*" || grant == provider+":*")
}

// ParseActions checks grants against the actions that there are and gives them sorted, each once. A grant that holds none
// of them is a mistake.
func ParseActions(names, known []string) ([]string, error) {
	held := []string{}
	for _, n := range names {
		n = strings.TrimSpace(n)
		if !slices.ContainsFunc(known, func(action string) bool { return grants(n, action) }) {
			return nil, fmt.Errorf("action %q does not exist; write one of %s, or provider:* for all of a provider, or * for all",
				n, strings.Join(known, ", "))
		}
		held = append(held, n)
	}
	slices.Sort(held)
	return slices.Compact(held), nil
}
