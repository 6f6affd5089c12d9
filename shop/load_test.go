package shop_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// TestDatabaseHoldsTheMoneyRules asks the database for what no code should ask for.
func TestDatabaseHoldsTheMoneyRules(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		for name, q := range map[string]string{
			"more refunded than paid":         "UPDATE orders SET refunded_minor = total_minor + 1",
			"a negative refund":               "UPDATE orders SET refunded_minor = -1",
			"more pieces refunded than sold":  "UPDATE order_lines SET qty_refunded = qty + 1",
			"more pieces shipped than sold":   "UPDATE order_lines SET qty_shipped = qty + 1",
			"refunded in name only":           "UPDATE orders SET status = 'refunded' WHERE refunded_minor = 0",
			"a total that is not the sum":     "UPDATE orders SET total_minor = total_minor + 1",
			"a discount beyond the goods":     "UPDATE orders SET discount_minor = subtotal_minor + 1, total_minor = shipping_minor - 1",
			"a refund of nothing":             "UPDATE refunds SET amount_minor = 0",
			"stock below zero":                "UPDATE variants SET on_hand = -1",
			"a price below zero":              "UPDATE variants SET price_minor = -1",
			"a code used too often":           "UPDATE discounts SET uses = max_uses + 1",
			"a code that gives away too much": "UPDATE discounts SET given_away_minor = max_given_away_minor + 1",
			"95 percent off":                  "UPDATE discounts SET percent_off = 95",
			"texts without a phone":           "UPDATE customers SET phone = '' WHERE sms_consent_at IS NOT NULL",
			"a draft that was sent":           "UPDATE campaigns SET status = 'draft' WHERE sent_to > 0",
			"more opened than sent":           "UPDATE campaigns SET opened = sent_to + 1",
			"a second message of one mailing": "INSERT INTO deliveries SELECT merchant_id, mailing_id, customer_no, 99, address, created_at, carried_at FROM deliveries",
		} {
			if err := exec(t, db, q); err == nil {
				t.Errorf("the database allowed %s", name)
			} else if errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: the refusal looks like an outage: %v", name, err)
			}
		}
	})
}

func TestLoadReplacesOnlyDemoData(t *testing.T) {
	inOneGoroutine(t)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for _, m := range []string{merchant, "mer_other"} {
			importTiny(t, db, m, shop.Options{Today: sunday})
		}
		orders := "SELECT COUNT(*) FROM orders WHERE merchant_id = $1"
		loadDemo(t, db)
		if n := number(t, db, orders, merchant); n != 2000 {
			t.Errorf("%d orders after a demo of 2000 over an import", n)
		}
		importTiny(t, db, merchant, shop.Options{Today: sunday})
		if n := number(t, db, orders, merchant); n != 3 {
			t.Errorf("%d orders after an import of 3 over a demo", n)
		}
		if n := number(t, db, orders, "mer_other"); n != 3 {
			t.Errorf("another merchant has %d orders left of 3", n)
		}

		if err := exec(t, db, "UPDATE shops SET source = 'live' WHERE merchant_id = $1", merchant); err != nil {
			t.Fatal(err)
		}
		if _, err := shop.LoadDemo(t.Context(), db, merchant, 1, sunday); !errors.Is(err, shop.ErrNotDemo) {
			t.Errorf("loading over a live shop: %v, want ErrNotDemo", err)
		}
		if n := number(t, db, orders, merchant); n != 3 {
			t.Errorf("%d orders left of a live shop's 3", n)
		}
	})
}

// TestLoadCutShortKeepsWhatWasThere cuts an import that would have moved the dates of the one before it.
func TestLoadCutShortKeepsWhatWasThere(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		importTiny(t, db, merchant, shop.Options{KeepDates: true})
		ctx, cut := context.WithCancel(t.Context())
		_, err := shop.Import(ctx, db, merchant, writeBundle(t, tiny), shop.Options{
			Today: sunday, Progress: func(done, total int) { cut() },
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("an import cut short: %v, want context.Canceled", err)
		}
		if n := number(t, db, "SELECT COUNT(*) FROM orders WHERE merchant_id = $1 AND placed_at = source_placed_at", merchant); n != 3 {
			t.Errorf("%d orders left of 3", n)
		}
	})
}

// soldToDate are the last rows of product_sales: what each product has sold in all.
const soldToDate = `(SELECT s.* FROM product_sales s JOIN (SELECT merchant_id, product_code, MAX(day) AS day FROM product_sales GROUP BY merchant_id, product_code) last
	ON last.merchant_id = s.merchant_id AND last.product_code = s.product_code AND last.day = s.day) AS sold`

// TestSalesTablesAgree holds the three cuts of the sales against each other and against the orders and refunds.
func TestSalesTablesAgree(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		checkSales(t, db)
	})
}

