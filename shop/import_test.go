package shop_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// tiny is a bundle of three orders. The last day is a Friday; order 1002 has a SKU at two prices.
var tiny = map[string]string{
	"products.csv":      "product_code,title,category\nC,Cup,kitchen-dining\nJ,Jug,kitchen-dining\n",
	"variants.csv":      "sku,product_code,title,option,price_minor,units_sold_13m\nCUP,C,Cup,,250,8\nJUG,J,Jug,,700,2\n",
	"customers.csv":     "customer_no,country,first_order_at\n1,United Kingdom,2011-06-30 23:30\n2,Germany,2011-12-09 12:50\n",
	"orders.csv":        "order_no,customer_no,placed_at,ship_country,shipping_minor,discount_minor\n1001,1,2011-12-08 10:00,United Kingdom,300,100\n1002,2,2011-12-09 12:50,Germany,0,0\n1003,1,2011-06-30 23:30,United Kingdom,0,0\n",
	"order_lines.csv":   "order_no,sku,qty,unit_price_minor\n1001,CUP,4,250\n1001,JUG,1,700\n1002,CUP,2,240\n1002,CUP,2,250\n1003,JUG,1,700\n",
	"refunds.csv":       "refund_no,order_no,refunded_at\nC1,1002,2011-12-09 13:00\n",
	"refund_lines.csv":  "refund_no,sku,qty,unit_price_minor\nC1,CUP,3,250\n",
	"not-a-part.ignore": "anything",
}

