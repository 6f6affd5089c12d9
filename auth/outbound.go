package auth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// special are the networks where nobody lives whom we ask: every row of the IANA IPv4 and IPv6 Special-Purpose Address
// Registries (RFC 6890 and its updates, read in 2026), reachable or not, with multicast (RFC 5771, RFC 4291) and IPv4's
// reserved end. IPv6 ranges that carry an IPv4 address inside (6to4, Teredo) are among them, whatever that address is.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
)

// global6 is what IANA has assigned as global unicast. All of IPv6 outside it is special: mapped and NAT64 addresses,
// unique local, link-local and site-local ones (RFC 3879), multicast.
var global6 = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		all[i] = netip.MustParsePrefix(t)
	}
	return all
}

// Public reports whether an address may be that of a service out in the world.
func Public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || a.Is6() && !global6.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// ErrNotPublic says that a name led to an address that is not asked.
var ErrNotPublic = errors.New("the address is not a public one")

// ParseOutbound checks the address of a service that we are to ask: https, or http on this machine; no user, and no
// fragment; no host that is a private address, nor one that some resolvers take for an address (127.1, 0x7f000001).
func ParseOutbound(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Opaque != "" || u.User != nil || strings.Contains(text, "#") {
		return nil, errors.New("it must be an address such as https://login.example.com/keys, without a user and without #") // and not quoted: it may hold a password
	}
	local := isLoopback(u)
	switch ip, err := netip.ParseAddr(u.Hostname()); {
	case u.Scheme != "https" && (u.Scheme != "http" || !local):
		return nil, fmt.Errorf("%q must be https", text)
	case err == nil && !local && !Public(ip):
		return nil, fmt.Errorf("%q is not a public address", text)
	case err != nil && endsInNumber(u.Hostname()):
		return nil, fmt.Errorf("%q has a host that is neither a name nor an address in its usual form", text)
	}
	return u, nil
}

// isLoopback reports whether the host of u is this machine, by the one name that says so or by address.
func isLoopback(u *url.URL) bool { return u.Hostname() == "localhost" || HasLoopback(u) }

// HasLoopback reports whether the host of u is this machine by address: a name could mean anything tomorrow.
func HasLoopback(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.Zone() == "" && !ip.Is4In6() && ip.IsLoopback()
}

// endsInNumber reports whether a host's last label is a number, which the URL Standard (5.1) takes for an IPv4 address.
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	hex, isHex := strings.CutPrefix(strings.ToLower(last), "0x")
	return strings.Trim(last, "0123456789") == "" || isHex && strings.Trim(hex, "0123456789abcdef") == ""
}

// Limits of one question to a service outside.
const (
	outboundTime    = 5 * time.Second // for all of it
	outboundHeaders = 64 << 10        // bytes
)

// OutboundClient asks the service at u, and only where it may be: at a public address, or on this machine when u itself
// says so. Redirects are not followed, proxies of the environment not used.
func OutboundClient(u *url.URL) *http.Client {
	allow := Public
	if isLoopback(u) {
		allow = netip.Addr.IsLoopback
	}
	return &http.Client{
		Timeout:       outboundTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: Dialer(allow).DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: outboundHeaders, ForceAttemptHTTP2: true,
		},
	}
}

// Dialer connects to addresses that allow accepts. It looks at the very address that is dialled, after the name was looked
// up, so that no answer of a name server and no notation gets around it.
func Dialer(allow func(netip.Addr) bool) *net.Dialer {
	return &net.Dialer{
		Timeout: outboundTime,
		Control: func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !allow(at.Addr()) {
				return ErrNotPublic
			}
			return nil
		},
	}
}
