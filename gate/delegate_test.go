package gate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// give gives a sub-token of p, as an operator does, with its principal.
func (h *house) give(p auth.Principal, d auth.Delegation) auth.Principal {
	h.t.Helper()
	d.Name = "child of " + p.Name
	m, err := h.MintSubToken(h.t.Context(), h.operator(), p.ID, d)
	if err != nil {
		h.t.Fatal(err)
	}
	child, err := h.Authenticate(h.t.Context(), m.Token, "127.0.0.1")
	if err != nil {
		h.t.Fatal(err)
	}
	return child
}

func (h *house) operator() By {
	return By{Principal: auth.OperatorPrincipal(h.merchant), Transport: "cli"}
}

func (h *house) revokeSub(by auth.Principal, id string) error {
	_, err := h.RevokeSubToken(h.t.Context(), By{Principal: by, Transport: "rest", Source: "127.0.0.1"}, id)
	return err
}

// rooted makes a key that may delegate, whose calls people confirm when asked for.
func (h *house) rooted(confirm bool) auth.Principal {
	return h.mint(auth.Key{
		Name: "root", Scopes: []auth.Scope{"orders:read", "orders:refund"}, RequiresApproval: confirm, Ceiling: auth.MaxLevel, Depth: 3,
		Owner: h.person.ID,
	})
}

func TestWhatASubTokenParkedDoesNotRunOnceAnythingAboveItIsRevoked(t *testing.T) {
	for what, end := range map[string]func(h *house, key, between auth.Principal) error{
		"the sub-token between": func(h *house, key, between auth.Principal) error { return h.revokeSub(key, between.ID) },
		"the key": func(h *house, key, _ auth.Principal) error {
			return h.db.InTx(h.t.Context(), func(tx *store.Tx) error { return auth.RevokeKey(tx, h.merchant, key.ID) })
		},
		"the owner": func(h *house, _, _ auth.Principal) error {
			return h.db.InTx(h.t.Context(), func(tx *store.Tx) error { return auth.RevokePerson(tx, h.merchant, h.person.ID) })
		},
		"the owner's role": func(h *house, _, _ auth.Principal) error {
			return h.db.InTx(h.t.Context(), func(tx *store.Tx) error { return auth.GiveRoles(tx, h.merchant, h.person.ID, nil) })
		},
	} {
		t.Run(what, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				h := newHouse(t, db)
				key := h.rooted(true)
				between := h.give(key, auth.Delegation{Depth: 1})
				leaf := h.give(between, auth.Delegation{})
				out, err := h.call(leaf, "test_move", oneLamp)
				if err != nil || out.Status != tools.PendingApproval {
					t.Fatalf("it was not parked: %+v, %v", out, err)
				}
				job := h.result(out).JobID
				if r := h.request(job); r.AskedBy != "root > child of root > child of child of root" {
					t.Errorf("people are told that %q asks", r.AskedBy)
				}
				if err := h.vote(job, approvals.Approve); err != nil {
					t.Fatal(err)
				}
				if err := end(h, key, between); err != nil {
					t.Fatal(err)
				}
				h.resume()
				if j := h.job(job); j.Status != tools.JobCancelled || h.effects() != 0 {
					t.Errorf("the job is %s (%s) with %d effects", j.Status, j.Why, h.effects())
				}
			})
		})
	}
}

func (h *house) request(id string) (r approvals.Request) {
	h.t.Helper()
	h.tx(func(tx *store.Tx) (err error) {
		r, err = approvals.Find(tx, h.merchant, id)
		return err
	})
	return r
}

func TestEveryEntryOfASubTokenNamesItsWholeChain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		key := h.rooted(false)
		between := h.give(key, auth.Delegation{Depth: 1})
		leaf := h.give(between, auth.Delegation{})
		want := []string{"subtoken:" + leaf.ID, "subtoken:" + between.ID, "key:" + key.ID, "person:" + h.person.ID}
		_, _ = h.call(leaf, "test_read", `{}`)
		_, _ = h.call(leaf, "test_move", `{}`)
		_, _ = h.call(leaf, "test_move", oneLamp)
		_, _, _ = h.SubTokens(t.Context(), By{Principal: leaf, Transport: "rest"}, "", 0)
		_ = h.revokeSub(leaf, between.ID)
		_ = h.revokeSub(leaf, leaf.ID)
		seen := map[string]int{}
		for _, e := range h.entries("") {
			if e.Actor == want[0] {
				seen[e.Event+" "+e.Status]++
				if !slices.Equal(e.Chain, want) {
					t.Errorf("%s %s: the chain is %v, want %v", e.Event, e.Status, e.Chain, want)
				}
			}
		}
		for _, event := range []string{"call done", "call refused", "subtoken.listed done", "subtoken.revoked done", "subtoken.revoked.refused refused"} {
			if seen[event] == 0 {
				t.Errorf("there is no entry %q among %v", event, seen)
			}
		}
		for _, e := range h.entries("subtoken.minted") {
			if e.Actor != auth.Operator || !strings.HasPrefix(e.Resource, "sub_token:sub_") || e.Transport != "cli" {
				t.Errorf("minting stands on record as %+v", e)
			}
		}
	})
}

