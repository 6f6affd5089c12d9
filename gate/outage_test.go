package gate

import (
	"path/filepath"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// refusedWhile makes a write while something is wrong with the database, and twice again when it is over.
func refusedWhile(t *testing.T, h *house, begin, end func()) {
	t.Helper()
	begin()
	_, err := h.call(h.free, "test_move", `{"thing":"lamp","amount":1,"idempotency_key":"k"}`)
	wantCode(t, err, tools.Unavailable)
	end()
	if n := h.effects(); n != 0 {
		t.Errorf("%d effects of refused calls", n)
	}
	for range 2 {
		if _, err := h.call(h.free, "test_move", `{"thing":"lamp","amount":1,"idempotency_key":"k"}`); err != nil {
			t.Errorf("when it is over: %v", err)
		}
	}
	if n := h.effects(); n != 1 {
		t.Errorf("%d effects when it is over, want 1", n)
	}
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

func TestALostDatabaseRefusesAndRecovers(t *testing.T) {
	server := storetest.StartPostgres(t)
	h := newHouse(t, storetest.Open(t, server.DSN))
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	refusedWhile(t, h, func() { must(server.Kill()) }, func() { must(server.Start()) })
}
