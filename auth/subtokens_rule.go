package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/dtcgate/dtcgate/schemas"
)

// A Delegation is what a principal is asked to give to somebody else, in the words of whoever asks. What is left out, a nil list among it,
// stays as it is for the giver. That holds later too: a chain is asked link by link on every call, so what the giver loses, those
// below lose with it. A list that is there and empty is refused: it could be taken for nothing and for everything.
type Delegation struct {
	Name      string
	Audience  string        // who it is for
	Scopes    []string      // names and patterns, as ParseScopes reads them
	Actions   []string      // provider:name, provider:* or *
	Tools     []string      // names and patterns
	Resources []string      // type:id, type:* and type:part/*
	Networks  []string      // CIDRs
	Ceiling   string        // as ParseLevel reads it
	Rate      *Rate         // drawn from the giver's as well; nil: only from the giver's
	TTL       time.Duration // 0: DefaultTTL, or until the giver ends; see Seconds
	Depth     int           // how many sub-tokens deep it may delegate in turn
}

// Bounds of a sub-token's life. MaxTTL bounds what a forgotten one can do.
const (
	DefaultTTL = time.Hour
	MinTTL     = time.Second
	MaxTTL     = 30 * 24 * time.Hour
)

// Seconds is a TTL in whole seconds as somebody asks for it. Zero is a time of its own, and refused, and what is out of bounds stays so.
func Seconds(n int64) time.Duration {
	if n < 1 {
		return -1
	}
	return time.Duration(min(n, int64(2*MaxTTL/time.Second))) * time.Second
}

// ErrNoDelegation is the answer to a principal that may not delegate: a person, or a chain that is as deep as it may be.
var ErrNoDelegation = errors.New("this credential may not delegate")

// Undelegable refuses a delegation and says of every part what is wrong with it and what could be given instead. It repeats
// nothing that was asked but names of scopes: the rest may be anything.
type Undelegable struct {
	Malformed []schemas.Wrong // says nothing that could be given
	Wider     []schemas.Wrong // reaches further than the giver
	Missing   []Scope         // that the giver would have to hold
}

func (u *Undelegable) Error() string {
	var b strings.Builder
	b.WriteString("the sub-token cannot be given")
	for _, w := range slices.Concat(u.Malformed, u.Wider) {
		fmt.Fprintf(&b, "; %s %s (allowed: %s)", w.Field, w.Problem, w.Expected)
	}
	return b.String()
}

func (u *Undelegable) malformed(field, problem, allowed string, example any) {
	u.Malformed = append(u.Malformed, schemas.Wrong{Field: field, Problem: problem, Expected: allowed, Example: example})
}

func (u *Undelegable) wider(field, problem, allowed string) {
	u.Wider = append(u.Wider, schemas.Wrong{Field: field, Problem: problem, Expected: allowed})
}

// Depth is how many sub-tokens p may still hang under itself, one under the other: the least that a link of its chain has left.
func (p Principal) Depth() int {
	if !p.Agent() || len(p.Links) == 0 {
		return 0
	}
	left := MaxDepth
	for below, l := range p.Links {
		if l.Kind != KindPerson {
			left = min(left, l.Depth-below)
		}
	}
	return max(left, 0)
}

// Narrow gives the sub-token that p is asked for. It never reaches further than p as p is now: asked for more, Narrow gives
// *Undelegable and no smaller token, for whoever got less than he asked for would find out where it hurts.
func (p Principal) Narrow(d Delegation, now time.Time) (SubToken, error) {
	if p.Depth() < 1 {
		return SubToken{}, ErrNoDelegation
	}
	u := &Undelegable{}
	d.check(u)
	t := SubToken{
		Merchant: p.Merchant, Parent: p.ID, Name: d.Name, Audience: d.Audience,
		Scopes:    p.narrowScopes(d.Scopes, u),
		Actions:   p.narrowActions(d.Actions, u),
		Tools:     p.narrowPatterns("tools", d.Tools, toolsOf, u),
		Resources: p.narrowPatterns("resources", d.Resources, resourcesOf, u),
		Networks:  p.narrowNetworks(d.Networks, u),
		Ceiling:   p.narrowCeiling(d.Ceiling, u),
		Rate:      p.narrowRate(d.Rate, u),
		Depth:     p.narrowDepth(d.Depth, u),
		CreatedAt: now,
		ExpiresAt: p.narrowEnd(d.TTL, now, u),
	}
	if len(u.Malformed)+len(u.Wider) > 0 {
		return SubToken{}, u
	}
	return t, nil
}

