package lease

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

const leaseTime = 2 * time.Second

// A replica is a process with a clock of its own, which may be wrong.
type replica struct {
	*Lease
	*testing.T
	db *store.DB
}

// world is the true time.
type world struct{ elapsed time.Duration }

func (w *world) replica(t *testing.T, db *store.DB, owner string, skew time.Duration) *replica {
	clock := func() time.Time { return time.Unix(1_800_000_000, 0).Add(w.elapsed + skew) }
	return &replica{Lease: New("thing", owner, leaseTime, clock), T: t, db: db}
}

// do runs fn in a transaction at the time that the replica's clock shows.
func (r *replica) do(fn func(*store.Tx) error) {
	r.Helper()
	err := r.db.InTx(r.Context(), func(tx *store.Tx) error {
		tx.Now = r.clock()
		return fn(tx)
	})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *replica) takes() (got bool) {
	r.Helper()
	r.do(func(tx *store.Tx) (err error) {
		got, err = r.Take(tx)
		return err
	})
	return got
}

func TestALeaseIsHeldThroughRenewalsWhateverTheClocksShow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for _, skew := range []time.Duration{0, time.Hour, -time.Hour, 90 * 24 * time.Hour} {
			w := &world{}
			holder, other := w.replica(t, db, store.NewID("own", time.Now()), 0), w.replica(t, db, "other", skew)
			holder.do(holder.reset)
			if !holder.takes() || other.takes() {
				t.Fatalf("skew %s: the first has it, and nobody else", skew)
			}
			for range 20 {
				w.elapsed += leaseTime / 2
				if !holder.takes() || other.takes() {
					t.Fatalf("skew %s: after %s the holder lost a lease that it renews", skew, w.elapsed)
				}
			}
		}
	})
}

// reset makes the lease as if it had never been held.
func (l *Lease) reset(tx *store.Tx) error {
	_, err := tx.Exec(`DELETE FROM leases WHERE name = $1`, l.name)
	return err
}

func TestAKilledHolderIsFollowedAfterTheLeasesTimeWhateverTheClocksShow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
			w := &world{}
			holder, other := w.replica(t, db, "holder", skew), w.replica(t, db, "other", 0)
			holder.do(holder.reset)
			if !holder.takes() || other.takes() { // and the holder is killed
				t.Fatalf("skew %s: the first has it, and nobody else", skew)
			}
			if w.elapsed += leaseTime - time.Millisecond; other.takes() {
				t.Errorf("skew %s: followed too early", skew)
			}
			if w.elapsed += time.Millisecond; !other.takes() {
				t.Errorf("skew %s: not followed after %s", skew, w.elapsed)
			}
			if holder.takes() {
				t.Errorf("skew %s: who was followed has it still", skew)
			}
		}
	})
}

func TestALeaseThatIsGivenUpIsTakenAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := &world{}
		holder, other := w.replica(t, db, "holder", 0), w.replica(t, db, "other", -time.Hour)
		if !holder.takes() || other.takes() {
			t.Fatal("the first has it, and nobody else")
		}
		other.do(other.GiveUp) // not other's to give
		if other.takes() {
			t.Error("given up by somebody else")
		}
		holder.do(holder.GiveUp)
		if !other.takes() || holder.takes() {
			t.Error("not taken at once")
		}
	})
}

func TestOfManyWhoTakeALeaseAtOnceOneHasIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for range 10 {
			w := &world{}
			nobody := w.replica(t, db, "nobody", 0)
			nobody.do(nobody.reset)
			var all sync.WaitGroup
			var holders atomic.Int64
			for i := range 8 {
				all.Go(func() {
					if w.replica(t, db, string(rune('a'+i)), time.Duration(i)*time.Hour).takes() {
						holders.Add(1)
					}
				})
			}
			all.Wait()
			if n := holders.Load(); n != 1 {
				t.Fatalf("%d hold it", n)
			}
		}
	})
}
