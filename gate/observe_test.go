package gate

import (
	"slices"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// What operators read every few seconds must cost the same however long the history is.
func TestBacklogsAreReadFromIndexes(t *testing.T) {
	db := storetest.New(t, "sqlite")
	asked := map[string][]any{}
	ctx := store.Watch(t.Context(), func(q string, args []any) { asked[q] = args })
	g := New(Config{DB: db, Tools: tools.NewRegistry()})
	if _, err := g.Backlogs(ctx); err != nil {
		t.Fatal(err)
	}
	if len(asked) < 8 {
		t.Fatalf("%d statements were seen", len(asked))
	}
	// A row each for a task of the program and for a merchant, and the rows of subqueries, which their LIMIT bounds.
	small := []string{"leases", "merchants", "open", "due", "counted", "waiting", "pending"}
	sorted := []string{"audit_pending"} // is kept in the order of its key, which such a scan follows
	for q, args := range asked {
		for _, step := range plan(t, db, q, args) {
			table, scans := strings.CutPrefix(step, "SCAN ")
			if scans && !strings.Contains(step, " INDEX ") && !slices.Contains(small, table) && !slices.Contains(sorted, table) {
				t.Errorf("%s\n%s", q, step)
			}
			t.Log(step)
		}
	}
}

func plan(t *testing.T, db *store.DB, q string, args []any) (steps []string) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *store.Tx) (err error) {
		steps, err = store.All(tx, func(r store.Row) (step string, err error) {
			var id, parent, unused int64
			return step, r.Scan(&id, &parent, &unused, &step)
		}, "EXPLAIN QUERY PLAN "+q, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return steps
}
