package auth

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func TestAGrantHoldsWholeNames(t *testing.T) {
	for _, c := range []struct {
		grant, action string
		want          bool
	}{
		{"payments:refund", "payments:refund", true},
		{"payments:refund", "payments:refund_all", false},
		{"payments:refund", "payments:refun", false},
		{"helpdesk:*", "helpdesk:send_reply", true},
		{"helpdesk:*", "helpdesk2:send_reply", false},
		{"helpdesk:*", "help:send_reply", false},
		{"help*", "helpdesk:send_reply", false},
		{"helpdesk:s*", "helpdesk:send_reply", false},
		{"*:send_reply", "helpdesk:send_reply", false},
		{"*:*", "helpdesk:send_reply", false},
		{"*", "helpdesk:send_reply", true},
		{"*", "helpdesk", false},
		{"", "helpdesk:send_reply", false},
		{"Helpdesk:*", "helpdesk:send_reply", false},
	} {
		p := Principal{Links: []Link{{Kind: KindKey, Actions: []string{"other:action", c.grant}}}}
		if got := p.MayRequest(c.action); got != c.want {
			t.Errorf("%q holds %q: %t, want %t", c.grant, c.action, got, c.want)
		}
	}
	if (Principal{}).MayRequest("payments:refund") {
		t.Error("a key without grants holds an action")
	}
}

func TestOnlyGrantsOfActionsThatExistAreMinted(t *testing.T) {
	known := []string{"helpdesk:close_ticket", "helpdesk:send_reply", "payments:refund"}
	got, err := ParseActions([]string{" payments:refund", "helpdesk:*", "payments:refund"}, known)
	if diff := cmp.Diff([]string{"helpdesk:*", "payments:refund"}, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, wrong := range []string{"help*", "helpdesk:s*", "*:*", "helpdesk", "", "shop:*", "payments:refunds", "**"} {
		_, err := ParseActions([]string{wrong}, known)
		if err == nil || !strings.Contains(err.Error(), strings.Join(known, ", ")) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestAKeyKeepsItsActions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var p, none Principal
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			m, err := EnsureMerchant(tx, "shop")
			if err != nil {
				return err
			}
			for into, actions := range map[*Principal][]string{&p: {"helpdesk:*", "payments:refund"}, &none: nil} {
				_, secret, err := MintKey(tx, Key{Merchant: m.ID, Name: "bot", Actions: actions})
				if err != nil {
					return err
				}
				if *into, err = Authenticate(tx, secret); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"helpdesk:*", "payments:refund"}, p.Links[0].Actions); diff != "" || len(none.Links[0].Actions) != 0 {
			t.Errorf("kept %v and %v", p.Links[0].Actions, none.Links[0].Actions)
		}
	})
}
