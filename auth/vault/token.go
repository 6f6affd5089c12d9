package vault

import (
	"context"
	"errors"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

const (
	// margin is how long an access token must be good for when it is handed out.
	margin = 30 * time.Second
	// storeTime is for how long storing an answer is repeated while the database is away.
	storeTime = 20 * time.Second
	// leaseTime is longer than asking and storing take together, with room for clocks that differ: a lease that runs out
	// under its holder would let a refresh token be used twice.
	leaseTime = 2 * (askTime + storeTime)
	// waitTime is how long a caller waits for somebody else's refresh.
	waitTime = askTime + storeTime
	lookTime = 25 * time.Millisecond // between looks whether that is done
	// unsaid is how long an access token counts as good whose provider did not say, if it can be renewed.
	unsaid = time.Hour
)

// Token gives an access token of a person at a provider, and when it ends (zero: the provider did not say). One that is
// about to end is renewed first. The person must be in good standing and the connection whole: ErrNotConnected, ErrBroken;
// a *Failure says that the provider gives none now, and for how long not to ask again.
//
// Nothing of the token may be stored or logged by the caller.
func (v *Vault) Token(ctx context.Context, merchant, person, name string) (string, time.Time, error) {
	if _, err := v.provider(name); err != nil {
		return "", time.Time{}, err
	}
	c, err := v.find(ctx, merchant, person, name)
	if err != nil {
		return "", time.Time{}, err
	}
	if v.lasts(c, margin) {
		t, err := c.open(v.keys)
		return t.Access, c.ExpiresAt, err
	}
	// The work goes on when this caller leaves: others wait for it too, and an answer that nobody stores is a refresh token lost.
	working := context.WithoutCancel(ctx)
	done := v.flights.DoChan(c.ID, func() (any, error) { return v.fresh(working, c) })
	select {
	case <-ctx.Done():
		return "", time.Time{}, ctx.Err()
	case r := <-done:
		if r.Err != nil {
			return "", time.Time{}, r.Err
		}
		// Asking takes time: the person, or the connection, may have gone meanwhile.
		if _, err := v.find(ctx, merchant, person, name); err != nil {
			return "", time.Time{}, err
		}
		h := r.Val.(held)
		return h.Access, h.ExpiresAt, nil
	}
}

// held is a connection with its tokens.
type held struct {
	Connection
	tokens
}

func (v *Vault) find(ctx context.Context, merchant, person, provider string) (c Connection, err error) {
	err = v.db.Read(ctx, func(tx *store.Tx) error {
		if err := alive(tx, merchant, person); err != nil {
			return err
		}
		c, err = live(tx, merchant, person, provider)
		return err
	})
	if err == nil && c.State == Broken {
		err = ErrBroken
	}
	return c, err
}

// lasts reports whether the access token is good for some time yet.
func (v *Vault) lasts(c Connection, while time.Duration) bool {
	return c.ExpiresAt.IsZero() || v.db.Now().Add(while).Before(c.ExpiresAt)
}

// fresh renews the tokens of a connection, or waits until somebody else has.
func (v *Vault) fresh(ctx context.Context, seen Connection) (held, error) {
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	for {
		h, err := v.renew(ctx, seen)
		if err != nil && !errors.Is(err, errTaken) {
			return v.old(seen, err)
		}
		if err == nil {
			return h, nil
		}
		c, err := v.find(ctx, seen.Merchant, seen.Person, seen.Provider)
		if err != nil {
			return held{}, err
		}
		if (c.ID != seen.ID || c.Version != seen.Version) && v.lasts(c, 0) {
			t, err := c.open(v.keys)
			return held{c, t}, err
		}
		seen = c
		select {
		case <-ctx.Done():
			return v.old(seen, &Failure{Code: failTimeout})
		case <-time.After(v.look + jitter(v.look)):
		}
	}
}

// old falls back on an access token that is about to end and has not yet.
func (v *Vault) old(c Connection, err error) (held, error) {
	if errors.Is(err, ErrBroken) || errors.Is(err, ErrNotConnected) || !v.lasts(c, 0) {
		return held{}, err
	}
	t, opened := c.open(v.keys)
	if opened != nil {
		return held{}, err
	}
	return held{c, t}, nil
}

// persist stores what a provider answered. It does not end with its caller, and is repeated while the database is away:
// until it is stored, the answer exists here only.
func (v *Vault) persist(ctx context.Context, fn func(*store.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := v.db.InTx(ctx, fn)
		if !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}
