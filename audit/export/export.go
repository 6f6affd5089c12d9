// Package export copies the audit log to where a security team looks: a file of JSON lines, an OpenTelemetry collector, a signed webhook.
//
// # What receivers can rely on
//
// The log is read by its gapless numbers, and each sink has one row with the number up to which its receiver has taken everything. The row
// moves after the receiver's 2xx or the file's fsync and never before: every entry arrives at least once, and none is skipped. What was sent and perhaps
// not taken is sent again in the same batch, bytes and message id, since the row says before a batch goes how far it reaches. Each event carries its number
// (metadata.sequence) and id (metadata.uid), by which a receiver drops repeats. Of several processes one sends, under a lease on the row; when two
// believe that they have it, the compare-and-set on the row lets one of them move it, and the receiver sees a repeat.
//
// A receiver that fails is asked again after ever longer pauses (Retry-After is honoured), which is logged once and stands in Cursors; no call waits
// for it. A number that is missing from the log stops all sinks: a copy must not hide what Verify would find.
//
// # What is in an event
//
// OCSF (schema.ocsf.io), class API Activity (6003), for all entries. OCSF and not ECS, because it has a class for exactly this, who called which
// operation on what with which outcome, with the caller's authorization by a policy in it, and is what security lakes take in unchanged; in ECS an agent's
// call is an event of no category. One class and not Account Change for keys and Authentication for people, so that one rule finds all that an agent
// did. Version 1.3.0: all that is used here was there by then and is in later ones. The entry itself is unmapped.entry, its bytes as they are on record, so that
// a copy proves itself by the log's tree (audit.Receipt) wherever it lies.
//
// Personal values are left out unless Config.Personal asks for them. Those that were erased are in no event; what was sent before, its receiver must erase.
package export

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

const (
	batchEntries = 500
	batchBytes   = 1 << 20 // of entries with their values, before the one that exceeds it
	leaseTime    = time.Minute
	lookEvery    = 500 * time.Millisecond // for new entries
	firstPause   = time.Second
	longestPause = 5 * time.Minute
	longestAsked = time.Hour       // that a receiver may ask for
	lastTime     = 5 * time.Second // for giving up the leases at the end
)

// A Batch is what is sent at once: all that is on record from a number to another.
type Batch struct {
	First, Last int64
	Entries     []audit.Copy
}

// A Target takes batches. Send returns nil only when its receiver has the whole batch for good. An error is a text of ours.
type Target interface {
	Send(ctx context.Context, b Batch) error
}

// A Sink is a target under the name that its place in the log is kept under.
type Sink struct {
	Name   string
	Target Target
}

// Config is everything Exports depend on.
type Config struct {
	DB       *store.DB
	Sinks    []Sink
	Personal bool        // personal values are sent, too
	OnError  func(error) // hears when a sink begins to fail, and why. May be nil
}

// Exports send the log to sinks.
type Exports struct {
	Config
	owner string // of the leases
	pause func(failures int) time.Duration

	mu   sync.Mutex
	told map[string]string // sink to the problem that was logged last
}

// New makes exports. It starts nothing.
func New(c Config) *Exports {
	return &Exports{Config: c, owner: store.NewID("exp", c.DB.Now()), pause: backOff, told: map[string]string{}}
}

// backOff doubles from a second to five minutes, and adds up to a tenth so that what failed together is not tried again together.
func backOff(failures int) time.Duration {
	d := min(firstPause<<min(failures-1, 16), longestPause)
	return d + rand.N(d/10)
}

// Run sends what is new until ctx ends. It may run in any number of processes.
func (x *Exports) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, s := range x.Sinks {
		all.Go(func() { x.follow(ctx, s) })
	}
	all.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	return x.release(last)
}

func (x *Exports) follow(ctx context.Context, s Sink) {
	failures := 0
	for wait := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		sent, err := x.Step(ctx, s)
		wait = lookEvery
		if err == nil {
			failures = 0
			if sent {
				wait = 0
			}
			continue
		}
		failures++
		wait = x.pause(failures)
		if asked := (*Refusal)(nil); errors.As(err, &asked) {
			wait = max(wait, min(asked.After, longestAsked))
		}
	}
}

// Step sends one batch to a sink and moves its place, and reports whether there was one.
func (x *Exports) Step(ctx context.Context, s Sink) (sent bool, err error) {
	sent, err = x.step(ctx, s)
	if ctx.Err() != nil {
		return sent, ctx.Err() // whatever failed, failed because we end
	}
	x.tell(s, err)
	return sent, err
}

func (x *Exports) step(ctx context.Context, s Sink) (bool, error) {
	p, err := x.plan(ctx, s.Name)
	if err != nil || p == nil {
		return false, err
	}
	if ours, err := x.claim(ctx, p); err != nil || !ours {
		return false, err
	}
	if len(p.batch.Entries) > 0 {
		if err := s.Target.Send(ctx, p.batch); err != nil {
			return false, errors.Join(err, x.fail(ctx, p, err))
		}
	}
	return x.move(ctx, p)
}

// tell logs a problem of a sink when it was not the last one told.
func (x *Exports) tell(s Sink, err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	x.mu.Lock()
	told := x.told[s.Name]
	x.told[s.Name] = problem
	x.mu.Unlock()
	if err != nil && told != problem && x.OnError != nil {
		x.OnError(&failure{s.Name, err})
	}
}

// failure is what OnError hears.
type failure struct {
	sink string
	err  error
}

func (f *failure) Error() string {
	return "exporting the audit log to " + f.sink + ", which is tried again until it works: " + f.err.Error()
}
func (f *failure) Unwrap() error { return f.err }
