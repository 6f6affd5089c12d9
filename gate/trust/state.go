package trust

import (
	"math/big"
	"math/bits"
	"time"
)

// A state is a score with all that it takes to move it, as of a time.
type state struct {
	points int64     // billionths of a point
	room   int64     // billionths of a point that it may still earn
	at     time.Time // whole microseconds
}

// fine is how many billionths of a point a thousandth is.
const fine = 1_000_000

// score cuts what is finer than a thousandth off, so that nobody is trusted more than they earned.
func (s state) score() Score { return Score(s.points / fine) }

// unmoved is the state of an agent that nothing has moved yet.
func (r Rules) unmoved(now time.Time) state {
	return state{points: int64(r.start()) * fine, room: r.mostRoom(), at: now}
}

// later is what the time until now makes of a state. A clock that is behind the one that wrote it changes nothing.
func (r Rules) later(s state, now time.Time) state {
	elapsed := min(now.Sub(s.at).Microseconds(), longest)
	if elapsed > 0 {
		s.at = now
		filled := r.filled(elapsed)
		before := s.points
		s.points = min(r.decayed(before, elapsed), before+filled)
		s.room += filled - max(0, s.points-before)
	}
	return r.bounded(s)
}

// longest is the time beyond which more of it makes no difference, in microseconds: a hundred years.
const longest = 100 * 365 * day

const (
	hour = int64(time.Hour / time.Microsecond)
	day  = 24 * hour
)

// bounded brings a state back within the rules, which may have changed since it was written.
func (r Rules) bounded(s state) state {
	b := r.bounds()
	s.points = max(int64(b.Lowest)*fine, min(int64(b.Highest)*fine, s.points))
	s.room = max(0, min(r.mostRoom(), s.room))
	return s
}

// mostRoom is what may be earned at once: an hour's worth.
func (r Rules) mostRoom() int64 { return int64(r.RisePerDay) * fine / 24 }

// filled is by how much the room for rising grows in a time, 23/24 of the cap in a day: see mostRoom for the rest.
func (r Rules) filled(elapsed int64) int64 {
	return part(int64(r.RisePerDay)*fine*23, elapsed, 24*day)
}

// earn lets a state rise by what may be earned, and no further than it has room.
func (r Rules) earn(s state, by int64) state {
	by = max(0, min(by, s.room, int64(r.bounds().Highest)*fine-s.points))
	s.points, s.room = s.points+by, s.room-by
	return s
}

// moved applies what no cap is on: a fall, and what a person gives.
func (r Rules) moved(s state, by int64) state {
	s.points += by
	return r.bounded(s)
}

// decayed is what decay alone makes of a score in a time.
func (r Rules) decayed(points, elapsed int64) int64 {
	if r.Decay.HalfLifeHours == 0 {
		return points
	}
	rest := int64(r.Decay.Towards) * fine
	if points < rest {
		return rest - halved(rest-points, elapsed, r.Decay.HalfLifeHours*hour)
	}
	return rest + halved(points-rest, elapsed, r.Decay.HalfLifeHours*hour)
}

// halved is n·2^(-elapsed/halfLife), rounded down. The exponent is cut to steps fraction bits, which makes it too large by less than n·2^-48, and
// each of at most 48 products loses less than n·2^-62: for the largest n of 10^11 together less than 0.001.
func halved(n, elapsed, halfLife int64) int64 {
	whole := elapsed / halfLife
	if whole >= 63 {
		return 0
	}
	exponent := uint64(part(elapsed%halfLife, 1<<steps, halfLife))
	factor := uint64(1) << 63 // 1 in 63 fraction bits
	for i, half := range halves {
		if exponent>>(steps-1-i)&1 == 1 {
			factor = product(factor, half)
		}
	}
	return int64(product(uint64(n), factor)) >> whole
}

// steps is in how many bits the exponent of a decay is cut.
const steps = 48

// halves are 2^(-1/2), 2^(-1/4) … in 63 fraction bits, each the root of the one before.
var halves = func() (all [steps]uint64) {
	one := new(big.Int).Lsh(big.NewInt(1), 63)
	last := new(big.Int).Rsh(one, 1) // 1/2
	for i := range all {
		last = new(big.Int).Sqrt(new(big.Int).Mul(last, one))
		all[i] = last.Uint64()
	}
	return all
}()

// product multiplies with a number of 63 fraction bits, and rounds down.
func product(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high<<1 | low>>63
}

// part is a·b/of, rounded down, without overflow in between. None is negative, and the result must fit.
func part(a, b, of int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	q, _ := bits.Div64(high, low, uint64(of))
	return int64(q)
}
