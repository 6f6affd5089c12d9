package policy

import (
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/gate/policy/condition"
	"github.com/dtcgate/dtcgate/tools"
)

// What stands in the document as patterns and names is made ready here, once for all calls. A tool that was not in the registry then is in
// none of these sets, and no profile has it.

// A set holds the few names that a Match lists; none stand for every name.
type set []string

func setOf[T ~string](names []T) set {
	s := make(set, len(names))
	for i, n := range names {
		s[i] = string(n)
	}
	return s
}

func (s set) has(name string) bool { return len(s) == 0 || slices.Contains(s, name) }

// A toolset holds tools by name; nil holds every tool.
type toolset map[string]bool

// toolsOf are the tools that patterns are about.
func toolsOf(patterns []string, registry *tools.Registry) toolset {
	if len(patterns) == 0 {
		return nil
	}
	s := toolset{}
	for _, t := range registry.All() {
		if names(patterns, t) {
			s[t.Name] = true
		}
	}
	return s
}

func (s toolset) has(name string) bool { return s == nil || s[name] }

// A match is a Match made ready.
type match struct {
	tools             toolset
	classes, profiles set
}

func (m Match) ready(registry *tools.Registry) match {
	return match{toolsOf(m.Tools, registry), setOf(m.Classes), setOf(m.Profiles)}
}

// fits reports whether a call of a class is one that the match is about.
func (m *match) fits(f *Facts, class tools.Class) bool {
	return m.profiles.has(f.Profile) && m.classes.has(string(class)) && m.tools.has(f.Tool.Name)
}

// An approvalRule is an ApprovalRule made ready.
type approvalRule struct {
	ApprovalRule
	match
	full string         // its name on the record
	ask  approvals.Rule // what it asks for
	when *condition.When
}

// A charger is a Budget made ready: one of limits, or a day of a profile's ceiling.
type charger struct {
	Budget
	match
	full string // its name on the record
}

// A freeze is a Freeze made ready.
type freeze struct {
	Freeze
	match
}

func (z *freeze) holds(at time.Time) bool { return !at.Before(z.From) && at.Before(z.To) }

// match makes every Match of the document ready.
func (p *Policy) match(registry *tools.Registry) {
	for _, r := range p.rules {
		r.match = r.Match.ready(registry)
	}
	for _, z := range p.Document.Freezes {
		p.freezes = append(p.freezes, freeze{z, z.Match.ready(registry)})
	}
	for _, b := range p.Document.Limits.Budgets {
		p.budgets = append(p.budgets, charger{b, b.Match.ready(registry), "limits.budgets." + b.Name})
	}
}

// rulesFor gives the approval rules that can match a call of a tool.
func (p *Policy) rulesFor(t *tools.Tool) []*approvalRule {
	var some []*approvalRule
	for _, r := range p.rules {
		if t.Writes() && r.tools.has(t.Name) {
			some = append(some, r)
		}
	}
	return some
}
