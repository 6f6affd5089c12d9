package schemas

import "unicode/utf8"

const hexDigits = "0123456789abcdef"

// AppendQuoted writes text as a JSON string, byte for byte as encoding/json does: with <, > and & escaped, and what is not
// UTF-8 as U+FFFD.
func AppendQuoted(dst []byte, text string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf && !escaped[c] {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(text[i:])
			if !(r == utf8.RuneError && size == 1) && !isSeparator(r) {
				i += size
				continue
			}
		}
		dst = append(dst, text[from:i]...)
		dst = appendEscape(dst, text[i:i+size])
		i += size
		from = i
	}
	dst = append(dst, text[from:]...)
	return append(dst, '"')
}

// isSeparator knows the two line ends of Unicode that JavaScript has not always taken within a string.
func isSeparator(r rune) bool { return r == '\u2028' || r == '\u2029' }

// escaped are the bytes of ASCII that do not stand for themselves in a string.
var escaped = func() (e [utf8.RuneSelf]bool) {
	for c := range byte(' ') {
		e[c] = true
	}
	for _, c := range []byte(`"\<>&`) {
		e[c] = true
	}
	return e
}()

// appendEscape writes one character that does not stand for itself.
func appendEscape(dst []byte, char string) []byte {
	switch c := char[0]; c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	default:
		if c < utf8.RuneSelf {
			return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
	}
	if len(char) == 1 {
		return append(dst, `\ufffd`...)
	}
	return append(dst, '\\', 'u', '2', '0', '2', hexDigits[char[2]&0xf])
}

// AppendCompact writes a JSON value without the space between its parts and with <, > and & escaped, byte for byte as
// encoding/json writes a json.RawMessage. The value must be well-formed.
func AppendCompact(dst, value []byte) []byte {
	from, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\':
			i++
		case c == '<', c == '>', c == '&':
			dst = append(dst, value[from:i]...)
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
			from = i + 1
		case c == 0xe2 && i+2 < len(value) && value[i+1] == 0x80 && value[i+2]&^1 == 0xa8:
			dst = append(dst, value[from:i]...)
			dst = append(dst, '\\', 'u', '2', '0', '2', hexDigits[value[i+2]&0xf])
			i += 2
			from = i + 1
		case !quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n'):
			dst = append(dst, value[from:i]...)
			from = i + 1
		}
	}
	return append(dst, value[from:]...)
}
