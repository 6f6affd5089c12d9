package schemas

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of one document. They hold before anything is built from it; the length in bytes is the transport's to limit.
const (
	maxDepth  = 64
	maxParts  = 10_000 // members and list entries together
	maxNumber = 32     // characters of one number
)

// SyntaxError says why bytes are not JSON that dtcgate reads. It repeats nothing of the input but member names in the pointer,
// and those shortened and escaped.
type SyntaxError struct {
	Reason  string // plain words for an agent, to follow "the arguments" or "the body"
	Pointer string // JSON pointer of the value, as far as known; "" is the whole
	Offset  int64  // bytes read before the fault was seen
}

func (e *SyntaxError) Error() string {
	if e.Pointer == "" {
		return "JSON " + e.Reason
	}
	return "JSON at " + e.Pointer + " " + e.Reason
}

// Canonical reads one JSON object strictly and writes it in the form that is hashed, voted on, stored and run: members sorted
// by the bytes of their names, no space, strings escaped as little as JSON allows, and numbers exactly as they were written.
// Empty input is {}. The error is a *[SyntaxError].
//
// This is not RFC 8785 on purpose. RFC 8785 passes numbers through a float64, so that 9007199254740993 and ...992, two
// different amounts of money, get the same bytes and the same hash. Here a literal stands, and what a float64 cannot hold
// exactly as an integer (beyond ±(2^53-1), however written) is refused, so no later reader can see another number.
//
// Refused as well: names given twice or differing only in case (encoding/json would fold Admin, ADMIN and, by U+017F and
// U+212A, even more spellings onto one field), text that is not UTF-8, half surrogate pairs, NUL in strings (databases cut or
// refuse it), a byte order mark, anything after the object, more than 64 levels, 10,000 parts or 32 characters a number.
func Canonical(raw []byte) ([]byte, error) {
	if len(raw) == 0 {
		return []byte("{}"), nil
	}
	out, err := newReader(raw).document()
	if err == nil && out[0] != '{' {
		return nil, &SyntaxError{Reason: "must be an object"}
	}
	return out, err
}

// Strict holds any JSON value, such as the whole body of a request, to the rules of [Canonical]. Empty input is refused.
func Strict(raw []byte) error {
	_, err := newReader(raw).document()
	return err
}

// Fingerprint is the hex SHA-256 of canonical bytes.
func Fingerprint(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

// reader walks the tokens of one document and writes its canonical form. It recurses, but never deeper than maxDepth. The tokens
// come from a decoder that others maintain and fuzz; what it would pass, and what it would read on before refusing, is stopped
// here.
type reader struct {
	raw     []byte
	dec     *jsontext.Decoder
	path    []string // names and indexes that lead to the value being read
	parts   int
	scratch []byte // members of the object being sorted
}

func newReader(raw []byte) *reader {
	// Duplicates are found here, with those that differ in case; the decoder's own search would be a second one.
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true))
	return &reader{raw: raw, dec: dec}
}

func (r *reader) document() ([]byte, error) {
	if bytes.HasPrefix(r.raw, []byte("\xef\xbb\xbf")) {
		return nil, r.fault("starts with a byte order mark; send plain UTF-8")
	}
	// The decoder checks UTF-8 too, but reports it as one of many syntax errors; this is the one an agent can act on.
	if !utf8.Valid(r.raw) {
		return nil, r.fault("is not valid UTF-8")
	}
	out, err := r.value(make([]byte, 0, len(r.raw)))
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimLeft(r.unread(), " \t\r\n")) > 0 {
		return nil, r.fault("has more text after its end; send one JSON value")
	}
	return out, nil
}

func (r *reader) unread() []byte { return r.raw[r.dec.InputOffset():] }

func (r *reader) value(dst []byte) ([]byte, error) {
	switch r.dec.PeekKind() {
	case '{':
		return r.object(dst)
	case '[':
		return r.array(dst)
	case '"':
		quoted, _, err := r.text()
		return append(dst, quoted...), err
	case '0':
		return r.number(dst)
	}
	token, err := r.dec.ReadToken() // true, false, null, or nothing that JSON knows
	if err != nil {
		return nil, r.broken(err)
	}
	return append(dst, token.String()...), nil
}

// member is one name with its value, as written to the output: from is the first byte of the name, to the one after the comma.
type member struct {
	name     string
	from, to int
}

func (r *reader) object(dst []byte) ([]byte, error) {
	if err := r.open(); err != nil {
		return nil, err
	}
	dst = append(dst, '{')
	start := len(dst)
	var members []member
	seen := map[string]struct{}{}
	for r.dec.PeekKind() != '}' {
		quoted, name, err := r.text()
		if err != nil {
			return nil, err
		}
		r.path = append(r.path, name)
		if err := r.claim(seen, name); err != nil {
			return nil, err
		}
		from := len(dst)
		dst = append(append(dst, quoted...), ':')
		if dst, err = r.value(dst); err != nil {
			return nil, err
		}
		dst = append(dst, ',')
		members = append(members, member{name, from, len(dst)})
		r.path = r.path[:len(r.path)-1]
	}
	r.sort(dst[start:], start, members)
	return r.shut(dst, '}')
}

