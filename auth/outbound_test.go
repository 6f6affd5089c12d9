package auth

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
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
	5f00::1 fc00::1 fd00:ec2::254 fdff:ffff::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 feff::1 ff00::1 ff02::1 ff0e::1 4000::1 1fff::1 2606:4700::1%eth0
`)

func TestNoSpecialAddressIsDialled(t *testing.T) {
	if len(specialAddresses) < 75 {
		t.Fatalf("only %d addresses", len(specialAddresses))
	}
	for _, text := range specialAddresses {
		if Public(netip.MustParseAddr(text)) {
			t.Errorf("%s counts as public", text)
		}
		network := "tcp6"
		if netip.MustParseAddr(text).Is4() {
			network = "tcp4"
		}
		if err := Dialer(Public).Control(network, net.JoinHostPort(text, "443"), nil); !errors.Is(err, ErrNotPublic) {
			t.Errorf("%s would be dialled: %v", text, err)
		}
	}
	for _, text := range strings.Fields(`1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 169.253.0.1 172.15.0.1
		172.32.0.1 192.0.1.1 192.167.0.1 192.169.0.1 198.17.0.1 198.20.0.1 223.255.255.255 2001:200::1 2001:4860:4860::8888 2003::1 2400::1 2606:4700::1111 2a00::1 3ffe::1`) {
		if !Public(netip.MustParseAddr(text)) {
			t.Errorf("%s counts as special", text)
		}
	}
}

func TestPrivateAddressesAreNotConfigured(t *testing.T) {
	for _, host := range specialAddresses {
		address := netip.MustParseAddr(host)
		text := "https://" + host + "/keys"
		if address.Is6() {
			text = "https://[" + strings.ReplaceAll(host, "%", "%25") + "]/keys"
		}
		loopback := address.IsLoopback() && !address.Is4In6() // which may be asked when it is written down
		if u, err := ParseOutbound(text); (err == nil) != loopback {
			t.Errorf("%s: %v, %v", text, u, err)
		}
	}
}

func TestAddressesInDisguiseAreNotConfigured(t *testing.T) {
	for _, text := range []string{
		"https://2130706433/keys", "https://0x7f000001/keys", "https://0x7f.1/keys", "https://017700000001/keys", "https://127.1/keys",
		"https://0177.0.0.1/keys", "https://127.0.0.1./keys", "https://10.0.0.1./", "https://1.2.3/", "https://foo.0x7f/", "https://①②⑦.0.0.1/", "https://%31%30.0.0.1/",
		"https://me@login.example.com/", "https://login.example.com@10.0.0.1/", "https:///keys", "https:login.example.com", "//login.example.com/keys",
		"ftp://login.example.com/", "file:///etc/passwd", "javascript:alert(1)", "data:application/json,{}", "http://login.example.com/", "unix:///run/x",
		"http://localhost.example.com/", "http://localhost./", "http://foo.localhost/", "http://[::ffff:127.0.0.1]/", "http://[::1%25lo]/", "https://login.example.com/#x", "", "keys",
	} {
		if u, err := ParseOutbound(text); err == nil {
			t.Errorf("%q may be asked: %v", text, u)
		}
	}
	for _, text := range []string{"https://login.example.com/keys?v=1", "https://login.example.com:8443/", "http://127.0.0.1:1/keys", "http://localhost/keys", "http://[::1]/", "https://8.8.8.8/keys"} {
		if _, err := ParseOutbound(text); err != nil {
			t.Error(err)
		}
	}
}

// TestANameThatLeadsInsideIsNotAsked dials a listener that stands for what a name server's answer may point at.
func TestANameThatLeadsInsideIsNotAsked(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	reached := make(chan struct{})
	go func() {
		if c, err := inside.Accept(); err == nil {
			c.Close()
			close(reached)
		}
	}()
	client := OutboundClient(&url.URL{Scheme: "https", Host: "login.example.com"})
	if _, err := client.Get("http://" + inside.Addr().String()); !errors.Is(err, ErrNotPublic) { //nolint:noctx // a test
		t.Errorf("it got %v", err)
	}
	local := OutboundClient(&url.URL{Scheme: "http", Host: "localhost"})
	if err := Dialer(netip.Addr.IsLoopback).Control("tcp", "10.0.0.1:80", nil); !errors.Is(err, ErrNotPublic) {
		t.Errorf("a service of this machine may lead to %v", err)
	}
	select {
	case <-reached:
		t.Error("the inside was reached")
	default:
	}
	if answer, err := local.Get("http://" + inside.Addr().String()); err == nil { //nolint:noctx // a test
		answer.Body.Close()
	}
	<-reached // by the one that may
}
