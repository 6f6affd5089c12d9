package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The headers in which proxies say for whom they ask.
const (
	XForwardedFor = "X-Forwarded-For" // a list of addresses, by custom
	Forwarded     = "Forwarded"       // RFC 7239
)

// Proxies are the proxies in front of the server, and the one header in which they say for whom they ask. The other header
// is never read: a proxy that writes one passes the other through, as whoever sent it has made it up.
type Proxies struct {
	Trusted Networks
	Header  string // XForwardedFor or Forwarded
}

// Limits on what a trusted proxy may hand over.
const (
	maxHops       = 32       // that are passed over on the way to the client
	maxForwarding = 8 * 1024 // bytes in all lines of the header
)

// ErrNoClient is the answer when a trusted proxy's header does not tell who the client is. What it does tell is not guessed at.
var ErrNoClient = errors.New("the proxy does not say who the client is")

var (
	errNoAddress = fmt.Errorf("%w: a hop is not an address", ErrNoClient)
	errTooLong   = fmt.Errorf("%w: the header is longer than %d bytes", ErrNoClient, maxForwarding)
	errTooFar    = fmt.Errorf("%w: there are more than %d hops", ErrNoClient, maxHops)
)

// Client says who the client of a request is: its TCP peer, or when that is a trusted proxy whoever the lines of the
// header name. Every proxy adds on the right whom it was asked by, so they are read from the right, and the first that is
// no trusted proxy is the client. What stands further left is the client's own claim and is not looked at. Where all are
// trusted it is the leftmost; without the header the proxy asks for itself. Any other outcome is ErrNoClient.
func (p Proxies) Client(peer netip.Addr, lines []string) (netip.Addr, error) {
	client := bare(peer)
	if !p.Trusted.Contain(client) {
		return client, nil
	}
	if length(lines) > maxForwarding {
		return netip.Addr{}, errTooLong
	}
	hops := 0
	for _, rest := range slices.Backward(lines) {
		for more := true; more; hops++ {
			if hops == maxHops {
				return netip.Addr{}, errTooFar
			}
			var ok bool
			if client, rest, more, ok = p.lastHop(rest); !ok {
				return netip.Addr{}, errNoAddress
			}
			if !p.Trusted.Contain(client) {
				return client, nil
			}
		}
	}
	return client, nil
}

func length(lines []string) (n int) {
	for _, line := range lines {
		n += len(line)
	}
	return n
}

// lastHop reads the rightmost hop of a line, and gives what stands left of it if there is more.
func (p Proxies) lastHop(line string) (hop netip.Addr, rest string, more, ok bool) {
	comma, read := strings.LastIndexByte(line, ','), listedHop
	if p.Header == Forwarded {
		comma, read = lastComma(line), forwardedHop
	}
	hop, ok = read(trimBlanks(line[comma+1:]))
	return hop, line[:max(comma, 0)], comma >= 0, ok
}

// listedHop reads a hop of X-Forwarded-For: an address, which may be followed by a port if it is IPv4 or in brackets.
func listedHop(text string) (netip.Addr, bool) {
	if addr, ok := address(text); ok {
		return addr, true
	}
	return node(text)
}

// node reads a node of RFC 7239, 6 that is an address. "unknown" and made-up names (_hidden) are none.
func node(text string) (netip.Addr, bool) {
	host, port, inBrackets := text, "", strings.HasPrefix(text, "[")
	if inBrackets {
		var closed bool
		if host, port, closed = strings.Cut(text[1:], "]"); !closed {
			return netip.Addr{}, false
		}
	} else if colon := strings.IndexByte(text, ':'); colon >= 0 {
		host, port = text[:colon], text[colon:]
	}
	addr, ok := address(host)
	isV6 := strings.Contains(host, ":") // as it is written: in brackets stands IPv6, and nothing else does
	return addr, ok && isV6 == inBrackets && (port == "" || isPort(port))
}

// isPort reports whether text is a colon and a node-port of RFC 7239, 6: a number, or a made-up name.
func isPort(text string) bool {
	number, ok := strings.CutPrefix(text, ":")
	if name, hidden := strings.CutPrefix(number, "_"); hidden {
		return ok && name != "" && madeOf(name, "._-")
	}
	_, err := strconv.ParseUint(number, 10, 16)
	return ok && err == nil && len(number) <= len("65535")
}

// address reads an address, which loses its zone and its IPv4-mapping.
func address(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(text)
	if err != nil || !madeOf(addr.Zone(), "-._~") { // netip takes any text for a zone, RFC 6874 only this
		return netip.Addr{}, false
	}
	return bare(addr), true
}

// madeOf reports whether s is made of letters and digits of ASCII and the others.
func madeOf(s, others string) bool { return prefixOf(s, others) == len(s) }

// prefixOf is how long the beginning of s is that is made of letters and digits of ASCII and the others.
func prefixOf(s, others string) int {
	for i := range len(s) {
		c := s[i]
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte(others, c) >= 0) {
			return i
		}
	}
	return len(s)
}

// trimBlanks takes off the OWS of RFC 9110, 5.6.3.
func trimBlanks(s string) string { return strings.Trim(s, " \t") }
