package policy

import (
	"slices"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/tools"
)

// Assertions are what a document must make true, written beside it and proved with every change of it; see Prove.
type Assertions struct {
	Language   int         `yaml:"language"`
	Assertions []Assertion `yaml:"assertions"`
}

// An Assertion says of some calls what becomes of all of them, or of none.
type Assertion struct {
	Name   string  `yaml:"name"`
	Why    string  `yaml:"why,omitempty"`
	For    Calls   `yaml:"for"`
	Always *Demand `yaml:"always,omitempty"`
	Never  *Ban    `yaml:"never,omitempty"`
}

// Calls are those that fit everything that is named. What is left out fits every call, but for two: rehearsals are left out, for they have
// no effect, and so are brakes and what tells a caller about itself, which no policy holds back; named by its own name such a tool counts.
type Calls struct {
	Profiles         []string      `yaml:"profiles,omitempty"`
	Tools            []string      `yaml:"tools,omitempty"`   // names, paths and patterns, as in a profile
	Actions          []string      `yaml:"actions,omitempty"` // of tools that are asked for actions
	Classes          []tools.Class `yaml:"classes,omitempty"` // none, spend, contact, destructive
	Writes           *bool         `yaml:"writes,omitempty"`
	Money            *MoneyOver    `yaml:"money,omitempty"`
	Customers        *CountOver    `yaml:"customers,omitempty"`
	Touches          *bool         `yaml:"touches,omitempty"` // customers hear of it
	Reaches          *bool         `yaml:"reaches,omitempty"` // it leaves the platform
	Undo             *int          `yaml:"undo,omitempty"`    // at least
	Data             *int          `yaml:"data,omitempty"`    // at least
	Level            string        `yaml:"level,omitempty"`   // at least: L0 to L7, or low, medium, high
	Trust            *Scores       `yaml:"trust,omitempty"`
	Tainted          *bool         `yaml:"tainted,omitempty"`
	RequiresApproval *bool         `yaml:"requires_approval,omitempty"` // of the credential
	Resource         string        `yaml:"resource,omitempty"`          // about an object that goes by such a name
	During           string        `yaml:"during,omitempty"`            // a freeze, by name
	Quiet            *bool         `yaml:"quiet,omitempty"`             // in the quiet hours
	Rehearsals       bool          `yaml:"rehearsals,omitempty"`        // and of these calls the rehearsals alone
}

// MoneyOver is more than an amount. Another currency is over it, and so is money of which nobody says how much it is.
type MoneyOver struct {
	Over     int64  `yaml:"over"` // in minor units
	Currency string `yaml:"currency,omitempty"`
}

// CountOver is more customers than a number, who hear of the call.
type CountOver struct {
	Over int64 `yaml:"over"`
}

// Scores are from one on and below another.
type Scores struct {
	From  *trust.Score `yaml:"from,omitempty"`
	Below *trust.Score `yaml:"below,omitempty"`
}

// A Demand is what must become of each call. People and roles are about calls that are not refused.
type Demand struct {
	Outcome  []Outcome `yaml:"outcome,omitempty"`  // one of these
	People   int       `yaml:"people,omitempty"`   // so many agree before anything happens
	Roles    []string  `yaml:"roles,omitempty"`    // of each of these somebody agrees
	Override bool      `yaml:"override,omitempty"` // one person who may override is all right; otherwise a rule with override counts as one person
}

// A Ban is what becomes of no call. All of it has to be true of a call that breaks it; people and roles are never true of a refused one.
type Ban struct {
	Outcome      []Outcome `yaml:"outcome,omitempty"`
	PeopleUnder  int       `yaml:"people_under,omitempty"`
	WithoutRoles []string  `yaml:"without_roles,omitempty"` // somebody of one of these is not needed
	Override     bool      `yaml:"override,omitempty"`      // as in Demand
}

// breaks reports whether a verdict is not what the assertion says.
func (a *Assertion) breaks(v *Verdict) bool {
	return a.Always != nil && !a.Always.met(v) || a.Never != nil && a.Never.meets(v)
}

func (d *Demand) met(v *Verdict) bool {
	if len(d.Outcome) > 0 && !slices.Contains(d.Outcome, v.Outcome) {
		return false
	}
	if v.Outcome == Refuse {
		return true
	}
	people, roles := v.asked(d.Override)
	return people >= d.People && len(missing(d.Roles, roles)) == 0
}

func (b *Ban) meets(v *Verdict) bool {
	if len(b.Outcome) > 0 && !slices.Contains(b.Outcome, v.Outcome) {
		return false
	}
	if b.PeopleUnder == 0 && len(b.WithoutRoles) == 0 {
		return len(b.Outcome) > 0
	}
	people, roles := v.asked(b.Override)
	return v.Outcome != Refuse && (b.PeopleUnder == 0 || people < b.PeopleUnder) &&
		(len(b.WithoutRoles) == 0 || len(missing(b.WithoutRoles, roles)) > 0)
}

// asked says how many people have to agree at least, and of which roles somebody must be among them.
func (v *Verdict) asked(override bool) (people int, roles []string) {
	switch {
	case v.Outcome != Park:
		return 0, nil
	case v.Ask.Override && !override:
		return 1, nil
	}
	return max(v.Ask.People, len(v.Ask.Roles), 1), v.Ask.Roles
}

func missing(wanted, there []string) []string {
	var some []string
	for _, w := range wanted {
		if !slices.Contains(there, w) {
			some = append(some, w)
		}
	}
	return some
}

// covers reports whether the calls of a tool under a profile, for an action where it has some, can be among them.
func (c *Calls) covers(profile string, t *tools.Tool, action string) bool {
	free := (&Facts{Tool: t}).free()
	return (len(c.Profiles) == 0 || slices.Contains(c.Profiles, profile)) &&
		(len(c.Tools) == 0 && !free || names(c.Tools, t) && (!free || slices.Contains(c.Tools, t.Name) || slices.Contains(c.Tools, t.Path))) &&
		(len(c.Actions) == 0 || action != "" && fitsAny(c.Actions, action)) &&
		(c.Writes == nil || *c.Writes == t.Writes())
}

// level is the lowest level that counts: that of a word is the lowest which the word covers.
func (c *Calls) level() auth.Level {
	switch c.Level {
	case "", "low":
		return 0
	case "medium":
		return 2
	case "high":
		return 5
	}
	level, err := auth.ParseLevel(c.Level)
	if err != nil {
		return auth.MaxLevel + 1 // no call: checked before
	}
	return level
}
