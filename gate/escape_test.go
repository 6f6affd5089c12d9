package gate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// An agent makes sub-tokens of sub-tokens, a million with the usual depth. Its key is revoked all the same, in no more than a count takes.
func TestNoNumberOfSubTokensKeepsAKeyFromBeingRevoked(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		root := o.rooted(true)
		const n = 10_001 // one more than are counted
		tokens, above := make([][]any, n), make([][]any, n)
		end := time.Now().Add(time.Hour).UnixMicro()
		for i := range n {
			id := fmt.Sprintf("sub_%05d", i)
			tokens[i] = []any{id, o.merchant, root.ID, "x", "", id, "", "[]", "[]", "[]", "[]", "[]", "L0", 0, 0, 0, 1, 0, end}
			above[i] = []any{root.ID, id}
		}
		o.tx(func(tx *store.Tx) error {
			err := tx.Insert("sub_tokens", []string{
				"id", "merchant_id", "parent_id", "name", "audience", "secret_sha256", "hint", "scopes", "actions", "tools", "resources", "networks",
				"ceiling", "per_minute", "burst", "depth", "version", "created_at", "expires_at",
			}, tokens)
			if err != nil {
				return err
			}
			return tx.Insert("sub_token_above", []string{"above_id", "sub_token_id"}, above)
		})
		r, err := o.RevokeKey(t.Context(), o.admin, root.ID)
		if o.must("revoking", err); r.SubTokens != n-1 {
			t.Errorf("%d were counted", r.SubTokens)
		}
	})
}

// The record keeps a text up to a length. Whoever changes a key cannot push what matters beyond it, nor write it into the key's name.
func TestNoListOrNameHidesWhatElseOfAKeyWasChanged(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx, yes, no, low, high := t.Context(), true, false, "low", "high"
		guarded := terms("bot", "orders:read")
		guarded.RequiresApproval, guarded.Ceiling, guarded.Networks = &yes, &low, []string{"10.0.0.0/8"}
		k, err := o.MintKey(ctx, o.admin, guarded, "")
		o.must("minting", err)
		name, long := "bot; ceiling: L1 → L0", []string{}
		for i := range 100 {
			long = append(long, fmt.Sprintf("order:%s%03d", strings.Repeat("x", 100), i))
		}
		change := KeyTerms{Name: &name, Resources: long, RequiresApproval: &no, Ceiling: &high, Networks: []string{}}
		_, err = o.ChangeKey(ctx, o.admin, k.ID, 1, change)
		o.must("changing", err)
		reason := o.entries("key.changed")[0].Reason
		for _, want := range []string{
			`changed: name,requires_approval,ceiling,resources,networks; name: "bot" → "bot; ceiling: L1 → L0";`,
			"requires_approval: true → false", "; ceiling: L1 → L7",
		} {
			if !strings.Contains(reason, want) {
				t.Errorf("%q is not in %.300s", want, reason)
			}
		}
	})
}

// What a key has others do with its sub-tokens is taken back with what it did itself.
func TestARewindReachesWhatSubTokensDid(t *testing.T) {
	undoing(t, func(t *testing.T, h *house, _ *hook) {
		root := h.rooted(false)
		child := h.give(h.give(root, auth.Delegation{Depth: 1}), auth.Delegation{})
		for _, p := range []auth.Principal{child, root, h.free} {
			if _, err := h.call(p, "test_move", oneLamp); err != nil {
				t.Fatal(err)
			}
		}
		all, _, err := h.Rewind(t.Context(), auth.OperatorPrincipal(h.merchant), root.ID, time.Unix(0, 0), true)
		if err != nil || len(all) != 2 {
			t.Errorf("%v, %d effects", err, len(all))
		}
	})
}

// A call that was let in before its key was held to a network comes from outside of it.
func TestWhoeverLostTheirNetworkIsRefusedInTheCallUnderWay(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		root := o.rooted(false)
		child := o.give(root, auth.Delegation{})
		_, err := o.ChangeKey(t.Context(), o.operator, root.ID, 1, KeyTerms{Networks: []string{"10.0.0.0/8"}})
		o.must("narrowing", err)
		for what, p := range map[string]auth.Principal{"the key": root, "its sub-token": child} {
			_, err := o.call(p, "test_move", oneLamp)
			o.refused(what+" writes", tools.ForbiddenNetwork, err)
			_, err = o.call(p, "test_read", `{}`)
			o.refused(what+" reads", tools.ForbiddenNetwork, err)
		}
		if o.effects() != 0 {
			t.Error("it had an effect")
		}
	})
}

