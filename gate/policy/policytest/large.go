package policytest

import (
	"fmt"
	"strings"
)

// Large is a document of many profiles with three rules each: one that forbids and two that ask people. It has sandboxes, and budgets that
// every call is charged to. The profiles are profile-0, profile-1 and so on.
func Large(profiles int) []byte {
	var granted, forbids, asks strings.Builder
	for i := range profiles {
		p := fmt.Sprintf("profile-%d", i)
		fmt.Fprintf(&granted, "  %s:\n    tools: [orders.*, tickets.*, dtc_search_products, dtc_request_action]\n    resources: [\"order:*\", \"queue:returns-%d/*\", \"product:*\"]\n", p, i)
		fmt.Fprintf(&granted, "    actions: {request: [\"helpdesk:*\"]}\n    ceiling: {undo: 3, data: 2, reach: 1, money: {per_call_minor: %d, per_day_minor: 500000, currency: GBP}, customers: {per_call: 5, per_day: 500}}\n", 20_000+i)
		fmt.Fprintf(&forbids, "  @id(\"night-%d\")\n  forbid (principal in Profile::%q, action in Action::\"writes\", resource) when { context.time.hour < %d && context.effect.money_minor > %d };\n", i, p, i%8, 100*i)
		fmt.Fprintf(&asks, "- {name: big-%d, classes: [spend], profiles: [%s], over: {money: {amount_minor: %d, currency: GBP}}, need: {people: 2}}\n", i, p, 5000+i)
		fmt.Fprintf(&asks, "- {name: tainted-%d, profiles: [%s], when: context.tainted && context.effect.reach > 0, need: {people: 1}}\n", i, p)
	}
	return []byte("language: 1\nprofiles:\n  scoped: {}\n" + granted.String() +
		"trust:\n  start: 50\n  sandboxes:\n    strict: {ceiling: low}\n    adaptive: {ceiling: medium}\n    open: {}\n" +
		"conditions: |\n  permit (principal, action, resource);\n" + forbids.String() +
		"limits:\n  zone: Europe/London\n  budgets:\n  - {name: calls, per: key, every: hour, calls: 5000}\n" +
		"  - {name: money, per: merchant, every: day, money: {amount_minor: 1000000, currency: GBP}}\napprovals:\n" + asks.String())
}
