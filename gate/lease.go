package gate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/store"
)

// underLease runs fn for at most a while, and renews the lease of its job meanwhile. When the lease is lost, or could not be renewed in time,
// the context of fn ends. When the process is told to end fn is given sendGrace.
func (g *Gate) underLease(ctx context.Context, s *sending, most time.Duration, fn func(context.Context) error) error {
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { time.AfterFunc(sendGrace, func() { cancel(context.Cause(ctx)) }) })()
	limited, stop := context.WithTimeout(own, most)
	defer stop()
	var beats sync.WaitGroup
	beats.Go(func() { g.beat(limited, s, cancel) })
	defer beats.Wait()
	defer stop()
	return g.safely(s.job.CallID, func() error { return fn(limited) })
}

// beat renews a lease until ctx ends or the lease is lost, which it says. Until when it lasts it knows by this process's clock, so that a
// database that cannot be reached is noticed before another worker takes the job.
func (g *Gate) beat(ctx context.Context, s *sending, lost context.CancelCauseFunc) {
	until := g.db.Now().Add(approvals.LeaseTime)
	tick := time.NewTicker(g.outside.beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := g.db.Now()
		err := g.renew(ctx, s)
		switch {
		case err == nil:
			until = now.Add(approvals.LeaseTime)
		case errors.Is(err, approvals.ErrLeaseLost), !g.db.Now().Add(g.outside.beat).Before(until):
			lost(approvals.ErrLeaseLost)
			return
		}
	}
}

// renew is one beat. It takes no longer than to the next.
func (g *Gate) renew(ctx context.Context, s *sending) error {
	ctx, cancel := context.WithTimeout(ctx, g.outside.beat)
	defer cancel()
	return g.db.InTx(ctx, func(tx *store.Tx) error { return approvals.Renew(tx, s.job.JobID, s.job.Owner) })
}

// keepLease renews the lease and reads the job again: somebody may have asked to stop it.
func (g *Gate) keepLease(ctx context.Context, s *sending) error {
	return g.work(ctx, func(tx *store.Tx) error {
		if err := approvals.Renew(tx, s.job.JobID, s.job.Owner); err != nil {
			return err
		}
		j, err := approvals.Hold(tx, s.job.JobID, s.job.Owner)
		if err == nil {
			s.job = j
		}
		return err
	})
}
