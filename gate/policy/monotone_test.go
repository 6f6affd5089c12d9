package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/tools"
)

// A narrowing is a change after which nothing is allowed that was not before.
type narrowing struct {
	name string
	edit func(dice, tree)          // of the document
	less func(dice, *policy.Facts) // of the caller's standing, instead
	of   *tools.Tool               // whose calls it is about; nil: of all
}

// narrowings are those that an operator, and what happens to an agent, can make.
var narrowings = []narrowing{
	{name: "a denied tool", edit: denies("tools", toolPatterns)},
	{name: "a denied resource", edit: denies("resources", resources)},
	{name: "a denied action", edit: denies("actions", append([]string{"*", "payments:*"}, actionIDs...)), of: requestAction},
	{name: "fewer tools", edit: drops("tools")},
	{name: "fewer resources", edit: drops("resources")},
	{name: "fewer actions to run", edit: drops("actions", "run"), of: requestAction},
	{name: "a lower ceiling", edit: lowersCeiling},
	{name: "a tool switched off", edit: overrides(func(dice) (string, any) { return "off", true })},
	{name: "a higher minimum of trust", edit: overrides(func(d dice) (string, any) { return "minimum_trust", pick(d, "ADAPTIVE", "OPEN") })},
	{name: "a freeze", edit: func(d dice, doc tree) {
		appends(doc, "freezes", d.about(tree{"from": moments[0], "to": moments[1]}), "name", "added")
	}},
	{name: "a forbid", edit: func(d dice, doc tree) {
		doc["conditions"] = doc["conditions"].(string) + fmt.Sprintf("@id(\"added\") forbid (%s) when { %s };\n", pick(d, heads...), d.expression(facets))
	}},
	{name: "a permit less", edit: func(_ dice, doc tree) {
		doc["conditions"] = strings.Replace(doc["conditions"].(string), "permit (principal, action, resource);", "permit (principal, action, resource) when { !context.tainted };", 1)
	}},
	{name: "quiet hours", edit: func(_ dice, doc tree) {
		limits := doc["limits"].(tree)
		if limits["contact"] == nil {
			limits["contact"] = tree{"quiet": tree{"from": "21:00", "to": "12:00"}}
		}
	}},
	{name: "a rule that asks, at the end", edit: func(d dice, doc tree) { appends(doc, "approvals", asking(d, 1+d.IntN(3)), "name", "added") }},
	{name: "a rule that asks more, in front", edit: func(d dice, doc tree) {
		rules, _ := doc["approvals"].([]any)
		rule := asking(d, 5)
		rule["name"] = "added"
		doc["approvals"] = append([]any{rule}, rules...)
	}},
	{name: "a budget", edit: func(d dice, doc tree) { appends(doc["limits"].(tree), "budgets", d.budget("added"), "name", "added") }},
	{name: "less trust", less: func(d dice, f *policy.Facts) { f.Trust = min(f.Trust, f.Trust/2) }},
	{name: "no answer about trust", less: func(_ dice, f *policy.Facts) { f.NoTrust = true }},
	{name: "a key that requires approval", less: func(_ dice, f *policy.Facts) { f.RequiresApproval = true }},
}

func asking(d dice, people int) tree {
	rule := d.approval("added")
	rule["need"] = tree{"people": people}
	return rule
}

func appends(in tree, list string, one tree, field, value string) {
	all, _ := in[list].([]any)
	one[field] = value
	in[list] = append(all, one)
}

func anyProfile(d dice, doc tree) tree { return doc["profiles"].(tree)[pick(d, profiles...)].(tree) }

func denies(part string, patterns []string) func(dice, tree) {
	return func(d dice, doc tree) {
		p := anyProfile(d, doc)
		deny, _ := p["deny"].(tree)
		if deny == nil {
			deny = tree{}
			p["deny"] = deny
		}
		list, _ := deny[part].([]any)
		for _, pattern := range some(d, 2, 4, patterns) {
			list = append(list, pattern)
		}
		deny[part] = list
	}
}

// drops takes the last patterns out of a list of a profile.
func drops(path ...string) func(dice, tree) {
	return func(d dice, doc tree) {
		at := anyProfile(d, doc)
		for _, name := range path[:len(path)-1] {
			at = at[name].(tree)
		}
		last := path[len(path)-1]
		list := at[last].([]any)
		at[last] = list[:d.IntN(len(list))]
	}
}

// overrides says something of a handful of tools.
func overrides(what func(dice) (string, any)) func(dice, tree) {
	return func(d dice, doc tree) {
		all, _ := doc["tools"].(tree)
		for _, t := range some(d, 5, 10, registry.All()) {
			field, value := what(d)
			o, _ := all[t.Name].(tree)
			if o == nil {
				o = tree{}
			}
			if strings.Compare(fmt.Sprint(o[field]), fmt.Sprint(value)) != 0 && o[field] != "OPEN" {
				o[field] = value
			}
			all[t.Name] = o
		}
	}
}

