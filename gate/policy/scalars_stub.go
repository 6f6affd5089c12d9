package policy

import (
	"github.com/dtcgate/dtcgate/shop"
	"time"
)

type Duration time.Duration
type ClockTime int

func (q *Quiet) Holds(at time.Time, z *time.Location) (time.Time, bool) { return at, false }
func (m MoneyCeiling) perDay() *shop.Money {
	return &shop.Money{AmountMinor: m.PerDayMinor, Currency: m.Currency}
}
