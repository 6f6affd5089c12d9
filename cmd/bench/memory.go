package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Figure 4: what the program that ships holds in memory after the runs with 64 callers, and whether that grows under a long load. VmHWM is the most that it
// ever held. Of that, pages of the program's own file and of the SQLite database (RssFile) are the system's to take back; RssAnon is what nothing else could hold.

const (
	memoryCallers = 64
	memoryTarget  = 60.0 // MiB
	// flatGrowth is how much of what it holds a server may hold more in the last third of a load than in the first, to count as flat.
	flatGrowth = 1.05
)

// A kept is a server under the load, and its memory over time.
type kept struct {
	*child
	engine string
	after  resident  // the 64-caller runs
	times  []float64 // minutes since the load began
	sizes  []float64 // VmRSS, in MiB
	anon   []float64
	calls  int
	failed int
	why    error // the last failure
}

func (b *bench) memory(ctx context.Context) error {
	var all []*kept
	for _, engine := range engines {
		s, done, err := b.serveOne(ctx, engine, "memory")
		defer done()
		if err != nil {
			return err
		}
		k := &kept{child: s, engine: engine}
		if err := k.each(b.during); err != nil {
			return fmt.Errorf("%s: %w", engine, err)
		}
		all = append(all, k)
	}
	if err := soak(ctx, all, b.soak); err != nil {
		return err
	}
	return b.printMemory(all)
}

// each has 64 callers make each kind of call.
func (k *kept) each(during time.Duration) (err error) {
	for _, c := range callsOf("", k.hello) {
		if err := k.load(c, memoryCallers, during); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	k.after, err = residentOf(k.cmd.Process.Pid)
	return err
}

// soak puts a load on all servers at once, and looks at their memory every ten seconds and at its end.
func soak(ctx context.Context, all []*kept, during time.Duration) error {
	began := time.Now()
	loaded, stop := context.WithTimeout(ctx, during)
	var loads sync.WaitGroup
	defer loads.Wait()
	defer stop()
	for _, k := range all {
		loads.Go(func() { k.soak(loaded, began.Add(during)) })
	}
	tick := time.NewTicker(min(10*time.Second, during/6))
	defer tick.Stop()
	for loaded.Err() == nil {
		select {
		case <-loaded.Done():
		case <-tick.C:
		}
		for _, k := range all {
			if err := k.look(time.Since(began)); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (k *kept) look(at time.Duration) error {
	r, err := residentOf(k.cmd.Process.Pid)
	k.times, k.sizes, k.anon = append(k.times, at.Minutes()), append(k.sizes, r.VmRSS/1024), append(k.anon, r.RssAnon/1024)
	return err
}

// soak has 64 callers call until then, seven of eight of them only to read. A call that fails is counted, and its caller goes on.
func (k *kept) soak(ctx context.Context, until time.Time) {
	reads, creates := readsOf(k.hello), createsOf(k.hello)
	var mu sync.Mutex
	var callers sync.WaitGroup
	for i := range memoryCallers {
		c := reads[i%len(reads)]
		if i%8 == 0 {
			c = creates[i/8%len(creates)]
		}
		callers.Go(func() {
			for ctx.Err() == nil && time.Now().Before(until) {
				times, err := k.caller(c, until)
				mu.Lock()
				k.calls += len(times)
				if err != nil {
					k.failed++
					k.why = err
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(10 * time.Millisecond) // of a server that is gone nobody needs to hear more often
				}
			}
		})
	}
	callers.Wait()
}

func (b *bench) printMemory(all []*kept) error {
	fmt.Printf("| engine | after %d callers: most (VmHWM) · now (VmRSS) · of it anonymous · of files, MiB | under load for %s: VmRSS min · median · max, MiB | anonymous | growth, KiB a minute | last third over first | calls | failed |\n|--|--|--|--|--|--|--|--|\n",
		memoryCallers, b.soak)
	for _, k := range all {
		end, err := residentOf(k.cmd.Process.Pid)
		if err != nil {
			return err
		}
		grown := thirds(k.sizes)
		fmt.Printf("| %s | %.1f · %.1f · %.1f · %.1f | %s | %s | %.0f | %.3f | %d | %d |\n", k.engine, k.after.VmHWM/1024, k.after.VmRSS/1024,
			k.after.RssAnon/1024, k.after.RssFile/1024, threeOf(k.sizes), threeOf(k.anon), 1024*slope(k.times, k.sizes), grown, k.calls, k.failed)
		if k.why != nil {
			fmt.Printf("\n%s, a call failed: %v\n\n", k.engine, k.why)
		}
		b.bound(4, k.engine+": the most resident memory (VmHWM), MiB", memoryTarget, []float64{end.VmHWM / 1024})
		b.bound(4, k.engine+": resident memory (VmRSS) after the runs with 64 callers, MiB", memoryTarget, []float64{k.after.VmRSS / 1024})
		b.bound(4, k.engine+": resident memory under load, last third over first", flatGrowth, []float64{grown})
		b.bound(4, k.engine+": failed calls", 0, []float64{float64(k.failed)})
	}
	return nil
}

// thirds is the median of the last third of values over that of the first.
func thirds(values []float64) float64 {
	n := max(1, len(values)/3)
	if len(values) == 0 {
		return 1
	}
	_, first, _ := spreadOf(values[:n])
	_, last, _ := spreadOf(values[len(values)-n:])
	return last / first
}

// slope is that of the straight line with the least squares through the points.
func slope(x, y []float64) float64 {
	var mx, my, up, down float64
	for i := range x {
		mx, my = mx+x[i]/float64(len(x)), my+y[i]/float64(len(x))
	}
	for i := range x {
		up, down = up+(x[i]-mx)*(y[i]-my), down+(x[i]-mx)*(x[i]-mx)
	}
	if down == 0 {
		return 0
	}
	return up / down
}
