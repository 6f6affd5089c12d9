package trust

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/tools"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// someRules draws rules without problems.
func someRules(t *rapid.T) Rules {
	lowest := Score(rapid.Int64Range(0, 40_000).Draw(t, "lowest"))
	highest := Score(rapid.Int64Range(60_000, 100_000).Draw(t, "highest"))
	within := rapid.Int64Range(int64(lowest), int64(highest))
	r := Rules{
		Start:  Score(within.Draw(t, "start")),
		Bounds: &Range{lowest, highest},
		Signals: Weights{
			Success: Score(rapid.Int64Range(0, 5_000).Draw(t, "success")), Refusal: Score(rapid.Int64Range(-9_000, 0).Draw(t, "refusal")),
			Guardrail: Score(rapid.Int64Range(-50_000, 0).Draw(t, "guardrail")), Denial: Score(rapid.Int64Range(-50_000, 0).Draw(t, "denial")),
		},
		RisePerDay: Score(rapid.Int64Range(1, 100_000).Draw(t, "rise a day")),
		Sandboxes:  &Sandboxes{Strict: Terms{Ceiling: "L0"}, Adaptive: Terms{Ceiling: "L4"}},
	}
	if rapid.Bool().Draw(t, "decays") {
		r.Decay = Decay{Score(within.Draw(t, "towards")), rapid.Int64Range(1, 1000).Draw(t, "half-life")}
	}
	if p := r.Problems(); len(p) > 0 {
		t.Fatal(p)
	}
	return r
}

// An event is one thing that happens to an agent after a while.
type event struct {
	wait time.Duration
	kind Kind // "": nothing but time
	n    int64
}

var kinds = []Kind{Success, Refusal, Guardrail, Denial}

func someEvents(among ...Kind) *rapid.Generator[[]event] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event {
		scale := rapid.SampledFrom([]time.Duration{time.Microsecond, time.Second, time.Hour, 24 * time.Hour}).Draw(t, "unit")
		return event{
			wait: scale * time.Duration(rapid.Int64Range(0, 100).Draw(t, "wait")),
			kind: rapid.SampledFrom(among).Draw(t, "kind"), n: rapid.Int64Range(1, 10_000).Draw(t, "n"),
		}
	}), 0, 60)
}

// after is the state after one more event.
func (r Rules) after(s state, e event) state {
	s = r.later(s, s.at.Add(e.wait))
	w, _ := r.weight(Signal{Kind: e.kind, Code: tools.ForbiddenScope})
	if e.kind == Success {
		w *= Score(e.n)
	}
	if w == 0 {
		return s
	}
	return r.apply(s, e.kind, int64(w)*fine)
}

func TestDecayIsThePowerOfTwo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, int64(Full)*fine).Draw(t, "n")
		elapsed := rapid.Int64Range(0, 100*day).Draw(t, "elapsed")
		half := rapid.Int64Range(1, mostHalfLife).Draw(t, "half-life") * hour
		want := float64(n) * math.Exp2(-float64(elapsed)/float64(half))
		if got := halved(n, elapsed, half); math.Abs(float64(got)-want) >= 1.01 {
			t.Fatalf("%d after %d of %d is %d, want %f", n, elapsed, half, got, want)
		}
	})
	for n, want := range map[int64]int64{0: 0, 1: 500, 2: 250, 3: 125, 63: 0, 1 << 40: 0} {
		if n > 0 && n < 1<<20 {
			if got := halved(1000, n*hour, hour); got != want {
				t.Errorf("after %d half-lives 1000 is %d", n, got)
			}
		}
	}
	if got := halved(int64(Full)*fine, longest, hour); got != 0 {
		t.Errorf("after a hundred years there is %d", got)
	}
}

// A score that is written every second decays like one that is written once: what is stored is fine enough.
func TestDecayDoesNotDependOnHowOftenAScoreIsMoved(t *testing.T) {
	r := Rules{Start: 90_000, Decay: Decay{50_000, 168}, RisePerDay: 1_000, Sandboxes: &Sandboxes{}}
	once, often := r.unmoved(noon), r.unmoved(noon)
	for range 24 * 3600 {
		often = r.later(often, often.at.Add(time.Second))
	}
	once = r.later(once, noon.Add(24*time.Hour))
	if off := once.points - often.points; off < 0 || off > 2*24*3600 {
		t.Errorf("moved once %d, moved often %d", once.points, often.points)
	}
	if once.score() != 86_228 { // 50 + 40·2^(-1/7)
		t.Errorf("after a day it is %s", once.score())
	}
}

func TestAScoreStaysInItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := someRules(t)
		s := r.unmoved(noon)
		for _, e := range someEvents(append(kinds, "")...).Draw(t, "events") {
			s = r.after(s, e)
			if s.score() < r.Bounds.Lowest || s.score() > r.Bounds.Highest || s.room < 0 || s.room > r.mostRoom() {
				t.Fatalf("after %v: %+v", e, s)
			}
		}
		other := someRules(t) // of a policy that takes its place
		if s = other.later(s, s.at); s.score() < other.Bounds.Lowest || s.score() > other.Bounds.Highest {
			t.Fatalf("under other rules %+v", s)
		}
	})
}

func TestABadSignalMoreNeverGivesAHigherScore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := someRules(t)
		events := someEvents(append(kinds, "")...).Draw(t, "events")
		bad := map[int]Kind{}
		for range rapid.IntRange(1, 5).Draw(t, "bad signals") {
			bad[rapid.IntRange(0, len(events)).Draw(t, "after")] = rapid.SampledFrom(kinds[1:]).Draw(t, "of kind")
		}
		fewer, more := r.unmoved(noon), r.unmoved(noon)
		for i := range len(events) + 1 {
			if kind, here := bad[i]; here {
				more = r.after(more, event{kind: kind})
			}
			if i < len(events) {
				fewer, more = r.after(fewer, events[i]), r.after(more, events[i])
			}
			if more.points > fewer.points {
				t.Fatalf("step %d: with bad signals %+v, without %+v", i, more, fewer)
			}
		}
	})
}

// Threat T104: whoever makes harmless calls, as many and whenever they like, and waits in between, rises by no more than the cap in any 24
// hours, which is the lowest that the score was in them to the highest after it.
func TestNobodyRisesFasterThanTheCap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := someRules(t)
		s := r.unmoved(noon)
		past := []state{s}
		for _, e := range someEvents(append(kinds, "")...).Draw(t, "events") {
			s = r.after(s, e)
			past = append(past, s)
			for _, p := range past {
				days := (int64(s.at.Sub(p.at)) + int64(24*time.Hour) - 1) / int64(24*time.Hour)
				if most := int64(r.RisePerDay) * fine * max(days, 1); s.points-p.points > most {
					t.Fatalf("from %+v to %+v, which is more than %d", p, s, most)
				}
			}
		}
	})
}

// The same in the words of the threat: at 5 points a day nobody comes from STRICT to OPEN with 10,000 harmless calls, nor with 10,000 a day in a
// week, and one bad call takes back what took days to earn.
func TestTenThousandHarmlessCallsBuyADayOfTrust(t *testing.T) {
	r := Rules{
		Start: 20_000, Signals: Weights{Success: 500, Guardrail: -30_000}, RisePerDay: 5_000,
		Sandboxes: &Sandboxes{Strict: Terms{Ceiling: "L0"}, Adaptive: Terms{Ceiling: "L4"}},
	}
	s := r.unmoved(noon)
	for range 10_000 {
		s = r.after(s, event{wait: time.Millisecond, kind: Success, n: 1})
	}
	if got := s.score(); got <= 20_000 || got > 20_300 {
		t.Errorf("after 10,000 calls in 10 seconds it is %s", got)
	}
	for minute := range 7 * 24 * 60 {
		s = r.after(s, event{wait: time.Minute, kind: Success, n: 7})
		if most := 20_000 + 5_000*Score(minute/(24*60)+1); s.score() > most {
			t.Fatalf("after %d minutes it is %s", minute, s.score())
		}
	}
	if got := r.Sandbox(s.score()).Level; got != Adaptive {
		t.Errorf("after a week it is %s, %s", s.score(), got)
	}
	if s = r.after(s, event{kind: Guardrail}); r.Sandbox(s.score()).Level != Strict {
		t.Errorf("after one bad call it is %s", s.score())
	}
}

func TestAClockThatIsBehindChangesNothing(t *testing.T) {
	r := Rules{Start: 90_000, Decay: Decay{50_000, 24}, RisePerDay: 24_000, Signals: Weights{Success: 1_000}, Sandboxes: &Sandboxes{}}
	s := r.after(r.unmoved(noon), event{kind: Success, n: 1})
	if back := r.later(s, noon.Add(-time.Hour)); back != s {
		t.Errorf("%+v became %+v", s, back)
	}
}
