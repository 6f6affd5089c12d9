package gate

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dtcgate/dtcgate/store/storetest"
)

// The disk is a real one of its own. Nothing smaller will do: SQLite's own page limit belongs to a connection, and the
// store opens a new one after a failure.
func TestAFullDiskRefusesAndRecovers(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a small disk cannot be made here (that takes root): %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	h := newHouse(t, storetest.Open(t, filepath.Join(dir, "gate.db")))
	filler := filepath.Join(dir, "filler")
	refusedWhile(t, h, func() {
		if err := os.WriteFile(filler, make([]byte, 8<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the disk: %v", err)
		}
		h.fill()
	}, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	})
}

// fill makes calls until the database's files have no room for another record either.
func (h *house) fill() {
	for refused := 0; refused < 20; refused++ {
		if _, err := h.call(h.free, "test_read", `{}`); err == nil {
			refused = 0
		}
	}
}
