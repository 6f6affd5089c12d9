package storetest_test

import (
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func TestEachGivesAnEmptyDatabasePerEngine(t *testing.T) {
	var engines []string
	for range 2 {
		storetest.Each(t, func(t *testing.T, db *store.DB) {
			start := time.Now()
			engines = append(engines, db.Engine())
			err := db.InTx(t.Context(), func(tx *store.Tx) error {
				if _, err := tx.Exec("CREATE TABLE once (id BIGINT)"); err != nil {
					return err
				}
				_, err := tx.Exec("INSERT INTO once VALUES ($1)", 1)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(time.Since(start))
		})
	}
	if len(engines) != 4 {
		t.Fatal(engines)
	}
}
