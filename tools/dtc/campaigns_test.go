package dtc

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

var campaignStories = []story{
	{"DraftsAreMadeAsAsked", draftsAreMadeAsAsked},
	{"PreviewCountsWhoIsLeftOut", previewCountsWhoIsLeftOut},
	{"SendPreviewHoldsToTheFacts", sendPreviewHoldsToTheFacts},
	{"SendAtIsJudgedAtTheTimeOfTheCall", sendAtIsJudgedAtTheTimeOfTheCall},
	{"FillStatesWhatTheServerCounts", fillStatesWhatTheServerCounts},
	{"TrialsAreRatedLower", trialsAreRatedLower},
	{"SegmentsPickByTheirRule", segmentsPickByTheirRule},
	{"SendReachesEachOnce", sendReachesEachOnce},
	{"SendReachesNobodyBeyondTheCount", sendReachesNobodyBeyondTheCount},
	{"StoppedSendIsPaused", stoppedSendIsPaused},
	{"RefusalThatComesFirstCounts", refusalThatComesFirstCounts},
}

var spring = args{"name": "Spring Launch", "channel": "sms", "body": "New pots are in. Reply STOP to opt out."}

// draft makes a draft and gives its id.
func (h *house) draft(in args) string {
	h.Helper()
	return must[createCampaignOut](h)(write[createCampaignOut](h, "dtc_create_campaign", in)).ID
}

func (h *house) previewed(id string) previewCampaignOut {
	h.Helper()
	return must[previewCampaignOut](h)(read[previewCampaignOut](h, "dtc_preview_campaign", args{"campaign_id": id}))
}

// sending are the arguments that send a campaign as it is now.
func (h *house) sending(id string) args {
	h.Helper()
	p := h.previewed(id)
	return args{
		"campaign_id": id, "expected_version": p.Version, "expected_recipients": p.Recipients, "max_cost": p.Cost,
		"idempotency_key": "k", "reason": "the spring launch is today",
	}
}

func draftsAreMadeAsAsked(h *house) {
	p, err := h.preview("dtc_create_campaign", spring)
	all := h.number("SELECT COUNT(*) FROM customers WHERE sms_consent_at IS NOT NULL")
	if want := fmt.Sprintf("everybody who agreed to SMS, %d customers now", all); err != nil || len(p.Warnings) == 0 || !strings.Contains(p.Warnings[0], want) {
		h.Errorf("the preview warns of %q (%v), want %q", p.Warnings, err, want)
	}
	if p.Customers != 0 || p.Money != nil || p.Content != spring["body"] {
		h.Errorf("a draft would reach %d customers for %v, and reads %q", p.Customers, p.Money, p.Content)
	}
	id := h.draft(spring)
	got := h.previewed(id)
	want := shop.Campaign{ID: id, Name: "Spring Launch", Channel: "sms", Status: "draft", AttributedRevenue: shop.Money{Currency: "GBP"}, Version: 1, OwnerID: "key_test"}
	got.Campaign.Subject, got.Campaign.Body, got.Campaign.CreatedAt, got.Campaign.CreatedBy = "", "", time.Time{}, ""
	if diff := cmp.Diff(want, got.Campaign); diff != "" || got.Body != spring["body"] || got.Recipients != all {
		h.Errorf("the draft reads %+v\n%s", got, diff)
	}
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"e-mail without subject": {spring.with("channel", "email"), tools.InvalidArguments, "subject"},
		"an SMS with a subject":  {spring.with("subject", "Hi"), tools.InvalidArguments, "subject"},
		"a name of two lines":    {spring.with("name", "Spring\nto 1 customer"), tools.InvalidArguments, "name"},
		"a name that turns":      {spring.with("name", "Spring\u202e"), tools.InvalidArguments, "name"},
		"no such segment":        {spring.with("segment_id", "seg_none"), tools.NotFound, ""},
		"no such channel":        {spring.with("channel", "fax"), tools.InvalidArguments, "channel"},
	} {
		_, err := write[createCampaignOut](h, "dtc_create_campaign", c.in)
		h.refused(what, err, c.code, c.field)
	}
}

