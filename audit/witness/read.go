package witness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile bounds a file of checkpoints, in bytes: two years of one a minute.
const maxFile = 512 << 20

// Kept is what was found at a place outside.
type Kept struct {
	Notes      []string // signed checkpoints, of which nothing is checked yet
	Unreadable int      // lines of a file that are none: cut off by a crash, or changed
}

// Read gives the checkpoints that are kept at a place: a file of lines as File writes them or of one signed note, a SQLite
// file, or the address of a PostgreSQL database. Of a database it gives those that these public keys signed. A place that
// has none is an error: who asks expects some.
func Read(ctx context.Context, place string, publicKeys []string) (k Kept, err error) {
	isDatabase := strings.Contains(place, "://")
	if !isDatabase {
		if isDatabase, err = isSQLite(place); err != nil {
			return k, err
		}
	}
	if isDatabase {
		k.Notes, err = fromDatabase(ctx, place, publicKeys)
	} else {
		k, err = fromFile(place)
	}
	if err == nil && len(k.Notes) == 0 {
		err = fmt.Errorf("it holds no checkpoints of this log (%d lines cannot be read)", k.Unreadable)
	}
	return k, err
}

// isSQLite reports whether a file is a SQLite database, by its first bytes (sqlite.org/fileformat.html, 1.3.1).
func isSQLite(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	const magic = "SQLite format 3\x00"
	start := make([]byte, len(magic))
	n, err := io.ReadFull(f, start)
	if n < len(start) {
		return false, ignoreEnd(err)
	}
	return string(start) == magic, nil
}

func ignoreEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

func fromDatabase(ctx context.Context, dsn string, publicKeys []string) (all []string, err error) {
	for _, key := range publicKeys {
		d, err := OpenDatabase(dsn, key)
		if err != nil {
			return nil, err
		}
		notes, err := d.notes(ctx)
		d.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, notes...)
	}
	return all, nil
}

func fromFile(path string) (k Kept, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return k, err
	}
	if info.Size() > maxFile {
		return k, fmt.Errorf("it has more than %d bytes: split it, and check against each part", maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return k, err
	}
	if len(b) > 0 && !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		return Kept{Notes: []string{string(b)}}, nil // one note, as it was signed
	}
	k.Notes, k.Unreadable = notesIn(b)
	return k, nil
}
