package tools

import (
	"fmt"
	"slices"
	"strings"
)

// A Rating is what a call may be rated: its risk, the consent that it may need, and whether the tool wants it whoever calls.
type Rating struct {
	Risk  Risk
	Class Class
	Asks  bool // of Preview
}

// RatingsOf lists all that a call of the tool can be rated, or one that asks for that action; the first is the tool's own. Nothing else is
// ever let through (Foresaw), so that whoever has looked at these has looked at every call.
func (t *Tool) RatingsOf(action string) []Rating {
	for _, a := range t.Actions {
		if a.ID() == action {
			return []Rating{{a.Risk, a.Class, false}}
		}
	}
	return append([]Rating{{t.Risk, t.Class, false}}, t.ratings...)
}

// Crowd reports whether a call with that rating may be about more than one customer.
func (t *Tool) Crowd(r Risk) bool {
	return max(r.Touch, t.Risk.Touch) == 2 || max(r.Blast, t.Risk.Blast) >= 2
}

// Foresaw holds the effect of one call to what the tool says of all of its calls. An error is a mistake in the tool, and the call is not made.
func (t *Tool) Foresaw(action string, p Preview, r Rating) error {
	switch {
	case !slices.Contains(t.RatingsOf(action), r):
		return fmt.Errorf("tool %s rates a call %+v, which is none of its ratings", t.Name, r)
	case p.Money != nil && (p.Money.AmountMinor < 0 || p.Money.AmountMinor > 0 && r.Risk.Money == 0):
		return fmt.Errorf("tool %s moves %s in a call whose rating has no money", t.Name, p.Money)
	case p.Money == nil && r.Risk.Money > 0 && !t.noAmount && t.Writes():
		return fmt.Errorf("tool %s moves money and does not say how much", t.Name)
	case p.Customers < 0 || p.Customers > 1 && !t.Crowd(r.Risk):
		return fmt.Errorf("tool %s reaches %d customers and is rated to reach one", t.Name, p.Customers)
	}
	return nil
}

// KindsOf lists the types that the names of the objects of a call can have, of one that asks for an action those of that action; nil: any.
// The first are those that the call itself can name.
func (t *Tool) KindsOf(action string) []string {
	for _, a := range t.Actions {
		if a.ID() == action {
			return a.kinds
		}
	}
	return t.kinds
}

// kindsOf is what Spec.Resource and Func.Kinds say together.
func kindsOf(s Spec, more []string) []string {
	kind, _, _ := strings.Cut(s.Resource, ":")
	if strings.HasPrefix(kind, "/") {
		return nil
	}
	return append([]string{kind}, more...)
}

// known holds the names of objects to the types that they can have, of which each has one at most.
func known(all []Object, kinds []string) error {
	if kinds == nil {
		return nil
	}
	for _, o := range all {
		seen := map[string]bool{}
		for _, name := range o {
			kind, _, _ := strings.Cut(name, ":")
			if !slices.Contains(kinds, kind) || seen[kind] {
				return fmt.Errorf("an object goes by a name of type %q; it can have one of each of %s", kind, strings.Join(kinds, ", "))
			}
			seen[kind] = true
		}
	}
	return nil
}
