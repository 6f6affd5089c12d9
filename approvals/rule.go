package approvals

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Rule says whose consent a request takes. It is stored with the request and bound: a rule that changes later changes nothing that was asked.
type Rule struct {
	Name     string        `json:"name"`
	People   int           `json:"people"`          // distinct ones; at least one, and one for each of Roles
	Roles    []string      `json:"roles,omitempty"` // each by a person of its own
	From     []string      `json:"from,omitempty"`  // roles whose people may vote beside those of Roles; neither: whoever may decide
	Expires  time.Duration `json:"-"`               // for how long it may be decided; 0: TimeToDecide, at most MaxTimeToDecide
	Escalate []Escalation  `json:"escalate,omitempty"`
	Override bool          `json:"override,omitempty"` // somebody who holds approvals:override may decide alone
	Grants   bool          `json:"grants,omitempty"`   // those people may agree beforehand to many such calls, by a standing grant
	Each     []Rule        `json:"each,omitempty"`     // what is asked is all that these ask, each by itself
}

// An Escalation lets the people of more roles vote once a request is that old. They count as people and fill no required role: what takes
// a manager never goes without one.
type Escalation struct {
	After time.Duration `json:"-"`
	To    []string      `json:"to"`
}

// onePerson is the rule of requests of earlier versions.
func onePerson(name string) Rule { return Rule{Name: name, People: 1} }

// least is how many people it takes.
func (r Rule) least() int { return max(r.People, len(r.Roles), 1) }

// timeToDecide is how long the question stays open.
func (r Rule) timeToDecide() time.Duration {
	return min(cmp.Or(r.Expires, TimeToDecide), MaxTimeToDecide)
}

// Voters gives the roles whose people may vote on a request that has been open for so long; none: whoever may decide.
func (r Rule) Voters(open time.Duration) []string {
	voters := slices.Concat(r.Roles, r.From)
	for _, one := range r.Each {
		some := one.Voters(open)
		if len(some) == 0 {
			return nil
		}
		voters = append(voters, some...)
	}
	if len(voters) == 0 {
		return nil
	}
	for _, e := range r.Escalate {
		if open >= e.After {
			voters = append(voters, e.To...)
		}
	}
	slices.Sort(voters)
	return slices.Compact(voters)
}

// Admits reports whether somebody with these roles may vote on a request that has been open for so long.
func (r Rule) Admits(roles []string, open time.Duration) bool {
	voters := r.Voters(open)
	return len(voters) == 0 || slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(voters, role) })
}

// Needs says in words whose consent it takes: "2 people: one marketing, one manager".
func (r Rule) Needs() string {
	var all []string
	for _, one := range r.parts() {
		all = append(all, one.short(nil).words(one.Voters(0)))
	}
	return strings.Join(all, "; and ")
}

// words says in words who is missing, of whom voters may fill the places that are bound to no role.
func (s shortfall) words(voters []string) string {
	head := plural(s.people)
	places := make([]string, len(s.places))
	for i, roles := range s.places {
		places[i] = "one " + anyOf(roles)
	}
	free := s.people - len(places)
	switch {
	case free > 0 && len(places) == 0 && len(voters) > 0:
		return head + " of " + anyOf(voters)
	case free > 0 && len(places) > 0:
		places = append(places, fmt.Sprintf("%d more of %s", free, anyOf(voters)))
	}
	if len(places) == 0 {
		return head
	}
	return head + ": " + strings.Join(places, ", ")
}

func plural(people int) string {
	if people == 1 {
		return "1 person"
	}
	return fmt.Sprintf("%d people", people)
}

// anyOf reads "a, b or c".
func anyOf(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// hash is SHA-256 over the rule as it is stored, in hex.
func (r Rule) hash() (string, error) { return hashOf("rule", r) }

// hashOf is SHA-256 over the JSON of a part of a request, in hex.
func hashOf(what string, part any) (string, error) {
	raw, err := json.Marshal(part)
	if err != nil {
		return "", fmt.Errorf("writing the %s: %w", what, err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// span is a duration in JSON, as people write one: 36h0m0s.
type span time.Duration

// MarshalText implements encoding.TextMarshaler.
func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = span(d)
	return err
}

// The JSON of a rule is that of its fields, with its times as spans.
type (
	ruleFields Rule
	ruleJSON   struct {
		ruleFields
		Expires span `json:"expires,omitzero"`
	}
	escalationFields Escalation
	escalationJSON   struct {
		After span `json:"after"`
		escalationFields
	}
)

// MarshalJSON implements json.Marshaler.
func (r Rule) MarshalJSON() ([]byte, error) {
	return json.Marshal(ruleJSON{ruleFields(r), span(r.Expires)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Rule) UnmarshalJSON(raw []byte) error {
	var j ruleJSON
	err := json.Unmarshal(raw, &j)
	*r = Rule(j.ruleFields)
	r.Expires = time.Duration(j.Expires)
	return err
}

// MarshalJSON implements json.Marshaler.
func (e Escalation) MarshalJSON() ([]byte, error) {
	return json.Marshal(escalationJSON{span(e.After), escalationFields(e)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Escalation) UnmarshalJSON(raw []byte) error {
	var j escalationJSON
	err := json.Unmarshal(raw, &j)
	*e = Escalation(j.escalationFields)
	e.After = time.Duration(j.After)
	return err
}