// maxAudience bounds the note on who a sub-token is for, in bytes.
const maxAudience = 200

// check holds the parts to what they can be, whoever gives.
func (d Delegation) check(u *Undelegable) {
	for _, part := range []struct {
		field string
		list  []string
	}{{"scopes", d.Scopes}, {"actions", d.Actions}, {"tools", d.Tools}, {"resources", d.Resources}, {"networks", d.Networks}} {
		if part.list != nil && len(part.list) == 0 {
			u.malformed(part.field, "is empty", "at least one, or left out for all that the giver has", nil)
		}
		if len(part.list) > maxPatterns {
			u.malformed(part.field, "has too many entries", fmt.Sprintf("at most %d", maxPatterns), nil)
		}
	}
	unseen := func(r rune) bool { return !unicode.IsPrint(r) } // agents choose these words, and people read them
	if checkName(d.Name) != nil || strings.ContainsFunc(d.Name, unseen) {
		u.malformed("name", "is no name", fmt.Sprintf("1 to %d bytes of plain text on one line", maxName), "order reader")
	}
	if len(d.Audience) > maxAudience || strings.ContainsFunc(d.Audience, unseen) {
		u.malformed("audience", "is no note", fmt.Sprintf("at most %d bytes of plain text on one line", maxAudience), "the night shift")
	}
}

