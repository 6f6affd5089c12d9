package strict

import (
	"strings"

	"github.com/dtcgate/dtcgate/schemas"
)

// Suggest is the nearest of several names by edit distance, "" when none is near.
func Suggest(word string, among []string) string { return schemas.Nearest(word, among) }

// OneOf lists names for [Problem].Expected.
func OneOf(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	if len(names) > 30 {
		names = append(names[:30:30], "…")
	}
	return strings.Join(names, ", ")
}

func shown(name string) string { return schemas.Shown(name) }
