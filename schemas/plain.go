package schemas

import (
	"bytes"
	"unicode/utf8"
)

// Limits of what is plain. They are under those of [Strict], so that what is within them is within those.
const (
	plainDepth  = 16
	plainParts  = 1000 // members and list entries together
	plainNames  = 64   // of the objects that are open at one place
	plainDigits = 15   // of a number: every reader holds it exactly
)

// A Plain reads JSON of the plain kind that nearly every request is, in one pass and without allocating. It takes what
// [Strict] takes and every reader reads alike: names of ASCII without escapes, few of them in an object, and short numbers
// without exponent. Anything else it does not take, and does not say why: that is for Strict to judge.
//
// Its methods read one value after the other; after one that reports false nothing more is to be read.
type Plain struct {
	raw   []byte
	at    int
	depth int
	parts int
	open  int // of names
	names [plainNames]struct{ from, to int }
}

// ReadPlain gives a reader of one document.
func ReadPlain(raw []byte) Plain {
	p := Plain{raw: raw}
	if !utf8.Valid(raw) {
		p.at = len(raw)
	}
	return p
}

// Done reports whether the document ends here.
func (p *Plain) Done() bool {
	p.space()
	return p.at == len(p.raw)
}

// Object reads an object. It calls member with the name of each of its members, to read its value; nil reads over them.
func (p *Plain) Object(member func(name []byte) bool) bool {
	if !p.descend('{') {
		return false
	}
	first := p.open
	for n := 0; !p.take('}'); n++ {
		if n > 0 && !p.take(',') {
			return false
		}
		name, ok := p.name(first)
		if !ok || !p.take(':') {
			return false
		}
		if member != nil {
			ok = member(name)
		} else {
			ok = p.value()
		}
		if !ok {
			return false
		}
	}
	p.open = first
	p.depth--
	return true
}

// Value reads any value and gives it as it stands.
func (p *Plain) Value() (raw []byte, ok bool) {
	p.space()
	from := p.at
	ok = p.value()
	return p.raw[from:p.at:p.at], ok
}

// Text reads a string that has no escapes, and gives what stands between its quotes.
func (p *Plain) Text() (text []byte, ok bool) {
	raw, ok := p.Value()
	if !ok || raw[0] != '"' || bytes.IndexByte(raw, '\\') >= 0 {
		return nil, false
	}
	return raw[1 : len(raw)-1 : len(raw)-1], true
}

func (p *Plain) value() bool {
	switch p.space(); p.peek() {
	case '{':
		return p.Object(nil)
	case '[':
		return p.array()
	case '"':
		return p.text()
	case 't':
		return p.literal("true")
	case 'f':
		return p.literal("false")
	case 'n':
		return p.literal("null")
	}
	return p.number()
}

func (p *Plain) array() bool {
	if !p.descend('[') {
		return false
	}
	for n := 0; !p.take(']'); n++ {
		if n > 0 && !p.take(',') || !p.count() || !p.value() {
			return false
		}
	}
	p.depth--
	return true
}

// name reads the name of a member and claims it among those since first.
func (p *Plain) name(first int) (name []byte, ok bool) {
	p.space()
	from := p.at + 1
	if !p.text() || p.open == len(p.names) || !p.count() {
		return nil, false
	}
	name = p.raw[from : p.at-1]
	for _, c := range name {
		if c == '\\' || c >= utf8.RuneSelf {
			return nil, false
		}
	}
	for _, other := range p.names[first:p.open] {
		if other.to-other.from == len(name) && bytes.EqualFold(p.raw[other.from:other.to], name) {
			return nil, false
		}
	}
	p.names[p.open].from, p.names[p.open].to = from, p.at-1
	p.open++
	return name, true
}

// text reads over a string.
func (p *Plain) text() bool {
	if p.peek() != '"' {
		return false
	}
	for p.at++; p.at < len(p.raw); p.at++ {
		switch c := p.raw[p.at]; {
		case c == '"':
			p.at++
			return true
		case c < ' ':
			return false
		case c == '\\' && !p.escape():
			return false
		}
	}
	return false
}

// escape reads over an escape, up to its last byte. Halves of surrogate pairs are not plain, nor whole ones.
func (p *Plain) escape() bool {
	p.at++
	if c := p.peek(); c != 'u' {
		return bytes.IndexByte([]byte(`"\/bfnrt`), c) >= 0
	}
	if len(p.raw)-p.at < 5 {
		return false
	}
	code := 0
	for _, c := range p.raw[p.at+1 : p.at+5] {
		switch {
		case '0' <= c && c <= '9':
			code = code<<4 | int(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			code = code<<4 | int(c|0x20-'a'+10)
		default:
			return false
		}
	}
	p.at += 4
	return code != 0 && (code < 0xd800 || code > 0xdfff)
}

// number reads over digits with one point among them at most.
func (p *Plain) number() bool {
	if p.peek() == '-' {
		p.at++
	}
	from := p.at
	whole := p.digits()
	if whole == 0 || whole > 1 && p.raw[from] == '0' {
		return false
	}
	if p.peek() != '.' {
		return whole <= plainDigits
	}
	p.at++
	part := p.digits()
	return part > 0 && whole+part <= plainDigits
}

func (p *Plain) digits() (n int) {
	for ; p.at < len(p.raw) && '0' <= p.raw[p.at] && p.raw[p.at] <= '9'; p.at++ {
		n++
	}
	return n
}

func (p *Plain) literal(word string) bool {
	if len(p.raw)-p.at < len(word) || string(p.raw[p.at:p.at+len(word)]) != word {
		return false
	}
	p.at += len(word)
	return true
}

// descend goes into an object or array.
func (p *Plain) descend(bracket byte) bool {
	if p.depth == plainDepth || !p.take(bracket) {
		return false
	}
	p.depth++
	return true
}

func (p *Plain) count() bool {
	p.parts++
	return p.parts <= plainParts
}

func (p *Plain) take(c byte) bool {
	p.space()
	if p.peek() != c {
		return false
	}
	p.at++
	return true
}

// peek gives the next byte, 0 at the end; no value begins with one.
func (p *Plain) peek() byte {
	if p.at < len(p.raw) {
		return p.raw[p.at]
	}
	return 0
}

func (p *Plain) space() {
	for p.at < len(p.raw) {
		switch p.raw[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}