// Whoever has read what outsiders wrote is not rid of it by working with a sub-token.
func TestATaintIsNotShedWithASubToken(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		root := o.rooted(false)
		child := o.give(o.give(root, auth.Delegation{Depth: 1}), auth.Delegation{})
		taint := func(p auth.Principal) (found *auth.Taint) {
			o.tx(func(tx *store.Tx) (err error) {
				found, err = auth.TaintOf(tx, p)
				return err
			})
			return found
		}
		o.tx(func(tx *store.Tx) error { return auth.SetTaint(tx, root, "dtc_get_order", "call_1") })
		if taint(child) == nil || taint(root) == nil || taint(o.free) != nil {
			t.Errorf("the sub-token %v, the key %v, another %v", taint(child), taint(root), taint(o.free))
		}
	})
}

// Anybody who reaches the page may try codes of links. Those who write do not wait for that.
func TestASignInThatProvesNobodyTakesNoLockOfThoseWhoWrite(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		now, begun, done, over := time.Now(), make(chan struct{}), make(chan struct{}), make(chan error, 1)
		o.db.Now = func() time.Time { return now }
		try := func(ctx context.Context) error {
			_, err := o.SignInByLink(ctx, Browser{Source: "127.0.0.1"}, "sq_lnk_x")
			return err
		}
		o.refused("the first one, which is recorded", tools.Unauthorized, try(t.Context()))
		go func() {
			over <- o.db.InTx(t.Context(), func(*store.Tx) error {
				close(begun)
				<-done
				return nil
			})
		}()
		<-begun
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // without the protection it waits for ever
		defer cancel()
		err := try(ctx)
		close(done)
		o.must("writing", <-over)
		o.refused("one more", tools.Unauthorized, err)
	})
}

// A session that was ended while its request was on its way shows nothing any more.
func TestASessionThatWasEndedShowsNoAccount(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx, by := t.Context(), o.signIn(o.admin)
		_, err := o.Account(ctx, by.Principal)
		o.must("her account", err)
		_, err = o.RevokeSessionsOf(ctx, o.guard, "ada", "")
		o.must("ending her sessions", err)
		_, err = o.Account(ctx, by.Principal)
		o.refused("her account", tools.Unauthorized, err)
		_, _, err = o.BeginPasskey(ctx, by.Principal, Browser{Origin: "http://localhost:8080"})
		o.refused("a passkey", tools.Unauthorized, err)
	})
}

// A program that made a list of nothing would get a key for everything.
func TestANewKeyIsNotLimitedToNothing(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		none := []string{}
		for field, limit := range map[string]KeyTerms{"tools": {Tools: none}, "resources": {Resources: none}, "networks": {Networks: none}} {
			name := "bot"
			limit.Name, limit.Scopes = &name, []string{"orders:read"}
			_, err := o.MintKey(t.Context(), o.admin, limit, "")
			if r := o.refused(field, tools.InvalidArguments, err); r.Errors.Fields[0].Field != field {
				t.Errorf("%+v", r.Errors)
			}
		}
	})
}

// Who makes a link for somebody holds what they hold. That is to be so when the link is used, too; and nobody comes back with one that they
// made in a session that has been ended.
func TestALinkEndsWhenItsPersonHoldsMoreOrIsSignedOut(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx := t.Context()
		o.hire("newbie", "security")
		for what, change := range map[string]func() error{
			"a role that holds more": func() error {
				_, err := o.PutRole(ctx, o.operator, "security", []string{"keys:admin", "audit:read", "orders:refund"})
				return err
			},
			"all sessions ended": func() error {
				_, err := o.RevokeSessionsOf(ctx, o.operator, "newbie", "")
				return err
			},
			"another role": func() error {
				_, err := o.GiveRoles(ctx, o.operator, "newbie", []string{"security", "admin"})
				return err
			},
		} {
			_, err := o.PutRole(ctx, o.operator, "security", []string{"keys:admin", "audit:read"})
			o.must("the role", err)
			_, err = o.GiveRoles(ctx, o.operator, "newbie", []string{"security"})
			o.must("the roles", err)
			in, err := o.Invite(ctx, o.guard, "newbie", "https://gate.example.com", 0)
			o.must("a link", err)
			o.must(what, change())
			_, code, _ := strings.Cut(in.Link, "#")
			_, err = o.SignInByLink(ctx, Browser{Source: "127.0.0.1"}, code)
			o.refused(what, tools.Unauthorized, err)
		}
	})
}
