//go:build !race

package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

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

// bounded are tables that do not grow with the shop: one row a merchant, or a handful that people make.
var bounded = []string{"shops", "merchants", "people", "page_keys", "segments", "campaigns", "discounts", "pages", "ad_accounts", "ad_campaigns"}

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
		for _, tool := range d.registry.All() {
			t.Run(tool.Name, func(t *testing.T) {
				for _, args := range append([]string{tool.Example}, more[tool.Name]...) {
					for _, s := range d.statements(t, tool.Name, args) {
						d.explain(t, s)
					}
				}
			})
		}
	})
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

func (d *demo) explain(t *testing.T, s statement) {
	t.Helper()
	explain := "EXPLAIN QUERY PLAN "
	if d.db.Engine() == "postgres" {
		explain = "EXPLAIN "
	}
	err := d.db.InTx(t.Context(), func(tx *store.Tx) error {
		if d.db.Engine() == "postgres" {
			if _, err := tx.Exec("SET LOCAL enable_seqscan = off"); err != nil {
				return err
			}
		}
		plan, err := store.All(tx, planLine(d.db.Engine()), explain+s.text, s.args...)
		for _, line := range plan {
			if table := scanned(line, s.text); table != "" && !slices.Contains(bounded, table) {
				t.Errorf("%s is gone through whole:\n%s\n%s", table, s.text, strings.Join(plan, "\n"))
				break
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
	sqliteScan   = regexp.MustCompile(`^SCAN (\w+)`)
	postgresScan = regexp.MustCompile(`Seq Scan on (\w+)`)
)

// scanned names the table that a line of a plan goes through whole, or "". SQLite speaks of it by its alias.
func scanned(line, text string) string {
	if m := postgresScan.FindStringSubmatch(line); m != nil {
		return m[1]
	}
	m := sqliteScan.FindStringSubmatch(line)
	if m == nil || m[1] == "CONSTANT" {
		return ""
	}
	alias := regexp.MustCompile(`(?i)(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)(?:\s+AS)?\s+` + m[1] + `\b`)
	if table := alias.FindStringSubmatch(text); table != nil {
		return table[1]
	}
	if regexp.MustCompile(`\)\s+(?:AS\s+)?` + m[1] + `\b`).MatchString(text) {
		return "" // an inner query, whose own plan stands below
	}
	return m[1]
}
