package budget

import (
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine

	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestAPeriodIsOneOfTheCalendar(t *testing.T) {
	for _, c := range []struct {
		zone            string
		kind            Kind
		at, from, until string
		hours           float64
	}{
		{"UTC", Hour, "2026-03-11T12:34:56Z", "2026-03-11T12:00:00Z", "2026-03-11T13:00:00Z", 1},
		{"UTC", Day, "2026-03-11T12:34:56Z", "2026-03-11T00:00:00Z", "2026-03-12T00:00:00Z", 24},
		{"UTC", Week, "2026-03-11T12:34:56Z", "2026-03-09T00:00:00Z", "2026-03-16T00:00:00Z", 7 * 24},
		{"UTC", Week, "2026-03-09T00:00:00Z", "2026-03-09T00:00:00Z", "2026-03-16T00:00:00Z", 7 * 24},
		{"UTC", Week, "2026-03-15T23:59:59Z", "2026-03-09T00:00:00Z", "2026-03-16T00:00:00Z", 7 * 24},
		{"UTC", Month, "2028-02-29T12:34:56Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z", 29 * 24},
		{"UTC", Month, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", 31 * 24},
		// The zone's day, and not that of UTC.
		{"Asia/Kolkata", Hour, "2026-03-11T12:34:00Z", "2026-03-11T18:00:00+05:30", "2026-03-11T19:00:00+05:30", 1},
		{"Asia/Kolkata", Day, "2026-03-11T20:00:00Z", "2026-03-12T00:00:00+05:30", "2026-03-13T00:00:00+05:30", 24},
		{"America/Los_Angeles", Month, "2026-03-01T05:00:00Z", "2026-02-01T00:00:00-08:00", "2026-03-01T00:00:00-08:00", 28 * 24},
		// Clocks go forward in spring and back in autumn.
		{"Europe/London", Day, "2026-03-29T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00+01:00", 23},
		{"Europe/London", Day, "2026-10-25T12:00:00Z", "2026-10-25T00:00:00+01:00", "2026-10-26T00:00:00Z", 25},
		{"Europe/London", Week, "2026-03-29T12:00:00Z", "2026-03-23T00:00:00Z", "2026-03-30T00:00:00+01:00", 7*24 - 1},
		{"Europe/London", Month, "2026-10-02T12:00:00Z", "2026-10-01T00:00:00+01:00", "2026-11-01T00:00:00Z", 31*24 + 1},
		{"Europe/London", Hour, "2026-03-29T01:30:00Z", "2026-03-29T02:00:00+01:00", "2026-03-29T03:00:00+01:00", 1},
		{"Europe/London", Hour, "2026-10-25T00:30:00Z", "2026-10-25T01:00:00+01:00", "2026-10-25T01:00:00Z", 1}, // 01:00 to 02:00 comes twice:
		{"Europe/London", Hour, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z", 1},      // two periods
		// Midnight is skipped: the day begins at one o'clock.
		{"Africa/Cairo", Day, "2026-04-24T12:00:00Z", "2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00", 23},
		{"Africa/Cairo", Day, "2026-04-23T12:00:00Z", "2026-04-23T00:00:00+02:00", "2026-04-24T01:00:00+03:00", 24},
		// The hour before midnight comes twice.
		{"Africa/Cairo", Day, "2026-10-29T12:00:00Z", "2026-10-29T00:00:00+03:00", "2026-10-30T00:00:00+02:00", 25},
		// The hour after midnight comes twice.
		{"America/Havana", Day, "2026-11-01T12:00:00Z", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00", 25},
		// A minute after midnight it was 23:01 again.
		{"America/St_Johns", Day, "2010-11-07T03:00:00Z", "2010-11-07T00:00:00-02:30", "2010-11-08T00:00:00-03:30", 25},
		{"America/St_Johns", Day, "2010-11-06T12:00:00Z", "2010-11-06T00:00:00-02:30", "2010-11-07T00:00:00-02:30", 24},
		// A clock that is set by half an hour.
		{"Australia/Lord_Howe", Hour, "2026-04-04T15:10:00Z", "2026-04-05T01:30:00+10:30", "2026-04-05T02:00:00+10:30", 0.5},
		{"Australia/Lord_Howe", Hour, "2026-04-04T14:50:00Z", "2026-04-05T01:00:00+11:00", "2026-04-05T01:30:00+10:30", 1},
		{"Australia/Lord_Howe", Hour, "2026-10-03T15:40:00Z", "2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00", 0.5},
		// Samoa crossed the date line and had no 30 December.
		{"Pacific/Apia", Day, "2011-12-30T08:00:00Z", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", 24},
	} {
		at, _ := time.Parse(time.RFC3339, c.at)
		from, until := Period(c.kind, at, zone(t, c.zone))
		if got, want := from.Format(time.RFC3339), c.from; got != want {
			t.Errorf("%s of %s in %s begins at %s, want %s", c.kind, c.at, c.zone, got, want)
		}
		if got, want := until.Format(time.RFC3339), c.until; got != want {
			t.Errorf("%s of %s in %s ends at %s, want %s", c.kind, c.at, c.zone, got, want)
		}
		if until.Sub(from).Hours() != c.hours {
			t.Errorf("%s of %s in %s has %g hours, want %g", c.kind, c.at, c.zone, until.Sub(from).Hours(), c.hours)
		}
	}
}

// What is charged to a period must be charged to the same one all through it, and to one only.
func TestPeriodsFollowEachOtherWithoutGapOrOverlap(t *testing.T) {
	zones := []string{
		"UTC", "Europe/London", "America/New_York", "America/St_Johns", "America/Havana", "America/Sao_Paulo", "Africa/Cairo", "Africa/Casablanca",
		"Asia/Kathmandu", "Asia/Beirut", "Asia/Tehran", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham", "Antarctica/Troll", "Europe/Dublin",
	}
	begin, end := time.Date(1985, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]Kind{Hour, Day, Week, Month}).Draw(t, "kind")
		z, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(begin.Unix(), end.Unix()).Draw(t, "at"), 0)
		if rapid.Bool().Draw(t, "near a change of clocks") {
			if _, change := at.In(z).ZoneBounds(); !change.IsZero() {
				at = change.Add(time.Duration(rapid.Int64Range(-7200, 7200).Draw(t, "seconds")) * time.Second)
			}
		}
		from, until := Period(kind, at, z)
		if at.Before(from) || !at.Before(until) {
			t.Fatalf("%s is not in its %s, %s to %s", at.In(z), kind, from, until)
		}
		within := from.Add(time.Duration(rapid.Int64Range(0, int64(until.Sub(from))-1).Draw(t, "within")))
		for _, same := range []time.Time{from, within, until.Add(-1)} {
			if f, u := Period(kind, same, z); !f.Equal(from) || !u.Equal(until) {
				t.Fatalf("%s to %s is a %s, but at %s it is %s to %s", from, until, kind, same.In(z), f, u)
			}
		}
		if f, _ := Period(kind, until, z); !f.Equal(until) {
			t.Fatalf("a %s ends at %s, and the next begins at %s", kind, until, f)
		}
		if f, u := Period(kind, from.Add(-1), z); !u.Equal(from) {
			t.Fatalf("a %s begins at %s; that before goes from %s to %s", kind, from, f, u)
		}
	})
}

func TestOfAKindThatThereIsNotNothingIsCharged(t *testing.T) {
	if from, until := Period("fortnight", noon, time.UTC); !from.IsZero() || !until.IsZero() {
		t.Errorf("%s to %s", from, until)
	}
}

func BenchmarkPeriod(b *testing.B) {
	z := zone(b, "Europe/London")
	for _, kind := range []Kind{Hour, Day, Month} {
		b.Run(string(kind), func(b *testing.B) {
			for b.Loop() {
				Period(kind, noon, z)
			}
		})
	}
}
