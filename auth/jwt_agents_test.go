package auth

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// admit does what the gate does with a verified token, and reports whether it was written down.
func admit(t *testing.T, db *store.DB, token Token) (p Principal, wrote bool, err error) {
	t.Helper()
	if readErr := db.Read(t.Context(), func(tx *store.Tx) error { p, err = AuthenticateJWT(tx, token); return nil }); readErr != nil {
		t.Fatal(readErr)
	}
	if !errors.Is(err, ErrNewToken) {
		return p, false, err
	}
	_ = db.InTx(t.Context(), func(tx *store.Tx) error { p, _, err = AdmitJWT(tx, token); return err })
	return p, true, err
}

// tokens gives a merchant and a token of its robot.
func tokens(t *testing.T, db *store.DB, now *time.Time) (merchant string, token Token) {
	t.Helper()
	*now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	db.Now = func() time.Time { return *now }
	inTx(t, db, func(tx *store.Tx) error {
		m, err := EnsureMerchant(tx, "demo")
		merchant = m.ID
		return err
	})
	return merchant, Token{
		Issuer: "https://login.example.com", Subject: "robot", Merchant: "demo", Scopes: []Scope{"orders:read", "orders:write"}, Ceiling: 4, ExpiresAt: now.Add(time.Hour),
	}
}

func TestATokensAgentIsMadeOnceAndWrittenAgainOnlyForNews(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var now time.Time
		merchant, token := tokens(t, db, &now)
		first, wrote, err := admit(t, db, token)
		if err != nil || !wrote || first.Kind != KindJWT || !strings.HasPrefix(first.ID, "jwt_") || first.Merchant != merchant || first.Name != "robot" ||
			!first.Has("orders:write") || first.Ceiling != 4 || !first.ExpiresAt.Equal(token.ExpiresAt) || first.Chain()[0] != "jwt:"+first.ID {
			t.Fatalf("first seen: %+v, %t, %v", first, wrote, err)
		}
		if again, wrote, err := admit(t, db, token); err != nil || wrote || !again.Same(first) {
			t.Errorf("the same again: %+v, %t, %v", again, wrote, err)
		}
		narrow := token
		narrow.Scopes, narrow.Ceiling, narrow.RequiresApproval = []Scope{"orders:read"}, 1, true
		less, wrote, err := admit(t, db, narrow)
		if err != nil || !wrote || less.ID != first.ID || less.Has("orders:write") || less.Ceiling != 1 || less.Same(first) {
			t.Errorf("a narrower token: %+v, %t, %v", less, wrote, err)
		}
		inTx(t, db, func(tx *store.Tx) error {
			stored, err := Live(tx, first.ID)
			if err != nil || stored.Has("orders:write") || !stored.RequiresApproval {
				t.Errorf("what was parked would run as %+v, %v", stored, err)
			}
			return nil
		})
		if other, _, err := admit(t, db, Token{Issuer: "https://other.example.com", Subject: "robot", Merchant: "demo"}); err != nil || other.ID == first.ID {
			t.Errorf("the same subject of another issuer: %+v, %v", other, err)
		}
	})
}

func TestARevokedAgentStaysOutWhateverItsIssuerSigns(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var now time.Time
		merchant, token := tokens(t, db, &now)
		p, _, err := admit(t, db, token)
		if err != nil {
			t.Fatal(err)
		}
		inTx(t, db, func(tx *store.Tx) error {
			if err := RevokeJWTAgent(tx, "mer_other", p.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("revoked by another merchant: %v", err)
			}
			return RevokeJWTAgent(tx, merchant, p.ID)
		})
		fresh := token
		fresh.Scopes, fresh.ExpiresAt = []Scope{"catalog:read"}, now.Add(48*time.Hour)
		for name, token := range map[string]Token{"the same token": token, "a new one": fresh} {
			if _, wrote, err := admit(t, db, token); why(err) != "revoked" || wrote {
				t.Errorf("%s: %v, written %t", name, err, wrote)
			}
		}
		inTx(t, db, func(tx *store.Tx) error {
			for name, ask := range map[string]func(*store.Tx, Principal) (Principal, error){"Renew": Renew, "Hold": Hold} {
				if _, err := ask(tx, p); why(err) != "revoked" {
					t.Errorf("%s: %v", name, err)
				}
			}
			if err := RevokeJWTAgent(tx, merchant, p.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("revoked twice: %v", err)
			}
			all, err := ListJWTAgents(tx, merchant, 10)
			if len(all) != 1 || all[0].RevokedAt.IsZero() || all[0].Issuer != token.Issuer || !slices.Equal(all[0].Scopes, token.Scopes) {
				t.Errorf("listed: %+v", all)
			}
			return err
		})
	})
}

func TestACallGoesByItsOwnTokenAndOnlyWhileThatIsGood(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var now time.Time
		_, token := tokens(t, db, &now)
		p, _, err := admit(t, db, token)
		if err != nil {
			t.Fatal(err)
		}
		wide := token
		wide.Scopes = []Scope{"orders:read", "orders:refund", "orders:write"}
		if _, _, err := admit(t, db, wide); err != nil {
			t.Fatal(err)
		}
		inTx(t, db, func(tx *store.Tx) error {
			held, err := Hold(tx, p)
			if held.Has("orders:refund") || !held.Has("orders:write") || !held.ExpiresAt.Equal(token.ExpiresAt) {
				t.Errorf("another token changed this one's call: %+v", held)
			}
			return err
		})
		now = token.ExpiresAt
		inTx(t, db, func(tx *store.Tx) error {
			if _, err := Hold(tx, p); why(err) != "expired" {
				t.Errorf("after the token's end: %v", err)
			}
			return nil
		})
	})
}

func TestATokensOwnerBoundsIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var now time.Time
		merchant, token := tokens(t, db, &now)
		token.Owner = "mara"
		if _, _, err := admit(t, db, token); why(err) != "owner" {
			t.Errorf("an owner who is nobody: %v", err)
		}
		var mara Person
		inTx(t, db, func(tx *store.Tx) (err error) {
			mara, _, err = AddPerson(tx, merchant, "mara", "marketing")
			return err
		})
		p, _, err := admit(t, db, token)
		if err != nil || p.Has("orders:read") || len(p.Links) != 2 || p.Chain()[1] != "person:"+mara.ID {
			t.Fatalf("owned by marketing: %+v, %v", p, err)
		}
		inTx(t, db, func(tx *store.Tx) error { return GiveRoles(tx, merchant, mara.ID, []string{"manager"}) })
		if p, wrote, err := admit(t, db, token); err != nil || wrote || !p.Has("orders:read") || p.Has("approvals:resolve") {
			t.Errorf("owned by a manager: %+v, %t, %v", p, wrote, err)
		}
		inTx(t, db, func(tx *store.Tx) error { return RevokePerson(tx, merchant, "mara") })
		if _, _, err := admit(t, db, token); why(err) != "owner" {
			t.Errorf("the owner was disabled: %v", err)
		}
		inTx(t, db, func(tx *store.Tx) error {
			if _, err := Renew(tx, p); why(err) != "owner revoked" {
				t.Errorf("a call that runs: %v", err)
			}
			return nil
		})
	})
}

func TestATokenReachesTheMerchantThatItNamesAndNoOther(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var now time.Time
		merchant, token := tokens(t, db, &now)
		var other Merchant
		inTx(t, db, func(tx *store.Tx) (err error) { other, err = EnsureMerchant(tx, "other"); return err })
		here, _, err := admit(t, db, token)
		if err != nil || here.Merchant != merchant {
			t.Fatalf("%+v, %v", here, err)
		}
		token.Merchant = "other"
		there, _, err := admit(t, db, token)
		if err != nil || there.Merchant != other.ID || there.ID == here.ID {
			t.Errorf("the other merchant: %+v, %v", there, err)
		}
		token.Merchant = "nowhere"
		if _, _, err := admit(t, db, token); why(err) != whyMerchant {
			t.Errorf("a merchant that is not there: %v", err)
		}
		inTx(t, db, func(tx *store.Tx) error { return RevokeJWTAgent(tx, merchant, here.ID) })
		token.Merchant = "other"
		if _, _, err := admit(t, db, token); err != nil {
			t.Errorf("revoked at one merchant, at the other: %v", err)
		}
	})
}

func TestManyTokensAtOnceMakeOneAgent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var now time.Time
		_, token := tokens(t, db, &now)
		var mu sync.Mutex
		ids := map[string]int{}
		var all sync.WaitGroup
		for n := range 16 {
			all.Go(func() {
				mine := token
				mine.Scopes = token.Scopes[:1+n%2]
				p, _, err := admit(t, db, mine)
				if err != nil || !slices.Equal(p.Scopes, mine.Scopes) {
					t.Errorf("%+v, %v", p, err)
				}
				mu.Lock()
				defer mu.Unlock()
				ids[p.ID]++
			})
		}
		all.Wait()
		if len(ids) != 1 {
			t.Errorf("one subject became %v", ids)
		}
	})
}

func TestAnIssuerCannotFillTheDatabase(t *testing.T) {
	db := storetest.New(t, "sqlite")
	var now time.Time
	merchant, token := tokens(t, db, &now)
	if _, _, err := admit(t, db, token); err != nil {
		t.Fatal(err)
	}
	inTx(t, db, func(tx *store.Tx) error {
		rows := make([][]any, maxJWTAgents-1)
		for i := range rows {
			rows[i] = []any{store.NewID("jwt", tx.Now), merchant, token.Issuer, store.NewID("sub", tx.Now), "x", "[]", "L4", 0, 0, 0}
		}
		return tx.Insert("jwt_agents", []string{"id", "merchant_id", "issuer", "subject", "name", "scopes", "ceiling", "requires_approval", "first_seen_at", "last_seen_at"}, rows)
	})
	stranger := token
	stranger.Subject = "one more"
	if _, _, err := admit(t, db, stranger); why(err) != whyTooMany {
		t.Errorf("one agent more: %v", err)
	}
	if _, _, err := admit(t, db, token); err != nil {
		t.Errorf("one that is known: %v", err)
	}
}

func TestASubjectIsCutToAName(t *testing.T) {
	for subject, want := range map[string]string{"robot": "robot", strings.Repeat("é", 60): strings.Repeat("é", 38) + "…"} {
		if got := shortName(subject); got != want || checkName(got) != nil {
			t.Errorf("%q became %q", subject, got)
		}
	}
}
