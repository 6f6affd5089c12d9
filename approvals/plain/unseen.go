package plain

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A kind is what a character is in its place.
type kind uint8

const (
	visible kind = iota
	hidden
	bidi
	control
	piled
	blank
)

// chars are a text's characters; a byte b that is no UTF-8 stands as -1-b.
type chars []rune

func read(text string) chars {
	c := make(chars, 0, len(text))
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			r = -1 - rune(text[i])
		}
		c, i = append(c, r), i+size
	}
	return c
}

// at is the character in a place, and a line end beyond either end.
func (c chars) at(i int) rune {
	if i < 0 || i >= len(c) {
		return '\n'
	}
	return c[i]
}

// Bounds of what no layout needs.
const (
	maxBlanks = 80 // in a run of blanks
	maxLines  = 8  // line ends in it
	maxPiled  = 4  // nonspacing marks on one letter: UTS #39, section 5.4
)

// kinds says of each character what it is.
func (c chars) kinds() []kind {
	kinds := make([]kind, len(c))
	marks := 0
	for i, r := range c {
		kinds[i] = c.kind(i)
		if marks++; !unicode.In(r, unicode.Mn, unicode.Me) || kinds[i] != visible {
			marks = 0
		}
		if marks > maxPiled || marks > 1 && r == c[i-1] {
			kinds[i] = piled
		}
	}
	c.markBlanks(kinds)
	return kinds
}

// markBlanks marks the runs of blanks that push what follows out of sight.
func (c chars) markBlanks(kinds []kind) {
	for i := 0; i < len(c); {
		j, lines := i, 0
		for ; j < len(c) && (kinds[j] == visible && isBlank(c[j])); j++ {
			if c[j] == '\n' {
				lines++
			}
		}
		if j-i-lines > maxBlanks || lines > maxLines {
			for k := i; k < j; k++ {
				kinds[k] = blank
			}
		}
		i = j + 1
	}
}

func isBlank(r rune) bool { return r == '\n' || r == '\r' || r == '\t' || unicode.Is(unicode.Zs, r) }

// kind judges the character in a place by itself and its neighbours.
func (c chars) kind(i int) kind {
	switch r := c[i]; {
	case r >= ' ' && r <= '~', r == '\n', r == '\t', r == '\r' && c.at(i+1) == '\n' && i+1 < len(c):
		return visible
	case r < 0, unicode.Is(unicode.Cc, r), r == '\u2028', r == '\u2029':
		return control
	case unicode.Is(unicode.Bidi_Control, r):
		return c.direction(i)
	case !Hides(r), c.belongs(i):
		return visible
	}
	return hidden
}

// direction lets a mark (not an embedding, override or isolate) stand beside a letter that is read from right to left: there people type it.
func (c chars) direction(i int) kind {
	mark := c[i] == '\u200E' || c[i] == '\u200F' || c[i] == '\u061C'
	if mark && (unicode.In(c.at(i-1), rightToLeft...) || unicode.In(c.at(i+1), rightToLeft...)) {
		return visible
	}
	return bidi
}

var rightToLeft = []*unicode.RangeTable{unicode.Arabic, unicode.Hebrew, unicode.Syriac, unicode.Thaana, unicode.Nko}

// Hides reports whether a character has no look of its own wherever it stands: format characters, fillers, variation selectors, tags,
// private-use and unassigned ones. Emoji that are newer than the tables here are taken for emoji.
func Hides(r rune) bool {
	switch {
	case r < 0x7F:
		return r < ' ' && r != '\n' && r != '\t' && r != '\r'
	case r == '\u2800': // a braille cell without dots
		return true
	case unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return false
	case unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
		return true
	case r == utf8.RuneError:
		return false
	}
	return !unicode.IsGraphic(r) && (r < 0x1F000 || r > 0x1FAFF)
}

const (
	zwsp, zwnj, zwj      = '\u200B', '\u200C', '\u200D'
	textLook, emojiLook  = '\uFE0E', '\uFE0F'
	keycap               = '\u20E3'
	blackFlag, cancelTag = '\U0001F3F4', '\U000E007F'
	firstTag, lastTag    = '\U000E0000', '\U000E007F'
	look17, look256      = '\U000E0100', '\U000E01EF' // variation selectors
)

// belongs reports whether a character without a look of its own is where its writing needs it.
func (c chars) belongs(i int) bool {
	before, after := c.at(i-1), c.at(i+1)
	switch r := c[i]; {
	case r == zwsp: // parts words that are written without blanks
		return unicode.In(before, unspaced...) && unicode.In(after, unspaced...)
	case r == zwj && pictographic(c.emojiBefore(i)) && pictographic(after):
		return true
	case r == zwj || r == zwnj:
		return unicode.In(before, cursive...) || unicode.In(after, cursive...) && !Hides(before) || conjoins(before) || conjoins(after) && unicode.IsLetter(before)
	case r == textLook || r == emojiLook:
		return pictographic(before) || after == keycap && strings.ContainsRune("0123456789#*", before)
	case r >= '\uFE00' && r < textLook:
		return unicode.In(before, unicode.Han, unicode.Sm, unicode.Myanmar, unicode.Phags_Pa)
	case r >= look17 && r <= look256:
		return unicode.Is(unicode.Han, before)
	case r >= firstTag && r <= lastTag:
		return c.inFlag(i)
	case r == '\u2800':
		return before != r && unicode.Is(unicode.Braille, before) || after != r && unicode.Is(unicode.Braille, after)
	case unicode.Is(unicode.Mongolian, r):
		return unicode.Is(unicode.Mongolian, before) && unicode.IsLetter(before)
	}
	return false
}

var (
	cursive  = []*unicode.RangeTable{unicode.Arabic, unicode.Syriac, unicode.Mongolian, unicode.Nko, unicode.Mandaic, unicode.Adlam}
	unspaced = []*unicode.RangeTable{unicode.Khmer, unicode.Thai, unicode.Lao, unicode.Myanmar, unicode.Tibetan, unicode.Han, unicode.Hiragana, unicode.Katakana}
)

// conjoins reports whether a character is a virama: canonical combining class 9.
func conjoins(r rune) bool { return r > 0x900 && norm.NFC.PropertiesString(string(r)).CCC() == 9 }

// emojiBefore is the character that a joiner would join, past the look and the skin that it is given.
func (c chars) emojiBefore(i int) rune {
	for i--; c.at(i) == emojiLook || c.at(i) >= 0x1F3FB && c.at(i) <= 0x1F3FF; i-- {
	}
	return c.at(i)
}

// pictographic approximates Extended_Pictographic of UTS #51, which has no table in package unicode.
func pictographic(r rune) bool {
	switch {
	case r >= 0x1F000 && r <= 0x1FAFF, r >= 0x2190 && r <= 0x2BFF:
		return true
	}
	return strings.ContainsRune("©®‼⁉™ℹ〰〽㊗㊙", r)
}

// flags are the flags that are made of tags: UTS #51, the three subdivisions that are for general interchange.
var flags = []string{"gbeng", "gbsct", "gbwls"}

// inFlag reports whether a tag is part of such a flag.
func (c chars) inFlag(i int) bool {
	start := i
	for start > 0 && i-start < 8 && c[start] != blackFlag {
		start--
	}
	for _, name := range flags {
		end := start + len(name) + 1
		if c[start] == blackFlag && i <= end && c.at(end) == cancelTag && string(c.tags(start+1, end)) == name {
			return true
		}
	}
	return false
}

// tags are the letters that tag characters stand for.
func (c chars) tags(from, to int) (letters []byte) {
	for _, r := range c[from:min(to, len(c))] {
		letters = append(letters, byte(r-firstTag))
	}
	return letters
}

// pieces joins neighbours that are shown in the same way.
func (c chars) pieces(kinds []kind) (all []piece) {
	for i := 0; i < len(c); {
		j := i + 1
		for j < len(c) && (kinds[j] == visible) == (kinds[i] == visible) {
			j++
		}
		p := piece{text: string(c[i:j]), chars: j - i}
		if p.escaped = kinds[i] != visible; p.escaped {
			p.text = escape(c[i:j])
		}
		p.cost = costOf(p.text)
		all, i = append(all, p), j
	}
	return all
}

// escape names characters by their numbers, and how often each stands in a row.
func escape(c chars) string {
	var b strings.Builder
	for i := 0; i < len(c); {
		j := i + 1
		for j < len(c) && c[j] == c[i] {
			j++
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		if c[i] < 0 {
			fmt.Fprintf(&b, "0x%02X", -1-c[i])
		} else {
			fmt.Fprintf(&b, "U+%04X", c[i])
		}
		if j-i > 1 {
			fmt.Fprintf(&b, " ×%d", j-i)
		}
		i = j
	}
	return b.String()
}

// extends reports whether a character is drawn onto the one before it, so that no cut goes between them.
func extends(r rune) bool { return unicode.In(r, unicode.M, unicode.Variation_Selector) || r == zwj }

// spelled are the messages that runs of tags and of variation selectors hide: a tag stands for a character of ASCII, a selector for a byte.
func (c chars) spelled(kinds []kind) (all []string) {
	for i := 0; i < len(c) && len(all) < maxSpelled; {
		j := i
		for j < len(c) && kinds[j] == hidden && letterOf(c[j]) != 0 {
			j++
		}
		if j-i > 1 {
			all = append(all, spell(c[i:min(j, i+maxLetters)]))
		}
		i = max(j, i+1)
	}
	return all
}

// Bounds of what is spelled out.
const (
	maxSpelled = 3
	maxLetters = 120
)

func spell(c chars) string {
	return strings.Map(func(r rune) rune { return rune(letterOf(r)) }, string(c))
}

// letterOf is the printable character of ASCII that a hidden one stands for, and a dot where it stands for another; 0 for none.
// Selectors 17 to 256 carry the byte itself, or less 16, as their writers have it; the former has letters where the latter has capitals
// and digits.
func letterOf(r rune) byte {
	var b rune
	switch {
	case r >= firstTag && r <= lastTag:
		b = r - firstTag
	case r >= look17 && r <= look256:
		b = r - look17
	default:
		return 0
	}
	if b < ' ' || b > '~' {
		return '.'
	}
	return byte(b)
}
