package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNetworksAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{ // an error begins with "!"
		"10.0.0.0/8":            "10.0.0.0/8",
		" 10.0.0.0/8\t":         "10.0.0.0/8",
		"192.0.2.7":             "192.0.2.7/32",
		"192.0.2.7/32":          "192.0.2.7/32",
		"0.0.0.0/0":             "0.0.0.0/0",
		"::/0":                  "::/0",
		"2001:DB8::/32":         "2001:db8::/32",
		"2001:db8::7":           "2001:db8::7/128",
		"::ffff:10.0.0.0/104":   "10.0.0.0/8",
		"::ffff:a00:0/104":      "10.0.0.0/8",
		"::ffff:192.0.2.7":      "192.0.2.7/32",
		"::ffff:0.0.0.0/96":     "0.0.0.0/0",
		"::ffff:0.0.0.0/95":     "!write it as IPv4",
		"::ffff:10.0.0.0/8":     "!write it as IPv4",
		"::ffff:10.0.0.1/104":   "!write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address",
		"10.0.0.5/8":            "!write 10.0.0.0/8 for the network, or 10.0.0.5 for the one address",
		"2001:db8::1/32":        "!write 2001:db8::/32 for the network, or 2001:db8::1 for the one address",
		"1.0.0.0/0":             "!write 0.0.0.0/0 for the network",
		"":                      "!is empty",
		" ":                     "!is empty",
		"fe80::/10%eth0":        "!has a zone",
		"fe80::1%eth0":          "!has a zone",
		"fe80::%eth0/10":        "!has a zone",
		"10.0.0.0/33":           "!is not a network",
		"10.0.0.0/-1":           "!is not a network",
		"10.0.0.0/+8":           "!is not a network",
		"10.0.0.0/08":           "!is not a network",
		"10.0.0.0/":             "!is not a network",
		"10.0.0.0/8/8":          "!is not a network",
		"10.0.0.0/255.0.0.0":    "!is not a network",
		"10.0.0/8":              "!is not a network",
		"10/8":                  "!is not a network",
		"010.0.0.0/8":           "!is not a network",
		"0x0a.0.0.0/8":          "!is not a network",
		"167772160":             "!is not a network",
		"10.0.0.0-10.0.0.9":     "!is not a network",
		"10.0.0.*":              "!is not a network",
		"10.0.0.0 /8":           "!is not a network",
		"10.0.0.0/8,11.0.0.0/8": "!is not a network",
		"[::1]":                 "!is not a network",
		"::/129":                "!is not a network",
		"1::2::3":               "!is not a network",
		"localhost":             "!is not a network",
		"all":                   "!is not a network",
		"*":                     "!is not a network",
	} {
		got, err := ParseNetworks([]string{"192.0.2.0/24", text})
		if problem, wrong := strings.CutPrefix(want, "!"); wrong {
			if got != nil || err == nil || !strings.Contains(err.Error(), problem) {
				t.Errorf("%q: %v, %v; want %s", text, got, err, problem)
			}
		} else if err != nil || got.String() != "192.0.2.0/24,"+want {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
	if _, err := ParseNetworks(slices.Repeat([]string{"::1"}, maxNetworks+1)); err == nil {
		t.Error("a list has no limit")
	}
}

func TestNetworksAsJSON(t *testing.T) {
	want, err := ParseNetworks([]string{"10.0.0.0/8", "::ffff:192.0.2.7", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(want)
	if err != nil || string(raw) != `["10.0.0.0/8","192.0.2.7/32","2001:db8::/32"]` {
		t.Fatalf("%s, %v", raw, err)
	}
	var got Networks
	if err := json.Unmarshal(raw, &got); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAnEmptyListHoldsNobodyAndNoListHoldsAnInvalidAddress(t *testing.T) {
	everybody := Networks{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for _, a := range []string{"127.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1%eth0", "192.0.2.1"} {
		addr := netip.MustParseAddr(a)
		if Networks(nil).Contain(addr) || (Networks{}).Contain(addr) || (Networks{{}}).Contain(addr) {
			t.Errorf("%s is in an empty list", a)
		}
		if !everybody.Contain(addr) {
			t.Errorf("%s is not in %s", a, everybody)
		}
	}
	if everybody.Contain(netip.Addr{}) {
		t.Error("an invalid address is in a network")
	}
	if v6 := everybody[1:]; v6.Contain(netip.MustParseAddr("::ffff:10.0.0.1")) {
		t.Errorf("an IPv4 address is in %s", v6)
	}
}

// casesPerCheck is how many cases each check of rapid looks at: 100 checks by default, -rapid.checks=25000 for a million.
const casesPerCheck = 40

// TestNetworksAgreeWithANaiveSecondImplementation is about what is a network, and who is in it.
func TestNetworksAgreeWithANaiveSecondImplementation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for range casesPerCheck {
			agreeOnNetworks(t, drawNetwork.Draw(t, "network"), drawAddress.Draw(t, "address"))
		}
	})
}

// agreeOnNetworks holds ParseNetworks and Contain to the naive implementation.
func agreeOnNetworks(t failer, network, address string) {
	t.Helper()
	got, err := ParseNetworks([]string{network})
	want, ok := naiveParseNetwork(network)
	if (err == nil) != ok {
		t.Fatalf("network %q: %v, %v; naively %v", network, got, err, ok)
	}
	addr, err := netip.ParseAddr(address)
	if !ok || err != nil {
		return
	}
	if again, err := ParseNetworks(strings.Split(got.String(), ",")); err != nil || !slices.Equal(again, got) {
		t.Fatalf("network %q is written as %s and read as %v, %v", network, got, again, err)
	}
	if in := want.holds(addr.As16()); got.Contain(addr) != in {
		t.Fatalf("%s in %s: naively %v", addr, got, in)
	}
}

// failer is what tests, properties and fuzz tests have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

var trustedProxies = []string{"10.0.0.0/8", "fd00::/8", "fe80::/10"}

// TestClientsAgreeWithANaiveSecondImplementation is about who a header says the client is.
func TestClientsAgreeWithANaiveSecondImplementation(t *testing.T) {
	told := 0
	rapid.Check(t, func(t *rapid.T) {
		for range casesPerCheck {
			header := rapid.SampledFrom([]string{XForwardedFor, Forwarded}).Draw(t, "header")
			peer := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.1", "fd00::1", "::ffff:10.0.0.1", "fe80::1%eth0", "203.0.113.9", "2001:db8::9"}).Draw(t, "peer")
			if agreeOnClient(t, header, peer, drawLines(header).Draw(t, "lines")) {
				told++
			}
		}
	})
	t.Logf("the header told a client %d times", told)
}

// agreeOnClient holds Proxies.Client to the naive implementation, and reports whether there is a client other than the peer.
func agreeOnClient(t failer, header, peer string, lines []string) bool {
	t.Helper()
	trusted, err := ParseNetworks(trustedProxies)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var naive []naiveNetwork
	for _, text := range trustedProxies {
		n, _ := naiveParseNetwork(text)
		naive = append(naive, n)
	}
	from := netip.MustParseAddr(peer)
	got, err := Proxies{Trusted: trusted, Header: header}.Client(from, lines)
	want, ok := naiveClient(naive, header, from.As16(), lines)
	if (err == nil) != ok || err != nil && !errors.Is(err, ErrNoClient) || ok && got != want.netip() {
		t.Fatalf("%s %q from %s: %v, %v; naively %v, %v", header, lines, peer, got, err, want.netip(), ok)
	}
	return ok && got != bare(from)
}

// addressTexts are addresses at the edges of the networks of the tests, in every form there is, and texts that are none.
var addressTexts = []string{
	"10.0.0.1", "10.0.0.1", "10.0.0.2", "10.255.255.255", "fd00::1", "fd00::1", "::ffff:10.1.2.3", "::FFFF:a01:203", "fe80::1%eth0", "fe80::1",
	"9.255.255.255", "11.0.0.0", "203.0.113.9", "198.51.100.7", "0.0.0.0", "255.255.255.255", "127.0.0.1", "::1", "::", "2001:db8::5",
	"2001:db8:0:0:0:0:0:5", "2001:DB8::192.0.2.33", "::ffff:203.0.113.9", "::203.0.113.9", "64:ff9b::cb00:7109", "fec0::1", "fe80::1%25eth0",
	"010.0.0.1", "10.0.0", "10.0.0.256", "10.0.0.1.", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8", "12345::", "::1::", ":::", "fe80::1%", "fe80::1%a%b", "g::1",
	"unknown", "_hidden", "_SEVKISEK", "localhost", "0x0a000001", "167772161", "٣.0.0.1", "null", "-", "",
}

var drawAddress = rapid.Custom(func(t *rapid.T) string {
	if rapid.IntRange(0, 2).Draw(t, "kind") == 0 {
		return rapid.SampledFrom(addressTexts).Draw(t, "text")
	}
	b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 10, 127, 128, 192, 253, 254, 255}), 16, 16).Draw(t, "bytes")
	switch rapid.IntRange(0, 2).Draw(t, "family") {
	case 0:
		return netip.AddrFrom4([4]byte(b[:4])).String()
	case 1:
		return "::ffff:" + netip.AddrFrom4([4]byte(b[:4])).String()
	}
	return netip.AddrFrom16([16]byte(b)).String()
})

