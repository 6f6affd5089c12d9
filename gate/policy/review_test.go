package policy_test

import (
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

var catalogue = policy.Catalogue{
	Registry: tools.NewRegistry(dtc.Tools()...),
	Roles: []policy.Role{
		{"admin", 1, true}, {"manager", 2, true}, {"finance", 1, true}, {"marketing", 1, true}, {"security", 1, true}, {"compliance", 1, true}, {"intern", 3, false}, {"nobody", 0, true},
	},
}

func TestTheDefaultDocumentIsInOrder(t *testing.T) {
	problems, warnings := policy.Review(policy.Default, catalogue)
	for _, p := range problems {
		t.Error(p)
	}
	if got := strict.Problems(warnings).Error(); len(warnings) != 1 || !strings.Contains(got, "profiles.admin.tools[0]: grants every tool") {
		t.Errorf("warnings:\n%s", got)
	}
}

// A slip is a change to the default document and what is said about it.
type slip struct{ old, new, want string }

func (s slip) text(t *testing.T) []byte {
	t.Helper()
	text := strings.Replace(string(policy.Default), s.old, s.new, 1)
	if text == string(policy.Default) {
		t.Fatalf("the default document does not have %q", s.old)
	}
	return []byte(text)
}

func TestWhatAHumanGetsWrongIsToldWithTheNearestName(t *testing.T) {
	const (
		tail     = "\n# Whose consent a new version"
		freeze   = "\nfreezes:\n- {name: peak, from: 2026-11-27T00:00:00Z, to: "
		override = "\ntools:\n  "
	)
	for _, s := range []slip{
		{"language: 1", "language: 2", "language: is not a language"},
		{"environment: production", "environment: The Shop", `environment: "The Shop" is no good name`},

		// Names of tools, objects, actions, roles, profiles, classes.
		{"products.search, orders.search", "product.search, orders.search", `profiles.analyst.tools[1]: no tool is "product.search"; allowed: a name or path that docs/tools.md lists, or a pattern of some of them; did you mean products.search?`},
		{"[dtc_*]", "[dtc_serch_orders]", "did you mean dtc_search_orders?"},
		{"[analytics.*, products", "[analytic.*, products", "did you mean analytics.*?"},
		{"[dtc_*]", "[dtc*]", `profiles.assistant.tools[0]: "dtc*" is no pattern`},
		{"[dtc_*]", "[\"*_orders\"]", `"*_orders" is no pattern`},
		{"[dtc_*]", "[actions.request]", `no tool is "actions.request"`},
		{"tools: [ads.connect,", "tools: [ads.conect,", "profiles.marketing.deny.tools[0]: no tool is \"ads.conect\""},
		{"\"queue:returns/*\"", "\"queues:returns/*\"", `profiles.support.resources[0]: no tool is about objects of the type "queues"`},
		{"\"queue:returns/*\"", "\"queues:returns/*\"", "did you mean queue:*?"},
		{"\"queue:returns/*\"", "\"queue:ret*\"", "is no pattern of objects"},
		{"\"queue:returns/*\"", "queue", "is no pattern of objects"},
		{"\"analytics:*\", \"product:*\"", "\"analytics:*\", \"analytics:*\"", `profiles.analyst.resources[1]: "analytics:*" is there twice`},
		{"\"payments:refund\", ", "\"payment:refund\", ", "profiles.operations.actions.request[0]: no action is \"payment:refund\""},
		{"\"payments:refund\", ", "\"payment:refund\", ", "did you mean payments:refund?"},
		{"roles: [compliance]", "roles: [complience]", `approvals[0].need.roles[0]: there is no role "complience"`},
		{"roles: [compliance]", "roles: [complience]", "did you mean compliance?"},
		{"from: [manager, finance]", "from: [manager, finances]", "approvals[4].need.from[1]: there is no role"},
		{"classes: [destructive]", "classes: [destruction]", `there is no class "destruction"`},
		{"classes: [destructive]", "classes: [none]", `there is no class "none"; allowed: spend, contact, destructive`},
		{"classes: [destructive]", "profiles: [suport]", `there is no profile "suport"`},
		{"classes: [destructive]", "tools: []", "approvals[2].tools: is empty"},
		{"classes: [destructive]", "classes:", "approvals[2].classes: is empty"},

		// Ceilings.
		{"ceiling: low #", "ceiling: lower #", "profiles.analyst.ceiling: is no ceiling"},
		{"ceiling: L5", "ceiling: L8", "profiles.merchandising.ceiling: is no ceiling"},
		{"ceiling: {undo: 3, customers", "ceiling: {undo: 4, customers", "profiles.support.ceiling.undo: is out of range; allowed: 0 to 3"},
		{"data: 2, reach: 1}", "data: 4, reach: 2}", "profiles.support.ceiling.data: is out of range"},
		{"data: 2, reach: 1}", "data: 4, reach: 2}", "profiles.support.ceiling.reach: is out of range; allowed: 0 to 1"},
		{"data: 2, reach: 1}", "data: 2, blast: 9}", "profiles.support.ceiling.blast: is out of range"},
		{"{per_call_minor: 20000, per_day_minor: 50000, currency: GBP}", "{per_call_minor: 20000, per_day_minor: 50000, currency: GPB}", "profiles.marketing.ceiling.money.currency: there is no currency \"GPB\"; allowed: EUR, GBP, USD; did you mean GBP?"},
		{"{per_call_minor: 20000, per_day_minor: 50000, currency: GBP}", "{per_call_minor: 20000}", "there is no currency \"\""},
		{"{per_call_minor: 20000, per_day_minor: 50000, currency: GBP}", "{per_day_minor: 50000, currency: GBP}", "per_call_minor: is out of range"},
		{"{per_call_minor: 20000, per_day_minor: 50000", "{per_call_minor: 20000, per_day_minor: 100", "per_day_minor: is less than one call may take; allowed: 20000 or more"},
		{"{per_call_minor: 20000, per_day_minor: 50000", "{per_call_minor: 100000001", "per_call_minor: is out of range; allowed: 1 to 100000000"},
		{"{per_call: 5000, per_day: 10000}", "{per_call: -1}", "profiles.marketing.ceiling.customers.per_call: is out of range"},
		{"{per_call: 5000, per_day: 10000}", "{per_call: 5000, per_day: 10}", "profiles.marketing.ceiling.customers.per_day: is less than one call may take"},

		// Profiles.
		{"description: Grants nothing.", "tools: [dtc_*]", "profiles.scoped: grants something"},
		{"  analyst:", "  Analyst:", `profiles.Analyst: "Analyst" is no good name`},
		{"  analyst:", "  admin:", "profiles.admin: is there twice"},
		{`    resources: ["analytics:*", "product:*", "order:*", "campaign:*", "ad_account:*"]`, "", "profiles.analyst.resources: is missing"},
		{`    tools: [analytics.*, products.search, orders.search, campaigns.list, campaigns.preview, ads.list]`, "", "profiles.analyst.tools: is missing"},

		// What is said of tools.
		{"\ntrust:", override + "dtc_serch_orders: {off: true}\ntrust:", "tools.dtc_serch_orders: there is no tool"},
		{"\ntrust:", override + "orders.refund: {off: true}\ntrust:", `tools["orders.refund"]: is another name of a tool; allowed: the tool's own name; did you mean dtc_refund_order?`},
		{"\ntrust:", override + "dtc_refund_order: {}\ntrust:", "tools.dtc_refund_order: says nothing"},
		{"\ntrust:", override + "dtc_refund_order: {class: spent}\ntrust:", "did you mean spend?"},
		{"\ntrust:", override + "dtc_search_orders: {class: spend}\ntrust:", "tools.dtc_search_orders.class: has no meaning"},
		{"\ntrust:", override + "dtc_refund_order: {minimum_trust: open}\ntrust:", `there is no sandbox "open"; allowed: STRICT, ADAPTIVE, OPEN; did you mean OPEN?`},
		{"\ntrust:", override + "dtc_refund_order: {risk: {undo: 4, reach: -1}}\ntrust:", "tools.dtc_refund_order.risk.undo: is out of range; allowed: 0 to 3"},
		{"\ntrust:", override + "dtc_refund_order: {risk: {undo: 4, reach: -1}}\ntrust:", "tools.dtc_refund_order.risk.reach: is out of range"},

		// Freezes.
		{"\ntrust:", freeze + "2026-11-27T00:00:00Z}\ntrust:", "freezes[0].to: is not after from"},
		{"\ntrust:", freeze + "2026-12-27T00:00:00Z, tools: [dtc_pause]}\ntrust:", "freezes[0].tools: has only tools that such a rule never holds back"},
		{"\ntrust:", freeze + "2026-12-27T00:00:00Z, clases: [spend]}\ntrust:", "did you mean classes?"},
		{"\ntrust:", freeze + "2026-12-27}\ntrust:", "freezes[0].to: must be a time with its zone"},
		{"\ntrust:", "\nfreezes:\n- {name: a}\ntrust:", "freezes[0].from: is missing"},

		// Trust and conditions.
		{"start: 75", "start: 175", "trust.start"},
		{"strict: {ceiling: low}", "strict: {ceiling: low, tools: [order.search]}", "trust.sandboxes.strict.tools[0]: no tool is \"order.search\""},
		{"context.tainted && context.effect.data_out", "context.tained && context.effect.data_out", "context.tained"},
		{"permit (principal, action, resource);", "permit (principal, action, resource)", "conditions"},
		{"context.tainted && (context", "context.tainted && (contxt", "approvals[7].when"},

		// Limits.
		{"zone: Europe/London", "zone: Europe/Londn", "limits.zone: is no time zone"},
		{"zone: Europe/London", "zone: Local", "limits.zone: is no time zone by itself"},
		{"{name: spend, per: merchant", "{name: refunds, per: merchant", `limits.budgets[1].name: is the second with the name "refunds"`},
		{"per: key, every: day", "per: keys, every: day", `limits.budgets[0].per: there is no subject "keys"; allowed: key, chain, merchant; did you mean key?`},
		{"per: key, every: day", "per: key, every: year", `limits.budgets[0].every: there is no period "year"`},
		{"# - {name: calls, per: key, every: hour, calls: 5000}", "- {name: calls, per: key, every: hour, calls: 5000, customers: 5}", "limits.budgets[3]: has 2 amounts"},
		{"# - {name: calls, per: key, every: hour, calls: 5000}", "- {name: calls, per: key, every: hour}", "limits.budgets[3]: has 0 amounts"},
		{"# - {name: calls, per: key, every: hour, calls: 5000}", "- {name: calls, per: key, every: hour, calls: -1}", "limits.budgets[3].calls: is out of range"},
		{"{amount_minor: 1000000,", "{amount_minor: 100000001,", "limits.budgets[1].money.amount_minor: is out of range; allowed: 0 to 100000000"},
		{"{amount_minor: 1000000,", "{amount_minor: -1,", "limits.budgets[1].money.amount_minor: is out of range"},
		{"{amount_minor: 1000000, currency: GBP}", "{amount_minor: 1000000, currency: gbp}", "did you mean GBP?"},
		{"rest: 24h", "rest: 100d", "limits.contact.rest: is too long"},
		{"rest: 24h", "rest: 24", "limits.contact.rest: "},
		{`# quiet: {from: "21:00", to: "08:00"}`, `quiet: {from: "21:00", to: "21:00"}`, "limits.contact.quiet: has no hours"},
		{`# quiet: {from: "21:00", to: "08:00"}`, `quiet: {from: "24:00", to: "08:00"}`, "limits.contact.quiet.from: "},

		// Approval rules.
		{"- name: spend\n", "- name: big-spend\n", `approvals[4].name: is the second with the name "big-spend"`},
		{"- name: spend\n", "- name: \"\"\n", "approvals[4].name"},
		{"  over: {customers: 500}\n", "", `approvals[6]: is never reached: every call that fits it fits "big-send" before it; allowed: the narrower rule first`},
		{"over: {customers: 500}", "over: {customers: -1}", "approvals[5].over.customers: is out of range"},
		{"over: {money: {amount_minor: 50000, currency: GBP}}", "over: {money: {amount_minor: 50000, currency: £}}", "approvals[3].over.money.currency: there is no currency"},
		{"tools: [customers.privacy]", "tools: [customers.search]", "approvals[0].tools: has only tools that such a rule never holds back"},
		{"need: {people: 2, roles: [manager, security]}", "need: {people: 1, roles: [manager, security]}", "approvals[2].need.people: is less than the roles take, of which each takes a person of its own; allowed: 2 or more"},
		{"need: {people: 2, roles: [manager, security]}", "need: {people: 11, roles: [manager, security]}", "approvals[2].need.people: is out of range"},
		{"need: {people: 2, roles: [manager, security]}", "need: {people: 0, roles: [manager, security]}", "approvals[2].need.people: is 0"},
		{"need: {people: 2, roles: [manager, security]}", "need: {people: 2, from: [manager], expires: 30s}", "approvals[2].need.expires: is out of range; allowed: 1m to 30d"},
		{"need: {people: 2, roles: [manager, security]}", "need: {people: 2, from: [manager], expires: 31d}", "approvals[2].need.expires: is out of range"},
		{"need: {people: 2, roles: [manager, security]}", "need: {people: 2, from: [manager], escalate: [{after: 2h, to: [admin]}, {after: 1h, to: []}]}", "approvals[2].need.escalate[1].after: is not later"},
		{"need: {people: 2, roles: [manager, security]}", "need: {people: 2, from: [manager], escalate: [{after: 2h, to: [admin]}, {after: 1h, to: []}]}", "approvals[2].need.escalate[1].to: names nobody"},
		{"need: {people: 2, roles: [manager, security]}", "need: {people: 2, from: [manager], escalate: [{after: 24h, to: [admin]}]}", "comes when the time to decide is over; allowed: less than 1d"},
		{"need: {people: 1, roles: [compliance]}", "need: {roles: [compliance]}", "approvals[0].need.people: is missing; allowed: how many people are asked; 0 lets the call run"},
		{"  need: {people: 1, roles: [compliance]}", "", "approvals[0].need.people: is missing"},
		{"need: {people: 1, roles: [compliance]}", "need: {people: 1, from: []}", "approvals[0].need.from: is empty"},
		{"over: {customers: 500}", "over: {}", "approvals[5].over: says no amount"},
		{"over: {customers: 500}", "over: {customers:}", "approvals[5].over: says no amount"},
		{`# quiet: {from: "21:00", to: "08:00"}`, `quiet: {from: "21:00"}`, "limits.contact.quiet.to: is missing"},
		{"strict: {ceiling: low}", "strict: {ceiling: low, tools: []}", "trust.sandboxes.strict.tools: is empty"},
		{tail, "\npublishing: {need: {people: 0}}\n" + tail, "publishing.need.people: asks nobody"},
		{tail, "\npublishing: {replay: 30m}\n" + tail, "publishing.replay: is out of range"},
	} {
		problems, _ := policy.Review(s.text(t), catalogue)
		got := strict.Problems(problems).Error()
		if !strings.Contains(got, s.want) {
			t.Errorf("%q for %q:\n%s\nwant %s", s.new, s.old, got, s.want)
		}
		for _, p := range problems {
			if p.Line < 2 && p.Path != "" {
				t.Errorf("%q for %q: no line in %v", s.new, s.old, p)
			}
		}
	}
}

func TestWhatIsOddIsWarnedOf(t *testing.T) {
	for _, s := range []slip{
		{"\"queue:returns/*\", \"order:*\"", "\"queue:returns/*\", \"job:*\"", "profiles.support.resources[1]: is about what is the caller's own"},
		{"\"analytics:*\", \"product:*\", \"order:*\"", "\"analytics:*\", \"product:*\"", "profiles.analyst.resources: has nothing that dtc_search_orders could be about; allowed: such as order:*"},
		{"    tools: [products.*,", "    tools: [dtc_send_campaign, products.*,", "profiles.merchandising.ceiling: is below what dtc_send_campaign does at worst (L7)"},
		{"    ceiling: low #", "    #", "profiles.analyst.ceiling: is missing"},
		{"    warning: Whoever holds such a key can do all that its owner can. Give it to nobody who could do with another profile.\n", "", "profiles.admin: holds back nothing"},
		{", self.undo, dtc_request_action]\n    resources: [\"queue", ", self.undo]\n    resources: [\"queue", "profiles.support.actions: cannot be asked for"},
		{"permit (principal, action, resource);", `permit (principal, action in Action::"reads", resource);`, "profiles.operations.tools: no condition permits dtc_add_order_note"},
		{"\ntrust:", "\ntools: {dtc_refund_order: {risk: {undo: 1}}}\ntrust:", "tools.dtc_refund_order.risk.undo: rates the tool lower than it rates itself (3)"},
		{"\ntrust:", "\ntools: {dtc_pause: {off: true}}\ntrust:", "tools.dtc_pause.off: switches off"},
		{"roles: [compliance]", "roles: [intern]", `approvals[0].need.roles[0]: people of the role "intern" may not decide approvals`},
		{"roles: [compliance]", "roles: [nobody]", `nobody has the role "nobody"`},
		{"need: {people: 2, roles: [manager, security]}", "need: {people: 4, roles: [manager, security]}", "approvals[2].need.people: takes 4 people, and only 3 may vote"},
	} {
		problems, warnings := policy.Review(s.text(t), catalogue)
		if got := strict.Problems(warnings).Error(); len(problems) > 0 || !strings.Contains(got, s.want) {
			t.Errorf("%q for %q:\n%v\n%s\nwant %s", s.new, s.old, problems, got, s.want)
		}
	}
}
