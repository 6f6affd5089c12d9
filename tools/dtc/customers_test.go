package dtc

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

var customerStories = []story{
	{"CustomersAreFoundByRule", customersAreFoundByRule},
	{"ContactNeedsItsScope", contactNeedsItsScope},
	{"NotesAreUntrusted", notesAreUntrusted},
	{"TagsChangeAndComeBack", tagsChangeAndComeBack},
	{"OptOutStands", optOutStands},
	{"UpdateIsRefused", updateIsRefused},
	{"SegmentIsARule", segmentIsARule},
	{"SegmentInUseStays", segmentInUseStays},
	{"PrivacyIsPreviewed", privacyIsPreviewed},
	{"ErasureLooksThroughTheRecord", erasureLooksThroughTheRecord},
}

func (h *house) customer(no string) getCustomerOut {
	h.Helper()
	return must[getCustomerOut](h)(read[getCustomerOut](h, "dtc_get_customer", args{"customer_no": no}))
}

// buyer gives the nth customer who agreed to everything and has no tag.
func (h *house) buyer(nth int) string {
	h.Helper()
	return h.text(`SELECT customer_no FROM customers WHERE merchant_id = $1 AND email_consent_at IS NOT NULL AND sms_consent_at IS NOT NULL
		AND tags = '[]' AND version = 1 AND note = '' AND erased_at IS NULL AND orders > 1 ORDER BY customer_no LIMIT 1 OFFSET $2`, merchant, nth)
}

func customersAreFoundByRule(h *house) {
	find := func(in args) searchCustomersOut {
		h.Helper()
		return must[searchCustomersOut](h)(read[searchCustomersOut](h, "dtc_search_customers", in))
	}
	const buyers = `SELECT COUNT(DISTINCT o.customer_no) FROM orders o JOIN order_lines l ON l.order_no = o.order_no
		JOIN customers c ON c.customer_no = o.customer_no WHERE o.status <> 'cancelled' AND c.erased_at IS NULL AND `
	sku := h.text("SELECT sku FROM order_lines ORDER BY sku LIMIT 1")
	for what, c := range map[string]struct {
		in   args
		want string
	}{
		"all":      {args{}, "SELECT COUNT(*) FROM customers WHERE erased_at IS NULL"},
		"a number": {args{"query": "1002"}, "SELECT 1"},
		"a prefix": {args{"query": "12"}, "SELECT COUNT(*) FROM customers WHERE erased_at IS NULL AND customer_no LIKE '12%'"},
		"nobody":   {args{"query": "c1002"}, "SELECT 0"},
		"a land":   {args{"where": args{"country": "germany"}}, "SELECT COUNT(*) FROM customers WHERE erased_at IS NULL AND country = 'Germany'"},
		"spenders": {args{"where": args{"min_spent": pounds(200_000), "min_orders": 3}}, "SELECT COUNT(*) FROM customers WHERE erased_at IS NULL AND spent_minor >= 200000 AND orders >= 3"},
		"buyers":   {args{"where": args{"bought_any_sku": []string{sku}}}, buyers + "l.sku = '" + sku + "'"},
		"the team": {args{"where": args{"tags_any": []string{"Team"}}}, "SELECT COUNT(*) FROM customers WHERE tags LIKE '%team%' AND erased_at IS NULL"},
	} {
		if got, want := find(c.in), h.number(c.want); int64(got.Total) != want {
			h.Errorf("%s: %d, want %d", what, got.Total, want)
		}
	}
	top := find(args{"sort": "most_spent", "limit": 2})
	next := find(args{"sort": "most_spent", "limit": 2, "cursor": top.NextCursor})
	spent := []int64{top.Customers[0].Spent.AmountMinor, top.Customers[1].Spent.AmountMinor, next.Customers[0].Spent.AmountMinor}
	if !slices.IsSortedFunc(spent, func(a, b int64) int { return int(b - a) }) || top.Customers[0].LastOrder == "" {
		h.Errorf("by spent: %v %+v", spent, top.Customers)
	}
	raw, err := json.Marshal(top.Customers[0])
	if err != nil || strings.Contains(string(raw), "@") || strings.Contains(string(raw), "07700") {
		h.Errorf("a row is %s", raw)
	}
	for field, in := range map[string]args{
		"query":                    {"query": "c@example.com"},
		"where.min_spent.currency": {"where": args{"min_spent": args{"amount_minor": 1, "currency": "EUR"}}},
		"where.bought_any_sku[0]":  {"where": args{"bought_any_sku": []string{"none"}}},
		"where.last_order_before":  {"where": args{"last_order_after": "2026-02-01", "last_order_before": "2026-01-01"}},
		"sort":                     {"sort": "name"},
	} {
		_, err := read[searchCustomersOut](h, "dtc_search_customers", in)
		h.refused(field, err, tools.InvalidArguments, field)
	}
}

