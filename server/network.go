package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

// Networks say who may reach what. An empty list holds nobody, so the zero value refuses every request.
type Networks struct {
	Agents  auth.Networks // may call tools
	Admins  auth.Networks // may reach the admin API
	Proxies auth.Networks // are believed when they say for whom they ask
	Header  string        // in which they say it: auth.XForwardedFor, also when empty, or auth.Forwarded
}

// forwarding gives the proxies of n. A header that no proxy is read for would make every request the proxy's own.
func (n Networks) forwarding() (auth.Proxies, error) {
	switch n.Header {
	case "":
		n.Header = auth.XForwardedFor
	case auth.XForwardedFor, auth.Forwarded:
	default:
		return auth.Proxies{}, fmt.Errorf("the header of proxies is %s or %s, not %q", auth.XForwardedFor, auth.Forwarded, n.Header)
	}
	return auth.Proxies{Trusted: n.Proxies, Header: n.Header}, nil
}

// A surface is what the same networks may reach.
type surface struct {
	agents, admins, loopback bool
	foreign                  string // why others are refused, for the record
}

var (
	agentSurface  = surface{agents: true, foreign: "outside the agents' networks"}
	adminSurface  = surface{admins: true, foreign: "outside the admins' networks"}
	peopleSurface = surface{agents: true, admins: true, foreign: "outside all networks"}
	probeSurface  = surface{agents: true, admins: true, loopback: true, foreign: "outside all networks"}
)

// adminPath is where keys, people and what they may do are administered.
const adminPath = "/api/v1/admin"

// surfaces are the parts of the server by the beginning of their paths, of which the first that fits counts. What is in
// none of them (pages, signing in, what does not exist) is people's.
var surfaces = []struct {
	path string
	surface
}{
	{"/healthz", probeSurface},
	{"/readyz", probeSurface},
	{adminPath, adminSurface},
	{metricsPath, adminSurface},
	{tools.BasePath + "/approvals", peopleSurface},
	{tools.BasePath + "/exports", peopleSurface}, // links that people open
	{"/api/v1/agent", agentSurface},
	{"/mcp", agentSurface},
}

func surfaceOf(path string) surface {
	for _, s := range surfaces {
		if rest, ok := strings.CutPrefix(path, s.path); ok && (rest == "" || rest[0] == '/') {
			return s.surface
		}
	}
	return peopleSurface
}

// open reports whether the client may reach the surface.
func (s surface) open(n Networks, client netip.Addr) bool {
	return s.agents && n.Agents.Contain(client) || s.admins && n.Admins.Contain(client) || s.loopback && client.IsLoopback()
}

// admit finds out where a request comes from, and refuses it when what it asks for is not served there. Until then nothing
// of it is looked at but its peer, its path and the header of the proxies. The visit's source is the client, or the peer
// where a trusted proxy does not tell.
func (s *Server) admit(r *http.Request, v *visit) error {
	from := peer(r)
	client, err := s.proxies.Client(from, r.Header.Values(s.proxies.Header))
	why := ""
	if err != nil {
		why = err.Error()
	} else if from = client; !surfaceOf(r.URL.Path).open(s.networks, client) {
		why = surfaceOf(r.URL.Path).foreign
	}
	v.source = from.Unmap().WithZone("").String()
	if why == "" {
		return nil
	}
	refusal, first := s.gate.RefuseNetwork(r.Context(), v.source, why)
	v.counted = !first
	return refusal
}

// peer is the address at the other end of the connection. One that is not known is invalid, and in no network.
func peer(r *http.Request) netip.Addr {
	at, _ := netip.ParseAddrPort(r.RemoteAddr)
	return at.Addr()
}