func writeBundle(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func importTiny(t *testing.T, db *store.DB, merchant string, opts shop.Options) shop.Summary {
	t.Helper()
	s, err := shop.Import(t.Context(), db, merchant, writeBundle(t, tiny), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func gzipped(t *testing.T, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestImportAddsUpOrders(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := importTiny(t, db, merchant, shop.Options{KeepDates: true})
		if !strings.Contains(s.Attribution, "CC BY 4.0") || !strings.Contains(s.Attribution, "10.24432/C5BW33") {
			t.Errorf("the attribution lacks licence or source: %s", s.Attribution)
		}
		order := `SELECT order_no || ' ' || status, total_minor * 1000000 + refunded_minor FROM orders WHERE merchant_id = $1`
		want := map[string]int64{"1001 open": 1900_000000, "1002 part_refunded": 980_000750, "1003 fulfilled": 700_000000}
		if diff := cmp.Diff(want, sums(t, db, order)); diff != "" {
			t.Errorf("orders with total and refunded (-want +got):\n%s", diff)
		}
		lines := `SELECT CASE WHEN unit_price_minor = 250 THEN 'same price' ELSE 'other price' END, qty_refunded
			FROM order_lines WHERE merchant_id = $1 AND order_no = '1002'`
		if diff := cmp.Diff(map[string]int64{"same price": 2, "other price": 1}, sums(t, db, lines)); diff != "" {
			t.Errorf("pieces given back by line (-want +got):\n%s", diff)
		}
		checkSales(t, db)
	})
}

// TestDatesMoveByWholeWeeks imports on each day of a week: the data must end on the latest Friday before the day.
func TestDatesMoveByWholeWeeks(t *testing.T) {
	inOneGoroutine(t)
	db := storetest.New(t, "sqlite")
	for i := range 8 {
		today := sunday.AddDate(0, 0, i)
		s := importTiny(t, db, merchant, shop.Options{Today: today})
		want := today.AddDate(0, 0, -1)
		for want.Weekday() != time.Friday {
			want = want.AddDate(0, 0, -1)
		}
		if s.LastDay != shop.Day(want) {
			t.Errorf("on %s the data ends on %s, want %s", shop.Day(today), s.LastDay, shop.Day(want))
		}
		for no, source := range sums(t, db, "SELECT order_no, source_placed_at FROM orders WHERE merchant_id = $1") {
			placed := number(t, db, "SELECT placed_at FROM orders WHERE merchant_id = $1 AND order_no = $2", merchant, no)
			before, after := time.UnixMicro(source).In(shop.London), time.UnixMicro(placed).In(shop.London)
			const weekdayAndClock = "Monday 15:04"
			if before.Format(weekdayAndClock) != after.Format(weekdayAndClock) || before.Year() != 2011 {
				t.Errorf("order %s moved from %v to %v", no, before, after)
			}
		}
	}
}

func TestBrokenFilesLeaveNothingBehind(t *testing.T) {
	header := func(file string) string { return tiny[file][:strings.Index(tiny[file], "\n")+1] }
	cases := []struct{ name, file, content, want string }{
		{"missing column", "orders.csv", "order_no,customer_no,placed_at,ship_country,shipping_minor\n", `orders.csv:1: columns are "order_no,customer_no`},
		{"bad date", "orders.csv", header("orders.csv") + "1001,1,2011-13-40,United Kingdom,0,0\n", `orders.csv:2: placed_at "2011-13-40" is not a date (want YYYY-MM-DD HH:MM)`},
		{"bad number", "order_lines.csv", tiny["order_lines.csv"] + "1003,JUG,one,700\n", `order_lines.csv:7: qty "one" is not a whole number`},
		{"number out of range", "order_lines.csv", tiny["order_lines.csv"] + "1003,JUG,0,700\n", "order_lines.csv:7: qty 0 is not between 1 and"},
		{"unknown order", "order_lines.csv", tiny["order_lines.csv"] + "9999,JUG,1,700\n", `order_lines.csv:7: order_no "9999" is not in orders`},
		{"unknown SKU", "order_lines.csv", tiny["order_lines.csv"] + "1003,POT,1,700\n", `order_lines.csv:7: sku "POT" is not in variants`},
		{"unknown customer", "orders.csv", tiny["orders.csv"] + "1004,3,2011-12-09 12:50,Germany,0,0\n", `orders.csv:5: customer_no "3" is not in customers`},
		{"duplicate order", "orders.csv", tiny["orders.csv"] + "1001,1,2011-12-08 10:00,United Kingdom,0,0\n", `orders.csv:5: order_no "1001" is there twice`},
		{"order without lines", "orders.csv", tiny["orders.csv"] + "1004,2,2011-12-09 12:50,Germany,0,0\n", "orders.csv:5: order 1004 has no line"},
		{"discount beyond the goods", "orders.csv", strings.Replace(tiny["orders.csv"], "300,100", "300,1701", 1), "orders.csv:2: discount_minor 1701 is more than"},
		{"more pieces back than sold", "refund_lines.csv", tiny["refund_lines.csv"] + "C1,CUP,2,250\n", "refund_lines.csv:3: refund C1 gives back 2 of CUP, but order 1002 has only 1 left"},
		{"more money back than paid", "refund_lines.csv", header("refund_lines.csv") + "C1,CUP,1,99999\n", "refund_lines.csv:2: refund C1 gives back more than was paid"},
		{"refund before the order", "refunds.csv", header("refunds.csv") + "C1,1002,2011-12-09 12:00\n", "refunds.csv:2: refunded_at 2011-12-09 12:00 is before the order"},
		{"refund of nothing", "refund_lines.csv", header("refund_lines.csv"), "refunds.csv:2: refund C1 gives nothing back"},
		{"missing field", "products.csv", tiny["products.csv"] + "K,Kettle\n", "products.csv:4: wrong number of fields"},
		{"empty name", "products.csv", tiny["products.csv"] + "K,,kitchen-dining\n", "products.csv:4: title is empty"},
		{"not UTF-8", "products.csv", tiny["products.csv"] + "K,Caf\xe9,kitchen-dining\n", "products.csv:4: title is not UTF-8"},
		{"NUL", "products.csv", tiny["products.csv"] + "K,\x00,kitchen-dining\n", "products.csv:4: title holds a NUL byte"},
		{"open quote", "products.csv", tiny["products.csv"] + "K,\"Kettle,kitchen-dining\n", "products.csv:4: extraneous or missing"},
		{"empty file", "products.csv", "", "products.csv:1: the file is empty"},
		{"truncated gzip", "orders.csv.gz", gzipped(t, tiny["orders.csv"])[:60], "orders.csv.gz:"},
		{"not gzip", "orders.csv.gz", tiny["orders.csv"], "orders.csv.gz: not a gzip file"},
		{"missing file", "orders.csv.gz", "", "orders.csv"},
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for _, c := range cases {
			files := maps.Clone(tiny)
			if strings.HasSuffix(c.file, ".gz") {
				delete(files, strings.TrimSuffix(c.file, ".gz"))
			}
			if files[c.file] = c.content; c.name == "missing file" {
				delete(files, c.file)
			}
			_, err := shop.Import(t.Context(), db, merchant, writeBundle(t, files), shop.Options{Today: sunday})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %s", c.name, err, c.want)
			}
		}
		for _, table := range []string{"shops", "products", "orders", "order_lines", "product_sales", "cohort_months", "attribution_days"} {
			if n := number(t, db, "SELECT COUNT(*) FROM "+table); n != 0 {
				t.Errorf("%d rows were left in %s", n, table)
			}
		}
	})
}

