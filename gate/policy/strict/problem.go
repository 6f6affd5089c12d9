// Package strict reads YAML written by people, strictly.
package strict

// A Problem is one thing that is wrong with a document.
type Problem struct {
	Line       int    `json:"line,omitempty"`
	Column     int    `json:"column,omitempty"`
	Path       string `json:"path,omitempty"`
	Problem    string `json:"problem"`
	Expected   string `json:"expected,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
}
// Suggest gives the nearest of among by edit distance, "" when nothing is near.
func Suggest(word string, among []string) string {
	best, least := "", max(1, len(word)/3)+1
	for _, a := range among {
		if d := distance(word, a); d < least {
			best, least = a, d
		}
	}
	return best
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			last, row[j+1] = row[j+1], min(last+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
