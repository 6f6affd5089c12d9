// Package backup takes a copy of the database while it is in use, and puts one back.
//
// A backup is a folder: the database in a form that the engine's own programs read (dtcgate.db for sqlite3, dtcgate.dump for pg_restore),
// and manifest.json, which says what it is, its hash, and the audit log's last signed checkpoint in it. The folder appears whole, on the
// disk and under its name, or not at all: it is made beside its place under another name. What has no manifest is no backup.
//
// The manifest's hash finds damage. It is no proof against whoever can write to the folder: that is the checkpoint's signature, and the
// checkpoints that were kept outside.
//
// No key is in a backup: neither the one that signs the record nor those that open the vault. Whoever has a backup can read all else that
// the database holds, so its files are for their owner only.
//
// A backup is the past. What was done outside after it was taken cannot be seen in it, and must not be done again because of it. So Restore
// leaves a database that is held (held.go): no server serves it until an operator has looked and releases it. A restore that ended half-way
// leaves nothing, or a database that says so and is served by nobody either.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

const (
	format       = 1
	manifestName = "manifest.json"
	maxManifest  = 64 << 10
)

// fileNames are what the database is called in a backup, by engine.
var fileNames = map[string]string{"sqlite": "dtcgate.db", "postgres": "dtcgate.dump"}

// A Manifest says what is in a backup.
type Manifest struct {
	Format     int            `json:"format"`
	Engine     string         `json:"engine"` // sqlite or postgres
	File       string         `json:"file"`
	Size       int64          `json:"size"` // bytes of File
	SHA256     string         `json:"sha256"`
	Schema     int64          `json:"schema"`              // the last migration
	Namespace  string         `json:"namespace,omitempty"` // PostgreSQL's schema, to which alone it can be restored
	MadeAt     time.Time      `json:"made_at"`             // when the snapshot was taken, by this machine's clock
	MadeBy     string         `json:"made_by"`             // the program's version
	Checkpoint audit.TreeHead `json:"checkpoint"`          // the last in the snapshot; none when nothing was signed yet
}

// Take writes a backup of the open database at dsn to dir, which must not exist yet. Writers go on meanwhile.
func Take(ctx context.Context, db *store.DB, dsn, dir, program string) (Manifest, error) {
	m := Manifest{Format: format, Engine: db.Engine(), File: fileNames[db.Engine()], MadeAt: db.Now().UTC(), MadeBy: program}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("there is something at %s already: name a folder that does not exist yet", dir)
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return m, err
	}
	unfinished, err := os.MkdirTemp(parent, ".unfinished-backup-*") // mode 0700
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(unfinished) // after the rename there is nothing of that name
	snapshot := snapshotSQLite
	if m.Engine == "postgres" {
		snapshot = snapshotPostgres
	}
	if err := snapshot(ctx, db, dsn, filepath.Join(unfinished, m.File), &m); err != nil {
		return m, err
	}
	if err := m.seal(unfinished); err != nil {
		return m, err
	}
	if err := os.Rename(unfinished, dir); err != nil {
		return m, err
	}
	return m, syncPath(parent)
}

// seal makes the snapshot in a folder last and writes the manifest about it.
func (m *Manifest) seal(folder string) (err error) {
	path := filepath.Join(folder, m.File)
	if err := syncPath(path); err != nil {
		return err
	}
	if m.Size, m.SHA256, err = digest(path); err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(folder, manifestName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Sync(), f.Close(), syncPath(folder))
}

// Open reads a backup's manifest and holds the file to it.
func Open(dir string) (Manifest, error) {
	m, err := readManifest(dir)
	if err != nil {
		return m, err
	}
	size, sum, err := digest(filepath.Join(dir, m.File))
	switch {
	case err != nil:
		return m, err
	case size != m.Size:
		return m, fmt.Errorf("%s has %d bytes and its manifest says %d: the backup is damaged", m.File, size, m.Size)
	case sum != m.SHA256:
		return m, fmt.Errorf("%s is not what its manifest says (SHA-256): the backup is damaged", m.File)
	}
	return m, nil
}

func readManifest(dir string) (m Manifest, err error) {
	f, err := os.Open(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%s is not a backup: it has no %s", dir, manifestName)
	}
	if err != nil {
		return m, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s of %s cannot be read: %w", manifestName, dir, err)
	}
	if m.Format != format {
		return m, fmt.Errorf("%s has a backup of format %d; this program knows %d: use a newer one", dir, m.Format, format)
	}
	if fileNames[m.Engine] == "" || m.File != fileNames[m.Engine] {
		return m, fmt.Errorf("%s of %s names the engine %q and the file %q, which no backup has", manifestName, dir, m.Engine, m.File)
	}
	return m, nil
}

func digest(path string) (size int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// syncPath makes a file, or the names in a folder, last through a power cut.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
