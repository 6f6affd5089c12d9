package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// echoed asks notes_search, which answers with its arguments.
func (g *rig) echoed(query string) string {
	g.Helper()
	_, text := g.do("GET", tools.BasePath+"/notes?"+query, "", "X-Agent-Key: "+g.secrets["key"])
	return text
}

func TestQueryHasTheTypesOfTheSchema(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("key", false, "orders:read")
	for query, want := range map[string]string{
		"":                              `{}`,
		"text=two+words":                `{"text":"two words"}`,
		"text=7":                        `{"text":"7"}`,
		"text=true":                     `{"text":"true"}`,
		"text=%22quoted%22":             `{"text":"\"quoted\""}`,
		"limit=7":                       `{"limit":7}`,
		"most=1.5":                      `{"most":1.5}`,
		"deep=true":                     `{"deep":true}`,
		"tags=a,b":                      `{"tags":["a","b"]}`,
		"tags=a&tags=b,c":               `{"tags":["a","b,c"]}`,
		`tags=["a,b"]`:                  `{"tags":["a,b"]}`,
		`where={"min":3}`:               `{"where":{"min":3}}`,
		"limit=3&tags=x&deep=true":      `{"limit":3,"deep":true,"tags":["x"]}`,
		"text=" + url.QueryEscape("é/"): `{"text":"é/"}`,
	} {
		if diff := cmp.Diff(want, g.echoed(query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

func TestQueryThatDoesNotFitIsNamed(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("key", false, "orders:read")
	for query, field := range map[string]string{
		"limit=many":        "limit",
		"limit=1&limit=2":   "limit",
		"limit=%221%22":     "limit",
		"deep=yes":          "deep",
		"where=3":           "where",
		`where={"max":1}`:   "where.max",
		"nosuch=1":          "nosuch",
		"access_token=sq_1": "access_token",
	} {
		var r tools.Refusal
		text := g.echoed(query)
		if err := json.Unmarshal([]byte(text), &r); err != nil || r.Code != tools.InvalidArguments || r.Errors == nil || r.Errors.Fields[0].Field != field {
			t.Errorf("%s: %s", query, text)
		}
	}
	for _, query := range []string{"text=%ff", "limit=1&LIMIT=2", "text=%zz", "text=a;b=c", `where={"min":1,"min":2}`, "text=%00"} {
		if text := g.echoed(query); !strings.Contains(text, `"error_code"`) {
			t.Errorf("%s is taken as %s", query, text)
		}
	}
}

func TestArgumentsFromPathQueryAndBodyMustAgree(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("key", false, "marketing:send")
	const full = `"expected_version":1,"reason":"to test it","idempotency_key":"k","dry_run":true`
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"/notes/n1/send", `{` + full + `}`, 200},
		{"/notes/n1/send", `{"note_id":"n1",` + full + `}`, 200},
		{"/notes/n1/send?note_id=n1&expected_version=1", `{` + full + `}`, 200},
		{"/notes/n1/send", `{"note_id":"n2",` + full + `}`, 400},
		{"/notes/n1/send?note_id=n2", `{` + full + `}`, 400},
		{"/notes/n1/send?expected_version=2", `{` + full + `}`, 400},
		{"/notes/n%2F1/send", `{"note_id":"n/1",` + full + `}`, 200},
		{"/notes/%22/send", `{"note_id":"\"",` + full + `}`, 200},
		{"/notes/%ff/send", `{` + full + `}`, 400},
		{"/notes/n1/send", `{` + full + `} {}`, 400},
		{"/notes/n1/send", `{"reason":"a","reason":"b"}`, 400},
		{"/notes/n1/send", `[]`, 400},
		{"/notes/n1/send", ``, 400},
	} {
		resp, text := g.do("POST", tools.BasePath+c.path, c.body, jsonBody, "X-Agent-Key: "+g.secrets["key"])
		if resp.StatusCode != c.status || !json.Valid([]byte(text)) {
			t.Errorf("%s %s: %s %s", c.path, c.body, resp.Status, text)
		}
	}
}

func TestRoutesAnswerWithTheirStatus(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("key", false, "orders:read", "orders:write")
	g.mint("careful", true, "marketing:send")
	post := func(key, path, body string) (*http.Response, string) {
		return g.do("POST", tools.BasePath+path, body, jsonBody, "X-Agent-Key: "+g.secrets[key], "Idempotency-Key: "+schemas.Fingerprint([]byte(path+body)))
	}
	for _, c := range []struct {
		key, path, body string
		status          int
		has             string
	}{
		{"key", "/notes", `{"words":"hello"}`, 201, `"text":"hello"`}, // the route's own spelling
		{"key", "/tools/notes_write", `{"text":"hello"}`, 200, `"status":"done"`},
		{"key", "/tools/notes.write", `{"text":"there"}`, 200, `"status":"done"`},
		{"key", "/tools/notes_write", `{"words":"hello"}`, 400, `"field":"words"`},
		{"key", "/notes", `{"text":"hello","dry_run":true}`, 200, `"status":"dry_run"`},
		{"key", "/tools/nothing", `{}`, 404, `"UNKNOWN_TOOL"`},
		{"careful", "/notes/n1/send", `{"reason":"to test it"}`, 202, `"status":"pending_approval"`}, // the server fills in what it shows
		{"careful", "/tools/notes_send", `{"note_id":"n1","reason":"to test it"}`, 400, `"field":"expected_version"`},
		{"careful", "/tools/notes_send", `{"note_id":"n1","reason":"to test it","expected_version":2}`, 409, `"now":{"expected_version":1}`},
	} {
		resp, text := post(c.key, c.path, c.body)
		if resp.StatusCode != c.status || !strings.Contains(text, c.has) || !strings.HasPrefix(resp.Header.Get("X-Call-Id"), "call_") {
			t.Errorf("%s %s: %s %v %s", c.path, c.body, resp.Status, resp.Header, text)
		}
	}
	first, text := post("key", "/notes", `{"text":"again"}`)
	again, repeat := post("key", "/notes", `{"text":"again"}`)
	if again.StatusCode != 201 || first.Header.Get("Idempotent-Replayed") != "" || again.Header.Get("Idempotent-Replayed") != "true" || repeat != text {
		t.Errorf("a repeat: %s %v %s", again.Status, again.Header, repeat)
	}
}

func TestRouteAboutOneObjectAnswersWithIt(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("key", false, "orders:read")
	for id, want := range map[string]int{"n1": 200, "none": 404, "panic": 500, "broken": 503, "odd": 500} {
		resp, text := g.do("GET", tools.BasePath+"/notes/"+id, "", "X-Agent-Key: "+g.secrets["key"])
		if resp.StatusCode != want || (want == 200) != (text == `{"note_id":"n1","text":"text \u003cof\u003e it"}`) {
			t.Errorf("%s: %s %s", id, resp.Status, text)
		}
		if want == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s does not say when to try again", resp.Status)
		}
		if strings.Contains(text, "secret") {
			t.Errorf("%s tells what is inside: %s", id, text)
		}
	}
}

func TestBodyMustBeJSONAndSaySo(t *testing.T) {
	g := newSQLiteRig(t)
	key := "X-Agent-Key: " + g.mint("key", false, "orders:write")
	for name, c := range map[string]struct {
		headers []string
		status  int
	}{
		"json":           {[]string{jsonBody}, 201},
		"with a charset": {[]string{jsonBody + "; charset=utf-8"}, 201},
		"not compressed": {[]string{jsonBody, "Content-Encoding: identity"}, 201},
		"no type":        {nil, 415},
		"a form":         {[]string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		"plain text":     {[]string{"Content-Type: text/plain"}, 415},
		"compressed":     {[]string{jsonBody, "Content-Encoding: gzip"}, 415},
		"a key too long": {[]string{jsonBody, "Idempotency-Key: " + strings.Repeat("k", 256)}, 400},
		"a key of bytes": {[]string{jsonBody, "Idempotency-Key: \xff"}, 400},
		"an empty key":   {[]string{jsonBody, "Idempotency-Key: "}, 400},
		"two keys":       {[]string{jsonBody, "Idempotency-Key: a", "Idempotency-Key: b"}, 400},
		"a fitting key":  {[]string{jsonBody, "Idempotency-Key: a-b/c=1"}, 201},
	} {
		resp, text := g.do("POST", tools.BasePath+"/notes", `{"text":"hello"}`, append(c.headers, key)...)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %s %s", name, resp.Status, text)
		}
	}
	if resp, text := g.do("POST", tools.BasePath+"/notes", "", key); resp.StatusCode != 400 || !strings.Contains(text, `"field":"text"`) {
		t.Errorf("no body at all is no empty object: %s %s", resp.Status, text)
	}
}

func TestRoutesAreClosed(t *testing.T) {
	s, err := New(Config{Tools: tools.NewRegistry(), AllowedHosts: []string{"gate.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	admin := []string{
		"GET /keys", "POST /keys", "GET /keys/{id}", "PATCH /keys/{id}", "DELETE /keys/{id}", "POST /keys/{id}/rotate", "GET /subtokens", "DELETE /subtokens/{id}",
		"GET /people", "POST /people", "PATCH /people/{id}", "DELETE /people/{id}",
		"POST /people/{id}/link", "POST /people/{id}/token", "GET /people/{id}/sessions", "DELETE /people/{id}/sessions", "DELETE /people/{id}/sessions/{session}",
		"GET /people/{id}/links", "DELETE /people/{id}/links/{link}",
		"GET /roles", "PUT /roles/{name}", "DELETE /roles/{name}",
		"GET /policy", "GET /policy/versions", "GET /policy/versions/{n}", "GET /policy/schema", "POST /policy/check", "POST /policy/publish", "POST /policy/explain",
		"POST /policy/replay", "GET /policy/replay/{id}", "GET /policy/shadow", "PUT /policy/shadow", "DELETE /policy/shadow",
		"GET /trust", "GET /trust/{id}", "GET /trust/{id}/history", "POST /trust/{id}/feedback",
		"GET /freezes", "POST /freezes", "POST /freezes/{id}/lift",
		"GET /webhooks", "POST /webhooks", "POST /webhooks/{id}/rotate", "POST /webhooks/{id}/test", "DELETE /webhooks/{id}",
	}
	for i, route := range admin {
		admin[i] = strings.Replace(route, " ", " "+adminBase, 1)
	}
	want := append([]string{
		"GET /healthz", "GET /readyz", "POST /mcp", "POST /mcp/key",
		"POST " + tools.BasePath + "/tools/{name}",
		"GET " + tools.BasePath + "/approvals", "GET " + tools.BasePath + "/approvals/{id}", "POST " + tools.BasePath + "/approvals/{id}/resolve",
		"GET " + tools.BasePath + "/approvals/grants", "POST " + tools.BasePath + "/approvals/grants",
		"GET " + tools.BasePath + "/approvals/grants/{grant}", "DELETE " + tools.BasePath + "/approvals/grants/{grant}",
		"POST " + tools.BasePath + "/jobs/{id}/reconcile",
		"POST " + tools.BasePath + "/approvals/{id}/withdraw", "POST " + tools.BasePath + "/approvals/{id}/cancel", "GET " + tools.BasePath + "/approvals/report",
		"GET " + tools.BasePath + "/delegations", "POST " + tools.BasePath + "/delegations", "DELETE " + tools.BasePath + "/delegations/{id}",
		"GET /web/people.css", "GET /web/people.js", "GET /web/live.js",
		"GET /sign-in", "GET /sign-in/link", "POST /sign-in/link", "POST /sign-in/passkey/options", "POST /sign-in/passkey",
		"GET /sign-in/oidc", "GET /sign-in/oidc/callback",
		"GET /events", "GET /me", "POST /me/sign-out", "POST /me/sessions/{id}/revoke", "POST /me/sessions/revoke-others",
		"POST /me/passkeys/options", "POST /me/passkeys", "POST /me/passkeys/{id}/remove", "POST /me/deputies", "POST /me/deputies/{id}/remove", "POST /me/links", "POST /me/links/{id}/remove",
		"GET /{$}", "GET /approvals", "GET /approvals/{id}", "POST /approvals/{id}/vote", "POST /approvals/{id}/withdraw", "POST /approvals/{id}/cancel",
		"POST /approvals/{id}/undo", "GET /approvals/{id}/{act}", "GET /jobs", "GET /jobs/{id}", "POST /jobs/{id}/reconcile",
		"GET /freeze", "POST /freeze", "POST /freeze/{id}/lift",
		"GET " + tools.BasePath + "/subtokens", "DELETE " + tools.BasePath + "/subtokens/{id}",
	}, append(admin, "GET "+tools.BasePath+"/exports/{token}")...)
	if diff := cmp.Diff(want, s.routes); diff != "" {
		t.Errorf("routes besides those of tools (-want +got):\n%s", diff)
	}
	if _, err := New(Config{Tools: tools.NewRegistry(), AllowedHosts: []string{"https://gate.example.com"}}); err == nil {
		t.Error("an address is taken for a host name")
	}
}

func TestUnknownRoutesAnswerInOurShape(t *testing.T) {
	g := newSQLiteRig(t)
	for path, status := range map[string]int{
		"/": 401, "/nothing": 404, "/mcp/": 404, "//mcp": 404, "/mcp/../healthz": 404, "/metrics": 404, "/debug/pprof/": 404,
		"/.well-known/oauth-protected-resource": 404, "/.well-known/oauth-protected-resource/mcp": 404, "/.well-known/oauth-authorization-server": 404,
		"//evil.example/": 404, tools.BasePath: 404, tools.BasePath + "/tools/x": 405, "/healthz": 200, "/readyz": 200,
	} {
		resp, text := g.do("GET", path, "")
		if resp.StatusCode != status || !json.Valid([]byte(text)) {
			t.Errorf("GET %s: %s %s", path, resp.Status, text)
		}
	}
}

func TestReadyzFailsWithTheDatabase(t *testing.T) {
	g := newSQLiteRig(t)
	g.must(g.db.Close())
	for path, status := range map[string]int{"/healthz": 200, "/readyz": 503} {
		if resp, text := g.do("GET", path, ""); resp.StatusCode != status || strings.Contains(text, "sql") {
			t.Errorf("%s: %s %s", path, resp.Status, text)
		}
	}
}

func TestPanicIsAnsweredAndLoggedOnce(t *testing.T) {
	g := newSQLiteRig(t)
	g.server.handle("GET /panic", func(http.ResponseWriter, *http.Request) { panic("boom") })
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/panic?secret=1", nil)
	r.RemoteAddr = "127.0.0.1:1"
	g.server.ServeHTTP(w, r)
	if w.Code != 500 || !strings.Contains(w.Body.String(), `"INTERNAL"`) || strings.Contains(w.Body.String(), "boom") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	log := g.log.String()
	if strings.Count(log, "boom") != 1 || strings.Count(log, "\n") != 2 || !strings.Contains(log, w.Header().Get("X-Call-Id")) || strings.Contains(log, "secret") {
		t.Errorf("logged:\n%s", log)
	}
}
