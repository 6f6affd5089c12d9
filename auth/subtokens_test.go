package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A tree is a merchant with an owner, her key, and what is given on from it.
type tree struct {
	*testing.T
	db       *store.DB
	now      time.Time
	merchant string
	owner    string
	key      Principal
	secrets  map[string]string // by id
}

// treeKey is the key of every tree.
var treeKey = Key{
	Name: "root", Scopes: []Scope{"catalog:read", "orders:read", "orders:write"}, Actions: []string{"payments:*"}, Ceiling: 5, Depth: 3,
	Tools: []string{"orders.*", "dtc_get_order"}, Resources: []string{"order:*"}, Networks: parsed("10.0.0.0/8"), Rate: Rate{PerMinute: 60, Burst: 5},
}

func trees(t *testing.T, fn func(*tree)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { fn(newTree(t, db)) })
}

func newTree(t *testing.T, db *store.DB) *tree {
	t.Helper()
	f := &tree{T: t, db: db, now: somebodysTime, secrets: map[string]string{}}
	db.Now = func() time.Time { return f.now }
	inTx(t, db, func(tx *store.Tx) error {
		m, err := EnsureMerchant(tx, "demo")
		if err != nil {
			return err
		}
		owner, _, err := AddPerson(tx, m.ID, "mara", "manager")
		if err != nil {
			return err
		}
		f.merchant, f.owner = m.ID, owner.ID
		k := treeKey
		k.Merchant, k.Owner = m.ID, owner.ID
		k, secret, err := MintKey(tx, k)
		if err != nil {
			return err
		}
		f.secrets[k.ID] = secret
		f.key, err = Live(tx, k.ID)
		return err
	})
	return f
}

// give mints a sub-token of p and gives its principal.
func (f *tree) give(p Principal, d Delegation) (child Principal, err error) {
	f.Helper()
	if d.Name == "" {
		d.Name = "child"
	}
	err = f.db.InTx(f.Context(), func(tx *store.Tx) error {
		p, err := HoldLive(tx, p.Merchant, p.ID)
		if err != nil {
			return err
		}
		t, secret, err := MintSubToken(tx, p, d)
		if err == nil {
			f.secrets[t.ID] = secret
			child, err = Authenticate(tx, secret)
		}
		return err
	})
	return child, err
}

func (f *tree) given(p Principal, d Delegation) Principal {
	f.Helper()
	child, err := f.give(p, d)
	if err != nil {
		f.Fatal(err)
	}
	return child
}

func (f *tree) opens(what string, p Principal, want string) {
	f.Helper()
	_, err := authenticate(f.T, f.db, f.secrets[p.ID])
	if err != nil && why(err) == "" || why(err) != want {
		f.Errorf("%s: got %v, want %q", what, err, want)
	}
}

func (f *tree) count(q string, args ...any) (n int) {
	f.Helper()
	inTx(f.T, f.db, func(tx *store.Tx) error { return tx.QueryRow(q, args...).Scan(&n) })
	return n
}

func TestASubTokenHasWhatItWasGivenAndInheritsTheRest(t *testing.T) {
	trees(t, func(f *tree) {
		all := f.given(f.key, Delegation{})
		if all.Kind != KindSubToken || !slices.Equal(all.Scopes, treeKey.Scopes) || all.Ceiling != 5 || all.Depth() != 0 || !all.ExpiresAt.Equal(f.now.Add(DefaultTTL)) {
			f.Errorf("with everything left out it is %+v", all)
		}
		part := f.given(f.key, Delegation{
			Scopes: []string{"orders:read"}, Tools: []string{"orders.get"}, Resources: []string{"order:1"}, Networks: []string{"10.1.0.0/16"},
			Ceiling: "low", TTL: time.Minute, Depth: 2, Rate: &Rate{PerMinute: 6}, Audience: "the night shift",
		})
		if !slices.Equal(part.Scopes, []Scope{"orders:read"}) || part.Ceiling != 1 || part.Depth() != 2 || !part.ExpiresAt.Equal(f.now.Add(time.Minute)) ||
			part.MayTouch("order:2") || !part.MayTouch("order:1") || part.MayCall("orders.search") || part.MayComeFrom(someSources[3]) {
			f.Errorf("with less it is %+v", part)
		}
		grandchild := f.given(part, Delegation{})
		if want := []string{"subtoken:" + grandchild.ID, "subtoken:" + part.ID, "key:" + f.key.ID, "person:" + f.owner}; !slices.Equal(grandchild.Chain(), want) {
			f.Errorf("the chain is %v, want %v", grandchild.Chain(), want)
		}
		if !grandchild.ExpiresAt.Equal(part.ExpiresAt) || grandchild.MayTouch("order:2") {
			f.Errorf("what was left out reaches beyond the giver: %+v", grandchild)
		}
	})
}

