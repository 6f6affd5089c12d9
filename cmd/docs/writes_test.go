//go:build !race

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// The properties in this file are asked of every write there is, so that a new tool is held to them without a test of its own.
// They run without the race detector, which has the tests of each room, because they make thousands of calls.

// writes are the writes that have an effect on the shop and not on the gate's own rows.
func (d *demo) writes() []*tools.Tool {
	return slices.DeleteFunc(slices.Clone(d.registry.All()), func(t *tools.Tool) bool {
		return !t.Writes() || t.Name == "dtc_undo" || t.Name == "dtc_cancel_job"
	})
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// under gives the example of a tool under an idempotency key.
func under(t *testing.T, tool *tools.Tool, key string) string {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(tool.Example), &members); err != nil {
		t.Fatal(err)
	}
	if _, ok := tool.Input.Property("idempotency_key"); ok {
		members["idempotency_key"] = key
	}
	raw, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestARepeatIsAnsweredAlikeAndUndoRestoresEveryColumn makes each write, repeats it, and takes it back.
func TestARepeatIsAnsweredAlikeAndUndoRestoresEveryColumn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := must(newDemo(t.Context(), db))(t)
		before := look(t, db)
		for _, tool := range d.writes() {
			t.Run(tool.Name, func(t *testing.T) {
				undone := thereAndBack(t, d, tool)
				after := look(t, db)
				if undone {
					if lost := before.lost(after); lost != "" {
						t.Errorf("the undo leaves changed:\n%s", lost)
					}
				}
				before = after
			})
		}
	})
}

// shownOnce is the one thing in which the answer to a repeat differs from the first.
var shownOnce = regexp.MustCompile(`"token":"[^"]+"`)

// thereAndBack makes a write, repeats it, and takes it back where that is possible.
func thereAndBack(t *testing.T, d *demo, tool *tools.Tool) (undone bool) {
	args := under(t, tool, "once-"+tool.Name)
	first := must(d.call(t.Context(), d.free, tool.Name, args))(t)
	d.sound(t)
	var changes []string
	ctx := watchChanges(t.Context(), &changes)
	again := must(d.Call(ctx, d.free, gate.Request{Tool: tool.Name, Args: []byte(args), Transport: "mcp"}))(t)
	if _, keyed := tool.Input.Property("idempotency_key"); keyed {
		if !again.Replayed || shownOnce.ReplaceAllString(string(again.Body), "") != shownOnce.ReplaceAllString(string(first.Body), "") {
			t.Errorf("the repeat is answered\n%s\nand the first was\n%s", again.Body, first.Body)
		}
		if changes = slices.DeleteFunc(changes, func(q string) bool { return strings.Contains(q, "INTO idempotency ") }); len(changes) > 0 {
			t.Errorf("the repeat does more than read and record: %q", changes)
		}
	}
	r := must(first.result())(t)
	if r.UndoID == "" {
		return false
	}
	must(d.call(t.Context(), d.free, "dtc_undo", `{"undo_id":"`+r.UndoID+`"}`))(t)
	d.sound(t)
	return true
}

