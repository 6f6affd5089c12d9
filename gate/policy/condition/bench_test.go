package condition

import (
	"fmt"
	"strings"
	"testing"
)

func decide(b *testing.B, s *Set, q Request) {
	b.Helper()
	d := s.Decide(q)
	if len(d.Errors) > 0 {
		b.Fatal(d)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Decide(q)
	}
}

func BenchmarkDecideUnconditional(b *testing.B) {
	decide(b, ready(b, "permit (principal, action, resource);"), refund())
}

func BenchmarkDecideHandful(b *testing.B) {
	decide(b, ready(b, night+`
		forbid (principal in Profile::"support", action, resource) when { context.effect.money_minor > 50000 };
		forbid (principal, action in Action::"writes", resource) when { context.tainted && context.effect.class == "spend" };
		forbid (principal, action, resource) when { context.trust.lessThan(decimal("40.0")) };`), refund())
}

func BenchmarkDecideInput(b *testing.B) {
	decide(b, ready(b, night+`
		forbid (principal, action == Action::"dtc_refund_order", resource) when { context.input.amount.amount_minor > 50000 && context.input.cause == "goodwill" };`), refund())
}

func BenchmarkDecideResources(b *testing.B) {
	s := ready(b, `permit (principal, action, resource) when { resource.type == "order" };`)
	decide(b, s, with(func(q *Request) { q.Resources = []string{"order:1", "order:2", "order:3", "order:4", "order:5"} }))
}

// hundred is 300 rules of 100 profiles, and one for all.
func hundred() (text string, profiles []string) {
	var b strings.Builder
	b.WriteString("permit (principal, action, resource);\n")
	for i := range 100 {
		p := fmt.Sprintf("profile-%d", i)
		profiles = append(profiles, p)
		fmt.Fprintf(&b, "forbid (principal in Profile::%q, action, resource) when { context.effect.money_minor > %d };\n", p, 10_000+i)
		fmt.Fprintf(&b, "forbid (principal in Profile::%q, action in Action::\"writes\", resource) when { context.time.hour < %d };\n", p, i%8)
		fmt.Fprintf(&b, "forbid (principal in Profile::%q, action == Action::\"dtc_refund_order\", resource) when { context.input.amount.amount_minor > %d };\n", p, 20_000+i)
	}
	return b.String(), profiles
}

func BenchmarkDecideHundredProfiles(b *testing.B) {
	text, profiles := hundred()
	s, problems := Compile(text, 1)
	if len(problems) == 0 {
		problems = s.Check(catalogue, profiles)
	}
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	decide(b, s, with(func(q *Request) { q.Profile = "profile-57" }))
}

func BenchmarkHolds(b *testing.B) {
	w := aWhen(b, "context.effect.money_minor > 50000 || context.tainted", "dtc_refund_order")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Holds(refund()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompileAndCheckHundredProfiles(b *testing.B) {
	text, profiles := hundred()
	for b.Loop() {
		s, _ := Compile(text, 1)
		if problems := s.Check(catalogue, profiles); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}

func BenchmarkCheckWhen(b *testing.B) {
	w, _ := CompileWhen("context.effect.money_minor > 50000 || context.tainted", 1)
	for b.Loop() {
		w.Check(catalogue, profiles, []string{"dtc_refund_order"})
	}
}
