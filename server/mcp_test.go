package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/tools"
)

// A reply is a JSON-RPC answer with the parts of results that the tests look at.
type reply struct {
	ID     json.RawMessage
	Result struct {
		ResultType        string
		Content           []struct{ Text string }
		StructuredContent json.RawMessage
		IsError           bool
		Tools             []listedTool
		ProtocolVersion   string
		CacheScope        string
		TTLMs             int
		Capabilities      map[string]any
		Meta              map[string]any `json:"_meta"`
	}
	Error *struct {
		Code    int64
		Message string
		Data    tools.Refusal
	}
}

type listedTool struct {
	Name        string
	Title       string
	InputSchema json.RawMessage
	Annotations map[string]any
	Meta        map[string]map[string]any `json:"_meta"`
}

var eras = []string{"2025-11-25", "2026-07-28"}

// withTasks is the era of a client that declares the extension for tasks.
const withTasks = "2026-07-28+tasks"

// message writes a JSON-RPC request of an era with the headers that belong to it. params is a JSON object.
func message(era, method, params string) (body string, headers []string) {
	capabilities := "{}"
	if bare, declares := strings.CutSuffix(era, "+tasks"); declares {
		era, capabilities = bare, `{"extensions":{"`+tasksExtension+`":{}}}`
	}
	headers = []string{jsonBody, "Accept: application/json, text/event-stream", "MCP-Protocol-Version: " + era}
	if era < "2026" {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params), headers
	}
	meta := `"io.modelcontextprotocol/protocolVersion":"` + era + `","io.modelcontextprotocol/clientCapabilities":` + capabilities
	if _, rest, ok := strings.Cut(params, `"_meta":{`); ok {
		params = strings.Replace(params, `"_meta":{`+rest, `"_meta":{`+meta+","+rest, 1)
	} else {
		params = strings.TrimSuffix(params, "}") + comma(params) + `"_meta":{` + meta + `}}`
	}
	headers = append(headers, "Mcp-Method: "+method)
	var named struct{ Name, TaskID string }
	if json.Unmarshal([]byte(params), &named) == nil && named.Name+named.TaskID != "" {
		headers = append(headers, "Mcp-Name: "+named.Name+named.TaskID)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params), headers
}

func comma(object string) string {
	if strings.TrimSpace(object) == "{}" {
		return ""
	}
	return ","
}

// rpc speaks MCP as the named key.
func (g *rig) rpc(key, era, method, params string) (*http.Response, reply) {
	g.Helper()
	body, headers := message(era, method, params)
	resp, text := g.do("POST", "/mcp", body, append(headers, "Authorization: Bearer "+g.secrets[key])...)
	var r reply
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		g.Fatalf("%s %s: %v in %q", method, resp.Status, err, text)
	}
	return resp, r
}

func TestListShowsWhatTheKeyMayCall(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("reader", false, "orders:read")
	g.mint("writer", false, "orders:read", "orders:write", "marketing:send")
	for _, era := range eras {
		for key, want := range map[string][]string{
			"reader": {"notes_get", "notes_search"},
			"writer": {"notes_get", "notes_search", "notes_send", "notes_write"},
		} {
			_, r := g.rpc(key, era, "tools/list", "{}")
			var got []string
			for _, tool := range r.Result.Tools {
				got = append(got, tool.Name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s: tools (-want +got):\n%s", era, key, diff)
			}
			if era > "2026" && (r.Result.CacheScope != "private" || r.Result.TTLMs != listTime) {
				t.Errorf("a list may be cached as %s for %d ms", r.Result.CacheScope, r.Result.TTLMs)
			}
		}
	}
}

func TestHintsFollowFromTheRisk(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("all", false, "orders:read", "orders:write", "marketing:send")
	_, r := g.rpc("all", eras[0], "tools/list", "{}")
	hints := func(readOnly, destructive, idempotent, open bool) map[string]any {
		return map[string]any{"readOnlyHint": readOnly, "destructiveHint": destructive, "idempotentHint": idempotent, "openWorldHint": open}
	}
	want := map[string]map[string]any{
		"notes_get":    hints(true, false, true, false),
		"notes_search": hints(true, false, true, false),
		"notes_send":   hints(false, true, true, true),
		"notes_write":  hints(false, false, false, false), // repeated without a key it writes twice
	}
	for _, tool := range r.Result.Tools {
		delete(tool.Annotations, "title")
		if diff := cmp.Diff(want[tool.Name], tool.Annotations); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tool.Name, diff)
		}
		registered, _ := fakes.Find(tool.Name)
		if got := tool.Meta[metaRisk]["level"]; got != registered.Risk.Level().String() {
			t.Errorf("%s is said to be %v and is %s", tool.Name, got, registered.Risk.Level())
		}
		if string(tool.InputSchema) != string(registered.Input.JSON) {
			t.Errorf("%s: the schema that is shown is not the one that is checked", tool.Name)
		}
	}
}

