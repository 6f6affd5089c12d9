package plain

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A Word is one that mixes scripts, or that is written in letters of one script to look like another.
type Word struct {
	Text    string   `json:"text"`               // without characters that are not seen
	Scripts []string `json:"scripts"`            // whose letters it has; the one it is written in where it only looks Latin
	Latin   bool     `json:"as_latin,omitempty"` // all its letters look Latin
	Marked  string   `json:"marked"`             // with the letters that are not what they look like by number: p[U+0430]ypal
}

// Bounds of what is named of mixed words.
const (
	maxWords    = 5
	maxWordText = 40
)

// mixedWords gives the first of the words that are not of one script, and how many there are.
func mixedWords(c chars, kinds []kind) (first []Word, n int) {
	words := wordsOf(c, kinds)
	disguised := disguises(words)
	for _, w := range words {
		scripts, odd := w.scripts()
		if !odd && !w.looksLatin(disguised) {
			continue
		}
		if n++; len(first) < maxWords {
			first = append(first, w.named(scripts, !odd))
		}
	}
	return first, n
}

// A word is a run of letters, marks and digits; hidden characters neither end it nor are part of it.
type word []rune

func wordsOf(c chars, kinds []kind) (words []word) {
	all, start := make([]rune, 0, len(c)), 0
	end := func() {
		if start < len(all) {
			words, start = append(words, word(all[start:len(all):len(all)])), len(all)
		}
	}
	for i, r := range c {
		switch {
		case kinds[i] != visible && kinds[i] != blank:
		case unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r):
			all = append(all, r)
		case r != zwj && r != zwnj:
			end()
		}
	}
	end()
	return words
}

// named is a word as people are told of it.
func (w word) named(scripts []string, latin bool) Word {
	w = w[:min(len(w), maxWordText)]
	var marked strings.Builder
	for _, r := range w {
		if Latin(r) != r || styled(r) {
			fmt.Fprintf(&marked, "[U+%04X]", r)
		} else {
			marked.WriteRune(r)
		}
	}
	return Word{Text: string(w), Scripts: scripts, Latin: latin, Marked: marked.String()}
}

// scripts gives the scripts of a word, and whether they are too many.
func (w word) scripts() (names []string, odd bool) {
	zeros := map[rune]bool{}
	plainLatin := false
	for _, r := range w {
		name := scriptOf(r)
		if name == "Greek" && slices.Contains(symbols, r) {
			name = "" // a unit or a quantity beside Latin letters: Δt, kΩ
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
		if _, zero, ok := Digit(r); ok {
			zeros[zero] = true
		}
		plainLatin = plainLatin || r < 0x80 && unicode.IsLetter(r)
	}
	switch {
	case len(names) > 1 && !goTogether(names):
		return names, true
	case plainLatin && slices.ContainsFunc(w, styled):
		return append(names, "styled Latin"), true
	case len(zeros) > 1:
		return []string{otherDigits}, true
	}
	return names, false
}

// otherDigits stands among the scripts of a word whose digits are of several kinds.
const otherDigits = "digits of several kinds"

// styled reports whether a letter is one of ASCII in another dress, as mathematics and old character sets have it.
func styled(r rune) bool {
	if r != 'ſ' && (r < 0x2100 || r > 0x214F) && (r < 0xFF21 || r > 0xFF5A) && (r < 0x1D400 || r > 0x1D7CB) {
		return false
	}
	undressed := norm.NFKC.String(string(r))
	return len(undressed) == 1 && unicode.IsLetter(rune(undressed[0]))
}

// scriptOf names the script of a character, and none for those of many scripts.
func scriptOf(r rune) string {
	if r < 0x80 {
		if unicode.IsLetter(r) {
			return "Latin"
		}
		return ""
	}
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return ""
	}
	for i, table := range recommendedTables {
		if unicode.Is(table, r) {
			return recommended[i]
		}
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return ""
}

// recommended are the scripts of UAX #31, table 5.
var recommended = []string{
	"Latin", "Cyrillic", "Greek", "Han", "Hiragana", "Katakana", "Hangul", "Arabic", "Hebrew", "Devanagari", "Thai", "Armenian", "Bengali",
	"Bopomofo", "Ethiopic", "Georgian", "Gujarati", "Gurmukhi", "Kannada", "Khmer", "Lao", "Malayalam", "Myanmar", "Oriya", "Sinhala", "Tamil",
	"Telugu", "Thaana", "Tibetan",
}

var recommendedTables = func() (tables []*unicode.RangeTable) {
	for _, name := range recommended {
		tables = append(tables, unicode.Scripts[name])
	}
	return tables
}()

// Sets of scripts that one word may mix: how Japanese, Chinese and Korean are written, with Latin letters among them.
var together = [][]string{
	{"Latin", "Han", "Hiragana", "Katakana"},
	{"Latin", "Han", "Bopomofo"},
	{"Latin", "Han", "Hangul"},
}

// goTogether reports whether scripts may stand in one word: sets of together, or Latin with one other recommended script that has no letters like
// Latin ones, as in Hebrew and Hindi an ending joins a foreign name. UTS #39, section 5.2, "moderately restrictive".
func goTogether(names []string) bool {
	for _, set := range together {
		if !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(set, n) }) {
			return true
		}
	}
	if len(names) != 2 || !slices.Contains(names, "Latin") {
		return false
	}
	other := names[0]
	if other == "Latin" {
		other = names[1]
	}
	return slices.Contains(recommended, other) && !slices.Contains(likeLatin, other)
}

