package server

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

func TestPeopleRehearseADraftAndLetItRunBesideThePolicyOverREST(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		g.hire("ada", "admin")
		g.hire("mara", "manager")
		g.mint("bot", false, "orders:read", "orders:write")
		get := func() {
			g.Helper()
			if resp, body := g.do("GET", tools.BasePath+"/notes/1", "", "X-Agent-Key: "+g.secrets["bot"]); resp.StatusCode != http.StatusOK {
				t.Fatalf("%s %s", resp.Status, body)
			}
		}
		get()
		begun := g.admin("ada", 202, "POST", "/policy/replay", `{"since":"1h",`+strings.TrimPrefix(object("source", noNotes), "{"))
		replay := begun
		for replay["status"] == "running" {
			time.Sleep(20 * time.Millisecond)
			replay = g.admin("ada", 200, "GET", "/policy/replay/"+begun["id"].(string), "")
		}
		if report := replay["report"].(map[string]any); report["summary"] != "Of 1 calls 1 would be refused." || report["complete"] != true {
			t.Errorf("it is told %v", replay)
		}
		g.admin("ada", 404, "GET", "/policy/shadow", "")
		g.admin("ada", 200, "PUT", "/policy/shadow", `{"note":"to see",`+strings.TrimPrefix(object("source", noNotes), "{"))
		get()
		report := g.admin("ada", 200, "GET", "/policy/shadow", "")
		if report["differences"] != 1.0 || report["note"] != "to see" {
			t.Errorf("the shadow: %v", report)
		}
		g.admin("ada", 200, "DELETE", "/policy/shadow", "")
		g.admin("ada", 404, "DELETE", "/policy/shadow", "")
		for body, status := range map[string]int{`{"source":"language: 9\n"}`: 400, `{"since":"7d"}`: 400, `{"source":"x","since":"yesterday"}`: 400} {
			g.admin("ada", status, "POST", "/policy/replay", body)
		}
		g.admin("mara", 403, "POST", "/policy/replay", object("source", noNotes))
		g.admin("mara", 403, "GET", "/policy/replay/"+begun["id"].(string), "")
	})
}