func TestCallsOverBothEras(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("key", false, "orders:read", "orders:write")
	for _, era := range eras {
		t.Run(era, func(t *testing.T) {
			resp, r := g.rpc("key", era, "tools/call", `{"name":"notes_get","arguments":{"note_id":"n1"}}`)
			if resp.StatusCode != 200 || r.Error != nil || r.Result.IsError || string(r.Result.StructuredContent) != `{"notes":[{"note_id":"n1","text":"text \u003cof\u003e it"}]}` {
				t.Errorf("a read: %s %+v", resp.Status, r)
			}
			if era > "2026" && r.Result.ResultType != "complete" {
				t.Errorf("resultType is %q", r.Result.ResultType)
			}
			if id, _ := r.Result.Meta[metaCallID].(string); !strings.HasPrefix(id, "call_") {
				t.Errorf("the answer names no call: %v", r.Result.Meta)
			}
			if _, r := g.rpc("key", era, "tools/call", `{"name":"note","arguments":{"note_id":"n1"}}`); r.Error != nil || r.Result.IsError {
				t.Errorf("an alias: %+v", r)
			}
			_, r = g.rpc("key", era, "tools/call", `{"name":"notes_get","arguments":{"note_id":7}}`)
			if !r.Result.IsError || !strings.Contains(r.Result.Content[0].Text, "note_id") {
				t.Errorf("a wrong argument is no isError result that names the field: %+v", r)
			}
			_, r = g.rpc("key", era, "tools/call", `{"name":"notes_send","arguments":{}}`)
			if !r.Result.IsError || !strings.Contains(string(r.Result.StructuredContent), `"missing":["marketing:send"]`) {
				t.Errorf("a missing scope: %+v", r)
			}
			resp, r = g.rpc("key", era, "tools/call", `{"name":"no_such_tool","arguments":{}}`)
			if r.Error == nil || r.Error.Code != rpcInvalidParams || r.Error.Data.Code != tools.UnknownTool || r.Error.Data.CallID == "" {
				t.Errorf("an unknown tool: %s %+v", resp.Status, r)
			}
		})
	}
}

func TestIdempotencyKeyInMetaIsTheArgument(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("key", false, "orders:write")
	for _, era := range eras {
		call := `{"name":"notes_write","arguments":{"text":"once"},"_meta":{"dtcgate/idempotencyKey":"` + era + `"}}`
		_, first := g.rpc("key", era, "tools/call", call)
		_, again := g.rpc("key", era, "tools/call", call)
		if first.Result.IsError || string(first.Result.StructuredContent) != string(again.Result.StructuredContent) {
			t.Errorf("%s: a repeat is answered %s, not %s", era, again.Result.StructuredContent, first.Result.StructuredContent)
		}
		if first.Result.Meta[metaReplayed] != nil || again.Result.Meta[metaReplayed] != true {
			t.Errorf("%s: the repeat does not say that it is one", era)
		}
	}
	for _, bad := range []string{`7`, `""`, `"a\nb"`, `"` + strings.Repeat("k", 256) + `"`} {
		_, r := g.rpc("key", eras[0], "tools/call", `{"name":"notes_write","arguments":{"text":"x"},"_meta":{"dtcgate/idempotencyKey":`+bad+`}}`)
		if !r.Result.IsError || !strings.Contains(string(r.Result.StructuredContent), string(tools.InvalidArguments)) {
			t.Errorf("the key %.20s is taken: %+v", bad, r)
		}
		_, r = g.rpc("key", eras[0], "tools/call", `{"name":"notes_write","arguments":{"text":"x","idempotency_key":`+bad+`}}`)
		if !r.Result.IsError || !strings.Contains(string(r.Result.StructuredContent), "idempotency_key") {
			t.Errorf("the key %.20s is taken as an argument: %+v", bad, r)
		}
	}
}

