// Package server is the wire: it turns HTTP into calls of package gate and outcomes into HTTP, and decides nothing.
//
// There are two transports over one list of tools. MCP (mcp.go) is the go-sdk's stateless handler for both protocol
// eras; REST (rest.go) is a route per tool from the tool's own Spec. Both hand the same gate.Request over and answer
// with the same bytes, so that a client may change its transport and see no difference but the envelope.
//
// Before a request reaches either, in this order: the network it comes from (network.go), the Host and Origin it came
// with (edge.go), its route, its credential (credential.go), the size and the strict JSON of its body. What fails there
// never was a call. It is answered with the same shape as a refusal, from the one table of codes (errors.go), and logged; a
// foreign network and a credential that opens nothing are recorded by the gate as well. From there on every request is a
// call, and the gate records it whatever becomes of it.
//
// The caller's address is the TCP peer, or what a trusted proxy says it is; no other header is believed. Every request authenticates anew; nothing about a caller is kept
// between two requests. New starts nothing, and Serve ends when everything it accepted has been answered.
package server

import (
	"context"
	"errors"
	"net/http"
	"path"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/spans"
	"github.com/dtcgate/dtcgate/tools"
)

// Config is everything a Server depends on.
type Config struct {
	Gate         *gate.Gate
	Tools        *tools.Registry
	DB           *store.DB // asked by /readyz, and for the time; nothing else
	Log          zerolog.Logger
	Version      string
	PublicURL    string        // the address that the world reaches this server under, such as https://gate.example.com
	Issuers      *auth.Issuers // of tokens; nil: there are none
	Vault        *vault.Vault  // what people connected; nil: people connect nothing
	AllowedHosts []string      // names besides the loopback ones that requests to a loopback address may be for
	Networks     Networks      // who may reach what; the zero value refuses everybody
	Metrics      *Metrics      // of this server and no other; nil: nothing is counted
	ScrapeToken  string        // opens the metrics, also beside everything else; "": they are served on a listener of their own alone
	Spans        *spans.Tracer // nil: nothing is traced
	Slow         bool          // every MCP message goes the long way through the go-sdk: for tests, and to rule the short way out
}

// A Server answers the HTTP requests of agents and people. It may be used concurrently.
type Server struct {
	gate     *gate.Gate
	hot      hot
	tools    *tools.Registry
	db       *store.DB
	log      zerolog.Logger
	vault    *vault.Vault
	hosts    []string
	public   string
	issuers  *auth.Issuers
	networks Networks
	proxies  auth.Proxies
	origins  *http.CrossOriginProtection
	mux      *http.ServeMux
	mcp      http.HandlerFunc
	routes   []string // every pattern of mux
	metrics  *Metrics
	scrape   string // token
	spans    *spans.Tracer

	// hurried ends when calls that wait for something have to be answered as things stand; hurry ends it.
	hurried context.Context
	hurry   context.CancelFunc
	// leaving ends when nothing more is accepted: streams, which never end by themselves, end with it; leave ends it.
	leaving context.Context
	leave   context.CancelFunc

	heartbeat time.Duration // of streams

	// unready says that the process is about to end: requests are answered, and connections closed after the answer.
	unready atomic.Bool
}

// hot are the gate's methods on the way of every call, apart so that a benchmark can measure the server alone.
type hot struct {
	recognize func(ctx context.Context, secret, source string) (auth.Principal, error)
	call      func(context.Context, auth.Principal, gate.Request) (gate.Outcome, error)
	visible   func(context.Context, auth.Principal) ([]*tools.Tool, error)
}

// New makes a server. It panics on tools whose routes clash.
func New(c Config) (*Server, error) {
	hosts, err := hostNames(c.AllowedHosts)
	if err != nil {
		return nil, err
	}
	proxies, err := c.Networks.forwarding()
	if err != nil {
		return nil, err
	}
	s := &Server{
		gate: c.Gate, hot: hot{c.Gate.Recognize, c.Gate.Call, c.Gate.Visible}, tools: c.Tools, db: c.DB, log: c.Log, vault: c.Vault, hosts: hosts,
		networks: c.Networks, proxies: proxies, public: c.PublicURL, issuers: c.Issuers, metrics: c.Metrics, scrape: c.ScrapeToken, spans: c.Spans,
		origins: http.NewCrossOriginProtection(), mux: http.NewServeMux(), heartbeat: heartbeat,
	}
	s.hurried, s.hurry = context.WithCancel(context.Background())
	s.leaving, s.leave = context.WithCancel(context.Background())
	s.handle("GET /healthz", s.healthz)
	s.handle("GET /readyz", s.readyz)
	s.mcp = s.calling(s.newMCP(c))
	s.handle("POST "+mcpPath, s.mcp)
	s.handle("POST "+keyPath, s.mcp)
	s.handleDiscovery()
	s.handleTools()
	s.handlePeople()
	s.handleDeputies()
	s.handlePages()
	s.handleApprovals()
	s.handleJobs()
	s.handleFreezes()
	s.handleSubTokens()
	s.handleAdmin()
	s.handleConnect()
	s.handle("GET "+exportsPath+"{token}", s.sendExport)
	if c.Metrics != nil && c.ScrapeToken != "" {
		s.handle("GET "+metricsPath, s.metricsHere(c.Metrics))
	}
	return s, nil
}

