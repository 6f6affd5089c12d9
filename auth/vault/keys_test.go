package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

func TestTheFirstStartMakesAKeyThatOnlyItsOwnerReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.key")
	first, err := OpenKeys("", path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	again, err := OpenKeys("", path)
	if err != nil || again.ring.primary != first.ring.primary {
		t.Errorf("the second start has another key: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys("", path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that everybody may read: %v", err)
	}
}

func TestKeysThatAreNoneAreRefusedWithoutBeingRepeated(t *testing.T) {
	short := base64.StdEncoding.EncodeToString([]byte(planted + " too short"))
	good := newKey()
	for name, text := range map[string]string{
		"not base64":     planted + "*",
		"too short":      short,
		"a good and bad": good + "," + short,
		"twice":          good + "," + good,
		"only a comment": "# " + planted,
		"too many":       strings.Repeat(newKey()+",", 1) + strings.Join(manyKeys(maxKeys), ","),
	} {
		_, err := OpenKeys(text, "")
		if err == nil || strings.Contains(err.Error(), planted) || strings.Contains(err.Error(), short) || strings.Contains(err.Error(), good) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenKeys(strings.Join(manyKeys(3), " , \n"), ""); err != nil {
		t.Error(err)
	}
}

func manyKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = newKey()
	}
	return keys
}

