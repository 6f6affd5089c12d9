package condition

import (
	"strings"
	"testing"
)

func aWhen(t testing.TB, expr string, about ...string) *When {
	t.Helper()
	w, problems := CompileWhen(expr, 7)
	if len(problems) == 0 {
		problems = w.Check(catalogue, profiles, about)
	}
	if len(problems) > 0 {
		t.Fatalf("%s: %+v", expr, problems)
	}
	return w
}

func TestAConditionHoldsOrNot(t *testing.T) {
	for expr, want := range map[string]bool{
		`context.input.amount.amount_minor > 4000`: true, `context.input.amount.amount_minor > 5000`: false,
		`true || false // with a remark`: true, "context.trust.lessThan(decimal(\"70.0\"))\n|| principal in Profile::\"support\"": true,
		`if context.tainted then true else false`: false,
	} {
		if got, err := aWhen(t, expr, "dtc_refund_order").Holds(refund()); got != want || err != nil {
			t.Errorf("%s: %v, %v", expr, got, err)
		}
	}
}

func TestMoreThanAConditionIsRefused(t *testing.T) {
	for _, expr := range []string{
		"", "  ", "// nothing", "true; ", "true }; permit (principal, action, resource) when { true", "true } when { false", "true } unless { true",
		"true }; forbid (principal, action, resource", "}", "true }; //", "true } ; // {", "{", "true && ", `"`, "when { true }", `@id("x") true`, "true /* }; */",
	} {
		w, problems := CompileWhen(expr, 7)
		if len(problems) == 0 {
			t.Errorf("%q is taken: %+v", expr, w.policy.ast)
		}
		for _, p := range problems {
			if p.Line < 7 || p.Line > 8 {
				t.Errorf("%q: line %d: %+v", expr, p.Line, p)
			}
		}
	}
}

func TestAConditionHasToFitEachToolThatItCanBeAbout(t *testing.T) {
	const expr = "true &&\ncontext.input.amount.amount_minor > 4000"
	w, problems := CompileWhen(expr, 7)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if problems := w.Check(catalogue, profiles, []string{"dtc_refund_order"}); len(problems) > 0 {
		t.Errorf("about refunds alone: %+v", problems)
	}
	problems = w.Check(catalogue, profiles, []string{"dtc_refund_order", "dtc_pause"})
	if len(problems) != 1 || problems[0].Line != 8 || !strings.Contains(problems[0].Problem, "in dtc_pause") {
		t.Errorf("about pauses too: %+v", problems)
	}
	if _, err := w.Holds(refund()); err == nil {
		t.Error("a condition that failed its check answers")
	}
	aWhen(t, "context.input has amount && context.input.amount has amount_minor && context.input.amount.amount_minor > 4000")
}

func TestAConditionThatFailsSaysSo(t *testing.T) {
	w := aWhen(t, "context.effect.money_minor * 9223372036854775807 > 5", "dtc_refund_order")
	if got, err := w.Holds(refund()); got || err == nil {
		t.Error("an overflow is no answer")
	}
	if _, err := w.Holds(with(func(q *Request) { q.Effect.Known = false })); err == nil {
		t.Error("an unknown effect is no answer")
	}
	if _, err := w.Holds(with(func(q *Request) { q.Tool = "dtc_pause" })); err == nil {
		t.Error("a tool that it is not about is no answer")
	}
}

func TestAConditionThatDiffersBetweenResourcesIsNoAnswer(t *testing.T) {
	w := aWhen(t, `resource.type == "queue"`)
	for resources, want := range map[string]struct{ holds, fails bool }{
		"queue:a,queue:b": {true, false}, "order:1,order:2": {false, false}, "queue:a,order:1": {false, true}, "order:1,queue:a": {false, true}, "": {false, false},
	} {
		got, err := w.Holds(with(func(q *Request) { q.Resources = strings.Split(resources, ",") }))
		if got != want.holds || (err != nil) != want.fails {
			t.Errorf("%s: %v, %v", resources, got, err)
		}
	}
}
