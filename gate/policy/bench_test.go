package policy_test

import (
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// benchedCalls are a read, a write that runs, and one that waits for people.
var benchedCalls = []struct {
	name, tool string
	effect     policy.Effect
}{
	{"read", "dtc_get_order", policy.Effect{Risk: tools.Risk{DataOut: 2}}},
	{"run", "dtc_add_order_note", policy.Effect{Risk: tools.Risk{Undo: 1, Blast: 1}}},
	{"park", "dtc_refund_order", policy.Effect{
		Risk: tools.Risk{Undo: 3, Blast: 1, Money: 2, Touch: 1, Reach: 1}, Class: tools.ClassSpend, Customers: 1, Money: &shop.Money{AmountMinor: 6000, Currency: "GBP"},
	}},
}

func benchmarkDecide(b *testing.B, doc []byte, profile string) {
	p, _, err := ready(doc)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range benchedCalls {
		t, _ := registry.Find(c.tool)
		f := &policy.Facts{
			Agent: "key_a", Name: "bench", Kind: auth.KindKey, Profile: profile, Scopes: []auth.Scope{"orders:read", "orders:write", "orders:refund"}, Ceiling: auth.MaxLevel, Trust: 75_000,
			Tool: t, Merchant: "m", Args: []byte(t.Example), At: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Source: "10.0.0.1", Transport: "rest",
			Objects: []tools.Object{{"order:70001"}}, Effect: &c.effect,
		}
		b.Run(c.name, func(b *testing.B) {
			if v := p.Decide(f); v.Outcome == policy.Refuse {
				b.Fatal(v.Rule)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(f)
			}
		})
	}
}

func BenchmarkDecideDefault(b *testing.B) { benchmarkDecide(b, policy.Default, "operations") }

func BenchmarkDecideHundredProfiles(b *testing.B) {
	benchmarkDecide(b, policytest.Large(100), "profile-57")
}
