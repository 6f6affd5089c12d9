package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// hire adds a person with roles.
func (g *rig) hire(name string, roles ...string) {
	g.Helper()
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		p, secret, err := auth.AddPerson(tx, g.store, name, roles...)
		g.secrets[name], g.ids[name] = secret, p.ID
		return err
	}))
}

// admin makes a request of the admin API, which must have this status, and gives the answer.
func (g *rig) admin(who string, status int, method, path, body string, headers ...string) map[string]any {
	g.Helper()
	resp, text := g.do(method, adminBase+path, body, append(headers, jsonBody, "Authorization: Bearer "+g.secrets[who])...)
	if resp.StatusCode != status {
		g.Fatalf("%s %s: %s %s", method, path, resp.Status, text)
	}
	var answer map[string]any
	g.must(json.Unmarshal([]byte(text), &answer))
	if id := resp.Header.Get("X-Call-Id"); id == "" {
		g.Errorf("%s %s: the answer has no call id", method, path)
	}
	return answer
}

func TestPeopleAdministerKeysOverREST(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		g.hire("ada", "admin")
		minted := g.admin("ada", 201, "POST", "/keys", `{"name":"bot","profile":"admin","scopes":["orders:*"],"tools":["notes_*"],"networks":["127.0.0.0/8"],"ceiling":"medium","ttl_seconds":3600,"per_minute":600,"depth":1}`)
		key, id := fmt.Sprint(minted["secret"]), fmt.Sprint(minted["id"])
		if minted["owner_id"] != g.ids["ada"] || minted["ceiling"] != "L4" || minted["expires_at"] == nil {
			t.Errorf("minted is %v", minted)
		}
		notes := func(status int, key string) {
			t.Helper()
			if resp, body := g.do("GET", tools.BasePath+"/notes/1", "", "X-Agent-Key: "+key); resp.StatusCode != status {
				t.Errorf("%s %s", resp.Status, body)
			}
		}
		notes(200, key)

		shown := g.admin("ada", 200, "GET", "/keys/"+id, "")
		if shown["secret"] != nil || shown["version"] != 1.0 {
			t.Errorf("shown is %v", shown)
		}
		g.admin("ada", 400, "PATCH", "/keys/"+id, `{"scopes":["catalog:read"]}`)
		g.admin("ada", 400, "PATCH", "/keys/"+id, `{"scopes":["catalog:read"],"version":1}`, `If-Match: "2"`)
		g.admin("ada", 400, "PATCH", "/keys/"+id, `{}`, `If-Match: *`)
		changed := g.admin("ada", 200, "PATCH", "/keys/"+id, `{"scopes":["catalog:read"]}`, `If-Match: "1"`)
		if fmt.Sprint(changed["scopes"]) != "[catalog:read]" || changed["version"] != 2.0 || fmt.Sprint(changed["tools"]) != "[notes_*]" {
			t.Errorf("changed is %v", changed)
		}
		stale := g.admin("ada", 409, "PATCH", "/keys/"+id, `{"scopes":[],"version":1}`)
		if stale["error_code"] != "STALE_EXPECTATION" || !strings.Contains(fmt.Sprint(stale["errors"]), "version:2") {
			t.Errorf("stale is %v", stale)
		}
		notes(403, key)
		g.admin("ada", 200, "PATCH", "/keys/"+id, `{"scopes":["orders:read"],"version":2}`)

		rotated := g.admin("ada", 200, "POST", "/keys/"+id+"/rotate", `{"overlap_seconds":0}`)
		notes(401, key)
		notes(200, fmt.Sprint(rotated["secret"]))
		again := g.admin("ada", 200, "POST", "/keys/"+id+"/rotate", "")
		if again["old_secret_until"] == nil {
			t.Errorf("rotated is %v", again)
		}
		revoked := g.admin("ada", 200, "DELETE", "/keys/"+id, "")
		if revoked["waiting"] != 0.0 || revoked["sub_tokens"] != 0.0 {
			t.Errorf("revoked is %v", revoked)
		}
		notes(401, fmt.Sprint(again["secret"]))
		g.admin("ada", 404, "DELETE", "/keys/"+id, "")

		for i := range 3 {
			g.admin("ada", 201, "POST", "/keys", fmt.Sprintf(`{"name":"bot %d","scopes":[]}`, i))
		}
		var ids []any
		for next := ""; ; {
			page := g.admin("ada", 200, "GET", "/keys?limit=2"+next, "")
			for _, k := range page["keys"].([]any) {
				ids = append(ids, k.(map[string]any)["id"])
			}
			if page["next_cursor"] == nil {
				break
			}
			next = "&cursor=" + fmt.Sprint(page["next_cursor"])
		}
		if len(ids) != 4 || ids[0] != id || len(slices.Compact(ids)) != 4 {
			t.Errorf("the pages hold %v", ids)
		}
	})
}