func TestOtherSpellingsOfACampaign(t *testing.T) {
	accept := createCampaign.Routes[0].Accept
	for _, c := range []struct{ in, want string }{
		{`{"name":"A","type":"SMS","sms_message":"hi"}`, `{"body":"hi","channel":"sms","name":"A"}`},
		{`{"type":"Email","email_subject":"s","email_body":"b"}`, `{"body":"b","channel":"email","subject":"s"}`},
		{`{"channel":"sms","body":"b"}`, `{"body":"b","channel":"sms"}`},
		{`{"channel":"sms","type":"email"}`, `{"channel":"sms","type":"email"}`},
		{`{"type":7}`, `{"channel":7}`},
	} {
		var body map[string]json.RawMessage
		if err := json.Unmarshal([]byte(c.in), &body); err != nil {
			t.Fatal(err)
		}
		accept(body)
		if got, err := json.Marshal(body); err != nil || string(got) != c.want {
			t.Errorf("%s becomes %s (%v), want %s", c.in, got, err, c.want)
		}
	}
}

func previewCountsWhoIsLeftOut(h *house) {
	id := h.draft(spring.with("channel", "email").with("subject", "Spring"))
	before := h.previewed(id)
	some := h.text("SELECT MIN(customer_no) FROM customers WHERE email_consent_at IS NOT NULL AND last_contacted_at IS NULL")
	recent, rested := store.Micros(sunday.Add(-shop.Rest+time.Second)), store.Micros(sunday.Add(-shop.Rest))
	h.exec("UPDATE customers SET last_contacted_at = $1 WHERE customer_no = $2", recent, some)
	after := h.previewed(id)
	if after.Recipients != before.Recipients-1 || after.JustReached != before.JustReached+1 || after.NoConsent != before.NoConsent {
		h.Errorf("after one was contacted: %+v, before: %+v", after, before)
	}
	h.exec("UPDATE customers SET last_contacted_at = $1 WHERE customer_no = $2", rested, some)
	if again := h.previewed(id); again.Recipients != before.Recipients {
		h.Errorf("after a day's rest %d are reached, want %d", again.Recipients, before.Recipients)
	}
	if sum := before.Recipients + before.NoConsent + before.JustReached; sum != h.number("SELECT COUNT(*) FROM customers") {
		h.Errorf("reached and left out make up %d customers", sum)
	}
	if want := (before.Recipients + 9) / 10; before.Cost.AmountMinor != want {
		h.Errorf("%d e-mails cost %s, want %d pence", before.Recipients, before.Cost, want)
	}
}

func TestWarningsSayWhatIsWrongWithAText(t *testing.T) {
	for _, c := range []struct {
		channel, body string
		want          []string
	}{
		{"sms", "Sale. Text STOP to end.", nil},
		{"email", "Sale. Unsubscribe: https://Shop.example.com/u?x=1 or http://other.example", []string{"It links to other.example, shop.example.com."}},
		{"sms", "Sale today", []string{"The text does not say how to opt out."}},
		{"sms", "STOP " + strings.Repeat("x", 160), []string{"The text takes 2 SMS, and each of them is paid for."}},
		{"email", "Dear {{first_name}}, opt out here", []string{"The text holds a placeholder. It goes out as it stands: nothing is filled in."}},
	} {
		p := sendPlan{campaign: shop.Campaign{Channel: c.channel, Body: c.body, SegmentID: "seg"}}
		if diff := cmp.Diff(c.want, p.warnings()); diff != "" {
			t.Errorf("%q:\n%s", c.body, diff)
		}
	}
}

