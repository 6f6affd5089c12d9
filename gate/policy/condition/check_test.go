package condition

import (
	"fmt"
	"strings"
	"testing"
)

func TestWhatDoesNotFitIsRefusedWithItsLineAndWhatIsThereInstead(t *testing.T) {
	const head = "permit (principal, action == Action::\"dtc_refund_order\", resource)\nwhen {\n  true &&\n  "
	for _, c := range []struct{ name, text, problem, expected, suggestion string }{
		{"a misspelt attribute of the effect", head + "context.effect.money_minro > 5\n};", "4: context.effect.money_minro does not exist", "customers", "context.effect.money_minor"},
		{"a misspelt part of the context", head + "context.taintd\n};", "4: context.taintd does not exist", "tainted", "context.tainted"},
		{"a misspelt argument", head + "context.input.caus == \"fraud\"\n};", "4: context.input.caus does not exist", "cause", "context.input.cause"},
		{"a misspelt argument in brackets", head + "context[\"input\"][\"caus\"] == \"fraud\"\n};", "4: context.input.caus does not exist", "cause", "context.input.cause"},
		{"a misspelt argument behind has, which could never be there", head + "context.input has caus\n};", "4: context.input.caus does not exist", "cause", "context.input.cause"},
		{"a misspelt member of an argument", head + "context.input.amount.amount > 5\n};", "4: context.input.amount.amount does not exist", "amount_minor, currency", ""},
		{"a misspelt attribute of the principal", head + "principal.nme == \"x\"\n};", "4: principal.nme does not exist", "name", "principal.name"},
		{"a misspelt attribute of the resource", head + "resource.typ == \"x\"\n};", "4: resource.typ does not exist", "id, type", "resource.type"},
		{"an attribute of a number", head + "context.effect.level.x == 1\n};", "4: context.effect.level.x does not exist", "nothing behind context.effect.level", ""},
		{"a misspelt tool", "permit (\n  principal,\n  action == Action::\"dtc_refnd_order\", resource);", `3: there is no tool or group of tools "dtc_refnd_order"`, "orders.*", "dtc_refund_order"},
		{"a tool by its path", "permit (principal, action == Action::\"orders.refund\", resource);", `1: there is no tool or group of tools "orders.refund"`, "", "dtc_refund_order"},
		{"a misspelt tool in a condition", head + "action == Action::\"dtc_refnd_order\"\n};", `4: there is no tool or group of tools "dtc_refnd_order"`, "", "dtc_refund_order"},
		{"a misspelt group", "permit (principal, action in Action::\"order.*\", resource);", `1: there is no tool or group of tools "order.*"`, "orders.*", "orders.*"},
		{"a group with ==", "permit (principal, action == Action::\"orders.*\", resource);", `1: Action::"orders.*" is a group`, `action in Action::"orders.*"`, ""},
		{"a profile with ==", "permit (principal == Profile::\"support\", action, resource);", `1: Profile::"support" is a group`, "principal in", ""},
		{"a misspelt profile", "permit (principal in Profile::\"suport\", action, resource);", `1: there is no profile "suport"`, "analyst, marketing, support", "support"},
		{"a misspelt profile in a condition", head + "principal in Profile::\"suport\"\n};", `4: there is no profile "suport"`, "", "support"},
		{"a misspelt type", "permit (principal is Agnt, action, resource);", "1: there are no entities of type Agnt", "Agent", "Agent"},
		{"a String for a Long", head + "context.effect.money_minor == \"5\"\n};", "4: context.effect.money_minor is a Long (a whole number) and is compared with a String", "Long", ""},
		{"a Long for a String", head + "context.input.cause == 5\n};", "4: context.input.cause is a String and is compared with a Long", "String", ""},
		{"trust as a whole number", head + "context.trust < 70\n};", "4: context.trust is a decimal and is compared with a Long", "lessThan(decimal(", ""},
		{"a Bool for a Long, calculated", head + "context.effect.money_minor + context.tainted > 5\n};", "1: a Bool stands where a Long is expected", "", ""},
		{"an optional argument without has", head + "context.input.dry_run\n};", "4: context.input.dry_run may be left out in dtc_refund_order", "context.input has dry_run && …", ""},
		{"an optional part of the context without has", head + "context.source.isLoopback()\n};", "4: context.source may be left out", "context has source && …", ""},
		{"an optional attribute of the principal without has", head + "principal.owner == \"x\"\n};", "4: principal.owner may be left out", "principal has owner && …", ""},
		{"an argument that only some of the tools have", "forbid (principal, action in Action::\"orders.*\", resource)\nwhen {\n  context.input.amount.amount_minor > 5 };", "3: context.input.amount is not there in", "context.input has amount && …", ""},
		{"an argument of any JSON", "permit (principal, action == Action::\"dtc_request_action\", resource) when {\n context.input.arguments has x };", "2: context.input.arguments may be any JSON", "action", ""},
		{"a word that a value never is", head + "context.time.weekday == \"Friday\"\n};", `4: context.time.weekday is never "Friday"`, "monday", "friday"},
		{"a word that an argument never is", head + "context.input.cause == \"frud\"\n};", `4: context.input.cause is never "frud"`, "damaged", "fraud"},
		{"a word among several that a value never is", head + "[\"spend\", \"spnd\"].contains(context.effect.class)\n};", `4: context.effect.class is never "spnd"`, "spend", "spend"},
		{"a scope that does not exist", head + "principal.scopes.contains(\"orders:refnd\")\n};", `4: principal.scopes is never "orders:refnd"`, "", "orders:refund"},
		{"a profile that does not exist, as a text", head + "principal.profile == \"suport\"\n};", `4: principal.profile is never "suport"`, "analyst", "support"},
		{"an action that the tool cannot be asked for", "permit (principal, action == Action::\"dtc_request_action\", resource) when {\n context.action == \"payments:refnd\" };", `2: context.action is never "payments:refnd"`, "payments:refund", "payments:refund"},
		{"a transport that does not exist", head + "context.transport == \"mpc\"\n};", `4: context.transport is never "mpc"`, "mcp, rest", "mcp"},
		{"a condition that is no Bool", head + "context.effect.level\n};", "1: a Long stands where a Bool is expected", "", ""},
		{"a bad constant of an extension", head + "context.trust.lessThan(decimal(\"70\"))\n};", "1: error during extension function argument validation", "", ""},
		{"tags", head + "principal.hasTag(\"x\")\n};", "4: nothing here has tags", "attributes", ""},
		{"an empty set of actions", "permit (principal, action in [], resource);", "1: no action is in an empty list", "", ""},
		{"a principal that is none", "permit (principal is Resource, action, resource);", "1: unable to find an applicable action", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			problems := wrong(t, c.text)
			if len(problems) != 1 {
				t.Fatalf("%d problems: %+v", len(problems), problems)
			}
			p := problems[0]
			if got := fmt.Sprintf("%d: %s", p.Line, p.Problem); !strings.HasPrefix(got, c.problem) || !strings.Contains(p.Expected, c.expected) || p.Suggestion != c.suggestion || p.Path != "conditions" {
				t.Errorf("%+v\nwanted %s; expected …%s…; suggestion %q", p, c.problem, c.expected, c.suggestion)
			}
		})
	}
}

