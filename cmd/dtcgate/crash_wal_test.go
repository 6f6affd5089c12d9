//go:build unix && !race

package main

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// A power cut may lose of SQLite's WAL whatever comes after the last commit that was flushed, byte by byte, and leave anything in its place. The
// rig stops the server (SIGSTOP) at a random moment under load, copies database and WAL as they are on the disk, and cuts the copy's WAL wherever
// it likes, with garbage after the cut. What was acknowledged before a commit that lies in front of the cut has to be there.
//
// One thing bounds the cut: SQLite flushes the WAL before it begins to copy pages from it into the database (a checkpoint), so that frames whose
// pages were copied are on the disk. A disk that loses what it has flushed is survived by no database.

// cutsVariable says how often to cut; of each copy at most cutsEach are made.
const (
	cutsVariable = "DTCGATE_TEST_WAL_CUTS"
	usualCuts    = 4
	heldAtOnce   = 300 // answers are held against a cut; those before were held against earlier ones
	cutsEach     = 10
)

// A mark says that the first told answers of the ledger were given when the WAL was committed so far.
type mark struct {
	salt uint64
	end  int64
	told int
}

// The WAL's format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log. All numbers are big-endian.
const (
	walHeader   = 32
	frameHeader = 24
)

// walFile is what is known of a WAL whose frames are read one after the other, as it grows.
type walFile struct {
	path string
	page int64
	salt uint64 // of the header and of each frame that belongs to it; it changes when the WAL is begun anew
	end  int64  // of the last commit
	next int64  // frame to read
}