func sendPreviewHoldsToTheFacts(h *house) {
	id := h.draft(spring)
	in := h.sending(id)
	p, err := h.preview("dtc_send_campaign", in)
	n := h.previewed(id).Recipients
	want := fmt.Sprintf("Send the SMS “Spring Launch” to %d customers for at most %s", n, shop.Money{AmountMinor: 4 * n, Currency: "GBP"})
	if err != nil || p.Summary != want || p.Customers != n || p.Money.AmountMinor != 4*n || p.Version != "1" || p.Content != spring["body"] || p.Trial {
		h.Errorf("the preview is %+v, %v; want %q", p, err, want)
	}
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"another version":  {in.with("expected_version", 2), tools.StaleExpectation, ""},
		"fewer recipients": {in.with("expected_recipients", n+1), tools.StaleExpectation, ""},
		"too dear":         {in.with("max_cost", pounds(4*n-1)), tools.LimitExceeded, ""},
		"another currency": {in.with("max_cost", args{"amount_minor": 4 * n, "currency": "EUR"}), tools.InvalidArguments, "max_cost.currency"},
		"no such campaign": {in.with("campaign_id", "cmp_none"), tools.NotFound, ""},
		"no reason":        {in.with("reason", nil), tools.InvalidArguments, "reason"},
		"sent before":      {in.with("campaign_id", h.text("SELECT MIN(campaign_id) FROM campaigns WHERE status = 'sent'")), tools.Conflict, ""},
	} {
		_, err := h.preview("dtc_send_campaign", c.in)
		r := h.refused(what, err, c.code, c.field)
		if c.code == tools.StaleExpectation && (r.Errors.Now["expected_version"] != int64(1) || r.Errors.Now["expected_recipients"] != n) {
			h.Errorf("%s: the facts now are %v", what, r.Errors.Now)
		}
	}
	h.exec(`INSERT INTO segments (merchant_id, segment_id, name, rule, created_at, created_by) VALUES ($1, 'seg_empty', 'empty', '{"country":"Nowhere"}', 0, 'staff')`, merchant)
	_, err = h.preview("dtc_send_campaign", in.with("campaign_id", h.draft(spring.with("segment_id", "seg_empty"))))
	h.refused("nobody to reach", err, tools.Conflict, "")
}

// sendAtIsJudgedAtTheTimeOfTheCall resumes a call after its send_at has come, as a worker does.
func sendAtIsJudgedAtTheTimeOfTheCall(h *house) {
	in := h.sending(h.draft(spring))
	for what, at := range map[string]time.Time{"now": sunday, "past": sunday.Add(-time.Hour), "far": sunday.AddDate(0, 0, 91)} {
		_, err := h.preview("dtc_send_campaign", in.with("send_at", at))
		h.refused(what, err, tools.InvalidArguments, "send_at")
	}
	at := sunday.Add(48 * time.Hour)
	c, err := h.call("dtc_send_campaign", in.with("send_at", at))
	if err != nil {
		h.Fatal(err)
	}
	var first, then tools.Preview
	for _, p := range []*tools.Preview{&first, &then} {
		c.Resumed = p == &then
		err := h.db.Read(h.Context(), func(tx *store.Tx) (err error) {
			c.Tx = tx
			*p, err = c.Tool.Handler().Preview(c)
			return err
		})
		if err != nil {
			h.Fatal(err)
		}
		h.db.Now = func() time.Time { return at.Add(time.Minute) }
	}
	h.db.Now = func() time.Time { return sunday }
	if !first.RunAt.Equal(at) || !strings.HasSuffix(first.Summary, "on 24 Nov 2026 at 09:30 GMT") {
		h.Errorf("set for %v: %q", first.RunAt, first.Summary)
	}
	if diff := cmp.Diff(first, then); diff != "" {
		h.Errorf("the same call previews otherwise when it resumes:\n%s", diff)
	}
}

func fillStatesWhatTheServerCounts(h *house) {
	id := h.draft(spring)
	want := h.sending(id).with("reason", "No reason was given by the caller.")
	for _, stated := range []args{{}, {"expected_recipients": 3, "reason": "because I say so"}} {
		c := &tools.Call{Tool: sendCampaign, Principal: h.key}
		full := want
		for name, v := range stated {
			full = full.with(name, v)
		}
		c.Args, _ = json.Marshal(stated.with("campaign_id", id).with("idempotency_key", "k"))
		var filled []byte
		err := h.db.Read(h.Context(), func(tx *store.Tx) (err error) {
			c.Tx = tx
			filled, err = c.Tool.Handler().Fill(c)
			return err
		})
		wanted, _ := json.Marshal(full)
		if err != nil || string(filled) != string(wanted) {
			h.Errorf("filled: %s, %v\nwant    %s", filled, err, wanted)
		}
		if wrong := sendCampaign.Input.Check(filled); len(wrong) > 0 {
			h.Errorf("what is filled does not fit: %+v", wrong)
		}
	}
}

