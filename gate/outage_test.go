package gate

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// refusedVariable says how many calls to make while something is wrong with the database; `make crash` makes 2,000 each time.
const refusedVariable = "DTCGATE_TEST_REFUSED"

func refusedCalls() int {
	if n, err := strconv.Atoi(os.Getenv(refusedVariable)); err == nil {
		return n
	}
	return 20
}

const (
	callersAtOnce = 100             // a locked SQLite file turns all who wait away together, after 5 s
	backWithin    = 5 * time.Second // from when nothing is wrong any more to the first call that is done
)

// refusedWhile makes writes while something is wrong with the database, which are all refused as unavailable and do nothing, and one of them
// twice again when it is over, which is done once. The gate goes on all the time.
func refusedWhile(t *testing.T, h *house, begin, end func()) {
	t.Helper()
	before := h.effects()
	begin()
	key := strconv.Itoa(before) + "-lamp-"
	h.refusesAll(refusedCalls(), key)
	end()
	over := time.Now()
	again := `{"thing":"lamp","amount":1,"idempotency_key":"` + key + `0"}`
	_, err := h.call(h.free, "test_move", again)
	for err != nil && time.Since(over) < backWithin {
		_, err = h.call(h.free, "test_move", again)
	}
	if err != nil {
		t.Fatalf("%s after it was over: %v", backWithin, err)
	}
	t.Logf("%d calls refused; back %s after it was over", refusedCalls(), time.Since(over).Round(time.Millisecond))
	if _, err := h.call(h.free, "test_move", again); err != nil {
		t.Errorf("a repeat when it is over: %v", err)
	}
	if n := h.effects() - before; n != 1 {
		t.Errorf("%d effects when it is over, want 1", n)
	}
}

// refusesAll makes so many writes at once, each with a key of its own.
func (h *house) refusesAll(calls int, key string) {
	h.t.Helper()
	keys := make(chan int, calls)
	for i := range calls {
		keys <- i
	}
	close(keys)
	var all sync.WaitGroup
	for range min(calls, callersAtOnce) {
		all.Go(func() {
			for i := range keys {
				_, err := h.call(h.free, "test_move", `{"thing":"lamp","amount":1,"idempotency_key":"`+key+strconv.Itoa(i)+`"}`)
				if r := (*tools.Refusal)(nil); !errors.As(err, &r) || r.Code != tools.Unavailable {
					h.t.Errorf("call %d was answered %v, want a refusal with %s", i, err, tools.Unavailable)
				}
			}
		})
	}
	all.Wait()
}

func TestALockedDatabaseRefusesAndRecovers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locked.db")
	h := newHouse(t, storetest.Open(t, path))
	other := storetest.Open(t, path) // as another process would
	locked, release, released := make(chan bool), make(chan bool), make(chan error, 1)
	refusedWhile(t, h, func() {
		go func() {
			released <- other.Bulk(t.Context(), func(tx *store.Tx) error {
				close(locked)
				<-release
				return nil
			})
		}()
		<-locked
	}, func() {
		close(release)
		if err := <-released; err != nil {
			t.Error(err)
		}
	})
}

// A file system cannot be made read-only under a file that is open for writing; the kernel alone does so, after an error. So the store is told
// what SQLite would tell then.
func TestAReadOnlyFileRefusesAndRecovers(t *testing.T) {
	db := storetest.New(t, "sqlite")
	var readOnly atomic.Bool
	store.Faulty(db, func() store.Fault {
		if readOnly.Load() {
			return store.ReadOnly
		}
		return store.NoFault
	})
	refusedWhile(t, newHouse(t, db), func() { readOnly.Store(true) }, func() { readOnly.Store(false) })
}

func TestALostOrReadOnlyServerRefusesAndRecovers(t *testing.T) {
	server := storetest.StartPostgres(t)
	h := newHouse(t, storetest.Open(t, server.DSN))
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	refusedWhile(t, h, func() { must(server.Kill()) }, func() { must(server.Start()) })
	refusedWhile(t, h,
		func() { server.Configure(t, "default_transaction_read_only", "on") },
		func() { server.Configure(t, "default_transaction_read_only", "off") })
}
