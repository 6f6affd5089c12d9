package gate

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// TestACallMakesNoMoreRoundTripsThanThese holds what a call costs on PostgreSQL, from its secret to its record. For the end of a snapshot nobody
// waits; it is counted all the same.
func TestACallMakesNoMoreRoundTripsThanThese(t *testing.T) {
	dsn, trips := storetest.CountTrips(t, storetest.DSN(t, "postgres"))
	h := newHouse(t, storetest.Open(t, dsn))
	var secret string
	h.tx(func(tx *store.Tx) (err error) {
		_, secret, err = auth.MintKey(tx, auth.Key{
			Name: "counted", Merchant: h.merchant, Profile: "admin", Scopes: []auth.Scope{"orders:read", "orders:refund"}, Ceiling: auth.MaxLevel,
		})
		return err
	})
	for _, c := range []struct {
		tool, args string
		most       int64
	}{
		{"test_read", "", 5},
		{"test_move", `{"thing":"lamp","amount":1}`, 8},
	} {
		took := trips.Least(t, h.db, func(run int) error {
			p, err := h.Authenticate(t.Context(), secret, "127.0.0.1")
			if err == nil {
				_, err = h.Call(t.Context(), p, Request{Tool: c.tool, Args: []byte(c.args), Transport: "rest", Source: "127.0.0.1", IdempotencyKey: "counted-" + c.tool + strconv.Itoa(run)})
			}
			return err
		})
		if took > c.most {
			t.Errorf("%s: %d round trips, want at most %d", c.tool, took, c.most)
		}
	}
}

// What is only asked ahead is not known: a refusal for a caller's standing has on record what was known before, on both engines.
func TestARefusalForStandingHasOnRecordWhatWasKnown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		p := h.mint(auth.Key{Name: "gone", Profile: "admin", Scopes: []auth.Scope{"orders:read"}, Ceiling: auth.MaxLevel})
		h.tx(func(tx *store.Tx) error { return auth.RevokeKey(tx, h.merchant, p.ID) })
		if _, err := h.call(p, "test_read", ""); err == nil {
			t.Fatal("a revoked key reads")
		}
		all := h.entries(policy.EventCall)
		if len(all) != 1 {
			t.Fatalf("%d entries", len(all))
		}
		var known struct{ Trust *int64 }
		if err := json.Unmarshal(all[0].Facts, &known); err != nil || known.Trust == nil || *known.Trust != 0 {
			t.Errorf("on record is %s, %v", all[0].Facts, err)
		}
	})
}
