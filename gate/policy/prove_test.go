package policy

import (
	"context"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

var registry = tools.NewRegistry(dtc.Tools()...)

func proofOf(t testing.TB, document, assertions string) *Proof {
	t.Helper()
	p, problems := New([]byte(document), registry)
	if len(problems) > 0 {
		t.Fatal(strict.Problems(problems))
	}
	proof, problems := Prove(context.Background(), p, registry, []byte(assertions), func(int, int) {})
	if len(problems) > 0 {
		t.Fatal(strict.Problems(problems))
	}
	return proof
}

func TestWhatTheDefaultDocumentMakesTrueIsProved(t *testing.T) {
	proof := proofOf(t, string(Default), `
language: 1
assertions:
- {name: scoped gets nothing, for: {profiles: [scoped]}, always: {outcome: [refuse]}}
- {name: analysts only read, for: {profiles: [analyst], writes: true}, always: {outcome: [refuse]}}
- {name: analysts see no contact data, for: {profiles: [analyst], data: 3}, always: {outcome: [refuse]}}
- {name: nobody reaches many customers alone, for: {customers: {over: 500}}, always: {people: 2, roles: [marketing, manager]}}
- {name: the support profile stays in its queue, for: {profiles: [support], resource: "queue:billing/*"}, always: {outcome: [refuse]}}
- {name: support does not refund, for: {profiles: [support], money: {over: 0}}, always: {outcome: [refuse]}}
- {name: a big refund takes two, for: {money: {over: 50000, currency: GBP}, tools: [orders.*]}, always: {people: 2}}
- {name: a cancelled order takes a manager, for: {tools: [orders.cancel]}, always: {roles: [manager]}}
- {name: a fallen agent reads, for: {trust: {below: 30}, writes: true}, always: {outcome: [refuse]}}
- {name: a tainted agent gives out no contact data, for: {tainted: true, data: 3, writes: false}, always: {outcome: [refuse]}}
- {name: analysts can search orders, for: {profiles: [analyst], tools: [orders.search], trust: {from: 70}, resource: "order:*"}, never: {outcome: [refuse, park]}}
- {name: no brake is ever held back, for: {tools: [dtc_pause]}, always: {outcome: [run]}}
- {name: nobody spends more than the budget, for: {tools: [orders.refund], money: {over: 100000}}, always: {outcome: [refuse]}}
`)
	for _, f := range proof.Findings {
		if f.Result != Holds {
			t.Errorf("%s: %s, %s", f.Name, f.Result, f.Witness.Words)
		}
	}
}

// A hole is what somebody might do to the default document, and what comes of it.
type hole struct{ old, new, assertion, want string }

func TestAHoleInTheDocumentIsFoundWithTheCallThatGoesThroughIt(t *testing.T) {
	for _, h := range []hole{
		{"", "", `for: {money: {over: 0}}, always: {outcome: [refuse, park], people: 2}`, "fails: admin calls dtc_connect_ad_account about ad_account:another (L5, class spend, money £0.01, trust 75), and it waits for 1 person by approvals.spend"},
		{"", "", `for: {tools: [prices.set], money: {over: 50000}}, always: {people: 2}`, "money of an amount that the tool does not say, trust 75), and it waits for 1 person by approvals.spend"},
		{
			"over: {customers: 500}\n  need: {people: 2, roles: [marketing, manager]}", "over: {customers: 501}\n  need: {people: 2, roles: [marketing, manager]}",
			`for: {customers: {over: 500}}, always: {people: 2}`, "customers 501, trust 75), and it waits for 1 person by approvals.contact",
		},
		{
			"need: {people: 2, roles: [marketing, manager]}", "need: {people: 2, roles: [marketing, manager], override: true}",
			`for: {customers: {over: 500}}, always: {people: 2}`, "waits for 2 people (marketing, manager), or for one who may override by approvals.big-send",
		},
		{
			`resources: ["queue:returns/*", "order:*"]`, `resources: ["queue:returns/*", "order:*", "ticket:*"]`,
			`for: {profiles: [support], resource: "queue:billing/*"}, always: {outcome: [refuse]}`, "support calls dtc_draft_reply about ticket:another = queue:billing/another",
		},
		{
			"tools: [analytics.*, products.search, orders.search,", "tools: [analytics.*, products.*, orders.search,",
			`for: {profiles: [analyst], writes: true}, always: {outcome: [refuse]}`, "holds",
		}, // its ceiling is low
		{
			"ceiling: low # low is", "ceiling: medium # low is",
			`for: {profiles: [analyst], data: 3}, always: {outcome: [refuse]}`, "holds",
		}, // it has no such tool
		{"strict: {ceiling: low}", "strict: {ceiling: L3}", `for: {trust: {below: 30}, writes: true}, always: {outcome: [refuse]}`, "(L2, trust 0), and it runs by profiles."},
		{
			"context.tainted && context.effect.data_out >= 3 };", "context.tainted && context.effect.data_out > 3 };",
			`for: {tainted: true, data: 3, writes: false}, always: {outcome: [refuse]}`, "tainted, trust 75), and it runs by profiles.a",
		},
		{"# quiet: {", "quiet: {", `for: {quiet: true, touches: true, requires_approval: false}, never: {outcome: [run]}`, "holds"},
		{
			"permit (principal, action, resource);", "permit (principal, action, resource);\n  @id(\"office\") forbid (principal, action in Action::\"writes\", resource) when { context.time.hour < 7 };",
			`for: {profiles: [analyst, merchandising], writes: true, trust: {from: 70}}, always: {outcome: [refuse]}`, "fails: merchandising",
		}, // some hour is in the day
		{
			"permit (principal, action, resource);", "permit (principal, action, resource);\n  @id(\"notes\") forbid (principal, action == Action::\"dtc_add_order_note\", resource) when { context.input.order_no like \"*\" };",
			`for: {tools: [orders.note], trust: {from: 70}}, always: {outcome: [refuse]}`, "unknown: admin calls dtc_add_order_note about order:another (L2, trust 75), and it runs by profiles.admin if conditions.notes does not hold (it looks at context.input.order_no)",
		},
		{
			"permit (principal, action, resource);", "permit (principal, action, resource) when { context.environment == \"production\" };",
			`for: {profiles: [scoped]}, always: {outcome: [refuse]}`, "holds",
		},
		{
			"approvals:\n", "approvals:\n- name: known\n  classes: [contact]\n  when: 'context.environment != \"x\"'\n  need: {people: 0}\n",
			`for: {customers: {over: 500}}, always: {people: 2}`, "fails",
		},
	} {
		text := strings.Replace(string(Default), h.old, h.new, 1)
		if h.old != "" && text == string(Default) {
			t.Fatalf("the default document does not have %q", h.old)
		}
		f := proofOf(t, text, "language: 1\nassertions: [{name: x, "+h.assertion+"}]").Findings[0]
		got := string(f.Result)
		if f.Witness != nil {
			got += ": " + f.Witness.String()
		}
		if !strings.Contains(got, h.want) {
			t.Errorf("%s\n got %s\nwant %s", h.assertion, got, h.want)
		}
	}
}

func TestAssertionsThatSayNothingAreRefused(t *testing.T) {
	p, _ := New(Default, registry)
	for text, want := range map[string]string{
		`{name: x, for: {profiles: [analist]}, always: {outcome: [refuse]}}`:   `3:30: assertions[0].for.profiles[0]: there is no profile "analist"; allowed: admin, analyst, assistant, marketing, merchandising, operations, scoped, support; did you mean analyst?`,
		`{name: x, for: {tools: [order.*]}, always: {outcome: [refuse]}}`:      `"order.*" fits no tool`,
		`{name: x, for: {tools: [orders.refnd]}, always: {outcome: [refuse]}}`: `did you mean orders.refund?`,
		`{name: x, for: {profile: [analyst]}, always: {outcome: [refuse]}}`:    `did you mean profiles?`,
		`{name: x, for: {}, always: {outcome: [refused]}}`:                     `there is no outcome "refused"`,
		`{name: x, for: {}}`:                          "says nothing",
		`{name: x, for: {}, always: {}}`:              "is true of every call",
		`{name: x, for: {}, never: {override: true}}`: "is true of no call",
		`{name: x, for: {tools: [orders.search], writes: true}, always: {people: 1}}`:         "is about no call",
		`{name: x, for: {tools: [customers.update], money: {over: 0}}, always: {people: 1}}`:  "is about no call",
		`{name: x, for: {tools: [orders.refund], customers: {over: 1}}, always: {people: 1}}`: "is about no call",
		`{name: x, for: {level: L9}, always: {people: 1}}`:                                    "is no level",
		`{name: x, for: {quiet: true}, always: {people: 1}}`:                                  "the document has no quiet hours",
		`{name: x, for: {during: peak}, always: {people: 1}}`:                                 `there is no freeze "peak"`,
		`{name: "", for: {}, always: {people: 1}}`:                                            "is empty or was used before",
	} {
		_, problems := Prove(context.Background(), p, registry, []byte("language: 1\nassertions:\n- "+text+"\n"), func(int, int) {})
		if got := strict.Problems(problems).Error(); !strings.Contains(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}
