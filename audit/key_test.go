package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

const logName = "test.example/audit"

func TestSigningKeyIsMadeOnceAndKeptPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.key")
	if _, _, err := LoadSigner(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before there is a key: %v", err)
	}
	// Many at once, as when replicas start on one volume: all must get the same key.
	keys := make([]string, 8)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if _, keys[i], err = LoadOrCreateSigner(path, logName); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	signer, key, err := LoadSigner(path)
	fatalIf(t, err)
	for _, k := range keys {
		if k != key {
			t.Errorf("one got key %s, the file has %s", k, key)
		}
	}
	verifiers, err := Verifiers(append(keys, key)...)
	fatalIf(t, err)
	signed, err := note.Sign(&note.Note{Text: "text\n"}, signer)
	fatalIf(t, err)
	if _, err := note.Open(signed, verifiers); err != nil {
		t.Errorf("the public key does not fit: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	fatalIf(t, err)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || len(files) != 1 {
		t.Errorf("mode %v, %v; files %v", info.Mode(), err, files)
	}
}

func TestUnusableSigningKeySaysWhy(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.key")
	_, _, err := LoadOrCreateSigner(path, logName)
	fatalIf(t, err)
	fatalIf(t, os.WriteFile(filepath.Join(dir, "damaged"), []byte("PRIVATE+KEY+x"), 0o600))
	for _, c := range []struct{ path, name, want string }{
		{path, "other.example/audit", "belongs to log"},
		{filepath.Join(dir, "damaged"), logName, "damaged"},
		{dir, logName, "reading the audit signing key"},
		{filepath.Join(dir, "none", "audit.key"), logName, "making the audit signing key"},
		{filepath.Join(dir, "new"), "a name", "making the audit signing key"},
	} {
		if _, _, err := LoadOrCreateSigner(c.path, c.name); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("LoadOrCreateSigner(%s, %s): %v, want %q", c.path, c.name, err, c.want)
		}
	}
}
