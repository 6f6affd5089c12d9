package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// sealStep is how many connections, or secrets, are sealed anew in one transaction.
const sealStep = 50

// A Rotation tells what came of RotateKey.
type Rotation struct {
	KeyID    string `json:"key_id"`   // seals from now on
	Added    bool   `json:"added"`    // false: the keys stand in the environment, and the first of them was used
	Resealed int    `json:"resealed"` // connections and secrets
	Unopened int    `json:"unopened"` // those that no key at hand opens
}

// RotateKey puts a new master key in front of those in the file and seals all connections and secrets under it, in steps. Interrupted, it
// leaves nothing that does not open: the next Run or RotateKey goes on. Keys in the environment are changed there.
func (v *Vault) RotateKey(ctx context.Context, by By) (Rotation, error) {
	var done Rotation
	unlock, err := v.lockKeys(ctx)
	if err != nil {
		return done, err
	}
	defer unlock()
	if done.Added = v.keys.path != ""; done.Added {
		if err := v.addKey(ctx, by); err != nil {
			return done, err
		}
	}
	now, err := v.keys.now()
	if err != nil {
		return done, err
	}
	done.KeyID = now.primary
	done.Resealed, done.Unopened, err = v.Reseal(ctx)
	if err != nil {
		return done, err
	}
	return done, v.recordKey(ctx, by, "vault.key_rotated", done.KeyID, done.Resealed)
}

// addKey puts a new key in front. First comes the record: a key that nobody recorded would be worse than a record of one
// that was not made.
func (v *Vault) addKey(ctx context.Context, by By) error {
	before, err := v.keys.now()
	if err != nil {
		return err
	}
	used, err := v.usedKeys(ctx)
	if err != nil {
		return err
	}
	text := newKey()
	added, err := newRing(text)
	if err != nil {
		return err
	}
	if err := v.recordKey(ctx, by, "vault.key_added", added.primary, 0); err != nil {
		return err
	}
	return v.keys.add(text, append(used, before.primary))
}

// Reseal seals every connection and secret under the first master key that is under another, and says how many it did and how many no
// key at hand opens. One that changes meanwhile is left to whoever changes it, or to the next time.
func (v *Vault) Reseal(ctx context.Context) (resealed, unopened int, err error) {
	keys, err := v.keys.now()
	if err != nil {
		return 0, 0, err
	}
	stale, err := v.anything(ctx, `SELECT 1 FROM connections WHERE ciphertext <> '' AND key_id <> $1
		UNION ALL SELECT 1 FROM vault_secrets WHERE key_id <> $1 LIMIT 1`, keys.primary)
	if err != nil || !stale {
		return 0, 0, err
	}
	for _, step := range []sealing{v.resealConnections, v.resealSecrets} {
		ok, no, err := v.resealAll(ctx, keys, step)
		if resealed, unopened = resealed+ok, unopened+no; err != nil {
			return resealed, unopened, fmt.Errorf("sealing under another key: %w", err)
		}
	}
	return resealed, unopened, nil
}

// A sealing seals up to sealStep rows after an id anew, and gives how many it looked at, how many it did, and the last of them.
type sealing func(tx *store.Tx, keys *ring, after string) (seen, ok int, last string, err error)

func (v *Vault) resealAll(ctx context.Context, keys *ring, step sealing) (resealed, unopened int, err error) {
	for after := ""; ; {
		var seen, ok int
		err := v.db.InTx(ctx, func(tx *store.Tx) (err error) {
			seen, ok, after, err = step(tx, keys, after)
			return err
		})
		if err != nil {
			return resealed, unopened, err
		}
		resealed, unopened = resealed+ok, unopened+seen-ok
		if seen < sealStep {
			return resealed, unopened, nil
		}
	}
}

