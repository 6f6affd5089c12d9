package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// The part of the bench that measures decisions: from the facts of a call to its verdict with the budgets that it is charged to, on one core, without
// a database. Documents take turns, so that the ratio holds on a noisy machine.

const (
	largeProfiles  = 100 // each with three rules
	decideRounds   = 9
	decisionsRound = 20_000
)

// A ruling is a document, and the profile of the caller.
type ruling struct {
	name    string
	policy  *policy.Policy
	profile string
}

// A decided is a call of a kind that the documents treat alike: a read, a write that runs, and one that waits for people.
type decided struct {
	name, tool string
	effect     policy.Effect
}

var decisions = []decided{
	{"a read", "dtc_get_order", policy.Effect{Risk: tools.Risk{DataOut: 2}}},
	{"a write that runs", "dtc_add_order_note", policy.Effect{Risk: tools.Risk{Undo: 1, Blast: 1}}},
	{"a refund that waits for people", "dtc_refund_order", policy.Effect{
		Risk: tools.Risk{Undo: 3, Blast: 1, Money: 2, Touch: 1, Reach: 1}, Class: tools.ClassSpend, Customers: 1, Money: &shop.Money{AmountMinor: 6000, Currency: "GBP"},
	}},
}

// measureDecisions prints a table.
func measureDecisions() error {
	registry := tools.NewRegistry(dtc.Tools()...)
	small, err := newRuling("default", policy.Default, "operations", registry)
	if err != nil {
		return err
	}
	large, err := newRuling("large", policytest.Large(largeProfiles), fmt.Sprintf("profile-%d", largeProfiles/2), registry)
	if err != nil {
		return err
	}
	fmt.Printf("| decision | default document: min · median of %d rounds | a second, one core | %d profiles, %d rules | a second, one core | ratio of the medians |\n|--|--|--|--|--|--|\n",
		decideRounds, largeProfiles, 3*largeProfiles)
	for _, d := range decisions {
		if err := d.measure(registry, small, large); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

func newRuling(name string, text []byte, profile string, registry *tools.Registry) (ruling, error) {
	p, problems := policy.New(text, registry)
	if len(problems) > 0 {
		return ruling{}, fmt.Errorf("the %s document: %w", name, problems[0])
	}
	return ruling{name, p, profile}, nil
}

func (d decided) measure(registry *tools.Registry, small, large ruling) error {
	var took [2][]time.Duration
	for round := range decideRounds + 1 {
		for i, r := range []ruling{small, large} {
			each, err := d.time(registry, r)
			if err != nil {
				return err
			}
			if round > 0 { // the first one warms
				took[i] = append(took[i], each)
			}
		}
	}
	var cells [2]string
	for i := range took {
		slices.Sort(took[i])
		median := took[i][decideRounds/2]
		cells[i] = fmt.Sprintf("%s · %s | %.0f", tenths(took[i][0]), tenths(median), float64(time.Second)/float64(median))
	}
	fmt.Printf("| %s | %s | %s | %.2f |\n", d.name, cells[0], cells[1], float64(took[1][decideRounds/2])/float64(took[0][decideRounds/2]))
	return nil
}

// tenths writes what is about a microsecond.
func tenths(d time.Duration) string { return fmt.Sprintf("%.1f µs", float64(d.Nanoseconds())/1000) }

// time gives how long one decision takes, on average over many.
func (d decided) time(registry *tools.Registry, r ruling) (time.Duration, error) {
	f := d.facts(registry, r.profile)
	if v := r.policy.Decide(f); v.Outcome == policy.Refuse {
		return 0, fmt.Errorf("the %s document refuses it by %s", r.name, v.Rule)
	}
	started := time.Now()
	for range decisionsRound {
		r.policy.Decide(f)
	}
	return time.Since(started) / decisionsRound, nil
}

func (d decided) facts(registry *tools.Registry, profile string) *policy.Facts {
	t, _ := registry.Find(d.tool)
	return &policy.Facts{
		Agent: "key_bench", Name: "bench", Kind: auth.KindKey, Profile: profile, Scopes: []auth.Scope{"orders:read", "orders:write", "orders:refund"},
		Ceiling: auth.MaxLevel, Trust: 75_000, Tool: t, Merchant: "bench", Args: []byte(t.Example), At: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		Source: "10.0.0.1", Transport: "rest", Objects: []tools.Object{{"order:70001"}}, Effect: &d.effect,
	}
}
