package strict

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// characters finds what does not show or shows as something else, at most once on a line.
func characters(text []byte) (problems []Problem) {
	line, column, told := 1, 1, false
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRune(text[i:])
		fault, allowed := badCharacter(c, size)
		if c == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			fault = ""
		}
		if fault != "" && !told {
			problems = append(problems, Problem{Line: line, Column: column, Problem: fault, Expected: allowed})
			told = true
		}
		i, column = i+size, column+1
		if c == '\n' {
			line, column, told = line+1, 1, false
		}
	}
	return problems
}

func badCharacter(c rune, size int) (fault, allowed string) {
	switch {
	case c == utf8.RuneError && size == 1:
		return "there is a byte that is not UTF-8", "UTF-8"
	case c == '\t':
		return "there is a tab", "spaces, as a tab is not as wide for everybody"
	case c != '\n' && invisible(c):
		return fmt.Sprintf("there is an invisible character (U+%04X)", c), "letters, digits, punctuation, spaces"
	}
	return "", ""
}

// invisible holds of control and format characters, those that turn text around among them, of YAML 1.1's other line breaks, and
// of what has no meaning of its own.
func invisible(c rune) bool {
	return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) || c == '\uFFFE' || c == '\uFFFF'
}