// sound holds the shop to what no write may break, whatever it does.
func (d *demo) sound(t *testing.T) {
	t.Helper()
	for what, q := range map[string]string{
		"orders that gave back more than was paid": `SELECT COUNT(*) FROM orders WHERE refunded_minor > total_minor OR refunded_minor < 0`,
		"orders whose refunds do not add up": `SELECT COUNT(*) FROM orders o WHERE refunded_minor <>
			(SELECT COALESCE(SUM(amount_minor), 0) FROM refunds r WHERE r.merchant_id = o.merchant_id AND r.order_no = o.order_no)`,
		"lines that gave back or shipped more pieces than were bought": `SELECT COUNT(*) FROM order_lines WHERE qty_refunded > qty OR qty_shipped > qty`,
		"SKUs below zero": `SELECT COUNT(*) FROM variants WHERE on_hand < 0`,
		"differences between what was given back and what the sums of sales say": `SELECT COUNT(*) FROM
			(SELECT SUM(refunds_minor + shipping_refunds_minor) AS n FROM sales_totals) a, (SELECT SUM(amount_minor) AS n FROM refunds) b WHERE a.n <> b.n`,
		"differences between what cohorts and channels brought in": `SELECT COUNT(*) FROM
			(SELECT 3 * SUM(net_minor) AS n FROM cohort_months) a, (SELECT SUM(net_minor) AS n FROM attribution_days) b WHERE a.n <> b.n`,
		"customers whose sums are not those of their orders": `SELECT COUNT(*) FROM customers c WHERE spent_minor <> (SELECT COALESCE(SUM(total_minor - refunded_minor), 0)
			FROM orders o WHERE o.merchant_id = c.merchant_id AND o.customer_no = c.customer_no AND o.status <> 'cancelled')`,
		"discounts over their cap": `SELECT COUNT(*) FROM discounts WHERE given_away_minor > max_given_away_minor`,
		"customers written to twice by one mailing": `SELECT COUNT(*) FROM (SELECT 1 AS one FROM deliveries
			GROUP BY merchant_id, mailing_id, customer_no HAVING COUNT(*) > 1) x`,
	} {
		var n int
		err := d.db.Read(t.Context(), func(tx *store.Tx) error { return tx.QueryRow(q).Scan(&n) })
		if err != nil || n != 0 {
			t.Errorf("%d %s (%v)", n, what, err)
		}
	}
}

const callers = 64

// TestManyAtOnceAreOneAfterAnother has each write made by 64 callers at once in one shop, and by as many one after another in
// its twin: as many are done, and the shops are alike. So what happened at once is explained by an order.
func TestManyAtOnceAreOneAfterAnother(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			crowd := must(newDemo(t.Context(), storetest.New(t, engine)))(t)
			queue := must(newDemo(t.Context(), storetest.New(t, engine)))(t)
			for _, tool := range crowd.writes() {
				t.Run(tool.Name, func(t *testing.T) { atOnce(t, crowd, queue, tool) })
			}
			one, other := look(t, queue.db).bag(), look(t, crowd.db).bag()
			for table := range one {
				if diff := cmp.Diff(one[table], other[table]); diff != "" {
					t.Errorf("%s differs (-one after another +at once):\n%s", table, diff)
				}
			}
		})
	}
}

func atOnce(t *testing.T, crowd, queue *demo, tool *tools.Tool) {
	var all sync.WaitGroup
	var jobs sync.Map
	together, inTurn := make([]error, callers), make([]error, callers)
	for i := range callers {
		all.Go(func() {
			a, err := crowd.call(t.Context(), crowd.free, tool.Name, under(t, tool, fmt.Sprint(tool.Name, i)))
			if _, told := jobs.LoadOrStore(a.Job.JobID, true); err == nil && told && a.Job.JobID != "" {
				err = errAskedAlready
			}
			together[i] = err
		})
	}
	all.Wait()
	for i := range callers {
		_, inTurn[i] = queue.call(t.Context(), queue.free, tool.Name, under(t, tool, fmt.Sprint(tool.Name, i)))
	}
	if a, b := outcomes(t, together), outcomes(t, inTurn); a[""] != b[""] {
		t.Errorf("at once: %v; one after another: %v", a, b)
	}
	crowd.sound(t)
}

// errAskedAlready stands for a call that waited for people when another asked the same, and was done as one with it.
var errAskedAlready = errors.New("another asked the same")

// outcomes counts the codes of refusals; those that were done are under the empty one.
func outcomes(t *testing.T, errs []error) map[tools.Code]int {
	counts := map[tools.Code]int{}
	for _, err := range errs {
		r := (*tools.Refusal)(nil)
		switch {
		case err == nil:
			counts[""]++
		case !errors.As(err, &r):
			counts["job"]++
		case r.Code == tools.Internal || r.Code == tools.Unavailable:
			t.Errorf("refused as %v", err)
		default:
			counts[r.Code]++
		}
	}
	return counts
}
