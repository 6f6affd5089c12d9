package policy

import (
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/tools"
)

// tests are what makes a call one of those that an assertion is about, each with the axes that it looks at.
func (c *Calls) tests() []test {
	var all []test
	add := func(wanted bool, reads axes, ok func(*point) bool) {
		if wanted {
			all = append(all, test{reads, ok})
		}
	}
	add(len(c.Classes) > 0, onRating, func(x *point) bool { return c.ofClass(x.classify()) })
	add(c.Money != nil, onRating|onMoney, func(x *point) bool { return c.Money.fits(&x.effect) })
	add(c.Customers != nil, onRating|onCustomers, func(x *point) bool { return x.effect.Customers > c.Customers.Over && x.touches() })
	add(c.Touches != nil, onRating|onCustomers, func(x *point) bool { return x.touches() == *c.Touches })
	add(c.Reaches != nil, onRating, func(x *point) bool { return (x.worst().Reach > 0) == *c.Reaches })
	add(c.Undo != nil, onRating, func(x *point) bool { return x.worst().Undo >= *c.Undo })
	add(c.Data != nil, onRating, func(x *point) bool { return x.worst().DataOut >= *c.Data })
	add(c.Level != "", onRating, func(x *point) bool { return x.level() >= c.level() })
	add(c.Trust != nil, onTrust, func(x *point) bool { return c.Trust.has(x.facts.Trust) })
	add(c.Tainted != nil, onTaint, func(x *point) bool { return x.facts.Tainted == *c.Tainted })
	add(c.RequiresApproval != nil, onConfirm, func(x *point) bool { return x.facts.RequiresApproval == *c.RequiresApproval })
	add(c.Resource != "", onObject, func(x *point) bool { return about(c.Resource, x.facts.Objects) })
	add(c.During != "", onTime, func(x *point) bool { return x.policy.during(c.During, &x.facts) })
	add(c.Quiet != nil, onTime, func(x *point) bool { return x.policy.quietAt(&x.facts) == *c.Quiet })
	return all
}

func (c *Calls) ofClass(class tools.Class) bool {
	if class == tools.ClassNone {
		class = "none"
	}
	return slices.Contains(c.Classes, class)
}

func (m *MoneyOver) fits(e *Effect) bool {
	if e.Money == nil {
		return e.Risk.Money > 0
	}
	other := m.Currency != "" && e.Money.Currency != m.Currency
	return e.Money.AmountMinor > m.Over || e.Money.AmountMinor > 0 && other
}

func (s *Scores) has(score trust.Score) bool {
	return (s.From == nil || score >= *s.From) && (s.Below == nil || score < *s.Below)
}

// about reports whether one of some objects goes by a name that a pattern fits.
func about(pattern string, objects []tools.Object) bool {
	return slices.ContainsFunc(objects, func(o tools.Object) bool {
		return slices.ContainsFunc(o, func(name string) bool { return auth.Fits(pattern, name) })
	})
}

func (p *Policy) during(name string, f *Facts) bool {
	return slices.ContainsFunc(p.Document.Freezes, func(z Freeze) bool {
		return z.Name == name && !f.At.Before(z.From) && f.At.Before(z.To)
	})
}

func (p *Policy) quietAt(f *Facts) bool {
	q := p.Document.Limits.Contact.Quiet
	if q == nil {
		return false
	}
	_, quiet := q.Holds(f.At, p.zone)
	return quiet
}

// classify is the class as the operator sees it.
func (x *point) classify() tools.Class { return x.policy.Classify(x.facts.Tool, x.effect.Class) }

// worst is the risk of a call by the worse of two ratings, the tool's own and the operator's: an assertion is not met by a rating that was
// talked down, and not by one that was never talked up.
func (x *point) worst() tools.Risk {
	own, seen := x.effect.Risk, x.policy.Rated(&x.facts)
	if x.facts.DryRun {
		own = own.Rehearsed()
	}
	own.Undo, own.Touch, own.Reach = max(own.Undo, seen.Undo), max(own.Touch, seen.Touch), max(own.Reach, seen.Reach)
	own.DataOut = max(own.DataOut, seen.DataOut)
	return own
}

func (x *point) level() auth.Level {
	own := x.effect.Risk
	if x.facts.DryRun {
		own = own.Rehearsed()
	}
	return max(own.Level(), x.policy.Rated(&x.facts).Level())
}

func (x *point) touches() bool {
	return !x.facts.DryRun && (x.worst().Touch > 0 || x.policy.touches(&x.facts))
}

// kind is the type in an object's name or in a pattern of names.
func kind(name string) string {
	k, _, _ := strings.Cut(name, ":")
	return k
}
