package server

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// A way is how calls reach the gate. It gives the code of a refusal, or "", and the body.
type way func(g *rig, key, tool, args string) (tools.Code, string)

var ways = map[string]way{
	"rest": func(g *rig, key, tool, args string) (tools.Code, string) {
		_, text := g.do("POST", tools.BasePath+"/tools/"+tool, args, jsonBody, "X-Agent-Key: "+g.secrets[key])
		var r tools.Refusal
		g.must(json.Unmarshal([]byte(text), &r))
		return r.Code, text
	},
	"mcp 2025-11-25": overMCP("2025-11-25"),
	"mcp 2026-07-28": overMCP("2026-07-28"),
}

func overMCP(era string) way {
	return func(g *rig, key, tool, args string) (tools.Code, string) {
		_, r := g.rpc(key, era, "tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, args))
		if r.Error != nil {
			return r.Error.Data.Code, string(bodyOf(r.Error.Data))
		}
		var refusal tools.Refusal
		g.must(json.Unmarshal(r.Result.StructuredContent, &refusal))
		if r.Result.IsError != (refusal.Code != "") {
			g.Errorf("isError is %t for %s", r.Result.IsError, r.Result.StructuredContent)
		}
		return refusal.Code, string(r.Result.StructuredContent)
	}
}

// everyDecision are calls that the gate answers in each of its ways.
var everyDecision = []struct {
	key, tool, args string
	want            tools.Code
}{
	{"key", "notes_get", `{"note_id":"n1"}`, ""},
	{"key", "note", `{"note_id":"n1"}`, ""},
	{"key", "notes.get", `{"note_id":"n1"}`, ""},
	{"key", "notes_search", `{"limit":3,"tags":["a","b"],"where":{"min":2},"deep":true,"most":1.50}`, ""},
	{"key", "notes_search", `{"limit":"3","tags":7,"other":null}`, tools.InvalidArguments},
	{"key", "notes_search", `[]`, tools.InvalidArguments},
	{"key", "notes_search", `null`, tools.InvalidArguments},
	{"key", "nothing", `{}`, tools.UnknownTool},
	{"key", "notes_get", `{"note_id":"panic"}`, tools.Internal},
	{"key", "notes_get", `{"note_id":"odd"}`, tools.Internal},
	{"key", "notes_get", `{"note_id":"broken"}`, tools.Unavailable},
	{"poor", "notes_get", `{"note_id":"n1"}`, tools.ForbiddenScope},
	{"owner", "notes_get", `{"note_id":"n1"}`, tools.ForbiddenTool},
	{"low", "notes_write", `{"text":"a"}`, tools.RiskCeiling},
	{"low", "notes_write", `{"text":"a","dry_run":true}`, ""},
	{"key", "notes_write", `{"text":"<a> & é ☃","idempotency_key":"k"}`, ""},
	{"key", "notes_write", `{"idempotency_key":"k","text":"<a> & é ☃"}`, ""},
	{"key", "notes_write", `{"text":"b","idempotency_key":"k"}`, tools.IdempotencyConflict},
	{"careful", "notes_send", `{"note_id":"n1","expected_version":1,"reason":"to test it","idempotency_key":"k"}`, ""},
	{"careful", "notes_send", `{"note_id":"n1","expected_version":1,"reason":"to test it","idempotency_key":"k"}`, ""},
	{"careful", "notes_send", `{"note_id":"n1","expected_version":2,"reason":"to test it","idempotency_key":"l"}`, tools.StaleExpectation},
}

func TestOneDecisionForAllTransports(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		bodies, records := map[string][]string{}, map[string][]string{}
		for name, way := range ways {
			t.Run(engine+" "+name, func(t *testing.T) { bodies[name], records[name] = decide(t, engine, way) })
		}
		for name := range ways {
			if diff := cmp.Diff(bodies["rest"], bodies[name]); diff != "" {
				t.Errorf("%s: bodies (-rest +%s):\n%s", engine, name, diff)
			}
			if diff := cmp.Diff(records["rest"], records[name]); diff != "" {
				t.Errorf("%s: the record (-rest +%s):\n%s", engine, name, diff)
			}
		}
	}
}

// decide makes all the calls one way and gives the bodies and the record, without what differs from run to run.
func decide(t *testing.T, engine string, call way) (bodies []string, record []string) {
	g := &story{rig: newRig(t, storetest.New(t, engine), fakes)}
	g.mint("key", false, "orders:read", "orders:write")
	g.mint("poor", false)
	g.mint("careful", true, "marketing:send")
	g.mintKey(auth.Key{Name: "low", Scopes: []auth.Scope{"orders:write"}, Ceiling: 1})
	g.person("owner")
	for _, c := range everyDecision {
		code, body := call(g.rig, c.key, c.tool, c.args)
		if code != c.want {
			t.Errorf("%s %s: %q, not %q: %s", c.tool, c.args, code, c.want, body)
		}
		bodies = append(bodies, g.normal(body))
	}
	for _, e := range g.entries() {
		e.Transport, e.Source, e.LatencyMicros = "", "", 0
		raw, err := json.Marshal(e)
		g.must(err)
		record = append(record, g.normal(string(raw)))
	}
	return bodies, record
}
