package gate

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// used counts how often principals were let through and turned away, and how often calls of agents succeeded, since it was last written down,
// which is once a second: a call pays a few additions in memory for it. A call counts for every token and key of its chain, so that a key shows what was done
// with all that was given on from it; for the person above only what they do themselves.
type used struct {
	mu      sync.Mutex
	counted map[principal]tally
}

type tally struct {
	auth.Used
	successes int64 // of an agent at the root of a chain: what it earns trust by
}

type principal struct{ id, merchant string }

func newUsed() used { return used{counted: map[principal]tally{}} }

// count adds to the counts of p's chain. A caller that does not stand in the database is not counted.
func (u *used) count(p auth.Principal, more auth.Used) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, l := range p.Links {
		if i == 0 || l.Kind != auth.KindPerson {
			u.add(principal{l.ID, p.Merchant}, tally{Used: more})
		}
	}
}

// succeeded counts a call of p that was carried out.
func (u *used) succeeded(p auth.Principal) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if root := p.Root().ID; root != "" {
		u.add(principal{root, p.Merchant}, tally{successes: 1})
	}
}

// countOne adds to the counts of one that is named as in a chain, such as key:key_…; "" is nobody.
func (u *used) countOne(merchant, who string, more auth.Used) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, id, ok := strings.Cut(who, ":"); ok {
		u.add(principal{id, merchant}, tally{Used: more})
	}
}

func (u *used) add(p principal, more tally) {
	n := u.counted[p]
	n.Uses, n.Refusals, n.successes = n.Uses+more.Uses, n.Refusals+more.Refusals, n.successes+more.successes
	if more.LastUsedAt.After(n.LastUsedAt) {
		n.LastUsedAt = more.LastUsedAt
	}
	u.counted[p] = n
}

// take gives what was counted and begins anew.
func (u *used) take() map[principal]tally {
	u.mu.Lock()
	defer u.mu.Unlock()
	counted := u.counted
	u.counted = map[principal]tally{}
	return counted
}

// giveBack counts again what could not be written down.
func (u *used) giveBack(counted map[principal]tally) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for p, n := range counted {
		u.add(p, n)
	}
}

// writeUsed writes down what was counted. All processes take the rows in one order.
func (g *Gate) writeUsed(ctx context.Context) error {
	counted := g.used.take()
	if len(counted) == 0 {
		return nil
	}
	byID := slices.SortedFunc(maps.Keys(counted), func(a, b principal) int { return strings.Compare(a.id, b.id) })
	err := g.db.InTx(ctx, func(tx *store.Tx) error {
		for _, p := range byID {
			n := counted[p]
			if err := auth.AddUsage(tx, p.merchant, p.id, n.Used); err != nil {
				return err
			}
			if err := g.writeSuccesses(tx, p, n.successes); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		g.used.giveBack(counted)
	}
	return err
}

// seen counts a request of p that was no call.
func (g *Gate) seen(p auth.Principal, err error) {
	more := auth.Used{Uses: 1, LastUsedAt: g.db.Now().Truncate(time.Microsecond)}
	if err != nil {
		more.Uses, more.Refusals = 0, 1
	}
	g.used.count(p, more)
}
