package shop_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

const merchant = "mer_test"

// sunday is when these tests run, in winter time.
var sunday = time.Date(2026, 11, 22, 9, 30, 0, 0, shop.London)

// bundle is where the real merchant's data may be; its folder is no part of the project.
const bundleDir = "../../shared/demo-data"

func needBundle(t *testing.T, dir string) string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "orders.csv.gz")); err != nil {
		t.Skipf("the real merchant's data is not in %s: nothing to compare with", dir)
	}
	return dir
}

// inOneGoroutine leaves a test of thousands of statements to the run without the race detector, which has nothing to find in it.
func inOneGoroutine(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine and thousands of statements: it runs without the race detector")
	}
}

// eachDemo runs fn once per engine on a database of its own with the generated demo in it.
func eachDemo(t *testing.T, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	storetest.EachFilled(t, "demo", func(ctx context.Context, db *store.DB) error {
		_, err := shop.LoadDemo(ctx, db, merchant, 1, sunday)
		return err
	}, fn)
}

func loadDemo(t *testing.T, db *store.DB) shop.Summary {
	t.Helper()
	s, err := shop.LoadDemo(t.Context(), db, merchant, 1, sunday)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// number is the answer to a question about the database.
func number(t *testing.T, db *store.DB, q string, args ...any) (n int64) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		var err error
		n, err = store.One(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) }, q, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sums adds up columns of a table for each key of two columns.
func sums(t *testing.T, db *store.DB, q string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		_, err := store.All(tx, func(r store.Row) (struct{}, error) {
			var key string
			var n int64
			err := r.Scan(&key, &n)
			all[key] = n
			return struct{}{}, err
		}, q, merchant)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// exec runs a statement in a transaction of its own.
func exec(t *testing.T, db *store.DB, q string, args ...any) error {
	t.Helper()
	return db.InTx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(q, args...)
		return err
	})
}

func TestMoneyReadsAsPeopleWriteIt(t *testing.T) {
	for _, c := range []struct {
		money shop.Money
		want  string
	}{
		{shop.Money{AmountMinor: 16846960, Currency: "GBP"}, "£168,469.60"},
		{shop.Money{AmountMinor: 5, Currency: "GBP"}, "£0.05"},
		{shop.Money{AmountMinor: -300, Currency: "EUR"}, "-€3.00"},
		{shop.Money{AmountMinor: 100000, Currency: "USD"}, "$1,000.00"},
		{shop.Money{AmountMinor: 123456789, Currency: "NOK"}, "NOK 1,234,567.89"},
	} {
		if got := c.money.String(); got != c.want {
			t.Errorf("%+v reads %q, want %q", c.money, got, c.want)
		}
	}
}

func TestDaysAreLondonDays(t *testing.T) {
	summer := time.Date(2026, 6, 1, 23, 30, 0, 0, time.UTC) // half past midnight in London
	if got := shop.Day(summer); got != "2026-06-02" {
		t.Errorf("23:30 UTC in June is on %s, want 2026-06-02", got)
	}
	midnight, err := shop.Midnight("2026-06-02")
	if want := time.Date(2026, 6, 1, 23, 0, 0, 0, time.UTC); err != nil || !midnight.Equal(want) {
		t.Errorf("the day begins at %v (%v), want %v", midnight, err, want)
	}
	if _, err := shop.Midnight("2026-02-30"); err == nil {
		t.Error("2026-02-30 counts as a day")
	}
}
