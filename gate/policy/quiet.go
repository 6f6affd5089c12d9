package policy

import (
	"time"

	"github.com/dtcgate/dtcgate/shop"
)

// minutesOfDay are those of a day on which clocks are not changed.
const minutesOfDay = 24 * 60

// Holds reports whether a time is quiet, and when quiet ends. The hours are those of people's clocks, so a night may be an hour shorter
// or longer than they say.
func (q *Quiet) Holds(at time.Time, zone *time.Location) (until time.Time, quiet bool) {
	start := at.Truncate(time.Minute).In(zone)
	if !q.has(clockOf(start)) {
		return at, false
	}
	left := (q.To - clockOf(start) + minutesOfDay) % minutesOfDay
	until = start.Add(time.Duration(left) * time.Minute)
	if offset(start) == offset(until) {
		return until, true
	}
	for until = start; q.has(clockOf(until)); { // the clocks are changed before the end
		until = until.Add(time.Minute)
	}
	return until, true
}

func (q *Quiet) has(c ClockTime) bool {
	if q.From < q.To {
		return q.From <= c && c < q.To
	}
	return c >= q.From || c < q.To
}

func clockOf(t time.Time) ClockTime { return ClockTime(60*t.Hour() + t.Minute()) }

func offset(t time.Time) int {
	_, seconds := t.Zone()
	return seconds
}

func (m MoneyCeiling) perDay() *shop.Money {
	return &shop.Money{AmountMinor: m.PerDayMinor, Currency: m.Currency}
}
