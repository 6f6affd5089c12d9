package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A Catalogue is what there is beside a document that it may name.
type Catalogue struct {
	Registry *tools.Registry
	Roles    []Role // of the merchant; nil: they are not known, and not checked
}

// A Role is what a policy needs to know of a role of people.
type Role struct {
	Name    string
	People  int  // active ones who hold it
	Decides bool // it holds approvals:resolve
}

// Review says what is wrong with a document beyond its form, and apart from that what is allowed and odd: most often somebody meant
// something else. A document without problems becomes a version; warnings are shown to whoever publishes it.
func Review(text []byte, c Catalogue) (problems, warnings []strict.Problem) {
	p, problems := New(text, c.Registry)
	if len(problems) > 0 {
		return problems, nil
	}
	return p.Review(text, c)
}

// Review is Review for a document that is ready already.
func (p *Policy) Review(text []byte, c Catalogue) (problems, warnings []strict.Problem) {
	k := newReview(p, c)
	k.lines = strict.Lines(text)
	k.settings()
	k.overrides()
	for _, name := range slices.Sorted(maps.Keys(p.Document.Profiles)) {
		k.profile(name, p.Document.Profiles[name])
	}
	k.freezes()
	k.trust()
	k.limits()
	k.approvals()
	k.publishing()
	if len(k.problems) == 0 {
		k.permits()
	}
	return strict.Locate(k.lines, k.problems), strict.Locate(k.lines, k.warnings)
}

// A review goes through one document.
type review struct {
	*Policy
	Catalogue
	doc                *Document
	lines              map[string]strict.Position // of all that is written
	problems, warnings []strict.Problem

	tools, actions, kinds, profiles, roles []string // the names that there are, sorted
}

func newReview(p *Policy, c Catalogue) *review {
	k := &review{Policy: p, Catalogue: c, doc: &p.Document, profiles: slices.Sorted(maps.Keys(p.Document.Profiles))}
	for _, t := range c.Registry.All() {
		k.tools = append(k.tools, t.Name)
		k.kinds = append(k.kinds, kindsOf(t)...)
	}
	for _, a := range c.Registry.Actions() {
		k.actions = append(k.actions, a.ID())
	}
	for _, r := range c.Roles {
		k.roles = append(k.roles, r.Name)
	}
	k.kinds = slices.Compact(slices.Sorted(slices.Values(append(k.kinds, "queue")))) // the one kind of name that no tool has for its own
	return k
}

// kindsOf are the types of objects that calls of a tool can be about.
func kindsOf(t *tools.Tool) []string {
	kind, _, _ := strings.Cut(t.Resource, ":")
	if !strings.HasPrefix(kind, "/") {
		return []string{kind}
	}
	var kinds []string
	for _, a := range t.Actions {
		for _, target := range a.Targets {
			kinds = append(kinds, target.Type)
		}
	}
	return kinds
}

func (k *review) problem(path, problem, expected string) {
	k.problems = append(k.problems, strict.Problem{Path: path, Problem: problem, Expected: expected})
}

func (k *review) warn(path, problem, expected string) {
	k.warnings = append(k.warnings, strict.Problem{Path: path, Problem: problem, Expected: expected})
}

// unless notes a problem unless all is well.
func (k *review) unless(ok bool, path, problem, expected string) bool {
	if !ok {
		k.problem(path, problem, expected)
	}
	return ok
}

// written notes what has to be said, and is not to be taken for what its absence would mean.
func (k *review) written(path, expected string) {
	_, ok := k.lines[path]
	k.unless(ok, path, "is missing", expected)
}

// some notes a list that is there and empty. Where no list means all, that is rarely meant by whoever has just taken its last entry out.
func some[T any](k *review, path string, list []T) {
	k.unless(list == nil || len(list) > 0, path, "is empty", "entries, or no such line at all, which means everything")
}

