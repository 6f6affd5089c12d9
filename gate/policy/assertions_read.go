package policy

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
)

// maxAssertions bounds how many one file holds.
const maxAssertions = 500

// readAssertions reads a file of assertions and holds every name in it to what there is: one about nothing would be true.
func readAssertions(text []byte, p *Policy, registry *tools.Registry) ([]Assertion, []strict.Problem) {
	var file Assertions
	if problems := strict.Decode(text, &file); len(problems) > 0 {
		return nil, problems
	}
	r := &reading{policy: p, registry: registry, names: map[string]bool{}}
	r.unless(file.Language == Language, "language", "is not a language that this version reads", fmt.Sprint(Language))
	n := len(file.Assertions)
	r.unless(n > 0 && n <= maxAssertions, "assertions", fmt.Sprintf("there are %d", n), fmt.Sprintf("1 to %d", maxAssertions))
	for i := range file.Assertions {
		r.assertion(strict.Index("assertions", i), &file.Assertions[i])
	}
	if len(r.problems) > 0 {
		return nil, strict.Locate(strict.Lines(text), r.problems)
	}
	return file.Assertions, nil
}

// A reading goes through one file.
type reading struct {
	policy   *Policy
	registry *tools.Registry
	names    map[string]bool
	problems []strict.Problem
}

func (r *reading) unless(ok bool, path, problem, expected string) {
	if !ok {
		r.problems = append(r.problems, strict.Problem{Path: path, Problem: problem, Expected: expected})
	}
}

// known holds names to those that there are.
func (r *reading) known(path, what string, some, there []string) {
	for i, name := range some {
		if !slices.Contains(there, name) {
			r.problems = append(r.problems, strict.Problem{
				Path: strict.Index(path, i), Problem: fmt.Sprintf("there is no %s %q", what, name), Expected: strict.OneOf(there), Suggestion: strict.Suggest(name, there),
			})
		}
	}
}

// fitting holds patterns to being about something.
func (r *reading) fitting(path, what string, patterns, there []string) {
	for i, pattern := range patterns {
		if !slices.ContainsFunc(there, func(name string) bool { return auth.Fits(pattern, name) }) {
			r.problems = append(r.problems, strict.Problem{
				Path: strict.Index(path, i), Problem: fmt.Sprintf("%q fits no %s", pattern, what), Expected: "a name, or a pattern that fits some",
				Suggestion: strict.Suggest(pattern, there),
			})
		}
	}
}

func (r *reading) assertion(path string, a *Assertion) {
	r.unless(a.Name != "" && !r.names[a.Name], path+".name", "is empty or was used before", "a name of its own")
	r.names[a.Name] = true
	r.unless(a.Always != nil || a.Never != nil, path, "says nothing", "always or never")
	if a.Always != nil {
		r.demand(path+".always", a.Always)
	}
	if a.Never != nil {
		r.ban(path+".never", a.Never)
	}
	r.calls(path+".for", &a.For)
}

func (r *reading) demand(path string, d *Demand) {
	r.outcomes(path, d.Outcome)
	r.unless(len(d.Outcome) > 0 || d.People > 0 || len(d.Roles) > 0, path, "is true of every call", "outcome, people or roles")
	r.unless(d.People >= 0 && d.People <= maxPeople, path+".people", "is out of range", fmt.Sprintf("1 to %d", maxPeople))
}

func (r *reading) ban(path string, b *Ban) {
	r.outcomes(path, b.Outcome)
	r.unless(len(b.Outcome) > 0 || b.PeopleUnder > 0 || len(b.WithoutRoles) > 0, path, "is true of no call", "outcome, people_under or without_roles")
	r.unless(b.PeopleUnder >= 0 && b.PeopleUnder <= maxPeople, path+".people_under", "is out of range", fmt.Sprintf("1 to %d", maxPeople))
}

func (r *reading) outcomes(path string, some []Outcome) {
	r.known(path+".outcome", "outcome", textual(some), []string{string(Run), string(Park), string(Refuse)})
}

func textual[T ~string](some []T) []string {
	all := make([]string, len(some))
	for i, one := range some {
		all[i] = string(one)
	}
	return all
}

func (r *reading) calls(path string, c *Calls) {
	d := &r.policy.Document
	r.known(path+".profiles", "profile", c.Profiles, slices.Sorted(maps.Keys(d.Profiles)))
	r.fitting(path+".tools", "tool", c.Tools, r.toolNames())
	r.fitting(path+".actions", "action", c.Actions, r.actionNames())
	r.known(path+".classes", "class", textual(c.Classes), []string{"none", "spend", "contact", "destructive"})
	if c.During != "" {
		freezes := make([]string, len(d.Freezes))
		for i, z := range d.Freezes {
			freezes[i] = z.Name
		}
		r.known(path+".during", "freeze", []string{c.During}, freezes)
	}
	_, err := auth.ParseLevel(c.Level)
	r.unless(c.Level == "" || err == nil && c.level() <= auth.MaxLevel, path+".level", "is no level", "low, medium, high, or L0 to L7")
	r.unless(c.Quiet == nil || !*c.Quiet || d.Limits.Contact.Quiet != nil, path+".quiet", "the document has no quiet hours", "limits.contact.quiet")
	r.unless(c.Money == nil || c.Money.Over >= 0, path+".money.over", "is below zero", "an amount in minor units")
	r.unless(c.Customers == nil || c.Customers.Over >= 0, path+".customers.over", "is below zero", "a number of customers")
}

func (r *reading) toolNames() (all []string) {
	for _, t := range r.registry.All() {
		all = append(all, t.Name, t.Path)
	}
	return all
}

func (r *reading) actionNames() (all []string) {
	for _, a := range r.registry.Actions() {
		all = append(all, a.ID())
	}
	return all
}