func contactNeedsItsScope(h *house) {
	no := h.buyer(0)
	got := h.customer(no)
	if got.Email != "c•••@example.com" || got.Phone != "" || got.Simulated || !got.EmailConsent || !got.SMSConsent || got.Version != 1 {
		h.Errorf("masked: %+v", got)
	}
	if len(got.RecentOrders) == 0 || len(got.RecentOrders) > 5 || got.RecentOrders[0].CustomerNo != no {
		h.Errorf("the orders: %+v", got.RecentOrders)
	}
	whole := must[getCustomerOut](h)(read[getCustomerOut](h, "dtc_get_customer", args{"customer_no": no, "include_contact": true}))
	if whole.Email != "c"+no+"@example.com" || !strings.HasPrefix(whole.Phone, "07700 900") || !whole.Simulated {
		h.Errorf("with contact: %+v", whole)
	}
	for include, want := range map[bool]string{false: "[] L1", true: "[customers:pii] L4"} {
		c, err := h.call("dtc_get_customer", args{"customer_no": no, "include_contact": include})
		if err != nil {
			h.Fatal(err)
		}
		need, err := c.Tool.Handler().Needs(c)
		risk, lost := c.Tool.Handler().Rate(c, tools.Preview{})
		if need == nil {
			need = []auth.Scope{}
		}
		if text := fmt.Sprint(need, " ", risk.Level()); err != nil || lost != nil || text != want {
			h.Errorf("include_contact %v needs %s, want %s", include, text, want)
		}
	}
	_, err := read[getCustomerOut](h, "dtc_get_customer", args{"customer_no": "none"})
	h.refused("nobody", err, tools.NotFound, "")
}

