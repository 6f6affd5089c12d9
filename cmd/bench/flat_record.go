package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// A long record beside a short one.

const (
	fewRows    = 1000
	rowsAtOnce = 10_000
	numberedAt = 500     // entries in one pass of the sequencer that is timed
	leastFree  = 4 << 30 // bytes of disk that are left to others
)

func (b *bench) flatRecord(ctx context.Context) error {
	b.flatHead("audit rows")
	var made []string
	err := onEach(func(engine string) error {
		told, err := b.flatRecordOn(ctx, engine)
		made = append(made, told)
		return err
	})
	fmt.Printf("\n%s\n", strings.Join(made, "\n"))
	return err
}

// flatRecordOn also tells how the long record was made.
func (b *bench) flatRecordOn(ctx context.Context, engine string) (told string, err error) {
	var sides [2]*stand
	var logs [2]*audit.Log
	var sample audit.Entry
	made := [2]int{fewRows, b.rows}
	for side := range made {
		dsn, end, err := b.database(engine, fmt.Sprint("record", side))
		if err != nil {
			return "", err
		}
		defer end()
		if sides[side], err = newStand(ctx, dsn, ""); err != nil {
			return "", err
		}
		defer sides[side].close()
		sides[side].db.Now = time.Now
		if logs[side], sample, err = b.recordOf(ctx, sides[side]); err != nil {
			return "", err
		}
		began, free := time.Now(), b.free()
		if made[side], err = b.fillRows(ctx, sides[side], logs[side], sample, made[side]); err != nil {
			return "", err
		}
		told = fmt.Sprintf("%s: %d audit rows were made in %s, and each takes %d bytes of disk.", engine, made[side], time.Since(began).Round(time.Second),
			(free-b.free())/max(1, int64(made[side])))
	}
	return told, b.flatRows(ctx, engine, made, sides, logs, sample)
}

// flatRows times a recorded call, and a pass of the sequencer.
func (b *bench) flatRows(ctx context.Context, engine string, made [2]int, sides [2]*stand, logs [2]*audit.Log, sample audit.Entry) error {
	names := between(made[0], made[1], "audit rows")
	if err := b.flatness(ctx, flatness{engine, "a whole dtc_whoami", names, b.calls3(1000), whoamiOn(sides)}); err != nil {
		return err
	}
	pass := func(ctx context.Context, side, _ int) (time.Duration, error) {
		if _, err := logs[side].Sequence(ctx); err != nil { // what came before is not timed
			return 0, err
		}
		if err := appendRows(ctx, sides[side].db, sample, numberedAt); err != nil {
			return 0, err
		}
		return timing(func() error {
			n, err := logs[side].Sequence(ctx)
			if err == nil && n != numberedAt {
				err = fmt.Errorf("%d entries were numbered", n)
			}
			return err
		})
	}
	return b.flatness(ctx, flatness{engine, fmt.Sprintf("numbering and signing %d entries", numberedAt), names, b.calls3(10), pass})
}

// calls3 is how many calls a round of figure 3 takes: a tenth in a quick run.
func (b *bench) calls3(n int) int {
	if b.rounds < 2 {
		return max(2, n/10)
	}
	return n
}

func appendRows(ctx context.Context, db *store.DB, sample audit.Entry, n int) error {
	return db.Bulk(ctx, func(tx *store.Tx) error {
		all := make([]audit.Sealed, n)
		for i := range all {
			var err error
			if all[i], err = audit.Seal(sample, tx.Now.Add(time.Duration(i))); err != nil {
				return err
			}
		}
		return audit.AppendSealed(tx, all)
	})
}

// fillRows makes a record of n entries, or of as many as time and disk allow, and says how many they are.
func (b *bench) fillRows(ctx context.Context, s *stand, log *audit.Log, sample audit.Entry, n int) (made int, err error) {
	began := time.Now()
	for made < n && time.Since(began) < b.fill && b.free() > leastFree && err == nil {
		some := min(rowsAtOnce, n-made)
		if err = appendRows(ctx, s.db, sample, some); err == nil {
			_, err = log.Sequence(ctx)
		}
		made += some
	}
	if err == nil && s.db.Engine() == "postgres" { // as it does by itself after a while
		err = s.db.Bulk(ctx, func(tx *store.Tx) error { _, err := tx.Exec("ANALYZE"); return err })
	}
	return made, err
}

// free is how much disk is left, in bytes.
func (b *bench) free() int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(b.dir, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}
