package gate

import (
	"fmt"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// TestForeignersAreCountedAndNotListed is about 10,000 refused requests in a minute: from one IPv4 address, from as many
// addresses of one /64, and from more sources than are told apart.
func TestForeignersAreCountedAndNotListed(t *testing.T) {
	const flood = 10_000
	sources := map[string]func(i int) string{
		"one address":  func(int) string { return "203.0.113.9" },
		"one /64":      func(i int) string { return fmt.Sprintf("2001:db8::%x", i) },
		"many sources": func(i int) string { return fmt.Sprintf("203.%d.%d.9", i/256, i%256) },
	}
	want := map[string]struct {
		entries int
		source  string // of a count
	}{
		"one address": {1, "203.0.113.9"}, "one /64": {1, "2001:db8::/64"}, "many sources": {toldApart[networkRefused] + 1, manySources},
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		db.Now = func() time.Time { return now }
		for name, source := range sources {
			before := len(h.all(networkRefused))
			listed := 0
			for i := range flood {
				r, first := h.RefuseNetwork(t.Context(), source(i), "outside")
				if r.Code != tools.ForbiddenNetwork || r.CallID == "" {
					t.Fatalf("%s: %v", name, r)
				}
				if first {
					listed++
				}
			}
			made := h.all(networkRefused)
			made = made[:len(made)-before]
			if len(made) != want[name].entries || listed != len(made) || name != "many sources" && made[0].Source != source(0) {
				t.Errorf("%s: %d entries, %d said to be", name, len(made), listed)
			}
			now = now.Add(time.Minute)
			if err := h.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			counts := h.all(networkRefused)
			counts = counts[:len(counts)-before-len(made)]
			if len(counts) != 1 || counts[0].Source != want[name].source || counts[0].Count != int64(flood-len(made)) {
				t.Errorf("%s: counted is %+v", name, counts)
			}
		}
	})
}

// all gives every entry of an event, newest first.
func (h *house) all(event string) []audit.Entry {
	h.t.Helper()
	var found []audit.Entry
	h.tx(func(tx *store.Tx) error {
		entries, err := audit.Find(tx, audit.Filter{Event: event, Limit: 10_000})
		for _, s := range entries {
			found = append(found, s.Entry)
		}
		return err
	})
	return found
}

// A flood from foreign networks takes no place from refused credentials, which are told apart for themselves.
func TestForeignersDoNotHideRefusedCredentials(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		db.Now = func() time.Time { return now }
		for i := range 2 * toldApart[networkRefused] {
			h.RefuseNetwork(t.Context(), fmt.Sprintf("203.0.%d.%d", i/256, i%256), "outside")
		}
		_, err := h.Authenticate(t.Context(), "sq_agt_x", "192.0.2.1")
		wantCode(t, err, tools.Unauthorized)
		if e := h.entries(authRefused); len(e) != 1 || e[0].Source != "192.0.2.1" {
			t.Errorf("%+v", e)
		}
	})
}

func TestASourceIsAnAddressOrAnIPv6Subscriber(t *testing.T) {
	for source, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
		"::1": "::1", "127.0.0.1": "127.0.0.1", "": "", "invalid IP": "invalid IP",
	} {
		if got := block(source); got != want {
			t.Errorf("%q is counted as %q, want %q", source, got, want)
		}
	}
}

// A key that may be used from a network opens nothing from another one, and the record says what was answered.
func TestAKeyOutsideItsNetworksIsRefusedAndRecorded(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		home, err := auth.ParseNetworks([]string{"192.0.2.0/24"})
		if err != nil {
			t.Fatal(err)
		}
		var secret string
		h.tx(func(tx *store.Tx) error {
			_, secret, err = auth.MintKey(tx, auth.Key{Merchant: h.free.Merchant, Name: "bound", Scopes: []auth.Scope{"orders:read"}, Ceiling: auth.MaxLevel, Networks: home})
			return err
		})
		for source, ok := range map[string]bool{"192.0.2.9": true, "::ffff:192.0.2.9": true, "198.51.100.1": false, "2001:db8::1": false, "": false, "192.0.2": false} {
			_, err := h.Authenticate(t.Context(), secret, source)
			if ok && err != nil {
				t.Errorf("from %q: %v", source, err)
			}
			if !ok {
				wantCode(t, err, tools.ForbiddenNetwork)
			}
		}
		for _, e := range h.entries(authRefused) {
			if e.Reason != "network" || e.Code != string(tools.ForbiddenNetwork) || e.Actor == "unknown" {
				t.Errorf("%+v", e)
			}
		}
	})
}
