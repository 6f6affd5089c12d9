package trust

import (
	"encoding/json"
	"testing"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
)

// inDocument are rules as an operator writes them.
const inDocument = `
start: 50
signals: {success: 0.05, refusal: -1, guardrail: -10, denial: -5.125}
codes: {RATE_LIMITED: -2.5, CONFLICT: 0}
feedback: {lowest: -50, highest: 20}
decay: {towards: 50, half_life_hours: 168}
rise_per_day: 5
sandboxes:
  strict: {ceiling: L1}
  adaptive: {ceiling: medium, tools: ["dtc_get_*", "campaigns.*"]}
  open: {from: 72.5}
source: {url: "https://trust.example.com/v1/score", secret_env: DTCGATE_TRUST_TOKEN}
`

func parsed(t *testing.T) Rules {
	t.Helper()
	var r Rules
	if p := strict.Decode([]byte(inDocument), &r); len(p) > 0 {
		t.Fatal(p)
	}
	if p := r.Problems(); len(p) > 0 {
		t.Fatal(p)
	}
	return r
}

func TestAScoreMapsToItsSandbox(t *testing.T) {
	r := parsed(t)
	for score, want := range map[Score]Level{0: Strict, 29_999: Strict, 30_000: Adaptive, 72_499: Adaptive, 72_500: Open, Full: Open} {
		if got := r.Sandbox(score).Level; got != want {
			t.Errorf("%s is %s", score, got)
		}
	}
	if b := r.Sandbox(65_000); b.Ceiling != 4 || len(b.Tools) != 2 {
		t.Errorf("at 65 it is %+v", b)
	}
	if b := r.Sandbox(Full); b.Ceiling != auth.MaxLevel || b.Tools != nil {
		t.Errorf("OPEN is %+v", b)
	}
	if b := (Rules{}).Sandbox(None); b.Level != Open || b.Ceiling != auth.MaxLevel {
		t.Errorf("without trust it is %+v", b)
	}
	r.Sandboxes.Strict.Ceiling = "L9"
	if b := r.Sandbox(None); b.Ceiling != 0 {
		t.Errorf("a ceiling that cannot be read is %s", b.Ceiling)
	}
}

func TestLevelsAreInOrder(t *testing.T) {
	for _, c := range []struct {
		has, least Level
		want       bool
	}{{Open, Adaptive, true}, {Adaptive, Adaptive, true}, {Strict, Adaptive, false}, {Strict, "", true}, {Open, "HIGH", false}, {"HIGH", Strict, false}, {"", "", true}} {
		if got := c.has.AtLeast(c.least); got != c.want {
			t.Errorf("%q at least %q is %t", c.has, c.least, got)
		}
	}
}

func TestSignalsWeighWhatTheRulesSay(t *testing.T) {
	r, six, fifty := parsed(t), Score(6_000), Score(-50_001)
	for _, c := range []struct {
		s    Signal
		want Score
	}{
		{Signal{Kind: Success}, 50},
		{Signal{Kind: Refusal, Code: tools.ForbiddenScope}, -1_000},
		{Signal{Kind: Refusal, Code: tools.RateLimited}, -2_500},
		{Signal{Kind: Refusal, Code: tools.Conflict}, 0},
		{Signal{Kind: Refusal, Code: tools.Unavailable}, 0}, // nobody is to blame for it
		{Signal{Kind: Refusal, Code: tools.Internal}, 0},
		{Signal{Kind: Guardrail}, -10_000},
		{Signal{Kind: Denial}, -5_125},
		{Signal{Kind: Feedback, Weight: &six}, 6_000},
	} {
		if got, err := r.weight(c.s); err != nil || got != c.want {
			t.Errorf("%+v weighs %s, %v", c.s, got, err)
		}
	}
	for _, s := range []Signal{{Kind: Feedback}, {Kind: Feedback, Weight: &fifty}, {Kind: "praise"}, {}} {
		if w, err := r.weight(s); err == nil {
			t.Errorf("%+v weighs %s", s, w)
		}
	}
}

