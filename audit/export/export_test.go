package export

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A rig is a log with a clock that can be moved.
type rig struct {
	t   *testing.T
	db  *store.DB
	log *audit.Log
}

func on(t *testing.T, fn func(t *testing.T, r *rig)) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		secret, public, err := note.GenerateKey(nil, "dtcgate")
		fatalIf(t, err)
		signer, err := note.NewSigner(secret)
		fatalIf(t, err)
		fn(t, &rig{t, db, audit.New(audit.Config{DB: db, Signer: signer, VerifierKey: public})})
	})
}

func fatalIf(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// happen puts n calls on record and numbers them.
func (r *rig) happen(n int) {
	r.t.Helper()
	fatalIf(r.t, r.db.InTx(r.t.Context(), func(tx *store.Tx) error {
		for i := range n {
			_, err := audit.Append(tx, audit.Entry{
				Merchant: "mer_1", Event: "call", CallID: fmt.Sprintf("call_%d", i), Actor: "key:key_1", Tool: "dtc_get_order", Status: "done",
				Personal: map[string]string{"arguments": `{"email":"jo@example.com"}`},
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	_, err := r.log.Sequence(r.t.Context())
	fatalIf(r.t, err)
}

// later moves the clock past every lease.
func (r *rig) later() {
	now := r.db.Now().Add(2 * leaseTime)
	r.db.Now = func() time.Time { return now }
}

func (r *rig) exports(target Target) *Exports {
	return New(Config{DB: r.db, Sinks: []Sink{{"test", target}}})
}

// all steps until nothing is left.
func (x *Exports) all(t *testing.T) {
	t.Helper()
	for {
		sent, err := x.Step(t.Context(), x.Sinks[0])
		fatalIf(t, err)
		if !sent {
			return
		}
	}
}

func (r *rig) cursor() Cursor {
	r.t.Helper()
	var all []Cursor
	fatalIf(r.t, r.db.Read(r.t.Context(), func(tx *store.Tx) (err error) {
		all, err = Cursors(tx)
		return err
	}))
	if len(all) != 1 {
		r.t.Fatalf("%d cursors", len(all))
	}
	return all[0]
}

// A receiver keeps what it was sent. before and after may fail.
type receiver struct {
	mu            sync.Mutex
	batches       []Batch
	before, after func() error
}

func (r *receiver) Send(_ context.Context, b Batch) error {
	if r.before != nil {
		if err := r.before(); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.batches = append(r.batches, b)
	r.mu.Unlock()
	if r.after != nil {
		return r.after()
	}
	return nil
}

// numbers are those of all entries in the order in which they came.
func (r *receiver) numbers() (all []int64) {
	for _, b := range r.batches {
		for _, e := range b.Entries {
			all = append(all, e.Seq)
		}
	}
	return all
}

// wantAll checks that the entries from 1 to n came, however often, and that no batch has a hole.
func (r *receiver) wantAll(t *testing.T, n int64) {
	t.Helper()
	for _, b := range r.batches {
		for i, e := range b.Entries {
			if e.Seq != b.First+int64(i) {
				t.Fatalf("batch %d to %d has %d at %d", b.First, b.Last, e.Seq, i)
			}
		}
	}
	got := r.numbers()
	slices.Sort(got)
	got = slices.Compact(got)
	if int64(len(got)) != n || got[0] != 1 || got[n-1] != n {
		t.Fatalf("%d different entries came, want 1 to %d", len(got), n)
	}
}

func bytesOf(t *testing.T, b Batch) string {
	t.Helper()
	lines, err := Lines(b.Entries)
	fatalIf(t, err)
	return string(lines)
}

func TestAllArriveInOrderAndOnce(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		var to receiver
		x := r.exports(&to)
		x.all(t)
		r.happen(3)
		x.all(t)
		r.happen(batchEntries + 7)
		x.all(t)
		to.wantAll(t, batchEntries+10)
		if len(to.numbers()) != batchEntries+10 || len(to.batches) != 3 {
			t.Errorf("%d entries in %d batches", len(to.numbers()), len(to.batches))
		}
		if c := r.cursor(); c.Seq != batchEntries+10 || c.Behind != 0 || !c.Oldest.IsZero() {
			t.Errorf("%+v", c)
		}
	})
}

// TestAKillBetweenSendAndMoveRepeatsTheSameBatch ends a process when the receiver has a batch and the row does not say so. What came on record since is
// not in the repeat.
func TestAKillBetweenSendAndMoveRepeatsTheSameBatch(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.happen(5)
		ctx, kill := context.WithCancel(t.Context())
		to := &receiver{after: func() error { kill(); return nil }}
		x := r.exports(to)
		if _, err := x.Step(ctx, x.Sinks[0]); !errors.Is(err, context.Canceled) {
			t.Fatalf("the killed step: %v", err)
		}
		if c := r.cursor(); c.Seq != 0 {
			t.Fatalf("the row moved to %d", c.Seq)
		}
		r.happen(4)
		to.after = nil
		other := r.exports(to)
		if sent, err := other.Step(t.Context(), other.Sinks[0]); err != nil || sent {
			t.Fatalf("another process sends under a living lease: %t, %v", sent, err)
		}
		r.later()
		other.all(t)
		to.wantAll(t, 9)
		if len(to.batches) != 3 || bytesOf(t, to.batches[0]) != bytesOf(t, to.batches[1]) || to.batches[2].First != 6 {
			t.Errorf("batches %d to %d, %d to %d", to.batches[0].First, to.batches[0].Last, to.batches[1].First, to.batches[1].Last)
		}
	})
}

// TestTwoExportersThatBothBelieveInTheirLeaseSkipNothing has each of four take the other's lease for one that has run out.
func TestTwoExportersThatBothBelieveInTheirLeaseSkipNothing(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		const total = 60
		r.happen(total)
		var to receiver
		var all sync.WaitGroup
		var mu sync.Mutex
		clock := r.db.Now()
		r.db.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			clock = clock.Add(2 * leaseTime)
			return clock
		}
		for range 4 {
			x := r.exports(&to)
			all.Go(func() {
				for range 200 {
					if _, err := x.Step(t.Context(), x.Sinks[0]); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for range total / 2 {
			r.happen(2)
		}
		all.Wait()
		r.exports(&to).all(t)
		to.wantAll(t, 2*total)
		if c := r.cursor(); c.Seq != 2*total {
			t.Errorf("%+v", c)
		}
	})
}

func TestWhoHasLostTheLeaseDoesNotMoveTheRow(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.happen(3)
		var to receiver
		slow, fast := r.exports(&to), r.exports(&to)
		p, err := slow.plan(t.Context(), "test")
		fatalIf(t, err)
		ours, err := slow.claim(t.Context(), p)
		if err != nil || !ours {
			t.Fatal(ours, err)
		}
		r.later()
		r.happen(2)
		fast.all(t)
		if moved, err := slow.move(t.Context(), p); err != nil || moved {
			t.Errorf("moved %t, %v", moved, err)
		}
		if c := r.cursor(); c.Seq != 5 {
			t.Errorf("%+v", c)
		}
	})
}

func TestAFailingReceiverIsLoggedOnceAndShowsInTheLag(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.happen(2)
		down := errors.New("unreachable")
		to := &receiver{before: func() error { return down }}
		x := r.exports(to)
		var heard []error
		x.OnError = func(err error) { heard = append(heard, err) }
		for range 3 {
			if _, err := x.Step(t.Context(), x.Sinks[0]); !errors.Is(err, down) {
				t.Fatal(err)
			}
		}
		if c := r.cursor(); len(heard) != 1 || c.Failing.IsZero() || c.Problem != "unreachable" || c.Behind != 2 || c.Oldest.IsZero() {
			t.Errorf("heard %v, %+v", heard, c)
		}
		to.before = nil
		x.all(t)
		to.wantAll(t, 2)
		if c := r.cursor(); !c.Failing.IsZero() || c.Problem != "" {
			t.Errorf("%+v", c)
		}
		to.before = func() error { return down }
		r.happen(1)
		_, _ = x.Step(t.Context(), x.Sinks[0])
		if len(heard) != 2 {
			t.Errorf("the second outage: heard %v", heard)
		}
	})
}

func TestAHoleInTheLogIsNotSkipped(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.happen(3)
		for _, q := range map[string][]string{
			"sqlite":   {"DROP TRIGGER audit_entries_delete"},
			"postgres": {"DROP TRIGGER audit_entries_delete ON audit_entries"},
		}[r.db.Engine()] {
			r.exec(q)
		}
		r.exec(`DELETE FROM audit_entries WHERE id = (SELECT entry_id FROM audit_sequence WHERE seq = 2)`)
		var to receiver
		x := r.exports(&to)
		if _, err := x.Step(t.Context(), x.Sinks[0]); !errors.Is(err, audit.ErrTampered) || len(to.batches) > 0 {
			t.Errorf("%v, %d batches", err, len(to.batches))
		}
		r.exec(`UPDATE audit_exports SET seq = 1, upto = 1`)
		if all, err := x.Lag(t.Context()); err != nil || len(all) != 1 || all[0].Behind != 2 || !all[0].Oldest.Equal(all[0].MovedAt) {
			t.Errorf("before the hole it lags by %+v, %v", all, err)
		}
	})
}

