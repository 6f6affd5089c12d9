package budget

import "time"

// A Kind is how long a period lasts. All are of the calendar of a zone: what begins with an hour, a midnight, a Monday, a first.
type Kind string

// The kinds of period.
const (
	Hour  Kind = "hour"
	Day   Kind = "day"
	Week  Kind = "week" // from Monday
	Month Kind = "month"
)

// Period gives the period that at is in, and the first moment after it. Periods of a kind follow each other without a gap and do not
// overlap, also where clocks are set: a day has 23 or 25 hours then. Of a kind that there is not, both times are zero, and no charge
// is taken for that.
func Period(kind Kind, at time.Time, zone *time.Location) (from, until time.Time) {
	at = at.In(zone)
	y, m, d := at.Date()
	today := date(y, m, d)
	switch kind {
	case Hour:
		return hour(at)
	case Day:
		return span(at, today, func(n int) time.Time { return today.AddDate(0, 0, n) })
	case Week:
		monday := today.AddDate(0, 0, -(int(today.Weekday())+6)%7)
		return span(at, monday, func(n int) time.Time { return monday.AddDate(0, 0, 7*n) })
	case Month:
		first := date(y, m, 1)
		return span(at, first, func(n int) time.Time { return first.AddDate(0, n, 0) })
	}
	return time.Time{}, time.Time{}
}

// hour is the hour that the clock shows. Where a clock is set in the middle of an hour (Lord Howe Island: by half of one), a period ends there.
func hour(at time.Time) (from, until time.Time) {
	_, offset := at.Zone()
	shown := time.Duration(offset) * time.Second
	from = at.Add(shown).UTC().Truncate(time.Hour).Add(-shown).In(at.Location())
	until = from.Add(time.Hour)
	start, end := at.ZoneBounds()
	if from.Before(start) {
		from = start
	}
	if !end.IsZero() && end.Before(until) {
		until = end
	}
	return from, until
}

// span is the period from one date to the next. A clock that is set back over midnight shows the day before once more: that time
// belongs to the new day, which has begun.
func span(at, first time.Time, next func(n int) time.Time) (from, until time.Time) {
	from, until = midnight(first, at.Location()), midnight(next(1), at.Location())
	for n := 2; !at.Before(until); n++ {
		from, until = until, midnight(next(n), at.Location())
	}
	return from, until
}

// date is a day of the calendar, as its midnight in UTC.
func date(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

// midnight is the first moment at which the clocks of zone show the date or a later one. Where they are set over midnight that
// is another time of the day, and where they show midnight twice it is the first.
func midnight(date time.Time, zone *time.Location) time.Time {
	at := date.Add(-36 * time.Hour).In(zone) // a day earlier in every zone
	for {
		start, end := at.ZoneBounds()
		_, offset := at.Zone()
		first := date.Add(-time.Duration(offset) * time.Second)
		if first.Before(start) {
			first = start
		}
		if end.IsZero() || first.Before(end) {
			return first.In(zone)
		}
		at = end
	}
}
