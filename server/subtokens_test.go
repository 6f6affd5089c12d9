package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// bothRigs runs fn on a rig with the real tools on each engine, with a key that may delegate.
func bothRigs(t *testing.T, fn func(*rig)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, tools.NewRegistry(dtc.Tools()...))
		g.mintKey(auth.Key{Name: "root", Scopes: []auth.Scope{"catalog:read", "orders:read", "orders:write"}, Ceiling: 5, Depth: 3, Tools: []string{"orders.*", "self.*"}})
		fn(g)
	})
}

const subTokensPath = tools.BasePath + "/subtokens"

// asked sends a request with a secret and gives status and body.
func (g *rig) asked(secret, method, path, body string, headers ...string) (int, string) {
	g.Helper()
	if body != "" {
		headers = append(headers, jsonBody)
	}
	resp, text := g.do(method, path, body, append(headers, "Authorization: Bearer "+secret)...)
	return resp.StatusCode, text
}

// A handed token is the answer to POST /subtokens.
type handed struct {
	ID        string   `json:"id"`
	Token     string   `json:"token"`
	Scopes    []string `json:"scopes"`
	ExpiresAt string   `json:"expires_at"`
}

func (g *rig) handOut(secret, body string) (h handed) {
	g.Helper()
	status, text := g.asked(secret, "POST", subTokensPath, body)
	if status != http.StatusCreated || json.Unmarshal([]byte(text), &h) != nil {
		g.Fatalf("%s is answered %d: %s", body, status, text)
	}
	return h
}

var aSubToken = regexp.MustCompile(`\bst_[0-9A-Za-z]{49}\b`)

func TestASubTokenIsGivenUsedListedAndRevoked(t *testing.T) {
	bothRigs(t, func(g *rig) {
		root := g.secrets["root"]
		one := g.handOut(root, `{"name":"night shift","scopes":["orders:read"],"tools":["orders.*","self.*"],"ceiling":"medium","ttl_seconds":600,"depth":1}`)
		if !aSubToken.MatchString(one.Token) || len(one.Scopes) != 1 || one.ExpiresAt == "" || !strings.HasPrefix(one.ID, "sub_") {
			t.Errorf("what is handed out is %+v", one)
		}
		two := g.handOut(one.Token, `{"name":"helper"}`)
		status, text := g.asked(two.Token, "GET", tools.BasePath+"/whoami", "")
		for _, want := range []string{
			`"kind":"sub_token"`, `"scopes":["orders:read"]`, `"risk_ceiling":"L4 (medium)"`, `"expires_at":"` + one.ExpiresAt,
			fmt.Sprintf(`"on_behalf_of":["subtoken:%s","key:%s"]`, one.ID, g.ids["root"]),
		} {
			if status != http.StatusOK || !strings.Contains(text, want) {
				t.Errorf("it is told %d %s, not %s", status, text, want)
			}
		}
		if status, _ := g.asked(two.Token, "POST", subTokensPath, `{"name":"deeper"}`); status != http.StatusForbidden {
			t.Errorf("one without depth delegates: %d", status)
		}
		g.must(g.gate.Sweep(t.Context()))
		status, text = g.asked(root, "GET", subTokensPath+"?limit=1", "")
		var page struct {
			SubTokens []struct {
				ID   string
				Used auth.Used `json:"usage"`
			}
			NextCursor string `json:"next_cursor"`
		}
		g.must(json.Unmarshal([]byte(text), &page))
		if status != http.StatusOK || len(page.SubTokens) != 1 || page.SubTokens[0].ID != two.ID || page.SubTokens[0].Used.Uses != 1 || page.NextCursor != two.ID {
			t.Errorf("the list is %d %s", status, text)
		}
		for query, want := range map[string]int{"?cursor=" + page.NextCursor: 200, "?limit=0": 400, "?limit=x": 400, "?limit=1&limit=2": 400, "?mine=1": 400, "?cursor=x": 400, "?limit=51": 400} {
			if status, text := g.asked(root, "GET", subTokensPath+query, ""); status != want {
				t.Errorf("%s is answered %d: %s", query, status, text)
			}
		}
		for _, c := range []struct {
			as, id string
			want   int
		}{
			{two.Token, one.ID, 404},
			{root, "sub_00000000000000000000000000", 404},
			{one.Token, two.ID, 200},
			{one.Token, two.ID, 200},
			{one.Token, one.ID, 200},
			{one.Token, one.ID, 401},
			{root, one.ID, 200},
		} {
			if status, text := g.asked(c.as, "DELETE", subTokensPath+"/"+c.id, ""); status != c.want {
				t.Errorf("deleting %s is answered %d: %s", c.id, status, text)
			}
		}
		for _, secret := range []string{one.Token, two.Token} {
			if status, _ := g.asked(secret, "GET", tools.BasePath+"/whoami", ""); status != http.StatusUnauthorized {
				t.Errorf("after its end it is answered %d", status)
			}
		}
	})
}

