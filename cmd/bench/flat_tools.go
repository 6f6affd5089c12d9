package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/server"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// A server with very many tools beside one with those that it ships with. Calls go through the server's handler, without a socket.

func (b *bench) flatTools(ctx context.Context) error {
	few := len(dtc.Tools())
	b.flatHead("tools")
	return onEach(func(engine string) error { return b.flatToolsOn(ctx, engine, [2]int{few, b.tools}) })
}

func (b *bench) flatToolsOn(ctx context.Context, engine string, sizes [2]int) error {
	var handlers [2]http.Handler
	var sides [2]*stand
	for side, n := range sizes {
		dsn, end, err := b.database(engine, fmt.Sprint("tools", side))
		if err != nil {
			return err
		}
		defer end()
		if sides[side], err = newStand(ctx, dsn, ""); err != nil {
			return err
		}
		defer sides[side].close()
		if handlers[side], err = sides[side].withTools(n); err != nil {
			return err
		}
	}
	for _, c := range []struct{ tool, args string }{{"dtc_whoami", `{}`}, {"dtc_get_order", `{"order_no":"` + sides[0].ids["order_no"] + `"}`}} {
		err := b.flatness(ctx, flatness{engine, c.tool + ", MCP " + era2025, between(sizes[0], sizes[1], "tools"), b.calls3(1000), func(ctx context.Context, side, _ int) (time.Duration, error) {
			r := mcpRequest(ctx, sides[side].free, c.tool, c.args)
			w := httptest.NewRecorder()
			return timing(func() error {
				handlers[side].ServeHTTP(w, r)
				if text := w.Body.String(); w.Code != http.StatusOK || strings.Contains(text, `"isError":true`) || strings.Contains(text, `"error":{`) {
					return fmt.Errorf("answered %d: %.300s", w.Code, text)
				}
				return nil
			})
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// withTools is a server over the stand with so many tools: those that there are, and copies of a read under other names.
func (s *stand) withTools(n int) (http.Handler, error) {
	all := dtc.Tools()
	read, _ := s.registry.Find("dtc_get_order")
	for i := len(all); i < n; i++ {
		t := *read
		t.Name, t.Path, t.Aliases, t.Routes = fmt.Sprintf("bench_get_%04d", i), fmt.Sprintf("bench.get%04d", i), nil, nil
		all = append(all, &t)
	}
	s.registry = tools.NewRegistry(all...)
	s.Gate = gate.New(gate.Config{DB: s.db, Tools: s.registry, Log: zerolog.Nop()})
	return server.New(server.Config{
		Gate: s.Gate, Tools: s.registry, DB: s.db, Log: zerolog.Nop(), Version: "bench",
		Networks: server.Networks{Agents: auth.Networks{netip.MustParsePrefix("127.0.0.0/8")}},
	})
}

// mcpRequest is a call of a tool as the server's handler gets it.
func mcpRequest(ctx context.Context, key, tool, args string) *http.Request {
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + args + `}}`
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/mcp", strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:4711", "127.0.0.1:8080"
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080})))
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Protocol-Version": {era2025}, "Authorization": {"Bearer " + key},
	}
	return r
}
