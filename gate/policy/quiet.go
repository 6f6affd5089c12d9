package policy

import (
	"time"

	"github.com/dtcgate/dtcgate/shop"
)

func (q *Quiet) Holds(at time.Time, zone *time.Location) (until time.Time, quiet bool) {
	now := at.In(zone)
	minute := ClockTime(60*now.Hour() + now.Minute())
	day := func(plus int) time.Time {
		return time.Date(now.Year(), now.Month(), now.Day()+plus, int(q.To)/60, int(q.To)%60, 0, 0, zone)
	}
	switch {
	case q.From < q.To:
		return day(0), minute >= q.From && minute < q.To
	case minute >= q.From:
		return day(1), true
	}
	return day(0), minute < q.To
}

func (m MoneyCeiling) perDay() *shop.Money {
	return &shop.Money{AmountMinor: m.PerDayMinor, Currency: m.Currency}
}