var drawNetwork = rapid.Custom(func(t *rapid.T) string {
	text := drawAddress.Draw(t, "address")
	bits := rapid.IntRange(0, 130).Draw(t, "bits")
	switch rapid.IntRange(0, 5).Draw(t, "form") {
	case 0:
		return text
	case 1:
		return fmt.Sprintf("%s/%d", text, bits)
	case 2:
		return garbled(t, fmt.Sprintf("%s/%d", text, bits))
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return text
	}
	whole, err := addr.WithZone("").Prefix(bits % (addr.BitLen() + 1))
	if err != nil {
		return text
	}
	return whole.String()
})

var trustedHops = map[string]string{XForwardedFor: "10.0.0.2", Forwarded: "for=10.0.0.2"}

// drawLines gives the lines of a header: hops as proxies write them, as they should not, and with a character changed.
func drawLines(header string) *rapid.Generator[[]string] {
	return rapid.Custom(func(t *rapid.T) []string {
		hops := rapid.SliceOfN(drawHop(header), 0, 5).Draw(t, "hops")
		switch rapid.IntRange(0, 100).Draw(t, "limit") {
		case 0:
			hops = append(hops, slices.Repeat([]string{trustedHops[header]}, rapid.IntRange(maxHops-3, maxHops+1).Draw(t, "times"))...)
		case 1:
			hops = append(hops, strings.Repeat(" ", rapid.IntRange(maxForwarding-80, maxForwarding).Draw(t, "blanks"))+trustedHops[header])
		}
		if len(hops) == 0 {
			return nil
		}
		text := hops[0]
		for _, hop := range hops[1:] {
			text += rapid.SampledFrom([]string{",", ", ", ", ", "\t,\t", "\n"}).Draw(t, "between") + hop
		}
		if rapid.IntRange(0, 2).Draw(t, "garble") == 0 {
			text = garbled(t, text)
		}
		return strings.Split(text, "\n")
	})
}

