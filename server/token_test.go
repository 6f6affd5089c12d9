package server

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/authtest"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

const (
	publicURL = "https://gate.example.com"
	metadata  = `resource_metadata="https://gate.example.com/.well-known/oauth-protected-resource/mcp"`
)

// newTokenRig is a rig that trusts an issuer.
func newTokenRig(t *testing.T, registry *tools.Registry) (*rig, *authtest.Issuer) {
	t.Helper()
	g, from := newRig(t, storetest.New(t, "sqlite"), registry), authtest.NewIssuer(t)
	log := zerolog.New(g.log)
	issuers, err := auth.NewIssuers(publicURL, []auth.Issuer{{
		Name: "test", Issuer: from.URL, JWKSURL: from.KeysURL(), Claims: auth.ClaimNames{Merchant: "merchant"}, Ceiling: "high", Profile: "admin", RequiresApproval: true,
		Scopes: []string{"*:read", "orders:write", "marketing:*"},
	}}, func(err error) { t.Error(err) })
	g.must(err)
	g.gate = gate.New(gate.Config{DB: g.db, Tools: registry, Log: log, Exports: g.exports, Issuers: issuers})
	g.server, err = New(Config{Gate: g.gate, Tools: registry, DB: g.db, Log: log, Version: "test", Networks: g.server.networks, PublicURL: publicURL, Issuers: issuers})
	g.must(err)
	web := httptest.NewServer(g.server)
	t.Cleanup(web.Close)
	g.url = web.URL
	return g, from
}

// token signs a token of the rig's merchant.
func (g *rig) token(from *authtest.Issuer, scope string, changes map[string]any) string {
	g.Helper()
	claims := map[string]any{"merchant": rigMerchant, "scope": scope}
	maps.Copy(claims, changes)
	return from.Token(g, time.Now(), claims)
}

func TestWithoutIssuersNothingTellsWhereToGetATokenFrom(t *testing.T) {
	g := newSQLiteRig(t)
	for _, path := range []string{metadataPath, metadataPath + "/mcp"} {
		resp, body := g.do("GET", path, "")
		if resp.StatusCode != 404 || !strings.Contains(body, "UNKNOWN_ROUTE") {
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
	}
	for path, headers := range map[string][]string{"/mcp": {jsonBody}, "/mcp/key": {jsonBody}, tools.BasePath + "/tools/notes_search": {jsonBody, "Authorization: Bearer a.b.c"}} {
		resp, _ := g.do("POST", path, "{}", headers...)
		if c := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 401 || strings.Contains(c, "scope=") || strings.Contains(c, "resource_metadata") {
			t.Errorf("%s: %s %s", path, resp.Status, c)
		}
	}
}

func TestWithAnIssuerTheResourceIsDescribed(t *testing.T) {
	g, from := newTokenRig(t, fakes)
	for _, path := range []string{metadataPath, metadataPath + "/mcp"} {
		resp, body := g.do("GET", path, "")
		var got map[string]any
		g.must(json.Unmarshal([]byte(body), &got))
		want := map[string]any{
			"resource": publicURL + "/mcp", "resource_name": "dtcgate", "authorization_servers": []any{from.URL}, "bearer_methods_supported": []any{"header"},
			"scopes_supported": []any{
				"ads:read", "analytics:read", "catalog:read", "customers:read", "marketing:read", "marketing:send", "marketing:write", "orders:read",
				"orders:write", "store:read", "support:read",
			},
		}
		if diff := cmp.Diff(want, got); diff != "" || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s\n%s", path, resp.Status, diff)
		}
	}
	if resp, _ := g.do("GET", metadataPath+"/mcp/key", ""); resp.StatusCode != 404 {
		t.Errorf("/mcp/key is described: %s", resp.Status)
	}
}

