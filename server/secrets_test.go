package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// planted are what is planted that was not made here, and that nobody may keep where it stands as a credential.
var planted = []string{
	"eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJwbGFudGVkIn0.cGxhbnRlZC1zaWduYXR1cmU",
	"4/0AX4XfWh-planted-oauth-code",
}

// The whole product, searched: a secret that was made here stands in the answer that made it and nowhere else, wherever
// its holder puts it, whatever fails on the way. A log line and a row live longer than anybody's care with them.
func TestSecretsAreFoundNowhere(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		traces := newCollector(t)
		g := newTracedRig(t, db, fakes, traces.tracer(1))
		g.hire("ada", "admin")
		minted := g.admin("ada", 201, "POST", "/keys", `{"name":"the bot","profile":"admin","scopes":["orders:*","marketing:*"]}`)
		rotated := g.admin("ada", 200, "POST", "/keys/"+fmt.Sprint(minted["id"])+"/rotate", `{"overlap_seconds":60}`)
		added := g.admin("ada", 201, "POST", "/people", `{"name":"mara","roles":["manager"]}`)
		ours := []string{fmt.Sprint(minted["secret"]), fmt.Sprint(rotated["secret"]), fmt.Sprint(added["token"]), g.secrets["ada"]}
		g.secrets["bot"] = ours[1]
		given, err := g.gate.MintSubToken(t.Context(), gate.By{Principal: auth.OperatorPrincipal(g.store), Transport: "cli"}, fmt.Sprint(minted["id"]), auth.Delegation{Name: "helper"})
		g.must(err)
		_, link, _ := strings.Cut(g.link("ada"), "#")
		in, err := g.gate.SignInByLink(t.Context(), gate.Browser{Source: "127.0.0.1"}, link)
		g.must(err)
		ours = append(ours, given.Token, link, in.Secret)
		var answers []string
		for _, s := range append(slices.Clone(ours), planted...) {
			answers = append(answers, g.plant(s)...)
		}
		g.work()

		for where, text := range map[string]string{"the log": g.log.String(), "the database": g.everything(), "an answer": strings.Join(answers, "\n"), "the metrics": g.scrape(), "a trace": traces.text()} {
			for _, s := range ours {
				// a secret without its prefix and first characters, which lists show
				if at := strings.Index(text, s[12:]); at >= 0 {
					t.Errorf("%s holds a secret: …%s", where, text[max(0, at-200):min(len(text), at+20)])
				}
			}
		}
		for _, s := range planted {
			if strings.Contains(g.log.String(), s) {
				t.Errorf("the log holds %s", s)
			}
		}
		for _, sign := range []string{"the bot", "manager", fmt.Sprint(minted["id"])} {
			if !strings.Contains(g.everything(), sign) {
				t.Errorf("%q is not found either: this test looks in the wrong place", sign)
			}
		}
		if scraped, traced := g.scrape(), traces.text(); !strings.Contains(scraped, "notes_write") || !strings.Contains(traced, "notes_write") {
			t.Error("neither the metrics nor the traces tell of the calls: this test looks in the wrong place")
		}
		if !strings.Contains(g.log.String(), "a panic") {
			t.Error("nothing panicked")
		}
	})
}

