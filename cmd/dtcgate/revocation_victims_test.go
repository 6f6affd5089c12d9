package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// An admin makes victims and takes their rights away, beside the servers on their database.
type admin struct {
	*gate.Gate
	db       *store.DB
	merchant string
	made     atomic.Int64
	again    atomic.Int64 // changes that were asked for once more
}

func newAdmin(t *testing.T, dsn, merchant string) *admin {
	db := storetest.Open(t, dsn)
	return &admin{Gate: gate.New(gate.Config{DB: db, Tools: registry, Log: zerolog.Nop()}), db: db, merchant: merchant}
}

// change makes a change to who may do what, and returns when it is acknowledged. On SQLite the writers of other processes may keep it
// from the file for longer than a transaction waits; then it is told so, and asks again.
func (a *admin) change(ctx context.Context, change func(*store.Tx) error) error {
	by := gate.By{Principal: auth.OperatorPrincipal(a.merchant), Transport: "cli"}
	for {
		_, err := gate.Administer(ctx, a.Gate, by, gate.Op{Event: "test.changed", Scope: auth.KeysAdmin},
			func(tx *store.Tx, _ auth.Principal) (struct{}, audit.Entry, error) {
				return struct{}{}, audit.Entry{}, change(tx)
			})
		if refusal := (*tools.Refusal)(nil); !errors.As(err, &refusal) || refusal.Code != tools.Unavailable || ctx.Err() != nil {
			return err
		}
		a.again.Add(1)
	}
}

const scopesOfVictims = `["approvals:resolve","marketing:write","orders:read"]`

// rights are what a victim's agents use, and what is left of it when some is stripped.
var rights, remains = []auth.Scope{"marketing:write", "orders:read"}, `["catalog:read"]`

// victim makes a person with a role, a key of the person, a sub-token of the key and one of that.
func (a *admin) victim(ctx context.Context) (*victim, error) {
	n := int(a.made.Add(1))
	name := fmt.Sprint("victim", n)
	v := &victim{used: make(chan struct{}), tried: make(chan struct{})}
	var owner, key string
	var subs []string
	err := a.change(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`INSERT INTO roles (merchant_id, name, scopes) VALUES ($1, $2, $3)`, a.merchant, name, scopesOfVictims); err != nil {
			return err
		}
		person, token, err := auth.AddPerson(tx, a.merchant, name, name)
		if err != nil {
			return err
		}
		k, secret, err := auth.MintKey(tx, auth.Key{Merchant: a.merchant, Name: name, Owner: person.ID, Profile: "free", Scopes: rights, Ceiling: auth.MaxLevel, Depth: 2})
		if err != nil {
			return err
		}
		owner, key = person.ID, k.ID
		v.person, v.agents = &party{ID: owner, Token: token}, []*party{{ID: key, Secret: secret}}
		for depth := range 2 {
			p, err := subToken(tx, a.merchant, v.agents[depth].ID, 1-depth)
			if err != nil {
				return err
			}
			v.agents, subs = append(v.agents, p), append(subs, p.ID)
		}
		return nil
	})
	if err == nil {
		a.plan(ctx, v, n, owner, key, subs)
	}
	return v, err
}

// plan decides how the victim's rights will be taken away. Agents who would keep theirs are not among its callers.
func (a *admin) plan(ctx context.Context, v *victim, n int, owner, key string, subs []string) {
	for i, w := range []struct {
		kind  string
		spare int // agents at the upper end of the chain who keep their rights
		hits  bool
		do    func(*store.Tx) error
	}{
		{"the key is revoked", 0, false, func(tx *store.Tx) error { return auth.RevokeKey(tx, a.merchant, key) }},
		{"the upper sub-token is revoked", 1, false, func(tx *store.Tx) error {
			return revokeSub(tx, a.merchant, key, subs[0])
		}},
		{"the lower sub-token is revoked", 2, false, func(tx *store.Tx) error {
			return revokeSub(tx, a.merchant, key, subs[1])
		}},
		{"the key loses its scopes", 0, false, func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE agent_keys SET scopes = $1, version = version + 1 WHERE id = $2`, remains, key)
			return err
		}},
		{"the upper sub-token loses its scopes", 1, false, func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE sub_tokens SET scopes = $1, version = version + 1 WHERE id = $2`, remains, subs[0])
			return err
		}},
		{"the owner is disabled", 0, true, func(tx *store.Tx) error { return auth.RevokePerson(tx, a.merchant, owner) }},
		{"the owner loses the role", 0, true, func(tx *store.Tx) error { return auth.GiveRoles(tx, a.merchant, owner, nil) }},
		{"the role loses its scopes", 0, true, func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE roles SET scopes = $1 WHERE merchant_id = $2 AND name = $3`, remains, a.merchant, "victim"+strconv.Itoa(n))
			return err
		}},
	} {
		if i == n%8 {
			v.kind, v.hits, v.agents = w.kind, w.hits, v.agents[w.spare:]
			v.do = func() error { return a.change(ctx, w.do) }
		}
	}
}

// subToken gives a sub-token of a parent with all rights of victims, which may give as many as depth says below it.
func subToken(tx *store.Tx, merchant, parent string, depth int) (*party, error) {
	p, err := auth.HoldLive(tx, merchant, parent)
	if err != nil {
		return nil, err
	}
	t, secret, err := auth.MintSubToken(tx, p, auth.Delegation{Name: "sub", Scopes: []string{"marketing:write", "orders:read"}, Depth: depth})
	return &party{ID: t.ID, Secret: secret}, err
}

// revokeSub has a key revoke what it, or somebody below it, has given.
func revokeSub(tx *store.Tx, merchant, key, id string) error {
	p, err := auth.HoldLive(tx, merchant, key)
	if err == nil {
		_, err = auth.RevokeSubToken(tx, p, id)
	}
	return err
}

// percentile of durations; 0 of none.
func percentile(all []time.Duration, p int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)-1)*p/100].Round(100 * time.Microsecond)
}
