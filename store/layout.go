package store

import (
	"context"
	"database/sql"
	"fmt"
)

// layoutVersion is the migration that lays out the tables of the record for SQLite.
const layoutVersion = 42

// recordTables stand beside audit_entries, as the migrations before made them but for the order in which SQLite keeps their rows: that of the
// key. Otherwise it gives each row a number of its own and looks the key up in an index, so that every row stands in two trees.
var recordTables = []struct{ name, columns string }{
	{"audit_pending", "(entry_id TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID"},
	{"audit_sequence", "(seq INTEGER NOT NULL PRIMARY KEY, entry_id TEXT NOT NULL UNIQUE)"},
	{"audit_tree", "(seq INTEGER NOT NULL PRIMARY KEY, hashes TEXT NOT NULL)"},
	{"audit_values", `(entry_id TEXT NOT NULL, name TEXT NOT NULL, salt TEXT NOT NULL, value TEXT NOT NULL, merchant TEXT NOT NULL DEFAULT '',
		about TEXT NOT NULL DEFAULT '', PRIMARY KEY (entry_id, name)) WITHOUT ROWID`},
}

// layOut makes them anew in a database that has no record yet. One that has keeps its layout, which serves as well and slower: to copy a long record
// would stop the servers that write to it.
func layOut(engine string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		var entries int64
		err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM audit_entries LIMIT 1) one").Scan(&entries)
		if err != nil || engine != "sqlite" || entries > 0 {
			return err
		}
		for _, t := range recordTables {
			for _, q := range []string{"DROP TABLE " + t.name, "CREATE TABLE " + t.name + " " + t.columns} {
				if _, err := tx.ExecContext(ctx, q); err != nil {
					return fmt.Errorf("laying out %s: %w", t.name, err)
				}
			}
		}
		if _, err := tx.ExecContext(ctx, "CREATE INDEX audit_values_about ON audit_values (merchant, about) WHERE about <> ''"); err != nil {
			return fmt.Errorf("laying out audit_values: %w", err)
		}
		return appendOnly(engine, "audit_sequence", "audit_tree")(ctx, tx)
	}
}
