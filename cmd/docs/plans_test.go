//go:build !race

package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// more are calls whose statements are others than those of the examples.
var more = map[string][]string{
	"dtc_search_products": {`{}`, `{"query":"mug"}`, `{"category":"christmas","sort":"price_low"}`, `{"stock":"low","sort":"best_selling"}`, `{"sort":"price_high"}`, `{"sort":"title"}`},
	"dtc_search_orders": {
		`{}`, `{"sort":"oldest"}`, `{"sort":"largest"}`, `{"status":"open"}`, `{"country":"Germany"}`, `{"min_total":{"amount_minor":100000,"currency":"GBP"}}`,
		`{"query":"mug"}`, `{"from":"2026-03-01","to":"2026-04-01"}`,
	},
	"dtc_search_customers": {`{}`, `{"sort":"most_spent"}`, `{"sort":"most_orders"}`, `{"sort":"last_order"}`, `{"query":"1"}`, `{"where":{"country":"Germany"}}`, `{"where":{"tags_any":["team"]}}`},
	"dtc_get_sales_summary": {
		`{"from":"2025-12-01","to":"2026-11-20","group_by":"month","compare_previous":true}`, `{"from":"2026-03-05","to":"2026-10-07","group_by":"product"}`,
		`{"from":"2026-03-05","to":"2026-10-07","group_by":"category"}`, `{"from":"2026-03-05","to":"2026-10-07","group_by":"country"}`,
	},
	"dtc_list_campaigns":  {`{}`, `{"status":"sent"}`},
	"dtc_get_tickets":     {`{}`, `{"queue":"returns"}`, `{"status":"open"}`, `{"query":"refund"}`},
	"dtc_get_attribution": {`{"from":"2026-09-01","to":"2026-10-01","view":"campaign","model":"linear"}`, `{"from":"2026-09-01","to":"2026-10-01","view":"funnel"}`},
	"dtc_get_job":         {`{}`},
}

// bounded are tables, and indexes of parts of tables, that do not grow with the shop: one row a merchant, or a handful that people make.
var bounded = []string{
	"shops", "merchants", "people", "page_keys", "segments", "campaigns", "discounts", "pages", "ad_accounts", "ad_campaigns",
	"jobs_running",       // an index of the jobs that run now
	"jobs_indeterminate", // and of those whose outcome was lost
}

// A statement is SQL as it was run.
type statement struct {
	text string
	args []any
}

// TestNoToolScansTheShop asks the planner of each database about every statement that the examples of all tools run: none goes through a whole
// table that grows with the shop. PostgreSQL's planner prefers scans on small tables, so it is told not to: what is left has no other way.
func TestNoToolScansTheShop(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := must(newDemo(t.Context(), db))(t)
		tables := tableNames(t, db)
		real := realShop(t, db.Engine(), d.merchant)
		for _, tool := range d.registry.All() {
			t.Run(tool.Name, func(t *testing.T) {
				for _, args := range append([]string{tool.Example}, more[tool.Name]...) {
					for _, s := range d.statements(t, tool.Name, args) {
						explain(t, db, s, tables)
						if real != nil {
							explain(t, real, s, tables)
						}
					}
				}
			})
		}
	})
}

// realShop is a database with the real merchant, whose plans need not be those of the generated one; nil where the data,
// whose folder is no part of the project, is missing.
func realShop(t *testing.T, engine, merchant string) *store.DB {
	t.Helper()
	const dir = "../../../shared/demo-data"
	if _, err := os.Stat(dir); err != nil {
		t.Logf("the real merchant's data is not in %s: the plans are those of the generated one alone", dir)
		return nil
	}
	db := storetest.New(t, engine)
	if _, err := shop.Import(t.Context(), db, merchant, dir, shop.Options{Today: today}); err != nil {
		t.Fatal(err)
	}
	return db
}

func (d *demo) statements(t *testing.T, tool, args string) []statement {
	t.Helper()
	args, err := d.filled(t.Context(), args)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []statement
	ctx := store.Watch(t.Context(), func(q string, args []any) {
		mu.Lock()
		defer mu.Unlock()
		if !slices.ContainsFunc(seen, func(s statement) bool { return s.text == q }) {
			seen = append(seen, statement{q, args})
		}
	})
	who := d.free
	if strings.Contains(tool, "cancel_job") {
		who = d.asking
	}
	if _, err := d.call(ctx, who, tool, args); err != nil {
		t.Errorf("%s %s: %v", tool, args, err)
	}
	return seen
}

