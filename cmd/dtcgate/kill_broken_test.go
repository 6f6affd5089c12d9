package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/outsidetest"
)

// broken are ways in which a crash could leave things, and which promise of the checker must notice.
var broken = []struct {
	name string
	want string
	sql  []string
	file func(path string) error // given the file of the send's second batch

	outside func(done []byte) []byte // given what each outside system wrote down
}{
	{name: "the entry of a call is gone", want: "C1", sql: []string{
		`DROP TRIGGER audit_entries_delete`, `DELETE FROM audit_entries WHERE event = 'call' AND tool = 'dtc_create_discount'`,
	}},
	{name: "the entry of a job is gone", want: "C1", sql: []string{
		`DROP TRIGGER audit_entries_delete`, `DELETE FROM audit_entries WHERE event = 'job.succeeded' AND tool = 'dtc_refund_order'`,
	}},
	{name: "the entry of a step is gone", want: "C1", sql: []string{
		`DROP TRIGGER audit_entries_delete`, `DELETE FROM audit_entries WHERE id IN (SELECT id FROM audit_entries WHERE event = 'job.progress' LIMIT 1)`,
	}},
	{name: "an effect nobody had", want: "C1", sql: []string{
		`INSERT INTO refunds SELECT merchant_id, 'rfd_other', order_no, refunded_at, amount_minor, cause, 'other', actor FROM refunds WHERE actor = 'gated'`,
	}},
	{name: "an effect in a transaction of its own", want: "C1", sql: []string{`UPDATE discounts SET created_at = created_at + 1`}},
	{name: "a step in a transaction of its own", want: "C1", sql: []string{`UPDATE deliveries SET created_at = created_at + 1 WHERE batch = 2`}},
	{name: "a notice without a refund", want: "C1", sql: []string{
		`UPDATE deliveries SET created_at = created_at + 1 WHERE mailing_id IN (SELECT mailing_id FROM mailings WHERE kind = 'refund_notice')`,
	}},
	{name: "a record without its effect", want: "C1", sql: []string{`DELETE FROM discounts`}},
	{name: "an effect twice", want: "C2", sql: []string{
		`INSERT INTO refunds SELECT merchant_id, 'rfd_other', order_no, refunded_at, amount_minor, cause, reason, actor FROM refunds WHERE actor = 'gated'`,
	}},
	{name: "told to be done and gone", want: "C2", sql: []string{`DELETE FROM discounts`}},
	{name: "a key with two jobs", want: "C2", sql: []string{`UPDATE jobs SET idempotency_key = 'one'`}},
	{name: "ran with one of two people", want: "C3", sql: []string{`DELETE FROM approval_votes WHERE person_id = (SELECT id FROM people WHERE name = 'bob')`}},
	{name: "ran with a vote for something else", want: "C3", sql: []string{`UPDATE approval_votes SET seen_sha256 = 'other'`}},
	{name: "ran with a vote that was taken back", want: "C3", sql: []string{`UPDATE approval_votes SET withdrawn_at = at WHERE decision = 'approve'`}},
	{name: "an approval that was used twice", want: "C3", sql: []string{
		`INSERT INTO audit_entries SELECT 'aud_other', at, merchant, event, call_id, job_id, actor, tool, body FROM audit_entries WHERE event = 'approval.consumed' LIMIT 1`,
	}},
	{name: "people asked twice", want: "C3", sql: []string{`UPDATE approvals SET question_sha256 = 'the same'`}},
	{name: "more questions than an agent may have", want: "C3", sql: []string{
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO jobs SELECT 'job_' || i, merchant_id, call_id, principal_id, chain, transport, tool, tool_schema_sha256, args, args_sha256, 'k' || i, resource, policy_version,
				policy_rule, 'apr_' || i, 'pending_approval', '', '', summary, 0, '', '', run_after, 0, '', 0, NULL, created_at, updated_at, NULL FROM n, (SELECT * FROM jobs WHERE approval_id <> '' LIMIT 1)`, openRequests+1),
		`INSERT INTO approvals (id, merchant_id, job_id, state, class, needs, binding, binding_sha256, preview, agent_reason, asked_by, created_at, expires_at, rule, question_sha256)
			SELECT j.approval_id, a.merchant_id, j.id, 'pending', a.class, a.needs, a.binding, a.binding_sha256, a.preview, '', '', a.created_at + 10000000, a.expires_at, a.rule, j.id
			FROM jobs j, (SELECT * FROM approvals LIMIT 1) a WHERE j.approval_id LIKE 'apr__' OR j.approval_id LIKE 'apr___'`,
	}},
	{name: "approved by a no", want: "C3", sql: []string{`UPDATE approval_votes SET decision = 'deny'`}},
	{name: "ran without being approved", want: "C3", sql: []string{`DELETE FROM approval_votes WHERE decision = 'approve'`}},
	{name: "an approval that can be used again", want: "C3", sql: []string{`UPDATE approvals SET state = 'approved' WHERE state = 'consumed'`}},
	{name: "denied and run", want: "C3", sql: []string{`UPDATE jobs SET result = '{"refund_no":"rfd_other"}' WHERE reason = 'denied'`}},
	{name: "a vote that was answered before it was stored", want: "C4", sql: []string{
		`DELETE FROM approval_votes WHERE decision = 'deny'`, `DROP TRIGGER audit_entries_delete`, `DELETE FROM audit_entries WHERE event IN ('approval.vote', 'approval.rejected')`,
	}},
	{name: "a withdrawal that is forgotten", want: "C4", sql: []string{
		`DROP TRIGGER audit_entries_delete`, `DELETE FROM audit_entries WHERE event = 'approval.vote_withdrawn'`,
	}},
	{name: "a vote nobody heard of", want: "C4", sql: []string{
		`INSERT INTO approval_votes (approval_id, person_id, person_name, decision, reason, seen_sha256, channel, at) SELECT approval_id, 'per_other', 'eve', 'approve', '', seen_sha256, channel, at FROM approval_votes LIMIT 1`,
	}},
	{name: "called off and open again", want: "C4", sql: []string{`UPDATE approvals SET state = 'pending' WHERE state = 'cancelled'`}},
	{name: "a person's word that is not kept", want: "C4", sql: []string{`UPDATE jobs SET status = 'indeterminate' WHERE id IN (SELECT job_id FROM executions WHERE decided_by LIKE 'person:%')`}},
	{name: "done outside twice", want: "C2", outside: func(done []byte) []byte { return slices.Concat(done, done) }},
	{name: "done outside without an intent", want: "C1", sql: []string{`DELETE FROM executions`}},
	{name: "done outside and told not to be", want: "C1", sql: []string{`UPDATE jobs SET status = 'failed' WHERE tool LIKE 'test_pay%'`}},
	{name: "told to be done outside and not", want: "C2", outside: func([]byte) []byte { return nil }},
	{name: "sent more often than is on record", want: "C1", sql: []string{`UPDATE executions SET sends = sends + 1`}},
	{name: "sent under another id", want: "C3", sql: []string{`UPDATE executions SET execution_id = job_id`}},
	{name: "in doubt for no reason", want: "C8", sql: []string{`UPDATE jobs SET status = 'indeterminate' WHERE tool = 'test_pay_told'`}},
	{name: "a lost yes", want: "C4", sql: []string{`DELETE FROM approval_votes WHERE decision = 'approve'`}},
	{name: "a lost no", want: "C4", sql: []string{`DELETE FROM approval_votes WHERE decision = 'deny'`}},
	{name: "a no that became a yes", want: "C4", sql: []string{`UPDATE approval_votes SET decision = 'approve'`}},
	{name: "a lost job", want: "C4", sql: []string{`DELETE FROM executions`, `DELETE FROM jobs WHERE approval_id = ''`}},
	{name: "a minted key that is lost", want: "C4", sql: []string{`UPDATE agent_keys SET id = id || 'x' WHERE name LIKE 'minted-%' AND revoked_at IS NULL`}},
	{name: "a key that was revoked and is good again", want: "C4", sql: []string{`UPDATE agent_keys SET revoked_at = NULL WHERE name LIKE 'minted-%'`}},
	{name: "a minted key that is not on record", want: "C4", sql: []string{
		`DROP TRIGGER audit_entries_delete`, `DELETE FROM audit_entries WHERE event = 'key.minted' AND call_id IN (SELECT MAX(call_id) FROM audit_entries WHERE event = 'key.minted')`,
	}},
	{name: "a lost key", want: "C4", sql: []string{`DELETE FROM idempotency WHERE tool = 'dtc_create_campaign'`}},
	{name: "a denied request that is open again", want: "C4", sql: []string{`UPDATE approvals SET state = 'pending' WHERE state = 'rejected'`}},
	{name: "a job that never ends", want: "C4", sql: []string{`UPDATE jobs SET status = 'running' WHERE approval_id = ''`}},
	{name: "a read that is not on record", want: "C4", sql: []string{
		`DROP TRIGGER audit_entries_delete`, `DELETE FROM audit_entries WHERE tool = 'dtc_preview_campaign'`,
	}},
	{name: "a customer twice in a file", want: "C5", file: func(path string) error {
		content, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path, slices.Concat(content, content), 0o600))
	}},
	{name: "a batch in two files", want: "C5", file: func(path string) error {
		return os.CopyFS(filepath.Join(filepath.Dir(filepath.Dir(path)), "again"), os.DirFS(filepath.Dir(path)))
	}},
	{name: "a batch that was not carried", want: "C5", file: os.Remove},
	{name: "a batch that is carried and forgotten", want: "C5", sql: []string{`DELETE FROM deliveries WHERE batch = 2`}},
	{name: "more customers than agreed", want: "C5", sql: []string{
		fmt.Sprintf(`UPDATE jobs SET args = REPLACE(args, 'recipients":%d', 'recipients":%d')`, groupSize, groupSize-1),
	}},
	{name: "a changed entry", want: "C6", sql: []string{
		`DROP TRIGGER audit_entries_update`, `UPDATE audit_entries SET body = REPLACE(body, '"done"', '"gone"') WHERE event = 'call' AND tool = 'dtc_create_discount'`,
	}},
	{name: "an entry without a number", want: "C6", sql: []string{
		`INSERT INTO audit_entries SELECT 'aud_other', at, merchant, event, call_id, job_id, actor, tool, body FROM audit_entries LIMIT 1`,
	}},
	{name: "another answer to a repeat", want: "C7", sql: []string{`UPDATE idempotency SET body = body || ' '`}},
}

// TestTheKillCheckerCatchesWhatIsBroken tells the checker's silence from blindness: the same database passes whole and
// fails broken.
func TestTheKillCheckerCatchesWhatIsBroken(t *testing.T) {
	t.Parallel()
	r := newRig(t, "sqlite")
	r.story()
	r.check()
	for _, b := range broken {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			dsn, dir := r.copyTo(t)
			if b.file != nil {
				files, err := filepath.Glob(filepath.Join(dir, "outbox", "*", "cmp_*-2.jsonl"))
				if err != nil || len(files) != 1 {
					t.Fatalf("the second batch is in %v: %v", files, err)
				}
				if err := b.file(files[0]); err != nil {
					t.Fatal(err)
				}
			}
			if b.outside != nil {
				breakOutside(t, filepath.Join(dir, "abroad"), b.outside)
			}
			db := storetest.Open(t, dsn)
			breakSQL(t, db, b.sql)
			found := r.findings(db, dir)
			if !slices.ContainsFunc(found, func(f finding) bool { return f.check == b.want }) {
				t.Errorf("want a finding of %s, got %v", b.want, found)
			}
		})
	}
}

// story has one of each: a draft, a send of three batches, a discount, a refund that is approved and one that is denied, a payment at each outside
// system that takes two people, one of whom thinks again meanwhile, one that is called off, and one of which nobody knows what became.
func (r *rig) story() {
	r.t.Helper()
	p := r.start()
	all := r.callers()
	free, gated, ada, bob, cyd := all[0], all[1], all[6], all[8], all[9]
	for _, k := range all {
		k.wire = p.wire
	}
	r.must(free.createCampaign())
	r.must(free.sendCampaign())
	r.must(free.discount())
	for _, decision := range []string{"approve", "deny"} {
		asked := r.parks(gated, func() bool { return gated.refundOf(r.shop.orders[len(gated.writes)], true) })
		r.must(ada.says(asked, decision))
		bob.says(asked, decision) // it takes one or two
	}
	for i, s := range shapes {
		asked := r.parks(gated, func() bool {
			return gated.ask(gated.write(s.Name, "reason", map[string]any{"payee": "ada", "amount": 150 + i}))
		})
		r.must(ada.says(asked, "approve"))
		r.must(ada.ask(&call{tool: withdraw, path: about("approvals", asked.JobID, "withdraw"), about: asked.JobID, args: map[string]any{}}))
		r.must(ada.says(asked, "approve"))
		r.must(bob.says(asked, "approve"))
	}
	r.must(cyd.mint())
	r.must(cyd.revoke())
	r.must(cyd.mint())
	r.settle()
	lost := outsidetest.Fault(outsidetest.LoseAnswer)
	r.abroad.all.Store(&lost)
	r.must(free.ask(free.write(pay, "reason", map[string]any{"payee": "bob", "amount": 100})))
	off := r.parks(gated, func() bool {
		return gated.ask(gated.write(pay, "reason", map[string]any{"payee": "eve", "amount": 199}))
	})
	r.must(cyd.ask(&call{tool: callOff, path: about("approvals", off.JobID, "cancel"), about: off.JobID, args: map[string]any{}}))
	r.settle()
	r.withDB(r.findDoubts)
	if len(r.book.doubts) != 1 {
		r.t.Fatalf("nobody knows of %v", r.book.doubts)
	}
	for range 20 { // it picks when it feels like it
		r.must(cyd.reconcile())
	}
	p.end(syscall.SIGTERM)
	if p.failed != nil {
		r.t.Errorf("the server ended with %v", p.failed)
	}
	if err := r.abroad.stop(); err != nil {
		r.t.Error(err)
	}
}

// parks gives the request that a call became.
func (r *rig) parks(k *caller, ask func() bool) tools.Result {
	r.t.Helper()
	before := len(k.writes)
	r.must(ask())
	if len(k.writes) == before {
		r.t.Fatalf("it was refused: %v", r.book.calls[len(r.book.calls)-1])
	}
	return k.writes[before].result()
}

// says votes on a request.
func (k *caller) says(r tools.Result, decision string) bool {
	return k.ask(&call{tool: vote, path: about("approvals", r.JobID, "resolve"), about: r.JobID, args: map[string]any{
		"decision": decision, "seen_sha256": r.Approval.Fingerprint, "acknowledged": true, "reason": "as agreed",
	}})
}

// breakOutside changes what the outside systems wrote down.
func breakOutside(t *testing.T, dir string, change func([]byte) []byte) {
	t.Helper()
	for _, s := range shapes {
		path := filepath.Join(dir, s.Name)
		done, err := os.ReadFile(path)
		if err := errors.Join(err, os.WriteFile(path, change(done), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *rig) must(answered bool) {
	r.t.Helper()
	if !answered {
		r.t.Fatalf("no answer: %v", r.book.wrong)
	}
}

// copyTo copies the database and the directory beside it for a subtest.
func (r *rig) copyTo(t *testing.T) (dsn, dir string) {
	dir = t.TempDir()
	dsn = filepath.Join(dir, "test.db")
	content, err := os.ReadFile(r.dsn)
	if err := errors.Join(err, os.CopyFS(dir, os.DirFS(r.dir)), os.WriteFile(dsn, content, 0o600)); err != nil {
		t.Fatal(err)
	}
	return dsn, dir
}

func breakSQL(t *testing.T, db *store.DB, statements []string) {
	t.Helper()
	err := db.Bulk(t.Context(), func(tx *store.Tx) error {
		for _, q := range statements {
			n, err := tx.Exec(q)
			if err != nil {
				return fmt.Errorf("%s: %w", q, err)
			}
			t.Logf("%d rows: %s", n, q)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