// lowersCeiling lowers one part of a profile's ceiling. The amount of a day stays 1 or more: without one a day has no bound of its own.
func lowersCeiling(d dice, doc tree) {
	p := anyProfile(d, doc)
	v, vector := p["ceiling"].(tree)
	if !vector {
		p["ceiling"] = fmt.Sprintf("L%d", d.IntN(int(level(p["ceiling"]))+1))
		return
	}
	lower := func(in any, part string, least int) {
		if in, ok := in.(tree); ok && in[part] != nil {
			n := in[part].(int)
			in[part] = least + d.IntN(max(1, n-least))
		}
	}
	switch d.IntN(8) {
	case 0:
		lower(v["money"], "per_call_minor", 0)
	case 1:
		lower(v["money"], "per_day_minor", 1)
	case 2:
		lower(v["customers"], "per_call", 0)
	case 3:
		lower(v["customers"], "per_day", 1)
	case 4:
		delete(v, pick(d, "money", "customers", "undo", "data", "reach"))
	default:
		lower(tree(v), pick(d, "undo", "data", "reach", "blast"), 0)
	}
}

// reread is the document as a tree whose lists and mappings are all of one type, and nobody else's.
func reread(doc tree) tree {
	var again tree
	if err := yaml.Unmarshal(text(doc), &again); err != nil {
		panic(err)
	}
	return again
}

// reach orders verdicts: a refusal is least, waiting for more people less than for fewer, and to run is most.
func reach(v policy.Verdict) int {
	switch v.Outcome {
	case policy.Refuse:
		return 0
	case policy.Park:
		return 1000 - v.Ask.People
	}
	return 1001
}

// widened says in what way a change let a call do more; "" in none.
func widened(before, after *policy.Policy, was, is *policy.Facts) string {
	old, now := before.Decide(was), after.Decide(is)
	if reach(now) > reach(old) && !waitsThroughTheNight(old, now, after, is) {
		return fmt.Sprintf("%s by %s, and before it %s by %s", now.Outcome, now.Rule, old.Outcome, old.Rule)
	}
	if now.Outcome == policy.Refuse || old.Outcome == policy.Refuse {
		return ""
	}
	for _, c := range old.Charges {
		if !slices.ContainsFunc(now.Charges, func(n budget.Charge) bool {
			return n.Budget == c.Budget && n.Subject == c.Subject && n.Unit == c.Unit && n.Amount >= c.Amount
		}) {
			return fmt.Sprintf("%s is no longer charged", c.Budget)
		}
	}
	return ""
}

// waitsThroughTheNight is the one way in which a call gets further by being asked about: at a quiet hour it may wait for people instead of
// being refused, because the hour is asked again when they have agreed. At that hour it is refused as before.
func waitsThroughTheNight(old, now policy.Verdict, after *policy.Policy, f *policy.Facts) bool {
	if old.Check != "quiet" || now.Outcome != policy.Park {
		return false
	}
	again := *f
	again.Resumed = true
	return after.Decide(&again).Check == "quiet"
}

// Whether less is allowed after a change is nothing that a condition on trust has to keep to, so that documents in which less trust is tried have none,
// and sandboxes that lie one in the other.
func TestWhatNarrowsAPolicyNeverAllowsMore(t *testing.T) {
	policy.InOneGoroutine(t)
	t.Parallel()
	seed := uint64(fromEnvironment(t, seedVariable, 1))
	jobs := (fromEnvironment(t, pairsVariable, 20_000) + pairsOfEach - 1) / pairsOfEach
	met := onAllCores(t, max(jobs, 10*len(narrowings)), pairsOfEach, func(n int, met map[string]int) error {
		d, by := newDice(seed, uint64(n)<<32), narrowings[n%len(narrowings)]
		doc := reread(d.document())
		if by.less != nil {
			doc["conditions"], doc["trust"] = "permit (principal, action, resource);\n", reread(d.trust(true))
			for _, r := range items(doc["approvals"]) {
				delete(r.(tree), "when")
			}
		}
		before, _, err := ready(text(doc))
		if err != nil {
			return err
		}
		was := text(doc)
		if by.edit != nil {
			by.edit(d, doc)
		}
		after, _, err := ready(text(doc))
		if err != nil {
			return err
		}
		for range pairsOfEach {
			f := d.call()
			if by.of != nil {
				f = d.callOf(by.of)
			}
			less := *f
			if by.less != nil {
				by.less(d, &less)
			}
			if wider := widened(before, after, f, &less); wider != "" {
				return fmt.Errorf("document %d of seed %d, %s: %s\n%s\n\n%s\nand then\n\n%s", n, seed, by.name, wider, facts(f), was, text(doc))
			}
			old, now := before.Decide(f), after.Decide(&less)
			if reach(now) < reach(old) || len(now.Charges) > len(old.Charges) {
				met[by.name]++
			}
		}
		return nil
	})
	var all []string
	for _, by := range narrowings {
		all = append(all, by.name)
	}
	met.shows(t, all)
}
