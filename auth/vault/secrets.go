package vault

import (
	"errors"
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// A secret is a text that is nobody's grant and has to be had in clear again, such as what webhooks are signed with. It has the id of what it
// belongs to, and is sealed, bound to its row and sealed anew as tokens are.
type storedSecret struct {
	id, merchant, sealed, keyID string
	version                     int64
}

func (s storedSecret) binding() []byte {
	return binding("secret", s.merchant, s.id, fmt.Sprint(s.version))
}

func (s *storedSecret) seal(r *ring, text []byte) (err error) {
	s.keyID = r.primary
	s.sealed, err = r.seal(text, s.binding())
	return err
}

func (s storedSecret) open(k *Keys) ([]byte, error) {
	r, err := k.with(s.keyID)
	if err != nil {
		return nil, err
	}
	return r.unseal(s.sealed, s.binding())
}

const secretColumns = `id, merchant_id, ciphertext, key_id, version`

func scanSecret(r store.Row) (s storedSecret, err error) {
	return s, r.Scan(&s.id, &s.merchant, &s.sealed, &s.keyID, &s.version)
}

func findSecret(tx *store.Tx, merchant, id string) (storedSecret, error) {
	return store.One(tx, scanSecret, `SELECT `+secretColumns+` FROM vault_secrets WHERE merchant_id = $1 AND id = $2`, merchant, id)
}

// Keep seals the secret of what has an id, in place of the one before.
func (k *Keys) Keep(tx *store.Tx, merchant, id string, text []byte) error {
	if err := tx.Lock(`SELECT id FROM vault_secrets WHERE id = $1`, id); err != nil {
		return err
	}
	s, err := findSecret(tx, merchant, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("reading a secret: %w", err)
	}
	r, err := k.now()
	if err != nil {
		return err
	}
	s.id, s.merchant, s.version = id, merchant, s.version+1
	if err := s.seal(r, text); err != nil {
		return err
	}
	n, err := tx.Exec(`INSERT INTO vault_secrets (id, merchant_id, ciphertext, key_id, version) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET ciphertext = excluded.ciphertext, key_id = excluded.key_id, version = excluded.version
		WHERE vault_secrets.merchant_id = $2 AND vault_secrets.version = $6`, s.id, s.merchant, s.sealed, s.keyID, s.version, s.version-1)
	if err != nil || n != 1 {
		return fmt.Errorf("storing a secret: %w", errors.Join(err, errTaken))
	}
	return nil
}

// Reveal gives the secret of what has an id. One that no key at hand opens is ErrSealed; one that is not there is store.ErrNotFound.
func (k *Keys) Reveal(tx *store.Tx, merchant, id string) ([]byte, error) {
	s, err := findSecret(tx, merchant, id)
	if err != nil {
		return nil, fmt.Errorf("reading a secret: %w", err)
	}
	return s.open(k)
}

// Drop does away with the secret of what has an id, if there is one.
func Drop(tx *store.Tx, merchant, id string) error {
	if _, err := tx.Exec(`DELETE FROM vault_secrets WHERE merchant_id = $1 AND id = $2`, merchant, id); err != nil {
		return fmt.Errorf("dropping a secret: %w", err)
	}
	return nil
}

// resealSecrets is resealConnections for secrets.
func (v *Vault) resealSecrets(tx *store.Tx, keys *ring, after string) (seen, ok int, last string, err error) {
	const which = ` FROM vault_secrets WHERE key_id <> $1 AND id > $2 ORDER BY id LIMIT $3`
	if err := tx.Lock(`SELECT id`+which, keys.primary, after, sealStep); err != nil {
		return 0, 0, after, err
	}
	rows, err := store.All(tx, scanSecret, `SELECT `+secretColumns+which, keys.primary, after, sealStep)
	if err != nil {
		return 0, 0, after, err
	}
	for _, s := range rows {
		after = s.id
		text, err := s.open(v.keys)
		if errors.Is(err, ErrSealed) {
			continue
		}
		if err == nil {
			s.version++
			err = s.seal(keys, text)
		}
		if err != nil {
			return 0, 0, after, err
		}
		n, err := tx.Exec(`UPDATE vault_secrets SET ciphertext = $1, key_id = $2, version = $3 WHERE id = $4 AND version = $5`,
			s.sealed, s.keyID, s.version, s.id, s.version-1)
		if err != nil {
			return 0, 0, after, err
		}
		ok += int(n)
	}
	return len(rows), ok, after, nil
}