// claim counts a member and refuses its name when the object has one that folds to the same.
func (r *reader) claim(seen map[string]struct{}, name string) error {
	key := fold(name)
	if _, taken := seen[key]; taken {
		return r.fault("is there twice, or differs from another name only in letter case")
	}
	seen[key] = struct{}{}
	return r.count()
}

// sort puts members, written to out in the order they came, in the order of their names. Names compare as bytes of UTF-8.
func (r *reader) sort(out []byte, start int, members []member) {
	byName := func(a, b member) int { return strings.Compare(a.name, b.name) }
	if slices.IsSortedFunc(members, byName) {
		return
	}
	slices.SortFunc(members, byName)
	r.scratch = append(r.scratch[:0], out...)
	for at := 0; len(members) > 0; members = members[1:] {
		at += copy(out[at:], r.scratch[members[0].from-start:members[0].to-start])
	}
}

func (r *reader) array(dst []byte) ([]byte, error) {
	if err := r.open(); err != nil {
		return nil, err
	}
	dst = append(dst, '[')
	for i := 0; r.dec.PeekKind() != ']'; i++ {
		r.path = append(r.path, strconv.Itoa(i))
		err := r.count()
		if err != nil {
			return nil, err
		}
		if dst, err = r.value(dst); err != nil {
			return nil, err
		}
		dst = append(dst, ',')
		r.path = r.path[:len(r.path)-1]
	}
	return r.shut(dst, ']')
}

// open starts an object or array.
func (r *reader) open() error {
	if r.dec.StackDepth() == maxDepth {
		return r.fault(fmt.Sprintf("is nested deeper than %d levels", maxDepth))
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return r.broken(err)
	}
	return nil
}

// shut ends an object or array; the comma after its last entry, if there is one, becomes the bracket.
func (r *reader) shut(dst []byte, bracket byte) ([]byte, error) {
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, r.broken(err)
	}
	if last := len(dst) - 1; dst[last] == ',' {
		dst = dst[:last]
	}
	return append(dst, bracket), nil
}

func (r *reader) count() error {
	if r.parts++; r.parts > maxParts {
		return r.fault(fmt.Sprintf("has more than %d members and list entries", maxParts))
	}
	return nil
}

// text reads a string: its canonical literal, and what it says.
func (r *reader) text() (quoted []byte, text string, err error) {
	if r.dec.PeekKind() != '"' {
		_, err := r.dec.ReadToken()
		return nil, "", r.broken(err)
	}
	literal, err := r.dec.ReadValue()
	if err != nil {
		return nil, "", r.broken(err)
	}
	if bytes.IndexByte(literal, '\\') < 0 {
		return literal, string(literal[1 : len(literal)-1]), nil
	}
	plain, err := jsontext.AppendUnquote(nil, literal)
	if err != nil {
		return nil, "", r.broken(err)
	}
	if bytes.IndexByte(plain, 0) >= 0 {
		return nil, "", r.fault(`contains a NUL character (\u0000)`)
	}
	quoted, err = jsontext.AppendQuote(nil, plain)
	return quoted, string(plain), err
}

// number keeps the literal. Its length is looked at first: a million digits are refused without being read.
func (r *reader) number(dst []byte) ([]byte, error) {
	if longNumber(bytes.TrimLeft(r.unread(), " \t\r\n,:")) {
		return nil, r.fault(fmt.Sprintf("is a number of more than %d characters", maxNumber))
	}
	literal, err := r.dec.ReadValue()
	if err != nil {
		return nil, r.broken(err)
	}
	if reason := outOfBounds(literal); reason != "" {
		return nil, r.fault(reason)
	}
	return append(dst, literal...), nil
}

func (r *reader) fault(reason string) *SyntaxError {
	return &SyntaxError{Reason: reason, Pointer: pointer(r.path), Offset: r.dec.InputOffset()}
}

// broken says in our words what the decoder found. Its own text quotes the input.
func (r *reader) broken(err error) *SyntaxError {
	e := r.fault("is not well-formed; look for a missing quote, comma, colon or bracket")
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		e.Offset = syntax.ByteOffset
	}
	at := r.raw[min(e.Offset, int64(len(r.raw))):]
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Reason = "ends before it is complete"
	case len(at) > 2 && at[0] == '\\' && at[1] == 'u' && at[2]|0x20 == 'd':
		e.Reason = "contains half a surrogate pair; write the character itself"
	}
	return e
}

// pointer writes a JSON pointer whose names are fit to be shown: at most eight steps from the end, each shortened and escaped.
func pointer(path []string) string {
	var p jsontext.Pointer
	if len(path) > 8 {
		p, path = "/…", path[len(path)-8:]
	}
	for _, step := range path {
		p = p.AppendToken(Shown(step))
	}
	return string(p)
}

// fold maps names that strings.EqualFold holds equal to the same text.
func fold(name string) string { return strings.Map(foldRune, name) }

// foldRune is the least rune of those that differ from c only in case, so K for k and the Kelvin sign alike.
func foldRune(c rune) rune {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	if c < utf8.RuneSelf {
		return c
	}
	least := c
	for next := unicode.SimpleFold(c); next != c; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	return least
}
