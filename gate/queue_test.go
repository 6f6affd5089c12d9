package gate

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// shopped is a house with the demo shop behind the real tools.
func shopped(t *testing.T, fn func(h storeroom)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := storeroom{newHouse(t, db)}
		h.tools = tools.NewRegistry(dtc.Tools()...)
		if _, err := shop.LoadDemo(t.Context(), db, h.merchant, 1, db.Now()); err != nil {
			t.Fatal(err)
		}
		fn(h)
	})
}

// only makes a key that may do everything to some objects.
func (h storeroom) only(resources ...string) auth.Principal {
	return h.mint(auth.Key{Name: "only", Scopes: auth.AgentScopes, Ceiling: auth.MaxLevel, Actions: []string{"*"}, Resources: resources})
}

func (h storeroom) text(q string, args ...any) (s string) {
	h.tx(func(tx *store.Tx) error { return tx.QueryRow(q, args...).Scan(&s) })
	return s
}

// may holds what p is told to a call against whether it may make it.
func (h storeroom) may(p auth.Principal, may bool, tool, args string) json.RawMessage {
	h.t.Helper()
	out, err := h.call(p, tool, args)
	if may && err != nil {
		h.t.Errorf("%s %s is refused: %v", tool, args, err)
	}
	if !may {
		wantCode(h.t, err, tools.ForbiddenResource)
	}
	return out.Body
}

func TestASupportKeyIsConfinedToOneQueue(t *testing.T) {
	shopped(t, func(h storeroom) {
		p := h.only("queue:returns/*")
		const one = `SELECT MIN(ticket_id) FROM tickets WHERE queue = $1 AND status = 'open'`
		ours, theirs := h.text(one, "returns"), h.text(one, "delivery")
		var list struct{ Tickets []struct{ Queue string } }
		if err := json.Unmarshal(h.may(p, true, "dtc_get_tickets", `{"queue":"returns","limit":50}`), &list); err != nil || len(list.Tickets) == 0 {
			h.t.Fatalf("the queue has %d tickets: %v", len(list.Tickets), err)
		}
		h.may(p, false, "dtc_get_tickets", `{"queue":"delivery"}`)
		h.may(p, false, "dtc_get_tickets", `{}`)
		h.may(p, false, "dtc_get_tickets", `{"query":"lamp"}`)
		for ticket, may := range map[string]bool{ours: true, theirs: false, "tkt_none": false, "*": false} {
			h.may(p, may, "dtc_get_tickets", `{"ticket_id":"`+ticket+`"}`)
			h.may(p, may, "dtc_get_tickets", `{"queue":"returns","ticket_id":"`+ticket+`"}`)
			h.may(p, may, "dtc_draft_reply", `{"ticket_id":"`+ticket+`","text":"Hello"}`)
			for _, action := range []string{`"close_ticket","arguments":{"expected_version":1}`, `"send_reply","arguments":{"expected_version":1,"text":"Hello"}`} {
				args := fmt.Sprintf(`{"action":"helpdesk:%s,"target":"ticket:%s","idempotency_key":"%s%d","reason":"because it stands"}`,
					action[1:], ticket, ticket, len(action))
				h.may(p, may, "dtc_request_action", args)
			}
		}
		h.may(p, false, "dtc_search_orders", `{}`)
		h.may(p, false, "dtc_get_sales_summary", `{"from":"2026-11-01","to":"2026-11-02"}`)
		h.may(p, true, "dtc_whoami", `{}`)
		h.may(p, true, "dtc_get_job", `{}`)
	})
}

// A thing has one name whichever its caller writes: what is out of reach by one name is not reached by another.
func TestAnotherSpellingOfAnIdReachesNothingElse(t *testing.T) {
	shopped(t, func(h storeroom) {
		order, other := h.text(`SELECT MIN(order_no) FROM orders`), h.text(`SELECT MAX(order_no) FROM orders`)
		p := h.only("order:" + order)
		for _, spelling := range []string{"", "#"} {
			h.may(p, true, "dtc_get_order", `{"order_no":"`+spelling+order+`"}`)
			h.may(p, false, "dtc_get_order", `{"order_no":"`+spelling+other+`"}`)
		}
		code := h.text(`SELECT MIN(code) FROM discounts`)
		id := h.text(`SELECT discount_id FROM discounts WHERE code = $1`, code)
		for _, limit := range []string{code, id} {
			q := h.only("discount:" + limit)
			h.may(q, true, "dtc_pause", `{"kind":"discount","id":"`+code+`"}`)
			h.may(q, true, "dtc_pause", `{"kind":"discount","id":"`+id+`"}`)
		}
		h.may(h.only("discount:OTHER"), false, "dtc_pause", `{"kind":"discount","id":"`+id+`"}`)
	})
}

// Full rows of another type are objects of their own. Parts of an object are seen with it, and acted on by their own name alone.
func TestWhatAnAnswerShowsBesideItsOwnRowsIsHeldToLimitsToo(t *testing.T) {
	shopped(t, func(h storeroom) {
		customer := `{"customer_no":"` + h.text(`SELECT MIN(customer_no) FROM orders`) + `"}`
		h.may(h.only("customer:*"), false, "dtc_get_customer", customer)
		if e, k := h.last(); k.Name != "rows" || e.Status != "refused" {
			h.t.Errorf("it is on record as %s by %+v", e.Status, k)
		}
		h.may(h.only("customer:*", "order:*"), true, "dtc_get_customer", customer)
		h.may(h.only("product:*"), true, "dtc_search_products", `{}`)
		h.may(h.only("variant:*"), false, "dtc_search_products", `{}`)
		h.may(h.only("ad_account:*"), true, "dtc_list_ad_accounts", `{}`)
		sku := h.text(`SELECT MIN(sku) FROM variants`)
		h.may(h.only("product:*"), false, "dtc_adjust_inventory", `{"sku":"`+sku+`","delta":1,"cause":"received","expected_on_hand":0}`)
	})
}
