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
)

// broken are ways in which a crash could leave things, and which promise of the checker must notice.
var broken = []struct {
	name string
	want string
	sql  []string
	file func(path string) error // given the file of the send's second batch
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
	{name: "approved by a no", want: "C3", sql: []string{`UPDATE approval_votes SET decision = 'deny'`}},
	{name: "ran without being approved", want: "C3", sql: []string{`DELETE FROM approval_votes WHERE decision = 'approve'`}},
	{name: "an approval that can be used again", want: "C3", sql: []string{`UPDATE approvals SET state = 'approved' WHERE state = 'consumed'`}},
	{name: "denied and run", want: "C3", sql: []string{`UPDATE jobs SET result = '{"refund_no":"rfd_other"}' WHERE reason = 'denied'`}},
	{name: "a lost yes", want: "C4", sql: []string{`DELETE FROM approval_votes WHERE decision = 'approve'`}},
	{name: "a lost no", want: "C4", sql: []string{`DELETE FROM approval_votes WHERE decision = 'deny'`}},
	{name: "a no that became a yes", want: "C4", sql: []string{`UPDATE approval_votes SET decision = 'approve'`}},
	{name: "a lost job", want: "C4", sql: []string{`DELETE FROM jobs WHERE approval_id = ''`}},
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
			db := storetest.Open(t, dsn)
			breakSQL(t, db, b.sql)
			found := r.findings(db, dir)
			if !slices.ContainsFunc(found, func(f finding) bool { return f.check == b.want }) {
				t.Errorf("want a finding of %s, got %v", b.want, found)
			}
		})
	}
}

// story has one of each: a draft, a send of three batches, a discount, a refund that is approved and one that is denied.
func (r *rig) story() {
	r.t.Helper()
	p := r.start()
	all := r.callers()
	free, gated, ada := all[0], all[1], all[6]
	for _, k := range all {
		k.wire = p.wire
	}
	r.must(free.createCampaign())
	r.must(free.sendCampaign())
	r.must(free.discount())
	for _, decision := range []string{"approve", "deny"} {
		before := len(gated.writes)
		r.must(gated.refundOf(r.shop.orders[before], true))
		if len(gated.writes) == before {
			r.t.Fatalf("the refund was refused: %v", r.book.calls[len(r.book.calls)-1])
		}
		job := gated.writes[before].result().JobID
		r.must(ada.ask(&call{
			tool: vote, path: tools.BasePath + "/approvals/" + job + "/resolve", args: map[string]any{"decision": decision}, about: job,
		}))
	}
	r.settle()
	p.end(syscall.SIGTERM)
	if p.failed != nil {
		r.t.Errorf("the server ended with %v", p.failed)
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
