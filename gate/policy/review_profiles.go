package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

func (k *review) profile(name string, p Profile) {
	path := strict.Key("profiles", name)
	k.named(path, name, map[string]bool{})
	if name == Scoped {
		k.unless(grantsNothing(p), path, "grants something, and is the profile of every key that names none", "nothing but a description; put grants into another profile")
		return
	}
	k.toolPatterns(path+".tools", p.Tools)
	k.toolPatterns(path+".deny.tools", p.Deny.Tools)
	k.resources(path+".resources", p.Resources)
	k.resources(path+".deny.resources", p.Deny.Resources)
	k.actionPatterns(path+".actions.request", p.Actions.Request)
	k.actionPatterns(path+".actions.run", p.Actions.Run)
	k.actionPatterns(path+".deny.actions", p.Deny.Actions)
	k.ceiling(path+".ceiling", p.Ceiling)
	k.grants(path, name, p)
	k.wide(path, p)
}

func grantsNothing(p Profile) bool {
	return len(p.Tools)+len(p.Resources)+len(p.Actions.Request)+len(p.Actions.Run) == 0 && p.Ceiling.Level == nil && p.Ceiling.Vector == nil
}

// resources checks patterns of objects, type:id.
func (k *review) resources(path string, patterns []string) {
	k.twice(path, patterns)
	for i, pattern := range patterns {
		at := strict.Index(path, i)
		kind, id, two := strings.Cut(pattern, ":")
		switch {
		case pattern == "*":
		case !two || id == "" || !wellFormed(pattern, ":/"):
			k.problems = append(k.problems, strict.Problem{
				Path: at, Problem: fmt.Sprintf("%q is no pattern of objects", pattern), Expected: "type:id, type:*, queue:name/*, or * alone", Suggestion: k.wholeKind(kind),
			})
		case !slices.Contains(k.kinds, kind):
			k.problems = append(k.problems, strict.Problem{
				Path: at, Problem: fmt.Sprintf("no tool is about objects of the type %q", kind), Expected: strict.OneOf(k.kinds), Suggestion: k.wholeKind(kind),
			})
		case tools.Spec{Resource: kind + ":"}.Own():
			k.warn(at, "is about what is the caller's own, which needs no grant", "objects of the shop")
		}
	}
}

func (k *review) wholeKind(kind string) string {
	near := strict.Suggest(kind, k.kinds)
	if near == "" {
		return ""
	}
	return near + ":*"
}

func (k *review) actionPatterns(path string, patterns []string) {
	k.twice(path, patterns)
	for i, pattern := range patterns {
		if pattern != "*" && (!wellFormed(pattern, ":_") || fitsNone(pattern, k.actions)) {
			k.problems = append(k.problems, strict.Problem{
				Path: strict.Index(path, i), Problem: fmt.Sprintf("no action is %q", pattern),
				Expected: strict.OneOf(k.actions) + ", provider:* for all of a provider, or * for all", Suggestion: strict.Suggest(pattern, k.actions),
			})
		}
	}
}

// ceiling checks a vector; words and levels cannot be read wrong.
func (k *review) ceiling(path string, c Ceiling) {
	v := c.Vector
	if v == nil {
		return
	}
	between(k, path+".undo", v.Undo, 0, 3)
	between(k, path+".data", v.Data, 0, 3)
	between(k, path+".reach", v.Reach, 0, 1)
	if v.Blast != nil {
		between(k, path+".blast", *v.Blast, 0, 3)
	}
	m, n := v.Money, v.Customers
	if m != (MoneyCeiling{}) {
		between(k, path+".money.per_call_minor", m.PerCallMinor, 1, maxMinor)
		k.known(path+".money.currency", "currency", m.Currency, shop.Currencies)
	}
	k.perDay(path+".money.per_day_minor", m.PerCallMinor, m.PerDayMinor, maxMinor)
	if n != (CountCeiling{}) {
		between(k, path+".customers.per_call", n.PerCall, 1, maxCustomers)
	}
	k.perDay(path+".customers.per_day", n.PerCall, n.PerDay, maxCustomers)
}

