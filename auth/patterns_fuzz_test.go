package auth

import (
	"slices"
	"strings"
	"testing"
)

// FuzzPatterns holds Fits to a second matcher that goes through the characters one by one, and holds that whoever is limited to a list of
// patterns never hands on more: what a pattern covers, it fits.
func FuzzPatterns(f *testing.F) {
	for _, pattern := range []string{"", "*", "order:*", "queue:returns/*", "dtc_*", "orders.*", "ord*", "**", "*.*", "orders.refund", "a.*b", ".*", "order:*\x00", "é.*"} {
		f.Add(pattern, "queue:returns/tkt_1", "queue:*")
		f.Add(pattern, "orders.refund", "orders.*")
		f.Add(pattern, pattern, "*")
		f.Add(pattern, strings.TrimSuffix(pattern, "*")+"x", pattern)
	}
	f.Fuzz(func(t *testing.T, pattern, name, wider string) {
		got := Fits(pattern, name)
		if want := fitsNaively(pattern, name); got != want {
			t.Fatalf("%q fits %q: %t, and by the second matcher %t", pattern, name, got, want)
		}
		if got && covers(pattern, wider) && !Fits(wider, name) {
			t.Fatalf("%q is handed on by one who has %q, and fits %q, which that does not", pattern, wider, name)
		}
		may := Principal{Links: []Link{{Tools: []string{wider}}, {Tools: []string{pattern}}}}.MayCall(name)
		if may != (got && Fits(wider, name)) {
			t.Fatalf("a chain of %q and %q may call %q: %t", wider, pattern, name, may)
		}
	})
}

// fitsNaively walks along pattern and name. A star counts only at the end, alone or after one of four characters, and stands for one
// character or more.
func fitsNaively(pattern, name string) bool {
	for i := range len(pattern) {
		last := i == len(pattern)-1
		if last && pattern[i] == '*' && (i == 0 || slices.Contains([]byte{'.', '_', ':', '/'}, pattern[i-1])) {
			return len(name) > i
		}
		if last && pattern[i] == '*' {
			return false // a star that cuts a word short names nothing, not even itself
		}
		if i >= len(name) || name[i] != pattern[i] {
			return false
		}
	}
	return len(name) == len(pattern)
}
