package shop

import (
	"fmt"
	"strings"
)

// Money is an amount in the minor units of a currency: 1230 GBP is £12.30. It is never a float.
type Money struct {
	AmountMinor int64  `json:"amount_minor" yaml:"amount_minor"`
	Currency    string `json:"currency" yaml:"currency" jsonschema:"enum=GBP,enum=EUR,enum=USD"`
}

// Currencies are those that there are, sorted.
var Currencies = []string{"EUR", "GBP", "USD"}

var symbols = map[string]string{"GBP": "£", "EUR": "€", "USD": "$"}

// String writes the amount as people do: £168,469.60, -£3.00. A currency without a sign of its own stands in front.
func (m Money) String() string {
	sign, minor := "", m.AmountMinor
	if minor < 0 {
		sign, minor = "-", -minor
	}
	symbol, ok := symbols[m.Currency]
	if !ok {
		symbol = m.Currency + " "
	}
	return fmt.Sprintf("%s%s%s.%02d", sign, symbol, Thousands(minor/100), minor%100)
}

// Thousands writes n with a comma at every third digit.
func Thousands(n int64) string {
	digits := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