// perDay holds the amount of a day to that of one call, unless there is none.
func (k *review) perDay(path string, call, day, most int64) {
	if day != 0 && between(k, path, day, 0, most) {
		k.unless(day >= call, path, "is less than one call may take", fmt.Sprintf("%d or more", call))
	}
}

// grants holds what a profile grants to what its calls are about.
func (k *review) grants(path, name string, p Profile) {
	granted := k.Policy.profiles[name]
	objects := 0
	for _, t := range k.Registry.All() {
		if !granted.tools[t.Name] || t.Own() {
			continue
		}
		objects++
		if slices.Contains(p.Tools, t.Name) || slices.Contains(p.Tools, t.Path) {
			k.usable(path, t, p)
		}
	}
	k.unless(objects == 0 || len(p.Resources) > 0, path+".resources", "is missing, so that no tool of the profile could be used", `what the tools may be about, such as ["order:*"], or ["*"]`)
	k.unless(len(p.Resources) == 0 || len(p.Tools) > 0, path+".tools", "is missing, so that nothing could be done with the resources", "tools, such as [tickets.*]")
	if actions := len(p.Actions.Request) + len(p.Actions.Run); actions > 0 && !slices.ContainsFunc(k.Registry.All(), func(t *tools.Tool) bool { return len(t.Actions) > 0 && granted.tools[t.Name] }) {
		k.warn(path+".actions", "cannot be asked for without the tool dtc_request_action", "dtc_request_action among the tools")
	}
	if len(p.Tools) > 0 && p.Ceiling.Level == nil && p.Ceiling.Vector == nil {
		k.warn(path+".ceiling", "is missing, so that only what is rated L0 can be called", "low, medium, high, L0 to L7, or a vector")
	}
}

// level is the one that a ceiling is, L0 where there is none; nil for a vector.
func (c Ceiling) level() *auth.Level {
	if c.Vector == nil && c.Level == nil {
		return new(auth.Level)
	}
	return c.Level
}

// usable warns of a tool that is granted by name and whose calls the rest of the profile refuses.
func (k *review) usable(path string, t *tools.Tool, p Profile) {
	kinds := kindsOf(t)
	if len(p.Resources) > 0 && !slices.ContainsFunc(p.Resources, func(pattern string) bool { return ofKind(pattern, kinds) }) {
		k.warn(path+".resources", fmt.Sprintf("has nothing that %s could be about", t.Name), "such as "+kinds[0]+":*")
	}
	if l := p.Ceiling.level(); l != nil && !t.Reachable(*l) {
		k.warn(path+".ceiling", fmt.Sprintf("is below what %s does at worst (%s)", t.Name, t.Risk.Level()), "a ceiling that its calls are under")
	}
}

// ofKind reports whether a pattern may be about objects of some kinds. A ticket goes by its queue too.
func ofKind(pattern string, kinds []string) bool {
	kind, _, _ := strings.Cut(pattern, ":")
	return len(kinds) == 0 || pattern == "*" || slices.Contains(kinds, kind) || kind == "queue" && slices.Contains(kinds, "ticket")
}

// wide warns of profiles that hold nearly nothing back.
func (k *review) wide(path string, p Profile) {
	if i := slices.Index(p.Tools, "*"); i >= 0 {
		k.warn(strict.Index(path+".tools", i), "grants every tool, those of later versions too", "the tools that the agent needs")
	}
	if high := p.Ceiling.Level; slices.Contains(p.Resources, "*") && high != nil && *high == auth.MaxLevel && p.Warning == "" {
		k.warn(path, "holds back nothing by objects or risk and says no warning", "a warning that whoever gives it to a key is told, or less")
	}
}
