package vault

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

const (
	every    = 15 * time.Second    // between looks at what is due
	maxDue   = 100                 // connections taken up in one look
	keepEnds = 90 * 24 * time.Hour // how long a revoked connection can be seen
)

// Run renews tokens ahead of their end until ctx ends, and does away with what is old. It may run in any number of processes.
// When it returns, nothing that it or a caller of Token has asked a provider is left without being stored.
func (v *Vault) Run(ctx context.Context) {
	for {
		v.pass(ctx)
		select {
		case <-ctx.Done():
			v.drain()
			return
		case <-time.After(every/2 + jitter(every)):
		}
	}
}

// drain waits for everybody who is asking a provider.
func (v *Vault) drain() {
	for _, p := range v.providers {
		for range maxAsking {
			p.slots <- struct{}{}
		}
		for range maxAsking {
			<-p.slots
		}
	}
}

func (v *Vault) pass(ctx context.Context) {
	due, err := v.due(ctx)
	v.hear("looking for tokens to renew", err)
	var all sync.WaitGroup
	for _, c := range due {
		all.Go(func() { v.renewDue(ctx, c) })
	}
	all.Wait()
	_, _, err = v.Reseal(ctx)
	v.hear("sealing tokens under the first master key", err)
	v.hear("doing away with what is old", v.clean(ctx))
}

// anything reports whether a query finds a row, so that a pass with nothing to do writes nothing.
func (v *Vault) anything(ctx context.Context, q string, args ...any) (bool, error) {
	var found bool
	err := v.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := store.All(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) }, q, args...)
		found = len(rows) > 0
		return err
	})
	return found, err
}

// renewDue renews a connection whose time has come, and ends one whose person is gone. What a provider refused is on record
// and in the row; only what is our own fault is told.
func (v *Vault) renewDue(ctx context.Context, c Connection) {
	_, err := v.renew(ctx, c)
	if errors.Is(err, ErrNotConnected) {
		err = v.db.InTx(ctx, func(tx *store.Tx) error {
			if err := alive(tx, c.Merchant, c.Person); !errors.Is(err, ErrNotConnected) {
				return err
			}
			return end(tx, By{}, c, becauseGone)
		})
		if err == nil {
			v.Tell(ctx, By{}, c)
		}
	}
	if f := (*Failure)(nil); errors.As(err, &f) || errors.Is(err, errTaken) || errors.Is(err, ErrBroken) || errors.Is(err, ErrNotConnected) {
		return
	}
	v.hear("renewing the tokens of "+c.ID, err)
}

// due lists the connections whose time has come.
func (v *Vault) due(ctx context.Context) (all []Connection, err error) {
	err = v.db.Read(ctx, func(tx *store.Tx) error {
		all, err = store.All(tx, scanConnection, `SELECT `+connectionColumns+` FROM connections
			WHERE state = 'connected' AND refresh_at <= $1 AND (lease_until IS NULL OR lease_until <= $1)
			ORDER BY refresh_at, id LIMIT $2`, store.Micros(tx.Now), maxDue)
		return err
	})
	return all, err
}

// clean does away with ceremonies that nobody can finish any more and with connections that ended long ago.
func (v *Vault) clean(ctx context.Context) error {
	now := v.db.Now()
	for _, old := range []struct {
		rows  string
		until time.Time
	}{
		{`FROM connection_ceremonies WHERE expires_at <= $1`, now},
		{`FROM connections WHERE state = 'revoked' AND revoked_at <= $1`, now.Add(-keepEnds)},
	} {
		found, err := v.anything(ctx, `SELECT 1 `+old.rows+` LIMIT 1`, store.Micros(old.until))
		if err == nil && found {
			err = v.db.InTx(ctx, func(tx *store.Tx) error {
				_, err := tx.Exec(`DELETE `+old.rows, store.Micros(old.until))
				return err
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func place(n int) string { return "$" + strconv.Itoa(n) }