func TestPeopleAdministerPeopleAndRolesOverREST(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		g.hire("ada", "admin")
		g.admin("ada", 200, "PUT", "/roles/buyer", `{"scopes":["orders:*","approvals:read"]}`)
		added := g.admin("ada", 201, "POST", "/people", `{"name":"mara","roles":["buyer"]}`)
		g.secrets["mara"] = fmt.Sprint(added["token"])
		id := fmt.Sprint(added["id"])
		g.admin("mara", 403, "GET", "/people", "")
		g.admin("ada", 409, "POST", "/people", `{"name":"mara","roles":[]}`)
		g.admin("ada", 400, "POST", "/people", `{"name":"eve","roles":["boss"]}`)
		g.admin("ada", 409, "DELETE", "/roles/buyer", "")
		g.admin("ada", 404, "DELETE", "/roles/seller", "")
		if m := g.admin("ada", 200, "PATCH", "/people/"+id, `{"roles":["admin"]}`); fmt.Sprint(m["roles"]) != "[admin]" || m["token"] != nil {
			t.Errorf("changed is %v", m)
		}
		g.admin("mara", 403, "GET", "/people", "") // the token carries what it carried when ada saw it
		g.secrets["mara"] = fmt.Sprint(g.admin("ada", 201, "POST", "/people/"+id+"/token", "")["token"])
		link := fmt.Sprint(g.admin("mara", 201, "POST", "/people/"+g.ids["ada"]+"/link", `{"ttl_seconds":60}`)["link"])
		g.admin("mara", 400, "POST", "/people/"+g.ids["ada"]+"/link", `{"ttl_seconds":59}`)
		_, code, _ := strings.Cut(link, "/sign-in/link#")
		if resp, text := g.once("POST", "/sign-in/link", url.Values{"code": {code}}.Encode(), asForm, asPage); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("by %s: %s %s", link, resp.Status, text)
		}
		page := g.admin("mara", 200, "GET", "/people?state=active", "")
		if len(page["people"].([]any)) != 2 {
			t.Errorf("the people are %v", page)
		}
		g.admin("mara", 200, "DELETE", "/people/"+g.ids["ada"], "")
		if resp, _ := g.do("GET", adminBase+"/people", "", "Authorization: Bearer "+g.secrets["ada"]); resp.StatusCode != 401 {
			t.Errorf("whoever was revoked is answered %s", resp.Status)
		}
		g.admin("mara", 409, "DELETE", "/people/"+id, "")
		g.admin("mara", 409, "PATCH", "/people/"+id, `{"roles":["manager"]}`)
		g.admin("mara", 200, "DELETE", "/roles/buyer", "")
		if roles := g.admin("mara", 200, "GET", "/roles", ""); strings.Contains(fmt.Sprint(roles), "buyer") {
			t.Errorf("the roles are %v", roles)
		}
	})
}

