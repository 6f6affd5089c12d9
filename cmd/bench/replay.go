package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// Rehearsing a draft: how many recorded calls are read, decoded and decided again in a second. The record is one of real calls, each tool's
// example and more, copied until there are enough.

// measureReplay prints a row for each engine.
func measureReplay(ctx context.Context, calls int) error {
	pg, err := storetest.Launch(true)
	if err != nil {
		return err
	}
	defer pg.Remove() //nolint:errcheck // a temporary server
	dir, err := os.MkdirTemp("", "dtcgate-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("\nRehearsing a draft (the default document) on recorded calls\n\n| engine | calls | seconds | calls/s | of this process's CPU: calls/s | allocations/call | bytes/entry |\n|--|--|--|--|--|--|--|\n")
	for _, dsn := range []string{filepath.Join(dir, "replay.db"), pg.DSN} {
		if err := replayOn(ctx, dsn, calls); err != nil {
			return err
		}
	}
	return nil
}

func replayOn(ctx context.Context, dsn string, calls int) error {
	s, err := newStand(ctx, dsn, "")
	if err != nil {
		return err
	}
	defer s.close()
	entries, size, err := s.fillRecord(ctx, calls)
	if err != nil {
		return err
	}
	s.db.Now = func() time.Time { return examplesDay.Add(time.Hour) }
	by := gate.By{Principal: auth.OperatorPrincipal(s.merchant), Transport: "cli"}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	started, cpu := time.Now(), cpuTime()
	report, err := s.Replay(ctx, by, string(policy.Default), gate.Span{Since: examplesDay.AddDate(0, 0, -1), Until: examplesDay.Add(time.Hour)}, nil)
	if err != nil {
		return err
	}
	took, cpu := time.Since(started), cpuTime()-cpu
	runtime.ReadMemStats(&after)
	if report.Entries < int64(entries) {
		return fmt.Errorf("%d of %d entries were read", report.Entries, entries)
	}
	n := float64(report.Entries)
	fmt.Printf("| %s | %.0f | %.1f | %.0f | %.0f | %.0f | %d |\n", s.db.Engine(), n, took.Seconds(), n/took.Seconds(), n/cpu.Seconds(),
		float64(after.Mallocs-before.Mallocs)/n, size)
	fmt.Fprintln(os.Stderr, report.Summary)
	return nil
}

// cpuTime is what this process has computed so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fillRecord makes one call of every kind, and copies their entries under new ids until there are so many. It gives their mean size, in bytes.
func (s *stand) fillRecord(ctx context.Context, calls int) (n, size int, err error) {
	for _, t := range s.trials("") {
		_, _ = s.try(ctx, t) // what is refused is a call on record too
	}
	var real []audit.Kept
	err = s.db.Read(ctx, func(tx *store.Tx) (err error) {
		real, err = audit.Between(tx, audit.Span{
			Merchant: s.merchant, Events: []string{policy.EventCall}, Until: "b", Personal: []string{policy.ArgumentsKept}, Limit: 1000,
		})
		return err
	})
	if err != nil || len(real) == 0 {
		return 0, 0, fmt.Errorf("there are no calls to copy: %w", err)
	}
	for n < calls && err == nil {
		err = s.db.Bulk(ctx, func(tx *store.Tx) error {
			for range 5000 {
				from := real[n%len(real)]
				n, size = n+1, size+len(from.Body)
				if err := copyEntry(tx, from); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return n, size / max(1, n), err
}

func copyEntry(tx *store.Tx, from audit.Kept) error {
	var e audit.Entry
	if err := json.Unmarshal([]byte(from.Body), &e); err != nil {
		return err
	}
	e.ID, e.At, e.CallID = "", time.Time{}, store.NewID("call", tx.Now)
	if v := from.Personal[0]; v.Kept {
		e.Personal = map[string]string{policy.ArgumentsKept: v.Text}
	}
	_, err := audit.Append(tx, e)
	return err
}
