package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// The second part of the bench: what a key costs among few and among very many. Calls go to the one database and the other in turn, so that
// the ratio holds on a noisy machine.

const (
	fewKeys   = 10
	manyKeys  = 1_000_000
	known     = 1000 // of the many, whose secrets are used; they stand all over the indexes, since those are by hash
	keyRounds = 5
	perRound  = 1000 // calls
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

// measureKeys prints a table for both engines.
func measureKeys(ctx context.Context) error {
	pg, err := storetest.Launch(true)
	if err != nil {
		return err
	}
	defer pg.Remove() //nolint:errcheck // a temporary server
	other, err := storetest.Launch(true)
	if err != nil {
		return err
	}
	defer other.Remove() //nolint:errcheck // as above
	dir, err := os.MkdirTemp("", "dtcgate-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("| engine | call | %d keys: min · median · max of %d rounds | %d keys | ratio of the medians |\n|--|--|--|--|--|\n", fewKeys, keyRounds, manyKeys)
	for _, engine := range []struct{ name, few, many string }{
		{"SQLite", filepath.Join(dir, "few.db"), filepath.Join(dir, "many.db")}, {"PostgreSQL", pg.DSN, other.DSN},
	} {
		if err := measureKeysOn(ctx, engine.name, engine.few, engine.many); err != nil {
			return fmt.Errorf("%s: %w", engine.name, err)
		}
	}
	return nil
}

func measureKeysOn(ctx context.Context, engine, few, many string) error {
	small, err := newKeyring(ctx, few, fewKeys)
	if err != nil {
		return err
	}
	defer small.db.Close()
	large, err := newKeyring(ctx, many, manyKeys)
	if err != nil {
		return err
	}
	defer large.db.Close()
	both := []*keyring{small, large}
	for _, c := range keyCalls {
		var took [2][]time.Duration
		for round := range keyRounds + 1 {
			p50, err := c.time(ctx, both, round)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			for i := range both {
				if round > 0 { // the first one warms
					took[i] = append(took[i], p50[i])
				}
			}
		}
		slices.Sort(took[0])
		slices.Sort(took[1])
		fmt.Printf("| %s | %s | %s | %s | %.2f |\n", engine, c.name, spread(took[0]), spread(took[1]),
			float64(took[1][keyRounds/2])/float64(took[0][keyRounds/2]))
	}
	return nil
}

func spread(sorted []time.Duration) string {
	return fmt.Sprintf("%s · %s · %s", micros(sorted[0]), micros(sorted[len(sorted)/2]), micros(sorted[len(sorted)-1]))
}

// time gives the medians of a round of calls, each with another key, on one keyring and the other in turn.
func (c keyCall) time(ctx context.Context, both []*keyring, round int) (p50 [2]time.Duration, err error) {
	var times [2][]time.Duration
	for n := range perRound {
		for i, k := range both {
			secret := k.secrets[(round*perRound+n*7)%len(k.secrets)]
			started := time.Now()
			if err := c.do(ctx, k, secret); err != nil {
				return p50, err
			}
			times[i] = append(times[i], time.Since(started))
		}
	}
	for i := range both {
		slices.Sort(times[i])
		p50[i] = times[i][perRound/2]
	}
	return p50, nil
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
