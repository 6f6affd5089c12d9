package gate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/store"
)

const (
	workers   = 4                      // stored calls carried out at once by one process
	lookEvery = 300 * time.Millisecond // how often a worker looks for work that nobody told of
	sweep     = time.Second            // how often requests lapse and old keys are forgotten
	backOff   = time.Second            // after the database could not be asked
	lapseMax  = 100                    // requests that lapse in one transaction
)

// Work carries out stored calls, lets requests lapse and tells services outside until ctx ends. It may run in any number of processes. A step
// that has begun when ctx ends is finished, and what is left of its job given back to whoever is there; the jobs of a process that was killed are
// taken up when their leases run out.
func (g *Gate) Work(ctx context.Context) {
	g.outside.beside.Store(true)
	defer g.outside.beside.Store(false)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() { g.worker(ctx, store.NewID("wrk", g.db.Now())) })
	}
	all.Go(func() { g.sweeper(ctx) })
	all.Go(func() { g.hearQueue(ctx) })
	if g.webhooks != nil {
		all.Go(func() { g.webhooks.Run(ctx) })
	}
	all.Wait()
	g.outside.going.Wait()
}

func (g *Gate) worker(ctx context.Context, id string) {
	for ctx.Err() == nil {
		worked, wait := false, lookEvery
		err := g.safely(id, func() (err error) {
			worked, err = g.Resume(ctx, id)
			return err
		})
		switch {
		case worked && err == nil:
			g.notify() // there may be more, for another worker too
			continue
		case err != nil && ctx.Err() == nil:
			g.log.Error().Err(err).Msg("looking for work")
			wait = backOff
		}
		select {
		case <-ctx.Done():
		case <-g.wake:
		case <-time.After(wait):
		}
	}
}

// hearQueue wakes a worker when any process has queued a job. It listens again before it does, so that it misses none.
func (g *Gate) hearQueue(ctx context.Context) {
	told, stop := g.db.Listen(approvals.QueueBell)
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-told:
		}
		stop()
		told, stop = g.db.Listen(approvals.QueueBell)
		g.notify()
	}
}

func (g *Gate) sweeper(ctx context.Context) {
	for ctx.Err() == nil {
		err := g.safely("sweeper", func() error { return g.Sweep(ctx) })
		if err != nil && !errors.Is(err, context.Canceled) {
			g.log.Error().Err(err).Msg("sweeping")
		}
		select {
		case <-ctx.Done():
		case <-time.After(sweep):
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastStep)
	defer cancel()
	if err := errors.Join(g.writeStrangers(last, true), g.writeUsed(last)); err != nil {
		g.log.Error().Err(err).Msg("writing down what strangers tried and who was at work")
	}
}

// Sweep lapses the requests whose time is over, lets more people at those that wait for long, ends those whose object was changed, forgets old
// idempotency keys, effects and sub-tokens, and writes down what strangers tried and who was at work.
func (g *Gate) Sweep(ctx context.Context) error {
	for lapsed := lapseMax; lapsed == lapseMax; {
		err := g.db.InTx(ctx, func(tx *store.Tx) (err error) {
			var ended []approvals.Job
			if lapsed, ended, err = approvals.Expire(tx, lapseMax); err != nil {
				return err
			}
			return errors.Join(forgetKeys(tx), approvals.ForgetEffects(tx), auth.ForgetSubTokens(tx), budget.Forget(tx), approvals.ForgetGrants(tx), giveBack(tx, ended...))
		})
		if err != nil {
			return err
		}
	}
	store.Reach(store.SweepBetween)
	// Escalate holds jobs, oldest first, as Expire does. In one transaction the two would not be in one order, and two processes that sweep at
	// once could wait for each other.
	err := g.db.InTx(ctx, func(tx *store.Tx) error {
		_, err := approvals.Escalate(tx, lapseMax)
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(g.supersede(ctx), g.noticeFreezes(ctx), g.writeStrangers(ctx, false), g.writeUsed(ctx))
}
