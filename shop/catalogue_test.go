package shop_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// checkProducts holds what products are sorted by against the sales and the variants.
func checkProducts(t *testing.T, db *store.DB) {
	t.Helper()
	for column, of := range map[string]string{
		"sold": `(SELECT COALESCE(SUM(s.units - s.units_refunded), 0) FROM sales_monthly s JOIN variants v ON v.merchant_id = s.merchant_id AND v.sku = s.sku
			WHERE v.merchant_id = p.merchant_id AND v.product_code = p.product_code)`,
		"low_minor":  "(SELECT MIN(price_minor) FROM variants v WHERE v.merchant_id = p.merchant_id AND v.product_code = p.product_code)",
		"high_minor": "(SELECT MAX(price_minor) FROM variants v WHERE v.merchant_id = p.merchant_id AND v.product_code = p.product_code)",
	} {
		if n := number(t, db, fmt.Sprintf("SELECT COUNT(*) FROM products p WHERE p.merchant_id = $1 AND %s <> %s", column, of), merchant); n != 0 {
			t.Errorf("%s is wrong for %d products", column, n)
		}
	}
}

// at does something at the shop's desk, in a transaction of its own.
func at(t *testing.T, db *store.DB, do func(d *shop.Desk) error) error {
	t.Helper()
	return db.InTx(t.Context(), func(tx *store.Tx) error {
		d, err := shop.At(tx, merchant)
		if err != nil {
			return err
		}
		return do(d)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestProductsKnowWhatTheySold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		importTiny(t, db, merchant, shop.Options{Today: sunday})
		checkProducts(t, db)
		must(t, at(t, db, func(d *shop.Desk) error {
			o, err := d.Order("1001")
			if err != nil {
				return err
			}
			_, err = d.Refund(o, shop.Refund{Amount: shop.Money{AmountMinor: 1200, Currency: "GBP"}, Cause: "damaged", Actor: "test"},
				[]shop.Return{{Line: 1, Qty: 2}, {Line: 2, Qty: 1}})
			return err
		}))
		checkProducts(t, db)
		// 8 cups sold and 3 given back, and now 2 more; 2 jugs and now 1 back.
		if diff := cmp.Diff(map[string]int64{"C": 3, "J": 1}, sums(t, db, "SELECT product_code, sold FROM products WHERE merchant_id = $1")); diff != "" {
			t.Errorf("sold (-want +got):\n%s", diff)
		}
	})
}

func TestPricesAreSetTogether(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		checkProducts(t, db)
		gbp := func(n int64) shop.Money { return shop.Money{AmountMinor: n, Currency: "GBP"} }
		var some []shop.PriceChange
		must(t, at(t, db, func(d *shop.Desk) error {
			page, err := d.Products(shop.ProductFilter{}, shop.Cut{Limit: 50})
			if err != nil {
				return err
			}
			for _, p := range page.Rows {
				of, err := d.VariantsOf([]string{p.Code})
				if err != nil {
					return err
				}
				for _, v := range of[p.Code] {
					some = append(some, shop.PriceChange{SKU: v.SKU, Old: v.Price, New: gbp(v.Price.AmountMinor*2 + 1)})
				}
			}
			_, err = d.SetPrices(shop.PriceBatch{Reason: "r", Actor: "a", Changes: some})
			return err
		}))
		checkProducts(t, db)
		if n := number(t, db, "SELECT COUNT(*) FROM price_changes WHERE merchant_id = $1 AND new_minor = old_minor * 2 + 1", merchant); n != int64(len(some)) {
			t.Errorf("%d prices are on record, want %d", n, len(some))
		}
		if err := at(t, db, func(d *shop.Desk) error {
			_, err := d.SetPrices(shop.PriceBatch{Reason: "r", Actor: "a", Changes: some})
			return err
		}); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("from prices that are no more: %v", err)
		}
		if n := number(t, db, "SELECT COUNT(*) FROM price_batches WHERE merchant_id = $1", merchant); n != 1 {
			t.Errorf("%d batches, want 1", n)
		}

		// Two prices of one product from two sides: the product's sums see both.
		product := "40010"
		skus := sums(t, db, "SELECT sku, price_minor FROM variants WHERE merchant_id = $1 AND product_code = '"+product+"'")
		var all sync.WaitGroup
		for sku, old := range skus {
			all.Go(func() {
				for i := range int64(5) {
					err := at(t, db, func(d *shop.Desk) error {
						_, err := d.SetPrices(shop.PriceBatch{Reason: "r", Actor: "a", Changes: []shop.PriceChange{{SKU: sku, Old: gbp(old + i), New: gbp(old + i + 1)}}})
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		checkProducts(t, db)
	})
}

// TestCategoriesCountEachOrderOnce moves the product that sold best from one category to another, then back.
func TestCategoriesCountEachOrderOnce(t *testing.T) {
	inOneGoroutine(t)
	eachDemo(t, func(t *testing.T, db *store.DB) {
		counts := "SELECT category || ' ' || day, 1000000000 * orders + 1000000 * units + gross_minor - refunds_minor FROM category_sales WHERE merchant_id = $1"
		before := sums(t, db, counts)
		var p shop.Product
		must(t, at(t, db, func(d *shop.Desk) error {
			page, err := d.Products(shop.ProductFilter{Sort: shop.BestSelling}, shop.Cut{Limit: 1})
			p = page.Rows[0]
			return err
		}))
		from := p.Category
		for _, to := range []string{"christmas", "garden", "nothing like it", from} {
			must(t, at(t, db, func(d *shop.Desk) (err error) {
				q := p
				q.Category = to
				p, err = d.UpdateProduct(p, q)
				return err
			}))
			checkSales(t, db)
		}
		if diff := cmp.Diff(before, sums(t, db, counts)); diff != "" {
			t.Errorf("moved back, the counts differ (-want +got):\n%s", diff)
		}
		if p.Version != 5 {
			t.Errorf("the version is %d, want 5", p.Version)
		}
		p.Version = 4
		if err := at(t, db, func(d *shop.Desk) error { _, err := d.UpdateProduct(p, p); return err }); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("from a version that is no more: %v", err)
		}
	})
}

func TestCostsAreMadeUp(t *testing.T) {
	c := shop.Generate(1, sunday)
	for _, v := range c.Variants {
		if share := 100 * v.Cost.AmountMinor / v.Price.AmountMinor; share < 44 || share > 65 {
			t.Errorf("%s costs %s of %s", v.SKU, v.Cost, v.Price)
		}
	}
	if !c.Shop.Simulated() || (shop.Shop{Source: shop.Live}).Simulated() {
		t.Error("costs of a demo are simulated, a live shop's are not")
	}
}
