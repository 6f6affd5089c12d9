//go:build failpoints && !race

package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// The server processes of a test with the tag failpoints kill themselves where they are told to: at every border between two steps that the
// source names (store/borders.go), so that no kill has to be lucky.

// deathsVariable says how many times to die at each border, and bordersVariable at which; without it at all of them.
const (
	deathsVariable  = "DTCGATE_TEST_DEATHS"
	bordersVariable = "DTCGATE_TEST_BORDERS"
)

func deaths() int {
	if n, err := strconv.Atoi(os.Getenv(deathsVariable)); err == nil {
		return n
	}
	return 1
}

func bordersToTry() []store.Border {
	if os.Getenv(bordersVariable) == "" {
		return store.Borders
	}
	var all []store.Border
	for name := range strings.SplitSeq(os.Getenv(bordersVariable), ",") {
		all = append(all, store.Border(name))
	}
	return all
}

// TestKilledAtEveryBorderNothingIsLostOrDoubled fails, too, when a border is named that nothing comes past.
func TestKilledAtEveryBorderNothingIsLostOrDoubled(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, engine)
			r.abroad.faulty.Store(true)
			callers := r.callers()
			died := 0
			for range deaths() {
				for _, b := range bordersToTry() {
					// Who dies with messages under way leaves its endpoint with as many leases as it may have.
					if died%3 == 0 || b == store.MessageClaimed || b == store.MessageSent {
						r.passTime()
					}
					r.dieAt(callers, b)
					r.checkKept()
					died++
					if t.Failed() {
						return
					}
				}
			}
			r.passTime()
			r.finish(callers)
			r.report(died)
			r.visible()
			r.check()
			r.checkMessages()
		})
	}
}

// borderWithin is how long it may take until somebody comes past a border, under load.
const borderWithin = 20 * time.Second

// dieAt runs a server under load that kills itself at a border, one of the first times that it gets there.
func (r *rig) dieAt(callers []*caller, b store.Border) {
	r.t.Helper()
	begun := time.Now()
	p := r.launch(store.FailpointVariable + "=" + string(b) + ":" + strconv.Itoa(r.comings(b)))
	if p.wire == nil {
		return // it came there while it started
	}
	p.wire.dying.Store(true) // any answer may be the last
	var busy sync.WaitGroup
	for i, k := range callers {
		k.pace = nil
		busy.Go(func() {
			<-time.After(time.Duration(i) * time.Millisecond) // so that not always the same comes first
			k.work(p.wire)
		})
	}
	select {
	case p.failed = <-p.ended:
	case <-time.After(borderWithin):
		r.t.Errorf("in %s under load nothing came past the border %s", borderWithin, b)
		p.end(syscall.SIGKILL)
	}
	r.alive += time.Since(begun)
	busy.Wait()
	p.wire.client.CloseIdleConnections()
	for _, wrong := range r.book.wrong {
		r.t.Errorf("%s: %s", b, wrong)
	}
	r.book.wrong = nil
}

// comings is which of the times that somebody comes to a border is the last. A start has a few commits of its own.
func (r *rig) comings(b store.Border) int {
	often := []store.Border{store.CommitBegins, store.CommitEnds, store.Judged, store.KeyClaimed, store.Acted, store.Recorded, store.ReadDone}
	if slices.Contains(often, b) {
		return 1 + r.rng.IntN(40)
	}
	return 1 + r.rng.IntN(2)
}
