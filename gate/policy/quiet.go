package policy

import (
	"time"

	"github.com/dtcgate/dtcgate/shop"
)

// Holds reports whether at is in the quiet hours, and until when they last. They are what the clocks of zone show: a night in which the
// clocks are set is shorter or longer by that, and hours that are shown twice are quiet twice.
func (q *Quiet) Holds(at time.Time, zone *time.Location) (until time.Time, quiet bool) {
	for at = at.In(zone); q.covers(at); at = until {
		_, change := at.ZoneBounds()
		until, quiet = at.Add(q.left(at)), true
		if change.IsZero() || until.Before(change) {
			return until, true
		}
		until = change.In(zone) // from there on the clocks show something else
	}
	return until, quiet
}

func (q *Quiet) covers(at time.Time) bool {
	now := ClockTime(60*at.Hour() + at.Minute())
	if q.From < q.To {
		return q.From <= now && now < q.To
	}
	return q.From <= now || now < q.To
}

// left is the time until the clock shows q.To, as long as nobody sets it.
func (q *Quiet) left(at time.Time) time.Duration {
	since := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
	left := time.Duration(q.To)*time.Minute - since
	if left <= 0 {
		left += 24 * time.Hour
	}
	return left
}

func (m MoneyCeiling) perDay() *shop.Money {
	return &shop.Money{AmountMinor: m.PerDayMinor, Currency: m.Currency}
}
