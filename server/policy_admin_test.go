package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// noNotes is the open policy without the tool that reads notes.
var noNotes = strings.Replace(policytest.Open, "    ceiling: high\n", "    ceiling: high\n    deny: {tools: [notes_get]}\n", 1)

// object is a JSON object of names and values.
func object(pairs ...any) string {
	o := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		o[pairs[i].(string)] = pairs[i+1]
	}
	raw, _ := json.Marshal(o) // of texts and numbers
	return string(raw)
}

func TestPeoplePublishThePolicyOverREST(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		g.hire("ada", "admin")
		g.hire("gus", "security")
		g.mint("bot", false, "orders:read")
		notes := func(status int) {
			t.Helper()
			if resp, body := g.do("GET", tools.BasePath+"/notes/1", "", "X-Agent-Key: "+g.secrets["bot"]); resp.StatusCode != status {
				t.Errorf("%s %s", resp.Status, body)
			}
		}
		notes(200)
		first := g.admin("ada", 200, "GET", "/policy", "")
		if first["version"] != 1.0 || first["source"] != policytest.Open || first["in_force"] != true {
			t.Errorf("in force is %v", first)
		}
		checked := g.admin("ada", 200, "POST", "/policy/check", object("source", noNotes))
		if fmt.Sprint(checked["problems"]) != "[]" || checked["base_version"] != 1.0 || !strings.Contains(fmt.Sprint(checked["profiles"]), "loses:[notes_get]") {
			t.Errorf("checked is %v", checked)
		}
		notes(200)
		wrong := g.admin("ada", 200, "POST", "/policy/check", object("source", strings.Replace(noNotes, "notes_get", "notes_gte", 1)))
		if p := wrong["problems"].([]any)[0].(map[string]any); p["path"] != "profiles.admin.deny.tools[0]" || p["line"] != 9.0 || p["suggestion"] != "notes_get" {
			t.Errorf("checked is %v", wrong)
		}
		made := g.admin("ada", 201, "POST", "/policy/publish", object("source", noNotes, "note", "No notes", "base_version", 1))
		if made["version"] != 2.0 || made["status"] != "done" || made["author"] != "person:"+g.ids["ada"] || made["source"] != nil {
			t.Errorf("published is %v", made)
		}
		notes(403)

		for what, c := range map[string]struct {
			who, body string
			status    int
			code      string
		}{
			"from an old version": {"ada", object("source", policytest.Open, "note", "x", "base_version", 1), 409, "STALE_EXPECTATION"},
			"once more":           {"ada", object("source", noNotes, "note", "x"), 409, "CONFLICT"},
			"a broken document":   {"ada", object("source", "language: 7\n", "note", "x"), 400, "INVALID_ARGUMENTS"},
			"without a note":      {"ada", object("source", policytest.Open), 400, "INVALID_ARGUMENTS"},
			"an unknown field":    {"ada", object("source", policytest.Open, "note", "x", "force", true), 400, "INVALID_ARGUMENTS"},
			"a huge document":     {"ada", object("source", strings.Repeat("#", 300_000), "note", "x"), 400, "INVALID_ARGUMENTS"},
			"a huge body":         {"ada", object("source", strings.Repeat("#", 1<<20), "note", "x"), 413, "BODY_TOO_LARGE"},
			"no right":            {"gus", object("source", policytest.Open, "note", "x"), 403, "FORBIDDEN_SCOPE"},
			"an agent":            {"bot", object("source", policytest.Open, "note", "x"), 403, "FORBIDDEN_SCOPE"},
		} {
			if a := g.admin(c.who, c.status, "POST", "/policy/publish", c.body); a["error_code"] != c.code {
				t.Errorf("%s: %v", what, a)
			}
		}
		for _, path := range []string{"/policy", "/policy/versions", "/policy/versions/1", "/policy/schema"} {
			g.admin("ada", 200, "GET", path, "")
			g.admin("gus", 403, "GET", path, "")
			g.admin("bot", 403, "GET", path, "")
		}
		g.admin("gus", 403, "POST", "/policy/check", object("source", noNotes))
		g.admin("ada", 404, "GET", "/policy/versions/9", "")
		g.admin("ada", 400, "GET", "/policy/versions/two", "")
		g.admin("ada", 400, "GET", "/policy/versions?state=active", "")

		old := g.admin("ada", 200, "GET", "/policy/versions/1", "")
		g.admin("ada", 201, "POST", "/policy/publish", object("source", old["source"], "note", "Back"))
		notes(200)
		page := g.admin("ada", 200, "GET", "/policy/versions?limit=2", "")
		if v := page["versions"].([]any); len(v) != 2 || v[0].(map[string]any)["version"] != 3.0 || page["next_cursor"] == nil {
			t.Errorf("listed is %v", page)
		}
	})
}

func TestAPolicyWaitsForPeopleOverREST(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		g.hire("ada", "admin")
		g.hire("gus", "security")
		g.admin("ada", 201, "POST", "/policy/publish", object("source", policytest.Open+"publishing: {need: {people: 1, roles: [security]}}\n", "note", "Two of us"))
		asked := g.admin("ada", 202, "POST", "/policy/publish", object("source", noNotes, "note", "No notes"))
		id := asked["approval"].(map[string]any)["approval_id"].(string)
		if asked["status"] != "pending_approval" || asked["version"] != nil || !strings.Contains(fmt.Sprint(asked["preview"]), "+    deny: {tools: [notes_get]}") {
			t.Errorf("it is %v", asked)
		}
		for _, vote := range []struct { // in this order: afterwards nothing is left to decide
			who    string
			status int
		}{{"ada", 403}, {"gus", 200}} {
			who, status := vote.who, vote.status
			resp, body := g.do("POST", tools.BasePath+"/approvals/"+id+"/resolve", g.ballot(id, approvals.Approve), jsonBody, "Authorization: Bearer "+g.secrets[who])
			if resp.StatusCode != status {
				t.Errorf("%s: %s %s", who, resp.Status, body)
			}
		}
		g.work()
		if now := g.admin("ada", 200, "GET", "/policy", ""); now["version"] != 3.0 || now["source"] != noNotes {
			t.Errorf("in force is %v", now)
		}
	})
}
