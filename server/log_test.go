package server

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/tools"
)

func TestOneLinePerRequest(t *testing.T) {
	g := newSQLiteRig(t)
	key := g.mint("key", false, "orders:read")
	g.do("GET", tools.BasePath+"/notes?text=personal", "", "X-Agent-Key: "+key)
	g.do("GET", tools.BasePath+"/notes?limit=personal", "", "X-Agent-Key: "+key)
	g.rpc("key", eras[0], "tools/call", `{"name":"notes_send","arguments":{"reason":"personal"}}`)
	g.do("GET", tools.BasePath+"/notes", "", "X-Agent-Key: sq_agt_personal")
	g.do("POST", "/no%0Aroute%1b[31m", "")
	log := g.log.String()
	if strings.Contains(log, "personal") || strings.Contains(log, key) {
		t.Errorf("logged is what must not be:\n%s", log)
	}
	want := []map[string]any{
		{"method": "GET", "path": tools.BasePath + "/notes", "tool": "notes_search", "status": 200.0, "principal": g.ids["key"]},
		{"method": "GET", "path": tools.BasePath + "/notes", "tool": "notes_search", "status": 400.0, "principal": g.ids["key"], "code": "INVALID_ARGUMENTS"},
		{"method": "POST", "path": "/mcp", "rpc": "tools/call", "tool": "notes_send", "status": 200.0, "principal": g.ids["key"], "code": "FORBIDDEN_SCOPE"},
		{"method": "GET", "path": tools.BasePath + "/notes", "status": 401.0, "code": "UNAUTHORIZED"},
		{"method": "POST", "path": "/no\nroute\x1b[31m", "status": 404.0, "code": "UNKNOWN_ROUTE"},
	}
	var got []map[string]any
	for line := range strings.Lines(log) {
		var fields map[string]any
		g.must(json.Unmarshal([]byte(line), &fields))
		for _, name := range []string{"call_id", "ms", "bytes", "source", "level", "message"} {
			if fields[name] == nil {
				t.Errorf("a line without %s: %s", name, line)
			}
			delete(fields, name)
		}
		got = append(got, fields)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
