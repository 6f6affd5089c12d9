package policy

import (
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine
)

func TestQuietHoursAreWhatTheClocksShow(t *testing.T) {
	night, noon, toOne, toTwo := &Quiet{From: 21 * 60, To: 8 * 60}, &Quiet{From: 12 * 60, To: 13*60 + 30}, &Quiet{From: 22 * 60, To: 90}, &Quiet{From: 22 * 60, To: 120}
	for _, c := range []struct {
		quiet     *Quiet
		zone      string
		at, until string // until is empty where it is not quiet
	}{
		{night, "UTC", "2026-03-11T20:59:59Z", ""},
		{night, "UTC", "2026-03-11T21:00:00Z", "2026-03-12T08:00:00Z"},
		{night, "UTC", "2026-03-12T00:00:00Z", "2026-03-12T08:00:00Z"},
		{night, "UTC", "2026-03-12T07:59:59Z", "2026-03-12T08:00:00Z"},
		{night, "UTC", "2026-03-12T08:00:00Z", ""},
		{noon, "UTC", "2026-03-11T11:59:59Z", ""},
		{noon, "UTC", "2026-03-11T12:30:30Z", "2026-03-11T13:30:00Z"},
		{noon, "UTC", "2026-03-11T13:30:00Z", ""},
		{night, "Asia/Kolkata", "2026-03-11T15:30:00Z", "2026-03-12T08:00:00+05:30"},
		{night, "Asia/Kolkata", "2026-03-12T02:30:00Z", ""},
		// The nights in which clocks go forward and back.
		{night, "Europe/London", "2026-03-28T21:00:00Z", "2026-03-29T08:00:00+01:00"},
		{night, "Europe/London", "2026-10-24T20:00:00Z", "2026-10-25T08:00:00Z"},
		// The end is skipped: it is over when the clocks are set.
		{toOne, "Europe/London", "2026-03-29T00:30:00Z", "2026-03-29T02:00:00+01:00"},
		// The end comes twice, and so does the half hour before it.
		{toOne, "Europe/London", "2026-10-25T00:10:00Z", "2026-10-25T01:30:00+01:00"},
		{toOne, "Europe/London", "2026-10-25T00:40:00Z", ""},
		{toOne, "Europe/London", "2026-10-25T01:10:00Z", "2026-10-25T01:30:00Z"},
		// The clocks are set back in the moment in which it would end.
		{toTwo, "Europe/London", "2026-10-25T00:10:00Z", "2026-10-25T02:00:00Z"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		until, quiet := c.quiet.Holds(at, zone)
		got := ""
		if quiet {
			got = until.Format(time.RFC3339)
		}
		if got != c.until {
			t.Errorf("%v at %s in %s is quiet until %q, want %q", *c.quiet, c.at, c.zone, got, c.until)
		}
	}
}

// A call that waits for the end of the quiet hours must not find them there again.
func TestWhereQuietHoursEndItIsNotQuiet(t *testing.T) {
	for _, name := range []string{"Europe/London", "America/St_Johns", "Australia/Lord_Howe", "Africa/Cairo", "Pacific/Apia"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []*Quiet{{From: 21 * 60, To: 8 * 60}, {From: 60, To: 110}, {From: 23 * 60, To: 1}, {From: 0, To: 24*60 - 1}} {
			for at := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2012; at = at.Add(17 * time.Minute) {
				until, quiet := q.Holds(at, zone)
				if !quiet {
					continue
				}
				if _, still := q.Holds(until, zone); still || !until.After(at) || until.Sub(at) > 49*time.Hour {
					t.Fatalf("%v in %s is quiet at %s until %s, where it is so: %t", *q, name, at, until, still)
				}
			}
		}
	}
}
