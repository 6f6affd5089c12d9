package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// facts are what stands in the database and the outgoing files, read with SQL of their own, so that a mistake in the
// program's reading hides nothing.
type facts struct {
	entries  []audit.Sequenced
	byCall   map[string][]audit.Sequenced
	byJob    map[string][]audit.Sequenced
	answers  []answerRow
	keys     map[string]keyRow // of agents
	jobs     []jobRow
	requests map[string]requestRow // by job
	votes    map[string][]voteRow  // by approval
	effects  []effect              // made since the rig was set up
	batches  []batchRow
	rows     map[string]map[string]int // deliveries: mailing, customer, times
	files    map[string]map[string]int // lines of the outgoing files: likewise

	executions map[string]executionRow   // by job
	outside    map[string]map[string]int // what was done by outside systems: tool, execution, times
}

// An effect is a row that a write of an agent made.
type effect struct {
	tool, id string
	mark     string // what the call wrote into it: its idempotency key
	at       int64  // when; the time of the transaction that made it
}

// An answerRow is what an idempotency key was answered.
type answerRow struct {
	principal, key, tool, call, job, status, body string
}

type jobRow struct {
	id, call, principal, tool, key, approval, status, reason, args, argsHash, result string
}

type requestRow struct {
	id, job, state, preview, rule, binding, question, agent string
	at, decided                                             int64 // decided: 0 while it is open
}

// needs is how many people it takes.
func (q requestRow) needs() int {
	var r struct {
		People int `json:"people"`
	}
	_ = json.Unmarshal([]byte(q.rule), &r) // a rule that cannot be read takes nobody, which no request does
	return r.People
}

type voteKey struct{ approval, person, decision string }

type voteRow struct {
	approval, person, decision, seen string
	withdrawn                        bool
}

func (v voteRow) key() voteKey { return voteKey{v.approval, v.person, v.decision} }

type executionRow struct {
	job, id, decidedBy string
	sends              int
}

// A batchRow is one step of a send.
type batchRow struct {
	mailing, kind string
	no, at        int64
	customers     int64
}

func text(r store.Row) (string, error) {
	var s string
	return s, r.Scan(&s)
}

// effects reads the effects of all writes but sends, whose effects are deliveries.
func effects(tx *store.Tx) ([]effect, error) {
	return store.All(tx, func(r store.Row) (effect, error) {
		var e effect
		return e, r.Scan(&e.tool, &e.id, &e.mark, &e.at)
	}, `SELECT '`+createCampaign+`', campaign_id, name, created_at FROM campaigns
		UNION ALL SELECT '`+refundOrder+`', refund_no, reason, refunded_at FROM refunds
		UNION ALL SELECT '`+createDiscount+`', discount_id, code, created_at FROM discounts`)
}

// resultID gives the id of what a write made, from its result.
func resultID(tool string, result []byte) string {
	var r struct {
		ID       string `json:"id"`
		Refund   string `json:"refund_no"`
		Discount string `json:"discount_id"`
		Campaign string `json:"campaign_id"`
	}
	_ = json.Unmarshal(result, &r) // what has no id is not found, and reported as such
	return map[string]string{createCampaign: r.ID, refundOrder: r.Refund, createDiscount: r.Discount, sendCampaign: r.Campaign}[tool]
}