func notesAreUntrusted(h *house) {
	no := h.text("SELECT customer_no FROM customers WHERE note <> '' AND erased_at IS NULL ORDER BY customer_no LIMIT 1")
	c, err := h.call("dtc_get_customer", args{"customer_no": no})
	if err != nil {
		h.Fatal(err)
	}
	err = h.db.Read(h.Context(), func(tx *store.Tx) error {
		c.Tx = tx
		answer, err := c.Tool.Handler().Read(c)
		if err == nil && (answer.(getCustomerOut).Note == nil || !c.QuotesOutsider()) {
			h.Errorf("the note is %+v, taken as an outsider's: %v", answer, c.QuotesOutsider())
		}
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	if got := h.customer(h.buyer(0)); got.Note != nil {
		h.Errorf("a note out of nothing: %+v", got.Note)
	}
}

func (h *house) tagged(tag string) int64 {
	h.Helper()
	return h.number("SELECT COUNT(*) FROM customer_tags WHERE merchant_id = $1 AND tag = $2", merchant, tag)
}

func tagsChangeAndComeBack(h *house) {
	no := h.buyer(0)
	update := func(version int64, in args) (updateCustomerOut, func() error, error) {
		return undoable[updateCustomerOut](h, "dtc_update_customer", in.with("customer_no", no).with("expected_version", version))
	}
	in := args{"customer_no": no, "expected_version": 1, "add_tags": []string{"vip", "wholesale"}}
	p := must[tools.Preview](h)(h.preview("dtc_update_customer", in))
	want := []tools.Change{{Object: "customer " + no, Field: "tags", From: "none", To: "vip, wholesale"}}
	if diff := cmp.Diff(want, p.Changes); diff != "" || p.Summary != "Change the tags of customer "+no || p.Irreversible != "" || p.Version != "1" {
		h.Errorf("the preview is %+v\n%s", p, diff)
	}
	if _, _, err := update(1, args{"add_tags": []string{"vip", "wholesale"}}); err != nil {
		h.Fatal(err)
	}
	_, undo, err := update(2, args{"remove_tags": []string{"VIP"}, "opt_out": []string{"email"}})
	if err != nil || h.tagged("vip") != 0 {
		h.Fatalf("%v, %d with vip", err, h.tagged("vip"))
	}
	if err := undo(); err != nil || h.tagged("vip") != 1 {
		h.Fatalf("undoing: %v, %d with vip", err, h.tagged("vip"))
	}
	got := h.customer(no)
	if diff := cmp.Diff([]string{"vip", "wholesale"}, got.Tags); diff != "" || got.Version != 4 || got.EmailConsent || !got.SMSConsent {
		h.Errorf("after the undo: %+v\n%s", got, diff)
	}
	_, undo, err = update(4, args{"add_tags": []string{"new"}})
	if err != nil {
		h.Fatal(err)
	}
	if _, _, err := update(5, args{"add_tags": []string{"newer"}}); err != nil {
		h.Fatal(err)
	}
	if err := undo(); err == nil {
		h.Error("an undo overwrote what came after it")
	}
}

func optOutStands(h *house) {
	no := h.buyer(0)
	in := args{"customer_no": no, "expected_version": 1, "opt_out": []string{"sms"}}
	p := must[tools.Preview](h)(h.preview("dtc_update_customer", in))
	if p.Irreversible == "" || p.Summary != "End the consent to SMS of customer "+no {
		h.Errorf("the preview is %+v", p)
	}
	_, _, err := undoable[updateCustomerOut](h, "dtc_update_customer", in)
	if err == nil || err.Error() != tools.ErrNoUndo.Error() {
		h.Errorf("an opt-out can be taken back: %v", err)
	}
	must[updateCustomerOut](h)(write[updateCustomerOut](h, "dtc_update_customer", in))
	if got := h.customer(no); got.SMSConsent || !got.EmailConsent {
		h.Errorf("after it: %+v", got)
	}
	_, err = write[updateCustomerOut](h, "dtc_update_customer", in.with("expected_version", 2))
	h.refused("again", err, tools.Conflict, "")
}

func updateIsRefused(h *house) {
	no := h.buyer(0)
	in := args{"customer_no": no, "expected_version": 1}
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"nothing":           {in, tools.Conflict, ""},
		"another version":   {in.with("expected_version", 3).with("add_tags", []string{"vip"}), tools.StaleExpectation, ""},
		"consent":           {in.with("opt_in", []string{"email"}), tools.InvalidArguments, "opt_in"},
		"a channel":         {in.with("opt_out", []string{"post"}), tools.InvalidArguments, "opt_out[0]"},
		"a sentence":        {in.with("add_tags", []string{"Mail her at home"}), tools.InvalidArguments, "add_tags[0]"},
		"to and fro":        {in.with("add_tags", []string{"a"}).with("remove_tags", []string{"A"}), tools.InvalidArguments, "add_tags[0]"},
		"a tag that is not": {in.with("remove_tags", []string{"vip"}), tools.Conflict, ""},
		"nobody":            {in.with("customer_no", "none").with("add_tags", []string{"vip"}), tools.NotFound, ""},
	} {
		_, err := write[updateCustomerOut](h, "dtc_update_customer", c.in)
		h.refused(what, err, c.code, c.field)
	}
}

func segmentIsARule(h *house) {
	in := args{"name": "Loyal at home", "where": args{"country": "United Kingdom", "min_orders": 3}}
	out, undo, err := undoable[createSegmentOut](h, "dtc_create_segment", in)
	if err != nil {
		h.Fatal(err)
	}
	const belong = "FROM customers WHERE country = 'United Kingdom' AND orders >= 3 AND erased_at IS NULL"
	want := []int64{
		h.number("SELECT COUNT(*) " + belong), h.number("SELECT COUNT(email_consent_at) " + belong), h.number("SELECT COUNT(sms_consent_at) " + belong),
	}
	if got := []int64{out.Customers, out.EmailConsent, out.SMSConsent}; !slices.Equal(got, want) || got[0] == 0 {
		h.Errorf("counts %v, want %v", got, want)
	}
	campaign := args{"name": "To the loyal", "channel": "email", "segment_id": out.SegmentID, "subject": "s", "body": "b unsubscribe"}
	made := must[createCampaignOut](h)(write[createCampaignOut](h, "dtc_create_campaign", campaign))
	if p := must[previewCampaignOut](h)(read[previewCampaignOut](h, "dtc_preview_campaign", args{"campaign_id": made.ID})); p.Recipients+p.NoConsent+p.JustReached != out.Customers {
		h.Errorf("the campaign reaches %+v of %d", p, out.Customers)
	}
	if err := undo(); err != nil {
		h.Fatal(err)
	}
	_, err = write[createCampaignOut](h, "dtc_create_campaign", campaign)
	h.refused("a campaign to an archived segment", err, tools.Conflict, "")
	_, err = read[previewCampaignOut](h, "dtc_preview_campaign", args{"campaign_id": made.ID})
	h.refused("the draft to it", err, tools.Conflict, "")

	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"the name again": {in, tools.Conflict, ""},
		"everybody":      {in.with("name", "all").with("where", args{}), tools.InvalidArguments, "where"},
		"nothing spent":  {in.with("name", "all").with("where", args{"min_spent": pounds(0)}), tools.InvalidArguments, "where"},
		"two lines":      {in.with("name", "a\nb"), tools.InvalidArguments, "name"},
	} {
		_, err := write[createSegmentOut](h, "dtc_create_segment", c.in)
		h.refused(what, err, c.code, c.field)
	}
}

