package shop_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

// What was read before does not say who may write: of many who find the customer at rest one does.
func TestOfManyWhoWriteToACustomerAtOnceOneDoes(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		var o shop.Order
		no := texts(t, db, 1, "SELECT order_no FROM orders WHERE merchant_id = $1 ORDER BY placed_at DESC LIMIT 1")[0][0]
		must(t, at(t, db, func(d *shop.Desk) (err error) {
			o, err = d.Order(no)
			return err
		}))
		must(t, exec(t, db, "UPDATE customers SET last_contacted_at = NULL WHERE customer_no = $1", o.CustomerNo))
		var wrote atomic.Int64
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				err := at(t, db, func(d *shop.Desk) error {
					if until, err := d.RestsUntil(o.CustomerNo); err != nil || !until.IsZero() {
						return errors.Join(err, shop.ErrResting)
					}
					return d.BeginNotice(o)
				})
				if err == nil {
					wrote.Add(1)
				} else if !errors.Is(err, shop.ErrResting) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if wrote.Load() != 1 {
			t.Errorf("%d wrote to the customer", wrote.Load())
		}
	})
}
