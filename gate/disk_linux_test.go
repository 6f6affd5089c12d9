package gate

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dtcgate/dtcgate/store/storetest"
)

// smallDisk makes a disk of its own, of some MB. Nothing smaller will do: SQLite's own page limit belongs to a connection, and the store opens a
// new one after a failure.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "dtcgate-disk") // and not the test's own, which PostgreSQL's user may not enter
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, size); err != nil {
		_ = os.Remove(dir)
		t.Skipf("a small disk cannot be made here (that takes root): %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH); _ = os.Remove(dir) })
	return dir
}

// fullDisk makes calls while a disk is full, and when there is room again.
func fullDisk(t *testing.T, h *house, dir string) {
	t.Helper()
	filler := filepath.Join(dir, "filler")
	refusedWhile(t, h, func() {
		if err := os.WriteFile(filler, make([]byte, 64<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the disk: %v", err)
		}
		h.fill()
	}, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAFullDiskRefusesAndRecovers(t *testing.T) {
	dir := smallDisk(t, "size=8m")
	fullDisk(t, newHouse(t, storetest.Open(t, filepath.Join(dir, "gate.db"))), dir)
}

func TestAFullTablespaceRefusesAndRecovers(t *testing.T) {
	as, err := user.Lookup("postgres")
	if err != nil {
		t.Skipf("there is no user to own PostgreSQL's disk: %v", err)
	}
	dir := smallDisk(t, fmt.Sprintf("size=32m,mode=0700,uid=%s,gid=%s", as.Uid, as.Gid))
	server := storetest.StartPostgres(t)
	db, err := sql.Open("pgx", server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`CREATE TABLESPACE small LOCATION '` + dir + `'`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	fullDisk(t, newHouse(t, storetest.Open(t, server.DSN+"&default_tablespace=small")), dir)
}

// fill makes calls until the database's files have no room for another record either.
func (h *house) fill() {
	for refused := 0; refused < 20; refused++ {
		if _, err := h.call(h.free, "test_move", `{"thing":"lamp","amount":1}`); err == nil {
			refused = 0
		}
	}
}
