package vault

import (
	"errors"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

func (r *rig) kept(id string) (text string, err error) {
	r.t.Helper()
	err = r.db.Read(r.t.Context(), func(tx *store.Tx) error {
		raw, err := r.keys.Reveal(tx, r.person.Merchant, id)
		text = string(raw)
		return err
	})
	return text, err
}

func (r *rig) keep(id, text string) {
	r.t.Helper()
	err := r.db.InTx(r.t.Context(), func(tx *store.Tx) error { return r.keys.Keep(tx, r.person.Merchant, id, []byte(text)) })
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestASecretOutlivesTheMasterKeyItWasSealedWith(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		r.keep("whk_1", "first")
		r.keep("whk_1", "second")
		for range 3 {
			done, err := r.RotateKey(t.Context(), By{Principal: auth.OperatorPrincipal(""), Transport: "cli"})
			if err != nil || done.Resealed != 1 {
				t.Fatalf("%+v, %v", done, err)
			}
			r.forward(rotationTime)
			if text, err := r.kept("whk_1"); err != nil || text != "second" {
				t.Errorf("%q, %v", text, err)
			}
		}
	})
}

// Whoever can write the database cannot make one secret of another, nor an older one of a newer.
func TestASecretOpensInItsOwnRowOnly(t *testing.T) {
	for name, swap := range map[string]string{
		"another's":   `UPDATE vault_secrets SET ciphertext = (SELECT ciphertext FROM vault_secrets WHERE id = 'whk_2') WHERE id = 'whk_1'`,
		"another age": `UPDATE vault_secrets SET version = version + 1 WHERE id = 'whk_1'`,
		"no text":     `UPDATE vault_secrets SET ciphertext = 'x' WHERE id = 'whk_1'`,
	} {
		t.Run(name, func(t *testing.T) {
			on(t, nil, func(t *testing.T, r *rig) {
				r.keep("whk_1", "one")
				r.keep("whk_2", "two")
				err := r.db.InTx(t.Context(), func(tx *store.Tx) error {
					_, err := tx.Exec(swap)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				if text, err := r.kept("whk_1"); !errors.Is(err, ErrSealed) {
					t.Errorf("%q, %v", text, err)
				}
			})
		})
	}
}
