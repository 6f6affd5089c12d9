package backup_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/backup"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A source is a database with a record that is signed.
type source struct {
	dsn   string
	db    *store.DB
	log   *audit.Log
	trust backup.Trust
}

func newSource(t *testing.T, engine string) source {
	t.Helper()
	s := source{dsn: storetest.DSN(t, engine)}
	s.db = storetest.Open(t, s.dsn)
	signer, key, err := audit.LoadOrCreateSigner(filepath.Join(t.TempDir(), "audit.key"), "dtcgate")
	if err != nil {
		t.Fatal(err)
	}
	s.log = audit.New(audit.Config{DB: s.db, Signer: signer, VerifierKey: key})
	s.trust = func(context.Context, *store.DB) (note.Verifiers, error) { return audit.Verifiers(key) }
	return s
}

func (s source) write(t *testing.T, n int) {
	t.Helper()
	err := s.db.InTx(t.Context(), func(tx *store.Tx) error {
		for range n {
			if _, err := audit.Append(tx, audit.Entry{Event: "test", Actor: "test", Personal: map[string]string{"name": "Ada"}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		_, err = s.log.Sequence(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s source) take(t *testing.T) (dir string, m backup.Manifest) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "backup")
	m, err := backup.Take(t.Context(), s.db, s.dsn, dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func nothingToSettle(*store.Tx, backup.Manifest) error { return nil }

func engines(t *testing.T, fn func(t *testing.T, engine string)) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) { fn(t, engine) })
	}
}

func TestABackupTakenWhileOthersWriteIsOneMomentAndCanBeRestored(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		s := newSource(t, engine)
		s.write(t, 300)
		ctx, stop := context.WithCancel(t.Context())
		var load sync.WaitGroup
		load.Go(func() {
			for ctx.Err() == nil {
				s.write(t, 7)
			}
		})
		dir, m := s.take(t)
		stop()
		load.Wait()
		if m.Checkpoint.Size < 300 {
			t.Errorf("the manifest knows of %d entries of 300", m.Checkpoint.Size)
		}
		if _, _, checked, err := backup.Verify(t.Context(), dir, t.TempDir(), s.trust); err != nil || checked != (engine == "sqlite") {
			t.Fatalf("verify: checked %t, %v", checked, err)
		}
		to := storetest.Elsewhere(t, s.dsn)
		_, report, err := backup.Restore(t.Context(), dir, to, s.trust, nothingToSettle)
		if err != nil {
			t.Fatal(err)
		}
		if report.Size != m.Checkpoint.Size || report.Root != m.Checkpoint.Root {
			t.Errorf("restored up to %d %s, and the manifest says %d %s", report.Size, report.Root, m.Checkpoint.Size, m.Checkpoint.Root)
		}
		restored := storetest.Open(t, to)
		if err := backup.Servable(t.Context(), restored); !errors.Is(err, backup.ErrHeld) {
			t.Errorf("a restored database may be served: %v", err)
		}
		if err := backup.Servable(t.Context(), s.db); err != nil {
			t.Errorf("the database it comes from may not: %v", err)
		}
	})
}