// plant puts a secret wherever a client can, and gives the answers.
func (g *rig) plant(s string) (answers []string) {
	g.Helper()
	bot, ada := "Authorization: Bearer "+g.secrets["bot"], "Authorization: Bearer "+g.secrets["ada"]
	say := func(method, path, body string, headers ...string) {
		g.Helper()
		resp, text := g.do(method, path, body, append(headers, jsonBody)...)
		var h strings.Builder
		g.must(resp.Header.Write(&h))
		answers = append(answers, h.String()+text)
	}
	base := tools.BasePath
	for _, h := range []string{"Authorization: Bearer " + s, "X-Agent-Key: " + s, "Authorization: Basic " + s, "Authorization: " + s, "Cookie: " + sessionCookie + "=" + s} {
		for _, note := range []string{"1", "panic", "odd", "broken"} {
			say("GET", base+"/notes/"+note, "", h)
		}
		say("GET", adminBase+"/keys", "", h)
		say("POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, h)
	}
	say("GET", base+"/whoami", "", bot, "X-Agent-Key: "+s)
	inPath := []string{"/x"}
	if !strings.Contains(s, "/") {
		inPath = []string{"/" + s, base + "/notes/" + s, base + "/exports/" + s, base + "/approvals/" + s, "/mcp/" + s}
	}
	if len(inPath) > 1 {
		say("POST", base+"/tools/"+s, `{}`, bot)
		say("PUT", adminBase+"/roles/"+s, `{"scopes":[]}`, ada)
		say("DELETE", adminBase+"/people/"+s, "", ada)
		say("GET", adminBase+"/keys/"+s, "", ada)
	}
	for _, path := range inPath {
		say("GET", path, "", bot)
		say("GET", path+"?access_token="+s+"&code="+s, "", bot)
	}
	say("GET", base+"/notes?text="+s, "", bot)
	say("GET", base+"/notes?"+s+"=1", "", bot)
	for _, body := range []string{`{"text":%q}`, `{%q:1}`, `{"text":"x","idempotency_key":%q}`, `{"text":%q,"dry_run":true}`, `%q`, `{"text":%[1]q,"text":%[1]q}`} {
		say("POST", base+"/notes", fmt.Sprintf(body, s), bot)
		say("POST", base+"/notes", fmt.Sprintf(body, s), bot, "Idempotency-Key: "+s)
		say("POST", adminBase+"/keys", fmt.Sprintf(strings.ReplaceAll(body, "text", "name"), s), ada)
		say("POST", adminBase+"/people", fmt.Sprintf(strings.ReplaceAll(body, "text", "name"), s), ada)
		say("POST", base+"/approvals/apr_x/resolve", fmt.Sprintf(strings.ReplaceAll(body, "text", "reason"), s), ada)
	}
	say("POST", base+"/notes/1/send", fmt.Sprintf(`{"reason":"as %s said","idempotency_key":"k"}`, s), bot)
	for _, params := range []string{`{"name":%q}`, `{"name":"notes_get","arguments":{"note_id":%q}}`, `{"name":"notes_get","arguments":{%q:1}}`, `{"name":"notes_write","arguments":{"text":%q},"_meta":{"x":%[1]q}}`} {
		say("POST", "/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+params+`}`, s), bot, "Accept: application/json, text/event-stream")
	}
	say("POST", "/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q}`, s), bot)
	say("GET", adminBase+"/keys?cursor="+s, "", ada)
	say("PATCH", adminBase+"/keys/key_x", `{}`, ada, "If-Match: "+s)
	say("GET", base+"/whoami", "", bot, "User-Agent: "+s, "Referer: https://x.example/?key="+s, "Origin: https://"+strings.ReplaceAll(s, "/", "-"))
	return answers
}

// Whoever tries secrets learns from no answer whether one was real: unknown, revoked, expired, rotated away and mistyped are
// answered alike, on every transport, to the byte.
func TestEveryBadCredentialIsAnsweredAlike(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Now()
		db.Now = func() time.Time { return now }
		g := newRig(t, db, fakes)
		g.hire("ada", "admin")
		g.hire("gone", "admin")
		g.mint("revoked", false, "orders:read")
		g.mintKey(auth.Key{Name: "expired", Scopes: []auth.Scope{"orders:read"}, ExpiresAt: now.Add(time.Minute)})
		g.mintKey(auth.Key{Name: "orphan", Owner: g.ids["gone"]})
		rotated := g.mint("rotated", false, "orders:read")
		now = now.Add(time.Hour)
		g.revoke("revoked")
		g.must(db.InTx(t.Context(), func(tx *store.Tx) error {
			_, _, err := auth.RotateKey(tx, g.store, g.ids["rotated"], 0)
			if err == nil {
				err = auth.RevokePerson(tx, g.store, g.ids["gone"])
			}
			return err
		}))
		other := newSQLiteRig(t).mint("stranger", false)
		mistyped := other[:len(other)-1] + string('0'+(other[len(other)-1]-'0'+1)%10)
		bad := map[string]string{
			"unknown": other, "revoked": g.secrets["revoked"], "expired": g.secrets["expired"], "rotated": rotated, "orphan": g.secrets["orphan"],
			"mistyped": mistyped, "a revoked person": g.secrets["gone"], "no secret of ours": "hunter2",
		}
		for _, route := range [][3]string{
			{"GET", tools.BasePath + "/notes/1", ""},
			{"POST", tools.BasePath + "/tools/nothing", "{}"},
			{"GET", adminBase + "/keys", ""},
			{"POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`},
			{"POST", "/mcp/key", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`},
		} {
			answers := map[string][]string{}
			for _, name := range slices.Sorted(maps.Keys(bad)) {
				for _, header := range []string{"Authorization: Bearer ", "X-Agent-Key: "} {
					resp, body := g.do(route[0], route[1], route[2], jsonBody, header+bad[name])
					answer := g.withoutIDs(resp, body)
					answers[answer] = append(answers[answer], name)
				}
			}
			if len(answers) != 1 {
				t.Errorf("%s %s tells bad credentials apart: %v", route[0], route[1], answers)
			}
		}
	})
}

// withoutIDs is an answer but for what is new in each: its call id and its time.
func (g *rig) withoutIDs(resp *http.Response, body string) string {
	g.Helper()
	var r tools.Refusal
	g.must(json.Unmarshal([]byte(body), &r))
	if r.CallID == "" || resp.Header.Get("X-Call-Id") != r.CallID {
		g.Errorf("the call is %q in the body and %q in the header", r.CallID, resp.Header.Get("X-Call-Id"))
	}
	resp.Header.Set("X-Call-Id", "")
	resp.Header.Set("Date", "")
	return fmt.Sprint(resp.Status, resp.Header, strings.ReplaceAll(body, r.CallID, ""))
}
