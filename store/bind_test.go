package store_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A prepared statement leaves its parameters bound, and what it is asked next may be the same, something else, or of another kind.
func TestAStatementLooksForWhatItIsAskedThisTime(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		things(t, db)
		letter := strings.Repeat("a", 100)
		for _, id := range []string{"a", "b", letter} {
			inTx(t, db, adding(id))
		}
		inTx(t, db, func(tx *store.Tx) error {
			var found []string
			for _, asked := range []any{"a", "a", "b", nil, "b", letter, letter, "a", "none", "a"} {
				ids, err := store.All(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) }, `SELECT id FROM things WHERE id = $1`, asked)
				if err != nil {
					return err
				}
				found = append(found, append(ids, "-")[0])
			}
			if want := []string{"a", "a", "b", "-", "b", letter, letter, "a", "-", "a"}; !slices.Equal(found, want) {
				t.Errorf("%v, want %v", found, want)
			}
			return nil
		})
	})
}