// known notes a name that there is not, and the nearest that there is.
func (k *review) known(path, what, name string, among []string) bool {
	if slices.Contains(among, name) {
		return true
	}
	k.problems = append(k.problems, strict.Problem{
		Path: path, Problem: fmt.Sprintf("there is no %s %q", what, name), Expected: strict.OneOf(among), Suggestion: strict.Suggest(name, among),
	})
	return false
}

var goodName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)

const nameForm = "a letter, then letters, digits, - and _, at most 40 in all, in lower case"

// named holds names of one kind to their form, and each to itself.
func (k *review) named(path, name string, before map[string]bool) {
	k.unless(goodName.MatchString(name), path, fmt.Sprintf("%q is no good name", name), nameForm)
	k.unless(!before[name], path, fmt.Sprintf("is the second with the name %q", name), "names by which they can be told apart")
	before[name] = true
}

// twice notes what a list holds more than once.
func (k *review) twice(path string, list []string) {
	for i, one := range list {
		if slices.Contains(list[:i], one) {
			k.problem(strict.Index(path, i), fmt.Sprintf("%q is there twice", one), "each once")
		}
	}
}

// between notes a number out of range.
func between[N ~int | ~int64](k *review, path string, n, low, high N) bool {
	return k.unless(n >= low && n <= high, path, "is out of range", fmt.Sprintf("%d to %d", low, high))
}

// Bounds of amounts: those of the tools' own arguments.
const (
	maxMinor     = 100_000_000 // minor units
	maxCustomers = 1_000_000
	maxCalls     = 1_000_000_000
)

func (k *review) money(path string, m *shop.Money) {
	if m == nil {
		return
	}
	between(k, path+".amount_minor", m.AmountMinor, 0, maxMinor)
	k.known(path+".currency", "currency", m.Currency, shop.Currencies)
}

func (k *review) settings() {
	if e := k.doc.Environment; e != "" {
		k.unless(goodName.MatchString(e), "environment", fmt.Sprintf("%q is no good name", e), nameForm)
	}
}

// overrides checks what is said of tools.
func (k *review) overrides() {
	for _, name := range slices.Sorted(maps.Keys(k.doc.Tools)) {
		path, o := strict.Key("tools", name), k.doc.Tools[name]
		if t, ok := k.Registry.Find(name); ok && t.Name != name {
			k.problems = append(k.problems, strict.Problem{Path: path, Problem: "is another name of a tool", Expected: "the tool's own name", Suggestion: t.Name})
			continue
		} else if !k.known(path, "tool", name, k.tools) {
			continue
		} else {
			k.override(path, t, o)
		}
	}
}

func (k *review) override(path string, t *tools.Tool, o Override) {
	k.unless(o != Override{}, path, "says nothing", "off, risk, class or minimum_trust")
	if o.Class != nil && k.known(path+".class", "class", string(*o.Class), append(slices.Clone(classes), "none")) {
		k.unless(t.Writes() && !t.Brake, path+".class", "has no meaning: calls of this tool never wait for people", "class for tools that have an effect")
	}
	if o.MinimumTrust != "" {
		k.known(path+".minimum_trust", "sandbox", string(o.MinimumTrust), levels())
		k.unless(k.doc.Trust.Used(), path+".minimum_trust", "has no meaning without trust.sandboxes", "trust.sandboxes, or nothing here")
	}
	if o.Risk != nil {
		k.risk(path+".risk", t, *o.Risk)
	}
	if t.Brake && o.Off {
		k.warn(path+".off", "switches off what agents stop their own things with", "a brake that works")
	}
}

func levels() []string {
	names := make([]string, len(trust.Levels))
	for i, l := range trust.Levels {
		names[i] = string(l)
	}
	return names
}

// classes are those that a match may name.
var classes = []string{string(tools.ClassSpend), string(tools.ClassContact), string(tools.ClassDestructive)}