func TestRulesThatWouldHurtAreRefused(t *testing.T) {
	for path, change := range map[string]func(*Rules){
		"start":                   func(r *Rules) { r.Start = 100_001 },
		"signals.success":         func(r *Rules) { r.Signals.Success = -1 },
		"signals.refusal":         func(r *Rules) { r.Signals.Refusal = 1 },
		"signals.guardrail":       func(r *Rules) { r.Signals.Guardrail = 1 },
		"signals.denial":          func(r *Rules) { r.Signals.Denial = 1 },
		"codes.NOT_FOUND":         func(r *Rules) { r.Codes[tools.NotFound] = 1 },
		"codes.RATE_LIMITTED":     func(r *Rules) { r.Codes["RATE_LIMITTED"] = -1 },
		"feedback":                func(r *Rules) { r.Feedback.Lowest = 1 },
		"decay.towards":           func(r *Rules) { r.Bounds = &Range{60_000, Full}; r.Start = 60_000 },
		"decay.half_life_hours":   func(r *Rules) { r.Decay.HalfLifeHours = 0 },
		"bounds":                  func(r *Rules) { r.Bounds = &Range{Full, Full}; r.Start, r.Decay.Towards = Full, Full },
		"rise_per_day":            func(r *Rules) { r.RisePerDay = 0 },
		"history":                 func(r *Rules) { r.History = mostHistory + 1 },
		"sandboxes":               func(r *Rules) { r.Sandboxes = nil },
		"sandboxes.strict":        func(r *Rules) { r.Sandboxes.Strict = Terms{} },
		"sandboxes.adaptive":      func(r *Rules) { r.Sandboxes.Adaptive = Terms{} },
		"sandboxes.strict.from":   func(r *Rules) { r.Sandboxes.Strict.From = new(Score) },
		"sandboxes.open.ceiling":  func(r *Rules) { r.Sandboxes.Open.Ceiling = "highest" },
		"sandboxes.open.tools":    func(r *Rules) { r.Sandboxes.Open.Tools = []string{} },
		"sandboxes.open.tools[0]": func(r *Rules) { r.Sandboxes.Open.Tools = []string{""} },
		"source.url":              func(r *Rules) { r.Source.URL = "https://10.0.0.1/" },
		"source.timeout_ms":       func(r *Rules) { r.Source.TimeoutMS = 5001 },
		"source.header":           func(r *Rules) { r.Source.Header = "X Y" },
		"source.secret_env":       func(r *Rules) { r.Source.SecretEnv = "DTCGATE_VAULT_KEY" },
	} {
		r := parsed(t)
		change(&r)
		if p := r.Problems(); len(p) != 1 || p[0].Path != path || p[0].Problem == "" || p[0].Expected == "" {
			t.Errorf("%s: %+v", path, p)
		}
	}
	if p := (Rules{}).Problems(); len(p) > 0 {
		t.Errorf("no rules at all: %v", p)
	}
}

func TestPointsAreReadDigitByDigit(t *testing.T) {
	for text, want := range map[string]Score{"72.5": 72_500, "0": 0, "100": Full, "-3": -3_000, "0.001": 1, "-0.05": -50, "007": 7_000, "100.000": Full} {
		if got, err := ParseScore(text); err != nil || got != want {
			t.Errorf("%s is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-", ".5", "5.", "1e2", "+1", "NaN", "inf", "100.001", "-101", "1.2345", "1_0", "0x1", " 1", "1.-5", "--1", "99999999999999999999"} {
		if got, err := ParseScore(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestAMisspeltScoreIsToldWithItsLine(t *testing.T) {
	var r Rules
	p := strict.Decode([]byte("start: 50\nrise_per_day: fast\nsignals: {succes: 1}\n"), &r)
	if len(p) != 2 || p[0].Line != 2 || p[0].Path != "rise_per_day" || p[1].Path != "signals.succes" || p[1].Suggestion != "success" {
		t.Errorf("%+v", p)
	}
}

func TestPointsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Score(rapid.Int64Range(int64(-Full), int64(Full)).Draw(t, "score"))
		text, err := json.Marshal(s)
		var back, fromYAML Score
		if err != nil || json.Unmarshal(text, &back) != nil || yaml.Unmarshal([]byte(s.String()), &fromYAML) != nil || back != s || fromYAML != s {
			t.Fatalf("%d is %s and comes back as %d, %d", s, text, back, fromYAML)
		}
	})
}

func TestRulesComeBackFromJSON(t *testing.T) {
	r := parsed(t)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Rules
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(back)
	if err != nil || string(again) != string(text) {
		t.Errorf("%v\n%s\n%s", err, text, again)
	}
}
