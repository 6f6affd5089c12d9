package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/condition"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/tools"
)

// A Policy is a document made ready to decide by. It does not change, and any number of calls may ask it at once.
type Policy struct {
	Version  int64 // 0: a draft
	Hash     string
	Document Document

	zone       *time.Location
	profiles   map[string]*profile
	conditions *condition.Set
	source     *trust.Remote // nil: none
	rules      []*approvalRule
	byTool     map[string][]*approvalRule // those that can match a call of the tool, in order
	freezes    []freeze
	budgets    []charger
	looks      map[string]bool // paths that its conditions look at
}

// A profile is a Profile with what it says about each tool.
type profile struct {
	Profile
	name  string
	tools map[string]bool // by the tool's name: granted
	days  []charger       // that its ceiling stands for
}

// ErrUnreadable is the answer to a stored policy that cannot be made ready. The calls of its merchant are refused.
var ErrUnreadable = errors.New("the policy cannot be read")

// New makes a document ready. What is wrong with it is told whole; a document with problems makes no policy. Names are checked by
// Check when a version is published, and not here: an older version stays readable when a tool is gone.
func New(text []byte, registry *tools.Registry) (*Policy, []strict.Problem) {
	p := &Policy{profiles: map[string]*profile{}, byTool: map[string][]*approvalRule{}, looks: map[string]bool{}, Hash: Hash(text)}
	if problems := strict.Decode(text, &p.Document); len(problems) > 0 {
		return nil, problems
	}
	lines := strict.Lines(text)
	problems := append(p.ready(lines), p.typed(registry)...)
	if len(problems) > 0 {
		return nil, strict.Locate(lines, problems)
	}
	p.match(registry)
	for name, doc := range p.Document.Profiles {
		p.profiles[name] = newProfile(name, doc, registry)
	}
	for _, t := range registry.All() {
		p.byTool[t.Name] = p.rulesFor(t)
	}
	return p, nil
}

// ready parses what stands in the document as text.
func (p *Policy) ready(lines map[string]strict.Position) []strict.Problem {
	var problems []strict.Problem
	d := &p.Document
	if d.Language != Language {
		problems = append(problems, strict.Problem{
			Line: lines["language"].Line, Path: "language", Problem: "is not a language that this version reads", Expected: fmt.Sprint(Language),
		})
	}
	var err error
	if p.zone, err = time.LoadLocation(d.Limits.Zone); err != nil {
		problems = append(problems, strict.Problem{
			Line: lines["limits.zone"].Line, Path: "limits.zone", Problem: "is no time zone", Expected: "an IANA name such as Europe/London",
		})
	}
	if s := d.Trust.Source; s != nil {
		if p.source, err = trust.NewRemote(*s); err != nil {
			problems = append(problems, strict.Problem{
				Line: lines["trust.source"].Line, Path: "trust.source", Problem: "cannot be asked: " + err.Error(), Expected: "an https address",
			})
		}
	}
	var wrong []strict.Problem
	p.conditions, wrong = condition.Compile(d.Conditions, lines["conditions"].Text)
	problems = append(problems, wrong...)
	if p.conditions != nil {
		for _, c := range p.conditions.Policies() {
			p.looksAt(c.Depends())
		}
	}
	for i, r := range d.Approvals {
		rule := &approvalRule{ApprovalRule: r, full: "approvals." + r.Name, ask: r.Need.Rule("approvals." + r.Name)}
		if r.When != "" {
			path := fmt.Sprintf("approvals[%d].when", i)
			rule.when, wrong = condition.CompileWhen(r.When, lines[path].Text)
			problems = append(problems, under(path, wrong)...)
			if rule.when != nil {
				p.looksAt(rule.when.Depends())
			}
		}
		p.rules = append(p.rules, rule)
	}
	return problems
}

// typed holds what is written in Cedar to the tools that there are. A condition that does not fit them denies everything, so that a policy with
// one is better known as none.
func (p *Policy) typed(registry *tools.Registry) []strict.Problem {
	profiles := slices.Sorted(maps.Keys(p.Document.Profiles))
	if p.conditions == nil {
		return nil
	}
	problems := p.conditions.Check(registry, profiles)
	for i, r := range p.rules {
		if r.when == nil {
			continue
		}
		for _, wrong := range r.when.Check(registry, profiles, r.about(registry)) {
			wrong.Path = fmt.Sprintf("approvals[%d].when", i)
			problems = append(problems, wrong)
		}
	}
	return problems
}

// about lists the tools whose calls the rule can match.
func (r *approvalRule) about(registry *tools.Registry) []string {
	var about []string
	for _, t := range registry.All() {
		if t.Writes() && (len(r.Tools) == 0 || names(r.Tools, t)) {
			about = append(about, t.Name)
		}
	}
	return about
}

// under gives problems the path of what they are about.
func under(path string, problems []strict.Problem) []strict.Problem {
	for i := range problems {
		problems[i].Path = path
	}
	return problems
}

// Language is the version of the document's language.
const Language = 1

func newProfile(name string, doc Profile, registry *tools.Registry) *profile {
	p := &profile{Profile: doc, name: name, tools: map[string]bool{}}
	for _, t := range registry.All() {
		p.tools[t.Name] = names(doc.Tools, t) && !names(doc.Deny.Tools, t)
	}
	if doc.Ceiling.Vector != nil {
		for _, b := range doc.Ceiling.Vector.days() {
			p.days = append(p.days, charger{Budget: b, full: p.rule() + ".ceiling." + b.Name})
		}
	}
	return p
}

// names reports whether one of the patterns is about a tool.
func names(patterns []string, t *tools.Tool) bool {
	for _, pattern := range patterns {
		if auth.Fits(pattern, t.Name) || auth.Fits(pattern, t.Path) {
			return true
		}
	}
	return false
}

// profile gives a profile by name. The empty name is Scoped.
func (p *Policy) profile(name string) *profile {
	if name == "" {
		name = Scoped
	}
	return p.profiles[name]
}

// TrustSource is who outside is asked for trust; nil: nobody.
func (p *Policy) TrustSource() *trust.Remote { return p.source }

// Scoped is the profile of a key that names none. It grants nothing.
const Scoped = "scoped"

// Profiles gives the names of the document's profiles, sorted.
func (p *Policy) Profiles() []string { return slices.Sorted(maps.Keys(p.profiles)) }

// Profile gives a profile of the document.
func (p *Policy) Profile(name string) (Profile, bool) {
	found := p.profile(name)
	if found == nil {
		return Profile{}, false
	}
	return found.Profile, true
}