// many connects n people of the shop, in fewer steps than browsers take.
func (r *rig) many(t *testing.T, n int) []Connection {
	t.Helper()
	all := make([]Connection, n)
	keys, err := r.keys.now()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		p := someone(t, r.db, "shop", fmt.Sprintf("person %d", i))
		err := r.db.InTx(t.Context(), func(tx *store.Tx) (err error) {
			g := granted{tokens: tokens{Access: fmt.Sprint("access ", i), Refresh: "refresh"}, lifetime: 24 * time.Hour}
			all[i], err = keep(tx, by(p), r.providers["acme"], keys, g, tx.Now)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// opens checks that every connection gives its own token, asked through v.
func opens(t *testing.T, v *Vault, all []Connection) {
	t.Helper()
	for i, c := range all {
		access, _, err := v.Token(t.Context(), c.Merchant, c.Person, "acme")
		if want := fmt.Sprint("access ", i); err != nil || access != want {
			t.Fatalf("%d gives %q: %v", i, access, err)
		}
	}
}

func (r *rig) under(t *testing.T, key string) (n int) {
	t.Helper()
	err := r.db.Read(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT COUNT(*) FROM connections WHERE key_id = $1`, key).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var operator = By{Principal: auth.OperatorPrincipal(""), Transport: "cli"}

func TestARotationSealsEverythingUnderTheNewKey(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		all := r.many(t, 2*sealStep+7)
		running := r.process(r.db, r.as.describes(t, "acme")) // has read the keys before
		before := r.keys.ring.primary
		done, err := r.RotateKey(t.Context(), operator)
		if err != nil || done.Resealed != len(all) || done.Unopened != 0 || !done.Added || done.KeyID == before {
			t.Fatalf("%+v %v", done, err)
		}
		if n := r.under(t, done.KeyID); n != len(all) {
			t.Errorf("%d of %d are under the new key", n, len(all))
		}
		opens(t, running, all)
		opens(t, r.process(r.db, r.as.describes(t, "acme")), all)
		want := []string{"vault.key_added", "vault.key_rotated"}
		if diff := cmp.Diff(want, r.recorded()[len(all):]); diff != "" {
			t.Error(diff)
		}
		// One rotation later the first key is forgotten, and the one between is kept for stragglers.
		if _, err := r.RotateKey(t.Context(), operator); !errors.Is(err, ErrRotating) {
			t.Errorf("while a refresh may hold the first: %v", err)
		}
		r.forward(leaseTime)
		again, err := r.RotateKey(t.Context(), operator)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{again.KeyID, done.KeyID}, r.keys.ring.ids); diff != "" {
			t.Error(diff)
		}
		opens(t, running, all)
	})
}

func TestARotationThatIsKilledHalfWayLeavesNothingClosed(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		all := r.many(t, 2*sealStep+7)
		old := r.keys.ring.primary
		ctx, kill := contextOf(t)
		sealed := 0
		watched := store.Watch(ctx, func(q string, _ []any) {
			if strings.HasPrefix(q, "UPDATE connections SET ciphertext") {
				if sealed++; sealed == sealStep+sealStep/2 { // in the middle of the second step
					kill()
				}
			}
		})
		if _, err := r.RotateKey(watched, operator); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		next := r.process(r.db, r.as.describes(t, "acme")) // the next process
		now := next.keys.ring.primary
		if a, b := r.under(t, old), r.under(t, now); a != sealStep+7 || b != sealStep {
			t.Errorf("%d under the old key, %d under the new", a, b)
		}
		opens(t, next, all)
		next.pass(t.Context())
		if n := r.under(t, now); n != len(all) {
			t.Errorf("the next process sealed %d of %d", n, len(all))
		}
		opens(t, next, all)
	})
}

func TestARowOfAnOldKeyIsSealedAnewByTheTimer(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		stale, err := r.keys.now() // a server that is about to store what it sealed
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.RotateKey(t.Context(), operator); err != nil {
			t.Fatal(err)
		}
		c := r.connect(r.person)
		row := r.row(c.ID)
		access, _ := row.open(r.keys)
		if err := row.seal(stale, access); err != nil {
			t.Fatal(err)
		}
		r.exec(`UPDATE connections SET ciphertext = $1, key_id = $2 WHERE id = $3`, row.sealed, row.KeyID, row.ID)
		if _, err := r.token(); err != nil {
			t.Error(err)
		}
		r.pass(t.Context())
		if got := r.row(c.ID); got.KeyID != r.keys.ring.primary {
			t.Errorf("it is under %s", got.KeyID)
		}
	})
}

func TestARotationDuringARefreshLosesNoToken(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		c := r.connect(r.person)
		r.forward(time.Hour)
		r.as.meanwhile(func() {
			r.as.meanwhile(nil)
			if _, err := r.RotateKey(t.Context(), operator); err != nil {
				t.Error(err)
			}
		})
		access, err := r.token()
		if err != nil || !r.as.good(access) {
			t.Fatal(err)
		}
		if row := r.row(c.ID); row.Version != 3 || row.State != Connected {
			t.Errorf("%s at version %d", row.State, row.Version)
		}
		if again, err := r.token(); err != nil || again != access {
			t.Error(err)
		}
	})
}

func TestOneRotationRunsAtATime(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		unlock, err := r.lockKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.RotateKey(t.Context(), operator); !errors.Is(err, ErrRotating) {
			t.Error(err)
		}
		unlock()
		r.forward(leaseTime)
		if _, err := r.RotateKey(t.Context(), operator); err != nil {
			t.Error(err)
		}
	})
}

func TestKeysInTheEnvironmentAreChangedThere(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		all := r.many(t, 3)
		file, err := os.ReadFile(r.path)
		if err != nil {
			t.Fatal(err)
		}
		old, _ := parseKeys(string(file))
		keys, err := OpenKeys(newKey()+","+base64.StdEncoding.EncodeToString(old[0]), "")
		if err != nil {
			t.Fatal(err)
		}
		v, err := New(Config{DB: r.db, Keys: keys, Providers: []Provider{r.as.describes(t, "acme")}})
		if err != nil {
			t.Fatal(err)
		}
		done, err := v.RotateKey(t.Context(), operator)
		if err != nil || done.Added || done.Resealed != 3 || done.KeyID != keys.ring.primary {
			t.Errorf("%+v %v", done, err)
		}
		opens(t, v, all)
		if _, _, err := r.Token(t.Context(), all[0].Merchant, all[0].Person, "acme"); !errors.Is(err, ErrSealed) {
			t.Errorf("without the new key: %v", err)
		}
	})
}
