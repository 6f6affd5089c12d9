package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/server"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// Approvals: how long it takes from a press on approve until the call has run, and to read what waits, while very many requests wait. All but
// those that are decided are copies of one parked call. Server, workers and whoever presses are one process, whose CPU time
// is told as well; that of PostgreSQL is not in it.

// A press is what is measured of one engine.
type press struct {
	*stand
	ctx    context.Context
	token  string // of the person who decides
	cookie string
	at     string // the server's address
}

// measureApprovals prints a row for each engine and figure.
func measureApprovals(ctx context.Context, open, presses int) error {
	pg, err := storetest.Launch(true)
	if err != nil {
		return err
	}
	defer pg.Remove() //nolint:errcheck // a temporary server
	dir, err := os.MkdirTemp("", "dtcgate-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("\nApprovals, with %d open requests\n\n| engine | what | times | p50 | p99 | CPU each |\n|--|--|--|--|--|--|\n", open)
	for _, dsn := range []string{filepath.Join(dir, "approvals.db"), pg.DSN} {
		if err := approvalsOn(ctx, dsn, open, presses); err != nil {
			return err
		}
	}
	return nil
}

func approvalsOn(ctx context.Context, dsn string, open, presses int) error {
	p, done, err := newPress(ctx, dsn, open)
	if err != nil {
		return err
	}
	defer done()
	return p.measure(presses)
}

// newPress is a server among so many open requests. done ends it.
func newPress(ctx context.Context, dsn string, open int) (p *press, done func(), err error) {
	s, err := newStand(ctx, dsn, "")
	if err != nil {
		return nil, nil, err
	}
	began := time.Now()
	s.db.Now = func() time.Time { return examplesDay.Add(time.Since(began)) }
	p = &press{stand: s, ctx: ctx}
	end := func() {}
	if err = p.signIn(); err == nil {
		end, err = p.serve()
	}
	if err == nil {
		err = p.flood(open)
	}
	if err != nil {
		s.close()
		return nil, nil, err
	}
	return p, func() { end(); s.close() }, nil
}

// flatApprovals compares few open requests with many (figure 3). What is parked is decided at once, so that few stay few.
func (b *bench) flatApprovals(ctx context.Context) error {
	b.flatHead("open requests")
	return onEach(func(engine string) error { return b.flatApprovalsOn(ctx, engine) })
}

const fewOpen = 10

func (b *bench) flatApprovalsOn(ctx context.Context, engine string) error {
	var both [2]*press
	for side, open := range []int{fewOpen, b.open} {
		dsn, end, err := b.database(engine, fmt.Sprint("approvals", side))
		if err != nil {
			return err
		}
		defer end()
		var done func()
		if both[side], done, err = newPress(ctx, dsn, open); err != nil {
			return err
		}
		defer done()
	}
	var parked [2]map[string]string
	park := func(_ context.Context, side, _ int) (took time.Duration, err error) {
		took, err = timing(func() error { parked[side], err = both[side].park(); return err })
		if err == nil {
			err = both[side].press(parked[side])
		}
		return took, err
	}
	press := func(_ context.Context, side, _ int) (took time.Duration, err error) {
		if parked[side], err = both[side].park(); err != nil {
			return 0, err
		}
		return timing(func() error { return both[side].press(parked[side]) })
	}
	sides := between(fewOpen, b.open, "open requests")
	for _, f := range []flatness{
		{engine, "a whole dtc_whoami", sides, b.calls3(1000), whoamiOn([2]*stand{both[0].stand, both[1].stand})},
		{engine, "a call that is parked", sides, b.calls3(50), park},
		{engine, "from approve to done", sides, b.calls3(50), press},
	} {
		if err := b.flatness(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// measure prints the rows of an engine.
func (p *press) measure(presses int) error {
	jobs := make([]map[string]string, 2*presses)
	for i := range jobs {
		var err error
		if jobs[i], err = p.park(); err != nil {
			return err
		}
	}
	for _, row := range []struct {
		what    string
		times   int
		callers int
		do      func(i int) error
	}{
		{"the page of what waits", 100, 1, func(int) error {
			return p.get("/approvals", http.Header{"Cookie": {p.cookie}, "Accept": {"text/html"}})
		}},
		{"the list over REST, 200 requests", 100, 1, func(int) error {
			return p.get("/api/v1/agent/v1/approvals", http.Header{"Authorization": {"Bearer " + p.token}})
		}},
		{"the sweeper's turn", 50, 1, func(int) error { return p.Sweep(p.ctx) }},
		{"from approve to done, one at a time", presses, 1, func(i int) error { return p.press(jobs[i]) }},
		{"from approve to done, 4 at a time", presses, 4, func(i int) error { return p.press(jobs[presses+i]) }},
	} {
		cpu := cpuTime()
		times, err := timed(row.times, row.callers, row.do)
		if err != nil {
			return fmt.Errorf("%s: %w", row.what, err)
		}
		cpu = (cpuTime() - cpu) / time.Duration(len(times))
		fmt.Printf("| %s | %s | %d | %s | %s | %s |\n", p.db.Engine(), row.what, len(times), micros(times[len(times)/2]), micros(times[len(times)*99/100]), micros(cpu))
	}
	return nil
}

// timed does something so many times, by so many at once, and gives how long each took, shortest first.
func timed(times, callers int, do func(i int) error) ([]time.Duration, error) {
	took, errs := make([]time.Duration, times), make([]error, callers)
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := c; i < times && errs[c] == nil; i += callers {
				began := time.Now()
				errs[c] = do(i)
				took[i] = time.Since(began)
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}

// signIn adds the person who decides, with a token and a browser.
func (p *press) signIn() error {
	return p.db.InTx(p.ctx, func(tx *store.Tx) (err error) {
		if _, p.token, err = auth.AddPerson(tx, p.merchant, "ada", "manager"); err != nil {
			return err
		}
		person, err := auth.FindPerson(tx, p.merchant, "ada")
		if err != nil {
			return err
		}
		code, _, err := auth.MintLink(tx, p.merchant, person.ID, 0)
		if err != nil {
			return err
		}
		proof, err := auth.ProveByLink(tx, code)
		if err != nil {
			return err
		}
		_, plain, err := auth.StartSession(tx, proof, "bench", "")
		p.cookie = "__Host-dtcgate=" + plain
		return err
	})
}

// serve starts the server and its workers. done ends them.
func (p *press) serve() (done func(), err error) {
	web, err := server.New(server.Config{
		Gate: p.Gate, Tools: p.registry, DB: p.db, Log: zerolog.Nop(), Version: "bench",
		Networks: server.Networks{Agents: auth.Networks{netip.MustParsePrefix("127.0.0.0/8")}},
	})
	if err != nil {
		return nil, err
	}
	main, err := listen(web, &p.at)
	if err != nil {
		return nil, err
	}
	working, stop := context.WithCancel(p.ctx)
	var all sync.WaitGroup
	all.Go(func() { p.Work(working) })
	return func() {
		stop()
		all.Wait()
		_ = main.Close()
	}, nil
}

// park has a call wait for people, as the agent is told.
func (p *press) park() (map[string]string, error) {
	t, _ := p.registry.Find("dtc_create_discount")
	args, err := p.filled(p.ctx, trial{t.Name, t.Example, parked})
	if err != nil {
		return nil, err
	}
	args["percent_off"] = 30 // of less nobody is asked
	body, _, err := p.stand.timed(p.ctx, p.asking, t.Name, text(args))
	if err != nil {
		return nil, err
	}
	told := map[string]string{}
	for name, path := range map[string][]string{"job": {"job_id"}, "seen": {"approval", "fingerprint"}} {
		if told[name], err = at(body, path); err != nil {
			return nil, fmt.Errorf("%w in %s", err, body)
		}
	}
	return told, nil
}

// floodAtOnce is how many copies are made in one transaction.
const floodAtOnce = 1000

// flood makes copies of a parked call, each with a job of its own, of 40 agents, some of which more people may decide about in an hour.
func (p *press) flood(open int) error {
	first, err := p.park()
	if err != nil {
		return err
	}
	for n := 0; n < open && err == nil; n += floodAtOnce {
		err = p.db.Bulk(p.ctx, func(tx *store.Tx) error {
			for i := n; i < min(n+floodAtOnce, open); i++ {
				if err := copyRequest(tx, first["job"], i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err == nil && p.db.Engine() == "postgres" { // as it does by itself after a while
		err = p.db.InTx(p.ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(`ANALYZE`)
			return err
		})
	}
	return err
}

// copyRequest copies a parked call.
func copyRequest(tx *store.Tx, job string, i int) error {
	at := tx.Now.Add(time.Duration(i) * time.Microsecond)
	id, request, agent := store.NewID("job", at), store.NewID("apr", at), fmt.Sprintf("key_agent%02d", i%40)
	var escalate any
	if i%2 == 0 {
		escalate = store.Micros(at.Add(time.Hour))
	}
	_, err := tx.Exec(`INSERT INTO jobs (id, approval_id, principal_id, created_at, updated_at, merchant_id, call_id, chain, transport, tool, tool_schema_sha256, args, args_sha256,
			idempotency_key, resource, policy_version, policy_rule, status, reason, why, summary, progress_percent, checkpoint, result, run_after, attempts, lease_owner, lease_until)
		SELECT $1, $2, $3, $4, $4, merchant_id, call_id, chain, transport, tool, tool_schema_sha256, args, args_sha256,
			idempotency_key, resource, policy_version, policy_rule, status, reason, why, summary, progress_percent, checkpoint, result, run_after, attempts, lease_owner, lease_until
		FROM jobs WHERE id = $5`, id, request, agent, store.Micros(at), job)
	if err != nil {
		return fmt.Errorf("copying a job: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO approvals (id, job_id, agent_id, asked_by, question_sha256, created_at, expires_at, escalate_at, merchant_id, state, class, needs, rule, binding,
			binding_sha256, preview, facts, claims, agent_reason, tool, resource)
		SELECT $1, $2, $3, $3, $1, $4, $5, $6, merchant_id, state, class, needs, rule, binding,
			binding_sha256, preview, facts, claims, agent_reason, tool, resource
		FROM approvals WHERE job_id = $7`, request, id, agent, store.Micros(at), store.Micros(at.Add(20*time.Hour)), escalate, job)
	if err != nil {
		return fmt.Errorf("copying a request: %w", err)
	}
	return nil
}

// press approves a request and waits until its call has run.
func (p *press) press(told map[string]string) error {
	body, err := json.Marshal(map[string]string{"decision": "approve", "seen_sha256": told["seen"]})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(p.ctx, http.MethodPost, "http://"+p.at+"/api/v1/agent/v1/approvals/"+told["job"]+"/resolve", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = http.Header{"Authorization": {"Bearer " + p.token}, "Content-Type": {"application/json"}}
	if err := p.answered(r); err != nil {
		return err
	}
	for status := "queued"; status != "succeeded"; {
		err := p.db.Read(p.ctx, func(tx *store.Tx) error {
			return tx.QueryRow(`SELECT status FROM jobs WHERE id = $1`, told["job"]).Scan(&status)
		})
		if err != nil || status == "failed" || status == "cancelled" {
			return fmt.Errorf("%s is %s: %w", told["job"], status, err)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (p *press) get(path string, header http.Header) error {
	r, err := http.NewRequestWithContext(p.ctx, http.MethodGet, "http://"+p.at+path, nil)
	if err != nil {
		return err
	}
	r.Header = header
	return p.answered(r)
}

// answered makes a request that must be answered well, and reads the answer.
func (p *press) answered(r *http.Request) error {
	if _, port, err := net.SplitHostPort(p.at); err == nil {
		r.Host = "localhost:" + port
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s: %.300s: %w", answer.Status, strings.TrimSpace(string(text)), err)
	}
	return nil
}
