package rehearsal

import (
	"slices"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/tools"
)

// verdict is a policy's decision, with the credential's own ceiling in its place among the checks.
func verdict(p *policy.Policy, f *policy.Facts) policy.Verdict {
	v := p.Decide(f)
	if f.Effect == nil || precedes(v) {
		return v
	}
	if over := overOwn(p, f); over != nil {
		return *over
	}
	return v
}

// Live is what is known of a decision while it is made, beyond its record.
type Live struct {
	Ask  approvals.Rule // whose consent a parked call waits for
	Code tools.Code     // of a refusal
}

// Compare holds the draft's verdict about one call to what has just become of it, without budgets: nobody counts what a draft has used up. The
// kind is "" where they agree, and where the draft cannot be asked.
func Compare(draft *policy.Policy, c policy.Record, live Live) (Kind, policy.Verdict) {
	was := before(&c)
	if was == kept || c.RefusedBy == "budgets" || c.Status == "replayed" || c.Facts.Tool == nil || lost(&c, draft) != "" {
		return "", policy.Verdict{}
	}
	resumed := c.Event == policy.EventResumed
	if resumed && c.Facts.Effect == nil && was != policy.Refuse {
		return "", policy.Verdict{} // the last step of a long call
	}
	v := verdict(draft, &c.Facts)
	if (resumed || c.Granted()) && v.Outcome == policy.Park {
		v.Outcome = policy.Run // people have agreed
	}
	if kind := differs(&c, was, v); kind != "" {
		return kind, v
	}
	switch {
	case was == policy.Park && !samePeople(live.Ask, v.Ask):
		return OtherPeople, v
	case was == policy.Refuse && v.Refusal != nil && v.Refusal.Code != live.Code:
		return OtherRefusal, v
	}
	return "", v
}

func samePeople(a, b approvals.Rule) bool {
	return a.People == b.People && slices.Equal(a.Roles, b.Roles) && slices.Equal(a.From, b.From) && a.Override == b.Override
}
