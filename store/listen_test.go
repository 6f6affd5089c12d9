package store_test

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A replica is a process's own handle on a shared database, with its relay running.
func replica(t *testing.T, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { db.Relay(ctx, nil) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	awaitRelay(t, db)
	return db
}

func awaitRelay(t *testing.T, db *store.DB) {
	t.Helper()
	soon(t, "the relay to connect", func() bool { return store.Relaying(db) })
}

func soon(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}

func tell(t *testing.T, db *store.DB, names ...string) {
	t.Helper()
	inTx(t, db, func(tx *store.Tx) error {
		for _, name := range names {
			tx.Tell(name)
		}
		return nil
	})
}

func TestWhatOneProcessTellsAnotherHears(t *testing.T) {
	dsn := storetest.DSN(t, "postgres")
	here, there := replica(t, dsn), replica(t, dsn)
	strange := "a\nname of two lines " + strings.Repeat("and long ", 1000)
	for _, name := range []string{"job:1", strange, "*", ""} {
		told, stop := there.Listen(name)
		other, stopOther := there.Listen("job:2")
		tell(t, here, name)
		soon(t, "the bell "+name[:min(20, len(name))], func() bool { return heard(told) })
		if heard(other) {
			t.Errorf("%.20q rang the bell of another name", name)
		}
		stop()
		stopOther()
	}
}

func TestWhatIsUndoneIsToldToNoProcess(t *testing.T) {
	dsn := storetest.DSN(t, "postgres")
	here, there := replica(t, dsn), replica(t, dsn)
	undone, stop := there.Listen("job:undone")
	defer stop()
	done, stopDone := there.Listen("job:done")
	defer stopDone()
	_ = here.InTx(t.Context(), func(tx *store.Tx) error { tx.Tell("job:undone"); return sql.ErrTxDone })
	tell(t, here, "job:done") // comes after it on the same wire
	soon(t, "the bell of what is done", func() bool { return heard(done) })
	if heard(undone) {
		t.Error("what was undone was told")
	}
}

func TestManyNamesGoInPiecesThatPostgreSQLTakes(t *testing.T) {
	dsn := storetest.DSN(t, "postgres")
	here, there := replica(t, dsn), replica(t, dsn)
	for _, n := range []int{2000, 20_000} { // the second are too many to be named
		var names []string
		for i := range n {
			names = append(names, "job:"+strings.Repeat("x", 60)+store.NewID("job", time.UnixMicro(int64(i))))
		}
		var bells []<-chan struct{}
		for _, name := range names {
			told, stop := there.Listen(name)
			defer stop()
			bells = append(bells, told)
		}
		tell(t, here, names...)
		soon(t, "all bells", func() bool { return !slices.ContainsFunc(bells, func(b <-chan struct{}) bool { return !heard(b) }) })
	}
}

// A process whose connection broke has not heard what was told meanwhile, so that all who wait there look again.
func TestAfterALostConnectionEverybodyLooksAgainAndBellsRingOn(t *testing.T) {
	dsn := storetest.DSN(t, "postgres")
	here, there := replica(t, dsn), replica(t, dsn)
	waits, stop := there.Listen("job:1")
	defer stop()
	inTx(t, here, func(tx *store.Tx) error {
		_, err := tx.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name = current_setting('application_name') AND query LIKE 'LISTEN%'`)
		return err
	})
	soon(t, "who waits to be woken", func() bool { return heard(waits) })
	awaitRelay(t, here)
	awaitRelay(t, there)
	again, stopAgain := there.Listen("job:2")
	defer stopAgain()
	soon(t, "a bell after the loss", func() bool { tell(t, here, "job:2"); return heard(again) })
}

func TestSchemasOfOneDatabaseDoNotHearEachOther(t *testing.T) {
	one, other := storetest.DSN(t, "postgres"), storetest.DSN(t, "postgres")
	here, there, foreign := replica(t, one), replica(t, one), replica(t, other)
	ours, stop := there.Listen("job:1")
	defer stop()
	theirs, stopTheirs := foreign.Listen("job:1")
	defer stopTheirs()
	tell(t, here, "job:1")
	soon(t, "our bell", func() bool { return heard(ours) })
	tell(t, here, "job:1")
	if heard(theirs) {
		t.Error("another schema's bell rang")
	}
}