// T103: wider than its giver, longer, deeper; each is refused by name, and nothing is stored.
func TestASubTokenWiderThanItsGiverIsRefused(t *testing.T) {
	trees(t, func(f *tree) {
		tired := f.given(f.key, Delegation{TTL: time.Minute, Depth: 1, Rate: &Rate{PerMinute: 10, Burst: 2}, Resources: []string{"order:1"}})
		for _, c := range []struct {
			what  string
			of    Principal
			ask   Delegation
			field string
		}{
			{"a scope more", f.key, Delegation{Scopes: []string{"orders:read", "orders:refund"}}, "scopes"},
			{"a pattern of scopes with one more", f.key, Delegation{Scopes: []string{"orders:*"}}, "scopes"},
			{"a right of people", f.key, Delegation{Scopes: []string{"keys:admin"}}, "scopes[0]"},
			{"an action more", f.key, Delegation{Actions: []string{"helpdesk:send_reply"}}, "actions[0]"},
			{"all actions", f.key, Delegation{Actions: []string{"*"}}, "actions[0]"},
			{"another tool", f.key, Delegation{Tools: []string{"orders.get", "products.search"}}, "tools[1]"},
			{"a pattern over its tools", f.key, Delegation{Tools: []string{"dtc_get_*"}}, "tools[0]"},
			{"other objects", f.key, Delegation{Resources: []string{"customer:*"}}, "resources[0]"},
			{"a star alone", f.key, Delegation{Resources: []string{"*"}}, "resources[0]"},
			{"a queue, of one who has orders", f.key, Delegation{Resources: []string{"queue:returns/*"}}, "resources[0]"},
			{"an object that only the key may touch", tired, Delegation{Resources: []string{"order:2"}}, "resources[0]"},
			{"a network around its own", f.key, Delegation{Networks: []string{"10.0.0.0/7"}}, "networks"},
			{"another network", f.key, Delegation{Networks: []string{"192.0.2.0/24"}}, "networks[0]"},
			{"IPv6 under IPv4", f.key, Delegation{Networks: []string{"2001:db8::/32"}}, "networks[0]"},
			{"a level more", f.key, Delegation{Ceiling: "L6"}, "ceiling"},
			{"no level", f.key, Delegation{Ceiling: "L9"}, "ceiling"},
			{"more calls", f.key, Delegation{Rate: &Rate{PerMinute: 61}}, "rate"},
			{"a larger burst", f.key, Delegation{Rate: &Rate{PerMinute: 60, Burst: 6}}, "rate"},
			{"more calls than the one between", tired, Delegation{Rate: &Rate{PerMinute: 11, Burst: 1}}, "rate"},
			{"no rate at all", f.key, Delegation{Rate: &Rate{}}, "rate"},
			{"longer than its giver", tired, Delegation{TTL: 61 * time.Second}, "ttl_seconds"},
			{"for ever", f.key, Delegation{TTL: MaxTTL + time.Second}, "ttl_seconds"},
			{"for no time", f.key, Delegation{TTL: Seconds(0)}, "ttl_seconds"},
			{"for a time past counting", f.key, Delegation{TTL: Seconds(1 << 62)}, "ttl_seconds"},
			{"as deep as its giver", f.key, Delegation{Depth: 3}, "depth"},
			{"less than no depth", f.key, Delegation{Depth: -1}, "depth"},
			{"an empty list", f.key, Delegation{Tools: []string{}}, "tools"},
			{"a name that hides something", f.key, Delegation{Name: "mara\u202e"}, "name"},
			{"a long name", f.key, Delegation{Name: strings.Repeat("n", 81)}, "name"},
			{"a long note", f.key, Delegation{Audience: strings.Repeat("n", 201)}, "audience"},
			{"too much at once", f.key, Delegation{Tools: slices.Repeat([]string{"orders.get"}, 101)}, "tools"},
		} {
			before := f.count(`SELECT COUNT(*) FROM sub_tokens`)
			_, err := f.give(c.of, c.ask)
			unfit := (*Undelegable)(nil)
			if !errors.As(err, &unfit) {
				f.Errorf("%s: %v", c.what, err)
				continue
			}
			named := slices.Concat(unfit.Malformed, unfit.Wider)
			if field := named[0].Field; field != c.field && !(c.field == "networks" && strings.HasPrefix(field, "networks")) {
				f.Errorf("%s is refused for %+v, want %s", c.what, named, c.field)
			}
			if f.count(`SELECT COUNT(*) FROM sub_tokens`) != before {
				f.Errorf("%s was stored", c.what)
			}
		}
	})
}

