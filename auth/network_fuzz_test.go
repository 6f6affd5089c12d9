package auth

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzForwarded holds the reading of both headers to the naive implementation, and holds that nothing the client wrote on the left
// changes whom the proxies name. Lines are separated by newlines, which no header can hold.
func FuzzForwarded(f *testing.F) {
	for _, lines := range []string{
		"203.0.113.9, 10.0.0.2", "[2001:db8::5]:4711\n10.0.0.2,fe80::1%eth0", "unknown, ::ffff:10.0.0.2", ",", "10.0.0.2,",
		`for=203.0.113.9;proto=https, For="[fd00::2]:_p"`, `for="_hidden", for=10.0.0.2`, `for=";host="a, for=1.2.3.4`, `host="\", for=1.2.3.4";for="10.0.0.2"; by=unknown`,
	} {
		for _, claim := range []string{"10.0.0.2,", "198.51.100.7, ", "for=198.51.100.7,", `for="[::1]`, `for="\`, "198.51.100.7\n", ""} {
			f.Add(lines, claim, false)
			f.Add(lines, claim, true)
		}
	}
	f.Fuzz(func(t *testing.T, lines, claim string, standard bool) {
		header := XForwardedFor
		if standard {
			header = Forwarded
		}
		const proxy = "10.0.0.1"
		if !agreeOnClient(t, header, proxy, strings.Split(lines, "\n")) {
			return
		}
		agreeOnClient(t, header, "203.0.113.1", strings.Split(lines, "\n")) // who is no proxy is the client
		vouchedFor(t, header, proxy, lines, claim)
	})
}

// vouchedFor holds that the client that the lines name is the same whatever the client itself had sent: proxies add to the right of it,
// after a comma or as another line.
func vouchedFor(t *testing.T, header, proxy, lines, claim string) {
	t.Helper()
	trusted, err := ParseNetworks(trustedProxies)
	if err != nil {
		t.Fatal(err)
	}
	p, peer := Proxies{Trusted: trusted, Header: header}, netip.MustParseAddr(proxy)
	want, err := p.Client(peer, strings.Split(lines, "\n"))
	if err != nil || trusted.Contain(want) {
		return // all are proxies: whatever stands further left is the client's
	}
	for _, joint := range []string{",", "\n"} {
		said := strings.Split(claim+joint+lines, "\n")
		if got, err := p.Client(peer, said); length(said) <= maxForwarding && (err != nil || got != want) {
			t.Fatalf("%q names %v, and after %q of the client's own %v, %v", lines, want, claim, got, err)
		}
	}
}

// FuzzNetworks holds the reading of networks, and who is in them, to the naive implementation.
func FuzzNetworks(f *testing.F) {
	for _, network := range []string{"10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::ffff:10.0.0.0/104", "::/0", "10.0.0.5/8", "fe80::1%eth0", " ::192.0.2.0/124"} {
		f.Add(network, "10.0.0.5")
		f.Add(network, "::ffff:10.0.0.5")
		f.Add(network, "2001:db8::5")
	}
	f.Fuzz(func(t *testing.T, network, address string) { agreeOnNetworks(t, network, address) })
}
