package auth

import (
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
)

// maxKnown bounds how many credentials are kept in memory, at a few KB each. Past it all are forgotten and read again.
const maxKnown = 2048

// Known keeps what credentials of agents were found to open, so that a chain is climbed once and not with every request. Nothing of it
// counts by itself: a principal from here was read at a revision of its merchant's rights, and Renew and Hold take it as it is only while
// that is still the revision in the database. What changes rights moves the revision, in the same transaction: triggers do (migration 39), on every
// UPDATE and DELETE in the tables of rights, and on every INSERT of a person's role or a freeze, so that this holds for those that somebody sends by
// hand, too. It does not for what fires no trigger; store.countRevisions says what that is. Its methods may be used concurrently.
type Known struct {
	mu       sync.RWMutex
	bySecret map[string]Principal // by the secret's hash
}

// Authenticate is the function of that name, on a snapshot, with the work of the last time used again where it still holds.
func (k *Known) Authenticate(tx *store.Tx, plain string) (Principal, error) {
	if !secret.WellFormed(secret.Key, plain) && !secret.WellFormed(secret.SubToken, plain) {
		return Authenticate(tx, plain)
	}
	sum := secret.Hash(plain)
	if p, ok := k.find(sum); ok {
		if holds, err := p.holds(tx); holds || err != nil {
			return p, err
		}
	}
	p, err := Authenticate(tx, plain)
	if err != nil {
		k.forget(sum)
		return p, err
	}
	k.keep(sum, p)
	return p, nil
}

// Recall gives what a secret opened when it was last read, without asking the database: for who will Renew or Hold it before anything comes of it.
func (k *Known) Recall(plain string, now time.Time) (Principal, bool) {
	p, ok := k.find(secret.Hash(plain))
	p.recalled = true
	return p, ok && !p.endsBy(now)
}

func (k *Known) find(sum string) (Principal, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	p, ok := k.bySecret[sum]
	return p, ok
}

func (k *Known) keep(sum string, p Principal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bySecret == nil || len(k.bySecret) >= maxKnown {
		k.bySecret = map[string]Principal{}
	}
	k.bySecret[sum] = p
}

func (k *Known) forget(sum string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.bySecret, sum)
}

// holds reports whether p is what it would be found to be if it were read again: no rights at the merchant have changed since, and nothing of
// it has ended with time. It is false where that is not known. p was read on a snapshot, or has no revision; so one statement tells, also in a
// transaction that reads on no snapshot.
func (p Principal) holds(tx *store.Tx) (bool, error) {
	if p.revision == 0 || !p.Agent() || p.endsBy(tx.Now) {
		return false, nil
	}
	now, err := inForceAt(tx, p.Merchant)
	return err == nil && now == (inForce{p.PolicyVersion, p.PolicyShadow, p.revision}), err
}

// endsBy reports whether a link of p, or the secret that opened it, is over at a time.
func (p Principal) endsBy(now time.Time) bool {
	over := func(end time.Time) bool { return !end.IsZero() && !now.Before(end) }
	return over(p.ExpiresAt) || over(p.opensUntil)
}
