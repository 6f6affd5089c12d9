package audit

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/auth/secret"
)

const (
	maxText     = 1 << 10  // bytes of a plain field
	maxPersonal = 64 << 10 // bytes of a personal value: whole arguments of ordinary calls
)

// bounded returns s as it can be stored: valid UTF-8 without NUL (PostgreSQL refuses both in TEXT), at most max bytes.
// What it changes it marks, with the length and digest of the original, so that the original can still be recognized. A
// secret of ours that somebody pasted where it does not belong is cut out first: the record cannot forget it.
func bounded(s string, max int) string {
	if len(s) < secret.Shortest && len(s) <= max && plain(s) {
		return s
	}
	s = secret.Redact(s)
	if len(s) <= max && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	kept := strings.ToValidUTF8(s[:min(len(s), max)], "\uFFFD")
	kept = strings.ReplaceAll(kept, "\x00", "\uFFFD")
	return fmt.Sprintf("%s…[%d bytes, sha256 %x]", kept, len(s), sha256.Sum256([]byte(s)))
}

// plain reports whether every byte of s is a visible character of ASCII, or a space.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// encode returns v as one line of JSON in which every character is visible: an entry quotes agents, and must not move
// a reader's cursor, end a line or reverse its direction.
func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return visible(string(b)), nil
}

// visible escapes what json.Marshal leaves as it is: DEL, C1 controls, format characters (bidi, zero width, tags).
func visible(s string) string {
	if plain(s) {
		return s
	}
	hidden := func(r rune) bool { return r > '~' && !unicode.IsGraphic(r) }
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// head is what audit_entries repeats in columns: the first members of an entry's JSON, in this order.
type head struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	Merchant string    `json:"merchant"`
	Event    string    `json:"event"`
	CallID   string    `json:"call_id,omitempty"`
	JobID    string    `json:"job_id,omitempty"`
	Actor    string    `json:"actor,omitempty"`
	Tool     string    `json:"tool,omitempty"`
}

// optional are the members of head that an empty column leaves out.
var optional = []string{`,"call_id":`, `,"job_id":`, `,"actor":`, `,"tool":`}

// opens reports whether body begins with exactly these columns. Comparing text is several times cheaper than decoding
// the body, and as strict: a column that was emptied shows as the optional member that follows. It works in room, and
// gives it back.
func (h *head) opens(body string, room []byte) (bool, []byte) {
	room = h.appendTo(room[:0])
	if len(body) < len(room) || body[:len(room)] != string(room) {
		return false, room
	}
	rest := body[len(room):]
	for _, member := range optional {
		if strings.HasPrefix(rest, member) {
			return false, room
		}
	}
	return true, room
}

// appendTo appends h as encode would write it, without the brace at its end.
func (h *head) appendTo(b []byte) []byte {
	b = appendText(append(b, `{"id":`...), h.ID)
	b = append(b, `,"at":"`...)
	b = append(h.At.UTC().AppendFormat(b, time.RFC3339Nano), '"')
	b = appendText(append(b, `,"merchant":`...), h.Merchant)
	b = appendText(append(b, `,"event":`...), h.Event)
	for i, text := range []string{h.CallID, h.JobID, h.Actor, h.Tool} {
		if text != "" {
			b = appendText(append(b, optional[i]...), text)
		}
	}
	return b
}

// appendText appends a text as encode would write it. Most have nothing to escape.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			escaped, _ := encode(s) // a string always can be
			return append(b, escaped...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// proves reports whether an entry's body holds the digest of a personal value. Digests are the last member of the body,
// and neither its name nor a pair of it can stand in a text, where quotes are escaped.
func proves(body string, v value) bool {
	i := strings.LastIndex(body, `,"digests":{`)
	pair := append(appendText(nil, v.name), `:"`+v.digest()+`"`...)
	return i >= 0 && strings.Contains(body[i:], string(pair))
}