// follow reads on, to the last commit that is there by now.
func (w *walFile) follow() error {
	f, err := os.Open(w.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var header [walHeader]byte
	if _, err := f.ReadAt(header[:], 0); err != nil {
		return nil //nolint:nilerr // nothing was written yet
	}
	if salt := binary.BigEndian.Uint64(header[16:]); salt != w.salt {
		w.salt, w.page, w.end, w.next = salt, int64(binary.BigEndian.Uint32(header[8:])), 0, walHeader
	}
	var frame [frameHeader]byte
	for {
		if _, err := f.ReadAt(frame[:], w.next); err != nil || binary.BigEndian.Uint64(frame[8:]) != w.salt {
			return nil //nolint:nilerr // the end of what was written
		}
		w.next += frameHeader + w.page
		if binary.BigEndian.Uint32(frame[4:]) > 0 { // the last frame of a transaction says how large the database is
			w.end = w.next
		}
	}
}

// flushed is where the frames of a stopped server's WAL end whose pages were copied into the database, as its index tells; 0: none were. The index's
// format: https://www.sqlite.org/walformat.html#the_wal_index_file_format. Its numbers have the machine's byte order, its salts the WAL's.
func (w *walFile) flushed(index string) (int64, error) {
	const saltAt, copiedAt, beingCopiedAt = 32, 96, 128
	content, err := os.ReadFile(index)
	if err != nil || len(content) < beingCopiedAt+4 {
		return 0, err
	}
	if binary.BigEndian.Uint64(content[saltAt:]) != w.salt {
		return w.next, nil // the WAL is about to be begun anew: all of it was copied
	}
	frames := max(binary.NativeEndian.Uint32(content[copiedAt:]), binary.NativeEndian.Uint32(content[beingCopiedAt:]))
	if frames == 0 {
		return 0, nil
	}
	return min(w.next, walHeader+int64(frames)*(frameHeader+w.page)), nil
}

// marks follows the WAL of a running server until stop is closed.
func (r *rig) marks(stop <-chan struct{}) (all []mark) {
	w := walFile{path: r.dsn + "-wal"}
	for {
		told := len(r.book.acknowledged()) // before it looks: these were committed by then
		if err := w.follow(); err != nil {
			r.book.complain("reading the WAL: %v", err)
		}
		all = append(all, mark{w.salt, w.end, told})
		select {
		case <-stop:
			return all
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAWALThatIsCutAnywhereLosesNothingAcknowledged(t *testing.T) {
	r := newRig(t, "sqlite")
	callers := r.callers()
	cuts := usualCuts
	if n, err := strconv.Atoi(os.Getenv(cutsVariable)); err == nil {
		cuts = n
	}
	held := 0
	for range max(1, cuts/cutsEach) {
		dir, marks := r.stopped(callers)
		for range min(cuts, cutsEach) {
			held += r.cut(dir, marks)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d cuts; %d answers had to be there", cuts, held)
	if held == 0 {
		t.Error("nothing had been acknowledged before any cut: this shows nothing")
	}
}

// stopped loads a server, stops it at a random moment, copies its database as it is on the disk, and ends it.
func (r *rig) stopped(callers []*caller) (dir string, all []mark) {
	r.t.Helper()
	p := r.start()
	var busy sync.WaitGroup
	for _, k := range callers {
		busy.Go(func() { k.work(p.wire) })
	}
	stop, marked := make(chan struct{}), make(chan []mark)
	go func() { marked <- r.marks(stop) }()
	<-time.After(time.Duration(100+r.rng.IntN(900)) * time.Millisecond) // not to wait for something: it is the moment of the cut
	p.wire.dying.Store(true)
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		r.t.Fatal(err)
	}
	close(stop)
	all = <-marked
	dir, err := os.MkdirTemp(r.dir, "copy")
	if err == nil {
		err = errors.Join(copyFile(r.dsn, filepath.Join(dir, "test.db")), copyFile(r.dsn+"-wal", filepath.Join(dir, "test.db-wal")),
			copyFile(r.dsn+"-shm", filepath.Join(dir, "index")))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	p.end(syscall.SIGKILL) // a stopped process dies of it as well
	busy.Wait()
	return dir, all
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

// cut makes one more copy, cuts its WAL, opens it, and gives how many answers were held against it.
func (r *rig) cut(dir string, marks []mark) int {
	r.t.Helper()
	wal := walFile{path: filepath.Join(dir, "test.db-wal")}
	content, err := os.ReadFile(wal.path)
	if err := errors.Join(err, wal.follow()); err != nil {
		r.t.Fatal(err)
	}
	from, err := wal.flushed(filepath.Join(dir, "index"))
	if err != nil {
		r.t.Fatal(err)
	}
	at := int(from) + r.rng.IntN(int(wal.next-from)+1) // what lies behind is of an earlier round of the WAL
	into, err := os.MkdirTemp(dir, "cut")
	if err != nil {
		r.t.Fatal(err)
	}
	defer os.RemoveAll(into)
	path := filepath.Join(into, "test.db")
	err = errors.Join(copyFile(filepath.Join(dir, "test.db"), path), os.WriteFile(path+"-wal", append(content[:at:at], garbage(r.rng)...), 0o600))
	if err != nil {
		r.t.Fatal(err)
	}
	told := 0
	for _, m := range marks {
		if m.salt != wal.salt || m.end <= int64(at) { // what stood in an earlier round of the WAL is in the database
			told = max(told, m.told)
		}
	}
	since := max(0, told-heldAtOnce)
	r.opens(path, r.book.acknowledged()[since:told])
	return told - since
}

// garbage is nothing, or what may stand where a disk has not written yet.
func garbage(rng *rand.Rand) []byte {
	bad := make([]byte, rng.IntN(3)*rng.IntN(20_000))
	for i := range bad {
		bad[i] = byte(rng.Uint32())
	}
	return bad
}

// opens opens a database after a power cut: it is whole, its record verifies, and the answers are in it.
func (r *rig) opens(path string, told []*call) {
	r.t.Helper()
	db, err := store.Open(r.t.Context(), path)
	if err != nil {
		r.t.Errorf("after the cut: %v", err)
		return
	}
	defer db.Close()
	err = db.Read(r.t.Context(), func(tx *store.Tx) error {
		var whole string
		if err := tx.QueryRow(`PRAGMA integrity_check`).Scan(&whole); err != nil || whole != "ok" {
			r.t.Errorf("after the cut the database is %s: %v", whole, err)
		}
		lost, err := stillThere(tx, told)
		for _, f := range lost {
			r.t.Errorf("after the cut: %s", f)
		}
		return err
	})
	if err != nil {
		r.t.Error(err)
	}
	report, err := audit.Verify(r.t.Context(), db, r.trusted(r.dir))
	if err != nil || report.Bad != nil {
		r.t.Errorf("after the cut the record is %v: %v", report.Bad, err)
	}
}
