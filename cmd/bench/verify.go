package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/dtcgate/dtcgate/audit"
)

// Checking the record: entries a second, of this process on one core. PostgreSQL's own work is on the other.

func (b *bench) verify(ctx context.Context) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	stop, err := b.profiled()
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("| engine | entries | entries/s: min · median · max of %d rounds | of this process's CPU: entries/s |\n|--|--|--|--|\n", b.rounds)
	for _, engine := range engines {
		if err := b.verifyOn(ctx, engine); err != nil {
			return fmt.Errorf("%s: %w", engine, err)
		}
	}
	return nil
}

func (b *bench) verifyOn(ctx context.Context, engine string) error {
	dsn, end, err := b.database(engine, "verify")
	if err != nil {
		return err
	}
	defer end()
	s, err := newStand(ctx, dsn, "")
	if err != nil {
		return err
	}
	defer s.close()
	_, sample, err := b.recordOf(ctx, s)
	if err != nil {
		return err
	}
	if _, err := b.fillRows(ctx, s, sample, b.verified); err != nil {
		return err
	}
	var wall, cpu []float64
	for range b.rounds {
		w, c, err := b.verifyOnce(ctx, s)
		if err != nil {
			return err
		}
		wall, cpu = append(wall, w), append(cpu, c)
	}
	fmt.Printf("| %s | %d | %s | %s |\n", engine, b.verified, threeOf(wall), threeOf(cpu))
	return nil
}

// verifyOnce gives the entries that were checked in a second, and in one of this process's time.
func (b *bench) verifyOnce(ctx context.Context, s *stand) (perSecond, perCPU float64, err error) {
	_, key, err := audit.LoadOrCreateSigner(b.dir+"/audit.key", "bench")
	if err != nil {
		return 0, 0, err
	}
	trusted, err := audit.Verifiers(key)
	if err != nil {
		return 0, 0, err
	}
	started, cpu := time.Now(), cpuTime()
	report, err := audit.Verify(ctx, s.db, trusted)
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