func (r *rig) exec(q string) {
	r.t.Helper()
	fatalIf(r.t, r.db.InTx(r.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(q)
		return err
	}))
}

func TestPersonalValuesGoOnlyWhenAskedForAndNeverErasedOnes(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.happen(2)
		var to receiver
		r.exports(&to).all(t)
		for _, e := range to.batches[0].Entries {
			if len(e.Personal) > 0 {
				t.Errorf("%v was sent", e.Personal)
			}
		}
		fatalIf(t, r.db.InTx(t.Context(), func(tx *store.Tx) error {
			return audit.Erase(tx, to.batches[0].Entries[0].ID, "arguments")
		}))
		var asked receiver
		x := New(Config{DB: r.db, Sinks: []Sink{{"asked", &asked}}, Personal: true})
		x.all(t)
		got := asked.batches[0].Entries
		if len(got[0].Personal) != 0 || got[1].Personal["arguments"] != `{"email":"jo@example.com"}` {
			t.Errorf("%v and %v", got[0].Personal, got[1].Personal)
		}
	})
}

// TestRunEndsAndLeavesTheLeaseToOthers is the whole of it, with a stop and another process that goes on at once.
func TestRunEndsAndLeavesTheLeaseToOthers(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		var to receiver
		for round := range 2 {
			r.happen(10)
			x := r.exports(&to)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- x.Run(ctx) }()
			for r.cursorOr0() != int64(10*(round+1)) {
				time.Sleep(10 * time.Millisecond)
			}
			stop()
			fatalIf(t, <-ended)
		}
		to.wantAll(t, 20)
		if len(to.numbers()) != 20 {
			t.Errorf("%d entries came", len(to.numbers()))
		}
	})
}

func (r *rig) cursorOr0() (seq int64) {
	_ = r.db.Read(r.t.Context(), func(tx *store.Tx) error {
		all, err := Cursors(tx)
		if len(all) == 1 {
			seq = all[0].Seq
		}
		return err
	})
	return seq
}
