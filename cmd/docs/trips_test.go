package main

import (
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// TestACallOfAToolMakesTheseRoundTrips holds what calls of real tools cost on PostgreSQL, the record and the end of a snapshot included, for which
// nobody waits. Whatever a tool asks ahead in other words than it asks it in its turn costs a trip more.
func TestACallOfAToolMakesTheseRoundTrips(t *testing.T) {
	dsn, trips := storetest.CountTrips(t, storetest.DSN(t, "postgres"))
	d, err := newDemo(t.Context(), storetest.Open(t, dsn))
	if err != nil {
		t.Fatal(err)
	}
	limited, err := d.limited(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tool, args string
		by         auth.Principal
		want       int64
	}{
		{"dtc_whoami", "", d.free, 3},
		{"dtc_get_order", "", d.free, 3},
		{"dtc_get_order", "", limited, 4}, // the order is read when it is known to be within reach: its time would tell that it is there
		{"dtc_get_customer", "", d.free, 3},
		{"dtc_search_customers", "", d.free, 5},
		{"dtc_list_campaigns", "", d.free, 4},
		{"dtc_get_sales_summary", "", d.free, 7},
		{"dtc_preview_campaign", "", d.free, 4},
		{"dtc_get_job", `{"job_id":"` + jobPlace + `"}`, d.asking, 5}, // only the job tells what it waits for, and that who has voted
		{"dtc_create_campaign", "", d.free, 3},                        // one more with an idempotency key
	} {
		args := c.args
		if args == "" {
			tool, _ := d.registry.Find(c.tool)
			args = tool.Example
		}
		if args, err = d.filled(t.Context(), args); err != nil {
			t.Fatal(err)
		}
		err := d.db.Read(t.Context(), func(tx *store.Tx) (err error) { // as it is known to a server that it has called before
			c.by, err = auth.Renew(tx, c.by)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		took := trips.Least(t, d.db, func(int) error {
			_, err := d.call(t.Context(), c.by, c.tool, args)
			return err
		})
		if took != c.want {
			t.Errorf("%s by %s: %d round trips, want %d", c.tool, c.by.Name, took, c.want)
		}
	}
}

// limited is a key for the order of the example.
func (d *demo) limited(t *testing.T) (p auth.Principal, err error) {
	err = d.db.InTx(t.Context(), func(tx *store.Tx) error {
		p, err = mint(tx, auth.Key{Merchant: d.merchant, Name: "limited-bot", Resources: []string{"order:70001"}})
		return err
	})
	return p, err
}
