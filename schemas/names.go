package schemas

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// stranger says that a member is not known, and which one may have been meant.
func stranger(name string, parent *jsonschema.Schema, root bool) string {
	words := "is not a field of this object"
	if root {
		words = "is not a field of this tool"
	}
	if near := Nearest(name, known(parent)); near != "" {
		words += "; did you mean “" + near + "”?"
	}
	return words
}

// Nearest is the candidate that differs from name by the fewest edits, "" when that is more than a third of it.
func Nearest(name string, candidates []string) string {
	if len(name) > 40 {
		return ""
	}
	best, fewest := "", max(1, len(name)/3)+1
	for _, candidate := range candidates {
		if n := edits(bare(name), bare(candidate)); n < fewest {
			best, fewest = candidate, n
		}
	}
	return best
}

var joints = strings.NewReplacer("_", "", "-", "", " ", "")

// bare makes orderNo, order-no and order_no the same.
func bare(name string) string { return strings.ToLower(joints.Replace(name)) }

// edits is the Damerau-Levenshtein distance in bytes, in which two neighbours that changed places are one edit (optimal string
// alignment).
func edits(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1) // of the prefixes of a that are two and one shorter
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			change := row[j]
			if a[i] != b[j] {
				change++
			}
			next[j+1] = min(change, next[j]+1, row[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// Shown makes a name from outside fit to be repeated: at most 40 characters, and what is invisible, turns the text round or is
// not printable written as an escape.
func Shown(name string) string {
	var b strings.Builder
	n := 0
	for _, c := range name {
		if n++; n > 40 {
			b.WriteRune('…')
			break
		}
		if unicode.IsPrint(c) && !unicode.Is(unicode.Cf, c) {
			b.WriteRune(c)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(c), "'"))
		}
	}
	return b.String()
}
