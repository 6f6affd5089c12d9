package main

import (
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// TestACallOfAToolMakesNoMoreRoundTripsThanThese holds what calls of real tools cost on PostgreSQL, the record and the end of a snapshot included, for
// which nobody waits. Whatever a tool asks ahead in other words than it asks it in its turn costs a trip more.
func TestACallOfAToolMakesNoMoreRoundTripsThanThese(t *testing.T) {
	dsn, trips := storetest.CountTrips(t, storetest.DSN(t, "postgres"))
	d := must(newDemo(t.Context(), storetest.Open(t, dsn)))(t)
	for tool, most := range map[string]int64{
		"dtc_whoami": 3, "dtc_get_order": 3, "dtc_get_customer": 3, "dtc_search_customers": 5,
		"dtc_list_campaigns": 4, "dtc_get_sales_summary": 7, "dtc_preview_campaign": 4, "dtc_create_campaign": 3,
		"dtc_get_job": 5, // only the job tells what it waits for, and that who has voted
	} {
		found, _ := d.registry.Find(tool)
		if found.Handler().Asks == nil {
			t.Errorf("%s asks nothing ahead", tool)
		}
		args, who := found.Example, d.free
		if tool == "dtc_get_job" {
			args, who = must(d.filled(t.Context(), `{"job_id":"`+jobPlace+`"}`))(t), d.asking
		}
		err := d.db.Read(t.Context(), func(tx *store.Tx) (err error) { // as it is known to a server that it has called before
			who, err = auth.Renew(tx, who)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		took := trips.Least(t, d.db, func(int) error {
			_, err := d.call(t.Context(), who, tool, args)
			return err
		})
		if took > most {
			t.Errorf("%s: %d round trips, want at most %d", tool, took, most)
		}
	}
}
