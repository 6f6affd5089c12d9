package shop_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

// checkSums holds every customer's sums to the orders.
func checkSums(t *testing.T, db *store.DB) {
	t.Helper()
	const counted = " FROM orders o WHERE o.merchant_id = c.merchant_id AND o.customer_no = c.customer_no AND o.status <> 'cancelled'"
	for what, q := range map[string]string{
		"orders":     "c.orders <> (SELECT COUNT(*)" + counted + ")",
		"spent":      "c.spent_minor <> (SELECT COALESCE(SUM(o.total_minor - o.refunded_minor), 0)" + counted + ")",
		"last order": "c.last_order_at <> (SELECT COALESCE(MAX(o.placed_at), 0)" + counted + ")",
		"first order": `c.first_order_at <> (SELECT COALESCE(MIN(o.placed_at), 0) FROM orders o
			WHERE o.merchant_id = c.merchant_id AND o.customer_no = c.customer_no)`,
	} {
		if n := number(t, db, "SELECT COUNT(*) FROM customers c WHERE "+q); n > 0 {
			t.Errorf("%d customers whose %s is not what their orders say", n, what)
		}
	}
}

func TestSumsFollowOrders(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		checkSums(t, db)
		if n := number(t, db, "SELECT COUNT(*) FROM customers WHERE orders = 0 OR first_order_at = 0"); n > 2 {
			t.Errorf("%d customers without an order", n)
		}

		// Every order of one customer is refunded a pound at a time, all at once.
		var orders []string
		err := at(t, db, func(d *shop.Desk) error {
			page, err := d.Orders(shop.OrderFilter{Query: "1002", Status: shop.OrderFulfilled}, shop.Cut{Limit: 8})
			for _, o := range page.Rows {
				orders = append(orders, o.No)
			}
			return err
		})
		if err != nil || len(orders) == 0 {
			t.Fatalf("%d orders, %v", len(orders), err)
		}
		before := number(t, db, "SELECT spent_minor FROM customers WHERE customer_no = '1002'")
		var all sync.WaitGroup
		for _, no := range orders {
			all.Go(func() {
				err := at(t, db, func(d *shop.Desk) error {
					o, err := d.Order(no)
					if err == nil {
						_, err = d.Refund(o, shop.Refund{Amount: shop.Money{AmountMinor: 100, Currency: "GBP"}, Cause: "goodwill", Actor: "test"}, nil)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		checkSums(t, db)
		after := number(t, db, "SELECT spent_minor FROM customers WHERE customer_no = '1002'")
		if want := before - 100*int64(len(orders)); after != want {
			t.Errorf("spent %d, want %d", after, want)
		}
	})
}

// TestRulesAskTheSums compares every kind of rule with the orders themselves.
func TestRulesAskTheSums(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		const orders = " FROM orders o WHERE o.merchant_id = c.merchant_id AND o.customer_no = c.customer_no AND o.status <> 'cancelled'"
		day, err := shop.Midnight("2026-10-01")
		if err != nil {
			t.Fatal(err)
		}
		for what, c := range map[string]struct {
			rule shop.Rule
			sql  string
			args []any
		}{
			"everybody":   {shop.Rule{}, "1 = 1", nil},
			"many orders": {shop.Rule{MinOrders: 5}, "5 <= (SELECT COUNT(*)" + orders + ")", nil},
			"spenders": {
				shop.Rule{MinSpent: &shop.Money{AmountMinor: 100_000, Currency: "GBP"}},
				"100000 <= (SELECT COALESCE(SUM(o.total_minor - o.refunded_minor), 0)" + orders + ")", nil,
			},
			"lately":   {shop.Rule{LastOrderAfter: "2026-10-01"}, "EXISTS (SELECT 1" + orders + " AND o.placed_at >= $1)", []any{day.UnixMicro()}},
			"not late": {shop.Rule{LastOrderBefore: "2026-10-01"}, "EXISTS (SELECT 1" + orders + ") AND NOT EXISTS (SELECT 1" + orders + " AND o.placed_at >= $1)", []any{day.UnixMicro()}},
			"team":     {shop.Rule{TagsAny: []string{"TEAM", "none"}}, `c.tags LIKE '%"team"%'`, nil},
			"others":   {shop.Rule{TagsNone: []string{"team"}}, `c.tags NOT LIKE '%"team"%'`, nil},
		} {
			var a shop.Audience
			if err := at(t, db, func(d *shop.Desk) (err error) { a, err = d.Audience(c.rule); return err }); err != nil {
				t.Fatal(err)
			}
			want := number(t, db, "SELECT COUNT(*) FROM customers c WHERE "+c.sql, c.args...)
			if a.Customers != want || want == 0 {
				t.Errorf("%s: %d, want %d", what, a.Customers, want)
			}
		}
	})
}

func TestTagsAreFoundAsTheyAreChanged(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		change := func(version int64, tags []string, optOut ...string) error {
			return at(t, db, func(d *shop.Desk) error {
				c, err := d.Customer("1003")
				if err == nil {
					c.Version = version
					_, err = d.ChangeCustomer(c, tags, optOut)
				}
				return err
			})
		}
		for i, tags := range [][]string{{"vip", "Wholesale"}, {"wholesale", "vip"}, {"vip"}, {}} {
			if err := change(int64(i+1), tags); err != nil {
				t.Fatal(err)
			}
			for _, tag := range []string{"vip", "wholesale"} {
				var a shop.Audience
				_ = at(t, db, func(d *shop.Desk) (err error) { a, err = d.Audience(shop.Rule{TagsAny: []string{tag}}); return err })
				has := slices.ContainsFunc(tags, func(s string) bool { return s == tag || s == "Wholesale" && tag == "wholesale" })
				if (a.Customers == 1) != has {
					t.Errorf("tags %q: %d customers have %q", tags, a.Customers, tag)
				}
			}
		}
		if err := change(1, []string{"late"}); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("a change of an old version: %v", err)
		}
		if err := change(5, []string{}, shop.Email, shop.SMS); err != nil {
			t.Fatal(err)
		}
		if n := number(t, db, "SELECT COUNT(*) FROM customers WHERE customer_no = '1003' AND email_consent_at IS NULL AND sms_consent_at IS NULL"); n != 1 {
			t.Error("the consents stand")
		}
	})
}

