package trust

import (
	"slices"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

// Rules are the part of a policy that is about trust. Without Sandboxes trust is not used: nothing is written down, and everybody is in
// OPEN with a full score. What else is left out gives nothing.
//
// Rules that change hold for what is stored from then on: a score decays by the rules in force when it is read, also for the time before them.
type Rules struct {
	Start      Score                `yaml:"start,omitempty" json:"start,omitempty"` // of an agent that nothing has moved yet
	Signals    Weights              `yaml:"signals,omitempty" json:"signals,omitzero"`
	Codes      map[tools.Code]Score `yaml:"codes,omitempty" json:"codes,omitempty"`      // what refusals of some codes weigh, in place of signals.refusal
	Feedback   Range                `yaml:"feedback,omitempty" json:"feedback,omitzero"` // what one person's feedback may weigh
	Decay      Decay                `yaml:"decay,omitempty" json:"decay,omitzero"`
	Bounds     *Range               `yaml:"bounds,omitempty" json:"bounds,omitempty"`             // nothing: 0 to 100
	RisePerDay Score                `yaml:"rise_per_day,omitempty" json:"rise_per_day,omitempty"` // that an agent earns at most in any 24 hours
	History    int64                `yaml:"history,omitempty" json:"history,omitempty"`           // moves that are kept of each agent; nothing: 200
	Sandboxes  *Sandboxes           `yaml:"sandboxes,omitempty" json:"sandboxes,omitempty"`
	Source     *Source              `yaml:"source,omitempty" json:"source,omitempty"` // that is asked about every call too
}

// Weights are what signals weigh: a success 0 or more, all else 0 or less.
type Weights struct {
	Success   Score `yaml:"success,omitempty" json:"success,omitempty"`
	Refusal   Score `yaml:"refusal,omitempty" json:"refusal,omitempty"`
	Guardrail Score `yaml:"guardrail,omitempty" json:"guardrail,omitempty"`
	Denial    Score `yaml:"denial,omitempty" json:"denial,omitempty"`
}

// A Range has its ends in it.
type Range struct {
	Lowest  Score `yaml:"lowest,omitempty" json:"lowest,omitempty"`
	Highest Score `yaml:"highest,omitempty" json:"highest,omitempty"`
}

// Decay draws a score towards one at which it rests.
type Decay struct {
	Towards       Score `yaml:"towards,omitempty" json:"towards,omitempty"`
	HalfLifeHours int64 `yaml:"half_life_hours,omitempty" json:"half_life_hours,omitempty"` // 0: it does not decay
}

// Sandboxes say what may be called at which score.
type Sandboxes struct {
	Strict   Terms `yaml:"strict,omitempty" json:"strict,omitzero"`     // from the bottom
	Adaptive Terms `yaml:"adaptive,omitempty" json:"adaptive,omitzero"` // from 30, if it does not say
	Open     Terms `yaml:"open,omitempty" json:"open,omitzero"`         // from 70, if it does not say
}

// Terms are those of one sandbox. A part that is left out bounds nothing.
type Terms struct {
	From    *Score   `yaml:"from,omitempty" json:"from,omitempty"`       // the lowest score that is in it
	Ceiling string   `yaml:"ceiling,omitempty" json:"ceiling,omitempty"` // the riskiest call: low, medium, high, or L0 to L7
	Tools   []string `yaml:"tools,omitempty" json:"tools,omitempty"`     // the only tools: names and patterns
}

// Where the sandboxes begin when the rules do not say.
const (
	adaptiveFrom Score = 30 * point
	openFrom     Score = 70 * point
)

// usualHistory is how many moves are kept when the rules do not say.
const usualHistory = 200

// A Sandbox is what an agent may call at its score.
type Sandbox struct {
	Level   Level      `json:"level"`
	Ceiling auth.Level `json:"ceiling"`
	Tools   []string   `json:"tools,omitempty"` // names and patterns; nil: all
}

// Allows reports whether a tool may be called, by name or path, at a level.
func (b Sandbox) Allows(t *tools.Tool, l auth.Level) bool {
	if len(b.Tools) == 0 {
		return l <= b.Ceiling
	}
	fits := func(pattern string) bool { return auth.Fits(pattern, t.Name) || auth.Fits(pattern, t.Path) }
	return l <= b.Ceiling && slices.ContainsFunc(b.Tools, fits)
}

// Below reports whether a sandbox is narrower than one that is needed.
func (r Rules) Below(b Sandbox, need Level) bool { return !b.Level.AtLeast(need) }

// Used reports whether the rules say anything.
func (r Rules) Used() bool { return r.Sandboxes != nil }

// Sandbox gives the sandbox of a score.
func (r Rules) Sandbox(s Score) Sandbox {
	if !r.Used() {
		return Sandbox{Level: Open, Ceiling: auth.MaxLevel}
	}
	switch b := r.Sandboxes; {
	case s >= b.Open.from(openFrom):
		return b.Open.sandbox(Open)
	case s >= b.Adaptive.from(adaptiveFrom):
		return b.Adaptive.sandbox(Adaptive)
	default:
		return b.Strict.sandbox(Strict)
	}
}

func (t Terms) from(usual Score) Score {
	if t.From == nil {
		return usual
	}
	return *t.From
}

// sandbox reads the terms. A ceiling that cannot be read, which no published policy has, lets nothing through but L0.
func (t Terms) sandbox(l Level) Sandbox {
	b := Sandbox{Level: l, Ceiling: auth.MaxLevel, Tools: t.Tools}
	if t.Ceiling != "" {
		b.Ceiling, _ = auth.ParseLevel(t.Ceiling)
	}
	return b
}

func (r Rules) bounds() Range {
	if r.Bounds == nil {
		return Range{None, Full}
	}
	return *r.Bounds
}

func (r Rules) history() int64 {
	if r.History == 0 {
		return usualHistory
	}
	return r.History
}

// start is the score of an agent that nothing has moved.
func (r Rules) start() Score { return r.bounds().clamp(r.Start) }

func (b Range) clamp(s Score) Score { return max(b.Lowest, min(b.Highest, s)) }
