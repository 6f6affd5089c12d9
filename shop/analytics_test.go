package shop_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

// TestKeptSumsAreTheSumsOfTheOrders refunds orders at random, on days that go forth and back, and compares the kept sums
// with those made here from the orders, refunds and touches alone.
func TestKeptSumsAreTheSumsOfTheOrders(t *testing.T) {
	inOneGoroutine(t)
	eachDemo(t, func(t *testing.T, db *store.DB) {
		compareSums(t, db, nil)
		byAds := sums(t, db, "SELECT ad_campaign_id, CAST(SUM(orders) AS BIGINT) FROM ad_days WHERE merchant_id = $1 GROUP BY ad_campaign_id HAVING SUM(orders) > 0")
		last := sums(t, db, `SELECT campaign_id, CAST(SUM(orders_thousandths) AS BIGINT) / 1000 FROM attribution_days
			WHERE merchant_id = $1 AND model = 'last_touch' AND channel = 'ads' AND campaign_id <> '' GROUP BY campaign_id`)
		if diff := cmp.Diff(byAds, last); diff != "" || len(last) == 0 {
			t.Errorf("orders of ads (-ads +attribution):\n%s", diff)
		}
		var made []string
		chance := rand.New(rand.NewPCG(3, 1))
		for range 80 {
			db.Now = func() time.Time { return sunday }
			if chance.IntN(3) > 0 {
				now := sunday.Add(time.Duration(chance.IntN(40*24)-12*24) * time.Hour)
				db.Now = func() time.Time { return now }
			}
			if no := refundAtRandom(t, db, fmt.Sprint(71976+chance.IntN(25)), chance); no != "" {
				made = append(made, no)
			}
		}
		if len(made) < 30 {
			t.Errorf("only %d refunds were made", len(made))
		}
		compareSums(t, db, made)
	})
}