// What the server does not have it says not to have, in every era, so that clients do not ask again.
func TestFeaturesWeDoNotHave(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("key", false, "orders:read")
	for _, era := range eras {
		for method, params := range map[string]string{
			"prompts/list": `{}`, "prompts/get": `{"name":"x"}`, "resources/list": `{}`, "resources/templates/list": `{}`,
			"completion/complete": `{"ref":{"type":"ref/prompt","name":"x"},"argument":{"name":"a","value":"b"}}`,
		} {
			if _, r := g.rpc("key", era, method, params); r.Error == nil || r.Error.Code != rpcUnknownMethod {
				t.Errorf("%s %s: %+v", era, method, r)
			}
		}
	}
	_, r := g.rpc("key", eras[1], "server/discover", "{}")
	if caps := r.Result.Capabilities; len(caps) != 1 || caps["tools"] == nil {
		t.Errorf("capabilities are %v", caps)
	}
	_, r = g.rpc("key", eras[0], "initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}`)
	if r.Result.ProtocolVersion != "2025-11-25" {
		t.Errorf("initialize answers with protocol %q", r.Result.ProtocolVersion)
	}
}

func TestHeadersMustAgreeWithTheMessage(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("key", false, "orders:read")
	body, headers := message(eras[1], "tools/call", `{"name":"notes_get","arguments":{"note_id":"n1"}}`)
	replace := func(name string, values ...string) []string {
		kept := slices.DeleteFunc(slices.Clone(headers), func(h string) bool { return strings.HasPrefix(h, name+": ") })
		for _, v := range values {
			kept = append(kept, name+": "+v)
		}
		return kept
	}
	for name, wrong := range map[string][]string{
		"no method":            replace("Mcp-Method"),
		"another method":       replace("Mcp-Method", "tools/list"),
		"method in capitals":   replace("Mcp-Method", "TOOLS/CALL"),
		"method twice":         replace("Mcp-Method", "tools/call", "tools/call"),
		"no name":              replace("Mcp-Name"),
		"another name":         replace("Mcp-Name", "notes_search"),
		"an alias":             replace("Mcp-Name", "note"),
		"name twice":           replace("Mcp-Name", "notes_get", "notes_send"),
		"name in base64":       replace("Mcp-Name", "=?base64?bm90ZXNfc2VuZA==?="),
		"no version":           replace("MCP-Protocol-Version"),
		"an older version":     replace("MCP-Protocol-Version", "2025-11-25"),
		"version twice":        replace("MCP-Protocol-Version", "2026-07-28", "2025-11-25"),
		"two names in a value": replace("Mcp-Name", "notes_get, notes_send"),
	} {
		resp, text := g.do("POST", "/mcp", body, append(wrong, "X-Agent-Key: "+g.secrets["key"])...)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, fmt.Sprint(rpcHeaderMismatch)) {
			t.Errorf("%s: %s %s", name, resp.Status, text)
		}
	}
	if _, r := g.rpc("key", eras[1], "tools/call", `{"name":"notes_get","arguments":{"note_id":"n1"}}`); r.Error != nil {
		t.Errorf("headers that agree are refused: %+v", r.Error)
	}
}

func TestBatchesAreRefused(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("key", false, "orders:read")
	one, headers := message(eras[0], "tools/call", `{"name":"notes_get","arguments":{"note_id":"n1"}}`)
	for _, version := range []string{"2025-11-25", "2025-06-18", "2025-03-26", ""} {
		headers[2] = "MCP-Protocol-Version: " + version
		if version == "" {
			headers = headers[:2]
		}
		resp, text := g.do("POST", "/mcp", " ["+one+","+one+"]", append(headers, "X-Agent-Key: "+g.secrets["key"])...)
		if resp.StatusCode != http.StatusBadRequest || strings.Contains(text, "notes") {
			t.Errorf("%q: %s %s", version, resp.Status, text)
		}
	}
}

func TestOtherMethodsOfMCPAreNotAllowed(t *testing.T) {
	g := newSQLiteRig(t)
	for _, path := range []string{"/mcp", "/mcp/key"} {
		for _, method := range []string{"GET", "DELETE", "PUT"} {
			resp, text := g.do(method, path, "")
			if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" || !json.Valid([]byte(text)) {
				t.Errorf("%s %s: %s, Allow: %s, %s", method, path, resp.Status, resp.Header.Get("Allow"), text)
			}
		}
	}
}