// T103 on the wire: the refusal says what is too wide and what could be given, and repeats nothing of what was asked.
func TestAWiderSubTokenIsRefusedByName(t *testing.T) {
	bothRigs(t, func(g *rig) {
		for body, want := range map[string]struct {
			status int
			code   tools.Code
			field  string
		}{
			`{"name":"n","scopes":["orders:read","orders:refund"]}`:   {403, tools.ForbiddenScope, "scopes"},
			`{"name":"n","scopes":["orders:raed"]}`:                   {400, tools.InvalidArguments, "scopes[0]"},
			`{"name":"n","tools":["products.search"]}`:                {403, tools.ForbiddenTool, "tools[0]"},
			`{"name":"n","tools":["dtc_secret_tool"]}`:                {400, tools.InvalidArguments, "tools[0]"},
			`{"name":"n","tools":[]}`:                                 {400, tools.InvalidArguments, "tools"},
			`{"name":"n","actions":["payments:refund"]}`:              {403, tools.ForbiddenTool, "actions[0]"},
			`{"name":"n","actions":["payments:secret"]}`:              {400, tools.InvalidArguments, "actions[0]"},
			`{"name":"n","ceiling":"high"}`:                           {403, tools.RiskCeiling, "ceiling"},
			`{"name":"n","depth":3}`:                                  {422, tools.LimitExceeded, "depth"},
			`{"name":"n","ttl_seconds":2592001}`:                      {400, tools.InvalidArguments, "ttl_seconds"},
			`{"name":"n","ttl_seconds":0}`:                            {400, tools.InvalidArguments, "ttl_seconds"},
			`{"name":"n","rate":{"per_minute":0}}`:                    {400, tools.InvalidArguments, "rate"},
			`{"name":"n","networks":["10.0.0.0/8; DROP TABLE"]}`:      {400, tools.InvalidArguments, "networks"},
			`{"name":"n","parent_id":"key_00000000000000000000000"}`:  {400, tools.InvalidArguments, "parent_id"},
			`{"scopes":["orders:read"]}`:                              {400, tools.InvalidArguments, "name"},
			`{"name":"n","scopes":["orders:read"],"scopes":["*:*"]}`:  {400, tools.InvalidArguments, ""},
			`{"name":"n","scopes":["orders:read"],"merchant_id":"m"}`: {400, tools.InvalidArguments, "merchant_id"},
		} {
			status, text := g.asked(g.secrets["root"], "POST", subTokensPath, body)
			var r tools.Refusal
			g.must(json.Unmarshal([]byte(text), &r))
			if status != want.status || r.Code != want.code || want.field != "" && (r.Errors == nil || r.Errors.Fields[0].Field != want.field) {
				t.Errorf("%s is answered %d %s", body, status, text)
			}
			for _, asked := range []string{"raed", "secret", "DROP"} {
				if strings.Contains(text, asked) {
					t.Errorf("%s is repeated in %s", body, text)
				}
			}
		}
		g.must(g.db.Read(t.Context(), func(tx *store.Tx) error {
			page, err := auth.ListSubTokens(tx, g.store, g.store, "", 10)
			if len(page) > 0 {
				t.Errorf("there are %+v", page)
			}
			return err
		}))
	})
}