func TestCustomersAreListedInEveryOrder(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		for sort, column := range map[shop.CustomerSort]string{
			"": "first_order_at", shop.MostSpent: "spent_minor", shop.MostOrders: "orders", shop.LastOrder: "last_order_at",
		} {
			var got []string
			var place *shop.Place
			for more := true; more; {
				err := at(t, db, func(d *shop.Desk) error {
					page, err := d.Customers(shop.CustomerFilter{Query: "10", Sort: sort}, shop.Cut{After: place, Limit: 40})
					for _, c := range page.Rows {
						got = append(got, c.No)
					}
					if more = page.More; more {
						place = &page.Places[len(page.Places)-1]
					}
					if page.Total != 99 {
						t.Errorf("%d customers of 99", page.Total)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			var want []string
			err := db.Read(t.Context(), func(tx *store.Tx) (err error) {
				want, err = store.All(tx, func(r store.Row) (no string, err error) { return no, r.Scan(&no) },
					"SELECT customer_no FROM customers WHERE customer_no LIKE '10%' ORDER BY "+column+" DESC, customer_no DESC")
				return err
			})
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("by %q: %v\n%s", sort, err, diff)
			}
		}
	})
}

// TestArchivedSegmentSendsNothing settles who comes first: the one who puts a segment away or the one who sends to it.
func TestArchivedSegmentSendsNothing(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		var id string
		var campaign shop.Campaign
		err := at(t, db, func(d *shop.Desk) error {
			s, err := d.AddSegment(shop.Segment{Name: "big", Rule: shop.Rule{MinOrders: 2}, CreatedBy: "test"})
			if err != nil {
				return err
			}
			id = s.ID
			campaign, err = d.AddCampaign(shop.Campaign{Name: "c", Channel: shop.Email, SegmentID: id, Subject: "s", Body: "b", CreatedBy: "test"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var sent, archived error
		var both sync.WaitGroup
		both.Go(func() { sent = at(t, db, func(d *shop.Desk) error { return d.BeginSend(campaign) }) })
		both.Go(func() { archived = at(t, db, func(d *shop.Desk) error { return d.ArchiveSegment(id) }) })
		both.Wait()
		if (sent == nil) == (archived == nil) {
			t.Errorf("sent: %v, archived: %v", sent, archived)
		}
		if sent != nil && !errors.Is(sent, shop.ErrArchived) || archived != nil && !errors.Is(archived, shop.ErrInUse) {
			t.Errorf("sent: %v, archived: %v", sent, archived)
		}
		err = at(t, db, func(d *shop.Desk) error {
			_, err := d.AddSegment(shop.Segment{Name: "big", CreatedBy: "test"})
			return err
		})
		if !errors.Is(err, shop.ErrChanged) {
			t.Errorf("a second segment of one name: %v", err)
		}
	})
}

// TestErasureTakesTheTrackingNumber looks for it in all that is told of a parcel.
func TestErasureTakesTheTrackingNumber(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		const left = `SELECT (SELECT COUNT(*) FROM shipments WHERE tracking_no LIKE '%DP123%') + (SELECT COUNT(*) FROM order_events WHERE what LIKE '%DP123%')
			+ (SELECT COUNT(*) FROM mailings WHERE body LIKE '%DP123%')`
		err := at(t, db, func(d *shop.Desk) error {
			open, err := d.Orders(shop.OrderFilter{Status: shop.OrderOpen}, shop.Cut{Limit: 1})
			if err != nil {
				return err
			}
			o, err := d.Order(open.Rows[0].No)
			if err != nil {
				return err
			}
			s := shop.Shipment{Carrier: "dpd", TrackingNo: "DP123", Actor: "test", Lines: []shop.ShipmentLine{{Line: 1, SKU: o.Lines[0].SKU, Qty: 1}}}
			notice := shop.ShipmentNotice(o, s)
			if _, err = d.MoveStock(shop.Variant{SKU: o.Lines[0].SKU, OnHand: number(t, db, "SELECT on_hand FROM variants WHERE sku = $1", o.Lines[0].SKU)},
				shop.StockMove{Delta: 1, Cause: "received", Actor: "test"}); err == nil {
				_, err = d.Fulfil(o, s)
			}
			if err == nil {
				err = d.Notify(o.CustomerNo, "c@example.com", notice)
			}
			return err
		})
		if n := number(t, db, left); err != nil || n != 3 {
			t.Fatalf("the number stands in %d rows: %v", n, err)
		}
		err = at(t, db, func(d *shop.Desk) error {
			c, err := d.Customer(texts(t, db, 1, "SELECT customer_no FROM orders o WHERE merchant_id = $1 AND EXISTS (SELECT 1 FROM shipments s WHERE s.order_no = o.order_no)")[0][0])
			if err == nil {
				_, err = d.Erase(c)
			}
			return err
		})
		if n := number(t, db, left); err != nil || n != 0 {
			t.Errorf("the number still stands in %d rows: %v", n, err)
		}
		if n := number(t, db, "SELECT COUNT(*) FROM order_events WHERE what = 'shipped [erased]'"); n != 1 {
			t.Errorf("%d events tell that something was shipped", n)
		}
	})
}
