package retention

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/export"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

const day = 24 * time.Hour

// A rig is a log with entries of several ages: 520 of 100 days ago, 3 of 50, 2 of now.
type rig struct {
	*Pruner
	t       *testing.T
	log     *audit.Log
	trusted note.Verifiers
}

const ancient, old, young = 520, 3, 2

func on(t *testing.T, fn func(t *testing.T, r *rig)) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		secret, public, err := note.GenerateKey(nil, "dtcgate")
		fatalIf(t, err)
		signer, err := note.NewSigner(secret)
		fatalIf(t, err)
		trusted, err := audit.Verifiers(public)
		fatalIf(t, err)
		r := &rig{t: t, trusted: trusted, log: audit.New(audit.Config{DB: db, Signer: signer, VerifierKey: public})}
		r.Pruner = &Pruner{DB: db, Age: 60 * day, Actor: "operator:cli", Sequence: r.sequence}
		r.happen(100*day, ancient)
		r.happen(50*day, old)
		r.happen(0, young)
		fn(t, r)
	})
}

func fatalIf(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) sequence(ctx context.Context) error {
	_, err := r.log.Sequence(ctx)
	return err
}

func (r *rig) tx(fn func(*store.Tx) error) {
	r.t.Helper()
	fatalIf(r.t, r.DB.InTx(r.t.Context(), fn))
}

func (r *rig) happen(ago time.Duration, n int) {
	r.t.Helper()
	r.DB.Now = func() time.Time { return time.Now().Add(-ago) }
	r.tx(func(tx *store.Tx) error {
		for range n {
			if _, err := audit.Append(tx, audit.Entry{Event: "call", Personal: map[string]string{"arguments": "{}"}}); err != nil {
				return err
			}
		}
		return nil
	})
	fatalIf(r.t, r.sequence(r.t.Context()))
	r.DB.Now = time.Now
}

// want prunes and checks how many go, and that the record verifies.
func (r *rig) want(removed int64) Plan {
	r.t.Helper()
	plan, n, err := r.Prune(r.t.Context())
	fatalIf(r.t, err)
	if n != removed {
		r.t.Errorf("%d entries went, want %d: %+v", n, removed, plan)
	}
	r.verify()
	return plan
}

func (r *rig) verify() {
	r.t.Helper()
	report, err := audit.Verify(r.t.Context(), r.DB, r.trusted)
	fatalIf(r.t, err)
	if report.Bad != nil {
		r.t.Fatal(report.Bad)
	}
}

func TestOldEntriesGoAndTheRecordVerifies(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		if plan := r.want(ancient); plan.Horizon != ancient || plan.Last != 0 || len(plan.Held) != 0 {
			t.Errorf("%+v", plan)
		}
		r.want(0)
		r.Age = 40 * day
		if plan := r.want(old); plan.Last != ancient || plan.Horizon != ancient+old {
			t.Errorf("%+v", plan)
		}
	})
}

func TestADryRunChangesNothing(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.tx(func(tx *store.Tx) error {
			plan, err := Look(tx, r.Age)
			if plan.Horizon != ancient || plan.Entries != ancient {
				t.Errorf("%+v", plan)
			}
			return err
		})
		r.want(ancient)
	})
}

func TestAnAgeBelowThirtyDaysIsRefused(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.Age = 29 * day
		if _, _, err := r.Prune(t.Context()); err == nil || !strings.Contains(err.Error(), "30 days at least") {
			t.Error(err)
		}
	})
}

// target takes what a test lets it.
type target func(export.Batch) error

func (f target) Send(_ context.Context, b export.Batch) error { return f(b) }

func TestWhatIsNotExportedStays(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		x := export.New(export.Config{DB: r.DB, Sinks: []export.Sink{{Name: "siem", Target: target(func(b export.Batch) error {
			if b.First > 1 {
				return errors.New("full")
			}
			return nil
		})}}})
		_, err := x.Step(t.Context(), x.Sinks[0])
		fatalIf(t, err)
		_, _ = x.Step(t.Context(), x.Sinks[0]) // is refused
		// 500 were delivered, and the checkpoint below is the first's: nothing of 512 may go yet.
		if plan := r.want(0); len(plan.Held) != 1 || !strings.Contains(plan.Held[0], "export siem has delivered 500") {
			t.Errorf("%+v", plan)
		}
		r.tx(func(tx *store.Tx) error { return export.Forget(tx, "siem") })
		r.want(ancient)
	})
}

func TestWhatAnOpenJobIsAboutStays(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.tx(func(tx *store.Tx) error {
			if _, err := tx.Exec(`INSERT INTO merchants (id, name, created_at) VALUES ('mer_1', 'm', 0)`); err != nil {
				return err
			}
			_, err := tx.Exec(`INSERT INTO jobs (id, merchant_id, call_id, principal_id, chain, transport, tool, tool_schema_sha256, args, args_sha256,
				idempotency_key, resource, policy_version, policy_rule, approval_id, status, reason, why, summary, progress_percent, checkpoint, result,
				run_after, attempts, lease_owner, lease_until, created_at, updated_at)
				VALUES ('job_1', 'mer_1', '', '', '[]', '', '', '', '', '', '', '', 0, '', '', 'indeterminate', '', '', '', 0, '', '', 0, 0, '', 0, $1, 0)`,
				tx.Now.Add(-101*day).UnixMicro())
			return err
		})
		if plan := r.want(0); len(plan.Held) != 1 || !strings.Contains(plan.Held[0], "a job of ") {
			t.Errorf("%+v", plan)
		}
		r.tx(func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE jobs SET status = 'succeeded' WHERE id = 'job_1' AND status = 'indeterminate'`)
			return err
		})
		r.want(ancient)
	})
}

// TestAKilledPruneGoesOnWhereItWas ends it after the horizon, and after the first transaction that removes.
func TestAKilledPruneGoesOnWhereItWas(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		ctx, kill := context.WithCancel(t.Context())
		r.Sequence = func(context.Context) error { kill(); return ctx.Err() }
		if _, n, err := r.Prune(ctx); err == nil || n != 0 {
			t.Fatalf("%d went, %v", n, err)
		}
		r.verify()
		fatalIf(t, r.sequence(t.Context()))
		r.tx(func(tx *store.Tx) error {
			_, err := audit.Remove(tx, 1, batch)
			return err
		})
		r.verify()
		r.Sequence = r.sequence
		r.want(ancient - batch)
	})
}

func TestANewExportBeginsAfterWhatWent(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.want(ancient)
		first := int64(0)
		x := export.New(export.Config{DB: r.DB, Sinks: []export.Sink{{Name: "late", Target: target(func(b export.Batch) error {
			first = b.Entries[0].Seq
			return nil
		})}}})
		_, err := x.Step(t.Context(), x.Sinks[0])
		fatalIf(t, err)
		if first != ancient+1 {
			t.Errorf("it begins at %d", first)
		}
	})
}
