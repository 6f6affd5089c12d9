package backup

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/dtcgate/dtcgate/store"
)

// holdName is the lease that a restore takes, for good: while somebody has it, no server serves the database.
const holdName = "serve.restored"

// Whose the lease is.
const (
	unfinished = "unfinished"
	restored   = "restored"
)

// What keeps a database from being served.
var (
	ErrUnfinished = errors.New("a restore into this database did not come to its end: empty it, or take another, and restore again")
	ErrHeld       = errors.New("this database was restored from a backup and nobody has released it: look at `dtcgate key list` and `dtcgate jobs list --needs-decision`, " +
		"revoke what was revoked since, then `dtcgate restore release`")
)

func unfinishedSQL(namespace string) string {
	return fmt.Sprintf(`INSERT INTO %s.leases (name, owner, until) VALUES ('%s', '%s', %d)
		ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until`, quoted(namespace), holdName, unfinished, int64(math.MaxInt64))
}

// hold says that the restore is finished, and that somebody must look before the database is served.
func hold(tx *store.Tx) error {
	_, err := tx.Exec(`INSERT INTO leases (name, owner, until) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until`, holdName, restored, int64(math.MaxInt64))
	return err
}

// Servable is ErrHeld or ErrUnfinished for a database that no server may serve.
func Servable(ctx context.Context, db *store.DB) error {
	return db.Read(ctx, func(tx *store.Tx) error {
		var owner string
		err := tx.QueryRow(`SELECT owner FROM leases WHERE name = $1`, holdName).Scan(&owner)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil:
			return err
		case owner == restored:
			return ErrHeld
		}
		return ErrUnfinished
	})
}

// Release lets a restored database be served, and reports whether it was held.
func Release(tx *store.Tx) (bool, error) {
	n, err := tx.Exec(`DELETE FROM leases WHERE name = $1 AND owner = $2`, holdName, restored)
	return n == 1, err
}
