package approvals

import (
	"reflect"
	"slices"
	"strings"
)

// Each gives a rule that takes what each of several takes: all are to be satisfied, by the same people or by others, so that nobody's consent is
// passed over. The calls of a batch are asked about under it. Its own fields say as much as can be said of all together.
func Each(rules []Rule) Rule {
	var some []Rule
	for _, r := range rules {
		if !slices.ContainsFunc(some, func(s Rule) bool { return reflect.DeepEqual(r, s) }) {
			some = append(some, r)
		}
	}
	if len(some) == 1 {
		some[0].Grants = false
		return some[0]
	}
	all, names := Rule{Override: true}, make([]string, len(some))
	for i := range some {
		r := &some[i]
		r.Grants, r.Escalate, names[i] = false, nil, r.Name // nobody is let in later than the others
		all.People = max(all.People, r.least())
		all.Expires, all.Override = earlier(all, *r), all.Override && r.Override
	}
	slices.Sort(names)
	all.Name, all.Each = strings.Join(slices.Compact(names), " and "), some
	return all
}

// parts are the rules that are to be satisfied: those of Each, or else the rule itself.
func (r Rule) parts() []Rule {
	if len(r.Each) > 0 {
		return r.Each
	}
	return []Rule{r}
}
