package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// The rig: two server processes on one database, 50 callers who use the rights of a few victims over REST and MCP, and revokers in a
// third process (this one) who take a victim's right away in one of many ways, are told that it is done, let the callers try for a
// while, and put another victim in its place. A caller notes before it sends a call whether the revocation was acknowledged; no
// clock is asked. Such a call must not be allowed.

// revocationCallsVariable says how many calls to make on each engine; `make revocation` makes 100,000.
const revocationCallsVariable = "DTCGATE_TEST_REVOCATION_CALLS"

func revocationCalls(t *testing.T) int64 {
	if n, err := strconv.ParseInt(os.Getenv(revocationCallsVariable), 10, 64); err == nil {
		return n
	}
	if testing.Short() {
		return 1000
	}
	return 2000
}

const (
	workers    = 50
	slots      = 10 // victims at a time, each with a revoker
	callsFirst = 10 // of a victim, before somebody revokes it
	callsAfter = 10 // that begin after the acknowledgement
)

// A siege is the rig at work.
type siege struct {
	*rig
	admin  *admin
	wires  []*wire
	ask    func(*wire, *call) error
	left   atomic.Int64
	enough bool // one call that should not have been allowed ends it
	places [slots]atomic.Pointer[victim]

	calls, allowed, after, unavailable atomic.Int64

	mu    sync.Mutex
	late  []string // calls that were allowed and began after the acknowledgement
	odd   []string // calls that were refused although nobody had begun to revoke anything
	waits []time.Duration
}

// A victim is a chain of principals of which something is revoked.
type victim struct {
	agents []*party // who call tools
	person *party   // their owner, who votes
	kind   string   // of revocation
	hits   bool     // the revocation is the person's as well
	do     func() error

	began, ended atomic.Bool // the revocation: asked for, acknowledged
	first, after atomic.Int64
	used, tried  chan struct{}
}

func TestNoCallThatStartsAfterARevocationIsAllowed(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			s := newSiege(t, engine)
			first, second := s.start(), s.second().start()
			s.wires = []*wire{first.wire, second.wire}
			s.run(revocationCalls(t))
			s.end(first)
			s.end(second)
			s.report()
			if len(s.late) > 0 {
				t.Errorf("%d calls were allowed that started after the acknowledgement, such as %v", len(s.late), s.late[0])
			}
		})
	}
}

// TestACacheOfWhoMayCallIsCaught tells the silence of the test above from blindness: the server stands behind something that
// remembers for 50 ms who was allowed to do what.
func TestACacheOfWhoMayCallIsCaught(t *testing.T) {
	s := newSiege(t, "sqlite")
	p := s.start()
	s.wires, s.ask, s.enough = []*wire{p.wire}, new(cache).ask, true
	s.run(1_000_000) // most of which the cache answers, at once
	s.end(p)
	s.report()
	if len(s.late) == 0 {
		t.Error("a cache of 50 ms was not noticed")
	}
}

// newSiege makes the shop of the kill tests, and a process's worth of administration beside the servers.
func newSiege(t *testing.T, engine string) *siege {
	s := &siege{rig: newRig(t, engine), ask: (*wire).send}
	s.admin = newAdmin(t, s.dsn, s.parties[freeKey].Merchant)
	return s
}

// second is the rig with another way to the same database. On SQLite it is a link to the file, since a second server on one path is
// refused: it is most likely a mistake, though not wrong.
func (s *siege) second() *rig {
	again := *s.rig
	if s.admin.db.Engine() == "sqlite" {
		again.dsn = filepath.Join(s.t.TempDir(), "link.db")
		if err := os.Symlink(s.dsn, again.dsn); err != nil {
			s.t.Fatal(err)
		}
	}
	return &again
}

// crowded reports whether the servers may miss the database. On SQLite writers of several processes look for the file's lock now and
// then, and one may be without luck for many seconds; it is why serve refuses to be the second on a file.
func (s *siege) crowded() bool { return s.admin.db.Engine() == "sqlite" && len(s.wires) > 1 }

// end ends a server, whose log must not tell of errors.
func (s *siege) end(p *process) {
	if !s.crowded() {
		p.end(syscall.SIGTERM)
		return
	}
	if err := errors.Join(p.cmd.Process.Signal(syscall.SIGTERM), <-p.ended); err != nil {
		s.t.Error(err)
	}
}

