// Package trust keeps a number for every agent, 0 to 100 points: how much it is trusted now. It falls when the agent is refused,
// caught by a guardrail or denied by a person, rises slowly while its calls succeed, and is read again for every call. A policy
// maps it to a sandbox, which bounds what may be called.
//
// An agent is the key or JWT agent at the root of a chain. Its sub-tokens share its score, so that nobody gets a fresh one by
// delegating. Signals come from the gate and from people, never from the agent itself.
//
// # The arithmetic
//
// Everything is in integers, so that the same facts give the same score wherever and whenever they are worked out. A Score is in
// thousandths of a point; what is stored is in billionths (state.go), because a score that is written often would lose its
// decay to rounding otherwise. It is stored as of a time, and what the time since then makes of it is computed when it is read:
//
//   - it decays towards Rules.Decay.Towards: what separates the two halves with every half-life. One computation is off by less than two
//     billionths of a point, so that a score which is moved every second is after a year off by less than 0.07 points, and in truth by far
//     less, because decay forgets old errors as it forgets everything else;
//   - it rises by at most Rules.RisePerDay in any 24 hours, be it by successes or by decay from below. What may still be earned fills
//     evenly with 23/24 of that a day and holds 1/24, an hour's worth, so that no 24 hours hold more than all of it. A fall has no
//     such bound, and what a person gives by hand has bounds of its own (Rules.Feedback).
//
// It follows, and is tested: a bad signal more never gives a higher score, then or later; a fall shows in the very next read.
//
// # Who writes when
//
// A bad signal is written in the transaction that records it, so whoever is told of a refusal meets the lower score. Successes are counted in
// memory by the gate and written down about once a second (Succeeded), so that a call that succeeds writes nothing here. A process that is
// killed loses at most those of its last second, which only ever costs an agent some rise and never hides a fall.
//
// A row is locked while it is moved, after every row of the shop; whoever moves several does so in the order of their ids. Of is one read by
// primary key.
package trust

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dtcgate/dtcgate/tools"
)

// A Level is a sandbox: how far an agent is let go.
type Level string

// The levels, each further than the one before.
const (
	Strict   Level = "STRICT"
	Adaptive Level = "ADAPTIVE"
	Open     Level = "OPEN"
)

// Levels are all of them, the narrowest first.
var Levels = []Level{Strict, Adaptive, Open}

// AtLeast reports whether l is as far as least or further. "" asks for nothing; what is no level is never reached.
func (l Level) AtLeast(least Level) bool {
	asked := slices.Index(Levels, least)
	return least == "" || asked >= 0 && slices.Index(Levels, l) >= asked
}

// A Kind is what sort of thing moves a score.
type Kind string

// The kinds of signals.
const (
	Success   Kind = "success"   // a call that was carried out
	Refusal   Kind = "refusal"   // a call that the gate refused
	Guardrail Kind = "guardrail" // a call in which a guardrail found something
	Denial    Kind = "denial"    // a call that a person denied
	Feedback  Kind = "feedback"  // what a person thinks of the agent
)

// A Signal is one thing that moves the score of an agent.
type Signal struct {
	Kind   Kind
	Code   tools.Code // of a refusal
	CallID string
	By     string // who, as in a chain: person:per_…
	Note   string
	Weight *Score // of feedback; all else weighs what the rules say
}

// A Change is what a signal did to a score.
type Change struct {
	Before Score `json:"before"`
	After  Score `json:"after"`
}

// ErrFeedback says that feedback weighs what the policy does not let it.
var ErrFeedback = errors.New("the policy does not let feedback weigh that much")

// weight is how much a signal moves the score.
func (r Rules) weight(s Signal) (Score, error) {
	switch s.Kind {
	case Success:
		return r.Signals.Success, nil
	case Refusal:
		return r.refusalWeight(s.Code), nil
	case Guardrail:
		return r.Signals.Guardrail, nil
	case Denial:
		return r.Signals.Denial, nil
	case Feedback:
		if s.Weight == nil || *s.Weight < r.Feedback.Lowest || *s.Weight > r.Feedback.Highest {
			return 0, fmt.Errorf("%w: %s to %s", ErrFeedback, r.Feedback.Lowest, r.Feedback.Highest)
		}
		return *s.Weight, nil
	}
	return 0, fmt.Errorf("trust: %q is no kind of signal", s.Kind)
}

// refusalWeight leaves out what no agent is to blame for: that the gate could not do its part.
func (r Rules) refusalWeight(code tools.Code) Score {
	if code == tools.Unavailable || code == tools.Internal {
		return 0
	}
	if own, ok := r.Codes[code]; ok {
		return own
	}
	return r.Signals.Refusal
}