func TestWhoBringsNoTokenIsToldToAskForReading(t *testing.T) {
	g, _ := newTokenRig(t, fakes)
	const reading = `scope="ads:read analytics:read catalog:read customers:read marketing:read orders:read store:read support:read"`
	for _, c := range []struct{ path, credential, want string }{
		{"/mcp", "", `Bearer realm="dtcgate", ` + reading + ", " + metadata},
		{"/mcp", "sq_agt_x", `Bearer realm="dtcgate", error="invalid_token", ` + reading + ", " + metadata},
		{"/mcp", "a.b.c", `Bearer realm="dtcgate", error="invalid_token", ` + reading + ", " + metadata},
		{"/mcp/key", "", `Bearer realm="dtcgate"`},
		{"/mcp/key", "a.b.c", `Bearer realm="dtcgate", error="invalid_token"`},
		{tools.BasePath + "/tools/notes_send", "", `Bearer realm="dtcgate", ` + reading + ", " + metadata},
	} {
		headers := []string{jsonBody}
		if c.credential != "" {
			headers = append(headers, "Authorization: Bearer "+c.credential)
		}
		resp, body := g.do("POST", c.path, "{}", headers...)
		if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 401 || got != c.want || !strings.Contains(body, "UNAUTHORIZED") {
			t.Errorf("%s with %q: %s\n%s\n%s", c.path, c.credential, resp.Status, got, c.want)
		}
	}
}

// TestATokenThatIsNotGoodIsRefusedAlike looks at the wire: which tokens are not good is the table in package auth.
func TestATokenThatIsNotGoodIsRefusedAlike(t *testing.T) {
	g, from := newTokenRig(t, fakes)
	g.secrets["good"] = g.token(from, "orders:read", nil)
	if resp, r := g.rpc("good", eras[0], "tools/call", `{"name":"notes_search"}`); resp.StatusCode != 200 || r.Result.IsError {
		t.Fatalf("a good token: %s %+v", resp.Status, r)
	}
	var first string
	for name, token := range map[string]string{
		"expired":              g.token(from, "orders:read", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}),
		"for somebody else":    g.token(from, "orders:read", map[string]any{"aud": "https://other.example.com"}),
		"of nobody's merchant": g.token(from, "orders:read", map[string]any{"merchant": "nowhere"}),
		"of another issuer":    authtest.NewIssuer(t).Token(t, time.Now(), nil),
		"unsigned":             "eyJhbGciOiJub25lIn0.e30.",
		"no token at all":      "..",
		"of 9 KiB":             g.token(from, "orders:read", map[string]any{"x": strings.Repeat("x", 9<<10)}),
	} {
		resp, body := g.do("POST", tools.BasePath+"/tools/notes_search", "{}", jsonBody, "Authorization: Bearer "+token)
		var refusal tools.Refusal
		g.must(json.Unmarshal([]byte(body), &refusal))
		said := resp.Status + resp.Header.Get("WWW-Authenticate") + refusal.Message + refusal.Next
		if first == "" {
			first = said
		}
		if resp.StatusCode != 401 || said != first {
			t.Errorf("%s: %s", name, said)
		}
		if strings.Contains(g.log.String(), token) {
			t.Errorf("%s: the token is in the log", name)
		}
	}
	reasons := map[string]bool{}
	for _, e := range g.entries() {
		if e.Event == "auth.refused" {
			reasons[e.Reason] = true
		}
	}
	for _, want := range []string{"expired", "wrong audience", "unknown merchant", "unknown issuer", "malformed"} {
		if !reasons[want] {
			t.Errorf("%q is not on record: %v", want, reasons)
		}
	}
}

