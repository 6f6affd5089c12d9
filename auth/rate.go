package auth

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Rate bounds the calls of a link and of all below it.
type Rate struct {
	PerMinute int64 `json:"per_minute,omitempty"` // 0: no limit
	Burst     int64 `json:"burst,omitempty"`      // calls that may come at once; 0: as many as a minute's
}

// maxRate bounds both parts of a rate: what is finer than a microsecond a call cannot be counted.
const maxRate = 60_000_000

func (r Rate) check() error {
	if r.PerMinute < 0 || r.PerMinute > maxRate || r.Burst < 0 || r.Burst > maxRate || r.PerMinute == 0 && r.Burst > 0 {
		return &Unfit{"per_minute", "is out of range", fmt.Sprintf("1 to %d calls a minute, with a burst of as many; 0 is no limit", maxRate)}
	}
	return nil
}

// maxSkew is how far clocks may be apart that count the same calls.
const maxSkew = time.Minute

// within reports whether r allows no more than wide.
func (r Rate) within(wide Rate) bool {
	return wide.PerMinute == 0 || r.PerMinute > 0 && r.PerMinute <= wide.PerMinute && r.burst() <= wide.burst()
}

func (r Rate) burst() int64 { return cmp.Or(r.Burst, r.PerMinute) }

// ErrTooOften says that a rate is used up. TooOften wraps it with when to try again.
var ErrTooOften = errors.New("the rate limit is reached")

// TooOften is ErrTooOften with the time until a call is let through again.
type TooOften struct{ Wait time.Duration }

func (e *TooOften) Error() string { return fmt.Sprintf("%v for %s", ErrTooOften, e.Wait) }

// Unwrap makes errors.Is(err, ErrTooOften) true.
func (e *TooOften) Unwrap() error { return ErrTooOften }

// Limited reports whether any link of p has a rate.
func (p Principal) Limited() bool {
	return slices.ContainsFunc(p.Links, func(l Link) bool { return l.Rate.PerMinute > 0 })
}

// Spend takes one call from the rate of every link of p, so that sub-tokens draw on what they came from. When one of them
// is used up the error is *TooOften, and the transaction must be given up: nobody is to be charged for a refused call.
//
// It is the generic cell rate algorithm (ITU-T I.371) with one row a link: the row is the time at which all calls so far
// would have come evenly. A call may be early by burst-1 intervals.
//
// A row that lies further ahead than a burst takes was written by a clock that was ahead of ours, another replica's or our own
// before it was set. Up to maxSkew it is waited for. Beyond that it would shut out who has done nothing, so that it counts as used
// up: this call is let through, and the next after an interval.
func Spend(tx *store.Tx, p Principal) error {
	links := slices.SortedFunc(slices.Values(p.Links), func(a, b Link) int { return cmp.Compare(a.ID, b.ID) }) // one order for all
	for _, l := range links {
		if l.Rate.PerMinute == 0 {
			continue
		}
		if err := l.spend(tx, p.Merchant); err != nil {
			return err
		}
	}
	return nil
}

func (l Link) spend(tx *store.Tx, merchant string) error {
	now := tx.Now.UnixMicro()
	interval := int64(time.Minute/time.Microsecond) / l.Rate.PerMinute
	latest := now + (l.Rate.burst()-1)*interval
	lost := latest + interval + maxSkew.Microseconds()
	n, err := tx.Exec(`INSERT INTO rate_limits (principal_id, merchant_id, tat) VALUES ($1, $2, $3)
		ON CONFLICT (principal_id) DO UPDATE SET tat = CASE WHEN rate_limits.tat > $4 THEN CAST($5 AS BIGINT)
			WHEN rate_limits.tat > $6 THEN rate_limits.tat ELSE CAST($6 AS BIGINT) END + CAST($7 AS BIGINT)
		WHERE rate_limits.tat <= $5 OR rate_limits.tat > $4`, l.ID, merchant, now+interval, lost, latest, now, interval)
	if err != nil {
		return fmt.Errorf("charging the rate of %s: %w", l.ID, err)
	}
	if n == 1 {
		return nil
	}
	var tat int64
	if err := tx.QueryRow(`SELECT tat FROM rate_limits WHERE principal_id = $1`, l.ID).Scan(&tat); err != nil {
		return fmt.Errorf("reading the rate of %s: %w", l.ID, err)
	}
	return &TooOften{Wait: time.Duration(tat-latest) * time.Microsecond}
}
