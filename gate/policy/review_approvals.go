package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
)

func (k *review) approvals() {
	before := map[string]bool{}
	for i, r := range k.doc.Approvals {
		path := strict.Index("approvals", i)
		k.named(path+".name", r.Name, before)
		k.match(path, r.Match)
		k.holds(path, r.Match)
		k.over(path+".over", r.Over)
		k.written(path+".need.people", "how many people are asked; 0 lets the call run")
		k.need(path+".need", r.Need)
		k.reached(path, i, r)
	}
}

func (k *review) over(path string, o Over) {
	_, said := k.lines[path]
	k.unless(!said || o != Over{}, path, "says no amount", "money, customers, or both")
	k.money(path+".money", o.Money)
	if o.Customers != nil {
		between(k, path+".customers", *o.Customers, 0, maxCustomers)
	}
}

// reached notes a rule that no call comes to, because one before it takes them all.
func (k *review) reached(path string, i int, r ApprovalRule) {
	for _, before := range k.doc.Approvals[:i] {
		if k.covers(before, r) {
			k.problem(path, fmt.Sprintf("is never reached: every call that fits it fits %q before it", before.Name), "the narrower rule first")
			return
		}
	}
}

// covers reports whether every call that fits b fits a.
func (k *review) covers(a, b ApprovalRule) bool {
	return (a.When == "" || strings.TrimSpace(a.When) == strings.TrimSpace(b.When)) && subset(b.Classes, a.Classes) && subset(b.Profiles, a.Profiles) &&
		implies(b.Over, a.Over) && k.effectsWithin(b.Match, a.Match)
}

func (k *review) effectsWithin(few, many Match) bool {
	all := k.effects(many)
	return !slices.ContainsFunc(k.effects(few), func(t *tools.Tool) bool { return !slices.Contains(all, t) })
}

// subset reports whether a list that a match names holds nothing that another does not, where none means all.
func subset[T comparable](few, many []T) bool {
	return len(many) == 0 || len(few) > 0 && !slices.ContainsFunc(few, func(one T) bool { return !slices.Contains(many, one) })
}

// implies reports whether what is over one set of amounts is over another.
func implies(high, low Over) bool {
	if low.Money == nil && low.Customers == nil {
		return true
	}
	money := high.Money == nil || low.Money != nil && low.Money.Currency == high.Money.Currency && low.Money.AmountMinor <= high.Money.AmountMinor
	customers := high.Customers == nil || low.Customers != nil && *low.Customers <= *high.Customers
	return (high.Money != nil || high.Customers != nil) && money && customers
}

const maxPeople = 10

func (k *review) need(path string, n Need) {
	if n.People == 0 {
		k.unless(len(n.Roles)+len(n.From)+len(n.Escalate) == 0 && n.Expires == 0 && !n.Override && !n.Grants, path+".people", "is 0, and the rest of it says whom to ask", "1 or more, or people: 0 alone")
		return
	}
	between(k, path+".people", n.People, 0, maxPeople)
	k.unless(n.People >= len(n.Roles), path+".people", "is less than the roles take, of which each takes a person of its own", fmt.Sprintf("%d or more", len(n.Roles)))
	some(k, path+".roles", n.Roles)
	some(k, path+".from", n.From)
	k.knownRoles(path+".roles", n.Roles)
	k.knownRoles(path+".from", n.From)
	k.twice(path+".from", n.From)
	if n.Expires != 0 {
		k.unless(time.Duration(n.Expires) >= time.Minute && time.Duration(n.Expires) <= approvals.MaxTimeToDecide, path+".expires", "is out of range", "1m to 30d")
	}
	k.escalations(path, n)
	k.enough(path, n)
}

func (k *review) knownRoles(path string, roles []string) {
	for i, role := range roles {
		if k.Roles == nil || !k.known(strict.Index(path, i), "role", role, k.roles) {
			continue
		}
		if r := k.role(role); !r.Decides {
			k.warn(strict.Index(path, i), fmt.Sprintf("people of the role %q may not decide approvals", role), "a role that holds approvals:resolve")
		}
	}
}

func (k *review) role(name string) Role {
	i := slices.IndexFunc(k.Roles, func(r Role) bool { return r.Name == name })
	return k.Roles[i]
}

func (k *review) escalations(path string, n Need) {
	var last Duration
	expires := cmp.Or(time.Duration(n.Expires), approvals.TimeToDecide)
	for i, e := range n.Escalate {
		at := strict.Index(path+".escalate", i)
		k.unless(e.After > last, at+".after", "is not later than the one before", "times that rise, from 1s")
		k.unless(time.Duration(e.After) < expires, at+".after", "comes when the time to decide is over", fmt.Sprintf("less than %s", approvalTime(expires)))
		k.unless(len(e.To) > 0, at+".to", "names nobody", "roles whose people may vote from then on")
		k.knownRoles(at+".to", e.To)
		last = e.After
	}
}

func approvalTime(d time.Duration) string {
	text, _ := Duration(d).MarshalText() // it has no error
	return string(text)
}

// enough warns of a rule that the people there are cannot satisfy.
func (k *review) enough(path string, n Need) {
	if k.Roles == nil || len(k.problems) > 0 {
		return
	}
	for i, role := range n.Roles {
		if k.role(role).People == 0 {
			k.warn(strict.Index(path+".roles", i), fmt.Sprintf("nobody has the role %q, so that nothing is ever approved", role), "a role that somebody has")
		}
	}
	voters := slices.Concat(n.Roles, n.From)
	for _, e := range n.Escalate {
		voters = append(voters, e.To...)
	}
	slices.Sort(voters)
	people := 0
	for _, role := range slices.Compact(voters) {
		people += k.role(role).People
	}
	if len(voters) > 0 && people < n.People {
		k.warn(path+".people", fmt.Sprintf("takes %d people, and only %d may vote", n.People, people), "no more than have the roles")
	}
}
