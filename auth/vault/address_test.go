package vault

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

// The addresses of T60: an end, a beginning or a middle of every row of the IANA special-purpose registries, and every way
// to write or carry an IPv4 address inside another.
var specialAddresses = strings.Fields(`
	0.0.0.0 0.255.255.255 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 127.1.2.3
	169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170 192.0.0.171
	192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.88.99.2 192.168.0.1 192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255
	198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.254 255.255.255.255
	:: ::1 ::2 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1
	64:ff9b::7f00:1 64:ff9b::127.0.0.1 64:ff9b::8.8.8.8 64:ff9b:1::1 64:ff9b:1:ffff::a00:1 100::1 100:0:0:1::1
	2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:1::1 2001:1::2 2001:1::3 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:20::1 2001:30::1
	2001:db8::1 2001:db8:ffff:ffff::1 2002:7f00:1::1 2002:a00:1::1 2002:808:808::1 2620:4f:8000::1 3fff::1 3fff:fff::1
	5f00::1 fc00::1 fd00:ec2::254 fdff:ffff::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 feff::1 ff00::1 ff02::1 ff0e::1 4000::1 1fff::1
`)

func TestNoSpecialAddressIsDialled(t *testing.T) {
	if len(specialAddresses) < 75 {
		t.Fatalf("only %d addresses", len(specialAddresses))
	}
	for _, text := range specialAddresses {
		if public(netip.MustParseAddr(text)) {
			t.Errorf("%s counts as public", text)
		}
		network := "tcp6"
		if netip.MustParseAddr(text).Is4() {
			network = "tcp4"
		}
		if err := dialer(public).Control(network, net.JoinHostPort(text, "443"), nil); !errors.Is(err, errAddress) {
			t.Errorf("%s would be dialled: %v", text, err)
		}
	}
	for _, text := range strings.Fields(`1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 169.253.0.1 172.15.0.1
		172.32.0.1 192.0.1.1 192.167.0.1 192.169.0.1 198.17.0.1 198.20.0.1 223.255.255.255 2001:200::1 2001:4860:4860::8888 2003::1 2400::1 2606:4700::1111 2a00::1 3ffe::1`) {
		if !public(netip.MustParseAddr(text)) {
			t.Errorf("%s counts as special", text)
		}
	}
}

// T60, T61: names and notations that lead here reach nobody, whatever they look like. The listener is what they would reach.
func TestNoNotationReachesThisMachine(t *testing.T) {
	var reached atomic.Int64
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listen.Close()
	go func() {
		for {
			c, err := listen.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(listen.Addr().String())
	client := newClient(public)
	for _, host := range []string{
		"127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001",
		"127.0.0.01", "0", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::127.0.0.1]",
		"[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127.0.0.1.", "①②⑦.⓪.⓪.①", "user@127.0.0.1",
	} {
		for _, scheme := range []string{"http", "https"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, scheme+"://"+host+":"+port+"/token", nil)
			if err != nil {
				continue // not even an address
			}
			if answer, err := client.Do(r); err == nil {
				answer.Body.Close()
				t.Errorf("%s answered %d", host, answer.StatusCode)
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("this machine was reached %d times", n)
	}
}

func TestAProviderOnLoopbackReachesNothingElse(t *testing.T) {
	allow := Provider{AllowPrivate: true}.allowed()
	for _, text := range specialAddresses {
		a := netip.MustParseAddr(text)
		if allow(a) != a.IsLoopback() {
			t.Errorf("%s: %v", text, allow(a))
		}
	}
	if allow(netip.MustParseAddr("8.8.8.8")) {
		t.Error("allow_private opens the world")
	}
}

// T63: the environment's proxy would be told the tokens and dial for us. (Go reads the environment once a process, so a proxy
// that is set here would not be seen.)
func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	if newClient(public).Transport.(bounded).next.(*http.Transport).Proxy != nil {
		t.Error("there is a proxy")
	}
}
