package rehearsal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/tools"
)

// kept is what became of a call that a policy had no part in: it was refused, and is under any draft.
const kept policy.Outcome = "refused otherwise"

// again are the checks of the gate that a policy decides by the facts of the call alone, and the one of the credential's ceiling, which holds
// the call to its risk as the policy rates it.
var again = []string{
	"switched", "profile", "action", "standing", "profile objects", "freeze", "ceiling", "profile ceiling", "sandbox", "conditions", "quiet", "budgets",
}

// ownCeiling is the rule of the credential's ceiling.
const ownCeiling = "builtin.ceiling"

// before is what really became of a call.
func before(c *policy.Record) policy.Outcome {
	switch {
	case c.Status == string(tools.PendingApproval):
		return policy.Park
	case c.Status != "refused":
		return policy.Run
	case c.RefusedBy == "" || strings.HasPrefix(c.Rule, "builtin.") && c.Rule != ownCeiling:
		return kept // by the tool itself, or by what no policy says
	}
	return policy.Refuse
}

// The losses beyond those that a Record tells.
const (
	LostRows   policy.Loss = "it was refused for what its answer would have shown, which is not kept"
	LostNested policy.Loss = "it was refused by a policy for another call that it is about, whose facts are not kept"
)

// lost says why the draft cannot be asked about a call; "" when it can.
func lost(c *policy.Record, draft *policy.Policy) policy.Loss {
	switch {
	case c.Lost != "":
		return c.Lost
	case draft.LooksAtName() && !c.Named:
		return policy.LostName
	case c.RefusedBy == "" || slices.Contains(again, c.RefusedBy):
		return ""
	case c.RefusedBy == "profile rows":
		return LostRows
	}
	return LostNested
}

// differs says how the draft's verdict differs from what became of a call; "" when it does not.
func differs(c *policy.Record, was policy.Outcome, v policy.Verdict) Kind {
	would := v.Outcome
	if was == policy.Refuse && further(c, v) {
		return Perhaps
	}
	switch {
	case would == was:
		return ""
	case would == policy.Refuse:
		return Refused
	case was == policy.Refuse && would == policy.Run:
		return Allowed
	case was == policy.Refuse:
		return RefusedParked
	case would == policy.Park:
		return Parked
	}
	return Unparked
}

// further reports whether a refused call would get past what refused it, to where the record ends: its effect was not known yet, or not even
// its arguments had been read.
func further(c *policy.Record, v policy.Verdict) bool {
	if c.Facts.Effect != nil {
		return false
	}
	return v.Unknown || len(c.Facts.Args) == 0 && v.Check != "switched" && v.Check != "profile"
}

// overOwn is the refusal of a call that is over its credential's own ceiling, as the draft rates it; nil when it is not.
func overOwn(p *policy.Policy, f *policy.Facts) *policy.Verdict {
	level := p.Rated(f).Level()
	if f.Tool.Brake || level <= f.Ceiling {
		return nil
	}
	why := fmt.Sprintf("This call is rated %s; this credential may go up to %s.", level, f.Ceiling)
	return &policy.Verdict{Outcome: policy.Refuse, Check: "ceiling", Rule: ownCeiling, Refusal: &tools.Refusal{Code: tools.RiskCeiling, Message: why}}
}

// precedes reports whether a verdict is a refusal by a check that comes before the credential's ceiling.
func precedes(v policy.Verdict) bool {
	return v.Outcome == policy.Refuse && slices.Contains([]string{"switched", "profile", "action", "objects", "freeze"}, v.Check)
}