func TestGuardsThatFitEachToolPass(t *testing.T) {
	for _, text := range []string{
		`forbid (principal, action, resource) when { context.input has amount && context.input.amount has amount_minor && context.input.amount.amount_minor > 5 };`,
		`forbid (principal, action, resource) when { context.input has dry_run && context.input.dry_run };`,
		`forbid (principal, action in [Action::"dtc_refund_order", Action::"writes"], resource == Resource::"order:1") unless { principal has owner && principal.owner == "Ana" };`,
	} {
		if problems := wrong(t, text); len(problems) > 0 {
			t.Errorf("%s: %+v", text, problems)
		}
	}
}

func TestTextThatIsNoCedarIsRefusedWithItsLine(t *testing.T) {
	for _, c := range []struct{ name, text, problem, expected, suggestion string }{
		{"a semicolon forgotten", "permit (principal, action, resource)\n\npermit (principal, action, resource);", `3: "permit" stands here`, `";"`, ""},
		{"the last semicolon forgotten", "\npermit (principal, action, resource)", "2: the policy ends here", `";"`, ""},
		{"an effect misspelt", "\npermitt (principal, action, resource);", `2: "permitt" is no policy`, "permit or forbid", "permit"},
		{"an unknown annotation", "@id(\"a\")\n@raeson(\"x\")\npermit (principal, action, resource);", "2: @raeson means nothing here", "@id or @reason", "reason"},
		{"an id that is no word", "\n@id(\"a b\") permit (principal, action, resource);", `2: @id("a b") is not a word`, "letters", ""},
		{"an id twice", "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);", "2: the policy of line 1 is named a too", "", ""},
		{"two policies without id on one line", "permit (principal, action, resource); permit (principal, action, resource);", "1: the policy of line 1 is named line 1 too", "an @id", ""},
		{"an empty reason", "@reason(\"\") permit (principal, action, resource);", "1: @reason is empty", "", ""},
		{"an unknown function", "permit (principal, action, resource) when {\n today() > 5 };", "2: this is not Cedar", "", ""},
		{"a text without end", "permit (principal, action, resource) when {\n principal.name == \"x };", "2: this is not Cedar: literal not terminated", "", ""},
		{"a comment that Cedar does not have", "/* */ permit (principal, action, resource);", "1: a single / is no Cedar", "//", ""},
		{"brackets without end", "permit (principal, action, resource) when { " + strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100) + " };", "1: brackets nest too deeply", "", ""},
		{"a policy without end", "permit (principal, action, resource) when { " + strings.Repeat("true && ", 2000) + "true };", "1: the policy has", "several policies", ""},
		{"a has that is written out into too much", "permit (principal, action, resource) when { context has " + strings.Repeat("a.", 900) + "a };", "1: the policy says too much", "", ""},
		{"bytes that are no text", "permit (principal, action, resource) when { \"\xff\" == \"\" };", "1: the text is not UTF-8", "", ""},
		{"too much text", strings.Repeat(" ", 300<<10), "1: the text has 307200 bytes", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := Compile(c.text, 1)
			if len(problems) != 1 {
				t.Fatalf("%d problems: %+v", len(problems), problems)
			}
			p := problems[0]
			if got := fmt.Sprintf("%d: %s", p.Line, p.Problem); !strings.HasPrefix(got, c.problem) || !strings.Contains(p.Expected, c.expected) || p.Suggestion != c.suggestion {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestLinesAreThoseOfTheDocument(t *testing.T) {
	s, problems := Compile("permit (principal, action, resource);\n\npermt (principal, action, resource);\npermit (principal, action, resource) when { 5 +; };", 100)
	if s != nil || len(problems) < 2 || problems[0].Line != 102 || problems[1].Line != 103 {
		t.Errorf("%+v", problems)
	}
	s, _ = Compile("permit (principal, action, resource);", 100)
	if got := s.Policies()[0].ID(); got != "line 100" {
		t.Error(got)
	}
}

func TestTooManyPoliciesAreRefused(t *testing.T) {
	if _, problems := Compile(strings.Repeat("permit (principal, action, resource);\n", MaxPolicies+1), 1); len(problems) != 1 {
		t.Errorf("%d problems", len(problems))
	}
}
