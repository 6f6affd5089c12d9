package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
)

// match checks which calls a rule is about.
func (k *review) match(path string, m Match) {
	some(k, path+".tools", m.Tools)
	some(k, path+".classes", m.Classes)
	some(k, path+".profiles", m.Profiles)
	k.toolPatterns(path+".tools", m.Tools)
	for i, class := range m.Classes {
		k.known(strict.Index(path+".classes", i), "class", string(class), classes)
	}
	for i, profile := range m.Profiles {
		k.known(strict.Index(path+".profiles", i), "profile", profile, k.profiles)
	}
	k.twice(path+".profiles", m.Profiles)
}

// holds notes rules that only calls without an effect fit.
func (k *review) holds(path string, m Match) {
	if len(m.Tools) > 0 && len(k.effects(m)) == 0 && slices.ContainsFunc(k.Registry.All(), func(t *tools.Tool) bool { return names(m.Tools, t) }) {
		k.problem(path+".tools", "has only tools that such a rule never holds back", "tools that have an effect and are no brakes")
	}
}

// effects are the tools with an effect, brakes left out, that a match is about.
func (k *review) effects(m Match) []*tools.Tool {
	var some []*tools.Tool
	for _, t := range k.Registry.All() {
		if t.Writes() && !t.Brake && (len(m.Tools) == 0 || names(m.Tools, t)) {
			some = append(some, t)
		}
	}
	return some
}

func (k *review) freezes() {
	before := map[string]bool{}
	for i, f := range k.doc.Freezes {
		path := strict.Index("freezes", i)
		k.named(path+".name", f.Name, before)
		k.unless(!f.From.IsZero(), path+".from", "is missing", "a time with its zone, such as 2026-11-27T00:00:00Z")
		k.unless(f.From.Before(f.To), path+".to", "is not after from", "the first moment after the freeze")
		k.unless(len(f.Why) <= 300, path+".why", "is too long", "300 bytes")
		k.match(path, f.Match)
		k.holds(path, f.Match)
	}
}

func (k *review) limits() {
	k.unless(k.doc.Limits.Zone != "Local", "limits.zone", "is no time zone by itself", "an IANA name such as Europe/London")
	before := map[string]bool{}
	for i, b := range k.doc.Limits.Budgets {
		path := strict.Index("limits.budgets", i)
		k.named(path+".name", b.Name, before)
		k.budget(path, b)
		k.match(path, b.Match)
	}
	k.contact("limits.contact", k.doc.Limits.Contact)
}

func (k *review) budget(path string, b Budget) {
	k.known(path+".per", "subject", string(b.Per), []string{string(PerKey), string(PerChain), string(PerMerchant)})
	k.known(path+".every", "period", string(b.Every), []string{string(budget.Hour), string(budget.Day), string(budget.Week), string(budget.Month)})
	units := 0
	if b.Money != nil {
		units++
		k.money(path+".money", b.Money)
	}
	if b.Customers != nil {
		units++
		between(k, path+".customers", *b.Customers, 0, maxCustomers)
	}
	if b.Calls != nil {
		units++
		between(k, path+".calls", *b.Calls, 0, maxCalls)
	}
	k.unless(units == 1, path, fmt.Sprintf("has %d amounts", units), "one of money, customers, calls; one budget for each")
}

const day = 24 * time.Hour

func (k *review) contact(path string, c Contact) {
	k.unless(time.Duration(c.Rest) <= 90*day, path+".rest", "is too long", "90d at most")
	if q := c.Quiet; q != nil {
		k.written(path+".quiet.from", `hours and minutes in quotes, "21:00"`)
		k.written(path+".quiet.to", `hours and minutes in quotes, "08:00"`)
		k.unless(q.From != q.To, path+".quiet", "has no hours in it, or all", "from and to that differ")
	}
}

func (k *review) publishing() {
	p := k.doc.Publishing
	if r := time.Duration(p.Replay); r != 0 {
		k.unless(r >= time.Hour && r <= 90*day, "publishing.replay", "is out of range", "1h to 90d")
	}
	if p.Need != nil {
		k.unless(p.Need.People > 0, "publishing.need.people", "asks nobody", "1 or more, or no need at all")
		k.need("publishing.need", *p.Need)
	}
}
