package vault

import (
	"context"
	"errors"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// errTaken says that somebody else is renewing the connection, or has changed it since it was read.
var errTaken = errors.New("somebody else is at it")

// A lease is the right to ask a connection's provider, for leaseTime.
type lease struct {
	owner string
	held
	keys  *ring     // taken before anything is asked: when the answer is there, nothing may be missing to store it
	until time.Time // until when the provider may be asked, so that the answer is stored while the lease lasts
	at    time.Time // when it was taken, by the database's clock
}

// renew asks the provider for new tokens and stores them: lease, question, answer, each in its own step.
func (v *Vault) renew(ctx context.Context, seen Connection) (held, error) {
	if seen.Attempts > 0 && v.db.Now().Before(seen.RefreshAt) { // the pause after a failure holds for everybody
		return held{}, &Failure{Code: seen.LastError, After: seen.RefreshAt.Sub(v.db.Now())}
	}
	if p := v.providers[seen.Provider]; p != nil {
		release, err := p.slot(ctx)
		if err != nil {
			return held{}, err
		}
		defer release()
	}
	l, err := v.lease(ctx, seen)
	if err != nil {
		return held{}, err
	}
	g, err := v.ask(ctx, l)
	if err != nil {
		return held{}, v.failed(ctx, l, err)
	}
	h, err := v.store(ctx, l, g)
	if errors.Is(err, errTaken) {
		v.drop(ctx, l, g)
	}
	return h, err
}

// lease takes the lease of a connection as it was seen, and opens its tokens. Whatever keeps them from being opened is
// left to ask, so that it counts as a failure and is not tried again at once.
func (v *Vault) lease(ctx context.Context, seen Connection) (*lease, error) {
	keys, err := v.keys.now()
	if err != nil {
		return nil, err
	}
	l := &lease{held: held{Connection: seen}, keys: keys, until: time.Now().Add(askTime)}
	return l, v.db.InTx(ctx, func(tx *store.Tx) error {
		if err := alive(tx, seen.Merchant, seen.Person); err != nil {
			return err
		}
		l.owner, l.at = store.NewID("lea", tx.Now), tx.Now
		n, err := tx.Exec(`UPDATE connections SET lease_owner = $1, lease_until = $2
			WHERE id = $3 AND version = $4 AND state = 'connected' AND (lease_until IS NULL OR lease_until <= $5)`,
			l.owner, store.Micros(tx.Now.Add(leaseTime)), seen.ID, seen.Version, store.Micros(tx.Now))
		if err == nil && n == 0 {
			err = errTaken
		}
		return err
	})
}

// ask does not end with its caller: once sent, a refresh token may be used up.
func (v *Vault) ask(ctx context.Context, l *lease) (granted, error) {
	p, err := v.provider(l.Provider)
	if err != nil {
		return granted{}, err
	}
	if l.tokens, err = l.open(v.keys); err != nil {
		return granted{}, err
	}
	if l.Refresh == "" {
		return granted{}, &Failure{Code: failEnded}
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), l.until)
	defer cancel()
	return p.refresh(ctx, l.Refresh)
}

// store keeps what the provider answered, under the next version.
func (v *Vault) store(ctx context.Context, l *lease, g granted) (held, error) {
	h := held{l.Connection, g.tokens}
	err := v.persist(ctx, func(tx *store.Tx) error {
		version, err := l.hold(tx)
		if err != nil {
			return err
		}
		h.Version, h.Attempts, h.LastError, h.UpdatedAt = version+1, 0, "", tx.Now
		h.ExpiresAt, h.RefreshAt = v.providers[h.Provider].times(l.at, g)
		if err := h.seal(l.keys, g.tokens); err != nil {
			return err
		}
		return l.end(tx, `ciphertext = $1, key_id = $2, version = $3, expires_at = $4, refresh_at = $5, attempts = 0, last_error = ''`,
			h.sealed, h.KeyID, h.Version, store.Micros(h.ExpiresAt), store.Micros(h.RefreshAt))
	})
	return h, err
}

