package server

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

func networks(t *testing.T, texts ...string) auth.Networks {
	t.Helper()
	n, err := auth.ParseNetworks(texts)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// reachable sets who may reach the rig's server.
func (g *rig) reachable(n Networks) {
	g.Helper()
	proxies, err := n.forwarding()
	g.must(err)
	g.server.networks, g.server.proxies = n, proxies
}

// from is a request from an address, with headers as "Name: value".
func from(peer, method, path string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = net.JoinHostPort(peer, "4711")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// ask serves a request and gives the code of its refusal.
func (g *rig) ask(r *http.Request) (*httptest.ResponseRecorder, tools.Code) {
	g.Helper()
	w := httptest.NewRecorder()
	g.server.ServeHTTP(w, r)
	var refusal tools.Refusal
	_ = json.Unmarshal(w.Body.Bytes(), &refusal)
	return w, refusal.Code
}

const (
	xff = auth.XForwardedFor
	std = auth.Forwarded
)

// spoofs are requests that claim to come from somewhere. Agents are 192.0.2.0/24 and 2001:db8:a::/48, proxies 10.0.0.0/8 and
// fd00::/8. want is who the client is; "?" is a trusted proxy that does not tell.
var spoofs = []struct {
	peer, reads string
	headers     []string
	want        string
}{
	// An untrusted peer is itself, whatever it says.
	{"192.0.2.1", xff, nil, "192.0.2.1"},
	{"203.0.113.9", xff, nil, "203.0.113.9"},
	{"203.0.113.9", xff, []string{"X-Forwarded-For: 192.0.2.1"}, "203.0.113.9"},
	{"203.0.113.9", xff, []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.1"}, "203.0.113.9"},
	{"203.0.113.9", xff, []string{"X-Forwarded-For: 127.0.0.1"}, "203.0.113.9"},
	{"203.0.113.9", xff, []string{"X-Forwarded-For: 10.0.0.1, 192.0.2.1"}, "203.0.113.9"},
	{"203.0.113.9", xff, []string{"Forwarded: for=192.0.2.1"}, "203.0.113.9"},
	{"203.0.113.9", std, []string{"Forwarded: for=192.0.2.1"}, "203.0.113.9"},
	{"203.0.113.9", std, []string{"X-Forwarded-For: 192.0.2.1"}, "203.0.113.9"},
	{"203.0.113.9", xff, []string{"X-Real-IP: 192.0.2.1", "True-Client-IP: 192.0.2.1", "CF-Connecting-IP: 192.0.2.1", "X-Client-IP: 192.0.2.1"}, "203.0.113.9"},
	{"203.0.113.9", xff, []string{"X-Cluster-Client-IP: 192.0.2.1", "Fastly-Client-IP: 192.0.2.1", "X-Forwarded: for=192.0.2.1", "Via: 1.1 192.0.2.1"}, "203.0.113.9"},
	{"203.0.113.9", xff, []string{"X-Forwarded-For: garbage"}, "203.0.113.9"},
	{"192.0.2.1", xff, []string{"X-Forwarded-For: garbage"}, "192.0.2.1"},
	{"192.0.2.1", xff, []string{"X-Forwarded-For: 203.0.113.9"}, "192.0.2.1"},
	{"2001:db8:b::1", xff, []string{"X-Forwarded-For: 2001:db8:a::1"}, "2001:db8:b::1"},
	{"2001:db8:a::1", xff, nil, "2001:db8:a::1"},
	{"::ffff:192.0.2.1", xff, nil, "192.0.2.1"},
	{"::ffff:203.0.113.9", xff, []string{"X-Forwarded-For: 192.0.2.1"}, "203.0.113.9"},
	{"::192.0.2.1", xff, nil, "::c000:201"},
	{"64:ff9b::c000:201", xff, nil, "64:ff9b::c000:201"},
	{"fe80::1%eth0", xff, []string{"X-Forwarded-For: 192.0.2.1"}, "fe80::1"},
	{"11.0.0.0", xff, []string{"X-Forwarded-For: 192.0.2.1"}, "11.0.0.0"},
	{"9.255.255.255", xff, []string{"X-Forwarded-For: 192.0.2.1"}, "9.255.255.255"},

	// A trusted proxy names the client, and the first from the right that is no proxy is it.
	{"10.0.0.1", xff, nil, "10.0.0.1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1"}, "192.0.2.1"},
	{"::ffff:10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1"}, "192.0.2.1"},
	{"fd00::1", xff, []string{"X-Forwarded-For: 2001:db8:a::1"}, "2001:db8:a::1"},
	{"fd00::1%eth0", xff, []string{"X-Forwarded-For: 2001:db8:a::1"}, "2001:db8:a::1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1, 203.0.113.9"}, "203.0.113.9"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 203.0.113.9, 192.0.2.1"}, "192.0.2.1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1, 203.0.113.9, 10.0.0.2, fd00::2, ::ffff:10.9.9.9"}, "203.0.113.9"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.0.0.2"}, "192.0.2.1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1:4711"}, "192.0.2.1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: [2001:db8:a::1]:4711"}, "2001:db8:a::1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: [2001:db8:a::1]"}, "2001:db8:a::1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: ::ffff:192.0.2.1"}, "192.0.2.1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: [::ffff:192.0.2.1]:80"}, "192.0.2.1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: fe80::1%eth0"}, "fe80::1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 127.0.0.1"}, "127.0.0.1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: \t192.0.2.1\t,\t10.0.0.2 "}, "192.0.2.1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: garbage, 192.0.2.1"}, "192.0.2.1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1, garbage"}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1, garbage, 10.0.0.2"}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1,"}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1,,10.0.0.2"}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: "}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: unknown"}, "?"},
	{"10.0.0.1", xff, []string{`X-Forwarded-For: "192.0.2.1"`}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1:"}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1:99999"}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.001"}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1 192.0.2.2"}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1/24"}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 3221225985"}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: for=192.0.2.1"}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1" + strings.Repeat(", 10.0.0.2", 31)}, "192.0.2.1"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: 192.0.2.1" + strings.Repeat(", 10.0.0.2", 32)}, "?"},
	{"10.0.0.1", xff, []string{"X-Forwarded-For: " + strings.Repeat(" ", 9000) + "192.0.2.1"}, "?"},

	// The header that is not configured is the client's own, passed through.
	{"10.0.0.1", xff, []string{"Forwarded: for=192.0.2.1", "X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
	{"10.0.0.1", std, []string{"Forwarded: for=203.0.113.9", "X-Forwarded-For: 192.0.2.1"}, "203.0.113.9"},
	{"10.0.0.1", std, []string{"X-Forwarded-For: 192.0.2.1"}, "10.0.0.1"},
	{"10.0.0.1", xff, []string{"Forwarded: for=192.0.2.1"}, "10.0.0.1"},
	{"10.0.0.1", xff, []string{"X-Real-IP: 192.0.2.1"}, "10.0.0.1"},

	// RFC 7239.
	{"10.0.0.1", std, []string{"Forwarded: for=192.0.2.1"}, "192.0.2.1"},
	{"10.0.0.1", std, []string{"forwarded: FOR=192.0.2.1;proto=https;by=10.0.0.1"}, "192.0.2.1"},
	{"10.0.0.1", std, []string{`Forwarded: for="192.0.2.1:4711"`}, "192.0.2.1"},
	{"10.0.0.1", std, []string{`Forwarded: for="[2001:db8:a::1]:4711"; proto=https`}, "2001:db8:a::1"},
	{"10.0.0.1", std, []string{`Forwarded: for="[2001:db8:a::1]:_port"`}, "2001:db8:a::1"},
	{"10.0.0.1", std, []string{`Forwarded: for="[::ffff:192.0.2.1]"`}, "192.0.2.1"},
	{"10.0.0.1", std, []string{"Forwarded: for=192.0.2.1, for=203.0.113.9;by=10.0.0.2, for=10.0.0.2"}, "203.0.113.9"},
	{"10.0.0.1", std, []string{"Forwarded: for=192.0.2.1", "Forwarded: for=203.0.113.9, for=10.0.0.2"}, "203.0.113.9"},
	{"10.0.0.1", std, []string{`Forwarded: for=203.0.113.9;host="x, for=192.0.2.1"`}, "203.0.113.9"},
	{"10.0.0.1", std, []string{`Forwarded: for=203.0.113.9;host="x\", for=192.0.2.1"`}, "203.0.113.9"},
	{"10.0.0.1", std, []string{`Forwarded: for=", for=203.0.113.9`}, "203.0.113.9"},
	{"10.0.0.1", std, []string{`Forwarded: for="192.0.2.1`, "Forwarded: for=203.0.113.9"}, "203.0.113.9"},
	{"10.0.0.1", std, []string{`Forwarded: for="_hidden", for=192.0.2.1`}, "192.0.2.1"},
	{"10.0.0.1", std, []string{"Forwarded: for=192.0.2.1, for=_hidden"}, "?"},
	{"10.0.0.1", std, []string{"Forwarded: for=192.0.2.1, for=unknown"}, "?"},
	{"10.0.0.1", std, []string{"Forwarded: for=192.0.2.1, proto=https"}, "?"},
	{"10.0.0.1", std, []string{"Forwarded: for=203.0.113.9;for=192.0.2.1"}, "?"},
	{"10.0.0.1", std, []string{"Forwarded: for=192.0.2.1:4711"}, "?"},
	{"10.0.0.1", std, []string{"Forwarded: for=[2001:db8:a::1]"}, "?"},
	{"10.0.0.1", std, []string{`Forwarded: for="2001:db8:a::1"`}, "?"},
	{"10.0.0.1", std, []string{`Forwarded: for="[192.0.2.1]"`}, "?"},
	{"10.0.0.1", std, []string{`Forwarded: for="\192.0.2.1"`}, "?"},
	{"10.0.0.1", std, []string{`Forwarded: for="192.0.2.1`}, "?"},
	{"10.0.0.1", std, []string{"Forwarded: for = 192.0.2.1"}, "?"},
	{"10.0.0.1", std, []string{"Forwarded: 192.0.2.1"}, "?"},
	{"10.0.0.1", std, []string{"Forwarded: "}, "?"},
}

// TestOnlyTrustedProxiesSayWhoTheClientIs is about claims to come from where agents may call.
func TestOnlyTrustedProxiesSayWhoTheClientIs(t *testing.T) {
	g := newSQLiteRig(t)
	n := Networks{Agents: networks(t, "192.0.2.0/24", "2001:db8:a::/48"), Proxies: networks(t, "10.0.0.0/8", "fd00::/8")}
	for _, c := range spoofs {
		n.Header = c.reads
		g.reachable(n)
		v, want := &visit{}, c.want
		allowed := strings.HasPrefix(want, "192.0.2.") || strings.HasPrefix(want, "2001:db8:a:")
		if want == "?" {
			want = c.peer
		}
		err := g.server.admit(from(c.peer, "GET", "/mcp", c.headers...), v)
		if (err == nil) != allowed || v.source != want {
			t.Errorf("%s with %q reading %s: %s, %v; want %s", c.peer, c.headers, c.reads, v.source, err, c.want)
		}
		w, code := g.ask(from(c.peer, "GET", tools.BasePath+"/notes", c.headers...))
		if allowed && code != tools.Unauthorized || !allowed && (code != tools.ForbiddenNetwork || w.Code != 403) {
			t.Errorf("%s with %q reading %s is answered %d %s", c.peer, c.headers, c.reads, w.Code, w.Body)
		}
	}
	if len(spoofs) < 60 {
		t.Errorf("%d rows", len(spoofs))
	}
}

var wildcard = regexp.MustCompile(`\{[^}]*\}`)

// reach is whose networks a path is served to: those of agents, admins, and this machine.
func reach(path string) (agents, admins, here bool) {
	switch {
	case path == "/healthz" || path == "/readyz":
		return true, true, true
	case strings.HasPrefix(path, "/api/v1/admin/"), path == metricsPath, strings.HasPrefix(path, metricsPath+"/"):
		return false, true, false
	case strings.HasPrefix(path, tools.BasePath+"/approvals"), strings.HasPrefix(path, tools.BasePath+"/exports/"):
		return true, true, false
	case strings.HasPrefix(path, "/mcp"), strings.HasPrefix(path, "/api/v1/agent/"):
		return true, false, false
	}
	return true, true, false
}

// TestEveryRouteIsBehindTheNetworks asks every route there is, and some that are none, from every kind of address.
func TestEveryRouteIsBehindTheNetworks(t *testing.T) {
	g := newSQLiteRig(t)
	g.server.handle("GET /api/v1/admin/test", func(w http.ResponseWriter, _ *http.Request) { g.server.write(w, 200, "", []byte(`{}`)) })
	routes := append([]string{
		"GET /", "GET /nowhere", "TRACE /mcp", "OPTIONS /mcp", "GET /mcp/sse", "GET /metrics", "GET /metrics/x", "GET /.well-known/oauth-protected-resource",
		"GET /api/v1/admin/../agent/v1/notes", "GET /mcp/../api/v1/admin/test", "GET /api/v1/%61dmin/test", "GET //api/v1/admin/test", "PUT /api/v1/agent/v1/notes",
	}, g.server.routes...)
	full := Networks{Agents: networks(t, "192.0.2.0/24"), Admins: networks(t, "198.51.100.0/24")}
	for _, n := range []Networks{full, {}, {Proxies: networks(t, "10.0.0.0/8")}} {
		g.reachable(n)
		for _, route := range routes {
			method, path, _ := strings.Cut(wildcard.ReplaceAllString(route, "x"), " ")
			r := from("", method, path)
			agents, admins, here := reach(r.URL.Path)
			for peer, open := range map[string]bool{
				"192.0.2.1": agents && n.Agents != nil, "198.51.100.1": admins && n.Admins != nil, "127.0.0.1": here, "203.0.113.9": false,
				"2001:db8::1": false, "10.0.0.1": false, "not an address": false,
			} {
				r.RemoteAddr = net.JoinHostPort(peer, "4711")
				if _, code := g.ask(r); (code != tools.ForbiddenNetwork) != open {
					t.Errorf("%s from %s: %q; want it open: %v", route, peer, code, open)
				}
			}
		}
	}
}

// An unclean path is no way from one surface to another.
func TestNoPathReachesTheAdminAPIFromAgentsNetworks(t *testing.T) {
	g := newSQLiteRig(t)
	g.reachable(Networks{Agents: networks(t, "192.0.2.0/24")})
	g.server.handle("GET /api/v1/admin/test", func(w http.ResponseWriter, _ *http.Request) { g.server.write(w, 200, "", []byte(`{}`)) })
	for _, path := range []string{
		"/api/v1/admin/test", "/api/v1/%61dmin/test", "/api/v1%2Fadmin/test", "//api/v1/admin/test", "/mcp/../api/v1/admin/test", "/mcp/%2e%2e/api/v1/admin/test",
		"/mcp/..%2fapi/v1/admin/test", "/api/v1/./admin/test", "/api//v1/admin/test", "/api/v1/admin//test", "/api/v1/admin/test/", "/api/v1/admin;x/test", "/API/v1/admin/test",
	} {
		if w, _ := g.ask(from("192.0.2.1", "GET", path)); w.Code != 403 && w.Code != 404 {
			t.Errorf("%s is answered %d %s", path, w.Code, w.Body)
		}
	}
}

// TestAForeignRequestIsRefusedBeforeAnythingOfItIsRead sends what would be refused for other reasons, over the wire.
func TestAForeignRequestIsRefusedBeforeAnythingOfItIsRead(t *testing.T) {
	g := newSQLiteRig(t)
	key := g.mint("key", false, "orders:read")
	g.reachable(Networks{Agents: networks(t, "192.0.2.0/24")})
	for name, request := range map[string]string{
		"a good request":        "GET " + tools.BasePath + "/notes HTTP/1.1\r\nHost: localhost\r\nX-Agent-Key: " + key + "\r\n\r\n",
		"garbage for a body":    "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n\x00\xff{{[",
		"no body that it said":  "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
		"chunks that are none":  "POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzzz",
		"a wait for a continue": "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
		"a huge header":         "GET /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + strings.Repeat("x", 60_000) + "\r\n\r\n",
		"a foreign host":        "GET /mcp HTTP/1.1\r\nHost: evil.example\r\nOrigin: https://evil.example\r\n\r\n",
		"a web socket":          "GET /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"no route":              "BREW /pot HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"all options":           "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"a tunnel":              "CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n",
		"a claim":               "GET /mcp HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		g.must(err)
		_, err = io.WriteString(conn, request)
		g.must(err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		g.must(err)
		raw, err := io.ReadAll(resp.Body)
		g.must(err)
		g.must(conn.Close())
		var refusal tools.Refusal
		g.must(json.Unmarshal(raw, &refusal))
		if resp.StatusCode != 403 || !resp.Close || refusal.Code != tools.ForbiddenNetwork || refusal.Next == "" || refusal.CallID == "" {
			t.Errorf("%s is answered %s %v %s", name, resp.Status, resp.Header, raw)
		}
	}
	for _, e := range g.entries() {
		if e.Event != "network.refused" {
			t.Errorf("on record is %+v", e)
		}
	}
}

// TestAFloodOfForeignRequestsFillsNothing is about the record and the log.
func TestAFloodOfForeignRequestsFillsNothing(t *testing.T) {
	g := newSQLiteRig(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	g.db.Now = func() time.Time { return now }
	g.reachable(Networks{Agents: networks(t, "192.0.2.0/24")})
	const flood = 10_000
	for range flood {
		if _, code := g.ask(from("203.0.113.9", "POST", "/mcp")); code != tools.ForbiddenNetwork {
			t.Fatal(code)
		}
	}
	entries := g.entries()
	if len(entries) != 1 || entries[0].Source != "203.0.113.9" || entries[0].Count != 1 || entries[0].Reason != agentSurface.foreign || entries[0].Code != "FORBIDDEN_NETWORK" {
		t.Errorf("after %d requests in a minute on record is %+v", flood, entries)
	}
	if lines := strings.Count(g.log.String(), "\n"); lines != 1 {
		t.Errorf("%d lines in the log", lines)
	}
	now = now.Add(time.Minute)
	g.must(g.gate.Sweep(t.Context()))
	if entries = g.entries(); len(entries) != 2 || entries[1].Count != flood-1 {
		t.Errorf("a minute later on record is %+v", entries)
	}
}

func TestTheHeaderOfProxiesIsOneThatIsKnown(t *testing.T) {
	if _, err := New(Config{Tools: tools.NewRegistry(), Networks: Networks{Header: "X-Real-IP"}}); err == nil {
		t.Error("a header that nobody reads is taken")
	}
}