func trialsAreRatedLower(h *house) {
	id := h.draft(spring.with("segment_id", h.text("SELECT segment_id FROM segments WHERE name = $1", shop.TestSegment)))
	in := h.sending(id)
	rated := func() string {
		c, err := h.call("dtc_send_campaign", in)
		if err != nil {
			h.Fatal(err)
		}
		p := must[tools.Preview](h)(h.preview("dtc_send_campaign", in))
		risk := must[tools.Risk](h)(c.Tool.Handler().Rate(c, p))
		return risk.Level().String()
	}
	if got := rated(); got != "L6" {
		h.Errorf("a trial is rated %s, want L6", got)
	}
	h.exec("UPDATE segments SET name = 'Xtest-team' WHERE name = $1", shop.TestSegment)
	if got := rated(); got != "L7" {
		h.Errorf("a send to as few customers is rated %s, want L7", got)
	}
	h.exec("UPDATE segments SET name = $1 WHERE name = 'Xtest-team'", shop.TestSegment)
}

// segmentsPickByTheirRule gives each condition to a segment and compares with SQL of its own.
func segmentsPickByTheirRule(h *house) {
	sku := h.text("SELECT MIN(sku) FROM order_lines")
	category := h.text("SELECT MIN(category) FROM products")
	day := "2026-08-01"
	midnight, err := shop.Midnight(day)
	if err != nil {
		h.Fatal(err)
	}
	const some = "SELECT COUNT(*) FROM customers c WHERE c.email_consent_at IS NOT NULL AND "
	const bought = some + `EXISTS (SELECT 1 FROM orders o JOIN order_lines l ON l.order_no = o.order_no JOIN variants v ON v.sku = l.sku
		JOIN products p ON p.product_code = v.product_code WHERE o.customer_no = c.customer_no AND o.status <> 'cancelled' AND `
	const orders = " FROM orders o WHERE o.customer_no = c.customer_no AND o.status <> 'cancelled')"
	for i, c := range []struct {
		rule shop.Rule
		want int64
	}{
		{shop.Rule{Country: "united kingdom"}, h.number(some + "c.country = 'United Kingdom'")},
		{shop.Rule{BoughtAnySKU: []string{sku, "none"}}, h.number(bought+"l.sku = $1)", sku)},
		{shop.Rule{BoughtCategory: category}, h.number(bought+"p.category = $1)", category)},
		{shop.Rule{MinOrders: 3}, h.number(some + "3 <= (SELECT COUNT(*)" + orders)},
		{shop.Rule{MinSpent: &shop.Money{AmountMinor: 100000, Currency: "GBP"}}, h.number(some + "100000 <= (SELECT SUM(o.total_minor - o.refunded_minor)" + orders)},
		{shop.Rule{LastOrderAfter: day}, h.number(some+"$1 <= (SELECT MAX(o.placed_at)"+orders, store.Micros(midnight))},
		{shop.Rule{LastOrderBefore: day}, h.number(some+"$1 > (SELECT MAX(o.placed_at)"+orders, store.Micros(midnight))},
		{shop.Rule{TagsAny: []string{"none", "TEAM"}}, h.number(some + `c.tags LIKE '%"team"%'`)},
		{shop.Rule{TagsNone: []string{"team"}}, h.number(some + `c.tags NOT LIKE '%"team"%'`)},
		{shop.Rule{TagsAny: []string{"tea_"}}, 0},
	} {
		rule, err := json.Marshal(c.rule)
		if err != nil {
			h.Fatal(err)
		}
		id := fmt.Sprint("seg_", i)
		h.exec("INSERT INTO segments (merchant_id, segment_id, name, rule, created_at, created_by) VALUES ($1, $2, $2, $3, 0, 'staff')", merchant, id, string(rule))
		p := h.previewed(h.draft(spring.with("channel", "email").with("subject", "s").with("segment_id", id)))
		if got := p.Recipients + p.JustReached; got != c.want || c.want == 0 && i < 9 {
			h.Errorf("the rule %s picks %d, want %d", rule, got, c.want)
		}
	}
}