// The secret stands in the one answer: in no table, no log line, no entry, and not in the answer to a repeat.
func TestTheSecretOfASubTokenIsKeptNowhere(t *testing.T) {
	bothRigs(t, func(g *rig) {
		root := g.secrets["root"]
		body := `{"name":"repeated","idempotency_key":"once"}`
		first := g.handOut(root, body)
		_, r := g.rpc("root", eras[1], "tools/call", `{"name":"dtc_delegate","arguments":{"name":"over MCP","idempotency_key":"mcp"}}`)
		overMCP := aSubToken.FindString(string(r.Result.StructuredContent))
		status, again := g.asked(root, "POST", subTokensPath, body)
		if status != http.StatusCreated || aSubToken.MatchString(again) || !strings.Contains(again, "shown once, in the answer to call_") || !strings.Contains(again, first.ID) {
			t.Errorf("a repeat is answered %d %s", status, again)
		}
		if _, r := g.rpc("root", eras[0], "tools/call", `{"name":"dtc_delegate","arguments":{"name":"over MCP","idempotency_key":"mcp"}}`); aSubToken.MatchString(string(r.Result.StructuredContent)+r.Result.Content[0].Text) || r.Result.IsError {
			t.Errorf("a repeat over MCP is answered %s", r.Result.StructuredContent)
		}
		if status, text := g.asked(root, "POST", subTokensPath, `{"name":"rehearsed","dry_run":true}`); status != http.StatusOK || aSubToken.MatchString(text) || !strings.Contains(text, `"dry_run"`) {
			t.Errorf("a rehearsal is answered %d %s", status, text)
		}
		_, _ = g.asked(first.Token, "GET", tools.BasePath+"/whoami", "")
		_, _ = g.asked(root, "DELETE", subTokensPath+"/"+first.ID, "")
		_, _ = g.asked(first.Token, "GET", tools.BasePath+"/whoami", "")
		g.must(g.gate.Sweep(t.Context()))
		kept := g.everything() + g.log.String()
		if !aSubToken.MatchString(overMCP) || !strings.Contains(kept, first.ID) {
			t.Fatalf("the test sees nothing: %q", overMCP)
		}
		for _, secret := range []string{first.Token, overMCP, root} {
			for i := 0; i+20 <= len(secret); i++ { // no part of it either
				if strings.Contains(kept, secret[i:i+20]) {
					t.Fatalf("a part of a secret is kept: …%s…", kept[max(0, strings.Index(kept, secret[i:i+20])-200):strings.Index(kept, secret[i:i+20])])
				}
			}
		}
	})
}

// everything is every value of every table.
func (g *rig) everything() string {
	g.Helper()
	names := map[string]string{
		"sqlite":   `SELECT name FROM sqlite_master WHERE type = 'table'`,
		"postgres": `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`,
	}
	var b strings.Builder
	g.must(g.db.Read(g.Context(), func(tx *store.Tx) error {
		tables, err := store.All(tx, func(r store.Row) (name string, err error) { return name, r.Scan(&name) }, names[g.db.Engine()])
		if err != nil {
			return err
		}
		for _, table := range slices.Sorted(slices.Values(tables)) {
			rows, err := tx.Query(fmt.Sprintf(`SELECT * FROM %q`, table))
			if err != nil {
				return err
			}
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			for rows.Next() {
				values, into := make([]any, len(columns)), make([]any, len(columns))
				for i := range values {
					into[i] = &values[i]
				}
				if err := rows.Scan(into...); err != nil {
					return err
				}
				fmt.Fprintf(&b, "%s %s\n", table, values)
			}
			if err := rows.Close(); err != nil {
				return err
			}
		}
		return nil
	}))
	return b.String()
}
