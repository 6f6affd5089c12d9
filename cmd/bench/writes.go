package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
)

// Figure 2: what is written durably in a second. A campaign is its draft, its idempotency row, its way back and its record in one commit, over the
// program that ships and without HTTP; an audit row is an entry, its place in the queue for a number and one personal value.

const writeCallers = 64

// A writer writes for a while and says how many a second.
type writer struct {
	what   string
	target float64 // 0: none
	write  func(context.Context, time.Duration) (float64, error)
	rates  []float64 // one a round
}

func (b *bench) writes(ctx context.Context) error {
	stop, err := b.profiled()
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("| engine | what, %d callers | a second: min · median · max |\n|--|--|--|\n", writeCallers)
	return onEach(func(engine string) error { return b.writesOn(ctx, engine) })
}

// The targets of figure 2, a second.
var (
	campaignTarget = map[string]float64{"SQLite": 10_000}
	rowsTarget     = map[string]float64{"SQLite": 20_000, "PostgreSQL": 10_000}
)

func (b *bench) writesOn(ctx context.Context, engine string) error {
	writers, done, err := b.writers(ctx, engine)
	defer done()
	if err != nil {
		return err
	}
	for round := range b.rounds + 1 {
		for _, w := range writers {
			rate, err := w.write(ctx, b.during)
			if err != nil {
				return fmt.Errorf("%s: %w", w.what, err)
			}
			if round > 0 { // the first one warms
				w.rates = append(w.rates, rate)
			}
		}
	}
	for _, w := range writers {
		fmt.Printf("| %s | %s | %s |\n", engine, w.what, threeOf(w.rates))
		if w.target > 0 {
			b.promise(2, engine+": "+w.what+" a second", w.target, w.rates)
		}
	}
	return nil
}

// writers makes those of an engine, and what they write to. done ends all of it, and is never nil.
func (b *bench) writers(ctx context.Context, engine string) (all []*writer, done func(), err error) {
	s, served, err := b.serveOne(ctx, engine, "writes")
	if err != nil {
		return nil, served, err
	}
	for _, c := range createsOf(s.hello) {
		all = append(all, &writer{what: c.name, target: campaignTarget[engine], write: func(_ context.Context, during time.Duration) (float64, error) {
			r, err := s.measure(c, writeCallers, during)
			return r.perSecond, err
		}})
	}
	inside, end, err := b.inside(ctx, engine)
	if err != nil {
		return nil, served, err
	}
	return append(all, inside...), func() { end(); served() }, nil
}

// inside are the writers without HTTP, in this process.
func (b *bench) inside(ctx context.Context, engine string) (all []*writer, done func(), err error) {
	dsn, end, err := b.database(engine, "inside")
	if err != nil {
		return nil, nil, err
	}
	s, err := newStand(ctx, dsn, "")
	if err != nil {
		return nil, nil, errors.Join(err, erring(end))
	}
	s.db.Now = time.Now
	log, entry, err := b.recordOf(ctx, s)
	if err != nil {
		return nil, nil, errors.Join(err, erring(end))
	}
	var n atomic.Int64
	run := time.Now().UnixNano()
	create := func(ctx context.Context) error {
		_, _, err := s.timed(ctx, s.free, "dtc_create_campaign", campaign(run, n.Add(1)))
		return err
	}
	gathered := store.Gathered[audit.Sealed]{DB: s.db, Write: audit.AppendSealed}
	row := func(ctx context.Context) error {
		sealed, err := audit.Seal(entry, time.Now())
		if err != nil {
			return err
		}
		return gathered.Do(ctx, sealed)
	}
	alone := func(ctx context.Context) error {
		return s.db.InTx(ctx, func(tx *store.Tx) error { _, err := audit.Append(tx, entry); return err })
	}
	return []*writer{
		{what: "campaign create, without HTTP", target: campaignTarget[engine], write: beside(log, many(create))},
		{what: "audit rows, written together (store.Gathered)", target: rowsTarget[engine], write: many(row)},
		{what: "audit rows, written together, numbered and signed meanwhile", write: beside(log, many(row))},
		{what: "audit rows, a transaction each (audit.Append)", write: many(alone)},
		{what: "fsync of 4 KB, one at a time", write: b.fsyncs},
	}, func() { s.close(); end() }, nil
}

// erring is a function as an error, for errors.Join.
func erring(end func()) error { end(); return nil }

// recordOf is a sequencer of a stand's record, and a call's entry as the gate wrote it.
func (b *bench) recordOf(ctx context.Context, s *stand) (log *audit.Log, e audit.Entry, err error) {
	signer, key, err := audit.LoadOrCreateSigner(filepath.Join(b.dir, "audit.key"), "bench")
	if err != nil {
		return nil, e, err
	}
	log = audit.New(audit.Config{DB: s.db, Signer: signer, VerifierKey: key})
	if _, _, err := s.timed(ctx, s.free, "dtc_whoami", `{}`); err != nil {
		return nil, e, err
	}
	var kept []audit.Kept
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		kept, err = audit.Between(tx, audit.Span{Merchant: s.merchant, Events: []string{policy.EventCall}, Until: "b", Limit: 1})
		return err
	})
	if err != nil || len(kept) == 0 {
		return nil, e, errors.Join(errors.New("a call left no entry"), err)
	}
	err = json.Unmarshal([]byte(kept[0].Body), &e)
	e.ID, e.At, e.Digests, e.Personal = "", time.Time{}, nil, map[string]string{policy.ArgumentsKept: `{}`}
	return log, e, err
}

// many has writeCallers callers do something again and again.
func many(do func(context.Context) error) func(context.Context, time.Duration) (float64, error) {
	return func(ctx context.Context, during time.Duration) (float64, error) {
		var done atomic.Int64
		errs := make([]error, writeCallers)
		started := time.Now()
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				for time.Since(started) < during && errs[i] == nil {
					errs[i] = do(ctx)
					done.Add(1)
				}
			})
		}
		all.Wait()
		return float64(done.Load()) / time.Since(started).Seconds(), errors.Join(errs...)
	}
}

// beside writes while the record is numbered and signed, as it is in a server. What others left is numbered before.
func beside(log *audit.Log, write func(context.Context, time.Duration) (float64, error)) func(context.Context, time.Duration) (float64, error) {
	return func(ctx context.Context, during time.Duration) (float64, error) {
		if _, err := log.Sequence(ctx); err != nil {
			return 0, err
		}
		numbering, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- log.Run(numbering) }()
		rate, err := write(ctx, during)
		stop()
		return rate, errors.Join(err, <-ended)
	}
}

// fsyncs is how often the disk makes 4 KB more of a file durable, in a second.
func (b *bench) fsyncs(ctx context.Context, during time.Duration) (float64, error) {
	f, err := os.CreateTemp(b.dir, "fsync")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var page [4096]byte
	n, started := 0, time.Now()
	for ; time.Since(started) < during && ctx.Err() == nil; n++ {
		if _, err := f.Write(page[:]); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(started).Seconds(), ctx.Err()
}