// TestImportAgreesWithTheFiles imports the real merchant and compares its sales, day by day and to the penny, with sums
// that are made here from the files, without the importer. Under the race detector the small bundle stands in for the
// whole one, which would take a minute.
func TestImportAgreesWithTheFiles(t *testing.T) {
	dir := needBundle(t, bundleDir)
	if raceEnabled {
		dir = filepath.Join(dir, "mini")
	}
	want := sumFiles(t, dir)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		start := time.Now()
		s, err := shop.Import(t.Context(), db, merchant, dir, shop.Options{KeepDates: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d orders, %d lines in %.1f s", s.Orders, s.Lines, time.Since(start).Seconds())
		byDay := func(column string) map[string]int64 {
			return sums(t, db, "SELECT day, CAST(SUM("+column+") AS BIGINT) FROM sales_totals WHERE merchant_id = $1 GROUP BY day HAVING SUM("+column+") > 0")
		}
		bySKU := func(column string) map[string]int64 {
			return sums(t, db, "SELECT sku, CAST(SUM("+column+") AS BIGINT) FROM sales_monthly WHERE merchant_id = $1 GROUP BY sku HAVING SUM("+column+") > 0")
		}
		got := fileSums{
			Orders: byDay("orders"), Gross: byDay("gross_minor"), Shipping: byDay("shipping_minor"), Refunds: byDay("refunds_minor"),
			GrossBySKU: bySKU("gross_minor"), UnitsBySKU: bySKU("units"),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("sales (-files +shop):\n%s", diff)
		}
		if s.Gross.AmountMinor != total(want.Gross) || s.Refunded.AmountMinor != total(want.Refunds) {
			t.Errorf("the summary says %v gross, %v refunded; the files %d, %d", s.Gross, s.Refunded, total(want.Gross), total(want.Refunds))
		}
		if !raceEnabled {
			checkBigOrder(t, db)
		}
	})
}

// checkBigOrder looks at the order that the whole demonstration of approvals hangs on.
func checkBigOrder(t *testing.T, db *store.DB) {
	t.Helper()
	q := "SELECT total_minor FROM orders WHERE merchant_id = $1 AND order_no = '581483' AND status = 'refunded' AND refunded_minor = total_minor"
	if n := number(t, db, q, merchant); n != 168_469_60 {
		t.Errorf("order 581483 came to %d, want £168,469.60, all refunded", n)
	}
}

// fileSums are sums made from the files alone.
type fileSums struct {
	Orders, Gross, Shipping, Refunds map[string]int64 // by day
	GrossBySKU, UnitsBySKU           map[string]int64
}

func total(m map[string]int64) (sum int64) {
	for _, n := range m {
		sum += n
	}
	return sum
}

func sumFiles(t *testing.T, dir string) fileSums {
	t.Helper()
	s := fileSums{
		Orders: map[string]int64{}, Gross: map[string]int64{}, Shipping: map[string]int64{}, Refunds: map[string]int64{},
		GrossBySKU: map[string]int64{}, UnitsBySKU: map[string]int64{},
	}
	day := map[string]string{}
	for _, r := range readRows(t, dir, "orders") {
		day[r["order_no"]] = r["placed_at"][:10]
		s.Orders[r["placed_at"][:10]]++
		if n := amount(t, r["shipping_minor"]); n > 0 {
			s.Shipping[r["placed_at"][:10]] += n
		}
	}
	for _, r := range readRows(t, dir, "order_lines") {
		worth := amount(t, r["qty"]) * amount(t, r["unit_price_minor"])
		s.Gross[day[r["order_no"]]] += worth
		s.GrossBySKU[r["sku"]] += worth
		s.UnitsBySKU[r["sku"]] += amount(t, r["qty"])
	}
	for _, r := range readRows(t, dir, "refunds") {
		day[r["refund_no"]] = r["refunded_at"][:10]
	}
	for _, r := range readRows(t, dir, "refund_lines") {
		s.Refunds[day[r["refund_no"]]] += amount(t, r["qty"]) * amount(t, r["unit_price_minor"])
	}
	return s
}

func amount(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func readRows(t *testing.T, dir, name string) (rows []map[string]string) {
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
	for _, record := range all[1:] {
		row := map[string]string{}
		for i, col := range all[0] {
			row[col] = record[i]
		}
		rows = append(rows, row)
	}
	return rows
}