// TestATokenThatGivesTooLittleIsAskedToStepUp is threat T8 and MCP's step-up: 403 with exactly what the call needs.
func TestATokenThatGivesTooLittleIsAskedToStepUp(t *testing.T) {
	g, from := newTokenRig(t, fakes)
	g.mint("key", false, "orders:read")
	g.secrets["token"] = g.token(from, "orders:read", nil)
	want := `Bearer realm="dtcgate", error="insufficient_scope", scope="marketing:send", ` + metadata
	const send = `{"name":"notes_send","arguments":{"note_id":"n","expected_version":1,"reason":"because it asked","idempotency_key":"k"}}`
	for _, era := range eras {
		body, headers := message(era, "tools/call", send)
		resp, text := g.do("POST", "/mcp", body, append(headers, "Authorization: Bearer "+g.secrets["token"])...)
		var refusal tools.Refusal
		g.must(json.Unmarshal([]byte(text), &refusal))
		if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 403 || got != want || refusal.Code != tools.ForbiddenScope || refusal.CallID == "" ||
			resp.Header.Get("X-Call-Id") != refusal.CallID || !cmp.Equal(refusal.Errors.Missing, []string{"marketing:send"}) {
			t.Errorf("%s: %s %s\n%s", era, resp.Status, got, text)
		}
		resp, _ = g.do("POST", "/mcp/key", body, append(headers, "Authorization: Bearer "+g.secrets["token"])...)
		if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 403 || got != `Bearer realm="dtcgate", error="insufficient_scope"` {
			t.Errorf("%s, /mcp/key: %s %s", era, resp.Status, got)
		}
		if resp, r := g.rpc("key", era, "tools/call", send); resp.StatusCode != 200 || !r.Result.IsError || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s, a key: %s %+v", era, resp.Status, r)
		}
		if resp, r := g.rpc("token", era, "tools/call", `{"name":"notes_get","arguments":{"note_id":7}}`); resp.StatusCode != 200 || !r.Result.IsError {
			t.Errorf("%s, another refusal: %s %+v", era, resp.Status, r)
		}
	}
	resp, _ := g.do("POST", tools.BasePath+"/notes/n/send", `{}`, jsonBody, "Authorization: Bearer "+g.secrets["token"])
	if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 403 || got != want {
		t.Errorf("REST: %s %s", resp.Status, got)
	}
	resp, _ = g.do("POST", tools.BasePath+"/notes/n/send", `{}`, jsonBody, "X-Agent-Key: "+g.secrets["key"])
	if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 403 || got != "" {
		t.Errorf("REST, a key: %s %s", resp.Status, got)
	}
	refusals := 0
	for _, e := range g.entries() {
		if e.Code == string(tools.ForbiddenScope) && strings.HasPrefix(e.Actor, "jwt:jwt_") {
			refusals++
		}
	}
	if refusals != 5 {
		t.Errorf("%d of 5 refusals are on record", refusals)
	}
}

func TestAChallengeNamesAllThatTheCallNeedsAndNothingElse(t *testing.T) {
	registry := tools.NewRegistry(tools.Define(tools.Spec{
		Name: "notes_pause", Path: "notes.pause", Title: "Pause a note", Description: about, AnyScope: []auth.Scope{"marketing:write", "store:write"},
		Risk: tools.Risk{Undo: 1}, Resource: "note:/note_id", Undo: "Resume it",
		Routes: []tools.Route{{Method: "POST", Path: "/notes/{note_id}/pause"}},
	}, tools.Func[writeNote, note]{
		Preview: func(*tools.Call, writeNote) (tools.Preview, error) { return tools.Preview{Summary: "Pause."}, nil },
		Write:   func(_ *tools.Call, in writeNote) (note, error) { return note{in.NoteID, "paused"}, nil },
		Needs: func(_ *tools.Call, in writeNote) ([]auth.Scope, error) {
			return []auth.Scope{auth.Scope(in.NoteID + ":write")}, nil
		},
	}))
	g, from := newTokenRig(t, registry)
	for _, c := range []struct{ scope, note, want string }{
		{"orders:read", "store", `scope="marketing:write"`}, // any of two would do
		{"marketing:write", "store", `scope="store:write"`},
	} {
		resp, body := g.do("POST", tools.BasePath+"/tools/notes_pause", `{"note_id":"`+c.note+`","idempotency_key":"k"}`, jsonBody,
			"Authorization: Bearer "+g.token(from, c.scope, nil))
		if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 403 || !strings.Contains(got, c.want+", ") {
			t.Errorf("%s, %s: %s %s %s", c.scope, c.note, resp.Status, got, body)
		}
	}
}

type writeNote struct {
	NoteID         string `json:"note_id" jsonschema:"description=Which note"`
	IdempotencyKey string `json:"idempotency_key,omitempty" jsonschema:"description=The same for a repeat"`
	DryRun         bool   `json:"dry_run,omitempty" jsonschema:"description=Only rehearse"`
}

