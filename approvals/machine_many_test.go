//go:build !race

package approvals

import (
	flags "flag"
	"math/rand/v2"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// checkMany is rapid.Check with so many cases.
func checkMany(t *testing.T, cases int, prop func(*rapid.T)) {
	t.Helper()
	checks := flags.Lookup("rapid.checks")
	was := checks.Value.String()
	if err := checks.Value.Set(strconv.Itoa(cases)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = checks.Value.Set(was) }()
	rapid.Check(t, prop)
}

func TestTheMachineIsWhatTheNaiveWaySays(t *testing.T) {
	n := tally{}
	checkMany(t, casesOr(20_000), func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		steps := rapid.IntRange(1, 24).Draw(t, "fewest steps") + 6
		tr := newTrial(t, rand.New(rand.NewPCG(seed, 1)), n)
		for i := 0; i < steps && tr.after < 3; i++ {
			tr.step()
		}
		tr.finally()
	})
	n.log(t)
	least := casesOr(20_000) / 20_000 // once, where as many are tried as the rarest of these takes
	n.reached(t, least, "consumed after approved", "rejected after pending", "approved after pending", "expired after pending", "expired after approved",
		"cancelled after pending", "cancelled after approved", "invalidated after pending", "invalidated after approved", "act escalate", "act withdraw",
		"consumed by an override", "consumed with a deputy", "consumed with somebody of an escalation", "consumed with two or more", "approved by one who said so again")
	for _, err := range []error{
		ErrDecided, ErrExpired, ErrVoted, ErrUnseen, ErrOtherHash, ErrAltered, ErrBarred, ErrNoRole, ErrNoDecider, ErrNoDeputy, ErrNoReason, ErrNoRule,
		ErrUnread, ErrNotYet, ErrNoVote,
	} {
		n.reached(t, least, "refused: "+err.Error())
	}
}