// run makes n calls.
func (s *siege) run(n int64) {
	s.left.Store(n)
	for _, w := range s.wires {
		w.client.Transport.(*http.Transport).MaxIdleConnsPerHost = workers
	}
	for i := range s.places {
		v, err := s.admin.victim(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		s.places[i].Store(v)
	}
	ctx, done := context.WithCancel(s.t.Context())
	var callers, others sync.WaitGroup
	for i := range workers {
		rng := rand.New(rand.NewPCG(s.rng.Uint64(), 0))
		callers.Go(func() { s.call(rng, s.wires[i%len(s.wires)]) })
	}
	for i := range s.places {
		others.Go(func() { s.revoke(ctx, &s.places[i]) })
	}
	callers.Wait()
	done()
	others.Wait()
}

// call makes one call after the other.
func (s *siege) call(rng *rand.Rand, w *wire) {
	for s.left.Add(-1) >= 0 {
		v := s.places[rng.IntN(slots)].Load()
		c := v.something(rng)
		ended := v.ended.Load() // before the call begins
		err := s.ask(w, c)
		began := v.began.Load()
		s.count(v, c, ended, began, err)
	}
}

func (s *siege) count(v *victim, c *call, ended, began bool, err error) {
	s.calls.Add(1)
	allowed := c.ok() || c.tool == vote && c.code == string(tools.NotFound)
	concerned := c.tool != vote || v.hits
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.code == string(tools.Unavailable), err != nil && s.crowded():
		s.unavailable.Add(1)
	case err != nil:
		s.odd = append(s.odd, fmt.Sprintf("no answer: %v: %v", c, err))
	case allowed && ended && concerned:
		s.late = append(s.late, fmt.Sprintf("%v, although %s", c, v.kind))
		if s.enough {
			s.left.Store(0)
		}
	case !allowed && !began:
		s.odd = append(s.odd, c.String())
	}
	if allowed {
		s.allowed.Add(1)
	}
	if !began && v.first.Add(1) == callsFirst {
		close(v.used)
	}
	if ended && concerned {
		s.after.Add(1)
		if v.after.Add(1) == callsAfter {
			close(v.tried)
		}
	}
}

// something is a call of a victim: a read or a write of one of its agents, or a vote of its person. That nothing waits under the
// name is what a person is told who may vote.
func (v *victim) something(rng *rand.Rand) *call {
	agent := v.agents[rng.IntN(len(v.agents))]
	mark := strconv.FormatUint(rng.Uint64(), 36)
	c := []*call{
		{who: agent, tool: "dtc_search_orders", args: map[string]any{"limit": 1}},
		{who: agent, tool: createCampaign, key: mark, args: map[string]any{"name": mark, "channel": "email", "subject": "Hello", "body": "Hello."}},
		{who: v.person, tool: vote, path: tools.BasePath + "/approvals/job_none/resolve", args: map[string]any{"decision": "deny"}},
	}[[]int{0, 0, 1, 1, 2}[rng.IntN(5)]]
	if c.path == "" && rng.IntN(2) == 0 {
		c.path = tools.BasePath + "/tools/" + c.tool
	}
	return c
}

// revoke waits until a victim is in use, revokes something of it, lets the callers try, and puts another in its place.
func (s *siege) revoke(ctx context.Context, place *atomic.Pointer[victim]) {
	for {
		v := place.Load()
		if !await(ctx, v.used) {
			return
		}
		v.began.Store(true)
		asked := time.Now()
		err := v.do()
		v.ended.Store(err == nil)
		s.revoked(v, time.Since(asked), err)
		if err != nil || !await(ctx, v.tried) {
			return
		}
		next, err := s.admin.victim(s.t.Context())
		if err != nil {
			s.t.Error(err)
			return
		}
		place.Store(next)
	}
}

func (s *siege) revoked(v *victim, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits = append(s.waits, took)
	if err != nil {
		s.odd = append(s.odd, fmt.Sprintf("a revocation, %s: %v", v.kind, err))
	}
}

func await(ctx context.Context, c chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *siege) report() {
	s.t.Helper()
	s.t.Logf("%d calls, %d allowed, %d began after the acknowledgement of one of %d revocations; %d found no database, as did %d changes of rights; a revocation took %s in the median and %s at most",
		s.calls.Load(), s.allowed.Load(), s.after.Load(), len(s.waits), s.unavailable.Load(), s.admin.again.Load(), percentile(s.waits, 50), percentile(s.waits, 100))
	if len(s.odd) > 0 {
		s.t.Errorf("%d calls went wrong, such as %s", len(s.odd), s.odd[0])
	}
	if !s.enough && s.after.Load() < s.calls.Load()/10 {
		s.t.Error("few calls began after an acknowledgement: the test shows nothing")
	}
}

// A cache remembers for 50 ms who was allowed to do what.
type cache struct{ known sync.Map }

const cacheTime = 50 * time.Millisecond

func (m *cache) ask(w *wire, c *call) error {
	who := c.who.Secret + c.who.Token + c.tool
	if until, ok := m.known.Load(who); ok && time.Now().Before(until.(time.Time)) {
		c.answered = true
		return nil
	}
	err := w.send(c)
	if c.ok() {
		m.known.Store(who, time.Now().Add(cacheTime))
	}
	return err
}
