package schemas

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

const (
	largestInteger = "9007199254740991" // 2^53-1: beyond it a float64 skips integers
	maxExponent    = 308                // as far as a float64 goes; arithmetic on 1e1000000000 would need a gigabyte
)

// longNumber says whether a text starts with a number of more than maxNumber characters. It does not look further than that.
func longNumber(text []byte) bool {
	if len(text) <= maxNumber {
		return false
	}
	past := bytes.IndexFunc(text[:maxNumber+1], func(c rune) bool { return !strings.ContainsRune("+-.eE0123456789", c) })
	return past < 0
}

// outOfBounds says why a JSON number is refused, "" when it is not. It works on the digits: no float, nothing to overflow.
func outOfBounds(literal []byte) (reason string) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(string(literal), "-")), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	power := 0
	if exponent != "" {
		var err error
		if power, err = strconv.Atoi(exponent); err != nil || power > maxExponent || power < -maxExponent {
			return fmt.Sprintf("is a number with an exponent beyond ±%d", maxExponent)
		}
	}
	digits := strings.TrimLeft(whole+fraction, "0")
	power += len(digits) - len(fraction) // the value is 0.DIGITS times ten to this power
	if digits == "" || !exceeds(digits, power) {
		return ""
	}
	return "is a number beyond ±" + largestInteger + "; send such a value as a string"
}

// exceeds compares 0.DIGITS times ten to the power with the largest integer. Fractions count: ...991.5 is beyond it.
func exceeds(digits string, power int) bool {
	if power != len(largestInteger) {
		return power > len(largestInteger)
	}
	return strings.TrimRight(digits, "0") > largestInteger
}
