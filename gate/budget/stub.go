// Package budget is a stand-in.
package budget

import (
	"github.com/dtcgate/dtcgate/store"
	"time"
)

type Charge struct {
	Budget, Subject, Unit string
	Amount, Limit         int64
	From, Until           time.Time
}
type Exceeded struct {
	Charge
	Left int64
}

func (e *Exceeded) Error() string                                                   { return "" }
func Reserve(tx *store.Tx, merchant, call string, all []Charge) error               { return nil }
func Settle(tx *store.Tx, merchant, call string, all []Charge) error                { return nil }
func Spend(tx *store.Tx, merchant, call string, all []Charge) error                 { return nil }
func Release(tx *store.Tx, merchant string, calls ...string) error                  { return nil }
func Period(kind string, at time.Time, zone *time.Location) (from, until time.Time) { return at, at }
