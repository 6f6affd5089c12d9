package vault

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"syscall"
)

// special are the networks where no provider lives: every row of the IANA IPv4 and IPv6 Special-Purpose Address Registries
// (RFC 6890 and its updates, read in 2026), reachable or not, with multicast (RFC 5771, RFC 4291), IPv4's reserved end and
// deprecated site-local addresses (RFC 3879). Ranges that carry an IPv4 address inside are among them, whatever that address
// is: mapped, 6to4, NAT64, Teredo.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
)

// global6 is what IANA has assigned as global unicast; all of IPv6 outside it is special.
var global6 = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		all[i] = netip.MustParsePrefix(t)
	}
	return all
}

// public reports whether an address may be a provider's.
func public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || a.Is4In6() || (a.Is6() && !global6.Contains(a)) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// errAddress says that a provider's name led to an address that is not asked.
var errAddress = errors.New("the provider's address is not a public one")

// dialer connects to addresses that allow accepts. It looks at the very address that is dialled, after the name was looked
// up, so that no answer of a name server and no notation gets around it.
func dialer(allow func(netip.Addr) bool) *net.Dialer {
	return &net.Dialer{
		Timeout: dialTime,
		Control: func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !allow(at.Addr()) {
				return errAddress
			}
			return nil
		},
	}
}

// loopback gives the address when u's host is one of this machine, written as an address: a name could mean anything
// tomorrow.
func loopback(u *url.URL) (netip.Addr, bool) {
	a, err := netip.ParseAddr(u.Hostname())
	return a, err == nil && a.Zone() == "" && a.IsLoopback() && !a.Is4In6()
}

func isLoopback(u *url.URL) bool {
	_, ok := loopback(u)
	return ok
}
