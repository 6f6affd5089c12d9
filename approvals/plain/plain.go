// Package plain makes untrusted text fit to be put before somebody who decides.
//
// What an agent or a customer wrote can hold characters that are not seen, that turn the order of reading, that steer a terminal, that look
// like other ones, or that push the words that matter out of sight. Show takes such a text apart: pieces that are what they look like stand as
// they are, and all else stands as an escape (U+202E) in its place, counted. Nothing is dropped and nothing is repaired: from the pieces
// the text can be told character by character, so that what is shown is what was hashed.
//
// A piece that is not escaped holds no control but line ends and tabs, no format character and no character without a look of its own.
// Writing that needs such characters keeps them, where Unicode says they belong: joiners in emoji, Indic and Arabic words (RFC 5892, Appendix
// A), the looks of emoji and ideographs, direction marks beside letters of their direction. Their direction itself is not undone; whoever
// draws a text draws it isolated from what stands around it (dir="auto").
//
// Words that mix scripts are named as UTS #39 has it (section 5.1, resolved scripts; the profile is its "moderately restrictive" one, by word),
// and so are words that are written whole in letters that look Latin, in a text that is Latin otherwise. The list of look-alikes covers what UTS #39
// calls intentional confusables of Latin; a likeness that is only near (rn and m, l and 1) is not found.
//
// Nothing here decides anything: warnings are for people. All work is linear in the length of the text.
package plain

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// firstLook is how many characters of a text are shown at first; a line end counts as lineCost of them.
const (
	firstLook = 1000
	lineCost  = 40
)

// A Part is a piece of a text as it can be shown.
type Part struct {
	Text    string `json:"text"`
	Escaped bool   `json:"escaped,omitempty"` // Text names characters, such as U+202E or U+0020 ×300, and is none of the author's
}

// Shown is a text as it can be shown. The counts are of characters of the whole text, Rest included.
type Shown struct {
	Parts []Part `json:"parts"`          // the first look
	Rest  []Part `json:"rest,omitempty"` // what comes after it
	Cut   bool   `json:"cut,omitempty"`  // there is a rest
	More  int    `json:"more,omitempty"` // characters in it

	Hidden  int `json:"hidden,omitempty"`  // without a look of their own
	Bidi    int `json:"bidi,omitempty"`    // controls of the reading direction (UAX #9)
	Control int `json:"control,omitempty"` // control characters, and bytes that are no UTF-8
	Marks   int `json:"marks,omitempty"`   // piled on a letter beyond what any writing piles
	Blank   int `json:"blank,omitempty"`   // of runs of blanks or line ends that push the rest away
	Mixed   int `json:"mixed,omitempty"`   // words, not characters: that mix scripts or pretend to be Latin

	Words   []Word   `json:"words,omitempty"`   // the first of Mixed
	Links   []Link   `json:"links,omitempty"`   // the first maxLinks
	Spelled []string `json:"spelled,omitempty"` // what hidden characters spell
}

// Show takes a text apart.
func Show(text string) Shown {
	var s Shown
	if text == "" {
		return s
	}
	s.Links = linksIn(text)
	if obvious(text) {
		s.layOut([]piece{{text: text, chars: utf8.RuneCountInString(text), cost: costOf(text)}})
		return s
	}
	c := read(text)
	kinds := c.kinds()
	for _, k := range kinds {
		s.count(k)
	}
	s.Spelled = c.spelled(kinds)
	s.Words, s.Mixed = mixedWords(c, kinds)
	s.layOut(c.pieces(kinds))
	return s
}

func (s *Shown) count(k kind) {
	switch k {
	case hidden:
		s.Hidden++
	case bidi:
		s.Bidi++
	case control:
		s.Control++
	case piled:
		s.Marks++
	case blank:
		s.Blank++
	}
}

// obvious reports whether a text is of visible ASCII, single blanks, line ends and tabs alone, so that there is nothing to find in it.
func obvious(text string) bool {
	run, lines := 0, 0
	for i := range len(text) {
		switch b := text[i]; {
		case b == '\n':
			lines++
		case b == ' ' || b == '\t':
			run++
		case b < ' ' || b > '~':
			return false
		default:
			run, lines = 0, 0
		}
		if run > maxBlanks || lines > maxLines {
			return false
		}
	}
	return true
}

// A piece is a part with its length in the text and the room it takes.
type piece struct {
	text        string
	escaped     bool
	chars, cost int
}

func (p piece) part() Part { return Part{p.text, p.escaped} }

func costOf(text string) int {
	return utf8.RuneCountInString(text) + (lineCost-1)*strings.Count(text, "\n")
}

// layOut fills the first look and leaves what does not fit to the rest.
func (s *Shown) layOut(pieces []piece) {
	room := firstLook
	for i, p := range pieces {
		if p.cost <= room {
			s.Parts, room = append(s.Parts, p.part()), room-p.cost
			continue
		}
		head, tail := p.split(room)
		if head.text != "" {
			s.Parts = append(s.Parts, head.part())
		}
		s.leave(append([]piece{tail}, pieces[i+1:]...))
		return
	}
}

func (s *Shown) leave(pieces []piece) {
	for _, p := range pieces {
		if p.text != "" {
			s.Cut, s.Rest, s.More = true, append(s.Rest, p.part()), s.More+p.chars
		}
	}
}

// mercy is by how much a letter with its marks may go beyond the room.
const mercy = 16

// split cuts a piece of plain text where the room ends, and not inside a letter with its marks. An escape stays whole.
func (p piece) split(room int) (head, tail piece) {
	if p.escaped {
		return piece{}, p
	}
	used, chars := 0, 0
	for i, r := range p.text {
		used++
		if r == '\n' {
			used += lineCost - 1
		}
		if used > room && !extends(r) || used > room+mercy {
			return piece{text: p.text[:i], chars: chars}, piece{text: p.text[i:], chars: p.chars - chars}
		}
		chars++
	}
	return p, piece{}
}

// String is the first look for terminals and logs, with escapes in brackets. What is left out is said.
func (s Shown) String() string {
	var b strings.Builder
	for _, p := range s.Parts {
		if p.Escaped {
			b.WriteString("[" + p.Text + "]")
		} else {
			b.WriteString(p.Text)
		}
	}
	if s.Cut {
		b.WriteString(" … " + s.Beyond())
	}
	return b.String()
}

// Beyond says how much is not in the first look: 1,204 more characters.
func (s Shown) Beyond() string { return count(s.More, "more character") }

// count writes a number of things: 1 word, 1,204 words. What is said of the things comes after a comma: "mark, piled up".
func count(n int, thing string) string {
	thing, rest, _ := strings.Cut(thing, ",")
	if n == 1 {
		return "1 " + thing + rest
	}
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits + " " + thing + "s" + rest
}
