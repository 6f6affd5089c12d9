package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store/storetest"
)

// The last part of the bench: what a call of each tool costs, one caller at a time and without HTTP, from the key's lookup to
// the committed record. Each timed call is followed by a dtc_whoami, so that the ratio of the two holds on a noisy machine too.

// measureTools prints a table for the generated merchant, and one for the real merchant when its data is there.
func measureTools(ctx context.Context, real, of string, during time.Duration) error {
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
	merchants := []string{""}
	if _, err := os.Stat(filepath.Join(real, "orders.csv.gz")); err == nil {
		merchants = append(merchants, real)
	} else {
		fmt.Printf("\nThe real merchant's data is not in %s: only the generated one is measured.\n", real)
	}
	for _, data := range merchants {
		title, file := "The generated merchant", "made.db"
		if data != "" {
			title, file = "The real merchant", "real.db"
		}
		var columns [2][]cost
		for i, dsn := range []string{filepath.Join(dir, file), pg.DSN} {
			if columns[i], err = costs(ctx, dsn, data, of, during); err != nil {
				return err
			}
		}
		printCosts(title, columns)
	}
	return nil
}

// A cost is what a kind of call took.
type cost struct {
	trial
	p50, p99, whoami time.Duration
	err              error // why it was not measured
}

// costs measures all trials on one merchant in one database.
func costs(ctx context.Context, dsn, data, of string, during time.Duration) ([]cost, error) {
	s, err := newStand(ctx, dsn, data)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var all []cost
	for _, t := range s.trials(of) {
		c, err := s.time(ctx, t, during)
		if err != nil {
			c.err = fmt.Errorf("%s %s: %w", t.tool, t.args, err)
		}
		all = append(all, c)
	}
	return all, nil
}

const (
	leastCalls = 6
	mostCalls  = 1000
)

// time repeats a trial for a while.
func (s *stand) time(ctx context.Context, t trial, during time.Duration) (cost, error) {
	var times, whoami []time.Duration
	until := time.Now().Add(during)
	for n := 0; n < leastCalls || n < mostCalls && time.Now().Before(until); n++ {
		took, err := s.try(ctx, t)
		if err != nil {
			return cost{trial: t}, err
		}
		beside, err := s.try(ctx, trial{tool: "dtc_whoami", args: "{}", way: reads})
		if err != nil {
			return cost{trial: t}, err
		}
		if n > 0 { // the first one warms
			times, whoami = append(times, took), append(whoami, beside)
		}
	}
	slices.Sort(times)
	slices.Sort(whoami)
	return cost{trial: t, p50: times[len(times)/2], p99: times[len(times)*99/100], whoami: whoami[len(whoami)/2]}, nil
}

func printCosts(title string, columns [2][]cost) {
	fmt.Printf("\n%s\n\n| tool | call | way | SQLite p50 ms | p99 ms | × whoami | PostgreSQL p50 ms | p99 ms | × whoami |\n|--|--|--|--|--|--|--|--|--|\n", title)
	for i, c := range columns[0] {
		fmt.Printf("| %s | `%s` | %s | %s | %s |\n", c.tool, shortened(c.args), c.way, c.cells(), columns[1][i].cells())
	}
	for _, column := range columns {
		for _, c := range column {
			if c.err != nil {
				fmt.Fprintln(os.Stderr, "bench: not measured:", c.err)
			}
		}
	}
}

func (c cost) cells() string {
	if c.err != nil {
		return "– | – | –"
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return fmt.Sprintf("%.1f | %.1f | %.1f", ms(c.p50), ms(c.p99), float64(c.p50)/float64(c.whoami))
}

// shortened is an example without what every write has.
func shortened(args string) string {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(args), &members) != nil {
		return args
	}
	for _, name := range []string{"idempotency_key", "reason", "dry_run"} {
		delete(members, name)
	}
	raw, err := json.Marshal(members)
	if err != nil {
		return args
	}
	const most = 90
	if len(raw) > most {
		return string(raw[:most]) + "…"
	}
	return string(raw)
}
