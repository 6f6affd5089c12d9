package server

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// A sink takes an answer as net/http would, and keeps nothing of it.
type sink struct {
	header http.Header
	status int
	bytes  int
}

func (s *sink) Header() http.Header { return s.header }

func (s *sink) WriteHeader(status int) { s.status = status }

func (s *sink) Write(b []byte) (int, error) {
	s.bytes += len(b)
	return len(b), nil
}

// whoami is an answer of the size that dtc_whoami has.
var whoami = json.RawMessage(`{"key_id":"key_01M7WD45A0E00BXSJ59CE7RMZM","name":"bench","merchant":"mer_01M7WD45A0E00BXSJ59CE7RMZM","text":"` + strings.Repeat("may read orders, ", 40) + `"}`)

// newBare is a server whose gate answers at once, so that what is left is the server.
func newBare(b *testing.B) *Server {
	b.Helper()
	registry := tools.NewRegistry(dtc.Tools()...)
	db := storetest.New(b, "sqlite")
	s, err := New(Config{
		Gate: gate.New(gate.Config{DB: db, Tools: registry}), Tools: registry, DB: db, Log: zerolog.New(io.Discard), Version: "bench",
		Networks: Networks{Agents: loopback, Admins: loopback},
	})
	if err != nil {
		b.Fatal(err)
	}
	p := auth.Principal{Kind: auth.KindKey, ID: store.NewID("key", db.Now()), Ceiling: auth.MaxLevel}
	out := gate.Outcome{CallID: store.NewID("call", db.Now()), Status: tools.Done, Body: whoami, Text: string(whoami)}
	s.hot = hot{
		recognize: func(context.Context, string, string) (auth.Principal, error) { return p, nil },
		call:      func(context.Context, auth.Principal, gate.Request) (gate.Outcome, error) { return out, nil },
		visible:   func(context.Context, auth.Principal) ([]*tools.Tool, error) { return registry.All(), nil },
	}
	return s
}

type hit struct{ name, method, path, body, version string }

var benched = []hit{
	{"rest", "GET", tools.BasePath + "/whoami", "", ""},
	{"rest-named", "POST", tools.BasePath + "/tools/dtc_whoami", "{}", ""},
	{"mcp-2025", "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"dtc_whoami","arguments":{}}}`, "2025-11-25"},
	{"mcp-2026", "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"dtc_whoami","arguments":{},"_meta":{` +
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}`, "2026-07-28"},
	{"list-2025", "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`, "2025-11-25"},
}

// again is a body that can be read many times.
type again struct{ *strings.Reader }

func (again) Close() error { return nil }

func (a hit) request() (r *http.Request, body again) {
	body = again{strings.NewReader(a.body)}
	r = httptest.NewRequest(a.method, a.path, body)
	r.ContentLength, r.RemoteAddr, r.Host = int64(len(a.body)), "127.0.0.1:4711", "127.0.0.1:8080"
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080})))
	h := r.Header
	h.Set("Authorization", "Bearer sq_agt_0123456789")
	if a.body != "" {
		h.Set("Content-Type", "application/json")
	}
	if a.version != "" {
		h.Set("Accept", "application/json, text/event-stream")
		h.Set("Mcp-Protocol-Version", a.version)
	}
	if a.version > "2026" {
		h.Set("Mcp-Method", "tools/call")
		h.Set("Mcp-Name", "dtc_whoami")
	}
	return r, body
}

func BenchmarkServer(b *testing.B) {
	s := newBare(b)
	for _, a := range benched {
		b.Run(a.name, func(b *testing.B) {
			r, body := a.request()
			b.ReportAllocs()
			for b.Loop() {
				w := &sink{header: make(http.Header, 4)}
				_, _ = body.Seek(0, io.SeekStart)
				r.Body = body
				s.ServeHTTP(w, r)
				if w.status != 0 && w.status != 200 {
					b.Fatalf("status %d", w.status)
				}
			}
		})
	}
}