func segmentInUseStays(h *house) {
	out, undo, err := undoable[createSegmentOut](h, "dtc_create_segment", args{"name": "In use", "where": args{"min_orders": 2}})
	if err != nil {
		h.Fatal(err)
	}
	made := must[createCampaignOut](h)(write[createCampaignOut](h, "dtc_create_campaign", args{
		"name": "Soon", "channel": "email", "segment_id": out.SegmentID, "subject": "s", "body": "b unsubscribe",
	}))
	h.exec("UPDATE campaigns SET status = 'scheduled' WHERE campaign_id = $1", made.ID)
	h.refused("archiving it", undo(), tools.Conflict, "")
	if n := h.number("SELECT COUNT(*) FROM segments WHERE segment_id = $1 AND archived_at IS NULL", out.SegmentID); n != 1 {
		h.Error("it is archived all the same")
	}
	h.exec("UPDATE campaigns SET status = 'draft' WHERE campaign_id = $1", made.ID)
	if err := undo(); err != nil {
		h.Error(err)
	}
}

func privacy(no, kind string) args {
	return args{"customer_no": no, "kind": kind, "case_ref": "PR-17", "idempotency_key": "k", "reason": "the customer asked for it"}
}

func privacyIsPreviewed(h *house) {
	no := h.buyer(0)
	orders := h.number("SELECT COUNT(*) FROM orders WHERE customer_no = $1", no)
	h.exec("UPDATE orders SET customer_note = 'mine' WHERE customer_no = $1", no)
	p := must[tools.Preview](h)(h.preview("dtc_handle_privacy_request", privacy(no, "erase")))
	want := tools.Change{Object: "orders", Field: "rows with personal values", From: fmt.Sprint(orders), To: "0"}
	if len(p.Changes) < 2 || p.Changes[0] != want || p.Irreversible == "" || !strings.HasPrefix(p.Summary, "Erase the personal values of customer "+no+" for good, ") {
		h.Errorf("the preview is %+v, want %+v", p, want)
	}
	p = must[tools.Preview](h)(h.preview("dtc_handle_privacy_request", privacy(no, "export")))
	if len(p.Changes) > 0 || !strings.HasPrefix(p.Summary, "Export what the shop holds about customer "+no+", ") {
		h.Errorf("the preview is %+v", p)
	}
	for kind, level := range map[string]string{"export": "L4", "erase": "L7"} {
		c, err := h.call("dtc_handle_privacy_request", privacy(no, kind))
		if err != nil {
			h.Fatal(err)
		}
		if risk, err := c.Tool.Handler().Rate(c, p); err != nil || risk.Level().String() != level {
			h.Errorf("%s is rated %+v (%v)", kind, risk, err)
		}
	}
	email := h.text("SELECT email FROM customers WHERE customer_no = $1", no)
	_, err := h.preview("dtc_handle_privacy_request", privacy(no, "erase").with("reason", "erase "+strings.ToUpper(email)))
	h.refused("the address in the reason", err, tools.InvalidArguments, "reason")
	_, err = h.preview("dtc_handle_privacy_request", privacy(no, "erase").with("case_ref", email))
	h.refused("the address in the case", err, tools.InvalidArguments, "case_ref")
	h.jobs.open = map[string]string{"order:1": "key_other"}
	_, err = h.preview("dtc_handle_privacy_request", privacy(no, "erase"))
	h.refused("open calls", err, tools.Conflict, "")
}

