package vault

import (
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
)

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
	client := newClient(auth.Public)
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
	for _, text := range []string{"127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "::", "fd00:ec2::254", "fe80::1"} {
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
	if newClient(auth.Public).Transport.(bounded).next.(*http.Transport).Proxy != nil {
		t.Error("there is a proxy")
	}
}
