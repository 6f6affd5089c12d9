package server

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// sets runs one statement past everything that guards the policies.
func (g *rig) sets(statement string, args ...any) {
	g.Helper()
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(statement, args...)
		return err
	}))
}

// inForce says by hand which version is in force.
func (g *rig) inForce(version int) {
	g.Helper()
	g.sets("UPDATE merchants SET policy_version = $1 WHERE id = $2", version, g.store)
}

// replica is another server on the rig's database, with the keys of the rig.
func (g *rig) replica() *rig {
	g.Helper()
	other, log := *g, zerolog.New(g.log)
	registry := g.server.tools
	other.gate = gate.New(gate.Config{DB: g.db, Tools: registry, Log: log, Exports: g.exports})
	var err error
	other.server, err = New(Config{Gate: other.gate, Tools: registry, DB: g.db, Log: log, Version: "test", Networks: g.server.networks})
	g.must(err)
	web := httptest.NewServer(other.server)
	g.Cleanup(web.Close)
	other.url = web.URL
	return &other
}

// A stored policy that cannot be read grants nothing, and not what the one before it did.
func TestWithoutAPolicyThatCanBeReadEveryCallIsRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		g.mint("bot", false, "orders:read", "orders:write")
		g.isReady("before")
		insert := `INSERT INTO policies (merchant_id, version, sha256, source, author, note, diff, created_at) VALUES ($1, $2, $3, $4, 'x', '', '', 0)`
		g.sets(insert, g.store, 50, policy.Hash([]byte("something else")), policytest.Open)
		g.sets(insert, g.store, 51, policy.Hash([]byte("no policy")), "no policy")
		for version, what := range map[int]string{0: "there never was one", 49: "its row is not there", 50: "its row was changed", 51: "its row is no document"} {
			g.inForce(version)
			g.isClosed(what)
			g.replica().isClosed(what + ", of another server")
			g.inForce(1)
			g.isReady(what + ", until it was")
		}
	})
}

// isReady holds the server to be ready and to answer a call.
func (g *rig) isReady(when string) {
	g.Helper()
	if resp, body := g.do("GET", "/readyz", ""); resp.StatusCode != 200 || body != `{"status":"ready"}` {
		g.Errorf("%s: /readyz is answered %s %s", when, resp.Status, body)
	}
	if resp, body := g.call("bot", "notes_search"); resp != 200 {
		g.Errorf("%s: a call is answered %d %s", when, resp, body)
	}
}

// isClosed holds the server to say that it has no policy, and to refuse whatever is asked of it.
func (g *rig) isClosed(when string) {
	g.Helper()
	if resp, body := g.do("GET", "/readyz", ""); resp.StatusCode != 503 || body != `{"status":"no_policy"}` {
		g.Errorf("%s: /readyz is answered %s %s", when, resp.Status, body)
	}
	if resp, body := g.do("GET", "/healthz", ""); resp.StatusCode != 200 {
		g.Errorf("%s: /healthz is answered %s %s", when, resp.Status, body)
	}
	for _, tool := range []string{"notes_search", "notes_write", "notes_nothing"} {
		status, body := g.call("bot", tool)
		if status != wires[tools.Unavailable].http || !strings.Contains(body, `"UNAVAILABLE"`) || !strings.Contains(body, "There is no policy that can be read") {
			g.Errorf("%s: %s is answered %d %s", when, tool, status, body)
		}
	}
	entries := g.entries()
	if last := entries[len(entries)-1]; last.Status != "refused" || last.Code != string(tools.Unavailable) || last.PolicyRule != "builtin.policy" {
		g.Errorf("%s: on record is %+v", when, last)
	}
	if _, r := g.rpc("bot", eras[1], "tools/list", "{}"); r.Error == nil && len(r.Result.Tools) > 0 {
		g.Errorf("%s: listed is %+v", when, r.Result.Tools)
	}
}

// call makes a call over REST without arguments.
func (g *rig) call(who, tool string) (status int, body string) {
	g.Helper()
	resp, body := g.do("POST", tools.BasePath+"/tools/"+tool, "{}", jsonBody, "Authorization: Bearer "+g.secrets[who])
	return resp.StatusCode, body
}

// What one server has published another one on the database judges by, with the very next call.
func TestAPublishedPolicyCountsWithTheNextCallOfEveryServer(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		other := g.replica()
		g.mint("bot", false, "orders:read", "orders:write")
		without := strings.Replace(policytest.Open, `tools: ["*"]`, `tools: ["notes.write"]`, 1)
		for round := range 10 {
			document, want := policytest.Open, 200
			if round%2 == 0 {
				document, want = without, 403
			}
			g.publish(document)
			for _, server := range []*rig{other, g} {
				status, body := server.call("bot", "notes_search")
				entries := g.entries()
				if last := entries[len(entries)-1]; status != want || last.PolicyVersion != int64(round+2) {
					t.Errorf("under version %d it is answered %d %s, on record under version %d", round+2, status, body, last.PolicyVersion)
				}
			}
			_, r := other.rpc("bot", eras[1], "tools/list", "{}")
			if listed := strings.Contains(fmt.Sprint(r.Result.Tools), "notes_search"); listed != (want == 200) {
				t.Errorf("under version %d it lists %+v", round+2, r.Result.Tools)
			}
		}
	})
}
