package trust

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/gate/policy/strict"
)

// A Score is in thousandths of a point: 72500 is 72.5. People write it, and JSON holds it, in points. Weights of signals are Scores too, and
// may be below 0.
type Score int64

// The bounds of a score.
const (
	None Score = 0
	Full Score = 100_000
)

const point = 1000

// ParseScore reads points, such as 72.5 or -3, with at most three decimals.
func ParseScore(text string) (Score, error) {
	s, rest, ok := cutScore(text)
	if !ok || rest != "" {
		return 0, strict.Problem{Problem: "is no number of points", Expected: "a number from -100 to 100 with at most three decimals, such as 72.5"}
	}
	return s, nil
}

// cutScore reads a number of points and gives what follows its third decimal.
func cutScore(text string) (s Score, rest string, ok bool) {
	digits, negative := strings.CutPrefix(text, "-")
	whole, fraction, dotted := strings.Cut(digits, ".")
	if len(fraction) > 3 {
		fraction, rest = fraction[:3], fraction[3:]
	}
	if !decimal(whole) || len(whole) > 3 || dotted && !decimal(fraction) || rest != "" && !decimal(rest) {
		return 0, "", false
	}
	n, _ := strconv.ParseInt(whole+fraction+"000"[len(fraction):], 10, 64) // at most six digits
	if negative {
		n = -n
	}
	s = Score(n)
	return s, rest, s >= -Full && s <= Full
}

func decimal(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

// String writes points without needless decimals.
func (s Score) String() string {
	sign, n := "", int64(s)
	if n < 0 {
		sign, n = "-", -n
	}
	text := fmt.Sprintf("%s%d", sign, n/point)
	if fraction := n % point; fraction != 0 {
		text += strings.TrimRight(fmt.Sprintf(".%03d", fraction), "0")
	}
	return text
}

// UnmarshalText reads points as they stand in YAML, digit by digit: a float in between would round.
func (s *Score) UnmarshalText(text []byte) (err error) {
	*s, err = ParseScore(string(text))
	return err
}

// UnmarshalJSON reads points as a JSON number.
func (s *Score) UnmarshalJSON(text []byte) error { return s.UnmarshalText(text) }

// MarshalJSON writes points as a JSON number.
func (s Score) MarshalJSON() ([]byte, error) { return []byte(s.String()), nil }

// MarshalText writes points as UnmarshalText reads them.
func (s Score) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
