//go:build !race

package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// Replicas behind a load balancer (replica_proxy_test.go), under the load of the kill rig and held to its promises. Nothing makes time
// pass here: the work of a server that is gone has to be taken over by the others by itself.

// minutesVariable says for how many minutes a server is killed every 10 s, or restarted one after the other. Without it a few are, faster.
const minutesVariable = "DTCGATE_TEST_REPLICA_MINUTES"

// A fleet is servers behind a balancer, with callers who go through it.
type fleet struct {
	*rig
	front   *balancer
	wire    *wire
	servers []*process
	behind  []*backend
	callers []*caller
	busy    sync.WaitGroup
	done    atomic.Bool
}

func newFleet(t *testing.T, engine string, n int) *fleet {
	f := &fleet{rig: newRig(t, engine), front: newBalancer(t)}
	f.env = []string{unreadyVariable + "=1500ms"}
	f.wire = newWire(f.front.web.URL)
	f.callers = f.rig.callers()
	for range n {
		f.join()
	}
	return f
}

// join starts a server and puts it behind the balancer.
func (f *fleet) join() {
	p := f.start()
	f.servers, f.behind = append(f.servers, p), append(f.behind, f.front.add(p))
}

// part takes the server that is there for longest from the fleet.
func (f *fleet) part(signal syscall.Signal) *process {
	p, b := f.servers[0], f.behind[0]
	f.servers, f.behind = f.servers[1:], f.behind[1:]
	b.doomed.Store(signal == syscall.SIGKILL)
	p.end(signal)
	b.stop()
	return p
}

// load has all callers work until rest. Whoever got no answer asks the same again.
func (f *fleet) load() {
	for _, k := range f.callers {
		k.over = &f.done
		f.busy.Go(func() {
			for !f.done.Load() {
				k.work(f.wire)
			}
		})
	}
}

// rest lets the callers come to an end: they find nobody any more.
func (f *fleet) rest() {
	f.done.Store(true)
	f.wire.dying.Store(true)
	for _, b := range f.front.all() {
		b.doomed.Store(true)
		b.stop()
	}
	f.busy.Wait()
	f.complain()
}

// end ends all servers at once.
func (f *fleet) end(signal syscall.Signal) {
	var ending sync.WaitGroup
	for _, p := range f.servers {
		ending.Go(func() { p.end(signal) })
	}
	ending.Wait()
	f.servers, f.behind = nil, nil
}

// complain reports what callers found wrong so far.
func (f *fleet) complain() {
	f.book.mu.Lock()
	defer f.book.mu.Unlock()
	for _, wrong := range f.book.wrong {
		f.t.Error(wrong)
	}
	f.book.wrong = nil
}

// span is how long a test goes on at full size, or 0.
func span(t *testing.T) time.Duration {
	minutes, err := strconv.ParseFloat(os.Getenv(minutesVariable), 64)
	if err != nil && os.Getenv(minutesVariable) != "" {
		t.Fatalf("%s=%s is not a number", minutesVariable, os.Getenv(minutesVariable))
	}
	return time.Duration(minutes * float64(time.Minute))
}

func TestServersThatRestartOneByOneFailNoCall(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "postgres", 3)
	waits := storetest.SampleWaits(t, f.dsn, 20*time.Millisecond)
	f.load()
	restarts := 0
	for end := time.Now().Add(span(t)); restarts < 3 || time.Now().Before(end); restarts++ {
		p := f.part(syscall.SIGTERM)
		if p.failed != nil || p.took > 11*time.Second {
			t.Errorf("after SIGTERM the server ended after %s: %v", p.took, p.failed)
		}
		f.join()
		f.complain()
		if t.Failed() {
			break
		}
	}
	failed := f.front.refused.Load()
	t.Logf("waits of 3 servers: %s", waits())
	f.rest()
	f.end(syscall.SIGTERM)
	if failed > 0 {
		t.Errorf("%d calls failed while servers restarted", failed)
	}
	f.finish(f.callers)
	t.Logf("%d restarts, %d calls, none failed", restarts, len(f.book.calls))
	f.check()
	f.onceEnded()
}

func TestKilledReplicasLoseNothingAndTheOthersTakeOver(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "postgres", 2)
	f.abroad.faulty.Store(true)
	f.wire.dying.Store(true) // an answer may stay out: the call is made once more, under its key
	f.load()
	every, kills := 1500*time.Millisecond, 0
	if span(t) > 0 {
		every = 10 * time.Second
	}
	for end := time.Now().Add(span(t)); kills < 4 || time.Now().Before(end); kills++ {
		<-time.After(every) // not to wait for something: it is the moment of the kill
		f.part(syscall.SIGKILL)
		f.join()
		f.withDB(f.findDoubts)
		f.complain()
		if t.Failed() {
			break
		}
	}
	f.rest()
	f.end(syscall.SIGKILL)
	f.abroad.quiet()
	f.finish(f.callers)
	t.Logf("%d kills, %d calls, %d refused by the balancer, the slowest start took %s",
		kills, len(f.book.calls), f.front.refused.Load(), slices.Max(f.starts))
	f.report(kills)
	f.visible()
	f.check()
	f.onceEnded()
}

// onceEnded holds every job to one final state, entered once; what waits for people has entered none.
func (r *rig) onceEnded() {
	r.t.Helper()
	var all facts
	r.withDB(func(db *store.DB) error {
		return db.Read(r.t.Context(), func(tx *store.Tx) (err error) {
			all, err = readFacts(tx, r.outbox(), r.ledgers(), r.before)
			return err
		})
	})
	states := map[string]int{}
	for _, j := range all.jobs {
		states[j.status]++
		want := 0
		if settled(j) {
			want = 1
		}
		if n, what := finalStates(all.byJob[j.id]); n != want {
			r.t.Errorf("the job %s is %s, and the record has it end %d times: %s", j.id, j.status, n, what)
		}
	}
	r.t.Logf("jobs: %v", states)
}

// finalStates counts the entries by which a job came to an end.
func finalStates(entries []audit.Sequenced) (n int, what string) {
	for _, e := range entries {
		switch e.Event {
		case "job.succeeded", "job.failed", "job.cancelled", "job.expired", "job.reconciled":
			n++
			what += fmt.Sprintf(" %s %s", e.Event, strings.TrimSpace(e.Reason))
		}
	}
	return n, what
}