func checkSales(t *testing.T, db *store.DB) {
	t.Helper()
	total := func(column, table string) int64 {
		return number(t, db, fmt.Sprintf("SELECT CAST(COALESCE(SUM(%s), 0) AS BIGINT) FROM %s WHERE merchant_id = $1", column, table), merchant)
	}
	for _, c := range []struct{ column, from, table string }{
		{"gross_minor", "qty * unit_price_minor", "order_lines"},
		{"units", "qty", "order_lines"},
		{"units_refunded", "qty", "refund_lines"},
	} {
		want := total(c.from, c.table)
		tables := []string{"sales_totals", "sales_monthly", "category_sales", soldToDate}
		if c.column == "units_refunded" {
			tables = tables[:2] // the others tell none
		}
		for _, table := range tables {
			if got := total(c.column, table); got != want {
				t.Errorf("%s of %s is %d, want %d as in %s", c.column, table, got, want, c.table)
			}
		}
	}
	refunds := total("refunds_minor", "sales_totals")
	for _, table := range []string{"sales_monthly", "category_sales", soldToDate} {
		if got := total("refunds_minor", table); got != refunds {
			t.Errorf("refunds of %s are %d, of sales_totals %d", table, got, refunds)
		}
	}
	if got, want := refunds+total("shipping_refunds_minor", "sales_totals"), total("amount_minor", "refunds"); got != want {
		t.Errorf("refunds in the sales are %d, want %d as in refunds", got, want)
	}
	for column, want := range map[string]int64{
		"orders": total("1", "orders"), "discount_minor": total("discount_minor", "orders"), "shipping_minor": total("shipping_minor", "orders"),
	} {
		if got := total(column, "sales_totals"); got != want {
			t.Errorf("%s of sales_totals is %d, want %d as in orders", column, got, want)
		}
	}
	for _, column := range []string{"units", "gross_minor", "refunds_minor"} {
		got := sums(t, db, "SELECT category, CAST(SUM("+column+") AS BIGINT) FROM category_sales WHERE merchant_id = $1 GROUP BY category")
		want := sums(t, db, `SELECT COALESCE(p.category, ''), CAST(SUM(sold.`+column+`) AS BIGINT) FROM `+soldToDate+`
			LEFT JOIN products p ON p.merchant_id = sold.merchant_id AND p.product_code = sold.product_code
			WHERE sold.merchant_id = $1 GROUP BY p.category`)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s by category are not those of the products (-want +got):\n%s", column, diff)
		}
	}
	for group, orders := range map[string]string{
		"p.product_code": "SELECT product_code, orders FROM " + soldToDate + " WHERE merchant_id = $1 AND units > 0",
		"p.category":     "SELECT category, CAST(SUM(orders) AS BIGINT) FROM category_sales WHERE merchant_id = $1 GROUP BY category HAVING SUM(units) > 0",
	} {
		got := sums(t, db, orders)
		want := sums(t, db, fmt.Sprintf(`SELECT %s, COUNT(DISTINCT l.order_no) FROM order_lines l
			JOIN variants v ON v.merchant_id = l.merchant_id AND v.sku = l.sku
			JOIN products p ON p.merchant_id = v.merchant_id AND p.product_code = v.product_code
			WHERE l.merchant_id = $1 GROUP BY %s`, group, group))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %s each order is not counted once (-want +got):\n%s", group, diff)
		}
	}
}

// TestRefundShowsInSalesAtOnce refunds an order in three steps: pieces, goodwill, and the rest with the postage.
func TestRefundShowsInSalesAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		importTiny(t, db, merchant, shop.Options{Today: sunday})
		gbp := func(n int64) shop.Money { return shop.Money{AmountMinor: n, Currency: "GBP"} }
		// Order 1001: 4 cups at 250 and 1 jug at 700, 300 postage, 100 off.
		o := shop.Order{
			No: "1001", ShipCountry: "United Kingdom", Subtotal: gbp(1700), Discount: gbp(100), Shipping: gbp(300), Total: gbp(1900),
			Refunded: gbp(0),
		}
		refund := func(no string, amount int64, lines ...shop.RefundLine) {
			t.Helper()
			r := shop.Refund{No: no, OrderNo: o.No, At: sunday, Amount: gbp(amount), Lines: lines}
			if err := db.InTx(t.Context(), func(tx *store.Tx) error { return shop.AddRefund(tx, merchant, o, r) }); err != nil {
				t.Fatal(err)
			}
			o.Refunded.AmountMinor += amount
		}
		refund("R1", 500, shop.RefundLine{Line: 1, SKU: "CUP", Qty: 2, Amount: gbp(500)})
		refund("R2", 50)
		refund("R3", 1350, shop.RefundLine{Line: 2, SKU: "JUG", Qty: 1, Amount: gbp(700)})

		daily := sums(t, db, `SELECT n.product_code, n.refunds_minor - COALESCE(MAX(o.refunds_minor), 0) FROM product_sales n
			LEFT JOIN product_sales o ON o.merchant_id = n.merchant_id AND o.product_code = n.product_code AND o.day < n.day
			WHERE n.merchant_id = $1 AND n.day = '2026-11-22' GROUP BY n.product_code, n.refunds_minor`)
		if diff := cmp.Diff(map[string]int64{"C": 500, "J": 700, "": 50 + 350}, daily); diff != "" {
			t.Errorf("refunds by product (-want +got):\n%s", diff)
		}
		today := "FROM sales_totals WHERE merchant_id = $1 AND day = '2026-11-22'"
		if n := number(t, db, "SELECT refunds_minor "+today, merchant); n != 1600 {
			t.Errorf("goods given back: %d, want 1600, all that was paid for them", n)
		}
		if n := number(t, db, "SELECT shipping_refunds_minor "+today, merchant); n != 300 {
			t.Errorf("postage given back: %d, want 300", n)
		}
		if n := number(t, db, "SELECT CAST(SUM(refunds_minor) AS BIGINT) FROM sales_monthly WHERE merchant_id = $1 AND month = '2026-11' AND sku = 'JUG'", merchant); n != 700 {
			t.Errorf("given back for jugs in November: %d, want 700", n)
		}
		if n := number(t, db, "SELECT data_until FROM shops WHERE merchant_id = $1", merchant); n != sunday.UnixMicro() {
			t.Errorf("the sales know of nothing after %d, want %d", n, sunday.UnixMicro())
		}
	})
}