func TestSubTokensAreAdministeredByThoseWhoMay(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		key := h.rooted(false)
		one := h.give(key, auth.Delegation{Depth: 1})
		mint := func(p auth.Principal, parent string, d auth.Delegation) error {
			d.Name = "n"
			_, err := h.MintSubToken(t.Context(), By{Principal: p, Transport: "rest"}, parent, d)
			return err
		}
		wantCode(t, mint(h.person, key.ID, auth.Delegation{}), tools.ForbiddenScope) // a manager does not hold keys:admin
		wantCode(t, mint(key, one.ID, auth.Delegation{}), tools.ForbiddenScope)
		wantCode(t, mint(h.operator().Principal, "key_none", auth.Delegation{}), tools.NotFound)
		wantCode(t, mint(h.operator().Principal, h.person.ID, auth.Delegation{}), tools.ForbiddenTool)
		wantCode(t, mint(h.operator().Principal, key.ID, auth.Delegation{Tools: []string{"test_raed"}}), tools.InvalidArguments)
		wantCode(t, mint(h.operator().Principal, key.ID, auth.Delegation{Scopes: []string{"catalog:read"}}), tools.ForbiddenScope)
		wantCode(t, h.revokeSub(h.person, one.ID), tools.ForbiddenScope)
		wantCode(t, h.revokeSub(h.free, one.ID), tools.NotFound)
		_, _, err := h.SubTokens(t.Context(), By{Principal: h.person}, "", 0)
		wantCode(t, err, tools.ForbiddenTool)
		for _, limit := range []int{-1, maxPage + 1} {
			_, _, err := h.SubTokens(t.Context(), By{Principal: key}, "", limit)
			wantCode(t, err, tools.InvalidArguments)
		}
		_, _, err = h.SubTokens(t.Context(), By{Principal: key}, "x", 1)
		wantCode(t, err, tools.InvalidArguments)
		if err := h.revokeSub(key, one.ID); err != nil {
			t.Fatal(err)
		}
		_, _, err = h.SubTokens(t.Context(), By{Principal: one}, "", 0)
		wantCode(t, err, tools.Unauthorized)
		wantCode(t, h.revokeSub(one, one.ID), tools.Unauthorized)
	})
}

// A revocation waits for the calls of the token that run. Tokens that end themselves, each other and their givers, and work meanwhile,
// never wait in a circle.
func TestTokensThatEndEachOtherAtOnceAllEnd(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		key := h.rooted(false)
		var tokens []auth.Principal
		for range 6 {
			between := h.give(key, auth.Delegation{Depth: 1})
			tokens = append(tokens, between, h.give(between, auth.Delegation{}))
		}
		var all sync.WaitGroup
		internal := func(err error) {
			if r := (*tools.Refusal)(nil); errors.As(err, &r) && r.Code != tools.Unauthorized {
				t.Errorf("%s: %s", r.Code, r.Message)
			}
		}
		for i, p := range tokens {
			all.Go(func() {
				for n := range 3 {
					_, err := h.call(p, "test_move", fmt.Sprintf(`{"thing":"lamp","amount":1,"idempotency_key":"k%d"}`, n))
					internal(err)
				}
			})
			all.Go(func() { internal(h.revokeSub(p, p.ID)) })
			all.Go(func() { internal(h.revokeSub(key, tokens[i/2*2].ID)) })
		}
		all.Wait()
		for _, p := range tokens {
			if _, err := h.call(p, "test_read", `{}`); err == nil {
				t.Errorf("%s still calls", p.ID)
			}
		}
	})
}

func TestUsesCountForEveryLinkOfTheChain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		start := time.Now().UTC().Truncate(time.Second)
		db.Now = func() time.Time { return start }
		h := newHouse(t, db)
		key := h.rooted(false)
		leaf := h.give(key, auth.Delegation{})
		m, err := h.MintSubToken(t.Context(), h.operator(), key.ID, auth.Delegation{Name: "revoked"})
		if err != nil {
			t.Fatal(err)
		}
		_ = h.revokeSub(h.operator().Principal, m.ID)
		_, _ = h.call(leaf, "test_read", `{}`)
		_, _ = h.call(leaf, "test_read", `{}`)
		_, _ = h.call(leaf, "test_move", `{}`) // refused
		_, _ = h.call(key, "test_read", `{}`)
		_, _ = h.Authenticate(t.Context(), m.Token, "127.0.0.1") // turned away
		want := map[string]auth.Used{
			leaf.ID: {Uses: 2, Refusals: 1, LastUsedAt: start}, key.ID: {Uses: 3, Refusals: 1, LastUsedAt: start}, m.ID: {Refusals: 1, LastUsedAt: start},
		}
		h.exec(`ALTER TABLE principal_usage RENAME TO usage_away`)
		if err := h.Sweep(t.Context()); err == nil {
			t.Error("it was written down where nothing can be")
		}
		h.exec(`ALTER TABLE usage_away RENAME TO principal_usage`)
		for range 2 { // what is written down is not counted again
			if err := h.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.tx(func(tx *store.Tx) error {
				found, err := auth.Usage(tx, leaf.ID, key.ID, m.ID, h.person.ID)
				if err != nil || len(found) != 3 {
					t.Errorf("%d have been used, %v", len(found), err)
				}
				for id, used := range want {
					if found[id] != used {
						t.Errorf("%s was used %+v, want %+v", id, found[id], used)
					}
				}
				return nil
			})
		}
	})
}

func BenchmarkCountingAUse(b *testing.B) {
	u := newUsed()
	p := auth.Principal{Merchant: "mer", Links: []auth.Link{{Kind: auth.KindSubToken, ID: "sub_1"}, {Kind: auth.KindKey, ID: "key_1"}, {Kind: auth.KindPerson, ID: "per_1"}}}
	for b.Loop() {
		u.count(p, auth.Used{Uses: 1})
	}
}
