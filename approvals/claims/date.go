package claims

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

var months = func() map[string]int64 {
	all := map[string]int64{"sept": 9}
	for m := time.January; m <= time.December; m++ {
		name := strings.ToLower(m.String())
		all[name], all[name[:3]] = int64(m), int64(m)
	}
	return all
}()

// date reads 2026-11-03, 3 Nov 2026, 3rd of November, Nov 3, 2026, 3/11/2026 and 3.11.2026.
func date(t []token, i int) (mention, int) {
	if t[i].form == code {
		return codedDate(t[i].text)
	}
	if t[i].form == word && months[t[i].low] > 0 && t[i].text[0] < 'a' && isWhole(tok(t, i+1), 31) {
		n := 2 + ordinal(t, i+2)
		return dated(t, i, n, t[i+1].value/one, months[t[i].low])
	}
	if !isWhole(t[i], 31) {
		return mention{}, 0
	}
	n := 1 + ordinal(t, i+1)
	if tok(t, i+n).low == "of" {
		n++
	}
	if month := months[tok(t, i+n).low]; month > 0 {
		return dated(t, i, n+1, t[i].value/one, month)
	}
	if tok(t, i+1).low == "/" && tok(t, i+3).low == "/" && isWhole(tok(t, i+2), 31) && isWhole(tok(t, i+4), 9999) {
		return numeric(t[i].value/one, t[i+2].value/one, t[i+4].value/one, 5)
	}
	return mention{}, 0
}

// codedDate reads a date that is one token.
func codedDate(text string) (mention, int) {
	if _, err := time.Parse(time.DateOnly, text); err == nil {
		return mention{kind: Date, text: text}, 1
	}
	var d, m, y int64
	if n, err := fmt.Sscanf(text, "%d.%d.%d", &d, &m, &y); err == nil && n == 3 {
		return numeric(d, m, y, 1)
	}
	return mention{}, 0
}

// numeric is a date in figures, which means one day in London and another in New York.
func numeric(a, b, year int64, n int) (mention, int) {
	if year < 100 {
		year += 2000
	}
	if a < 1 || b < 1 || a > 31 || b > 31 || min(a, b) > 12 || year < 1900 || year > 2200 {
		return mention{}, 0
	}
	m := mention{kind: Date, text: fmt.Sprintf("%04d-%02d-%02d", year, b, a), other: fmt.Sprintf("%04d-%02d-%02d", year, a, b)}
	return m, n
}

// dated is a date with its month in letters, and its year where one follows.
func dated(t []token, i, n int, day, month int64) (mention, int) {
	at := n
	if tok(t, i+at).low == "," {
		at++
	}
	if year := tok(t, i+at); isWhole(year, 2200) && len(year.text) == 4 && year.value >= 1900*one {
		return mention{kind: Date, text: fmt.Sprintf("%04d-%02d-%02d", year.value/one, month, day)}, at + 1
	}
	return mention{kind: Date, text: fmt.Sprintf("--%02d-%02d", month, day)}, n
}

func ordinal(t []token, i int) int {
	switch tok(t, i).low {
	case "st", "nd", "rd", "th":
		return 1
	}
	return 0
}

// isWhole reports whether a token is a whole number in figures, up to a bound.
func isWhole(t token, most int64) bool {
	_, err := strconv.Atoi(t.text)
	return t.form == number && err == nil && t.value >= one && t.value <= most*one
}
