package dtc

import (
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

var contactStories = []story{
	{"NoticesLeaveWhoWasWrittenToAlone", noticesLeaveWhoWasWrittenToAlone},
	{"ANoticeBeginsTheRest", aNoticeBeginsTheRest},
	{"ThePolicySaysHowLongCustomersRest", thePolicySaysHowLongCustomersRest},
	{"ARepliedCustomerRestsUntilHeWritesAgain", aRepliedCustomerRestsUntilHeWritesAgain},
}

// notices are the three ways to write to a customer about an order.
func notices(o getOrderOut) map[string]args {
	return map[string]args{
		"dtc_fulfil_order": fulfilling(o).with("notify_customer", true),
		"dtc_refund_order": refunding(o, 100).with("notify_customer", true),
		"dtc_cancel_order": cancelling(o).with("notify_customer", true),
	}
}

func (h *house) contacted(customer string, at time.Time) {
	h.Helper()
	h.exec("UPDATE customers SET last_contacted_at = $1 WHERE customer_no = $2", store.Micros(at), customer)
}

func noticesLeaveWhoWasWrittenToAlone(h *house) {
	for name := range notices(getOrderOut{}) {
		o := h.fresh()
		in := notices(o)[name]
		h.contacted(o.CustomerNo, sunday.Add(-shop.Rest+time.Minute))
		for what, do := range map[string]func() error{
			"a preview": func() error { _, err := h.preview(name, in); return err },
			"a write":   func() error { _, err := write[any](h, name, in); return err },
		} {
			r := h.refused(what+" of "+name, do(), tools.LimitExceeded, "")
			if r.RetryAfter != 60 || !strings.Contains(r.Message, sunday.Add(time.Minute).Format(time.RFC3339)) || !strings.Contains(r.Next, "notify_customer:false") {
				h.Errorf("%s of %s is refused with %+v", what, name, r)
			}
		}
		if _, err := write[any](h, name, in.with("notify_customer", false)); err != nil {
			h.Errorf("%s that writes to nobody: %v", name, err)
		}
		if got := h.number("SELECT last_contacted_at FROM customers WHERE customer_no = $1", o.CustomerNo); got != sunday.Add(-shop.Rest+time.Minute).UnixMicro() {
			h.Errorf("%s that writes to nobody marks the customer as written to", name)
		}
	}
}

func aNoticeBeginsTheRest(h *house) {
	for name := range notices(getOrderOut{}) {
		o := h.fresh()
		h.contacted(o.CustomerNo, sunday.Add(-shop.Rest)) // the rest is just over
		if _, err := write[any](h, name, notices(o)[name]); err != nil {
			h.Fatal(err)
		}
		if got := h.number("SELECT last_contacted_at FROM customers WHERE customer_no = $1", o.CustomerNo); got != sunday.UnixMicro() {
			h.Errorf("%s does not mark the customer as written to", name)
		}
	}
}

func thePolicySaysHowLongCustomersRest(h *house) {
	o := h.fresh()
	c, err := h.call("dtc_fulfil_order", notices(o)["dtc_fulfil_order"])
	if err != nil {
		h.Fatal(err)
	}
	preview := func(rest, ago time.Duration) error {
		h.contacted(o.CustomerNo, sunday.Add(-ago))
		return h.db.Read(h.Context(), func(tx *store.Tx) error {
			c.Tx, c.ContactRest = tx, rest
			_, err := c.Tool.Handler().Preview(c)
			return err
		})
	}
	for _, at := range []struct {
		rest, ago time.Duration
		words     string
	}{{0, shop.Rest, "24 hours"}, {90 * time.Minute, 90 * time.Minute, "90 minutes"}, {7 * shop.Rest, 7 * shop.Rest, "168 hours"}} {
		if err := preview(at.rest, at.ago); err != nil {
			h.Errorf("after a rest of %s: %v", at.words, err)
		}
		if r := h.refused("within it", preview(at.rest, at.ago-1e6), tools.LimitExceeded, ""); !strings.Contains(r.Message, at.words) {
			h.Errorf("a rest of %s is told as %q", at.words, r.Message)
		}
	}
	h.contacted(o.CustomerNo, sunday.Add(-shop.Rest))
}

func aRepliedCustomerRestsUntilHeWritesAgain(h *house) {
	id := h.ticket("tkt_rest", "open", "Where is it?")
	h.contacted("1001", sunday.Add(-time.Minute)) // before he wrote: he waits for an answer
	reply := func(version int64) error {
		_, err := write[tools.Fulfilled](h, "dtc_request_action", asking("helpdesk:send_reply", "ticket:"+id, args{"expected_version": version, "text": "On its way."}))
		return err
	}
	if err := reply(1); err != nil {
		h.Fatal(err)
	}
	h.contacted("1001", sunday.Add(time.Second)) // a moment after he wrote
	r := h.refused("a second reply", reply(2), tools.LimitExceeded, "")
	if !strings.Contains(r.Next, "dtc_draft_reply") {
		h.Errorf("the next step is %q", r.Next)
	}
	h.exec(`INSERT INTO ticket_messages (merchant_id, ticket_id, message_no, author, body, at) VALUES ($1, $2, 3, 'customer', 'And when?', $3)`,
		merchant, id, store.Micros(sunday.Add(2*time.Second)))
	h.exec("UPDATE tickets SET messages = 3, version = 3 WHERE ticket_id = $1", id)
	if err := reply(3); err != nil {
		h.Errorf("a reply to what he wrote since: %v", err)
	}
	h.contacted("1001", sunday.Add(-shop.Rest))
}