// tableNames names the tables of a SQLite database, whose plans speak of them by their aliases.
func tableNames(t *testing.T, db *store.DB) (names []string) {
	t.Helper()
	if db.Engine() == "postgres" {
		return nil
	}
	err := db.Read(t.Context(), func(tx *store.Tx) (err error) {
		names, err = store.All(tx, func(r store.Row) (name string, err error) { return name, r.Scan(&name) },
			"SELECT name FROM sqlite_master WHERE type = 'table'")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func explain(t *testing.T, db *store.DB, s statement, tables []string) {
	t.Helper()
	explain := "EXPLAIN QUERY PLAN "
	if db.Engine() == "postgres" {
		explain = "EXPLAIN "
	}
	err := db.InTx(t.Context(), func(tx *store.Tx) error {
		if db.Engine() == "postgres" {
			if _, err := tx.Exec("SET LOCAL enable_seqscan = off"); err != nil {
				return err
			}
		}
		plan, err := store.All(tx, planLine(db.Engine()), explain+s.text, s.args...)
		for _, table := range scanned(plan, s.text, tables) {
			if !slices.Contains(bounded, table) {
				t.Errorf("%s is gone through whole:\n%s\n%s", table, s.text, strings.Join(plan, "\n"))
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.text, err)
		}
		return context.Canceled // undo the setting
	})
	if err != nil && err != context.Canceled {
		t.Error(err)
	}
}

func planLine(engine string) func(store.Row) (string, error) {
	return func(r store.Row) (line string, err error) {
		if engine == "postgres" {
			return line, r.Scan(&line)
		}
		var id, parent, unused int64
		return line, r.Scan(&id, &parent, &unused, &line)
	}
}

var (
	sqliteScan    = regexp.MustCompile(`^SCAN (\S+)`)
	postgresScan  = regexp.MustCompile(`Seq Scan on (\w+)`)
	postgresIndex = regexp.MustCompile(`Index (?:Only )?Scan (?:Backward )?using (\w+) on`)
)

// scanned names the tables that a plan goes through whole, and the indexes of which nothing says which part.
func scanned(plan []string, text string, tables []string) (whole []string) {
	for i, line := range plan {
		if m := postgresScan.FindStringSubmatch(line); m != nil {
			whole = append(whole, m[1])
		}
		if m := postgresIndex.FindStringSubmatch(line); m != nil && (i+1 == len(plan) || !strings.Contains(plan[i+1], "Index Cond:")) {
			whole = append(whole, m[1])
		}
		if m := sqliteScan.FindStringSubmatch(line); m != nil {
			whole = append(whole, meant(m[1], text, tables)...)
		}
	}
	return whole
}

// noTable is what SQLite calls what is none: a SELECT without FROM, the VALUES of an INSERT, an inner query without a name.
var noTable = regexp.MustCompile(`^(CONSTANT|\d+-ROW|\(subquery-\d+\))$`)

// meant gives the tables that a name in SQLite's plan stands for: a table, or what the statement calls so. A name that
// is used for two tables means both. Inner queries are none, as their own plans stand in the plan too; a name that is
// nothing of all this is given back as it is, so that no scan is overlooked.
func meant(name, text string, tables []string) (all []string) {
	if noTable.MatchString(name) {
		return nil
	}
	if slices.Contains(tables, name) {
		all = append(all, name)
	}
	named := regexp.MustCompile(`(?i)(\w+)\s+(?:AS\s+)?` + regexp.QuoteMeta(name) + `\b`)
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		if slices.Contains(tables, m[1]) {
			all = append(all, m[1])
		}
	}
	inner := regexp.MustCompile(`(?i)\)\s+(?:AS\s+)?` + regexp.QuoteMeta(name) + `\b|\b` + regexp.QuoteMeta(name) + `\s+AS\s+(?:MATERIALIZED\s+)?\(`)
	if len(all) == 0 && !inner.MatchString(text) {
		all = append(all, name)
	}
	return all
}

func TestScannedOverlooksNoTable(t *testing.T) {
	tables := []string{"orders", "customers", "refunds"}
	for _, c := range []struct {
		line, text string
		want       []string
	}{
		{"SCAN orders", "SELECT 1 FROM orders", []string{"orders"}},
		{"SCAN c", "SELECT 1 FROM customers AS c", []string{"customers"}},
		{"SCAN c USING COVERING INDEX x", "UPDATE customers c SET note = ''", []string{"customers"}},
		{"SCAN r", "SELECT 1 FROM orders o, refunds r", []string{"refunds"}},
		{"SCAN x", "SELECT (SELECT 1 FROM refunds x) FROM customers x", []string{"refunds", "customers"}},
		{"SCAN rows", "WITH rows AS MATERIALIZED (SELECT 1 FROM orders) SELECT * FROM rows", nil},
		{"SCAN rows", "SELECT * FROM (SELECT 1 FROM orders) AS rows JOIN refunds rows", []string{"refunds"}},
		{"SCAN (subquery-2)", "SELECT 1 FROM (SELECT 1 FROM orders)", nil},
		{"SCAN 96-ROW VALUES CLAUSE", "INSERT INTO orders VALUES ($1)", nil},
		{"SCAN strange", "SELECT 1 FROM orders", []string{"strange"}},
		{"  ->  Seq Scan on customers c  (cost=0)", "", []string{"customers"}},
		{"  ->  Index Only Scan Backward using orders_placed on orders o  (cost=0)", "", []string{"orders_placed"}},
	} {
		if got := scanned([]string{c.line}, c.text, tables); !slices.Equal(got, c.want) {
			t.Errorf("%s in %s goes through %q, want %q", c.line, c.text, got, c.want)
		}
	}
}