func TestARevokedSubjectIsRefusedOnItsNextRequest(t *testing.T) {
	g, from := newTokenRig(t, fakes)
	g.secrets["token"] = g.token(from, "orders:read", nil)
	if resp, r := g.rpc("token", eras[1], "tools/call", `{"name":"notes_search"}`); resp.StatusCode != 200 || r.Result.IsError {
		t.Fatalf("%s %+v", resp.Status, r)
	}
	var seen []auth.JWTAgent
	g.must(g.db.InTx(t.Context(), func(tx *store.Tx) (err error) {
		if seen, err = auth.ListJWTAgents(tx, g.store, 10); err != nil || len(seen) != 1 {
			t.Fatalf("%+v, %v", seen, err)
		}
		return auth.RevokeJWTAgent(tx, g.store, seen[0].ID)
	}))
	for name, token := range map[string]string{"the same token": g.secrets["token"], "a fresh one": g.token(from, "orders:read catalog:read", nil)} {
		resp, _ := g.do("POST", tools.BasePath+"/tools/notes_search", "{}", jsonBody, "Authorization: Bearer "+token)
		if resp.StatusCode != 401 {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	var events []string
	for _, e := range g.entries() {
		events = append(events, e.Event+" "+e.Reason)
	}
	want := []string{"jwt.first_seen " + from.URL, "call ", "auth.refused revoked"}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("the record (-want +got):\n%s", diff)
	}
}

// TestWhatATokenParkedOutlivesTheTokenButNotItsAgent parks two calls; one agent is revoked before they run.
func TestWhatATokenParkedOutlivesTheTokenButNotItsAgent(t *testing.T) {
	g, from := newTokenRig(t, fakes)
	g.person("owner")
	parked := map[string]string{}
	for _, subject := range []string{"stays", "goes"} {
		token := g.token(from, "marketing:send", map[string]any{"sub": subject, "exp": time.Now().Add(time.Minute).Unix()})
		resp, body := g.do("POST", tools.BasePath+"/notes/n/send", `{"idempotency_key":"k","reason":"because it asked"}`, jsonBody, "Authorization: Bearer "+token)
		var answer struct {
			JobID string `json:"job_id"`
		}
		g.must(json.Unmarshal([]byte(body), &answer))
		if parked[subject] = answer.JobID; resp.StatusCode != 202 {
			t.Fatalf("%s: %s", resp.Status, body)
		}
		if resp, body := g.do("POST", tools.BasePath+"/approvals/"+answer.JobID+"/resolve", g.ballot(answer.JobID, approvals.Approve), jsonBody, "Authorization: Bearer "+g.secrets["owner"]); resp.StatusCode != 200 {
			t.Fatalf("%s: %s", resp.Status, body)
		}
	}
	g.must(g.db.InTx(t.Context(), func(tx *store.Tx) error {
		all, err := auth.ListJWTAgents(tx, g.store, 10)
		for _, a := range all {
			if a.Subject == "goes" {
				return errors.Join(auth.BeginChange(tx, g.store), auth.RevokeJWTAgent(tx, g.store, a.ID))
			}
		}
		return err
	}))
	g.db.Now = func() time.Time { return time.Now().Add(5 * time.Minute) } // after both tokens
	g.work()
	ran := map[string]string{}
	for _, e := range g.entries() {
		if strings.HasPrefix(e.Event, "job.") {
			ran[e.JobID] = e.Event
		}
	}
	if ran[parked["stays"]] != "job.succeeded" || ran[parked["goes"]] == "job.succeeded" {
		t.Errorf("%v of %v", ran, parked)
	}
}

func TestTokensOfTwoMerchantsReachTheirOwn(t *testing.T) {
	g, from := newTokenRig(t, fakes)
	for merchant, changes := range map[string]map[string]any{g.store: nil, g.merchant("other"): {"merchant": "other"}} {
		resp, _ := g.do("POST", tools.BasePath+"/tools/notes_search", "{}", jsonBody, "Authorization: Bearer "+g.token(from, "orders:read", changes))
		entries := g.entries()
		last := entries[len(entries)-1]
		if resp.StatusCode != 200 || last.Merchant != merchant || last.Event != "call" {
			t.Errorf("%s: %s, on record %+v", merchant, resp.Status, last)
		}
	}
}

// TestTheSDKsClientCallsWithAToken is the official client with a token, up to the refusal that asks for a better one.
func TestTheSDKsClientCallsWithAToken(t *testing.T) {
	g, from := newTokenRig(t, fakes)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: g.url + "/mcp", DisableStandaloneSSE: true,
		HTTPClient: &http.Client{Transport: bearing{g.token(from, "orders:read", nil)}},
	}, nil)
	g.must(err)
	defer session.Close()
	list, err := session.ListTools(t.Context(), nil)
	if err != nil || len(list.Tools) != 2 {
		t.Fatalf("listed %+v, %v", list, err)
	}
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "notes_search"})
	if err != nil || result.IsError {
		t.Errorf("a call: %+v, %v", result, err)
	}
	if _, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "notes_write", Arguments: map[string]any{"text": "x"}}); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("a call beyond the token: %v", err)
	}
}

type bearing struct{ token string }

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return http.DefaultTransport.RoundTrip(r)
}