// readFacts reads the database, the files under outbox, and what the outside systems wrote down.
func readFacts(tx *store.Tx, outbox, abroad string, before map[string]bool) (f facts, err error) {
	steps := []func() error{
		func() error { return f.readEntries(tx) },
		func() error { return f.readCalls(tx) },
		func() error { return f.readRequests(tx) },
		func() error { return f.readEffects(tx, before) },
		func() error { return f.readDeliveries(tx, before) },
		func() error { return f.readFiles(outbox) },
		func() error { return f.readOutside(tx, abroad) },
		func() (err error) { f.keys, err = keysKept(tx); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *facts) readEntries(tx *store.Tx) (err error) {
	f.entries, err = store.All(tx, func(r store.Row) (audit.Sequenced, error) {
		var s audit.Sequenced
		var body string
		if err := r.Scan(&body); err != nil {
			return s, err
		}
		return s, json.Unmarshal([]byte(body), &s.Entry)
	}, `SELECT body FROM audit_entries ORDER BY id`)
	f.byCall, f.byJob = map[string][]audit.Sequenced{}, map[string][]audit.Sequenced{}
	for _, e := range f.entries {
		f.byCall[e.CallID] = append(f.byCall[e.CallID], e)
		f.byJob[e.JobID] = append(f.byJob[e.JobID], e)
	}
	return err
}

func (f *facts) readCalls(tx *store.Tx) (err error) {
	f.answers, err = store.All(tx, func(r store.Row) (a answerRow, err error) {
		return a, r.Scan(&a.principal, &a.key, &a.tool, &a.call, &a.job, &a.status, &a.body)
	}, `SELECT principal_id, key, tool, call_id, job_id, status, body FROM idempotency`)
	if err != nil {
		return err
	}
	f.jobs, err = store.All(tx, func(r store.Row) (j jobRow, err error) {
		return j, r.Scan(&j.id, &j.call, &j.principal, &j.tool, &j.key, &j.approval, &j.status, &j.reason, &j.args, &j.argsHash, &j.result)
	}, `SELECT id, call_id, principal_id, tool, idempotency_key, approval_id, status, reason, args, args_sha256, result FROM jobs`)
	return err
}

func (f *facts) readRequests(tx *store.Tx) error {
	requests, err := store.All(tx, func(r store.Row) (q requestRow, err error) {
		return q, r.Scan(&q.id, &q.job, &q.state, &q.preview, &q.rule, &q.binding, &q.question, &q.agent, &q.at, &q.decided)
	}, `SELECT id, job_id, state, preview, rule, binding_sha256, question_sha256, agent_id, created_at, COALESCE(decided_at, 0) FROM approvals`)
	if err != nil {
		return err
	}
	votes, err := store.All(tx, func(r store.Row) (v voteRow, err error) {
		var withdrawn int64
		err = r.Scan(&v.approval, &v.person, &v.decision, &v.seen, &withdrawn)
		v.withdrawn = withdrawn > 0
		return v, err
	}, `SELECT approval_id, person_id, decision, seen_sha256, COALESCE(withdrawn_at, 0) FROM approval_votes`)
	f.requests, f.votes = map[string]requestRow{}, map[string][]voteRow{}
	for _, q := range requests {
		f.requests[q.job] = q
	}
	for _, v := range votes {
		f.votes[v.approval] = append(f.votes[v.approval], v)
	}
	return err
}

func (f *facts) readEffects(tx *store.Tx, before map[string]bool) error {
	all, err := effects(tx)
	for _, e := range all {
		if !before[e.tool+e.id] {
			f.effects = append(f.effects, e)
		}
	}
	return err
}

func (f *facts) readDeliveries(tx *store.Tx, before map[string]bool) error {
	batches, err := store.All(tx, func(r store.Row) (b batchRow, err error) {
		return b, r.Scan(&b.mailing, &b.kind, &b.no, &b.at, &b.customers)
	}, `SELECT d.mailing_id, m.kind, d.batch, d.created_at, COUNT(*) FROM deliveries d
		JOIN mailings m ON m.merchant_id = d.merchant_id AND m.mailing_id = d.mailing_id
		GROUP BY d.mailing_id, m.kind, d.batch, d.created_at`)
	if err != nil {
		return err
	}
	for _, b := range batches {
		if !before[createCampaign+b.mailing] {
			f.batches = append(f.batches, b)
		}
	}
	f.rows = map[string]map[string]int{}
	_, err = store.All(tx, func(r store.Row) (struct{}, error) {
		var mailing, customer string
		err := r.Scan(&mailing, &customer)
		if !before[createCampaign+mailing] {
			count(f.rows, mailing, customer)
		}
		return struct{}{}, err
	}, `SELECT mailing_id, customer_no FROM deliveries`)
	return err
}

func count(in map[string]map[string]int, mailing, customer string) {
	if in[mailing] == nil {
		in[mailing] = map[string]int{}
	}
	in[mailing][customer]++
}

// readFiles counts the lines of the outgoing files. A file that was being written when the process was killed has another
// name.
func (f *facts) readFiles(outbox string) error {
	f.files = map[string]map[string]int{}
	paths, err := filepath.Glob(filepath.Join(outbox, "*", "*.jsonl"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := f.readFile(path); err != nil {
			return err
		}
	}
	return nil
}

func (f *facts) readFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var l struct {
			Mailing  string `json:"mailing_id"`
			Customer string `json:"customer_no"`
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		count(f.files, l.Mailing, l.Customer)
	}
	return lines.Err()
}

// readOutside reads the intents to send, and what came of them according to the outside systems.
func (f *facts) readOutside(tx *store.Tx, abroad string) error {
	f.executions, f.outside = map[string]executionRow{}, map[string]map[string]int{}
	all, err := store.All(tx, func(r store.Row) (x executionRow, err error) {
		return x, r.Scan(&x.job, &x.id, &x.decidedBy, &x.sends)
	}, `SELECT job_id, execution_id, decided_by, sends FROM executions`)
	for _, x := range all {
		f.executions[x.job] = x
	}
	for _, s := range shapes {
		done, missing := os.ReadFile(filepath.Join(abroad, s.Name))
		if missing != nil && !errors.Is(missing, fs.ErrNotExist) { // nothing was done there
			err = errors.Join(err, missing)
		}
		for _, id := range strings.Fields(string(done)) {
			count(f.outside, s.Name, id)
		}
	}
	return err
}

// reach gives how many customers a job may write to: as many as people saw, or as its caller stated.
func (f *facts) reach(j jobRow) (n int64, err error) {
	if j.approval != "" {
		var p tools.Preview
		err := json.Unmarshal([]byte(f.requests[j.id].preview), &p)
		return p.Customers, err
	}
	var args struct {
		Recipients int64 `json:"expected_recipients"`
	}
	err = json.Unmarshal([]byte(j.args), &args)
	return args.Recipients, err
}

// campaign gives the campaign that a send is about.
func (j jobRow) campaign() string {
	if j.tool != sendCampaign {
		return ""
	}
	return resultID(sendCampaign, []byte(j.args))
}