func (v *Vault) resealConnections(tx *store.Tx, keys *ring, after string) (seen, ok int, last string, err error) {
	const which = ` FROM connections WHERE ciphertext <> '' AND key_id <> $1 AND id > $2 ORDER BY id LIMIT $3`
	if err := tx.Lock(`SELECT id`+which, keys.primary, after, sealStep); err != nil {
		return 0, 0, after, err
	}
	rows, err := store.All(tx, scanConnection, `SELECT `+connectionColumns+which, keys.primary, after, sealStep)
	if err != nil {
		return 0, 0, after, err
	}
	for _, c := range rows {
		after = c.ID
		t, err := c.open(v.keys)
		if errors.Is(err, ErrSealed) {
			continue
		}
		if err != nil {
			return 0, 0, after, err
		}
		c.Version++
		if err := c.seal(keys, t); err != nil {
			return 0, 0, after, err
		}
		n, err := tx.Exec(`UPDATE connections SET ciphertext = $1, key_id = $2, version = $3 WHERE id = $4 AND version = $5 AND state = 'connected'`,
			c.sealed, c.KeyID, c.Version, c.ID, c.Version-1)
		if err != nil {
			return 0, 0, after, err
		}
		ok += int(n)
	}
	return len(rows), ok, after, nil
}

func (v *Vault) usedKeys(ctx context.Context) (ids []string, err error) {
	err = v.db.Read(ctx, func(tx *store.Tx) error {
		ids, err = store.All(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) },
			`SELECT key_id FROM connections WHERE ciphertext <> '' UNION SELECT key_id FROM vault_secrets`)
		return err
	})
	return ids, err
}

// add puts a key in front of those in the file of which keep has the ids, and forgets the others.
func (k *Keys) add(text string, keep []string) error {
	file, err := readKeyFile(k.path)
	if err != nil {
		return err
	}
	old, err := parseKeys(file)
	if err != nil {
		return err
	}
	lines := []string{text}
	for _, raw := range old {
		if slices.Contains(keep, keyID(keyNumber(raw))) {
			lines = append(lines, base64.StdEncoding.EncodeToString(raw))
		}
	}
	if len(lines) > maxKeys {
		return fmt.Errorf("there are %d master keys in use; %d are allowed", len(lines), maxKeys)
	}
	err = writeKeyFile(k.path, heading+strings.Join(lines, "\n")+"\n", func(made string) error { return os.Rename(made, k.path) })
	if err != nil {
		return fmt.Errorf("writing the vault's key: %w", err)
	}
	return nil
}

// The lease of the rotation keeps two from writing the file of keys at once: the key of one would be lost. It outlasts the
// rotation by leaseTime: what a refresh that runs seals under the key before is stored by then, and the next rotation sees that the key is
// in use.
const (
	rotationLease = "vault.rotation"
	rotationTime  = 2 * time.Minute
)

// ErrRotating says that the master keys are being changed.
var ErrRotating = errors.New("the vault's keys are being changed, or were within the last minute: try again in two minutes")

func (v *Vault) lockKeys(ctx context.Context) (unlock func(), err error) {
	var owner string
	err = v.db.InTx(ctx, func(tx *store.Tx) error {
		owner = store.NewID("rot", tx.Now)
		n, err := tx.Exec(`INSERT INTO leases (name, owner, until) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE leases.until <= $4`,
			rotationLease, owner, store.Micros(tx.Now.Add(rotationTime)), store.Micros(tx.Now))
		if err == nil && n == 0 {
			err = ErrRotating
		}
		return err
	})
	return func() {
		v.hear("ending the lease of the keys", v.persist(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE leases SET until = $1 WHERE name = $2 AND owner = $3`,
				store.Micros(tx.Now.Add(leaseTime)), rotationLease, owner)
			return err
		}))
	}, err
}

// recordKey puts on record what happened to the master keys, by their ids, which are digests.
func (v *Vault) recordKey(ctx context.Context, by By, event, id string, count int) error {
	return v.db.InTx(ctx, func(tx *store.Tx) error {
		if err := by.hold(tx); err != nil {
			return err
		}
		chain := by.Principal.Chain()
		_, err := audit.Append(tx, audit.Entry{
			Merchant: by.Principal.Merchant, Event: event, Status: "done", Actor: chain[0], Chain: chain,
			Transport: by.Transport, Source: by.Source, Resource: "vault_key:" + id, Count: int64(count),
		})
		return err
	})
}
