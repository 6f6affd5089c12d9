package server

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/spans"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// A rig is a server on a real database and a real port.
type rig struct {
	*testing.T
	db      *store.DB
	gate    *gate.Gate
	server  *Server
	metrics *Metrics
	url     string
	log     *logged
	secrets map[string]string // by the name of key or person
	ids     map[string]string
	store   string // the merchant
	exports *shop.DossierFiles
}

// logged keeps what a server logs.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// loopback is where the tests' requests come from.
var loopback = auth.Networks{netip.MustParsePrefix("127.0.0.0/8")}

// rigMerchant is the merchant of every rig.
const rigMerchant = "Test shop"

func newRig(t *testing.T, db *store.DB, registry *tools.Registry) *rig {
	t.Helper()
	return newTracedRig(t, db, registry, nil)
}

func newTracedRig(t *testing.T, db *store.DB, registry *tools.Registry, tracer *spans.Tracer) *rig {
	t.Helper()
	return newRigBy(t, db, registry, tracer, os.Getenv("DTCGATE_TEST_SLOW") != "")
}

// newRigBy is newRig, and says whether MCP messages go the long way.
func newRigBy(t *testing.T, db *store.DB, registry *tools.Registry, tracer *spans.Tracer, slow bool) *rig {
	t.Helper()
	g := &rig{T: t, db: db, log: &logged{}, secrets: map[string]string{}, ids: map[string]string{}}
	db.Spans = tracer
	g.metrics = NewMetrics(registry, "test")
	log := zerolog.New(g.log)
	g.exports = &shop.DossierFiles{DB: db, Dir: t.TempDir()}
	g.gate = gate.New(gate.Config{DB: db, Tools: registry, Log: log, Exports: g.exports, Observe: g.metrics.Called, Spans: tracer})
	g.metrics.Watch(Sources{DB: db, Gate: g.gate, Log: log})
	var err error
	g.server, err = New(Config{
		Gate: g.gate, Tools: registry, DB: db, Log: log, Version: "test", Networks: Networks{Agents: loopback, Admins: loopback},
		Metrics: g.metrics, ScrapeToken: scrapeToken, Spans: tracer, Slow: slow,
	})
	g.must(err)
	web := httptest.NewUnstartedServer(nil)
	web.Config = HTTPServer(g.replicated(registry))
	web.Start()
	t.Cleanup(web.Close)
	g.url = web.URL
	g.store = g.merchant(rigMerchant)
	return g
}

// replicated is the rig's server, or with DTCGATE_TEST_REPLICAS=1 that and a second one in turns, as if each request came through a load
// balancer: what one keeps in its memory the other does not know. Tests that reach into the server do not hold then.
func (g *rig) replicated(registry *tools.Registry) http.Handler {
	if os.Getenv("DTCGATE_TEST_REPLICAS") == "" {
		return g.server
	}
	log := zerolog.New(g.log)
	other, err := New(Config{
		Gate:  gate.New(gate.Config{DB: g.db, Tools: registry, Log: log, Exports: g.exports}),
		Tools: registry, DB: g.db, Log: log, Version: "test", Networks: Networks{Agents: loopback, Admins: loopback},
	})
	g.must(err)
	var turn atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if turn.Add(1)%2 == 0 {
			other.ServeHTTP(w, r)
			return
		}
		g.server.ServeHTTP(w, r)
	})
}

// TestStoriesOverTwoReplicasInTurns tells the stories that go through the whole house with each request at another server.
func TestStoriesOverTwoReplicasInTurns(t *testing.T) {
	t.Setenv("DTCGATE_TEST_REPLICAS", "1")
	files, err := filepath.Glob("testdata/story-*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			db := storetest.New(t, "postgres")
			loadDemo(t, db)
			tell(t, db, file, false)
		})
	}
	for name, story := range map[string]func(*testing.T){
		"session": TestASessionOpensUntilItEnds, "decision": TestAPersonDecidesFromTheBrowser,
		"confirmed": TestAnAdminInABrowserConfirmsBeforeChanges, "signed in anew": TestSigningInAnewEndsWhatTheBrowserHeld,
	} {
		t.Run(name, story)
	}
}

