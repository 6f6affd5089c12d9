package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// The rig: server processes (this test binary, which TestMain puts on the PATH as dtcgate) on one empty database: two on
// PostgreSQL, one on SQLite, which has room for no more. Agents and people load them over HTTP and keep a ledger of what
// they asked and were told (kill_load_test.go, kill_people_test.go), some of it has its effect at outside systems that live
// in this process (kill_outside_test.go), a nemesis ends the processes, and a checker afterwards holds ledger, database,
// outgoing files and the outside systems' own ledgers against each other (kill_check_test.go, kill_asked_test.go). That the
// checker sees what is wrong is a test of its own (kill_broken_test.go).

// killsVariable says how many times to kill; seedVariable repeats a run's choices, though not its timing.
const (
	killsVariable = "DTCGATE_TEST_KILLS"
	seedVariable  = "DTCGATE_TEST_SEED"
)

// The parties. Both keys hold all scopes.
const (
	freeKey  = "free"
	gatedKey = "gated" // requires approval
)

// openRequests is how many questions the gated key may have open.
const openRequests = 12

// killPolicy lets both keys do everything. Of the gated one two people are asked when much money is involved, and one otherwise.
var killPolicy = fmt.Sprintf(`language: 1
profiles:
  scoped: {}
  free: {tools: ["*"], resources: ["*"], actions: {request: ["*"]}, ceiling: high}
  gated: {tools: ["*"], resources: ["*"], actions: {request: ["*"]}, ceiling: high, open_requests: %d}
conditions: |
  permit (principal, action, resource);
approvals:
- {name: much, profiles: [gated], over: {money: {amount_minor: 149, currency: GBP}}, need: {people: 2}}
`, openRequests)

// killAtAnyTime is TestKilledAtAnyTimeNothingIsLostOrDoubled, which differs by build (kill_race_test.go).
func killAtAnyTime(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, engine)
			if engine == "postgres" {
				r.servers = 2
			}
			r.abroad.faulty.Store(true)
			callers := r.callers()
			rounds := max(kills(t)/r.servers, 1)
			for round := range rounds {
				servers := r.round(callers, syscall.SIGKILL)
				r.alive += servers[len(servers)-1].lived
				r.checkKept()
				if round%3 == 2 {
					r.passTime()
				}
				if t.Failed() {
					return
				}
			}
			r.passTime()
			r.finish(callers)
			r.report(rounds * r.servers)
			r.visible()
			r.check()
			r.checkMessages()
		})
	}
}

// TestSIGTERMDropsNoAcceptedRequest also has a call that waits for 25 s when the signal comes.
func TestSIGTERMDropsNoAcceptedRequest(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, engine)
			waiter := r.caller(gatedKey, waiterTurns)
			waiter.alone = true
			callers := append(r.callers(), waiter)
			for range 2 {
				p := r.round(callers, syscall.SIGTERM)[0]
				for _, k := range callers {
					k.lost = nil // asked again, it would be answered
				}
				if p.failed != nil || p.took > 10*time.Second {
					t.Errorf("after SIGTERM the server ended after %s: %v", p.took, p.failed)
				}
			}
			r.checkAnswered()
		})
	}
}

func kills(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv(killsVariable)); err == nil {
		return n
	}
	if testing.Short() {
		return 5
	}
	return killTimes
}

// A rig is a database with a server that comes and goes.
type rig struct {
	t       *testing.T
	dsn     string
	dir     string // --data
	rng     *rand.Rand
	book    *ledger
	shop    *stock
	parties map[string]*party
	abroad  *abroad
	env     []string        // of the servers, beside the test's own
	servers int             // that run at once
	hired   int             // callers
	alive   time.Duration   // for how long there was a server under load
	starts  []time.Duration // from each start to ready
	kept    int             // answers that checkKept has looked at
	before  map[string]bool // the effects that were there before any agent: kind and id
}

// A stock is what callers know of the shop.
type stock struct {
	orders   []string
	segments []string
}

