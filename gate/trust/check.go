package trust

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
)

// Bounds of what rules may say.
const (
	mostHalfLife = 10 * 365 * 24 // hours
	mostHistory  = 10_000        // moves
)

// Problems gives everything that is wrong with the rules. Paths are relative to trust.
func (r Rules) Problems() []strict.Problem {
	var p problems
	r.checkScores(&p)
	r.checkSignals(&p)
	r.checkSandboxes(&p)
	if r.Source != nil {
		r.Source.check(&p)
	}
	return p
}

type problems []strict.Problem

// add notes a problem unless all is well.
func (p *problems) add(ok bool, path, problem, expected string) {
	if !ok {
		*p = append(*p, strict.Problem{Path: path, Problem: problem, Expected: expected})
	}
}

func (r Rules) checkScores(p *problems) {
	b := r.bounds()
	p.add(b.Lowest >= None && b.Highest <= Full && b.Lowest < b.Highest, "bounds", "are no range of scores", "lowest below highest, both from 0 to 100")
	p.add(b.clamp(r.Start) == r.Start, "start", "is out of bounds", b.words())
	p.add(b.clamp(r.Decay.Towards) == r.Decay.Towards || r.Decay == Decay{}, "decay.towards", "is out of bounds", b.words())
	p.add(r.Decay.HalfLifeHours >= 0 && r.Decay.HalfLifeHours <= mostHalfLife, "decay.half_life_hours", "is out of range", fmt.Sprintf("1 to %d, or left out for no decay", mostHalfLife))
	p.add(r.Decay.Towards == 0 || r.Decay.HalfLifeHours != 0, "decay.half_life_hours", "is missing", "in how many hours a score comes half the way to where it rests, such as 168")
	p.add(r.RisePerDay >= None && r.RisePerDay <= Full, "rise_per_day", "is out of range", "0 to 100")
	p.add(r.RisePerDay > 0 || r.Signals.Success == 0, "rise_per_day", "is missing, so that no success would count", "how much an agent may earn in a day, such as 5")
	p.add(r.History >= 0 && r.History <= mostHistory, "history", "is out of range", fmt.Sprintf("1 to %d moves, or left out for %d", mostHistory, usualHistory))
}

func (b Range) words() string { return fmt.Sprintf("%s to %s", b.Lowest, b.Highest) }

// checkSignals holds good signals to raising a score and bad ones to lowering it.
func (r Rules) checkSignals(p *problems) {
	p.add(r.Signals.Success >= 0, "signals.success", "would lower the score", "0 to 100")
	p.add(r.Signals.Refusal <= 0, "signals.refusal", "would raise the score", "-100 to 0")
	p.add(r.Signals.Guardrail <= 0, "signals.guardrail", "would raise the score", "-100 to 0")
	p.add(r.Signals.Denial <= 0, "signals.denial", "would raise the score", "-100 to 0")
	p.add(r.Feedback.Lowest <= 0 && r.Feedback.Highest >= 0, "feedback", "is no range around 0", "lowest from -100 to 0, highest from 0 to 100")
	known := make([]string, len(tools.Codes))
	for i, c := range tools.Codes {
		known[i] = string(c)
	}
	for _, code := range slices.Sorted(maps.Keys(r.Codes)) {
		path := "codes." + string(code)
		p.add(r.Codes[code] <= 0, path, "would raise the score", "-100 to 0")
		if !slices.Contains(tools.Codes, code) {
			*p = append(*p, strict.Problem{
				Path: path, Problem: "is no code of a refusal", Expected: "a code such as " + string(tools.ForbiddenScope), Suggestion: strict.Suggest(string(code), known),
			})
		}
	}
}

func (r Rules) checkSandboxes(p *problems) {
	b := r.Sandboxes
	if b == nil {
		p.add(r.empty(), "sandboxes", "are missing, so that the score would mean nothing", "strict, adaptive and open, each with what may be called in it")
		return
	}
	from, to := b.Adaptive.from(adaptiveFrom), b.Open.from(openFrom)
	p.add(b.Strict.From == nil, "sandboxes.strict.from", "has no meaning: strict begins at the bottom", "left out")
	p.add(from > None && from < to && to <= Full, "sandboxes", "do not follow one another", "adaptive.from above 0 and below open.from, which is at most 100; left out they are 30 and 70")
	for _, box := range []struct {
		name  string
		terms Terms
	}{{"strict", b.Strict}, {"adaptive", b.Adaptive}} {
		p.add(box.terms.Ceiling != "" || len(box.terms.Tools) > 0, "sandboxes."+box.name, "bounds nothing, and would be the same as open", "a ceiling such as L1, or the tools that may be called")
	}
	b.Strict.check(p, "sandboxes.strict")
	b.Adaptive.check(p, "sandboxes.adaptive")
	b.Open.check(p, "sandboxes.open")
}

// empty reports whether the rules say nothing at all.
func (r Rules) empty() bool {
	return r.Start == 0 && r.Signals == Weights{} && len(r.Codes) == 0 && r.Feedback == Range{} && r.Decay == Decay{} && r.Bounds == nil &&
		r.RisePerDay == 0 && r.History == 0 && r.Source == nil
}

func (t Terms) check(p *problems, path string) {
	if t.Ceiling != "" {
		_, err := auth.ParseLevel(t.Ceiling)
		p.add(err == nil, path+".ceiling", "is no level", "low, medium, high, or L0 to L7")
	}
	p.add(t.Tools == nil || len(t.Tools) > 0, path+".tools", "is empty", "at least one name or pattern; or left out for all, under a ceiling")
	for i, pattern := range t.Tools {
		p.add(pattern != "", fmt.Sprintf("%s.tools[%d]", path, i), "is empty", "a tool's name or a pattern such as orders.*")
	}
}

func (s Source) check(p *problems) {
	_, err := auth.ParseOutbound(s.URL)
	p.add(err == nil, "source.url", "is no address that may be asked", "a public https address without user and #, such as https://trust.example.com/v1/score")
	p.add(s.TimeoutMS >= 0 && s.TimeoutMS <= mostTimeout.Milliseconds(), "source.timeout_ms", "is out of range", fmt.Sprintf("1 to %d, or left out for %d", mostTimeout.Milliseconds(), usualTimeout.Milliseconds()))
	p.add(s.Header == "" || headerName.MatchString(s.Header), "source.header", "is no name of a header", "a name such as X-Api-Key, or left out for Authorization: Bearer")
	p.add(s.Header == "" || s.SecretEnv != "", "source.secret_env", "is missing", "the variable that holds what the header is to carry, such as DTCGATE_TRUST_TOKEN")
	p.add(s.SecretEnv == "" || secretName.MatchString(s.SecretEnv), "source.secret_env", "is no variable that a policy may name", "a name that begins with DTCGATE_TRUST_, and ends in _FILE when it names a file")
}
