package server

import (
	"fmt"
	"strings"
	"unicode"
)

// A textPart is a piece of outsiders' text: as it is, or a character that cannot be shown as its escape.
type textPart struct {
	Text    string
	Escaped bool
}

// plainText is text that somebody outside wrote, as it can be shown.
func plainText(text string) (parts []textPart) {
	var run strings.Builder
	flush := func() {
		if run.Len() > 0 {
			parts = append(parts, textPart{Text: run.String()})
			run.Reset()
		}
	}
	for _, r := range text {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) && !unicode.Is(unicode.Cf, r) {
			run.WriteRune(r)
			continue
		}
		flush()
		parts = append(parts, textPart{fmt.Sprintf("U+%04X", r), true})
	}
	flush()
	return parts
}