func drawHop(header string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		addr := drawAddress.Draw(t, "address")
		form := rapid.SampledFrom([]string{"%s", "%s", "%s:4711", "[%s]", "[%s]:4711", "%s:_port", "[%s]:99999", `"%s"`}).Draw(t, "form")
		node := fmt.Sprintf(form, addr)
		if header == XForwardedFor {
			return node
		}
		return fmt.Sprintf(rapid.SampledFrom([]string{
			"for=%s", `for="%s"`, `for="%s"`, `For="%s";proto=https`, `by=10.0.0.9;for="%s"`, `host="a, b";for="%s"`, `for="%s";host="x\", for=1.2.3.4"`,
			`for="%s"; by="\\"`, `proto=http;;for="%s";`, `host="%s"`, `for="%s";for=10.0.0.2`, `for = "%s"`, `for="\%s"`, `for="%s`, `"for=%s"`,
		}).Draw(t, "element"), node)
	})
}

// garbled changes a character of text, or adds or takes one away.
func garbled(t *rapid.T, text string) string {
	at := rapid.IntRange(0, len(text)).Draw(t, "at")
	by := rapid.SampledFrom([]string{"", `"`, `\`, `\"`, ",", ";", "=", ":", "%", "[", "]", ".", "/", " ", "\t", "\n", "0", "1", "f", "\x00", "\x7f", "é", "\xff"}).Draw(t, "by")
	return text[:at] + by + text[min(len(text), at+rapid.IntRange(0, 1).Draw(t, "away")):]
}

// Every request asks who the client is, so asking leaves no garbage.
func TestTheClientIsToldWithoutAllocating(t *testing.T) {
	trusted := Networks{netip.MustParsePrefix("10.0.0.0/8")}
	peer := netip.MustParseAddr("::ffff:10.0.0.1")
	for header, line := range map[string]string{
		XForwardedFor: "unknown, 2001:db8::5, 10.0.0.2",
		Forwarded:     `for=unknown, for="[2001:db8::5]:4711";proto=https;host="a, b", for=10.0.0.2`,
	} {
		lines, p := []string{line}, Proxies{Trusted: trusted, Header: header}
		client := netip.Addr{}
		n := testing.AllocsPerRun(100, func() { client, _ = p.Client(peer, lines) })
		if client.String() != "2001:db8::5" || n > 0 {
			t.Errorf("%s: %s with %v allocations", header, client, n)
		}
	}
}
