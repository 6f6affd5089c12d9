package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtcgate/dtcgate/store/storetest"
)

// Figure 5: one and three replicas of the program that ships, each group on a PostgreSQL of its own on this machine, under the same load in turn. While a
// group is loaded, its sessions are looked at a hundred times a second, for what they wait for.

const (
	replicaCallers   = 48
	replicaMerchants = 4
	leastThroughput  = 1.0  // of one replica's
	mostLockWait     = 0.05 // of the sessions' busy time, for any one lock
	lookEvery        = 10 * time.Millisecond
)

// A group is replicas on one database.
type group struct {
	*house
	servers []*child
	looks   *sql.DB
	rates   []float64
	waits   []storetest.Waits // one a round
}

func (b *bench) replicas(ctx context.Context) error {
	var groups []*group
	for _, n := range []int{1, 3} {
		g, done, err := b.group(ctx, n)
		defer done()
		if err != nil {
			return err
		}
		groups = append(groups, g)
	}
	for round := range b.rounds + 1 {
		for _, g := range groups {
			if err := g.round(ctx, b.during, round > 0); err != nil {
				return err
			}
		}
	}
	fmt.Printf("| replicas | calls/s, %d callers, %d merchants, a quarter campaign creates: min · median · max | busy time that waits for locks | the worst single lock | busy sessions |\n|--|--|--|--|--|\n",
		replicaCallers, replicaMerchants)
	for _, g := range groups {
		g.print()
	}
	b.promise(5, "throughput of three replicas over one's", leastThroughput, ratios(groups[1].rates, groups[0].rates))
	b.bound(5, "three replicas: busy time that waits for the worst single lock", mostLockWait, groups[1].locks(worstLock))
	b.bound(5, "three replicas: busy time that waits for any lock", mostLockWait, groups[1].locks(storetest.Waits.LockShare))
	return nil
}

// group starts n replicas. done ends them, and is never nil.
func (b *bench) group(ctx context.Context, n int) (g *group, done func(), err error) {
	var ends []func()
	done = func() {
		for _, end := range slices.Backward(ends) {
			end()
		}
	}
	g = &group{}
	if g.house, err = b.house(ctx, "PostgreSQL", fmt.Sprint("replicas", n), replicaMerchants); err != nil {
		return nil, done, err
	}
	ends = append(ends, g.close)
	if g.looks, err = sql.Open("pgx", g.dsn); err != nil {
		return nil, done, err
	}
	ends = append(ends, func() { _ = g.looks.Close() })
	for i := range n {
		s, err := b.serve(ctx, g.house, fmt.Sprint("replica", i))
		if err != nil {
			return nil, done, err
		}
		ends = append(ends, s.stop)
		g.servers = append(g.servers, s)
	}
	return g, done, nil
}

// round puts the load on the group for a while.
func (g *group) round(ctx context.Context, during time.Duration, counts bool) error {
	looking, stop := context.WithCancel(ctx)
	waits := make(chan storetest.Waits, 1)
	var failed error
	go func() {
		w, err := storetest.Watch(looking, g.looks, application, lookEvery)
		failed = err
		waits <- w
	}()
	started := time.Now()
	calls, err := g.load(started.Add(during))
	took := time.Since(started)
	stop()
	w := <-waits
	if err := errors.Join(err, failed); err != nil || !counts {
		return err
	}
	g.rates, g.waits = append(g.rates, float64(calls)/took.Seconds()), append(g.waits, w)
	return nil
}

// load has callers of all merchants call until then, spread over the replicas. Three of four calls read.
func (g *group) load(until time.Time) (calls int64, err error) {
	var n atomic.Int64
	errs := make([]error, replicaCallers)
	var all sync.WaitGroup
	for i := range replicaCallers {
		m := g.merchants[i/4%len(g.merchants)]
		reads, creates := readsOf(m), createsOf(m)
		c := reads[i%len(reads)]
		if i%4 == 0 {
			c = creates[i/4%len(creates)]
		}
		s := g.servers[i/4%len(g.servers)]
		all.Go(func() {
			times, err := s.caller(c, until)
			n.Add(int64(len(times)))
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", c.name, err)
			}
		})
	}
	all.Wait()
	return n.Load(), errors.Join(errs...)
}

// locks gives a share of the waits for each round.
func (g *group) locks(share func(storetest.Waits) float64) (all []float64) {
	for _, w := range g.waits {
		all = append(all, share(w))
	}
	return all
}

// worstLock is the part of busy sessions' time that was spent waiting for the one lock, by kind and statement, that most waited for.
func worstLock(w storetest.Waits) float64 {
	most := 0
	for event, n := range w.Events {
		if strings.HasPrefix(event, "Lock:") {
			most = max(most, n)
		}
	}
	return float64(most) / float64(max(w.Busy, 1))
}

func (g *group) print() {
	all := storetest.Waits{Events: map[string]int{}}
	for _, w := range g.waits {
		all.Looks, all.Busy, all.Locked, all.Held = all.Looks+w.Looks, all.Busy+w.Busy, all.Locked+w.Locked, all.Held+w.Held
		for _, event := range slices.Collect(maps.Keys(w.Events)) {
			all.Events[event] += w.Events[event]
		}
	}
	fmt.Printf("| %d | %s | %s | %s | %s |\n", len(g.servers), threeOf(g.rates), threeOf(g.locks(storetest.Waits.LockShare)), threeOf(g.locks(worstLock)), all)
}
