package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// horizonVersion is the migration that lets the oldest entries of the audit log go, and their copies leave the house.
const horizonVersion = 37

// exportTables are what exports and retention keep. Where an export is, is moved by compare-and-set. Horizons are append-only.
var exportTables = []string{
	// Where each export of the audit log is: all up to seq was taken by its receiver, all up to upto was perhaps sent.
	`CREATE TABLE audit_exports (
		name        TEXT   NOT NULL PRIMARY KEY,
		seq         BIGINT NOT NULL,
		upto        BIGINT NOT NULL CHECK (upto >= seq),
		lease_owner TEXT   NOT NULL,
		lease_until BIGINT NOT NULL,
		moved_at    BIGINT NOT NULL,
		failing_at  BIGINT,          -- since when nothing was taken
		problem     TEXT   NOT NULL  -- a text of ours, never the receiver's
	)`,
	// Entries of the audit log up to seq may be removed. entry_id is the entry that says so.
	`CREATE TABLE audit_horizons (
		seq      BIGINT NOT NULL PRIMARY KEY,
		entry_id TEXT   NOT NULL UNIQUE,
		at       BIGINT NOT NULL
	)`,
}

// leastKept is how long an entry stays whatever anybody says, in microseconds: 30 days. audit.LeastKept is the same for its check.
const leastKept = "2592000000000"

// aHorizon is what a row of audit_horizons must be: ahead of all before it, the size of a checkpoint that was signed at least leastKept ago
// by the database's own clock, and named by an entry of the log. {n} is the row, {now} the clock, {s} what stands before a table.
const aHorizon = `NOT EXISTS (SELECT 1 FROM {s}audit_horizons h WHERE h.seq >= {n}.seq)
	AND EXISTS (SELECT 1 FROM {s}audit_checkpoints c WHERE c.size = {n}.seq AND c.at <= {now} - ` + leastKept + `)
	AND EXISTS (SELECT 1 FROM {s}audit_entries e WHERE e.id = {n}.entry_id AND e.event = 'audit.pruned'
		AND e.body LIKE '%,"resource":"audit:' || {n}.seq || '"%')`

// passed is what an entry must be to be removed: old, and numbered up to a horizon whose own entry is numbered, so that the trace is signed
// before anything is gone.
const passed = `{o}.at <= {now} - ` + leastKept + ` AND EXISTS (SELECT 1 FROM {s}audit_sequence s WHERE s.entry_id = {o}.id
	AND s.seq <= (SELECT h.seq FROM {s}audit_horizons h WHERE EXISTS (SELECT 1 FROM {s}audit_sequence p WHERE p.entry_id = h.entry_id)
		ORDER BY h.seq DESC LIMIT 1))`

// permitHorizons has the database remove what lies behind a horizon, and nothing else.
func permitHorizons(engine string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		all := append(exportTables[:len(exportTables):len(exportTables)], appendOnlySQL(engine, "audit_horizons")...)
		for _, q := range append(all, horizonSQL[engine]...) {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("making the horizon of the audit log: %w", err)
			}
		}
		return nil
	}
}

// In PostgreSQL the tables are named with their schema, so that no temporary table of the same name is asked instead.
var horizonSQL = map[string][]string{
	"sqlite": {
		`CREATE TRIGGER audit_horizons_insert BEFORE INSERT ON audit_horizons WHEN NOT (` + spell(aHorizon, sqliteWords) + `)
			BEGIN SELECT RAISE(ABORT, 'audit_horizons takes no such horizon'); END`,
		`DROP TRIGGER audit_entries_delete`,
		`CREATE TRIGGER audit_entries_delete BEFORE DELETE ON audit_entries WHEN NOT (` + spell(passed, sqliteWords) + `)
			BEGIN SELECT RAISE(ABORT, 'audit_entries is append-only'); END`,
	},
	"postgres": {
		guard("a_horizon", aHorizon, "NEW", "audit_horizons takes no such horizon"),
		`CREATE TRIGGER audit_horizons_insert BEFORE INSERT ON audit_horizons FOR EACH ROW EXECUTE FUNCTION a_horizon()`,
		guard("behind_horizon", passed, "OLD", "audit_entries is append-only"),
		`DROP TRIGGER audit_entries_change ON audit_entries`,
		`CREATE TRIGGER audit_entries_change BEFORE UPDATE ON audit_entries FOR EACH ROW EXECUTE FUNCTION append_only()`,
		`CREATE TRIGGER audit_entries_delete BEFORE DELETE ON audit_entries FOR EACH ROW EXECUTE FUNCTION behind_horizon()`,
	},
}

// sqliteWords and postgresWords spell a condition for an engine. {s} is put in when the trigger runs.
var (
	sqliteWords   = []string{"{n}", "NEW", "{o}", "OLD", "{s}", "", "{now}", "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000)"}
	postgresWords = []string{"{n}", "($1)", "{o}", "($1)", "{s}", "%1$I.", "{now}", "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)", "%", "%%"}
)

func spell(condition string, words []string) string {
	return strings.NewReplacer(words...).Replace(condition)
}

// guard is a trigger's function that refuses a row (NEW or OLD) which a condition does not hold for.
func guard(name, condition, row, refusal string) string {
	return `CREATE FUNCTION ` + name + `() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE ok BOOLEAN; BEGIN
		EXECUTE format($q$SELECT ` + spell(condition, postgresWords) + `$q$, TG_TABLE_SCHEMA) INTO ok USING ` + row + `;
		IF NOT ok THEN RAISE EXCEPTION '` + refusal + `' USING ERRCODE = '23001'; END IF;
		RETURN ` + row + `;
	END $$`
}
