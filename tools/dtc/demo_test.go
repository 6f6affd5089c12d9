package dtc

import (
	"compress/gzip"
	"encoding/csv"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// The real merchant's data is no part of the project; its first order is of 1 December 2010, its last of 9 December 2011.
const realData = "../../../shared/demo-data"

// realHouse is a house with the real merchant's data of a directory in it.
func realHouse(t *testing.T, engine, dir string) *house {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "orders.csv.gz")); err != nil {
		t.Skipf("the real merchant's data is not in %s: nothing to compare with", dir)
	}
	db := storetest.New(t, engine)
	if _, err := shop.Import(t.Context(), db, merchant, dir, shop.Options{KeepDates: true, Today: sunday}); err != nil {
		t.Fatal(err)
	}
	return newHouse(t, db)
}

// TestRealMerchantReadsToThePenny imports the real merchant and compares what the tools tell with sums made here from
// the files: all of it on PostgreSQL, the history of 74 customers on SQLite and wherever the race detector slows it down.
func TestRealMerchantReadsToThePenny(t *testing.T) {
	mini, whole := filepath.Join(realData, "mini"), realData
	if raceEnabled {
		whole = mini
	}
	for _, c := range []struct{ engine, dir string }{{"sqlite", mini}, {"postgres", whole}} {
		t.Run(c.engine, func(t *testing.T) {
			h := realHouse(t, c.engine, c.dir)
			checkBigOrder(h)
			checkSales(h, c.dir)
		})
	}
}

// checkBigOrder reads the order of £168,469.60 that was refunded twelve minutes later.
func checkBigOrder(h *house) {
	got := h.order("581483")
	if got.Total.AmountMinor != 16846960 || got.Refunded != got.Total || got.Refundable.AmountMinor != 0 || got.Status != shop.OrderRefunded ||
		got.CustomerNo != "16446" || len(got.Events) != 2 || got.Events[1].At.Sub(got.PlacedAt) != 12*time.Minute {
		h.Errorf("order 581483 reads %+v", got)
	}
	found := must[searchOrdersOut](h)(read[searchOrdersOut](h, "dtc_search_orders", args{"query": "#581483"}))
	if found.Total != 1 || found.Orders[0].Total != got.Total {
		h.Errorf("searching for order 581483 finds %+v", found)
	}
}

func checkSales(h *house, dir string) {
	want := shop.Sales{Key: "total", Label: "2010-12-01 to 2011-12-09"}
	worth := map[string]int64{} // what the goods of an order cost: what is given back beyond it is postage
	for _, r := range table(h.T, dir, "orders") {
		want.Orders++
		worth[r["order_no"]] -= number(h.T, r["discount_minor"])
	}
	for _, r := range table(h.T, dir, "order_lines") {
		want.Units += number(h.T, r["qty"])
		line := number(h.T, r["qty"]) * number(h.T, r["unit_price_minor"])
		want.Gross.AmountMinor += line
		worth[r["order_no"]] += line
	}
	orderOf, given := map[string]string{}, map[string]int64{}
	for _, r := range table(h.T, dir, "refunds") {
		orderOf[r["refund_no"]] = r["order_no"]
	}
	for _, r := range table(h.T, dir, "refund_lines") {
		given[orderOf[r["refund_no"]]] += number(h.T, r["qty"]) * number(h.T, r["unit_price_minor"])
	}
	for order, minor := range given {
		want.Refunds.AmountMinor += min(minor, worth[order])
	}
	for _, minor := range worth {
		want.Net.AmountMinor += minor // gross minus discounts
	}
	want.Net.AmountMinor -= want.Refunds.AmountMinor
	want.Gross.Currency, want.Refunds.Currency, want.Net.Currency = "GBP", "GBP", "GBP"
	got := h.sales("2010-12-01", "2011-12-09", nil)
	if diff := cmp.Diff(want, got.Total); diff != "" {
		h.Errorf("December to December:\n%s", diff)
	}
}

// table reads a file of the bundle, each row by its columns' names.
func table(t *testing.T, dir, name string) (rows []map[string]string) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, name+".csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range all[1:] {
		row := map[string]string{}
		for i, v := range line {
			row[all[0][i]] = v
		}
		rows = append(rows, row)
	}
	return rows
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
