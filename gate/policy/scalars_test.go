package policy_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
)

type scalarsOf struct {
	Rest    policy.Duration  `yaml:"rest,omitempty"`
	At      policy.ClockTime `yaml:"at,omitempty"`
	Ceiling policy.Ceiling   `yaml:"ceiling,omitempty"`
}

func TestScalarsAreReadAndWrittenAsPeopleWriteThem(t *testing.T) {
	level := func(l auth.Level) policy.Ceiling { return policy.Ceiling{Level: &l} }
	for text, want := range map[string]scalarsOf{
		"rest: 24h":           {Rest: policy.Duration(24 * time.Hour)},
		"rest: 90s":           {Rest: policy.Duration(90 * time.Second)},
		"rest: '7d'":          {Rest: policy.Duration(168 * time.Hour)},
		"at: 21:05":           {At: 1265},
		"at: \"00:01\"":       {At: 1},
		"ceiling: medium":     {Ceiling: level(4)},
		"ceiling: L4":         {Ceiling: level(4)},
		"ceiling: L0":         {Ceiling: level(0)},
		"ceiling: {}":         {Ceiling: policy.Ceiling{Vector: &policy.Vector{}}},
		"ceiling: {undo: 2}":  {Ceiling: policy.Ceiling{Vector: &policy.Vector{Undo: 2}}},
		"ceiling: {blast: 0}": {Ceiling: policy.Ceiling{Vector: &policy.Vector{Blast: new(int)}}},
	} {
		var got, again scalarsOf
		if problems := strict.Decode([]byte(text), &got); problems != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%s: %v %s", text, problems, cmp.Diff(want, got))
		}
		out, err := yaml.Dump(got)
		if problems := strict.Decode(out, &again); err != nil || problems != nil || cmp.Diff(want, again) != "" {
			t.Errorf("%s became %s: %v %v %s", text, out, err, problems, cmp.Diff(want, again))
		}
	}
	for _, text := range []string{
		"rest: 24", "rest: 0h", "rest: -1h", "rest: 1.5h", "rest: 1h30m", "rest: 1000000d", "rest: 1w", "rest: [1h]", "rest:",
		"at: 24:00", "at: 9:00", "at: 21:60", "at: 21", "at: 2100", "at:",
		"ceiling: L8", "ceiling: 4", "ceiling: '4'", "ceiling: lowest", "ceiling: [low]", "ceiling:", "ceiling: {undone: 1}", "ceiling: {undo: low}",
	} {
		if problems := strict.Decode([]byte(text), new(scalarsOf)); len(problems) != 1 || problems[0].Line != 1 || problems[0].Expected == "" {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

func TestTheDefaultDocumentIsTheSameWhenItIsWrittenAndReadAgain(t *testing.T) {
	var first, second policy.Document
	if problems := strict.Decode(policy.Default, &first); problems != nil {
		t.Fatal(strict.Problems(problems))
	}
	text, err := yaml.Dump(first)
	if err != nil {
		t.Fatal(err)
	}
	if problems := strict.Decode(text, &second); problems != nil {
		t.Fatalf("%v\n%s", strict.Problems(problems), text)
	}
	if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if _, err := json.Marshal(first); err != nil {
		t.Error(err)
	}
}

// The hours are those of people's clocks, also on the days on which clocks are changed.
func TestQuietHoursEndAtTheFirstMinuteThatIsNotQuiet(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"} {
		place, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []policy.Quiet{{From: 21 * 60, To: 8 * 60}, {From: 60, To: 90}, {From: 22 * 60, To: 150}, {From: 0, To: 30}, {From: 1410, To: 0}, {From: 61, To: 60}} {
			for _, day := range []time.Time{
				time.Date(2026, 3, 28, 12, 0, 0, 0, place), time.Date(2026, 10, 24, 12, 0, 0, 0, place), time.Date(2026, 3, 7, 12, 0, 0, 0, place),
				time.Date(2026, 10, 31, 12, 0, 0, 0, place), time.Date(2026, 4, 4, 12, 0, 0, 0, place), time.Date(2026, 10, 3, 12, 0, 0, 0, place), time.Date(2026, 4, 23, 12, 0, 0, 0, place),
			} {
				for minute := 0; minute < 36*60; minute += 7 {
					at := day.Add(time.Duration(minute)*time.Minute + 30*time.Second)
					until, quiet := q.Holds(at, place)
					if want, holds := naively(q, at, place); quiet != holds || quiet && !until.Equal(want) {
						t.Fatalf("%s, quiet %d to %d, at %s: until %s, %v; want %s, %v", zone, q.From, q.To, at, until, quiet, want, holds)
					}
				}
			}
		}
	}
}

// naively looks at every minute.
func naively(q policy.Quiet, at time.Time, zone *time.Location) (time.Time, bool) {
	quiet := func(at time.Time) bool {
		local := at.In(zone)
		m := policy.ClockTime(60*local.Hour() + local.Minute())
		if q.From < q.To {
			return q.From <= m && m < q.To
		}
		return m >= q.From || m < q.To
	}
	until := at.Truncate(time.Minute)
	for quiet(until) {
		until = until.Add(time.Minute)
	}
	return until, quiet(at)
}
