package store_test

import (
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func TestAProcessWhoseClockIsWrongGoesByTheDatabases(t *testing.T) {
	for _, off := range []time.Duration{0, 100 * time.Millisecond, -100 * time.Millisecond, time.Hour, -time.Hour} {
		want := off
		if off.Abs() < 250*time.Millisecond {
			want = 0 // machines differ by so much, and a measurement errs by it
		}
		if got := store.Learned(10*time.Millisecond, off); (got - want).Abs() > 20*time.Millisecond {
			t.Errorf("the database is ahead by %s, and the clock was put ahead by %s", off, got)
		}
	}
	if got := store.Learned(time.Second, time.Hour); got != 0 {
		t.Errorf("an answer that took a second put the clock ahead by %s", got)
	}
}

func TestTheClockOfADatabaseOnThisMachineIsThisMachines(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		if off := time.Until(db.Now()).Abs(); off > 100*time.Millisecond {
			t.Errorf("the clock is off by %s", off)
		}
	})
}
