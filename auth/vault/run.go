package vault

import (
	"context"
	"errors"
	"fmt"
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
			v.tell(ctx, By{}, c)
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
	return v.db.InTx(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM connection_ceremonies WHERE expires_at <= $1`, store.Micros(tx.Now)); err != nil {
			return fmt.Errorf("ceremonies: %w", err)
		}
		_, err := tx.Exec(`DELETE FROM connections WHERE state = 'revoked' AND revoked_at <= $1`, store.Micros(tx.Now.Add(-keepEnds)))
		return err
	})
}

func place(n int) string { return "$" + strconv.Itoa(n) }
