package dtc

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// BenchmarkSearchOrders asks the real merchant's 18,377 orders in every way that a list of orders can be asked for; each
// is to take less than 50 ms on SQLite.
func BenchmarkSearchOrders(b *testing.B) {
	if _, err := os.Stat(filepath.Join(realData, "orders.csv.gz")); err != nil {
		b.Skipf("the real merchant's data is not in %s: nothing to measure", realData)
	}
	for _, engine := range storetest.Engines(b) {
		b.Run(engine, func(b *testing.B) {
			db := storetest.New(b, engine)
			began := time.Now()
			if _, err := shop.Import(b.Context(), db, merchant, realData, shop.Options{KeepDates: true, Today: sunday}); err != nil {
				b.Fatal(err)
			}
			b.Logf("the load took %s", time.Since(began).Round(time.Millisecond))
			for _, sort := range []shop.OrderSort{shop.Newest, shop.Oldest, shop.Largest} {
				for name, f := range orderFilters {
					f.Sort = sort
					b.Run(name+"/"+string(sort), func(b *testing.B) { searchAll(b, db, f) })
				}
			}
		})
	}
}

var orderFilters = map[string]shop.OrderFilter{
	"all":            {},
	"status":         {Status: shop.OrderFulfilled},
	"rare_status":    {Status: shop.OrderOpen},
	"country":        {Country: "united kingdom"},
	"small_country":  {Country: "Germany"},
	"both":           {Status: shop.OrderPartRefunded, Country: "United Kingdom"},
	"rare_both":      {Status: shop.OrderOpen, Country: "United Kingdom"},
	"days":           {From: "2011-01-01", To: "2011-11-30"},
	"days_country":   {From: "2011-11-01", To: "2011-11-30", Country: "United Kingdom"},
	"total":          {MinTotal: 100_00},
	"large_total":    {MinTotal: 5000_00},
	"total_status":   {MinTotal: 100_00, Status: shop.OrderFulfilled, From: "2011-01-01"},
	"everything":     {Query: "bag", MinTotal: 100_00, Status: shop.OrderFulfilled, Country: "United Kingdom", From: "2011-01-01", To: "2011-11-30"},
	"order_no":       {Query: "#536365"},
	"customer_no":    {Query: "17850"},
	"large_customer": {Query: "12748"},
	"sku":            {Query: "85123A"},
	"word":           {Query: "bag"},
	"words":          {Query: "jumbo bag"},
	"letter":         {Query: "s"},
	"two_letters":    {Query: "se"},
	"common_word":    {Query: "set"},
	"no_word":        {Query: "zzz"},
}

func searchAll(b *testing.B, db *store.DB, f shop.OrderFilter) {
	for b.Loop() {
		err := db.Read(b.Context(), func(tx *store.Tx) error {
			d, err := shop.At(tx, merchant)
			if err == nil {
				_, err = d.Orders(f, shop.Cut{Limit: 10})
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
