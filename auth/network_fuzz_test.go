package auth

import (
	"strings"
	"testing"
)

// FuzzForwarded holds the reading of both headers to the naive implementation. Lines are separated by newlines, which no
// header can hold.
func FuzzForwarded(f *testing.F) {
	for _, lines := range []string{
		"203.0.113.9, 10.0.0.2", "[2001:db8::5]:4711\n10.0.0.2,fe80::1%eth0", "unknown, ::ffff:10.0.0.2", ",", "10.0.0.2,",
		`for=203.0.113.9;proto=https, For="[fd00::2]:_p"`, `for="_hidden", for=10.0.0.2`, `for=";host="a, for=1.2.3.4`, `host="\", for=1.2.3.4";for="10.0.0.2"; by=unknown`,
	} {
		f.Add(lines, false)
		f.Add(lines, true)
	}
	f.Fuzz(func(t *testing.T, lines string, standard bool) {
		header := XForwardedFor
		if standard {
			header = Forwarded
		}
		agreeOnClient(t, header, "10.0.0.1", strings.Split(lines, "\n"))
	})
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
