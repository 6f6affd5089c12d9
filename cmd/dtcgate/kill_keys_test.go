package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// Keys that are minted and revoked under load, while servers are killed.

// What an admin does about keys, as the ledger names it.
const (
	mint   = "mint"
	revoke = "revoke"
)

const keysPath = "/api/v1/admin/v1/keys"

// A mintedKey is a key of whose minting the rig was told.
type mintedKey struct {
	party
	revoked atomic.Bool // and that acknowledged
}

// mint makes a key, which takes an admin.
func (k *caller) mint() bool {
	if k.Name != "cyd" {
		return k.list()
	}
	k.keys++
	return k.ask(&call{tool: mint, path: keysPath, args: map[string]any{
		"name": fmt.Sprintf("minted-%s-%d", k.name, k.keys), "profile": freeKey, "scopes": []string{"orders:read"}, "owner_id": k.ID,
	}})
}

// revoke ends a key that was minted.
func (k *caller) revoke() bool {
	key := k.book.key(k.rng)
	if key == nil || k.Name != "cyd" {
		return k.mint()
	}
	return k.ask(&call{tool: revoke, path: keysPath + "/" + key.ID, verb: http.MethodDelete, about: key.ID, args: map[string]any{}})
}

// useMinted reads with a key that was minted, and may be revoked by now.
func (k *caller) useMinted() bool {
	key := k.book.key(k.rng)
	if key == nil {
		return k.read()
	}
	c := k.by("dtc_search_orders", map[string]any{"limit": 1})
	c.who, c.late = &key.party, key.revoked.Load()
	return k.ask(c)
}

// noteKey learns from the answer to what an admin did about a key.
func (l *ledger) noteKey(c *call) {
	if !c.ok() || c.tool != mint && c.tool != revoke {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.tool == revoke {
		for _, key := range l.keys {
			if key.ID == c.about {
				key.revoked.Store(true)
			}
		}
		return
	}
	key := &mintedKey{}
	if err := json.Unmarshal(c.body, &key.party); err != nil || key.Secret == "" {
		l.wrong = append(l.wrong, fmt.Sprintf("a key without a secret: %v: %v", c, err))
		return
	}
	l.keys = append(l.keys, key)
}

// recentKeys is how many of the keys are in use: late ones soon find none that was not revoked otherwise.
const recentKeys = 8

func (l *ledger) key(rng *rand.Rand) *mintedKey {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.keys) == 0 {
		return nil
	}
	recent := l.keys[max(0, len(l.keys)-recentKeys):]
	return recent[rng.IntN(len(recent))]
}

// unknown reports whether a caller was turned away as a stranger, who is counted by the minute and not put on record one by one.
func (c *call) unknown() bool { return c.code == string(tools.Unauthorized) }

// A keyRow is a key of agents.
type keyRow struct {
	revoked bool
}

func keysKept(tx *store.Tx) (map[string]keyRow, error) {
	keys := map[string]keyRow{}
	_, err := store.All(tx, func(r store.Row) (struct{}, error) {
		var id string
		var revoked int64
		err := r.Scan(&id, &revoked)
		keys[id] = keyRow{revoked: revoked > 0}
		return struct{}{}, err
	}, `SELECT id, COALESCE(revoked_at, 0) FROM agent_keys`)
	return keys, err
}

// keysAreKept is C4: a key whose minting was acknowledged is there, one whose revocation was stays revoked, and both are on record, once.
func (c *checker) keysAreKept() {
	told := map[string]int{}
	for _, e := range c.entries {
		if e.Event == "key.minted" || e.Event == "key.revoked" {
			told[e.Event+" "+e.Resource]++
		}
	}
	for _, k := range c.calls {
		switch {
		case k.ok() && k.tool == mint:
			id := k.keyID()
			if _, there := c.keys[id]; !there || told["key.minted key:"+id] != 1 {
				c.find("C4", "the key %s is lost, or %d times on record", id, told["key.minted key:"+id])
			}
		case k.ok() && k.tool == revoke:
			if !c.keys[k.about].revoked || told["key.revoked key:"+k.about] != 1 {
				c.find("C4", "the revocation of %s is lost, or %d times on record", k.about, told["key.revoked key:"+k.about])
			}
		}
	}
}

// keyID is the id of the key that a call has minted.
func (c *call) keyID() string {
	var p party
	_ = json.Unmarshal(c.body, &p) // what has no id is not found
	return p.ID
}

// nothingAfterRevocation is C5: no call is allowed that was sent after its key's revocation had been acknowledged.
func (c *checker) nothingAfterRevocation() {
	for _, k := range c.calls {
		if k.late && k.ok() {
			c.find("C5", "its key was revoked before it was sent: %v", k)
		}
	}
}
