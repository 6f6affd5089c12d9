package approvals

import (
	"cmp"
	"slices"
	"time"
)

// Both gives a rule that asks at least for what two rules ask for: as many people, each role as often as the rule that asks for it most, and those
// voters whom both let vote. What satisfies it need not satisfy each of the two, where people of one role may vote under one of them alone; whoever
// acts on it asks Satisfied about each.
func (r Rule) Both(other Rule) Rule {
	both := other
	if r.least() > other.least() {
		both.Name = r.Name
	}
	both.Roles = slices.Clone(r.Roles)
	for _, role := range other.Roles {
		if occurs(both.Roles, role) < occurs(other.Roles, role) {
			both.Roles = append(both.Roles, role)
		}
	}
	both.From = shared(r.Voters(0), other.Voters(0))
	both.People = max(r.least(), other.least(), len(both.Roles))
	both.Expires = earlier(r, other)
	both.Override, both.Grants = r.Override && other.Override, r.Grants && other.Grants
	both.Escalate = nil // the two would let different people in at different times
	return both
}

// earlier is the shorter time to decide of two rules.
func earlier(a, b Rule) time.Duration {
	return min(cmp.Or(a.Expires, TimeToDecide), cmp.Or(b.Expires, TimeToDecide))
}

func occurs(list []string, name string) (n int) {
	for _, one := range list {
		if one == name {
			n++
		}
	}
	return n
}

// shared gives those who may vote under two rules; none stand for everybody. Where nobody may under both, each of the two has its own.
func shared(a, b []string) []string {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	both := slices.DeleteFunc(slices.Clone(a), func(role string) bool { return !slices.Contains(b, role) })
	if len(both) == 0 {
		both = slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
	}
	return both
}
