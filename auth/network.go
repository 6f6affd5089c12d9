package auth

import (
	"fmt"
	"net/netip"
	"strings"
)

// Networks are the networks that something may be reached from. An address is in them when it is in one of them, so an
// empty list holds nobody. A network of IPv6 holds no IPv4: everybody is 0.0.0.0/0 and ::/0.
type Networks []netip.Prefix

// maxNetworks bounds a list: every request is looked up in it, one network after the other.
const maxNetworks = 1000

const networkExamples = "10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"

// ParseNetworks reads networks in CIDR notation and single addresses. A list with a mistake in it is refused whole: read
// without the mistake it would be another list.
func ParseNetworks(texts []string) (Networks, error) {
	if len(texts) > maxNetworks {
		return nil, fmt.Errorf("%d networks are too many: at most %d, so name larger ones", len(texts), maxNetworks)
	}
	var all Networks
	for _, text := range texts {
		n, err := parseNetwork(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, fmt.Errorf("a network is empty: write one such as %s, or leave it out with its comma", networkExamples)
	}
	if strings.Contains(text, "%") {
		return netip.Prefix{}, fmt.Errorf("network %q has a zone, which means nothing on another machine: leave out the %% and what follows it", text)
	}
	n, err := prefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network: write one such as %s", text, networkExamples)
	}
	if n.Addr().Is4In6() {
		return unmapped(text, n)
	}
	return n, checkHostBits(text, n)
}

// prefix reads a network, or an address as the network of it alone.
func prefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		return netip.ParsePrefix(text)
	}
	addr, err := netip.ParseAddr(text)
	return netip.PrefixFrom(addr, addr.BitLen()), err
}

// mappedBits is how many bits stand before the IPv4 address in an IPv4-mapped one (RFC 4291, 2.5.5.2).
const mappedBits = 96

// unmapped gives the network of IPv4 that one in IPv4-mapped form means. Addresses are looked up without their mapping, so
// that as it stands it would hold nobody.
func unmapped(text string, n netip.Prefix) (netip.Prefix, error) {
	if n.Bits() < mappedBits {
		return netip.Prefix{}, fmt.Errorf("network %q is larger than all of IPv4 in IPv6 (::ffff:0.0.0.0/96): write it as IPv4, such as 10.0.0.0/8", text)
	}
	n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-mappedBits)
	return n, checkHostBits(text, n)
}

// checkHostBits refuses 10.0.0.5/8, of which nobody can tell whether 10.0.0.0/8 was meant or the one address.
func checkHostBits(text string, n netip.Prefix) error {
	if whole := n.Masked(); whole != n {
		return fmt.Errorf("network %q has bits set behind its prefix: write %s for the network, or %s for the one address", text, whole, n.Addr())
	}
	return nil
}

// Contain reports whether addr is in one of the networks. An IPv4-mapped address counts as the IPv4 address that it is,
// and a zone is not looked at. An invalid address is in none.
func (list Networks) Contain(addr netip.Addr) bool {
	addr = bare(addr)
	for _, n := range list {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// String is what ParseNetworks reads, with commas between.
func (list Networks) String() string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = n.String()
	}
	return strings.Join(texts, ",")
}

// bare is the one form in which addresses are compared: without an IPv4-mapping, and without a zone.
func bare(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }
