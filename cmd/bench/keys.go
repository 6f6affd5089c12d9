package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// What a key costs among few and among very many.

const (
	fewKeys = 10
	known   = 1000 // of the many, whose secrets are used; they stand all over the indexes, since those are by hash
)

// A keyring is a database with so many keys.
type keyring struct {
	db      *store.DB
	gate    *gate.Gate
	secrets []string
}

// A keyCall is something that is timed with a key.
type keyCall struct {
	name string
	do   func(ctx context.Context, k *keyring, secret string) error
}

var keyCalls = []keyCall{
	{"the lookup alone", func(ctx context.Context, k *keyring, secret string) error {
		return k.db.Read(ctx, func(tx *store.Tx) error { _, err := auth.Authenticate(tx, secret); return err })
	}},
	{"a whole dtc_whoami", func(ctx context.Context, k *keyring, secret string) error {
		p, err := k.gate.Authenticate(ctx, secret, "127.0.0.1")
		if err == nil {
			_, err = k.gate.Call(ctx, p, gate.Request{Tool: "dtc_whoami", Args: []byte(`{}`), Transport: "rest"})
		}
		return err
	}},
}

func (b *bench) flatKeys(ctx context.Context) error {
	b.flatHead("keys")
	return onEach(func(engine string) error { return b.flatKeysOn(ctx, engine) })
}

func (b *bench) flatKeysOn(ctx context.Context, engine string) error {
	var both [2]*keyring
	for side, n := range []int{fewKeys, b.keys} {
		dsn, end, err := b.database(engine, fmt.Sprint("keys", side))
		if err != nil {
			return err
		}
		defer end()
		if both[side], err = newKeyring(ctx, dsn, n); err != nil {
			return err
		}
		defer both[side].db.Close()
	}
	for _, c := range keyCalls {
		err := b.flatness(ctx, flatness{engine, c.name, between(fewKeys, b.keys, "keys"), b.calls3(1000), func(ctx context.Context, side, n int) (time.Duration, error) {
			k := both[side]
			return timing(func() error { return c.do(ctx, k, k.secrets[n*7%len(k.secrets)]) })
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// newKeyring makes a merchant whose keys are owned by a hundred people, some of them with secrets that we know.
func newKeyring(ctx context.Context, dsn string, n int) (*keyring, error) {
	db, err := store.Open(ctx, dsn)
	if err != nil {
		return nil, err
	}
	registry := tools.NewRegistry(dtc.Tools()...)
	k := &keyring{db: db, gate: gate.New(gate.Config{DB: db, Tools: registry, Log: zerolog.Nop()})}
	err = db.Bulk(ctx, func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, "bench")
		if err != nil {
			return err
		}
		if err := policytest.Install(tx, m.ID); err != nil {
			return err
		}
		var owners []string
		for i := range 100 {
			p, _, err := auth.AddPerson(tx, m.ID, fmt.Sprint("owner ", i), "manager")
			if err != nil {
				return err
			}
			owners = append(owners, p.ID)
		}
		for i := range min(n, known) {
			key := auth.Key{Merchant: m.ID, Name: "bench", Profile: "admin", Owner: owners[i%len(owners)], Scopes: []auth.Scope{"orders:read"}, Ceiling: auth.MaxLevel}
			_, secret, err := auth.MintKey(tx, key)
			if err != nil {
				return err
			}
			k.secrets = append(k.secrets, secret)
		}
		return fillKeys(tx, m.ID, owners, n-len(k.secrets))
	})
	if err == nil {
		err = db.Bulk(ctx, func(tx *store.Tx) error { _, err := tx.Exec("ANALYZE"); return err })
	}
	return k, err
}

// fillKeys stores n keys that nobody has.
func fillKeys(tx *store.Tx, merchant string, owners []string, n int) error {
	cols := []string{"id", "merchant_id", "name", "secret_sha256", "hint", "scopes", "requires_approval", "ceiling", "created_at", "actions", "owner_id"}
	const chunk = 10_000
	for ; n > 0; n -= chunk {
		rows := make([][]any, min(n, chunk))
		for i := range rows {
			var sum [32]byte
			_, _ = rand.Read(sum[:])
			rows[i] = []any{
				store.NewID("key", tx.Now), merchant, "bench", hex.EncodeToString(sum[:]), "sq_agt_…", `["orders:read"]`, 0, "L7",
				store.Micros(tx.Now), "[]", owners[i%len(owners)],
			}
		}
		if err := tx.Insert("agent_keys", cols, rows); err != nil {
			return err
		}
	}
	return nil
}