// likeLatin are the recommended scripts of which many letters look Latin.
var likeLatin = []string{"Cyrillic", "Greek", "Armenian"}

// symbols are Greek letters that look like no Latin one and stand beside them in units and formulas.
var symbols = []rune("ΔΘΛΞΠΣΦΨΩδθλμξπφψ")

// disguises are the scripts of which every letter in the text looks Latin, while there are Latin words: nobody writes a language so.
func disguises(words []word) map[string]bool {
	letters, like := map[string]int{}, map[string]int{}
	for _, w := range words {
		for _, r := range w {
			if name := scriptOf(r); name != "" {
				letters[name]++
				if Latin(r) != r {
					like[name]++
				}
			}
		}
	}
	found := map[string]bool{}
	for _, name := range likeLatin {
		found[name] = letters[name] > 0 && like[name] == letters[name] && letters["Latin"] > 2
	}
	return found
}

// looksLatin reports whether a word is of a disguised script. A Greek letter alone is a symbol.
func (w word) looksLatin(disguised map[string]bool) bool {
	letters, name := 0, ""
	for _, r := range w {
		if s := scriptOf(r); s != "" {
			letters, name = letters+1, s
		}
	}
	return disguised[name] && (letters > 1 || name == "Cyrillic")
}

// Digit is the value of a decimal digit of any script, and the zero of its kind.
func Digit(r rune) (value int, zero rune, ok bool) {
	if r < 0x80 {
		return int(r - '0'), '0', r >= '0' && r <= '9'
	}
	for _, table := range unicode.Nd.R16 {
		if r >= rune(table.Lo) && r <= rune(table.Hi) {
			value = int(r-rune(table.Lo)) % 10
			return value, r - rune(value), true
		}
	}
	for _, table := range unicode.Nd.R32 {
		if r >= rune(table.Lo) && r <= rune(table.Hi) {
			value = int(r-rune(table.Lo)) % 10
			return value, r - rune(value), true
		}
	}
	return 0, 0, false
}

// Latin gives the Latin letter that a letter looks like, and every other character as it is. From the intentional confusables of UTS #39,
// and those of confusables.txt for Cyrillic, Greek and Armenian letters that are told apart in no common typeface.
func Latin(r rune) rune {
	if r < 0x370 {
		return r
	}
	if like, ok := likenesses[r]; ok {
		return like
	}
	return r
}

var likenesses = pairs(
	"аaсcԁdеeһhіiјjӏlоoрpԛqѕsԝwхxуyѵvАAВBСCЕEНHІIЈJКKӀlМMОOРPԚQЅSТTԜWХXУYҮYГrкkпnгrѴVԌGԍgҺhԀdӃKҚKһhьbЬb",
	"οoνvαaιiκkρpυuΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXϲcϳjϹCγyσoϜFϒYχxϱp",
	"օoսuհhոnցgզqյjԼLՍUՏSՕOլlոnզqԱU",
)

func pairs(lists ...string) map[rune]rune {
	m := map[rune]rune{}
	for _, list := range lists {
		all := []rune(list)
		for i := 0; i+1 < len(all); i += 2 {
			m[all[i]] = all[i+1]
		}
	}
	return m
}