func (k *review) risk(path string, t *tools.Tool, r Risk) {
	for _, part := range []struct {
		name string
		says *int
		own  int
		most int
	}{
		{"undo", r.Undo, t.Risk.Undo, 3},
		{"blast", r.Blast, t.Risk.Blast, 3},
		{"money", r.Money, t.Risk.Money, 2},
		{"touch", r.Touch, t.Risk.Touch, 2},
		{"data_out", r.DataOut, t.Risk.DataOut, 3},
		{"reach", r.Reach, t.Risk.Reach, 1},
	} {
		if part.says == nil {
			continue
		}
		at := path + "." + part.name
		if between(k, at, *part.says, 0, part.most) && *part.says < part.own {
			k.warn(at, fmt.Sprintf("rates the tool lower than it rates itself (%d)", part.own), "a rating that is not lower, unless you know that it is too high")
		}
	}
}

func (k *review) trust() {
	for _, wrong := range k.doc.Trust.Problems() {
		wrong.Path = "trust." + wrong.Path
		k.problems = append(k.problems, wrong)
	}
	if s := k.doc.Trust.Sandboxes; s != nil {
		for name, terms := range map[string]trust.Terms{"strict": s.Strict, "adaptive": s.Adaptive, "open": s.Open} {
			path := "trust.sandboxes." + name + ".tools"
			some(k, path, terms.Tools)
			k.toolPatterns(path, terms.Tools)
		}
	}
}

// permits warns of tools that a profile grants and no condition can ever permit.
func (k *review) permits() {
	for _, name := range k.profiles {
		var none []string
		for _, t := range k.Registry.All() {
			if k.Policy.profiles[name].tools[t.Name] && !t.Brake && t.Resource != "self" && k.conditions.Never(t.Name, name) {
				none = append(none, t.Name)
			}
		}
		if len(none) > 0 {
			k.warn(strict.Key("profiles", name)+".tools", "no condition permits "+strict.OneOf(none), "a permit in conditions that is about them")
		}
	}
}

// wellFormed reports whether a pattern is a name, or ends in a star that follows one of ends.
func wellFormed(pattern, ends string) bool {
	head, star := strings.CutSuffix(pattern, "*")
	return pattern != "" && !strings.Contains(head, "*") && (!star || head == "" || strings.ContainsAny(head[len(head)-1:], ends))
}

// toolPatterns checks a list of patterns of tools.
func (k *review) toolPatterns(path string, patterns []string) {
	k.twice(path, patterns)
	for i, pattern := range patterns {
		at := strict.Index(path, i)
		if !k.unless(wellFormed(pattern, "_."), at, fmt.Sprintf("%q is no pattern", pattern), "a name or path of a tool, or one that ends in _* or .*, or * alone") {
			continue
		}
		if !slices.ContainsFunc(k.Registry.All(), func(t *tools.Tool) bool { return names([]string{pattern}, t) }) {
			k.problems = append(k.problems, strict.Problem{
				Path: at, Problem: fmt.Sprintf("no tool is %q", pattern), Expected: "a name or path that docs/tools.md lists, or a pattern of some of them",
				Suggestion: k.nearTool(pattern),
			})
		}
	}
}

// nearTool is the nearest name, path or pattern of tools.
func (k *review) nearTool(pattern string) string {
	if t, ok := k.Registry.Find(pattern); ok { // an alias
		return t.Name
	}
	head, star := strings.CutSuffix(pattern, "*")
	var among []string
	for _, t := range k.Registry.All() {
		if !star {
			among = append(among, t.Name, t.Path)
			continue
		}
		area, _, _ := strings.Cut(t.Path, ".")
		among = append(among, area+".", "dtc_")
	}
	if near := strict.Suggest(head, among); near != "" && star {
		return near + "*"
	} else {
		return near
	}
}

// fitsNone reports whether a pattern is about none of several names.
func fitsNone(pattern string, among []string) bool {
	return !slices.ContainsFunc(among, func(name string) bool { return auth.Fits(pattern, name) })
}