// Whatever is wrong with a request, who may not make it is told that and nothing else; who may is told every field.
func TestAWrongAdminRequestIsJudgedBeforeItIsExplained(t *testing.T) {
	g := newSQLiteRig(t)
	g.hire("ada", "admin")
	g.person("mo") // a manager
	g.mint("bot", false, auth.AgentScopes...)
	for _, who := range []string{"mo", "bot"} {
		for _, body := range []string{`{"name":1}`, `{"name":"x","name":"y"}`, `{}`, ``} {
			if r := g.admin(who, 403, "POST", "/keys", body); r["error_code"] != "FORBIDDEN_SCOPE" || strings.Contains(fmt.Sprint(r["errors"]), "name") {
				t.Errorf("%s is answered %v", who, r)
			}
		}
		g.admin(who, 403, "GET", "/keys?what=1", "")
	}
	for body, field := range map[string]string{
		`{"name":1}`: "name", `{"scopes":["orders:raed"],"name":"x"}`: "scopes[0]", `{"name":"x","actions":["nobody:nothing"]}`: "actions[0]",
		`{"name":"x","networks":["10.0.0.1/8"]}`: "networks", `{"name":"x","tools":["dtc_nothing"]}`: "tools[0]", `{"name":"x","ceiling":"huge"}`: "ceiling",
		`{"name":"x","merchant_id":"mer_x"}`: "merchant_id", `{"name":"x","owner_id":"per_nobody"}`: "owner_id", `{}`: "name",
		`{"name":"x","resources":["*"]}`: "resources", `{"name":"x","burst":3}`: "per_minute", `{"name":"x","scopes":["keys:admin"]}`: "scopes[0]",
	} {
		r := g.admin("ada", 400, "POST", "/keys", body)
		if errs, ok := r["errors"].(map[string]any); !ok || !strings.Contains(fmt.Sprint(errs["fields"]), "field:"+field+" ") {
			t.Errorf("%s is answered %v", body, r)
		}
	}
	for _, query := range []string{"limit=0", "limit=x", "limit=201", "state=gone", "limit=1&limit=2", "cursor=x", "order=name"} {
		g.admin("ada", 400, "GET", "/keys?"+query, "")
	}
	if resp, _ := g.do("POST", adminBase+"/keys", `{}`, "Authorization: Bearer "+g.secrets["ada"]); resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a body that does not say that it is JSON: %s", resp.Status)
	}
}

// Administrators of two merchants see and change nothing of each other, and are not told whether it is there.
func TestAdministrationEndsAtTheMerchant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		g.hire("ada", "admin")
		g.mint("bot", false, "orders:read")
		here := g.store
		g.store = g.merchant("another shop")
		g.hire("eve", "admin")
		g.store = here
		for _, c := range [][3]string{
			{"GET", "/keys/%s", ""}, {"PATCH", "/keys/%s", `{"version":1,"scopes":[]}`}, {"DELETE", "/keys/%s", ""}, {"POST", "/keys/%s/rotate", ""},
		} {
			foreign := g.admin("eve", 404, c[0], fmt.Sprintf(c[1], g.ids["bot"]), c[2])
			unknown := g.admin("eve", 404, c[0], fmt.Sprintf(c[1], "key_nobody"), c[2])
			delete(foreign, "call_id")
			delete(unknown, "call_id")
			if fmt.Sprint(foreign) != fmt.Sprint(unknown) {
				t.Errorf("%s: %v and %v", c[0], foreign, unknown)
			}
		}
		g.admin("eve", 404, "PATCH", "/people/"+g.ids["ada"], `{"roles":[]}`)
		g.admin("eve", 404, "DELETE", "/people/"+g.ids["ada"], "")
		g.admin("eve", 400, "POST", "/keys", fmt.Sprintf(`{"name":"x","owner_id":%q}`, g.ids["ada"]))
		if page := g.admin("eve", 200, "GET", "/keys", ""); len(page["keys"].([]any)) != 0 {
			t.Errorf("the keys are %v", page)
		}
		if page := g.admin("eve", 200, "GET", "/people", ""); len(page["people"].([]any)) != 1 {
			t.Errorf("the people are %v", page)
		}
		_, err := g.gate.Key(t.Context(), gate.By{Principal: auth.OperatorPrincipal(g.store)}, g.ids["bot"])
		g.must(err)
	})
}
