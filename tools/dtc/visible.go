package dtc

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode"

	"github.com/dtcgate/dtcgate/tools"
)

// What people read before they agree to a text must be what it is: no character may hide in it, turn its reading
// direction, or carry a message past the eye.

// unseen are the characters that have no look of their own: controls, format characters (zero width, direction, tags),
// private and unassigned ones, fillers, and separators that some screens show as line ends and others not.
var unseen = []*unicode.RangeTable{
	unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector,
}

// hides reports whether a character is not to be seen. Line ends and tabs are; so is the choice between the two looks of
// an emoji.
func hides(c rune) bool {
	switch c {
	case '\n', '\t', '\uFE0E', '\uFE0F':
		return false
	case '\u2800': // a braille cell without dots
		return true
	}
	return unicode.In(c, unseen...)
}

// checkVisible names the first character of a text that cannot be seen, and where it is.
func checkVisible(field, text string) error {
	i := strings.IndexFunc(text, hides)
	if i < 0 {
		return nil
	}
	hidden := []rune(text[i:])[0]
	return tools.Wrong(field, fmt.Sprintf("holds the invisible character U+%04X in line %d", hidden, lineAt(text, i)),
		"characters that can be seen; line ends as a bare line feed", nil)
}

// lineAt is the number of the line that a place in a text is in.
func lineAt(text string, place int) int { return 1 + strings.Count(text[:place], "\n") }

var (
	// tag is where HTML may begin. An address in angle brackets is Markdown.
	tag       = regexp.MustCompile(`<[A-Za-z/!?]`)
	autolink  = regexp.MustCompile(`^<(?i:https?://|mailto:)[^<>\s]*>`)
	badScheme = regexp.MustCompile(`(?i)(javascript|vbscript|livescript):|data:text/html`)
	// skipped is what browsers and Markdown leave out of an address.
	skipped = regexp.MustCompile(`[\s\\\x00-\x1f]+`)
)

// checkMarkdown refuses HTML, of which scripts are made, and addresses that run as one.
func checkMarkdown(field, text string) error {
	for _, at := range tag.FindAllStringIndex(text, -1) {
		if !autolink.MatchString(text[at[0]:]) {
			return tools.Wrong(field, fmt.Sprintf("holds an HTML tag in line %d", lineAt(text, at[0])), "Markdown without HTML", "**bold**, [text](/delivery)")
		}
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		shown := html.UnescapeString(line)
		switch {
		case strings.ContainsFunc(shown, hides):
			return tools.Wrong(field, fmt.Sprintf("spells out an invisible character in line %d", n), "characters that can be seen", nil)
		case badScheme.MatchString(skipped.ReplaceAllString(shown, "")):
			return tools.Wrong(field, fmt.Sprintf("holds an address in line %d that would run as a script", n), "links to https:// or to a page such as /delivery", "/delivery")
		}
	}
	return nil
}
