package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/gate/policy/condition"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A value is one that an axis can have: it puts a point there.
type value func(*point)

// Amounts and numbers that are over everything a document can name.
const (
	muchMoney     = int64(1) << 50
	manyCustomers = int64(1) << 40
)

// values are those of every axis at a place, the plainest first. A search that stops at the first call it finds then shows a plain one.
func (k *prover) values(a place, c *Calls) [axisCount][]value {
	conditions := k.policy.conditions.About(a.tool.Name, a.profile)
	for _, r := range a.rules(k.policy) {
		if r.when != nil {
			conditions = append(conditions, r.when.Policy())
		}
	}
	return [axisCount][]value{
		k.objects(a, c),
		ratings(a),
		each([]bool{false, k.policy.Document.Trust.Source != nil}, func(x *point, yes bool) { x.facts.NoTrust = yes }),
		k.scores(c, conditions),
		each([]bool{false, true}, func(x *point, yes bool) { x.facts.Tainted = yes }),
		k.monies(a, c, conditions),
		k.crowds(a, c, conditions),
		k.whens(a),
		each([]bool{false, true}, func(x *point, yes bool) { x.facts.RequiresApproval = yes }),
		each(k.times, func(x *point, at time.Time) { x.facts.At = at }),
	}
}

func each[T any](of []T, set func(*point, T)) []value {
	all := make([]value, len(of))
	for i, one := range of {
		all[i] = func(x *point) { set(x, one) }
	}
	return all
}

func ratings(a place) []value {
	return each(a.tool.RatingsOf(a.action), func(x *point, r tools.Rating) {
		x.effect.Risk, x.effect.Class, x.effect.Asks = r.Risk, r.Class, r.Asks
	})
}

// monies are no amount, and in each currency the amounts between which something may change.
func (k *prover) monies(a place, c *Calls, conditions []*condition.Policy) []value {
	all := []*shop.Money{nil}
	if slices.ContainsFunc(a.tool.RatingsOf(a.action), func(r tools.Rating) bool { return r.Risk.Money > 0 }) {
		steps, currencies := k.amounts(a, c, conditions)
		for _, n := range steps {
			for _, name := range currencies {
				all = append(all, &shop.Money{AmountMinor: n, Currency: name})
			}
		}
	}
	return each(all, func(x *point, m *shop.Money) { x.effect.Money = m })
}

func (k *prover) amounts(a place, c *Calls, conditions []*condition.Policy) (steps []int64, currencies []string) {
	t := thresholds{0: true, 1: true, muchMoney: true}
	name := func(m *shop.Money) {
		if m != nil {
			t.over(m.AmountMinor)
			currencies = append(currencies, m.Currency)
		}
	}
	for _, r := range a.rules(k.policy) {
		name(r.Over.Money)
	}
	for _, b := range k.budgets(a) {
		name(b.Money)
	}
	if m := c.Money; m != nil {
		name(&shop.Money{AmountMinor: m.Over, Currency: m.Currency})
	}
	for _, p := range conditions {
		t.near(p.Thresholds()[pathMoney])
		currencies = append(currencies, p.Currencies()...)
	}
	return t.sorted(), withAnother(currencies)
}

// withAnother are currencies and one that is none of them.
func withAnother(named []string) []string {
	slices.Sort(named)
	named = slices.DeleteFunc(slices.Compact(named), func(c string) bool { return c == "" })
	for _, c := range []string{"GBP", "EUR", "USD", "XTS"} { // the last is the code for tests of ISO 4217
		if !slices.Contains(named, c) {
			return append(named, c)
		}
	}
	return named
}

// budgets are those that bound calls of a place, the profile's own among them.
func (k *prover) budgets(a place) []Budget {
	var some []Budget
	for _, b := range k.policy.Document.Limits.Budgets {
		if (len(b.Tools) == 0 || names(b.Tools, a.tool)) && (len(b.Profiles) == 0 || slices.Contains(b.Profiles, a.profile)) {
			some = append(some, b)
		}
	}
	if own := k.policy.profile(a.profile); own != nil && own.Ceiling.Vector != nil {
		v := own.Ceiling.Vector
		some = append(some, v.days()...)
		some = append(some, Budget{Money: &shop.Money{AmountMinor: v.Money.PerCallMinor, Currency: v.Money.Currency}, Customers: &v.Customers.PerCall})
	}
	return some
}

// crowds are the numbers of customers between which something may change.
func (k *prover) crowds(a place, c *Calls, conditions []*condition.Policy) []value {
	t := thresholds{0: true, 1: true}
	if slices.ContainsFunc(a.tool.RatingsOf(a.action), func(r tools.Rating) bool { return a.tool.Crowd(r.Risk) }) {
		t[manyCustomers] = true
		for _, r := range a.rules(k.policy) {
			t.overSome(r.Over.Customers)
		}
		for _, b := range k.budgets(a) {
			t.overSome(b.Customers)
		}
		if c.Customers != nil {
			t.over(c.Customers.Over)
		}
		for _, p := range conditions {
			t.near(p.Thresholds()[pathCustomers])
		}
	}
	return each(t.sorted(), func(x *point, n int64) { x.effect.Customers = n })
}

