package witness

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// A Distance is how far a place outside is behind the record.
type Distance struct {
	Behind int64     // entries that were signed and that no checkpoint there covers
	Since  time.Time // when the first checkpoint was signed that is missing there; zero when none is
}

// DistanceTo asks a file or a database, named as for Read, what it keeps, and holds the record to it. It changes nothing there, and needs no Witness
// that runs. The log's public key may be empty where it is not at hand: the keys that the database names are trusted beside it. The error wraps
// audit.ErrTampered when the record is not the one that is kept there.
func DistanceTo(ctx context.Context, db *store.DB, place, key string) (d Distance, err error) {
	var keys []string
	err = db.Read(ctx, func(tx *store.Tx) error {
		keys, err = trustedKeys(tx, key)
		return err
	})
	if err != nil {
		return d, err
	}
	kept, err := newestAt(ctx, place, keys)
	if err != nil {
		return d, err
	}
	err = db.Read(ctx, func(tx *store.Tx) error { // after the place: what is kept there is in the record by now
		d, err = distance(tx, kept, key)
		return err
	})
	return d, err
}

// distance holds the newest checkpoints of a place, one of each key, to the record.
func distance(tx *store.Tx, kept []string, key string) (d Distance, err error) {
	trusted, err := trusted(tx, key)
	if err != nil {
		return d, err
	}
	var covered int64
	for _, note := range kept {
		if _, err := grownFrom(tx, note, key); err != nil {
			return d, err
		}
		c, err := audit.OpenCheckpoint(note, trusted)
		if err != nil {
			return d, err
		}
		covered = max(covered, c.Size)
	}
	last, err := grownFrom(tx, "", key)
	if d.Behind = last.Size - covered; err != nil || d.Behind == 0 {
		return d, err
	}
	next, err := audit.CheckpointAfter(tx, covered)
	d.Since = next.At
	return d, err
}

// newestAt is the newest checkpoint that a file keeps, or that a database keeps of each key; none where there is no file yet.
func newestAt(ctx context.Context, place string, keys []string) (notes []string, err error) {
	isDatabase := strings.Contains(place, "://")
	if !isDatabase {
		if isDatabase, err = isSQLite(place); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if !isDatabase {
		note, err := File{Path: place}.Last(ctx)
		return present(notes, note), err
	}
	for _, key := range keys {
		d, err := OpenDatabase(place, key)
		if err != nil {
			return nil, err
		}
		note, err := d.last(ctx) // and not Last, which would make the table
		d.Close()
		if err != nil {
			return nil, err
		}
		notes = present(notes, note)
	}
	return notes, nil
}

func present(notes []string, note string) []string {
	if note == "" {
		return notes
	}
	return append(notes, note)
}
