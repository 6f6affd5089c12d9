//go:build !race

package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/store"
)

// A view is every row of the shop, by table and key.
type view map[string]map[string]row

// A row is the text of its columns but for its version, which only ever goes up, and whose it is.
type row struct{ text, version string }

// gateTables are not the shop's: they grow with every call, whatever it does.
var gateTables = []string{"goose_db_version", "merchants", "agent_keys", "people", "jobs", "approvals", "approval_votes", "idempotency", "effects", "taints", "page_keys"}

// look reads the whole shop.
func look(t *testing.T, db *store.DB) view {
	t.Helper()
	v := view{}
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		tables, err := tablesOf(tx, db.Engine())
		if err != nil {
			return err
		}
		for _, table := range tables {
			if v[table], err = rowsOf(tx, db.Engine(), table); err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func tablesOf(tx *store.Tx, engine string) ([]string, error) {
	q := `SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name`
	if engine == "postgres" {
		q = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY table_name`
	}
	all, err := store.All(tx, scanText, q)
	return slices.DeleteFunc(all, func(table string) bool {
		return slices.Contains(gateTables, table) || strings.HasPrefix(table, "audit_") || strings.HasPrefix(table, "sqlite_")
	}), err
}

func scanText(r store.Row) (s string, err error) { return s, r.Scan(&s) }

// keys are the columns that tell rows of a table apart: those of its primary key.
func keysOf(tx *store.Tx, engine, table string) ([]string, error) {
	if engine == "postgres" {
		return store.All(tx, scanText, `SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
			WHERE i.indrelid = CAST($1 AS regclass) AND i.indisprimary`, table)
	}
	return store.All(tx, scanText, `SELECT name FROM pragma_table_info($1) WHERE pk > 0`, table)
}

func columnsOf(tx *store.Tx, engine, table string) ([]string, error) {
	q := `SELECT name FROM pragma_table_info($1) ORDER BY cid`
	if engine == "postgres" {
		q = `SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position`
	}
	return store.All(tx, scanText, q, table)
}

func rowsOf(tx *store.Tx, engine, table string) (map[string]row, error) {
	columns, err := columnsOf(tx, engine, table)
	if err != nil {
		return nil, err
	}
	keys, err := keysOf(tx, engine, table)
	if err != nil {
		return nil, err
	}
	rows := map[string]row{}
	values := make([]any, len(columns))
	for i := range values {
		values[i] = new(any)
	}
	_, err = store.All(tx, func(r store.Row) (struct{}, error) {
		if err := r.Scan(values...); err != nil {
			return struct{}{}, err
		}
		var key, text strings.Builder
		var one row
		for i, c := range columns {
			value := fmt.Sprint(*values[i].(*any))
			if slices.Contains(keys, c) {
				key.WriteString(value + "/")
			}
			if c == "version" {
				one.version += value
				continue
			}
			if slices.Contains(provenance, c) {
				one.version += " of " + value
				continue
			}
			text.WriteString(c + "=" + value + "\n")
		}
		one.text = text.String()
		rows[key.String()] = one
		return struct{}{}, nil
	}, "SELECT "+strings.Join(columns, ", ")+" FROM "+table)
	return rows, err
}

// provenance are columns that say who made what stands in the row, and when. Who takes something back is the one who did.
var provenance = []string{"published_at", "published_by"}

// diff tells what is otherwise in after.
func (v view) diff(after view) string {
	return v.compare(after) + after.compare(v)
}

// lost tells which rows of v are not in after as they were, versions apart. Rows that came are no loss: histories grow.
func (v view) lost(after view) string {
	w := view{}
	for table, rows := range v {
		w[table] = map[string]row{}
		for key, r := range rows {
			w[table][key] = row{r.text, after[table][key].version}
		}
	}
	return w.compare(after)
}

// compare tells which rows of v are otherwise in after, or not there.
func (v view) compare(after view) string {
	var b strings.Builder
	for _, table := range slices.Sorted(maps.Keys(v)) {
		for key, r := range v[table] {
			if r != after[table][key] {
				fmt.Fprintf(&b, "%s %s, version %s and %s (-before +after):\n%s\n", table, key, r.version, after[table][key].version,
					cmp.Diff(strings.Split(r.text, "\n"), strings.Split(after[table][key].text, "\n")))
			}
		}
	}
	return b.String()
}

var aTokenHash = regexp.MustCompile(`((?:token|secret)_sha256=|hint=st_)\w+`)

// bag is all rows by table, without order and without what has chance in it.
func (v view) bag() map[string][]string {
	bag := map[string][]string{}
	for table, rows := range v {
		for _, r := range rows {
			text := anID.ReplaceAllStringFunc(r.text, blot)
			bag[table] = append(bag[table], aTokenHash.ReplaceAllString(text, "$1…"))
		}
		slices.Sort(bag[table])
	}
	return bag
}
