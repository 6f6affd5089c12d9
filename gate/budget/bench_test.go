package budget

import (
	"fmt"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// BenchmarkCharge measures what counting costs a call with three budgets: one transaction of many calls, so that no commit is in the figure.
func BenchmarkCharge(b *testing.B) {
	var all []Charge
	for _, unit := range []string{"money:GBP", "customers", "calls"} {
		c := today(1, 1<<60)
		c.Unit = unit
		all = append(all, c)
	}
	for _, engine := range storetest.Engines(b) {
		db := storetest.New(b, engine)
		found(b, db, merchant)
		n := 0
		for name, op := range map[string]func(tx *store.Tx, call string) error{
			"spend": func(tx *store.Tx, _ string) error { return Spend(tx, merchant, all) },
			"reserve and settle": func(tx *store.Tx, call string) error {
				if err := Reserve(tx, merchant, call, all); err != nil {
					return err
				}
				return Settle(tx, merchant, call, all)
			},
			"reserve and release": func(tx *store.Tx, call string) error {
				if err := Reserve(tx, merchant, call, all); err != nil {
					return err
				}
				return Release(tx, merchant, call)
			},
		} {
			b.Run(engine+"/"+name, func(b *testing.B) {
				do(b, db, func(tx *store.Tx) error {
					for b.Loop() {
						n++
						if err := op(tx, fmt.Sprint("call_", n)); err != nil {
							return err
						}
					}
					return nil
				})
			})
		}
	}
}