// merchant gives the merchant of a name, who has a policy.
func (g *rig) merchant(name string) (id string) {
	g.Helper()
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, name)
		if err == nil {
			id, err = m.ID, policytest.Install(tx, m.ID)
		}
		return err
	}))
	return id
}

// publish puts a policy in force at the rig's merchant, as an operator does.
func (g *rig) publish(document string) {
	g.Helper()
	_, err := g.gate.PublishPolicy(g.Context(), gate.By{Principal: auth.OperatorPrincipal(g.store), Transport: "cli"}, document, "for this test", nil)
	g.must(err)
}

// newSQLiteRig is a rig on a fresh SQLite file, with the fake tools.
func newSQLiteRig(t *testing.T) *rig {
	t.Helper()
	return newRig(t, storetest.New(t, "sqlite"), fakes)
}

func (g *rig) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// mint makes a key of that name, whose calls people confirm when asked for, and gives its secret.
func (g *rig) mint(name string, confirm bool, scopes ...auth.Scope) string {
	g.Helper()
	return g.mintKey(auth.Key{Name: name, Scopes: scopes, RequiresApproval: confirm, Ceiling: auth.MaxLevel})
}

func (g *rig) mintKey(k auth.Key) string {
	g.Helper()
	k.Merchant, k.Profile = g.store, cmp.Or(k.Profile, "admin")
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		key, secret, err := auth.MintKey(tx, k)
		g.secrets[k.Name], g.ids[k.Name] = secret, key.ID
		return err
	}))
	return g.secrets[k.Name]
}

// person adds somebody with roles, a manager without any.
func (g *rig) person(name string, roles ...string) string {
	g.Helper()
	if len(roles) == 0 {
		roles = []string{"manager"}
	}
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		p, secret, err := auth.AddPerson(tx, g.store, name, roles...)
		g.secrets[name], g.ids[name] = secret, p.ID
		return err
	}))
	return g.secrets[name]
}

func (g *rig) revoke(name string) {
	g.Helper()
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error { return auth.RevokeKey(tx, g.store, g.ids[name]) }))
}

// work carries out everything that is due.
func (g *rig) work() {
	g.Helper()
	for worked := true; worked; {
		var err error
		worked, err = g.gate.Resume(g.Context(), "test")
		g.must(err)
	}
}

// do sends a request, with headers as "Name: value", and gives the answer with its body.
func (g *rig) do(method, path, body string, headers ...string) (*http.Response, string) {
	g.Helper()
	return g.send(g.Context(), method, path, strings.NewReader(body), headers...)
}

func (g *rig) send(ctx context.Context, method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	g.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, g.url+path, body)
	g.must(err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	g.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	g.must(err)
	return resp, string(raw)
}

// ballot is what somebody sends who has read a request, whose own id or its job's is id.
func (g *rig) ballot(id string, d approvals.Decision) string {
	g.Helper()
	var r approvals.Request
	g.must(g.db.Read(g.Context(), func(tx *store.Tx) error {
		merchant, err := store.One(tx, func(row store.Row) (m string, err error) { return m, row.Scan(&m) },
			`SELECT merchant_id FROM approvals WHERE id = $1 OR job_id = $1`, id)
		if err == nil {
			r, err = approvals.Find(tx, merchant, id)
		}
		return err
	}))
	return fmt.Sprintf(`{"decision":%q,"reason":"It was looked at","seen_sha256":%q}`, d, r.Fingerprint)
}

// entries reads the record of what was called, oldest first.
func (g *rig) entries() []audit.Entry {
	g.Helper()
	var entries []audit.Entry
	g.must(g.db.Read(g.Context(), func(tx *store.Tx) error {
		found, err := audit.Find(tx, audit.Filter{Limit: 10_000})
		for _, e := range slices.Backward(found) {
			if e.Event != "demo.loaded" && (e.Event != policy.EventPublished || e.Actor != policytest.Author) { // made with the rig
				entries = append(entries, e.Entry)
			}
		}
		return err
	}))
	return entries
}

const jsonBody = "Content-Type: application/json"

// role makes a role of the rig's merchant.
func (g *rig) role(name string, scopes ...auth.Scope) {
	g.Helper()
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		return auth.PutRole(tx, auth.Role{Merchant: g.store, Name: name, Scopes: scopes})
	}))
}