// newRig makes a shop, two keys, three people and the outside systems.
func newRig(t *testing.T, engine string) *rig {
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64); err == nil {
		seed = n
	}
	t.Logf("%s=%d", seedVariable, seed)
	r := &rig{
		t: t, dir: t.TempDir(), dsn: storetest.DSN(t, engine), rng: rand.New(rand.NewPCG(seed, 0)),
		book: &ledger{}, shop: &stock{}, parties: map[string]*party{}, servers: 1,
	}
	r.cli(nil, "demo", "load", "--json")
	document := filepath.Join(r.dir, "kill.yaml")
	if err := os.WriteFile(document, []byte(killPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cli(nil, "policy", "publish", document, "--note", "only the gated key is held back")
	scopes := scopeList(allScopes())
	for name, args := range map[string][]string{
		freeKey:  {"key", "mint", "--name", freeKey, "--profile", freeKey, "--scopes", scopes, "--json"},
		gatedKey: {"key", "mint", "--name", gatedKey, "--profile", gatedKey, "--scopes", scopes, "--requires-approval", "--json"},
		"ada":    {"person", "add", "ada", "--json"},
		"bob":    {"person", "add", "bob", "--json"},
		"cyd":    {"person", "add", "cyd", "--role", "admin", "--json"},
	} {
		p := &party{}
		r.cli(p, args...)
		r.parties[name] = p
	}
	r.withDB(r.prepare)
	r.abroad = newAbroad(r)
	r.cli(nil, "webhook", "add", r.abroad.at+"/hook", "--webhook-networks", loopback, "--json")
	return r
}

// cli runs a command and reads the JSON it prints.
func (r *rig) cli(into any, args ...string) {
	r.t.Helper()
	var out, said bytes.Buffer
	if status := run(r.t.Context(), append([]string{"dtcgate", "--data", r.dir, "--db", r.dsn}, args...), &out, &said); status != exitDone {
		r.t.Fatalf("dtcgate %s: %d: %s", strings.Join(args, " "), status, said.String())
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		r.t.Fatalf("dtcgate %s: %v: %s", strings.Join(args, " "), err, out.String())
	}
}

// withDB opens the database beside whatever server runs.
func (r *rig) withDB(fn func(*store.DB) error) {
	r.t.Helper()
	db, err := store.Open(r.t.Context(), r.dsn)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := errors.Join(fn(db), db.Close()); err != nil {
		r.t.Fatal(err)
	}
}

const (
	groups    = 6
	groupSize = 450 // three batches
)

// prepare adds enough customers, in segments, for sends of several steps, and notes what is there.
func (r *rig) prepare(db *store.DB) error {
	ctx := r.t.Context()
	err := db.Bulk(ctx, func(tx *store.Tx) error {
		for g := range groups {
			if err := r.addGroup(tx, g); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return db.Read(ctx, func(tx *store.Tx) (err error) {
		if r.shop.orders, err = store.All(tx, text, `SELECT order_no FROM orders WHERE total_minor > 5000 ORDER BY order_no LIMIT 60`); err != nil {
			return err
		}
		there, err := effects(tx)
		r.before = map[string]bool{}
		for _, e := range there {
			r.before[e.tool+e.id] = true
		}
		return err
	})
}

func (r *rig) addGroup(tx *store.Tx, g int) error {
	merchant, country := r.parties[freeKey].Merchant, fmt.Sprint("Island ", g)
	var rows [][]any
	for i := range groupSize {
		no := fmt.Sprintf("K%d%03d", g, i)
		rows = append(rows, []any{merchant, no, country, no + "@example.com", store.Micros(tx.Now), 1})
	}
	err := tx.Insert("customers", []string{"merchant_id", "customer_no", "country", "email", "email_consent_at", "contact_synthetic"}, rows)
	if err != nil {
		return err
	}
	rule, err := json.Marshal(shop.Rule{Country: country})
	if err != nil {
		return err
	}
	id := store.NewID("seg", tx.Now)
	r.shop.segments = append(r.shop.segments, id)
	_, err = tx.Exec(`INSERT INTO segments (merchant_id, segment_id, name, rule, created_at, created_by) VALUES ($1, $2, $3, $4, $5, 'test')`,
		merchant, id, country, string(rule), store.Micros(tx.Now))
	return err
}

// passTime does what time would do if the rounds were minutes apart: what was on its way to an outside system has arrived,
// leases of killed processes run out, and customers who were written to may be written to again. No server runs meanwhile.
func (r *rig) passTime() {
	r.abroad.quiet()
	r.withDB(func(db *store.DB) error {
		return db.InTx(r.t.Context(), func(tx *store.Tx) error {
			for _, q := range []string{
				`UPDATE jobs SET lease_until = 0 WHERE status = 'running'`,
				`UPDATE leases SET until = 0`,
				`UPDATE outbox SET lease_until = 0 WHERE state = 'waiting' AND lease_until IS NOT NULL`,
				`UPDATE executions SET next_probe_at = 1 WHERE next_probe_at IS NOT NULL`,
				`UPDATE customers SET last_contacted_at = NULL WHERE last_contacted_at IS NOT NULL`,
			} {
				if _, err := tx.Exec(q); err != nil {
					return err
				}
			}
			return nil
		})
	})
	r.withDB(r.findDoubts)
}

// callers are three for each key, two for ada, who is at two screens at once, and one for each other person.
func (r *rig) callers() []*caller {
	var all []*caller
	for range 3 {
		all = append(all, r.caller(freeKey, agentTurns), r.caller(gatedKey, agentTurns))
	}
	for _, name := range []string{"ada", "ada", "bob", "cyd"} {
		all = append(all, r.caller(name, personTurns))
	}
	return all
}

func (r *rig) caller(name string, turns []turn) *caller {
	r.hired++
	return &caller{
		party: r.parties[name], name: fmt.Sprintf("%c", 'A'+r.hired), book: r.book, shop: r.shop, turns: turns,
		rng: rand.New(rand.NewPCG(r.rng.Uint64(), 0)),
	}
}

// steadyRate is how many requests a second come in half of the rounds. In the others each caller asks as soon as it is answered, which is
// several times as much, and lets kills meet transactions that many share.
const steadyRate = 50

// round starts the servers, loads them for a while and ends them one after the other while they are at work. The while is
// 20 to 500 ms from the first answer on, or in one of four rounds from the first request on. Whoever called a server that is
// gone turns to the next.
func (r *rig) round(callers []*caller, signal syscall.Signal) []*process {
	r.t.Helper()
	for _, k := range callers {
		k.pace = nil
	}
	if r.rng.IntN(2) == 0 {
		beat := time.NewTicker(time.Second / steadyRate)
		defer beat.Stop()
		for _, k := range callers {
			k.pace = beat.C
		}
	}
	var servers []*process
	var wires []*wire
	for range r.servers {
		p := r.start()
		servers, wires = append(servers, p), append(wires, p.wire)
	}
	began := time.Now()
	var busy sync.WaitGroup
	for i, k := range callers {
		busy.Go(func() {
			for at := range wires {
				k.work(wires[(i+at)%len(wires)])
			}
		})
	}
	idle := make(chan struct{})
	go func() { busy.Wait(); close(idle) }()
	if r.rng.IntN(4) > 0 {
		select {
		case <-servers[0].wire.works:
		case <-idle: // nothing is answered at all
		}
	}
	for _, p := range servers {
		<-time.After(time.Duration(20+r.rng.IntN(480)) * time.Millisecond) // not to wait for something: it is the moment of the kill
		p.end(signal)
		p.lived = time.Since(began)
	}
	<-idle
	for _, wrong := range r.book.wrong {
		r.t.Error(wrong)
	}
	r.book.wrong = nil
	return servers
}

// repeats is how many calls of each caller are made once more at the end.
const repeats = 200

// finish asks again what was not answered, and repeats what was answered last, lets the work that waits come to its end, and stops.
func (r *rig) finish(callers []*caller) {
	r.t.Helper()
	r.abroad.faulty.Store(false)
	p := r.start()
	for _, k := range callers {
		k.wire, k.pace = p.wire, nil
		if k.lost != nil && !k.send(k.lost) {
			r.t.Errorf("C7: not answered by a server that nobody kills: %v", k.lost)
		}
		for _, first := range k.writes[max(0, len(k.writes)-repeats):] {
			again := first.again()
			if err := errors.Join(p.wire.send(again), sameAnswer(first, again)); err != nil {
				r.t.Errorf("C7: %v", err)
			}
		}
	}
	r.settle()
	p.end(syscall.SIGTERM)
	if p.failed != nil || p.took > 10*time.Second {
		r.t.Errorf("the server ended after %s: %v", p.took, p.failed)
	}
}

// stillFor is how long nothing may get done while something is left to do.
const stillFor = time.Minute

// settle waits until nothing is queued or running and all messages are carried, as long as they become less.
func (r *rig) settle() {
	r.withDB(func(db *store.DB) error {
		look := time.NewTicker(50 * time.Millisecond)
		defer look.Stop()
		least, since := math.MaxInt, time.Now()
		for ; ; <-look.C {
			var jobs, letters, messages int
			ctx, cancel := context.WithTimeout(r.t.Context(), stillFor)
			err := db.Read(ctx, func(tx *store.Tx) error {
				return tx.QueryRow(`SELECT (SELECT COUNT(*) FROM jobs WHERE status IN ('queued', 'running')), (SELECT COUNT(*) FROM deliveries WHERE carried_at IS NULL),
					(SELECT COUNT(*) FROM outbox WHERE state = 'waiting')`).Scan(&jobs, &letters, &messages)
			})
			cancel()
			left := jobs + letters + messages
			if err != nil || left == 0 {
				return err
			}
			if left < least {
				least, since = left, time.Now()
			}
			if time.Since(since) > stillFor {
				return fmt.Errorf("%d jobs, %d letters and %d messages are still not done, and for %s none was", jobs, letters, messages, stillFor)
			}
		}
	})
}

func (r *rig) outbox() string  { return filepath.Join(r.dir, "outbox") }
func (r *rig) ledgers() string { return filepath.Join(r.dir, "abroad") }

// check holds everything against everything.
func (r *rig) check() {
	r.t.Helper()
	db := storetest.Open(r.t, r.dsn)
	for _, f := range r.findings(db, r.dir) {
		r.t.Errorf("%s", f)
	}
}

// findings runs the checker on a database and the directory that goes with it.
func (r *rig) findings(db *store.DB, dir string) []finding {
	r.t.Helper()
	found, err := evidence{
		db: db, outbox: filepath.Join(dir, "outbox"), abroad: filepath.Join(dir, "abroad"), trusted: r.trusted(dir), calls: r.book.calls, before: r.before,
	}.check(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// trusted is whose signatures on the record count.
func (r *rig) trusted(dir string) note.Verifiers {
	r.t.Helper()
	_, key, err := audit.LoadSigner(filepath.Join(dir, "audit.key"))
	if err != nil {
		r.t.Fatal(err)
	}
	trusted, err := audit.Verifiers(key)
	if err != nil {
		r.t.Fatal(err)
	}
	return trusted
}
