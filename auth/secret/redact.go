package secret

import (
	"io"
	"strings"
)

// In reports whether a secret of ours stands anywhere in a text: a prefix, and behind it a body whose checksum is right,
// which chance makes of one in 2^32 texts of that form.
func In(text string) bool {
	at, _ := find(text)
	return at >= 0
}

// Redact cuts the secrets of ours out of a text that is to be kept, such as what a person pasted where it does not belong.
// What is left of one is its hint, so that its holder can be found and told.
func Redact(text string) string {
	at, size := find(text)
	if at < 0 {
		return text
	}
	var b strings.Builder
	for ; at >= 0; at, size = find(text) {
		b.WriteString(text[:at])
		b.WriteString(Hint(text[at : at+size]))
		text = text[at+size:]
	}
	b.WriteString(text)
	return b.String()
}

// find gives where the first secret in a text begins and its length in bytes, or -1.
func find(text string) (at, size int) {
	at = -1
	if len(text) < Shortest {
		return at, 0
	}
	for _, prefix := range prefixes {
		length := len(prefix) + randomLen + checksumLen
		for from := 0; ; from++ {
			next := strings.Index(text[from:], prefix)
			if from += next; next < 0 || from+length > len(text) {
				break
			}
			if WellFormed(prefix, text[from:from+length]) {
				if at < 0 || from < at {
					at, size = from, length
				}
				break
			}
		}
	}
	return at, size
}

// Redacting gives a writer that cuts secrets of ours out of what it is given, for logs: each Write is to be one whole line.
// Nothing that is logged is meant to hold one; a panic may quote what it was handed.
func Redacting(w io.Writer) io.Writer { return redacting{w} }

type redacting struct{ to io.Writer }

// Write implements io.Writer. It reports the length that it was given: what was cut is no failure.
func (r redacting) Write(line []byte) (int, error) {
	if _, err := io.WriteString(r.to, Redact(string(line))); err != nil {
		return 0, err
	}
	return len(line), nil
}