func (s *Server) handle(pattern string, h http.HandlerFunc) {
	s.mux.HandleFunc(pattern, h)
	s.routes = append(s.routes, pattern)
	s.metrics.route(pattern)
}

// ServeHTTP answers one request and logs it as one line.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	here := &arrival{visit: visit{started: time.Now()}, answer: answer{ResponseWriter: w}, visited: visited{Context: r.Context()}}
	here.until = until{request: r.Context(), hurried: s.hurried}
	defer here.until.over()
	v, a := &here.visit, &here.answer
	here.visited.visit, v.ctx = v, &here.until
	r = r.WithContext(&here.visited)
	s.metrics.serve(1)
	defer s.metrics.serve(-1)
	defer s.finish(a, r, v)
	if s.unready.Load() {
		w.Header().Set("Connection", "close") // who comes again is to come to another server
	}
	if err := s.admit(r, v); err != nil {
		s.refuse(a, r, err)
		return
	}
	if len(r.TransferEncoding) > 0 {
		// A proxy before us may have seen a Content-Length beside it, which net/http drops, and another end of this
		// request; RFC 9112 6.1 wants such a connection closed.
		w.Header().Set("Connection", "close")
	}
	if err := s.checkEdge(r); err != nil {
		s.refuse(a, r, err)
		return
	}
	s.route(a, s.traced(r, v))
}

// traced begins the span of a request. Who is not served is not traced, so that nobody outside fills the collector; nor are probes, of which
// there is one every few seconds.
func (s *Server) traced(r *http.Request, v *visit) *http.Request {
	if s.spans == nil || surfaceOf(r.URL.Path).loopback {
		return r
	}
	v.ctx, v.span = s.spans.Request(v.ctx, r.Header)
	return r.WithContext(v.span.In(r.Context()))
}

// route finds what answers r. Paths are taken as they are: the mux would redirect those with // or .. in them.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != path.Clean(r.URL.Path):
		s.refuse(w, r, noRoute())
	case r.Method == http.MethodPost && r.URL.Path == mcpPath:
		r.Pattern = "POST " + mcpPath
		visitOf(r.Context()).pattern = r.Pattern
		s.mcp(w, r)
	default:
		s.routeByMux(w, r)
	}
}

func (s *Server) routeByMux(w http.ResponseWriter, r *http.Request) {
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		visitOf(r.Context()).pattern = pattern
		s.mux.ServeHTTP(w, r)
		return
	}
	missing := &headOnly{header: w.Header()}
	h.ServeHTTP(missing, r)
	if missing.status == http.StatusMethodNotAllowed {
		s.refuse(w, r, noMethod(r))
		return
	}
	s.refuse(w, r, noRoute())
}

func noMethod(r *http.Request) error {
	return tools.Refuse(codeMethod, "Use one of the methods in the Allow header.", "This route does not take %s.", shown(r.Method))
}

func noRoute() error {
	return tools.Refuse(codeRoute, "Call a tool at POST "+tools.BasePath+"/tools/{name}, or speak MCP at POST /mcp.", "There is no such route.")
}

// headOnly lets the mux say why no pattern fits (the status, and the Allow header), without its text.
type headOnly struct {
	header http.Header
	status int
}

func (h *headOnly) Header() http.Header         { return h.header }
func (h *headOnly) WriteHeader(status int)      { h.status = status }
func (h *headOnly) Write(b []byte) (int, error) { return len(b), nil }

// finish logs the request, and answers one whose handler panicked. One that is on record in a count has no line either.
func (s *Server) finish(a *answer, r *http.Request, v *visit) {
	if p := recover(); p != nil {
		if p == http.ErrAbortHandler { //nolint:errorlint // net/http's own sentinel, compared as it does
			panic(p)
		}
		s.log.Error().Any("panic", p).Bytes("stack", debug.Stack()).Str("path", loggable(r.URL.Path)).Msg("a request panicked")
		if a.status == 0 {
			s.refuse(a, r, errPanicked)
		}
	}
	if a.status == 0 && errors.Is(r.Context().Err(), context.Canceled) {
		a.status = statusGone
	}
	s.metrics.answered(v.pattern, a.status)
	v.span.Answered(v.pattern, v.method(), a.status)
	v.span.End(nil)
	if !v.counted {
		s.logLine(a, r, v)
	}
}
