package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// rightsChanged are all the ways in which somebody with nothing but SQL can change what an owned key may do.
var rightsChanged = map[string]string{
	"the key is revoked":         `UPDATE agent_keys SET revoked_at = 1`,
	"its scopes":                 `UPDATE agent_keys SET scopes = '["reports:read"]'`,
	"its ceiling":                `UPDATE agent_keys SET ceiling = 'L0'`,
	"its secret":                 `UPDATE agent_keys SET secret_sha256 = 'another'`,
	"its end":                    `UPDATE agent_keys SET expires_at = 1`,
	"its profile":                `UPDATE agent_keys SET profile = 'other'`,
	"its owner is gone":          `UPDATE people SET revoked_at = 1`,
	"its owner lost a role":      `DELETE FROM person_roles`,
	"a role of its owner":        `UPDATE roles SET scopes = '[]'`,
	"the policy in force":        `UPDATE merchants SET policy_version = policy_version + 1`,
	"the shadow of the policy":   `UPDATE merchants SET policy_shadow = 'draft'`,
	"the revision alone":         `UPDATE merchants SET revision = revision + 1`,
	"nothing that is somebody's": `UPDATE people SET email = 'new@example.com'`,
}

// What is kept in memory is never taken for what stands in the database, whoever has changed that.
func TestWhatIsKnownOfACallerEndsWithTheNextChangeOfRights(t *testing.T) {
	for what, change := range rightsChanged {
		storetest.Each(t, func(t *testing.T, db *store.DB) {
			d := newDesk(t, db)
			owner, _ := d.person("Ada", "admin")
			_, secret := d.mint(Key{Name: "bot", Owner: owner.ID, Scopes: []Scope{"orders:read"}, Ceiling: MaxLevel, Profile: "admin"})
			var known Known
			d.known(&known, secret)
			again, err := d.known(&known, secret)
			if err != nil || again.revision == 0 {
				t.Fatalf("%s: the second time: revision %d, %v", what, again.revision, err)
			}
			d.in(func(tx *store.Tx) error {
				_, err := tx.Exec(change)
				return err
			})
			now, err := d.known(&known, secret)
			fresh, freshErr := authenticate(t, db, secret)
			if (err == nil) != (freshErr == nil) {
				t.Fatalf("%s: from memory %v, from the database %v", what, err, freshErr)
			}
			if diff := cmp.Diff(fresh, now, cmpopts.IgnoreUnexported(Principal{}), cmpopts.EquateComparable()); err == nil && diff != "" {
				t.Errorf("%s (-database +memory):\n%s", what, diff)
			}
		})
	}
}

// The tables whose new rows move no revision: what of them would change what somebody may do who was let in before, the database does not take.
func TestAnInsertWithoutATriggerChangesNobodysRights(t *testing.T) {
	const key = `INSERT INTO agent_keys (id, merchant_id, name, secret_sha256, hint, scopes, requires_approval, ceiling, created_at)
		SELECT {id}, merchant_id, name, {secret}, hint, '["*"]', requires_approval, ceiling, created_at FROM agent_keys WHERE name = 'bot'`
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		owner, _ := d.person("Ada", "admin")
		k, secret := d.mint(Key{Name: "bot", Owner: owner.ID, Scopes: []Scope{"orders:read"}, Ceiling: MaxLevel, Profile: "admin", Depth: 1})
		var known Known
		before, err := d.known(&known, secret)
		if err != nil {
			t.Fatal(err)
		}
		d.in(func(tx *store.Tx) error {
			_, _, err := MintSubToken(tx, before, Delegation{Name: "child"})
			return err
		})
		spell := func(id, sum string) string { return strings.NewReplacer("{id}", id, "{secret}", sum).Replace(key) }
		for _, q := range []string{
			spell("id", "'new'"), spell("'key_new'", "secret_sha256"),
			`INSERT INTO sub_tokens SELECT * FROM sub_tokens`,
			`INSERT INTO people SELECT * FROM people`,
			`INSERT INTO roles SELECT merchant_id, name, '["*"]' FROM roles WHERE name = 'admin'`,
			`INSERT INTO person_roles (person_id, merchant_id, role) SELECT id, merchant_id, 'later' FROM people`,
		} {
			err := db.InTx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(q)
				return err
			})
			if !store.IsConstraint(err) {
				t.Errorf("%s: %v, want a refusal by the database", q, err)
			}
		}
		d.in(func(tx *store.Tx) error {
			_, err := tx.Exec(spell("'key_new'", "'new'"))
			return err
		})
		if now, err := d.known(&known, secret); err != nil || now.revision != before.revision || now.ID != k.ID || !now.Same(before) {
			t.Errorf("another key moved the revision or changed this one: %+v, %v", now, err)
		}
	})
}

// known authenticates with a memory, on a snapshot, as the gate does.
func (d *desk) known(k *Known, secret string) (p Principal, err error) {
	d.Helper()
	readErr := d.db.Read(d.Context(), func(tx *store.Tx) error {
		p, err = k.Authenticate(tx, secret)
		return nil
	})
	if readErr != nil {
		d.Fatal(readErr)
	}
	return p, err
}

func TestWhatIsKnownOfACallerEndsWithTime(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		k, brief := d.mint(Key{Name: "brief", Scopes: []Scope{"orders:read"}, ExpiresAt: d.now.Add(time.Minute)})
		rotated, old := d.mint(Key{Name: "rotated", Scopes: []Scope{"orders:read"}})
		d.rotate(rotated.ID, time.Minute)
		var known Known
		for _, secret := range []string{brief, old, brief, old} {
			if _, err := d.known(&known, secret); err != nil {
				t.Fatal(err)
			}
		}
		d.now = d.now.Add(time.Minute)
		for _, secret := range []string{brief, old} {
			if _, err := d.known(&known, secret); err == nil {
				t.Errorf("a secret of %s opens after its end", k.ID)
			}
		}
	})
}

// A call that is under way is not let go on by an old secret whose time is over, also when rights changed in between.
func TestTheEndOfARotatedSecretOutlivesAChangeOfRights(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		k, old := d.mint(Key{Name: "bot", Scopes: []Scope{"orders:read"}})
		d.rotate(k.ID, time.Minute)
		p, err := authenticate(t, db, old)
		if err != nil {
			t.Fatal(err)
		}
		renewed := func() (now Principal, err error) {
			if failed := db.Read(t.Context(), func(tx *store.Tx) error {
				now, err = Renew(tx, p)
				return nil
			}); failed != nil {
				t.Fatal(failed)
			}
			return now, err
		}
		d.in(func(tx *store.Tx) error { return BeginChange(tx, p.Merchant) })
		if p, err = renewed(); err != nil {
			t.Fatal(err)
		}
		d.now = d.now.Add(time.Minute)
		if _, err := renewed(); err == nil {
			t.Error("a secret that was rotated away is good after its end")
		}
	})
}

func TestTheMemoryOfCallersIsBounded(t *testing.T) {
	var known Known
	for i := range 3 * maxKnown {
		known.keep(store.NewID("x", time.Unix(int64(i), 0)), Principal{})
	}
	if n := len(known.bySecret); n > maxKnown {
		t.Errorf("%d callers are kept", n)
	}
}
