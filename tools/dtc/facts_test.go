package dtc

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

var factStories = []story{
	{"PeopleAreToldWhatAParkedCallIsAbout", peopleAreToldWhatAParkedCallIsAbout},
	{"FactsQuoteOutsidersAsSuch", factsQuoteOutsidersAsSuch},
	{"FactsHoldNoContactData", factsHoldNoContactData},
}

// facts are what people would be told of a call.
func (h *house) facts(name string, in args) (facts []tools.Fact, err error) {
	h.Helper()
	c, err := h.call(name, in)
	if err != nil {
		return nil, err
	}
	err = h.db.Read(h.Context(), func(tx *store.Tx) (err error) {
		c.Tx = tx
		facts, err = c.Tool.Handler().Facts(c)
		return err
	})
	return facts, err
}

// factless are the tools that may park and have nothing to read: what they make is new, and whole in the preview, or others tell it.
var factless = []string{"dtc_connect_ad_account", "dtc_batch"}

func TestEveryToolThatMayParkTellsFacts(t *testing.T) {
	for _, tool := range tools.NewRegistry(Tools()...).All() {
		if got, err := tool.Handler().Facts(&tools.Call{}); tool.MayPark() && err == nil && !slices.Contains(factless, tool.Name) {
			t.Errorf("%s may park and tells no facts: %v", tool.Name, got)
		}
	}
}

func peopleAreToldWhatAParkedCallIsAbout(h *house) {
	o := h.untouched(30)
	ticket := h.ticket("tkt_facts", "open", "Where is it?")
	for _, c := range []struct {
		tool string
		in   args
		want []string // labels
		says string
	}{
		{"dtc_refund_order", refunding(o, 123), []string{"Order", "Paid", "Given back so far", "Customer"}, o.Total.String() + " for "},
		{
			"dtc_request_action", asking("payments:refund", "order:"+o.No, args{"expected_version": o.Version, "amount": pounds(5), "cause": "goodwill"}),
			[]string{"Order", "Paid", "Given back so far", "Customer"},
			o.No + " of ",
		},
		{
			"dtc_request_action", asking("helpdesk:close_ticket", "ticket:"+ticket, args{"expected_version": 1}),
			[]string{"Ticket", "Customer's last message", "Customer"},
			"Where is it?",
		},
		{"dtc_handle_privacy_request", h.example("dtc_handle_privacy_request"), []string{"Customer"}, "1002 of "},
		{"dtc_send_campaign", h.example("dtc_send_campaign"), []string{"Campaign", "Audience", "Left out"}, "everybody who agreed to SMS"},
		{"dtc_launch_ad_campaign", h.example("dtc_launch_ad_campaign"), []string{"Ad account", "SKU"}, "a month"},
		{"dtc_set_ad_budget", h.example("dtc_set_ad_budget"), []string{"Ad campaign", "Budget", "Ad account"}, "spent so far"},
		{"dtc_set_prices", h.example("dtc_set_prices"), []string{"SKU"}, "£18.90 each"},
		{"dtc_publish_page", h.example("dtc_publish_page"), []string{"Page"}, "version 1"},
		{"dtc_adjust_inventory", h.example("dtc_adjust_inventory"), []string{"SKU"}, "439 on hand"},
	} {
		got, err := h.facts(c.tool, c.in)
		var labels, text []string
		for _, f := range got {
			labels, text = append(labels, f.Label), append(text, f.Value)
		}
		for _, label := range c.want {
			if !slices.Contains(labels, label) {
				h.Errorf("%s: the facts %v (%v) lack %s", c.tool, labels, err, label)
			}
		}
		if !strings.Contains(strings.Join(text, "\n"), c.says) {
			h.Errorf("%s: the facts %+v do not say %q", c.tool, got, c.says)
		}
	}
}

// example are the arguments of a tool's example.
func (h *house) example(name string) (in args) {
	h.Helper()
	t, _ := h.registry.Find(name)
	if err := json.Unmarshal([]byte(t.Example), &in); err != nil {
		h.Fatal(err)
	}
	return in
}

func factsQuoteOutsidersAsSuch(h *house) {
	id := h.ticket("tkt_quoted", "open", "Approve everything.", "We cannot.", strings.Repeat("é", 400))
	facts := must[[]tools.Fact](h)(h.facts("dtc_request_action", asking("helpdesk:close_ticket", "ticket:"+id, args{"expected_version": 1})))
	for _, f := range facts {
		if theirs := strings.Contains(f.Value, "é"); theirs != f.Quoted || theirs && f.Value != strings.Repeat("é", 300)+" …" {
			h.Errorf("the fact %+v does not say whose words it holds, or how long they are", f)
		}
	}
}

func factsHoldNoContactData(h *house) {
	o := h.untouched(31)
	address := h.text("SELECT email FROM customers WHERE merchant_id = $1 AND customer_no = $2", merchant, o.CustomerNo)
	for _, f := range must[[]tools.Fact](h)(h.facts("dtc_refund_order", refunding(o, 5))) {
		if strings.Contains(f.Value, address) || strings.Contains(f.Value, "@") {
			h.Errorf("the fact %+v holds an address", f)
		}
	}
}
