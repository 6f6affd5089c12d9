package auth

import (
	"net/netip"
	"strings"
)

// forwardedHop reads a forwarded-element of RFC 7239, 4, such as for="[2001:db8::1]:4711";proto=https, and gives the
// address of its one "for". An element without it hides who asked.
func forwardedHop(element string) (hop netip.Addr, ok bool) {
	for more := element != ""; more; {
		var name, value string
		var wellFormed bool
		if name, value, element, wellFormed = cutPair(element); !wellFormed {
			return netip.Addr{}, false
		}
		if strings.EqualFold(name, "for") {
			if ok { // a second one; 4: "each parameter MUST NOT occur more than once"
				return netip.Addr{}, false
			}
			if hop, ok = node(value); !ok {
				return netip.Addr{}, false
			}
		}
		element, more = strings.CutPrefix(element, ";")
		element = trimBlanks(element)
	}
	return hop, ok
}

// cutPair takes a forwarded-pair off the beginning of s, or nothing where the grammar has an empty one. What is left is
// empty or begins with a semicolon. Blanks around it are let pass, as many proxies write them.
func cutPair(s string) (name, value, rest string, ok bool) {
	if s == "" || s[0] == ';' {
		return "", "", s, true
	}
	name, rest = cutToken(s)
	rest, ok = strings.CutPrefix(rest, "=")
	if name == "" || !ok {
		return "", "", "", false
	}
	if strings.HasPrefix(rest, `"`) {
		value, rest, ok = cutQuoted(rest)
	} else {
		value, rest = cutToken(rest)
		ok = value != ""
	}
	rest = trimBlanks(rest)
	return name, value, rest, ok && (rest == "" || rest[0] == ';')
}

// cutToken takes a token of RFC 9110, 5.6.2 off the beginning of s.
func cutToken(s string) (token, rest string) {
	end := prefixOf(s, "!#$%&'*+-.^_`|~")
	return s[:end], s[end:]
}

// cutQuoted takes a quoted-string of RFC 9110, 5.6.4 off the beginning of s. Its value keeps its backslashes: no address
// needs one, and one with them is refused.
func cutQuoted(s string) (value, rest string, ok bool) {
	for i := 1; i < len(s); i++ {
		if s[i] == '"' {
			return s[1:i], s[i+1:], true
		}
		if s[i] == '\\' {
			i++
		}
		if i == len(s) || control(s[i]) {
			break
		}
	}
	return "", "", false
}

func control(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

// lastComma finds the last comma of s outside of quoted strings, -1 for none. It reads from the right, as the elements are
// read: what a proxy has added there is well-formed, and a quote that the client left open further left cannot swallow it.
func lastComma(s string) int {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == ',' && !quoted:
			return i
		case s[i] == '"' && !(quoted && escaped(s[:i])):
			quoted = !quoted
		}
	}
	return -1
}

// escaped reports whether what follows s in a quoted string is escaped: an odd number of backslashes stands before it.
func escaped(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}