// stepOf runs one step of a stepped write.
func (h *house) stepOf(name string, in args, p *tools.Progress) (out any, err error) {
	h.Helper()
	c, err := h.call(name, in)
	if err != nil {
		h.Fatal(err)
	}
	err = h.db.InTx(h.Context(), func(tx *store.Tx) (err error) {
		c.Tx = tx
		out, err = c.Tool.Handler().Step(c, p)
		return err
	})
	return out, err
}

// erasureLooksThroughTheRecord erases two customers at once, with a record longer than one step looks through, and the
// same one twice.
func erasureLooksThroughTheRecord(h *house) {
	no := h.buyer(0)
	email := h.text("SELECT email FROM customers WHERE customer_no = $1", no)
	var rows [][]any
	for i := range 2*lookThrough + 10 {
		text := fmt.Sprintf(`{"query":"%d"}`, i)
		if i%1000 == 999 {
			text = `{"query":"` + strings.ToUpper(email) + `"}`
		}
		rows = append(rows, []any{fmt.Sprintf("aud_%06d", i), "arguments", "salt", text, merchant})
	}
	err := h.db.InTx(h.Context(), func(tx *store.Tx) error {
		return tx.Insert("audit_values", []string{"entry_id", "name", "salt", "value", "merchant"}, rows)
	})
	if err != nil {
		h.Fatal(err)
	}
	var p tools.Progress
	steps := 0
	for ; !p.Done; steps++ {
		if _, err := h.stepOf("dtc_handle_privacy_request", privacy(no, "erase"), &p); err != nil {
			h.Fatal(err)
		}
	}
	if left := h.number("SELECT COUNT(*) FROM audit_values WHERE value LIKE '%@%'"); left > 0 || steps != 3 {
		h.Errorf("%d quotes left after %d steps", left, steps)
	}
	h.exec("DELETE FROM audit_values WHERE salt = 'salt'")

	other := h.buyer(0)
	var both sync.WaitGroup
	results := make([]error, 2)
	for i := range results {
		both.Go(func() {
			_, results[i] = h.stepOf("dtc_handle_privacy_request", privacy(other, "erase"), &tools.Progress{})
		})
	}
	both.Wait()
	if (results[0] == nil) == (results[1] == nil) {
		h.Errorf("erasing one customer twice at once: %v", results)
	}
}