// crowd adds customers of a country of their own and gives a segment of them.
func (h *house) crowd(name string, n int) (segment string) {
	h.Helper()
	cols := []string{"merchant_id", "customer_no", "country", "email", "email_consent_at", "contact_synthetic"}
	rows := make([][]any, n)
	for i := range rows {
		no := fmt.Sprintf("%s%04d", name, i)
		rows[i] = []any{merchant, no, name, no + "@example.com", 1, 1}
	}
	err := h.db.InTx(h.Context(), func(tx *store.Tx) error { return tx.Insert("customers", cols, rows) })
	if err != nil {
		h.Fatal(err)
	}
	h.exec("INSERT INTO segments (merchant_id, segment_id, name, rule, created_at, created_by) VALUES ($1, $2, $3, $4, 0, 'staff')",
		merchant, "seg_"+name, name, `{"country":"`+name+`"}`)
	return "seg_" + name
}

func (h *house) letter(segment string) string {
	h.Helper()
	return h.draft(args{"name": "To " + segment, "channel": "email", "subject": "Hello", "body": "Hello.\n\nUnsubscribe.", "segment_id": segment})
}

// step does one step of a send. A step that is lost does everything but commit.
func (h *house) step(c *tools.Call, p *tools.Progress, lost bool) (out sendCampaignOut, err error) {
	h.Helper()
	now := *p
	err = h.db.InTx(h.Context(), func(tx *store.Tx) error {
		c.Tx = tx
		answer, err := c.Tool.Handler().Step(c, &now)
		if err == nil {
			out = answer.(sendCampaignOut)
		}
		if err == nil && lost {
			err = errLost
		}
		return err
	})
	if err == nil {
		*p = now
	}
	return out, err
}

var errLost = fmt.Errorf("the process has died")

// sendReachesEachOnce sends 450 letters, loses every step once, and lets a customer opt out half-way.
func sendReachesEachOnce(h *house) {
	id := h.letter(h.crowd("Once", 450))
	in := h.sending(id)
	c, err := h.call("dtc_send_campaign", in)
	if err != nil {
		h.Fatal(err)
	}
	var p tools.Progress
	var out sendCampaignOut
	var notes []string
	for !p.Done {
		if _, err := h.step(c, &p, true); err != errLost {
			h.Fatal(err)
		}
		if out, err = h.step(c, &p, false); err != nil {
			h.Fatal(err)
		}
		notes = append(notes, fmt.Sprint(p.Percent, "% ", p.Note))
		h.exec("UPDATE customers SET email_consent_at = NULL WHERE customer_no = 'Once0449'")
	}
	want := []string{"44% 200 of 450 sent", "88% 400 of 450 sent", "99% 449 of 450 sent", "99% 449 of 450 sent"}
	if diff := cmp.Diff(want, notes); diff != "" {
		h.Errorf("the steps told:\n%s", diff)
	}
	if out != (sendCampaignOut{id, shop.Money{AmountMinor: 45, Currency: "GBP"}, 449}) {
		h.Errorf("the result is %+v", out)
	}
	const of = " FROM deliveries WHERE mailing_id = $1"
	if n, first, last := h.number("SELECT COUNT(*)"+of, id), h.number("SELECT COUNT(*)"+of+" AND batch = 1", id), h.number("SELECT MAX(batch)"+of, id); n != 449 || first != 200 || last != 3 {
		h.Errorf("%d deliveries, %d in batch 1, up to batch %d", n, first, last)
	}
	if n := h.number("SELECT COUNT(*) FROM customers WHERE country = 'Once' AND last_contacted_at = $1", store.Micros(sunday)); n != 449 {
		h.Errorf("%d customers are noted as contacted", n)
	}
	if text := h.text("SELECT subject || '|' || body FROM mailings WHERE mailing_id = $1", id); text != "Hello|Hello.\n\nUnsubscribe." {
		h.Errorf("the text that went out is %q", text)
	}
	if got := h.previewed(id); got.Status != "sent" || got.SentTo != 449 || got.Version != 3 {
		h.Errorf("afterwards the campaign is %+v", got.Campaign)
	}
	_, err = h.preview("dtc_send_campaign", in)
	h.refused("a second send", err, tools.Conflict, "")
}

