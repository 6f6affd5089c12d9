package auth

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// What network*.go does is done here once more and in another way, for the tests to compare: texts are taken apart by
// regular expressions, and an address is 16 bytes of which bits are compared one by one.

// naiveAddress is an IPv6 address; an IPv4 address stands in its IPv4-mapped form.
type naiveAddress [16]byte

func (a naiveAddress) bit(i int) bool { return a[i/8]>>(7-i%8)&1 == 1 }

func (a naiveAddress) isV4() bool {
	return [12]byte(a[:12]) == [12]byte{10: 0xff, 11: 0xff}
}

func (a naiveAddress) netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

const naiveOctet = `(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`

var (
	naiveV4    = regexp.MustCompile(`^` + naiveOctet + `\.` + naiveOctet + `\.` + naiveOctet + `\.` + naiveOctet + `$`)
	naiveTail  = regexp.MustCompile(`^(.*:)([0-9]+\.[0-9.]+)$`) // an IPv6 address that ends as IPv4
	naiveGroup = regexp.MustCompile(`^[0-9A-Fa-f]{1,4}$`)
	naiveZone  = regexp.MustCompile(`^([^%]*:[^%]*)%[0-9A-Za-z._~-]+$`)
)

func naiveParse(text string) (a naiveAddress, ok bool) {
	if m := naiveV4.FindStringSubmatch(text); m != nil {
		a[10], a[11] = 0xff, 0xff
		for i, octet := range m[1:] {
			n, _ := strconv.Atoi(octet)
			a[12+i] = byte(n)
		}
		return a, true
	}
	if m := naiveTail.FindStringSubmatch(text); m != nil {
		v4, ok := naiveParse(m[2])
		if !ok || strings.Contains(m[2], ":") {
			return a, false
		}
		text = m[1] + strconv.FormatInt(int64(v4[12])<<8|int64(v4[13]), 16) + ":" + strconv.FormatInt(int64(v4[14])<<8|int64(v4[15]), 16)
	}
	before, after, short := strings.Cut(text, "::")
	left, right := naiveGroups(before), naiveGroups(after)
	if n := len(left) + len(right); short && n > 7 || !short && n != 8 {
		return a, false
	}
	groups := append(append(left, make([]string, 8-len(left)-len(right))...), right...)
	for i, g := range groups {
		if g == "" && (!short || i < len(left) || i >= 8-len(right)) || g != "" && !naiveGroup.MatchString(g) {
			return a, false
		}
		n, _ := strconv.ParseUint("0"+g, 16, 16)
		a[2*i], a[2*i+1] = byte(n>>8), byte(n)
	}
	return a, true
}

func naiveGroups(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ":")
}

type naiveNetwork struct {
	address naiveAddress
	bits    int
}

var naivePrefix = regexp.MustCompile(`^([0-9A-Fa-f.:]+)(/(0|[1-9][0-9]{0,2}))?$`)

func naiveParseNetwork(text string) (n naiveNetwork, ok bool) {
	m := naivePrefix.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return n, false
	}
	if n.address, ok = naiveParse(m[1]); !ok {
		return n, false
	}
	n.bits = 128
	if m[2] != "" {
		n.bits, _ = strconv.Atoi(m[3])
		if !strings.Contains(m[1], ":") {
			n.bits += 96
		}
	}
	if n.bits > 128 || n.address.isV4() && n.bits < 96 {
		return n, false
	}
	for i := n.bits; i < 128; i++ {
		if n.address.bit(i) {
			return n, false
		}
	}
	return n, true
}

func (n naiveNetwork) holds(a naiveAddress) bool {
	for i := range n.bits {
		if n.address.bit(i) != a.bit(i) {
			return false
		}
	}
	return n.address.isV4() == a.isV4()
}

func naiveIn(all []naiveNetwork, a naiveAddress) bool {
	for _, n := range all {
		if n.holds(a) {
			return true
		}
	}
	return false
}

const (
	naiveToken   = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
	naiveText    = `[^"\\\x00-\x08\x0a-\x1f\x7f]`
	naiveQuoted  = `"(?:` + naiveText + `|\\(?:` + naiveText + `|["\\]))*"`
	naivePair    = naiveToken + `=(?:` + naiveToken + `|` + naiveQuoted + `)`
	naiveElement = `[ \t]*(?:` + naivePair + `)?(?:[ \t]*;[ \t]*(?:` + naivePair + `)?)*[ \t]*`
	naivePort    = `(?::(?:([0-9]{1,5})|_[0-9A-Za-z._-]+))?`
)

var (
	naiveLast = map[string]*regexp.Regexp{ // the last hop of a line
		XForwardedFor: regexp.MustCompile(`(?:^|,)([^,]*)$`),
		Forwarded:     regexp.MustCompile(`(?:^|,)(` + naiveElement + `)$`),
	}
	naiveEachPair = regexp.MustCompile(`(` + naiveToken + `)=(` + naiveToken + `|` + naiveQuoted + `)`)
	naiveNode     = regexp.MustCompile(`^(?:([0-9.]+)|\[([^\]]*:[^\]]*)\])` + naivePort + `$`)
)

// naiveClient is Proxies.Client.
func naiveClient(trusted []naiveNetwork, header string, peer naiveAddress, lines []string) (naiveAddress, bool) {
	client, hops := peer, 0
	if length := len(strings.Join(lines, "")); naiveIn(trusted, peer) && length > 8192 {
		return client, false
	}
	for len(lines) > 0 && naiveIn(trusted, client) {
		line := lines[len(lines)-1]
		last := naiveLast[header].FindStringSubmatchIndex(line)
		if hops++; last == nil || hops > 32 {
			return client, false
		}
		var ok bool
		if client, ok = naiveHop(header, strings.Trim(line[last[2]:last[3]], " \t")); !ok {
			return client, false
		}
		lines = lines[:len(lines)-1]
		if last[0] < last[2] { // there was a comma
			lines = append(lines[:len(lines):len(lines)], line[:last[0]])
		}
	}
	return client, true
}

func naiveHop(header, text string) (a naiveAddress, ok bool) {
	if header == XForwardedFor {
		if !strings.HasPrefix(text, "[") && strings.Count(text, ":") > 1 {
			return naiveZoned(text)
		}
		return naiveParseNode(text)
	}
	var nodes []string
	for _, pair := range naiveEachPair.FindAllStringSubmatch(text, -1) {
		if strings.ToLower(pair[1]) == "for" {
			nodes = append(nodes, pair[2])
		}
	}
	if len(nodes) != 1 {
		return a, false
	}
	return naiveParseNode(strings.TrimSuffix(strings.TrimPrefix(nodes[0], `"`), `"`))
}

func naiveParseNode(text string) (a naiveAddress, ok bool) {
	m := naiveNode.FindStringSubmatch(text)
	if m == nil {
		return a, false
	}
	if port, _ := strconv.Atoi("0" + m[3]); port > 65535 {
		return a, false
	}
	return naiveZoned(m[1] + m[2])
}

func naiveZoned(text string) (naiveAddress, bool) {
	if m := naiveZone.FindStringSubmatch(text); m != nil {
		text = m[1]
	}
	return naiveParse(text)
}
