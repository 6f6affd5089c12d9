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