func TestABackupIsForItsOwnerOnlyAndNeverReplacesAnything(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		s := newSource(t, engine)
		dir, m := s.take(t)
		for _, name := range []string{m.File, "manifest.json"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the folder: %v, %v", info.Mode(), err)
		}
		if _, err := backup.Take(t.Context(), s.db, s.dsn, dir, "test"); err == nil {
			t.Error("a second backup took the place of the first")
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".unfinished*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestADamagedBackupIsFound also damages backups whose manifest was made to fit again.
func TestADamagedBackupIsFound(t *testing.T) {
	s := newSource(t, "sqlite")
	s.write(t, 50)
	for name, damage := range map[string]func(t *testing.T, dir string, m backup.Manifest){
		"a byte": func(t *testing.T, dir string, m backup.Manifest) { spoil(t, filepath.Join(dir, m.File), -1) },
		"cut off": func(t *testing.T, dir string, m backup.Manifest) {
			check(t, os.Truncate(filepath.Join(dir, m.File), m.Size-4096))
		},
		"no manifest": func(t *testing.T, dir string, _ backup.Manifest) {
			check(t, os.Remove(filepath.Join(dir, "manifest.json")))
		},
		"another file": func(t *testing.T, dir string, m backup.Manifest) {
			m.File = "../../other.db"
			rewrite(t, dir, m)
		},
		"another checkpoint": func(t *testing.T, dir string, m backup.Manifest) {
			m.Checkpoint.Size--
			rewrite(t, dir, m)
		},
		"an entry changed, and the hash with it": func(t *testing.T, dir string, m backup.Manifest) {
			tamper(t, filepath.Join(dir, m.File), `DROP TRIGGER audit_entries_update`, `UPDATE audit_entries SET actor = 'other' WHERE id = (SELECT MAX(id) FROM audit_entries)`)
			reseal(t, dir, m)
		},
		"the record's end cut off, and the hash with it": func(t *testing.T, dir string, m backup.Manifest) {
			tamper(t, filepath.Join(dir, m.File), `DROP TRIGGER audit_sequence_delete`, `DELETE FROM audit_sequence WHERE seq = (SELECT MAX(seq) FROM audit_sequence)`)
			reseal(t, dir, m)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, m := s.take(t)
			damage(t, dir, m)
			if _, _, _, err := backup.Verify(t.Context(), dir, t.TempDir(), s.trust); err == nil {
				t.Error("it verifies")
			} else {
				t.Log(err)
			}
			to := filepath.Join(t.TempDir(), "restored.db")
			if _, _, err := backup.Restore(t.Context(), dir, to, s.trust, nothingToSettle); err == nil {
				t.Error("it was restored")
			}
			if _, err := os.Stat(to); err == nil {
				t.Error("something of it was restored")
			}
		})
	}
}

func TestARestoreGoesWhereThereIsNothing(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		s := newSource(t, engine)
		dir, _ := s.take(t)
		if _, _, err := backup.Restore(t.Context(), dir, s.dsn, s.trust, nothingToSettle); err == nil || !strings.Contains(err.Error(), "nothing") {
			t.Errorf("onto a database in use: %v", err)
		}
		if err := backup.Servable(t.Context(), s.db); err != nil {
			t.Errorf("the database in use was touched: %v", err)
		}
	})
}

// TestARestoreThatDoesNotEndIsNotServed ends one where a kill might: after the rows are there, before they are settled.
func TestARestoreThatDoesNotEndIsNotServed(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		s := newSource(t, engine)
		s.write(t, 3)
		dir, _ := s.take(t)
		to := storetest.Elsewhere(t, s.dsn)
		cut := errors.New("cut")
		if _, _, err := backup.Restore(t.Context(), dir, to, s.trust, func(*store.Tx, backup.Manifest) error { return cut }); !errors.Is(err, cut) {
			t.Fatal(err)
		}
		if engine == "sqlite" {
			if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("there is a database: %v", err)
			}
			return
		}
		db := storetest.Open(t, to)
		if err := backup.Servable(t.Context(), db); !errors.Is(err, backup.ErrUnfinished) {
			t.Errorf("it may be served: %v", err)
		}
		if err := db.InTx(t.Context(), func(tx *store.Tx) error { _, err := backup.Release(tx); return err }); err != nil {
			t.Fatal(err)
		}
		if err := backup.Servable(t.Context(), db); !errors.Is(err, backup.ErrUnfinished) {
			t.Errorf("it was released: %v", err)
		}
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// spoil changes a byte in the middle of a file.
func spoil(t *testing.T, path string, by int8) {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	b[len(b)/2] += byte(by)
	check(t, os.WriteFile(path, b, 0o600))
}

func rewrite(t *testing.T, dir string, m backup.Manifest) {
	t.Helper()
	text, err := json.Marshal(m)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "manifest.json"), text, 0o600))
}

// reseal makes the manifest fit the file again.
func reseal(t *testing.T, dir string, m backup.Manifest) {
	t.Helper()
	size, sum, err := backup.Digest(filepath.Join(dir, m.File))
	check(t, err)
	m.Size, m.SHA256 = size, sum
	rewrite(t, dir, m)
}

func tamper(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	check(t, err)
	for _, q := range statements {
		_, err := db.Exec(q)
		check(t, err)
	}
	check(t, db.Close())
}
