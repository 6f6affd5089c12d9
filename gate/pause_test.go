package gate

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// A send that is paused half-way is the one place where a call stops the job of another, so it is tried with the real tools.
func TestAPausedSendStopsBetweenTwoBatches(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		h.tools = tools.NewRegistry(dtc.Tools()...)
		agent := h.mint(auth.Key{Name: "agent", Scopes: []auth.Scope{"marketing:write", "marketing:send"}, Ceiling: auth.MaxLevel})
		campaign := h.letterTo(agent, 450)
		out, err := h.call(agent, "dtc_send_campaign", fmt.Sprintf(`{"campaign_id":%q,"expected_version":1,"expected_recipients":450,
			"max_cost":{"amount_minor":45,"currency":"GBP"},"idempotency_key":"k","reason":"the spring launch"}`, campaign))
		if err != nil {
			t.Fatal(err)
		}
		id := h.result(out).JobID
		h.tx(func(tx *store.Tx) error {
			j, _, err := approvals.Claim(tx, "w")
			if err == nil {
				_, err = h.begin(tx, j, "w", nil)
			}
			return err
		})
		if done, err := h.step(t.Context(), id, "w"); done || err != nil {
			t.Fatal(done, err)
		}
		if _, err := h.call(agent, "dtc_pause", fmt.Sprintf(`{"kind":"campaign","id":%q}`, campaign)); err != nil {
			t.Fatal(err)
		}
		if done, err := h.step(t.Context(), id, "w"); !done || err != nil {
			t.Fatalf("the step after the pause: %v %v", done, err)
		}
		j := h.job(id)
		want := fmt.Sprintf(`{"campaign_id":%q,"cost":{"amount_minor":20,"currency":"GBP"},"sent_to":200}`, campaign)
		if j.Status != tools.JobCancelled || j.Reason != "paused" || string(j.Result) != want ||
			j.Why != "The campaign was paused after 200 of 450 sent. What was done until then stands." {
			t.Errorf("the job is %+v with %s, want %s", j, j.Result, want)
		}
		h.resume()
		if n := h.count("SELECT COUNT(*) FROM deliveries WHERE mailing_id = $1", campaign); n != 200 {
			t.Errorf("%d were written to", n)
		}
	})
}

// letterTo fills the shop and makes a draft of an e-mail to so many customers.
func (h *house) letterTo(agent auth.Principal, customers int) (campaign string) {
	h.t.Helper()
	if _, err := shop.LoadDemo(h.t.Context(), h.db, h.merchant, 1, h.db.Now()); err != nil {
		h.t.Fatal(err)
	}
	rows := make([][]any, customers)
	for i := range rows {
		no := fmt.Sprintf("far%04d", i)
		rows[i] = []any{h.merchant, no, "Far", no + "@example.com", 1, 1}
	}
	h.tx(func(tx *store.Tx) error {
		return tx.Insert("customers", []string{"merchant_id", "customer_no", "country", "email", "email_consent_at", "contact_synthetic"}, rows)
	})
	h.exec(`INSERT INTO segments (merchant_id, segment_id, name, rule, created_at, created_by) VALUES ($1, 'seg_far', 'far', '{"country":"Far"}', 0, 'staff')`, h.merchant)
	out, err := h.call(agent, "dtc_create_campaign", `{"name":"Far","channel":"email","subject":"Hello","body":"Unsubscribe.","segment_id":"seg_far"}`)
	if err != nil {
		h.t.Fatal(err)
	}
	var made struct{ ID string }
	if err := json.Unmarshal(h.result(out).Result, &made); err != nil {
		h.t.Fatal(err)
	}
	return made.ID
}