func TestNobodyDelegatesDeeperThanItsDepthAndPeopleNotAtAll(t *testing.T) {
	trees(t, func(f *tree) {
		one := f.given(f.key, Delegation{Depth: 2})
		two := f.given(one, Delegation{Depth: 1})
		three := f.given(two, Delegation{})
		leaf := f.given(f.key, Delegation{})
		var person Principal
		inTx(f.T, f.db, func(tx *store.Tx) (err error) {
			person, err = Live(tx, f.owner)
			return err
		})
		for what, p := range map[string]Principal{"the third below": three, "one without depth": leaf, "a person": person} {
			if _, err := f.give(p, Delegation{}); !errors.Is(err, ErrNoDelegation) {
				f.Errorf("%s delegates: %v", what, err)
			}
		}
		// What the key loses is lost to those below, whatever they were promised.
		inTx(f.T, f.db, func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE agent_keys SET depth = 1, version = version + 1 WHERE id = $1`, f.key.ID)
			return err
		})
		if _, err := f.give(one, Delegation{}); !errors.Is(err, ErrNoDelegation) {
			f.Errorf("the key's depth was taken away, and it delegates: %v", err)
		}
	})
}

func TestRevokingASubTokenEndsAllBelowItAndNothingElse(t *testing.T) {
	trees(t, func(f *tree) {
		one := f.given(f.key, Delegation{Depth: 2})
		two := f.given(one, Delegation{Depth: 1})
		three := f.given(two, Delegation{})
		other := f.given(f.key, Delegation{})
		f.revoke(one, one.ID)
		f.opens("itself", one, "revoked")
		f.opens("its child", two, "parent revoked")
		f.opens("its child's child", three, "parent revoked")
		f.opens("its sibling", other, "")
		f.opens("its giver", f.key, "")
		if _, err := f.give(two, Delegation{}); !errors.Is(err, ErrUnknownCredential) {
			f.Errorf("one below it still delegates: %v", err)
		}
		again := f.revoke(f.key, one.ID)
		if again.State != "revoked" || !again.RevokedAt.Equal(f.now) {
			f.Errorf("revoked again it is %+v", again)
		}
		inTx(f.T, f.db, func(tx *store.Tx) error { return RevokeKey(tx, f.merchant, f.key.ID) })
		f.opens("below a revoked key", other, "parent revoked")
	})
}

func (f *tree) revoke(p Principal, id string) (t SubToken) {
	f.Helper()
	inTx(f.T, f.db, func(tx *store.Tx) (err error) {
		t, err = RevokeSubToken(tx, p, id)
		return err
	})
	return t
}

func TestASubTokenIsEndedFromAboveOnly(t *testing.T) {
	trees(t, func(f *tree) {
		one := f.given(f.key, Delegation{Depth: 2})
		two := f.given(one, Delegation{Depth: 1})
		sibling := f.given(f.key, Delegation{})
		var elsewhere, foreign Principal
		inTx(f.T, f.db, func(tx *store.Tx) error {
			m, err := EnsureMerchant(tx, "another")
			if err != nil {
				return err
			}
			k, _, err := MintKey(tx, Key{Merchant: m.ID, Name: "theirs", Depth: 3})
			if err == nil {
				elsewhere, err = Live(tx, k.ID)
			}
			return err
		})
		foreign = f.given(elsewhere, Delegation{})
		for what, c := range map[string]struct {
			by Principal
			id string
		}{
			"its giver":        {two, one.ID},
			"a sibling":        {one, sibling.ID},
			"another merchant": {f.key, foreign.ID},
			"their operator":   {OperatorPrincipal(f.merchant), foreign.ID},
			"nobody's":         {f.key, store.NewID("sub", f.now)},
			"a key":            {f.key, f.key.ID},
			"no id":            {f.key, "sub_\x00"},
		} {
			err := f.db.InTx(f.Context(), func(tx *store.Tx) error {
				_, err := RevokeSubToken(tx, c.by, c.id)
				return err
			})
			if !errors.Is(err, store.ErrNotFound) {
				f.Errorf("revoking %s: %v", what, err)
			}
		}
		f.opens("what nobody might revoke", two, "")
		f.revoke(OperatorPrincipal(f.merchant), two.ID)
		f.opens("revoked by the operator", two, "revoked")
	})
}

// Stripping, disabling, expiry: each link is read on each request.
func TestWhatTheOwnerLosesEveryDescendantLosesAtOnce(t *testing.T) {
	trees(t, func(f *tree) {
		leaf := f.given(f.given(f.key, Delegation{Depth: 1}), Delegation{})
		inTx(f.T, f.db, func(tx *store.Tx) error { return GiveRoles(tx, f.merchant, f.owner, []string{"compliance"}) })
		p, err := authenticate(f.T, f.db, f.secrets[leaf.ID])
		if err != nil || len(p.Scopes) != 0 {
			f.Errorf("her role holds none of them, and the sub-token has %v, %v", p.Scopes, err)
		}
		inTx(f.T, f.db, func(tx *store.Tx) error { return GiveRoles(tx, f.merchant, f.owner, []string{"manager"}) })
		f.opens("with the role again", leaf, "")
		inTx(f.T, f.db, func(tx *store.Tx) error { return RevokePerson(tx, f.merchant, f.owner) })
		f.opens("with the owner gone", leaf, "owner revoked")
	})
}

func TestSubTokensEndAndAreForgottenLater(t *testing.T) {
	trees(t, func(f *tree) {
		parent := f.given(f.key, Delegation{Depth: 1, TTL: 2 * time.Hour})
		child := f.given(parent, Delegation{TTL: time.Hour, Rate: &Rate{PerMinute: 60}})
		inTx(f.T, f.db, func(tx *store.Tx) error {
			return errors.Join(Spend(tx, child), SetTaint(tx, child, "dtc_get_order", "call_1"))
		})
		f.now = f.now.Add(time.Hour)
		f.opens("at its end", child, "expired")
		f.opens("its parent", parent, "")
		f.now = f.now.Add(time.Hour)
		f.opens("below an ended one", child, "expired")
		forget := func(want int) {
			f.Helper()
			inTx(f.T, f.db, ForgetSubTokens)
			if n := f.count(`SELECT COUNT(*) FROM sub_tokens`); n != want {
				f.Errorf("%d are left, want %d", n, want)
			}
		}
		f.now = f.now.Add(keepSubTokens - time.Minute)
		forget(1)
		f.now = f.now.Add(2 * time.Minute)
		forget(0)
		if n := f.count(`SELECT COUNT(*) FROM sub_token_above`) + f.count(`SELECT COUNT(*) FROM principal_usage WHERE principal_id LIKE 'sub_%'`) +
			f.count(`SELECT COUNT(*) FROM rate_limits WHERE principal_id LIKE 'sub_%'`) + f.count(`SELECT COUNT(*) FROM taints`); n != 0 {
			f.Errorf("%d rows of theirs are left", n)
		}
	})
}

func TestAHundredSubTokensOfOneAreEnoughAlsoWhenManyAskAtOnce(t *testing.T) {
	trees(t, func(f *tree) {
		for range maxSubTokens - 4 {
			f.given(f.key, Delegation{})
		}
		var all sync.WaitGroup
		errs := make([]error, 12)
		for i := range errs {
			all.Go(func() {
				errs[i] = f.db.InTx(f.Context(), func(tx *store.Tx) error {
					p, err := HoldLive(tx, f.merchant, f.key.ID)
					if err == nil {
						_, _, err = MintSubToken(tx, p, Delegation{Name: "child"})
					}
					return err
				})
			})
		}
		all.Wait()
		refused := 0
		for _, err := range errs {
			if errors.Is(err, ErrTooManySubTokens) {
				refused++
			} else if err != nil {
				f.Error(err)
			}
		}
		if n := f.count(`SELECT COUNT(*) FROM sub_tokens`); n != maxSubTokens || refused != 8 {
			f.Errorf("there are %d, and %d were refused", n, refused)
		}
		page := f.page(f.key.ID, "", 1)
		f.revoke(f.key, page[0].ID)
		f.given(f.key, Delegation{}) // in the place of the one that ended
	})
}

func (f *tree) page(above, before string, limit int) (page []SubToken) {
	f.Helper()
	inTx(f.T, f.db, func(tx *store.Tx) (err error) {
		page, err = ListSubTokens(tx, f.merchant, above, before, limit)
		return err
	})
	return page
}

func TestAListShowsEverythingBelowAndNothingBeside(t *testing.T) {
	trees(t, func(f *tree) {
		tick := func(p Principal, d Delegation) Principal { f.now = f.now.Add(time.Second); return f.given(p, d) }
		one := tick(f.key, Delegation{Depth: 2})
		two := tick(one, Delegation{Depth: 1})
		beside := tick(f.key, Delegation{})
		three := tick(two, Delegation{})
		f.revoke(f.key, two.ID)
		ids := func(page []SubToken) (ids []string) {
			for _, t := range page {
				ids = append(ids, t.ID)
			}
			return ids
		}
		for _, c := range []struct {
			above, before string
			limit         int
			want          []string
		}{
			{f.key.ID, "", 9, []string{three.ID, beside.ID, two.ID, one.ID}},
			{f.merchant, "", 9, []string{three.ID, beside.ID, two.ID, one.ID}},
			{f.key.ID, "", 2, []string{three.ID, beside.ID}},
			{f.key.ID, beside.ID, 2, []string{two.ID, one.ID}},
			{one.ID, "", 9, []string{three.ID, two.ID}},
			{two.ID, three.ID, 9, nil},
			{beside.ID, "", 9, nil},
			{"key_nobody", "", 9, nil},
		} {
			if got := ids(f.page(c.above, c.before, c.limit)); !slices.Equal(got, c.want) {
				f.Errorf("%d below %s before %q: %v, want %v", c.limit, c.above, c.before, got, c.want)
			}
		}
		states := []string{}
		for _, t := range f.page(f.key.ID, "", 9) {
			states = append(states, t.State)
		}
		if want := []string{"parent revoked", "active", "revoked", "active"}; !slices.Equal(states, want) {
			f.Errorf("they are shown as %v, want %v", states, want)
		}
	})
}

// T56: however many sub-tokens a key hands out, together they make no more calls than the key.
func TestSubTokensOfOneKeyShareItsRate(t *testing.T) {
	trees(t, func(f *tree) {
		var all []Principal
		for i := range 10 {
			p := f.given(f.key, Delegation{Name: fmt.Sprint("n", i), Depth: 1, Rate: &Rate{PerMinute: 60, Burst: 5}})
			all = append(all, p, f.given(p, Delegation{}))
		}
		through := 0
		for range 3 {
			for _, p := range all {
				err := f.db.InTx(f.Context(), func(tx *store.Tx) error { return Spend(tx, p) })
				if err == nil {
					through++
				} else if !errors.Is(err, ErrTooOften) {
					f.Fatal(err)
				}
			}
		}
		if through != 5 {
			f.Errorf("%d calls came through, the key has 5", through)
		}
	})
}

func TestUsesAreAddedUp(t *testing.T) {
	trees(t, func(f *tree) {
		later := f.now.Add(time.Second)
		inTx(f.T, f.db, func(tx *store.Tx) error {
			return errors.Join(
				AddUsage(tx, f.merchant, f.key.ID, Used{Uses: 2, LastUsedAt: later}),
				AddUsage(tx, f.merchant, f.key.ID, Used{Uses: 1, Refusals: 3, LastUsedAt: f.now}),
				AddUsage(tx, f.merchant, "key_b", Used{}))
		})
		inTx(f.T, f.db, func(tx *store.Tx) error {
			found, err := Usage(tx, f.key.ID, "key_b", "key_none")
			if want := (Used{Uses: 3, Refusals: 3, LastUsedAt: later}); err != nil || found[f.key.ID] != want || found["key_b"] != (Used{}) || len(found) != 2 {
				f.Errorf("the use is %+v, %v", found, err)
			}
			return nil
		})
	})
}
