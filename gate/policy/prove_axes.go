package policy

import (
	"github.com/dtcgate/dtcgate/gate/policy/condition"
	"github.com/dtcgate/dtcgate/tools"
)

// The space of calls has one axis for each thing that a decision can turn on, beside profile, tool and action. Of each axis there are as many
// values as a document can tell apart: between two neighbouring thresholds one stands for all.

// axes is a set of axes.
type axes uint

// The axes, in the order in which a search goes down them: those first that refuse with few others, those last that only one test reads.
const (
	onObject    axes = 1 << iota // what the call is about
	onRating                     // risk, class, and whether the tool itself asks
	onSource                     // an outside source of trust gave no answer
	onTrust                      // score
	onTaint                      // what outsiders wrote was read
	onMoney                      // amount and currency
	onCustomers                  // how many
	onWhen                       // how conditions of approval rules come out that look outside the space
	onConfirm                    // requires_approval of the credential
	onTime                       // freezes and quiet hours
	axisCount   = iota
)

const everything axes = 1<<axisCount - 1

// A point is one call of the space, with the policy that judges it.
type point struct {
	policy *Policy
	facts  Facts
	effect Effect
}

// A test is one thing that must be true of the call that is looked for. It turns on nothing but the axes it reads, and the place.
type test struct {
	reads axes
	ok    func(*point) bool
}

// A place is a tool, an action of it where it has some, and a profile.
type place struct {
	profile, action string
	tool            *tools.Tool
}

// checkReads are the axes that the checks of Decide turn on; one that is not here turns on all. The conditions and approvals turn on less,
// which place.conditioned and place.asks say.
var checkReads = map[string]axes{
	"switched": 0,
	"profile":  0,
	"action":   0,
	"objects":  onObject,
	"freeze":   onRating | onTime,
	"ceiling":  onRating | onMoney | onCustomers,
	"sandbox":  onRating | onTrust | onSource,
}

// reads are the axes that a check turns on at a place.
func (a place) reads(p *Policy, check string) axes {
	switch check {
	case "conditions":
		return a.conditioned(p)
	case "quiet":
		return onRating | onCustomers | onTime | a.asks(p)
	}
	if some, known := checkReads[check]; known {
		return some
	}
	return everything
}

// conditioned are the axes that the conditions turn on.
func (a place) conditioned(p *Policy) (some axes) {
	for _, c := range p.conditions.About(a.tool.Name, a.profile) {
		some |= axesOf(c)
	}
	return some
}

// asks are the axes that the approval rules turn on.
func (a place) asks(p *Policy) axes {
	some := onRating | onMoney | onCustomers | onConfirm | onWhen
	for _, r := range a.rules(p) {
		if r.when != nil {
			some |= axesOf(r.when.Policy())
		}
	}
	return some
}

// rules are the approval rules that a call can come to.
func (a place) rules(p *Policy) []*approvalRule {
	var some []*approvalRule
	for _, r := range p.byTool[a.tool.Name] {
		if r.profiles.has(a.profile) {
			some = append(some, r)
		}
	}
	return some
}

// pathAxes are the axes behind what conditions look at. Every other path of the space belongs to the rating, or to the place.
var pathAxes = map[string]axes{
	"context.tainted":         onTaint,
	"context.trust":           onTrust,
	pathMoney:                 onMoney,
	"context.effect.currency": onMoney,
	pathCustomers:             onCustomers,
	"action":                  0,
	"principal.profile":       0,
}

const (
	pathMoney     = "context.effect.money_minor"
	pathCustomers = "context.effect.customers"
	pathTrust     = "context.trust"
)

// axesOf are the axes that a condition turns on. What it looks at outside the space is no axis.
func axesOf(c *condition.Policy) (some axes) {
	for _, path := range c.Depends() {
		if on, known := pathAxes[path]; known {
			some |= on
		} else {
			some |= onRating
		}
	}
	return some
}
