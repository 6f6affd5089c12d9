package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// Checking the record: entries a second, of this process on one core. PostgreSQL's own work is on the other.

func (b *bench) verify(ctx context.Context) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as `dtcgate audit verify` has it
	stop, err := b.profiled()
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("| engine | entries | entries/s: min · median · max of %d rounds | of this process's CPU: entries/s |\n|--|--|--|--|\n", b.rounds)
	return onEach(func(engine string) error { return b.verifyOn(ctx, engine) })
}

// verifyOn checks a record to which nobody writes.
func (b *bench) verifyOn(ctx context.Context, engine string) error {
	dsn, end, err := b.database(engine, "verify")
	if err != nil {
		return err
	}
	defer end()
	if err := b.recordAt(ctx, dsn); err != nil {
		return err
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	var wall, cpu []float64
	for range b.rounds {
		w, c, err := b.verifyOnce(ctx, db)
		if err != nil {
			return err
		}
		wall, cpu = append(wall, w), append(cpu, c)
	}
	fmt.Printf("| %s | %d | %s | %s |\n", engine, b.verified, threeOf(wall), threeOf(cpu))
	return nil
}

func (b *bench) recordAt(ctx context.Context, dsn string) error {
	s, err := newStand(ctx, dsn, "")
	if err != nil {
		return err
	}
	defer s.close()
	log, sample, err := b.recordOf(ctx, s)
	if err == nil {
		_, err = b.fillRows(ctx, s, log, sample, b.verified)
	}
	return err
}

// verifyOnce gives the entries that were checked in a second, and in one of this process's time.
func (b *bench) verifyOnce(ctx context.Context, db *store.DB) (perSecond, perCPU float64, err error) {
	_, key, err := audit.LoadOrCreateSigner(b.dir+"/audit.key", "bench")
	if err != nil {
		return 0, 0, err
	}
	trusted, err := audit.Verifiers(key)
	if err != nil {
		return 0, 0, err
	}
	started, cpu := time.Now(), cpuTime()
	report, err := audit.Verify(ctx, db, trusted)
	took, cpu := time.Since(started), cpuTime()-cpu
	if err == nil && report.Bad != nil {
		err = report.Bad
	}
	if err == nil && report.Sequenced < int64(b.verified) {
		err = errors.New("not all entries have a number")
	}
	n := float64(report.Entries)
	return n / took.Seconds(), n / cpu.Seconds(), err
}