// scores are those of trust, with that of an agent that nothing has moved first.
func (k *prover) scores(c *Calls, conditions []*condition.Policy) []value {
	rules := k.policy.Document.Trust
	if !rules.Used() {
		return each([]trust.Score{trust.Full}, func(x *point, s trust.Score) { x.facts.Trust = s })
	}
	t := thresholds{int64(trust.None): true, int64(trust.Full): true}
	t.near(k.sandboxes)
	for _, p := range conditions {
		t.near(p.Thresholds()[pathTrust])
	}
	if s := c.Trust; s != nil {
		for _, edge := range []*trust.Score{s.From, s.Below} {
			if edge != nil {
				t.near([]int64{int64(*edge)})
			}
		}
	}
	all := slices.DeleteFunc(t.sorted(), func(n int64) bool { return n > int64(trust.Full) })
	all = slices.Insert(all, 0, int64(rules.Start))
	return each(all, func(x *point, n int64) { x.facts.Trust = trust.Score(n) })
}

// edges are the scores at which another sandbox begins. All are asked: there are a hundred thousand.
func edges(r trust.Rules) (all []int64) {
	for s := trust.None + 1; s <= trust.Full && r.Used(); s++ {
		if r.Sandbox(s).Level != r.Sandbox(s-1).Level {
			all = append(all, int64(s))
		}
	}
	return all
}

// moments are times in which the freezes and the quiet hours come out in every way that there is.
func (p *Policy) moments() []time.Time {
	first := time.Date(2026, 1, 5, 12, 0, 0, 0, p.zone)
	all := []time.Time{first}
	for _, z := range p.Document.Freezes {
		all = append(all, z.From, z.To)
		if !first.Before(z.From) {
			first = z.From.AddDate(0, 0, -7)
		}
	}
	all = append(all, first)
	q := p.Document.Limits.Contact.Quiet
	if q == nil {
		return all
	}
	for _, at := range slices.Clone(all) {
		day := at.In(p.zone)
		for _, minutes := range []ClockTime{q.From, q.To} {
			for next := range 2 {
				all = append(all, time.Date(day.Year(), day.Month(), day.Day()+next, int(minutes)/60, int(minutes)%60, 0, 0, p.zone))
			}
		}
	}
	return all
}

// objects are what a call can be about: of each type that its names can have a name for every pattern that tells names apart, and one
// that no pattern knows, in every combination. A set of objects is judged as one whose id nobody knows, so that it needs no value.
func (k *prover) objects(a place, c *Calls) []value {
	patterns := []string{c.Resource}
	if own := k.policy.profile(a.profile); own != nil {
		patterns = slices.Concat(patterns, own.Resources, own.Deny.Resources)
	}
	kinds := a.tool.KindsOf(a.action)
	if kinds == nil {
		for _, pattern := range patterns {
			kinds = append(kinds, kind(strings.TrimSuffix(pattern, "*")))
		}
		slices.Sort(kinds)
		kinds = append(slices.DeleteFunc(slices.Compact(kinds), func(s string) bool { return s == "" }), "thing")
		return each(alone(kinds, patterns), func(x *point, o tools.Object) { x.facts.Objects = []tools.Object{o} })
	}
	all := []tools.Object{{}}
	for _, one := range kinds {
		var longer []tools.Object
		for _, o := range all {
			for _, name := range namesOf(one, patterns) {
				longer = append(longer, append(slices.Clone(o), name))
			}
		}
		all = append(longer, all...) // an object need not have a name of every type
	}
	all = slices.DeleteFunc(all, func(o tools.Object) bool { return len(o) == 0 })
	return each(all, func(x *point, o tools.Object) { x.facts.Objects = []tools.Object{o} })
}

func alone(kinds, patterns []string) (all []tools.Object) {
	for _, one := range kinds {
		for _, name := range namesOf(one, patterns) {
			all = append(all, tools.Object{name})
		}
	}
	return all
}

// namesOf are names of one type that patterns tell apart.
func namesOf(one string, patterns []string) []string {
	all := []string{one + ":another"}
	for _, pattern := range patterns {
		head, star := strings.CutSuffix(pattern, "*")
		switch {
		case kind(pattern) != one || head == one+":":
		case star:
			all = append(all, head+"another")
		default:
			all = append(all, pattern)
		}
	}
	return all
}

// thresholds are numbers at which something may change.
type thresholds map[int64]bool

// over notes a limit that is exceeded by more than itself. The limits alone, and something over all of them, would stand for every number; the
// next one is there so that the call that is shown is the smallest.
func (t thresholds) over(n int64) { t[n], t[n+1] = true, true }

func (t thresholds) overSome(n *int64) {
	if n != nil {
		t.over(*n)
	}
}

// near notes numbers that are compared in any way.
func (t thresholds) near(all []int64) {
	for _, n := range all {
		t[n-1], t[n], t[n+1] = true, true, true
	}
}

func (t thresholds) sorted() []int64 {
	var all []int64
	for n := range t {
		if n >= 0 {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, cmp.Compare[int64])
	return all
}
