package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// A call that waits asks again every 250 ms whether its caller may still be told.
func TestAWaitEndsWhenItsCallerIsRevoked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		type answered struct {
			status int
			text   string
			header http.Header
		}
		answers := make(chan answered)
		ask := func(method, path, body string, headers ...string) {
			resp, text := g.do(method, path, body, append(headers, "X-Agent-Key: "+g.secrets["bot"])...)
			answers <- answered{resp.StatusCode, text, resp.Header}
		}
		for i, era := range append([]string{"REST"}, eras...) {
			g.mint("bot", false, "orders:read")
			id := fmt.Sprint("later-", db.Engine(), i)
			if era == "REST" {
				go ask("GET", tools.BasePath+"/notes/"+id, "")
			} else {
				body, headers := message(era, "tools/call", `{"name":"notes_get","arguments":{"note_id":"`+id+`"}}`)
				go ask("POST", "/mcp", body, headers...)
			}
			for <-waiting != id {
			}
			began := time.Now()
			g.revoke("bot")
			a := <-answers
			if !strings.Contains(a.text, string(tools.Unauthorized)) || strings.Contains(a.text, "not yet") {
				t.Errorf("%s: answered %s", era, a.text)
			}
			if era == "REST" && (a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "") {
				t.Errorf("over REST: %d, challenge %q", a.status, a.header.Get("WWW-Authenticate"))
			}
			t.Logf("%s: ended %s after the revocation", era, time.Since(began).Round(time.Millisecond))
		}
	})
}

// What a client could hold open beside a wait is a stream of notifications, and we send none: it ends as soon as it begins.
func TestNoStreamStaysOpen(t *testing.T) {
	g := newSQLiteRig(t)
	key := "X-Agent-Key: " + g.mint("bot", false, "orders:read")
	body, headers := message("2026-07-28", "subscriptions/listen", `{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}}`)
	resp, text := g.do("POST", "/mcp", body, append(headers, key)...) // which reads to the end
	if resp.StatusCode != http.StatusOK || !strings.Contains(text, `"result"`) {
		t.Errorf("listening is answered %d: %s", resp.StatusCode, text)
	}
	for _, path := range []string{"/mcp", "/mcp/key"} {
		if resp, _ := g.do("GET", path, "", key, "Accept: text/event-stream"); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET %s is answered %d", path, resp.StatusCode)
		}
	}
}

func TestARateIsToldOnBothTransports(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		db.Now = func() time.Time { return now }
		g := newRig(t, db, fakes)
		key := "X-Agent-Key: " + g.mintKey(auth.Key{Name: "bot", Scopes: []auth.Scope{"orders:read"}, Ceiling: auth.MaxLevel, Rate: auth.Rate{PerMinute: 4, Burst: 2}})
		for range 5 { // not calls of tools
			for _, method := range []string{"tools/list", "ping"} {
				if _, r := g.rpc("bot", "2025-11-25", method, `{}`); r.Error != nil || r.Result.IsError {
					t.Fatalf("%s: %+v", method, r)
				}
			}
			g.rpc("bot", "2025-11-25", "initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}`)
			g.do("POST", "/mcp", "[", key, jsonBody)
		}
		if resp, text := g.do("GET", tools.BasePath+"/notes", "", key); resp.StatusCode != http.StatusOK {
			t.Fatalf("the first call: %s", text)
		}
		if _, r := g.rpc("bot", "2025-11-25", "tools/call", `{"name":"notes_search","arguments":{}}`); r.Error != nil || r.Result.IsError {
			t.Fatalf("the second call: %+v", r)
		}
		resp, text := g.do("GET", tools.BasePath+"/notes", "", key)
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "15" || !strings.Contains(text, `"retry_after_seconds":15`) {
			t.Errorf("over REST: %d, Retry-After %q, %s", resp.StatusCode, resp.Header.Get("Retry-After"), text)
		}
		for _, era := range eras {
			_, r := g.rpc("bot", era, "tools/call", `{"name":"notes_search","arguments":{}}`)
			if body := string(r.Result.StructuredContent); !r.Result.IsError || !strings.Contains(body, `"retry_after_seconds":15`) || !strings.Contains(body, string(tools.RateLimited)) {
				t.Errorf("over MCP %s: %+v", era, r)
			}
		}
		now = now.Add(15 * time.Second)
		if resp, text := g.do("GET", tools.BasePath+"/notes", "", key); resp.StatusCode != http.StatusOK {
			t.Errorf("after the wait: %s", text)
		}
	})
}
