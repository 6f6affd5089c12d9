package rehearsal

import (
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/tools"
)

// A ledger counts what the calls take from budgets, under the draft and beside it under the policies that were in force.
//
// What was used before the first call is not known. But where both count the same thing, the live policy's answer says what was left, and
// the draft's follows from the difference of the two: see counter.fits.
type ledger map[key]*counter

// A key is what one counter counts.
type key struct {
	budget, subject, unit string
	from                  int64 // microseconds
}

type counter struct{ draft, live int64 }

// held is what one call has taken.
type held struct{ draft, live []budget.Charge }

// maxCounters bounds a ledger. Beyond it, what nobody has counted yet counts as empty.
const maxCounters = 100_000

func (l ledger) of(c budget.Charge) *counter {
	k := key{c.Budget, c.Subject, c.Unit, c.From.UnixMicro()}
	found := l[k]
	if found == nil {
		found = &counter{}
		if len(l) < maxCounters {
			l[k] = found
		}
	}
	return found
}

// charge takes what a call uses up, for the draft where its verdict is not a refusal, and for the live policy where that let the call through.
// The verdict becomes a refusal when too little is left for the draft.
func (l ledger) charge(c *policy.Record, was policy.Outcome, v policy.Verdict, live *policy.Policy) (policy.Verdict, held) {
	var h held
	var before []budget.Charge
	if live != nil {
		before = live.Charges(&c.Facts)
	}
	if was != policy.Refuse {
		h.live = before
	}
	if v.Outcome != policy.Refuse {
		over := l.over(c, was, v.Charges, before)
		if over != nil {
			v = exceeded(*over)
		} else {
			h.draft = v.Charges
		}
	}
	l.add(h, 1)
	return v, h
}

// over gives the first charge for which the draft has too little left.
func (l ledger) over(c *policy.Record, was policy.Outcome, all, live []budget.Charge) *budget.Charge {
	for i := range all {
		same, counted := find(live, all[i])
		refused := was == policy.Refuse && c.RefusedBy == "budgets" && c.Rule == all[i].Budget
		judged := counted && (was != policy.Refuse || refused)
		if !l.of(all[i]).fits(all[i], same, judged, refused) {
			return &all[i]
		}
	}
	return nil
}

// fits reports whether enough is left for a charge of the draft. Where the live policy judged the same charge, there was room for it (or not) by
// its limit and its use. The draft has as much more room as its limit is higher, and as much less as it has let more through.
func (n *counter) fits(c, same budget.Charge, judged, refused bool) bool {
	room := (c.Limit - same.Limit) - (c.Amount - same.Amount) - (n.draft - n.live)
	switch {
	case judged && !refused && room >= 0:
		return true
	case judged && refused && room <= 0:
		return false
	}
	return n.draft+c.Amount <= c.Limit
}

// find gives the charge of the same counter.
func find(all []budget.Charge, c budget.Charge) (budget.Charge, bool) {
	for _, one := range all {
		if one.Budget == c.Budget && one.Subject == c.Subject && one.Unit == c.Unit && one.From.Equal(c.From) {
			return one, true
		}
	}
	return budget.Charge{}, false
}

func (l ledger) add(h held, sign int64) {
	for _, c := range h.draft {
		l.of(c).draft += sign * c.Amount
	}
	for _, c := range h.live {
		l.of(c).live += sign * c.Amount
	}
}

// release gives back what a call has taken.
func (l ledger) release(h held) { l.add(h, -1) }

func exceeded(c budget.Charge) policy.Verdict {
	why := fmt.Sprintf("This call takes %d %s, and too little is left of %d until %s.", c.Amount, c.Unit, c.Limit, c.Until.Format(time.RFC3339))
	return policy.Verdict{
		Outcome: policy.Refuse, Check: "budgets", Rule: c.Budget, Refusal: &tools.Refusal{Code: tools.BudgetExceeded, Message: why},
	}
}