// refundAtRandom gives back something of an order, for its lines or for none, and gives the refund's number; it is empty when
// there is nothing left to give.
func refundAtRandom(t *testing.T, db *store.DB, no string, chance *rand.Rand) string {
	t.Helper()
	err := db.InTx(t.Context(), func(tx *store.Tx) error {
		d, err := shop.At(tx, merchant)
		if err != nil {
			return err
		}
		o, err := d.Order(no)
		no = ""
		left := o.Total.AmountMinor - o.Refunded.AmountMinor
		if err != nil || left == 0 {
			return err
		}
		amount := 1 + chance.Int64N(left)/2
		if chance.IntN(4) == 0 {
			amount = left
		}
		var returns []shop.Return
		for _, l := range o.Lines {
			if back := l.Qty - l.QtyRefunded; back > 0 && chance.IntN(2) == 0 {
				qty := 1 + chance.Int64N(back)
				returns = append(returns, shop.Return{Line: l.Line, Qty: qty, Restock: qty <= l.Out()})
			}
		}
		r, err := d.Refund(o, shop.Refund{Amount: shop.Money{AmountMinor: amount, Currency: "GBP"}, Cause: "damaged", Actor: "test"}, returns)
		no = r.No
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return no
}

// An account is what is known of one order.
type account struct {
	day, cohort string
	worth       int64
	touches     []string
	back        int64 // given back so far
}

func texts(t *testing.T, db *store.DB, columns int, q string) (rows [][]string) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		var err error
		rows, err = store.All(tx, func(r store.Row) ([]string, error) {
			row, to := make([]string, columns), make([]any, columns)
			for i := range row {
				to[i] = &row[i]
			}
			return row, r.Scan(to...)
		}, q, merchant)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func dayOf(t *testing.T, micros string) string {
	t.Helper()
	return time.UnixMicro(amount(t, micros)).In(shop.London).Format("2006-01-02")
}

// accounts reads the orders, the first one of a customer first.
func accounts(t *testing.T, db *store.DB, cohorts, credits map[string]int64) map[string]*account {
	t.Helper()
	all, first, seen := map[string]*account{}, map[string]string{}, map[string]bool{}
	touches := map[string][]string{}
	for _, r := range texts(t, db, 2, "SELECT order_no, channel || '/' || campaign_id FROM order_touches WHERE merchant_id = $1 ORDER BY order_no, touch_no") {
		touches[r[0]] = append(touches[r[0]], r[1])
	}
	for _, r := range texts(t, db, 4, `SELECT order_no, customer_no, CAST(placed_at AS TEXT), CAST(subtotal_minor - discount_minor AS TEXT) FROM orders
		WHERE merchant_id = $1 ORDER BY placed_at`) {
		day := dayOf(t, r[2])
		if first[r[1]] == "" {
			first[r[1]] = day[:7]
		}
		a := &account{day: day, cohort: first[r[1]], worth: amount(t, r[3]), touches: touches[r[0]]}
		if len(a.touches) == 0 {
			a.touches = []string{"direct/"}
		}
		if !seen[r[1]+day[:7]] {
			seen[r[1]+day[:7]] = true
			cohorts[a.cohort+" "+day[:7]+" customers"]++
		}
		cohorts[a.cohort+" "+day[:7]+" orders"]++
		cohorts[a.cohort+" "+day[:7]+" net"] += a.worth
		a.credit(credits, day, 1000, "orders", 1)
		a.credit(credits, day, a.worth, "net", 1)
		all[r[0]] = a
	}
	return all
}

// credit adds an amount to what each model credits, parted by rounding up ever smaller rests.
func (a *account) credit(credits map[string]int64, day string, amount int64, what string, sign int64) {
	last := len(a.touches) - 1
	credits["last_touch "+day+" "+a.touches[last]+" "+what] += sign * amount
	credits["first_touch "+day+" "+a.touches[0]+" "+what] += sign * amount
	for i, touch := range a.touches {
		heads := int64(len(a.touches) - i)
		part := (amount + heads - 1) / heads
		amount -= part
		credits["linear "+day+" "+touch+" "+what] += sign * part
	}
}

// compareSums compares all kept sums with those of the orders, of the refunds by time, and of those made since, in their order.
func compareSums(t *testing.T, db *store.DB, made []string) {
	t.Helper()
	cohorts, credits, products := map[string]int64{}, map[string]int64{}, map[string]int64{}
	orders := accounts(t, db, cohorts, credits)
	product := map[string]string{}
	for _, r := range texts(t, db, 5, `SELECT l.order_no, CAST(l.line AS TEXT), v.product_code, CAST(l.qty * l.unit_price_minor AS TEXT), CAST(l.qty AS TEXT)
		FROM order_lines l JOIN variants v ON v.merchant_id = l.merchant_id AND v.sku = l.sku WHERE l.merchant_id = $1`) {
		product[r[0]+" "+r[1]] = r[2]
		products[r[2]+" "+orders[r[0]].day+" gross"] += amount(t, r[3])
		products[r[2]+" "+orders[r[0]].day+" units"] += amount(t, r[4])
	}
	lines := map[string][][]string{}
	for _, r := range texts(t, db, 3, "SELECT refund_no, CAST(line AS TEXT), CAST(amount_minor AS TEXT) FROM refund_lines WHERE merchant_id = $1 ORDER BY refund_no, line") {
		lines[r[0]] = append(lines[r[0]], r)
	}
	refunds := map[string][]string{}
	var sequence []string
	isMade := map[string]bool{}
	for _, no := range made {
		isMade[no] = true
	}
	for _, r := range texts(t, db, 4, `SELECT refund_no, order_no, CAST(refunded_at AS TEXT), CAST(amount_minor AS TEXT) FROM refunds
		WHERE merchant_id = $1 ORDER BY refunded_at`) {
		refunds[r[0]] = r
		if !isMade[r[0]] {
			sequence = append(sequence, r[0])
		}
	}
	for _, no := range append(sequence, made...) {
		r := refunds[no]
		a, day := orders[r[1]], dayOf(t, r[2])
		before := min(a.back, a.worth)
		a.back += amount(t, r[3])
		goods := min(a.back, a.worth) - before
		cohorts[a.cohort+" "+day[:7]+" net"] -= goods
		a.credit(credits, day, before+goods, "net", -1)
		a.credit(credits, day, before, "net", 1)
		for _, l := range lines[no] {
			part := min(amount(t, l[2]), goods)
			goods -= part
			products[product[r[1]+" "+l[1]]+" "+day+" refunds"] += part
		}
		products[" "+day+" refunds"] += goods
	}
	differ(t, "cohorts", cohorts, texts(t, db, 5, `SELECT cohort || ' ' || month, 'customers orders net', CAST(customers AS TEXT), CAST(orders AS TEXT), CAST(net_minor AS TEXT)
		FROM cohort_months WHERE merchant_id = $1`))
	differ(t, "attribution", credits, texts(t, db, 4, `SELECT model || ' ' || day || ' ' || channel || '/' || campaign_id, 'orders net', CAST(orders_thousandths AS TEXT), CAST(net_minor AS TEXT)
		FROM attribution_days WHERE merchant_id = $1`))
	differ(t, "products", products, texts(t, db, 5, `SELECT product_code || ' ' || day, 'units gross refunds',
		CAST(units - LAG(units, 1, 0) OVER w AS TEXT), CAST(gross_minor - LAG(gross_minor, 1, 0) OVER w AS TEXT), CAST(refunds_minor - LAG(refunds_minor, 1, 0) OVER w AS TEXT)
		FROM product_sales WHERE merchant_id = $1 WINDOW w AS (PARTITION BY product_code ORDER BY day)`))
}

// differ compares sums with rows of a key, the names of sums, and the sums. A sum of nothing is none.
func differ(t *testing.T, what string, want map[string]int64, rows [][]string) {
	t.Helper()
	got := map[string]int64{}
	for _, r := range rows {
		for i, name := range strings.Fields(r[1]) {
			got[r[0]+" "+name] += amount(t, r[2+i])
		}
	}
	for _, sums := range []map[string]int64{want, got} {
		maps.DeleteFunc(sums, func(_ string, n int64) bool { return n == 0 })
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 100 {
		t.Errorf("%s, %d sums (-orders +kept):\n%s", what, len(want), diff)
	}
}
