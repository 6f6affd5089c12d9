package claims

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/dtcgate/dtcgate/approvals/plain"
)

// A letter is a character of a text as it reads, and where it comes from.
type letter struct {
	r          rune
	start, end int // bytes of the text
}

// thin stands for a blank that may part groups of digits: a narrow or a fixed one.
const thin = '\u2009'

// read gives a text as a person reads it: without what is not seen, in letters and digits of ASCII where they look so.
func read(text string) []letter {
	all := make([]letter, 0, len(text))
	for i, r := range text {
		end := i + utf8.RuneLen(r)
		if r == utf8.RuneError {
			end = i + 1
		}
		if r < 0x80 {
			if r >= ' ' || r == '\n' || r == '\t' {
				all = append(all, letter{r, i, end})
			}
			continue
		}
		for _, c := range looks(r) {
			all = append(all, letter{c, i, end})
		}
	}
	return all
}

// looks are the characters that one looks like; none where it is not seen.
func looks(r rune) []rune {
	switch {
	case plain.Hides(r) || unicode.IsMark(r):
		return nil
	case strings.ContainsRune("\u00A0\u202F\u2009\u2007", r):
		return []rune{thin}
	case strings.ContainsRune("’‘ʼ", r):
		return []rune{'\''}
	case unicode.IsSpace(r):
		return []rune{' '}
	case strings.ContainsRune("“”„‟«»‹›「」『』", r):
		return []rune{'"'}
	case unicode.Is(unicode.Pd, r) || r == '−':
		return []rune{'-'}
	case r == '٫':
		return []rune{'.'}
	case r == '٬':
		return []rune{','}
	}
	if v, _, ok := plain.Digit(r); ok {
		return []rune{rune('0' + v)}
	}
	var out []rune
	for _, c := range norm.NFKD.String(string(r)) {
		if !unicode.IsMark(c) && !plain.Hides(c) {
			out = append(out, plain.Latin(c))
		}
	}
	return out
}

// A form is what a token is.
type form uint8

const (
	mark   form = iota // one character that is none of the others
	space              // blanks
	word               // letters
	number             // a figure, or one spelled out
	code               // letters and digits: cmp_7Q2, 85123A, PR-17
)

// A token is a word of a text.
type token struct {
	form       form
	text       string // as it reads
	low        string // in lower case
	value      int64  // of a number, in units of one
	slack      int64  // by how much a shortened one may be off
	dotted     bool   // 1.234: a thousand in one country, one and a bit in another
	start, end int
}

// one is a number's unit: values hold four decimals.
const one = 10000

// tokenize takes a text apart. Spaces are dropped; a line end stays, as a mark.
func tokenize(text string) []token {
	letters := read(text)
	var all []token
	for i := 0; i < len(letters); {
		t, n := next(letters[i:])
		if t.form != space {
			t.start, t.end, t.low = letters[i].start, letters[i+n-1].end, strings.ToLower(t.text)
			all = append(all, t)
		}
		i += n
	}
	return spellOut(all)
}

// next reads one token, and gives its length in letters.
func next(l []letter) (token, int) {
	switch r := l[0].r; {
	case r == ' ' || r == '\t' || r == thin:
		return token{form: space}, 1
	case r >= '0' && r <= '9':
		return figure(l)
	case unicode.IsLetter(r) || r == '_':
		return wordOrCode(l)
	default:
		return token{form: mark, text: string(r)}, 1
	}
}

func at(l []letter, i int) rune {
	if i < 0 || i >= len(l) {
		return 0
	}
	return l[i].r
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func isAlnum(r rune) bool { return isDigit(r) || unicode.IsLetter(r) || r == '_' }

func textOf(l []letter) string {
	var b strings.Builder
	for _, c := range l {
		b.WriteRune(c.r)
	}
	return b.String()
}

// units are what may follow a figure without a blank.
var units = map[string]bool{
	"k": true, "m": true, "mn": true, "bn": true, "st": true, "nd": true, "rd": true, "th": true, "p": true, "gbp": true, "eur": true, "usd": true,
	"quid": true, "pounds": true, "euros": true, "dollars": true, "pence": true, "cents": true, "pct": true, "customers": true, "recipients": true,
	"people": true, "kgbp": true, "keur": true, "kusd": true,
}

// figure reads a number, or a code that begins with a digit.
func figure(l []letter) (token, int) {
	n := 1
	for isDigit(at(l, n)) || strings.ContainsRune(".,'"+string(thin), at(l, n)) && isDigit(at(l, n+1)) {
		n++
	}
	end := n
	for isAlnum(at(l, end)) {
		end++
	}
	suffix := strings.ToLower(textOf(l[n:end]))
	iso := n == 4 && at(l, 4) == '-' && isDigit(at(l, 5)) && isDigit(at(l, 6)) && at(l, 7) == '-' && isDigit(at(l, 8)) && isDigit(at(l, 9)) && !isDigit(at(l, 10))
	if iso {
		return token{form: code, text: textOf(l[:10])}, 10
	}
	value, dotted, ok := parse(textOf(l[:n]))
	if ok && (suffix == "" || units[suffix]) {
		return token{form: number, text: textOf(l[:n]), value: value, dotted: dotted}, n
	}
	return hyphened(l, end)
}

// wordOrCode reads letters, or a code where digits are among them.
func wordOrCode(l []letter) (token, int) {
	n := 1
	for isAlnum(at(l, n)) || at(l, n) == '\'' && unicode.IsLetter(at(l, n+1)) {
		n++
	}
	if at(l, n) == '-' && isDigit(at(l, n+1)) && n <= 6 && strings.ToUpper(textOf(l[:n])) == textOf(l[:n]) || hasDigit(l[:n]) || hasRune(l[:n], '_') {
		return hyphened(l, n)
	}
	return token{form: word, text: textOf(l[:n])}, n
}

// hyphened reads on over the parts of a code.
func hyphened(l []letter, n int) (token, int) {
	for at(l, n) == '-' && isAlnum(at(l, n+1)) {
		n++
		for isAlnum(at(l, n)) {
			n++
		}
	}
	return token{form: code, text: textOf(l[:n])}, n
}

func hasDigit(l []letter) bool {
	for _, c := range l {
		if isDigit(c.r) {
			return true
		}
	}
	return false
}

func hasRune(l []letter, r rune) bool {
	for _, c := range l {
		if c.r == r {
			return true
		}
	}
	return false
}
