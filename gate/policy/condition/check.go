package condition

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
)

// Check holds every policy to the types of r's tools and to the profiles of the document. Without a problem the set is ready to decide;
// until then, and after a Check that found one, it denies everything. Check is not to be called while others use the set.
func (s *Set) Check(r *tools.Registry, profiles []string) []strict.Problem {
	s.bound.Store(nil)
	w, err := worldOf(r, profiles)
	if err != nil {
		return []strict.Problem{{Path: section, Problem: err.Error()}}
	}
	var problems []strict.Problem
	v := validate.New(w.schema)
	for _, p := range s.policies {
		problems = append(problems, w.check(v, p)...)
	}
	if len(problems) == 0 {
		s.bound.Store(bind(w, s.policies))
	}
	return problems
}

// check asks twice: our own pass knows what was meant and where it stands, Cedar's validator is the authority. What the first has
// told is not told again in the words of the second.
func (w *world) check(v *validate.Validator, p *Policy) []strict.Problem {
	r := newReview(w, p)
	r.names()
	told := len(r.problems) > 0
	if err := v.Policy("", p.ast); err != nil {
		r.validated(err, told)
	}
	slices.SortStableFunc(r.problems, func(a, b strict.Problem) int { return cmp.Compare(a.Line, b.Line) })
	return slices.CompactFunc(r.problems, func(a, b strict.Problem) bool { return a == b })
}

// A review is one policy being checked.
type review struct {
	*world
	policy   *Policy
	places   []*place          // the tools that it is about
	partial  map[string]string // paths that only some of them have, by the last name
	problems []strict.Problem
}

func newReview(w *world, p *Policy) *review {
	return &review{world: w, policy: p, places: w.about(p.scope), partial: map[string]string{}}
}

func (r *review) found(line int, problem, expected, suggestion string) {
	r.problems = append(r.problems, strict.Problem{Line: line, Path: section, Problem: problem, Expected: expected, Suggestion: suggestion})
}

// The validator's sentences.
var (
	notFound = regexp.MustCompile("^attribute `(.+)` (?:in context for|on entity type) .*?(?:::\"(.*)\")?`? not found$")
	unsafe   = regexp.MustCompile("^unable to guarantee safety of access to optional attribute `(.+?)` (in context for|on entity type) .*$")
	actionID = regexp.MustCompile(`Action::"([^"]*)"`)
	mistyped = regexp.MustCompile(`^unexpected type: expected (.*) but saw (.*)$`)
)

// validated tells what the validator found, each sentence once for all the tools it is true of.
func (r *review) validated(err error, told bool) {
	about, order := map[string][]string{}, []string(nil)
	for _, one := range flatten(err) {
		message := one.Error()
		sentence := actionID.ReplaceAllString(message, "Action")
		if about[sentence] == nil {
			order = append(order, sentence)
			about[sentence] = []string{}
		}
		for _, tool := range actionID.FindAllStringSubmatch(message, -1) {
			about[sentence] = append(about[sentence], tool[1])
		}
	}
	for _, sentence := range order {
		r.sentence(sentence, sorted(about[sentence]), told)
	}
}

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

func flatten(err error) []error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, flatten(one)...)
	}
	return all
}

func (r *review) sentence(s string, about []string, told bool) {
	tokens := r.policy.tokens
	if m := unsafe.FindStringSubmatch(s); m != nil {
		path := "context." + m[1]
		if m[2] != "in context for" {
			path = "principal." + m[1]
		}
		of, last := cut(path)
		r.found(lineOf(tokens, strings.Split(path, ".")), path+" may be left out"+in(about), fmt.Sprintf("%s has %s && … before it", of, last), "")
		return
	}
	if m := notFound.FindStringSubmatch(s); m != nil && r.partial[m[1]] != "" {
		path := r.partial[m[1]]
		of, last := cut(path)
		r.found(lineOf(tokens, strings.Split(path, ".")), path+" is not there"+in(about)+", which the policy is about too",
			fmt.Sprintf("a policy about the tools that have it (action == …), or %s has %s && … before it", of, last), "")
		return
	}
	if told {
		return // in our words
	}
	if m := mistyped.FindStringSubmatch(s); m != nil {
		r.found(tokens[0].line, fmt.Sprintf("a %s stands where a %s is expected", m[2], m[1]), hint(m[2]), "")
		return
	}
	r.found(tokens[0].line, s+in(about), "", "")
}

func cut(path string) (of, last string) {
	i := strings.LastIndexByte(path, '.')
	return path[:i], path[i+1:]
}

// hint says how values of a type are compared.
func hint(saw string) string {
	switch saw {
	case "decimal":
		return `decimals are compared with .lessThan(decimal("70.0")), .greaterThan and the like`
	case "ipaddr":
		return `addresses are compared with .isInRange(ip("10.0.0.0/8"))`
	}
	return ""
}

// in lists tools, the first few by name.
func in(tools []string) string {
	const named = 3
	switch n := len(tools); {
	case n == 0:
		return ""
	case n <= named:
		return " in " + strings.Join(tools, ", ")
	default:
		return fmt.Sprintf(" in %s and %d others", strings.Join(tools[:named], ", "), n-named)
	}
}