// failed notes that the provider gave nothing, and gives the error that callers are told. A grant that has ended is final;
// everything else is tried again after a pause.
func (v *Vault) failed(ctx context.Context, l *lease, cause error) error {
	code := codeOf(cause)
	note := func(tx *store.Tx) error { return l.rest(tx, cause) }
	if code == failGrant || code == failEnded {
		cause, note = ErrBroken, func(tx *store.Tx) error { return l.breakOff(tx, code) }
	}
	err := v.persist(ctx, note)
	if errors.Is(err, errTaken) {
		return err
	}
	v.hear("noting that a refresh failed", err)
	return cause
}

func (l *lease) breakOff(tx *store.Tx, code string) error {
	version, err := l.hold(tx)
	if err != nil {
		return err
	}
	if err := (By{}).record(tx, "connection.broken", "failed", l.Connection, code); err != nil {
		return err
	}
	return l.end(tx, `state = 'broken', ciphertext = '', key_id = '', expires_at = NULL, refresh_at = NULL, version = $1,
		attempts = attempts + 1, last_error = $2`, version+1, code)
}

func (l *lease) rest(tx *store.Tx, cause error) error {
	if _, err := l.hold(tx); err != nil {
		return err
	}
	code := codeOf(cause)
	if err := (By{}).record(tx, "connection.refresh_failed", "failed", l.Connection, code); err != nil {
		return err
	}
	var f *Failure
	var asked time.Duration
	if errors.As(cause, &f) {
		asked = f.After
	}
	return l.end(tx, `attempts = $1, last_error = $2, refresh_at = $3`,
		l.Attempts+1, code, store.Micros(tx.Now.Add(pause(l.Attempts+1, asked))))
}

// hold locks the leased row and gives its version, or errTaken when the connection is no longer ours to change.
func (l *lease) hold(tx *store.Tx) (version int64, err error) {
	if err := tx.Lock(`SELECT id FROM connections WHERE id = $1`, l.ID); err != nil {
		return 0, err
	}
	err = tx.QueryRow(`SELECT version FROM connections WHERE id = $1 AND lease_owner = $2 AND state = 'connected'`, l.ID, l.owner).Scan(&version)
	if errors.Is(err, store.ErrNotFound) {
		err = errTaken
	}
	return version, err
}

// end changes the leased row and gives the lease back.
func (l *lease) end(tx *store.Tx, set string, args ...any) error {
	q := `UPDATE connections SET ` + set + `, lease_owner = '', lease_until = NULL, updated_at = ` + place(len(args)+1) +
		` WHERE id = ` + place(len(args)+2) + ` AND lease_owner = ` + place(len(args)+3) + ` AND state = 'connected'`
	n, err := tx.Exec(q, append(args, store.Micros(tx.Now), l.ID, l.owner)...)
	if err == nil && n == 0 {
		err = errTaken
	}
	return err
}

// drop gives tokens back that came for a connection which has ended meanwhile. Where the connection stands, they are in it: a
// commit can reach the database although its connection broke, and what is stored again is then found stored.
func (v *Vault) drop(ctx context.Context, l *lease, g granted) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime) // the slot is ours still
	defer cancel()
	p := v.providers[l.Provider]
	stands, err := v.anything(ctx, `SELECT 1 FROM connections WHERE id = $1 AND state = 'connected'`, l.ID)
	if err != nil || stands || p.RevokeURL == "" {
		return
	}
	v.hear("giving back tokens of a connection that ended", p.revoke(ctx, g.tokens))
}

// times says when an access token ends and when it is renewed: ahead of its end by refresh_ahead or half of its life,
// whichever is shorter, and up to half as much again earlier, so that what was connected together is not renewed together.
func (p *provider) times(now time.Time, g granted) (expires, refresh time.Time) {
	life := g.lifetime
	if life == 0 {
		if g.Refresh == "" {
			return time.Time{}, time.Time{}
		}
		life = unsaid
	}
	expires = now.Add(life)
	if g.Refresh == "" {
		return expires, time.Time{}
	}
	ahead := min(p.RefreshAhead, life/2)
	return expires, expires.Add(-ahead - jitter(ahead/2))
}
