package store_test

import (
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func TestZOpen(t *testing.T) {
	for _, e := range storetest.Engines(t) {
		for range 15 {
			a := time.Now()
			dsn := storetest.DSN(t, e)
			b := time.Now()
			db, err := store.Open(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			c := time.Now()
			db.Close()
			d := time.Now()
			db, err = store.Open(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			f := time.Now()
			db.Close()
			t.Log(e, "dsn", b.Sub(a), "open", c.Sub(b), "close", d.Sub(c), "reopen", f.Sub(d))
		}
	}
}