// element names one of a list, as schemas.Wrong does.
func element(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

func (p Principal) narrowScopes(names []string, u *Undelegable) []Scope {
	if len(names) == 0 {
		return slices.Clone(p.Scopes)
	}
	var scopes []Scope
	for i, name := range names {
		found := matching(strings.TrimSpace(name), AgentScopes)
		if len(found) == 0 {
			u.malformed(element("scopes", i), "names no scope"+suggest(Scope(name), AgentScopes), "scopes such as orders:read, or patterns such as orders:* and *:read", "orders:read")
		}
		scopes = append(scopes, found...)
	}
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	for _, s := range scopes {
		if !p.Has(s) {
			u.Missing = append(u.Missing, s)
		}
	}
	if len(u.Missing) > 0 {
		u.wider("scopes", "ask for "+joinScopes(u.Missing)+", which the giver does not hold", anyOr(joinScopes(p.Scopes)))
	}
	return scopes
}

// anyOr is a list as a refusal shows it.
func anyOr(list string) string {
	if list == "" {
		return "none"
	}
	return list
}

func (p Principal) narrowActions(asked []string, u *Undelegable) []string {
	if len(asked) == 0 {
		return slices.Clone(p.Links[0].Actions)
	}
	for i, a := range asked {
		if !p.mayGrant(a) {
			u.wider(element("actions", i), "is no action that the giver holds", anyOr(strings.Join(p.Links[0].Actions, ", ")))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(asked)))
}

// mayGrant reports whether every link that calls holds all that a grant holds: provider:name, provider:* or *.
func (p Principal) mayGrant(grant string) bool {
	for _, l := range p.Links {
		if l.Kind != KindPerson && !slices.Contains(l.Actions, grant) && !slices.ContainsFunc(l.Actions, func(have string) bool { return grants(have, grant) }) {
			return false
		}
	}
	return true
}

func toolsOf(l Link) []string     { return l.Tools }
func resourcesOf(l Link) []string { return l.Resources }

func (p Principal) narrowPatterns(field string, asked []string, list func(Link) []string, u *Undelegable) []string {
	for i, a := range asked {
		switch {
		case checkPatterns(field, []string{a}) != nil:
			u.malformed(element(field, i), "is no name and no pattern", "a whole name, or what several begin with up to a . _ : or / and then *", "orders.*")
		case !p.every(list, func(have string) bool { return covers(a, have) }):
			u.wider(element(field, i), "reaches further than the giver", anyOr(strings.Join(p.reach(list), ", ")))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(asked)))
}

// Resources gives the objects that p is limited to, as names and patterns; nil when it is not. It compares names. Links that know the
// same object by different names (ticket:tkt_1, queue:returns/*) have it in common all the same, and it is not told.
func (p Principal) Resources() []string { return p.reach(resourcesOf) }

// reach gives what the lists of all links name in common, nil when no link has one. Of two patterns one holds the other or they
// have nothing in common, so what two lists have in common is those of each that the other holds.
func (p Principal) reach(list func(Link) []string) []string {
	var common []string
	limited := false
	for _, l := range p.Links {
		all := list(l)
		switch {
		case len(all) == 0:
			continue
		case !limited:
			common = slices.Clone(all)
		default:
			common = slices.Concat(held(common, all), held(all, common))
		}
		limited = true
	}
	if !limited {
		return nil
	}
	slices.Sort(common)
	return slices.Compact(append([]string{}, common...))
}

// held gives those of some that one of all holds.
func held(some, all []string) []string {
	return slices.DeleteFunc(slices.Clone(some), func(pattern string) bool {
		return !slices.ContainsFunc(all, func(wide string) bool { return covers(pattern, wide) })
	})
}

func (p Principal) narrowNetworks(asked []string, u *Undelegable) Networks {
	networks, err := ParseNetworks(asked)
	if err != nil {
		u.malformed("networks", "holds what is no network", "CIDRs", "10.0.0.0/8")
		return nil
	}
	for i, n := range networks {
		for _, l := range p.Links {
			if len(l.Networks) > 0 && !slices.ContainsFunc(l.Networks, func(wide netip.Prefix) bool { return inside(n, wide) }) {
				u.wider(element("networks", i), "is not inside those of the giver", fmt.Sprint(l.Networks))
				break
			}
		}
	}
	return networks
}

func inside(n, wide netip.Prefix) bool { return wide.Bits() <= n.Bits() && wide.Contains(n.Addr()) }

func (p Principal) narrowCeiling(asked string, u *Undelegable) Level {
	if asked == "" {
		return p.Ceiling
	}
	level, err := ParseLevel(asked)
	if err != nil {
		u.malformed("ceiling", "is no level", "low, medium, high, or L0 to L7", "low")
	}
	if level > p.Ceiling {
		u.wider("ceiling", "is above the giver's", "at most "+p.Ceiling.String())
	}
	return level
}

func (p Principal) narrowRate(asked *Rate, u *Undelegable) Rate {
	if asked == nil {
		return Rate{}
	}
	if asked.check() != nil || asked.PerMinute == 0 {
		u.malformed("rate", "is no rate", fmt.Sprintf("1 to %d per_minute, with a burst of as many", maxRate), nil)
	}
	rate := *asked
	for _, l := range p.Links {
		if asked.Burst == 0 && l.Rate.PerMinute > 0 { // left out, so it is the giver's
			rate.Burst = min(rate.burst(), l.Rate.burst())
		}
		if !rate.within(l.Rate) {
			u.wider("rate", "is above the giver's", fmt.Sprintf("at most %d per_minute with a burst of %d", l.Rate.PerMinute, l.Rate.burst()))
			break
		}
	}
	return rate
}

func (p Principal) narrowDepth(asked int, u *Undelegable) int {
	switch most := p.Depth() - 1; {
	case asked < 0:
		u.malformed("depth", "is below zero", "a whole number from 0", 0)
	case asked > most:
		u.wider("depth", "is more than the giver has left", fmt.Sprintf("at most %d", most))
	}
	return asked
}

// narrowEnd gives the time at which the sub-token ends.
func (p Principal) narrowEnd(ttl time.Duration, now time.Time, u *Undelegable) time.Time {
	switch end := now.Add(ttl); {
	case ttl == 0:
		if end = now.Add(DefaultTTL); !p.ExpiresAt.IsZero() && end.After(p.ExpiresAt) {
			end = p.ExpiresAt
		}
		return end
	case ttl < MinTTL || ttl > MaxTTL:
		u.malformed("ttl_seconds", "is out of bounds", fmt.Sprintf("%d to %d", MinTTL/time.Second, MaxTTL/time.Second), 3600)
	case !p.ExpiresAt.IsZero() && end.After(p.ExpiresAt):
		u.wider("ttl_seconds", "goes beyond the end of the giver", "an end by "+p.ExpiresAt.Format(time.RFC3339))
	}
	return now.Add(ttl)
}
