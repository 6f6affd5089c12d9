package storetest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func TestEachGivesAnEmptyDatabasePerEngine(t *testing.T) {
	var engines []string
	for range 2 {
		storetest.Each(t, func(t *testing.T, db *store.DB) {
			engines = append(engines, db.Engine())
			err := db.InTx(t.Context(), func(tx *store.Tx) error {
				if _, err := tx.Exec("CREATE TABLE once (id BIGINT)"); err != nil {
					return err
				}
				var n int64
				return tx.QueryRow("SELECT (SELECT COUNT(*) FROM once) + (SELECT COUNT(*) FROM audit_entries)").Scan(&n)
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	if diff := cmp.Diff([]string{"sqlite", "postgres", "sqlite", "postgres"}, engines); diff != "" {
		t.Errorf("engines (-want +got):\n%s", diff)
	}
}

// TestASchemaIsUsedAgainOnlyAsNew does to a schema what tests do, and looks at what the next test gets.
func TestASchemaIsUsedAgainOnlyAsNew(t *testing.T) {
	for _, c := range []struct {
		name, sql string
		again     bool
	}{
		{"nothing", "SELECT 1", true},
		{"a row", "INSERT INTO merchants (id, name, created_at) VALUES ('mer_x', 'x', 0)", true},
		{"a table", "CREATE TABLE more (id BIGINT)", true},
		{"a function", "CREATE FUNCTION more() RETURNS INT LANGUAGE SQL AS 'SELECT 1'", false},
		{"a trigger is off", "ALTER TABLE audit_entries DISABLE TRIGGER USER", false},
		{"a column", "ALTER TABLE merchants ADD COLUMN more BIGINT", false},
		{"another cursor key", "UPDATE page_keys SET secret = 'x'", false},
		{"a migration", "DELETE FROM goose_db_version WHERE version_id = 22", false},
	} {
		var before, after string
		t.Run(c.name, func(t *testing.T) {
			db := storetest.New(t, "postgres")
			before = schemaOf(t, db)
			do(t, db, c.sql)
		})
		t.Run("after "+c.name, func(t *testing.T) {
			db := storetest.New(t, "postgres")
			after = schemaOf(t, db)
			do(t, db, "INSERT INTO merchants (id, name, created_at) VALUES ('mer_x', 'x', 0)")
		})
		if (before == after) != c.again {
			t.Errorf("after %s the schema is used again: %v", c.name, before == after)
		}
	}
}

func schemaOf(t *testing.T, db *store.DB) (name string) {
	t.Helper()
	if err := db.Read(t.Context(), func(tx *store.Tx) error { return tx.QueryRow("SELECT current_schema()").Scan(&name) }); err != nil {
		t.Fatal(err)
	}
	return name
}

func do(t *testing.T, db *store.DB, sql string) {
	t.Helper()
	err := db.InTx(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(sql); return err })
	if err != nil {
		t.Fatal(err)
	}
}