func sendReachesNobodyBeyondTheCount(h *house) {
	id := h.letter(h.crowd("More", 210))
	c, err := h.call("dtc_send_campaign", h.sending(id))
	if err != nil {
		h.Fatal(err)
	}
	var p tools.Progress
	if _, err := h.step(c, &p, false); err != nil {
		h.Fatal(err)
	}
	h.exec(`INSERT INTO customers (merchant_id, customer_no, country, email, email_consent_at, contact_synthetic)
		SELECT merchant_id, customer_no || 'x', country, email, 1, 1 FROM customers WHERE country = 'More'`)
	out, err := h.step(c, &p, false)
	if err != nil || !p.Done || out.SentTo != 210 || h.number("SELECT COUNT(*) FROM deliveries WHERE mailing_id = $1", id) != 210 {
		h.Errorf("sent to %+v, done %v, %v; want 210", out, p.Done, err)
	}
}

func stoppedSendIsPaused(h *house) {
	id := h.letter(h.crowd("Stop", 210))
	c, err := h.call("dtc_send_campaign", h.sending(id))
	if err != nil {
		h.Fatal(err)
	}
	var p tools.Progress
	for _, want := range []string{"draft", "paused"} {
		err := h.db.InTx(h.Context(), func(tx *store.Tx) error {
			c.Tx = tx
			return c.Tool.Handler().Stopped(c, p)
		})
		if got := h.previewed(id); err != nil || got.Status != want {
			h.Errorf("stopped at %q: %s, %v; want %s", p.Checkpoint, got.Status, err, want)
		}
		if want == "draft" {
			if _, err := h.step(c, &p, false); err != nil {
				h.Fatal(err)
			}
		}
	}
	out, err := h.step(c, &p, false)
	if err != nil || p.Stop != "paused" || p.Note != "The campaign was paused after 200 of 210 sent." || out.SentTo != 200 || out.Cost.AmountMinor != 20 {
		h.Errorf("a step after the end: %+v, %+v, %v", out, p, err)
	}
	if got := h.previewed(id); got.SentTo != 200 {
		h.Errorf("a paused campaign has reached %d", got.SentTo)
	}
}

// refusalThatComesFirstCounts opts a customer out while a batch is on its way: the batch waits for the customer's row, and
// looks at the consent again when it has it. On SQLite writers take turns anyway.
func refusalThatComesFirstCounts(h *house) {
	if h.db.Engine() == "sqlite" {
		h.Skip("one writer at a time")
	}
	id := h.letter(h.crowd("First", 3))
	c, err := h.call("dtc_send_campaign", h.sending(id))
	if err != nil {
		h.Fatal(err)
	}
	sent := make(chan error, 1)
	err = h.db.InTx(h.Context(), func(tx *store.Tx) error {
		if _, err := tx.Exec("UPDATE customers SET email_consent_at = NULL WHERE customer_no = 'First0001'"); err != nil {
			return err
		}
		go func() {
			_, err := h.step(c, &tools.Progress{}, false)
			sent <- err
		}()
		for waiting := 0; waiting == 0; {
			if err := tx.QueryRow(`SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND pid IN
				(SELECT pid FROM pg_locks WHERE relation = CAST('customers' AS regclass))`).Scan(&waiting); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = <-sent
	}
	if err != nil {
		h.Fatal(err)
	}
	if n := h.number("SELECT COUNT(*) FROM deliveries WHERE mailing_id = $1 AND customer_no = 'First0001'", id); n != 0 {
		h.Error("a customer was written to who had opted out")
	}
}
