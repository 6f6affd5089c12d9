package auth

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func TestSecretsAreNeverStored(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var secret, token string
		inTx(t, db, func(tx *store.Tx) error {
			m, err := EnsureMerchant(tx, "demo")
			if err != nil {
				return err
			}
			if _, secret, err = MintKey(tx, Key{Merchant: m.ID, Name: "bot"}); err != nil {
				return err
			}
			_, token, err = AddPerson(tx, m.ID, "owner", "manager")
			return err
		})
		inTx(t, db, func(tx *store.Tx) error {
			for _, q := range []string{`SELECT secret_sha256, hint FROM agent_keys`, `SELECT secret_sha256, hint FROM people`} {
				var sum, hint string
				if err := tx.QueryRow(q).Scan(&sum, &hint); err != nil {
					return err
				}
				for _, s := range []string{secret, token} {
					if sum == s || strings.Contains(hint, s[len("sq_agt_")+8:]) {
						t.Errorf("%s keeps the secret", q)
					}
				}
			}
			return nil
		})
	})
}

func TestAKeyOpensUntilItIsRevokedOrExpires(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		db.Now = func() time.Time { return now }
		var k Key
		var plain, brief string
		inTx(t, db, func(tx *store.Tx) error {
			m, err := EnsureMerchant(tx, "demo")
			if err != nil {
				return err
			}
			if k, plain, err = MintKey(tx, Key{Merchant: m.ID, Name: "bot", Scopes: []Scope{"orders:read"}, RequiresApproval: true, Ceiling: 4}); err != nil {
				return err
			}
			_, brief, err = MintKey(tx, Key{Merchant: m.ID, Name: "brief", ExpiresAt: now.Add(time.Hour)})
			return err
		})
		p, err := authenticate(t, db, plain)
		if err != nil || p.ID != k.ID || !p.Has("orders:read") || p.Has("orders:refund") || !p.RequiresApproval || p.Ceiling != 4 {
			t.Fatalf("the key opened %+v, %v", p, err)
		}
		now = now.Add(time.Hour)
		if _, err := authenticate(t, db, brief); why(err) != "expired" {
			t.Errorf("an expired key: %v", err)
		}
		inTx(t, db, func(tx *store.Tx) error { return RevokeKey(tx, k.Merchant, k.ID) })
		if _, err := authenticate(t, db, plain); why(err) != "revoked" {
			t.Errorf("a revoked key: %v", err)
		}
		inTx(t, db, func(tx *store.Tx) error {
			if err := RevokeKey(tx, k.Merchant, k.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("revoking it again: %v", err)
			}
			return nil
		})
		for plain, want := range map[string]string{"": "absent", "sq_agt_x": "malformed", secret.New(secret.Key): "unknown", secret.New(secret.Person): "unknown"} {
			if _, err := authenticate(t, db, plain); why(err) != want || !errors.Is(err, ErrUnknownCredential) {
				t.Errorf("a credential that is %s: %v", want, err)
			}
		}
	})
}

func TestAPersonsNameIsFreeAgainAfterTheirTokenIsRevoked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		inTx(t, db, func(tx *store.Tx) error {
			m, err := EnsureMerchant(tx, "demo")
			if err != nil {
				return err
			}
			_, first, err := AddPerson(tx, m.ID, "mara")
			if err != nil {
				return err
			}
			if _, _, err := AddPerson(tx, m.ID, "mara"); !errors.Is(err, ErrNameTaken) {
				t.Errorf("a second mara: %v", err)
			}
			if err := RevokePerson(tx, m.ID, "mara"); err != nil {
				return err
			}
			if _, err := Authenticate(tx, first); why(err) != "revoked" {
				t.Errorf("a revoked token: %v", err)
			}
			if _, err := FindPerson(tx, m.ID, "mara"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("finding a revoked person: %v", err)
			}
			_, _, err = AddPerson(tx, m.ID, "mara")
			return err
		})
	})
}

func TestAnUnknownScopeIsNotMinted(t *testing.T) {
	if got, err := ParseScopes([]string{"orders:refund", " orders:read", "orders:read"}, AgentScopes); err != nil || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	for name, hint := range map[string]string{"order:read": `"orders:read"`, "*": "catalog:read", "approvals:resolve": "orders:read", "order:*": "orders:read", "*:*": "orders:read", "*:approve": "orders:read"} {
		if _, err := ParseScopes([]string{name}, AgentScopes); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("scope %q: %v", name, err)
		}
	}
}

func TestLevelsAndTheirWords(t *testing.T) {
	for s, want := range map[string]Level{"low": 1, "MEDIUM": 4, "high": 7, "L0": 0, "L5": 5} {
		if got, err := ParseLevel(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "L8", "l5", "5", "highest"} {
		if _, err := ParseLevel(s); err == nil {
			t.Errorf("%q was taken for a level", s)
		}
	}
}

func inTx(t *testing.T, db *store.DB, fn func(*store.Tx) error) {
	t.Helper()
	if err := db.InTx(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func authenticate(t *testing.T, db *store.DB, secret string) (p Principal, err error) {
	t.Helper()
	inTx(t, db, func(tx *store.Tx) error {
		p, err = Authenticate(tx, secret)
		return nil
	})
	return p, err
}

func why(err error) string {
	var r *Refused
	if errors.As(err, &r) {
		return r.Why
	}
	return ""
}
