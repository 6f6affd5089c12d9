package dtc

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

var marketingStories = []story{
	{"DraftChangesAndComesBack", draftChangesAndComesBack},
	{"UpdateIsRefusedWhenItMakesNoSense", updateIsRefusedWhenItMakesNoSense},
	{"UndoneDraftIsArchived", undoneDraftIsArchived},
	{"UndoneDiscountHasEnded", undoneDiscountHasEnded},
	{"SmallDiscountsNeedNoConsent", smallDiscountsNeedNoConsent},
	{"PauseStopsASendBetweenTwoBatches", pauseStopsASendBetweenTwoBatches},
	{"PauseStopsWhatWaits", pauseStopsWhatWaits},
	{"PauseStopsADiscount", pauseStopsADiscount},
	{"PauseStopsAnAd", pauseStopsAnAd},
	{"PauseNeedsNothingForOnesOwn", pauseNeedsNothingForOnesOwn},
	{"ResumedSendReachesNoMoreThanAgreed", resumedSendReachesNoMoreThanAgreed},
	{"PausesUpdatesAndSendsTakeTurns", pausesUpdatesAndSendsTakeTurns},
}

// campaign reads a campaign with all that is kept of it.
func (h *house) campaign(id string) (campaign shop.Campaign) {
	h.Helper()
	err := h.db.Read(h.Context(), func(tx *store.Tx) error {
		d, err := shop.At(tx, merchant)
		if err == nil {
			campaign, err = d.Campaign(id)
		}
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return campaign
}

func draftChangesAndComesBack(h *house) {
	segment := h.text("SELECT segment_id FROM segments WHERE name = 'United Kingdom'")
	id := h.letter(h.crowd("Change", 3))
	before := h.campaign(id)
	long := "Hello.\n\n" + strings.Repeat("Long live the pot. ", 30) + "Unsubscribe."
	in := args{"campaign_id": id, "expected_version": 1, "name": "Pots", "segment_id": segment, "body": long}
	p := must[tools.Preview](h)(h.preview("dtc_update_campaign", in))
	object := "campaign " + id
	want := []tools.Change{
		{Object: object, Field: "name", From: before.Name, To: "Pots"},
		{Object: object, Field: "segment", From: "Change (seg_Change)", To: "United Kingdom (" + segment + ")"},
		{Object: object, Field: "body", From: "Hello.\n\nUnsubscribe.", To: long[:160] + "…"},
	}
	if diff := cmp.Diff(want, p.Changes); diff != "" || p.Content != "Subject: Hello\n\n"+long || p.Version != "1" ||
		!strings.HasPrefix(p.Summary, "Change name, segment, body of the e-mail “To seg_Change”, which would now reach ") {
		h.Errorf("the preview: %+v\n%s", p, diff)
	}
	h.jobs.open = map[string]string{"campaign:" + id: "key_other"}
	p = must[tools.Preview](h)(h.preview("dtc_update_campaign", in))
	if w := p.Warnings; len(w) == 0 || w[len(w)-1] != "A send of it waits, which will not run after this." {
		h.Errorf("the preview warns of %q", w)
	}
	out, undo, err := undoable[updateCampaignOut](h, "dtc_update_campaign", in)
	after := before
	after.Name, after.SegmentID, after.Body, after.Version = "Pots", segment, long, 2
	if diff := cmp.Diff(after, h.campaign(id)); err != nil || diff != "" || out.Version != 2 {
		h.Errorf("changed: %+v, %v\n%s", out, err, diff)
	}
	must[struct{}](h)(struct{}{}, undo())
	before.Version = 3
	if diff := cmp.Diff(before, h.campaign(id)); diff != "" {
		h.Errorf("undone:\n%s", diff)
	}
	_, undo, err = undoable[updateCampaignOut](h, "dtc_update_campaign", args{"campaign_id": id, "expected_version": 3, "subject": "One"})
	must[any](h)(nil, err)
	must[any](h)(write[updateCampaignOut](h, "dtc_update_campaign", args{"campaign_id": id, "expected_version": 4, "subject": "Two"}))
	if err := undo(); !errors.Is(err, shop.ErrChanged) || h.campaign(id).Subject != "Two" {
		h.Errorf("undoing what somebody has changed: %v", err)
	}
}

func TestExcerptsBeginWhereTextsDiffer(t *testing.T) {
	same := strings.Repeat("ä", 200)
	from, to := excerpts(same+"old", same+"new")
	lead := "…" + strings.Repeat("ä", excerptLead)
	if from != lead+"old" || to != lead+"new" {
		t.Errorf("%q\n%q", from, to)
	}
	if from, to := excerpts("short", "shorter"); from != "short" || to != "shorter" {
		t.Errorf("%q, %q", from, to)
	}
}

func updateIsRefusedWhenItMakesNoSense(h *house) {
	id := h.draft(spring)
	in := args{"campaign_id": id, "expected_version": 1, "name": "Other"}
	status := func(s string) string {
		return h.text("SELECT MIN(campaign_id) FROM campaigns WHERE status = $1 AND created_by = 'staff'", s)
	}
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"another version": {in.with("expected_version", 2), tools.StaleExpectation, ""},
		"nothing":         {in.with("name", nil), tools.Conflict, ""},
		"the same":        {in.with("name", spring["name"]), tools.Conflict, ""},
		"a subject":       {in.with("subject", "For an SMS"), tools.InvalidArguments, "subject"},
		"two lines":       {in.with("name", "a\nb"), tools.InvalidArguments, "name"},
		"no such segment": {in.with("segment_id", "seg_none"), tools.NotFound, ""},
		"no campaign":     {in.with("campaign_id", "cmp_none"), tools.NotFound, ""},
		"sent":            {in.with("campaign_id", status("sent")), tools.Conflict, ""},
		"scheduled":       {in.with("campaign_id", status("scheduled")), tools.Conflict, ""},
	} {
		_, err := write[updateCampaignOut](h, "dtc_update_campaign", c.in)
		h.refused(what, err, c.code, c.field)
	}
	must[any](h)(write[updateCampaignOut](h, "dtc_update_campaign", in.with("campaign_id", status("paused")))) // before it began
}

func undoneDraftIsArchived(h *house) {
	total := must[listCampaignsOut](h)(read[listCampaignsOut](h, "dtc_list_campaigns", args{"status": "draft"})).Total
	out, undo, err := undoable[createCampaignOut](h, "dtc_create_campaign", spring)
	must[any](h)(nil, err)
	send, err := h.call("dtc_send_campaign", h.sending(out.ID))
	must[any](h)(nil, err)
	must[any](h)(nil, undo())
	if n := must[listCampaignsOut](h)(read[listCampaignsOut](h, "dtc_list_campaigns", args{"status": "draft"})).Total; n != total {
		h.Errorf("%d drafts are listed, want %d", n, total)
	}
	_, err = h.step(send, &tools.Progress{}, false)
	h.refused("sending it", err, tools.NotFound, "")
	_, err = write[updateCampaignOut](h, "dtc_update_campaign", args{"campaign_id": out.ID, "expected_version": 2, "name": "Other"})
	h.refused("changing it", err, tools.NotFound, "")
	h.refused("undoing it again", undo(), tools.Conflict, "")

	out, undo, err = undoable[createCampaignOut](h, "dtc_create_campaign", spring)
	must[any](h)(nil, err)
	must[any](h)(write[updateCampaignOut](h, "dtc_update_campaign", args{"campaign_id": out.ID, "expected_version": 1, "name": "Other"}))
	h.refused("undoing what was changed", undo(), tools.Conflict, "")
}

func undoneDiscountHasEnded(h *house) {
	for code, uses := range map[string]int64{"UNDONE1": 0, "UNDONE2": 3} {
		out, undo, err := undoable[createDiscountOut](h, "dtc_create_discount", spring10.with("code", code))
		must[any](h)(nil, err)
		h.exec("UPDATE discounts SET uses = $1 WHERE code = $2", uses, code)
		err, want := undo(), "ended"
		if uses > 0 {
			r := h.refused("undoing a code in use", err, tools.Conflict, "")
			if want = "active"; r.Message != "The code has had 3 uses." || !strings.Contains(r.Next, "dtc_pause") {
				h.Errorf("%q, %q", r.Message, r.Next)
			}
		} else if err != nil {
			h.Fatal(err)
		}
		if got := h.text("SELECT status FROM discounts WHERE discount_id = $1", out.DiscountID); got != want {
			h.Errorf("%s is %s, want %s", code, got, want)
		}
	}
}

func smallDiscountsNeedNoConsent(h *house) {
	for _, c := range []struct {
		percent, most int64
		want          tools.Class
	}{{15, 50000, tools.ClassNone}, {16, 50000, tools.ClassSpend}, {15, 50001, tools.ClassSpend}} {
		call, err := h.call("dtc_create_discount", spring10.with("percent_off", c.percent).with("max_given_away", pounds(c.most)))
		must[any](h)(nil, err)
		if got := must[tools.Class](h)(call.Tool.Handler().Class(call, tools.Preview{})); got != c.want {
			h.Errorf("%d%% and %d at most: class %q, want %q", c.percent, c.most, got, c.want)
		}
	}
}

// paused pauses something.
func (h *house) paused(kind, id string) (pauseOut, error) {
	h.Helper()
	return write[pauseOut](h, "dtc_pause", args{"kind": kind, "id": id})
}

func pauseStopsASendBetweenTwoBatches(h *house) {
	id := h.letter(h.crowd("Brake", 450))
	c, err := h.call("dtc_send_campaign", h.sending(id))
	must[any](h)(nil, err)
	var p tools.Progress
	must[any](h)(h.step(c, &p, false))
	shown := must[tools.Preview](h)(h.preview("dtc_pause", args{"kind": "campaign", "id": id}))
	want := []tools.Change{{Object: "campaign " + id, Field: "status", From: "sending", To: "paused"}}
	if diff := cmp.Diff(want, shown.Changes); diff != "" || shown.Summary != "Pause the campaign “To seg_Brake” (sending, 200 sent)" {
		h.Errorf("the preview: %+v\n%s", shown, diff)
	}
	for _, was := range []string{"sending, 200 sent", "paused", "paused"} {
		out := must[pauseOut](h)(h.paused("campaign", id))
		if out != (pauseOut{id, "paused", was}) {
			h.Errorf("paused: %+v, want it to have been %s", out, was)
		}
	}
	out := must[sendCampaignOut](h)(h.step(c, &p, false))
	if p.Done || p.Stop != "paused" || p.Note != "The campaign was paused after 200 of 450 sent." || out.SentTo != 200 {
		h.Errorf("the step after the pause: %+v, %+v", out, p)
	}
	if got := h.campaign(id); got.Status != "paused" || got.SentTo != 200 || got.Version != 3 || got.SenderID != h.key.ID {
		h.Errorf("the campaign is %+v", got)
	}
	if n := h.number("SELECT COUNT(*) FROM deliveries WHERE mailing_id = $1", id); n != 200 {
		h.Errorf("%d were written to", n)
	}
	_, err = write[updateCampaignOut](h, "dtc_update_campaign", args{"campaign_id": id, "expected_version": 3, "name": "Other"})
	h.refused("changing what some have read", err, tools.Conflict, "")
}

func pauseStopsWhatWaits(h *house) {
	id := h.letter(h.crowd("Waits", 3))
	_, err := h.paused("campaign", id)
	h.refused("a draft", err, tools.Conflict, "")
	c, err := h.call("dtc_send_campaign", h.sending(id))
	must[any](h)(nil, err)
	h.jobs.open = map[string]string{"campaign:" + id: h.key.ID}
	if out := must[pauseOut](h)(h.paused("campaign", id)); out.WasAt != "draft, about to be sent" {
		h.Errorf("paused: %+v", out)
	}
	c.Resumed = true
	err = h.db.Read(h.Context(), func(tx *store.Tx) error {
		c.Tx = tx
		_, err := c.Tool.Handler().Preview(c)
		return err
	})
	if r := h.refused("the send when its time comes", err, tools.Conflict, ""); r.Message != "The campaign is paused." {
		h.Errorf("refused with %q", r.Message)
	}
	var p tools.Progress // of a job that was judged just before the pause
	if out, err := h.step(c, &p, false); err != nil || p.Stop != "paused" || out.SentTo != 0 {
		h.Errorf("the first step: %+v, %+v, %v", out, p, err)
	}
	_, err = h.paused("campaign", h.text("SELECT MIN(campaign_id) FROM campaigns WHERE status = 'sent'"))
	h.refused("a sent one", err, tools.Conflict, "")
	_, err = h.paused("campaign", "cmp_none")
	h.refused("none", err, tools.NotFound, "")
}

func pauseStopsADiscount(h *house) {
	out := must[createDiscountOut](h)(write[createDiscountOut](h, "dtc_create_discount", spring10.with("code", "BRAKE")))
	for _, was := range []string{"active, 0 uses", "paused, 0 uses"} {
		if got := must[pauseOut](h)(h.paused("discount", "BRAKE")); got != (pauseOut{out.DiscountID, "paused", was}) {
			h.Errorf("paused: %+v, want it to have been %s", got, was)
		}
	}
	if v := h.number("SELECT version FROM discounts WHERE code = 'BRAKE'"); v != 2 {
		h.Errorf("two pauses made version %d", v)
	}
	_, err := h.paused("discount", h.text("SELECT discount_id FROM discounts WHERE status = 'ended' AND created_by = 'staff'"))
	h.refused("an ended one", err, tools.Conflict, "")
	_, err = h.paused("discount", "NOSUCH")
	h.refused("none", err, tools.NotFound, "")
}

func pauseStopsAnAd(h *house) {
	id := h.text("SELECT MIN(ad_campaign_id) FROM ad_campaigns WHERE status = 'active' AND end_on >= '2026-11-22'")
	version := h.number("SELECT version FROM ad_campaigns WHERE ad_campaign_id = $1", id)
	for _, was := range []string{"active", "paused"} {
		out := must[pauseOut](h)(h.paused("ad_campaign", id))
		if status, _, _ := strings.Cut(out.WasAt, ","); out.ID != id || out.Status != "paused" || status != was {
			h.Errorf("paused: %+v, want it to have been %s", out, was)
		}
	}
	if v := h.number("SELECT version FROM ad_campaigns WHERE ad_campaign_id = $1", id); v != version+1 {
		h.Errorf("two pauses made version %d of %d", v, version)
	}
	h.exec("UPDATE ad_campaigns SET status = 'active', end_on = '2026-11-21' WHERE ad_campaign_id = $1", id)
	_, err := h.paused("ad_campaign", id)
	h.refused("one that is over", err, tools.Conflict, "")
	_, err = h.paused("ad_campaign", "adc_none")
	h.refused("none", err, tools.NotFound, "")
}

func pauseNeedsNothingForOnesOwn(h *house) {
	own, code := h.draft(spring), "OWN1"
	must[any](h)(write[createDiscountOut](h, "dtc_create_discount", spring10.with("code", code)))
	other := h.text("SELECT MIN(campaign_id) FROM campaigns WHERE created_by = 'staff'")
	sent := h.letter(h.crowd("Sender", 201))
	c, err := h.call("dtc_send_campaign", h.sending(sent))
	must[any](h)(nil, err)
	var p tools.Progress
	must[any](h)(h.step(c, &p, false))
	h.exec("UPDATE campaigns SET owner_id = 'key_other' WHERE campaign_id = $1", sent)
	for _, t := range []struct {
		kind, id string
		want     []auth.Scope
	}{
		{"campaign", own, nil},
		{"campaign", sent, nil},
		{"campaign", other, []auth.Scope{"marketing:write"}},
		{"campaign", "cmp_none", []auth.Scope{"marketing:write"}},
		{"ad_campaign", h.text("SELECT MIN(ad_campaign_id) FROM ad_campaigns WHERE owner_id = ''"), []auth.Scope{"ads:write"}},
		{"discount", code, nil},
		{"discount", "AUTUMN15", []auth.Scope{"store:write"}},
		{"discount", "NOSUCH", []auth.Scope{"store:write"}},
	} {
		call, err := h.call("dtc_pause", args{"kind": t.kind, "id": t.id})
		must[any](h)(nil, err)
		var needs []auth.Scope
		err = h.db.Read(h.Context(), func(tx *store.Tx) (err error) {
			call.Tx = tx
			needs, err = call.Tool.Handler().Needs(call)
			return err
		})
		if diff := cmp.Diff(t.want, needs); err != nil || diff != "" {
			h.Errorf("pausing the %s %s: %v\n%s", t.kind, t.id, err, diff)
		}
	}
	h.jobs.open = map[string]string{"campaign:" + other: h.key.ID}
	call, err := h.call("dtc_pause", args{"kind": "campaign", "id": other})
	must[any](h)(nil, err)
	err = h.db.Read(h.Context(), func(tx *store.Tx) (err error) {
		call.Tx = tx
		if needs, err := call.Tool.Handler().Needs(call); err != nil || needs != nil {
			h.Errorf("pausing what waits for the caller's own send needs %v, %v", needs, err)
		}
		return err
	})
	must[any](h)(nil, err)
}

// resumedSendReachesNoMoreThanAgreed lets customers come and go between the call and its time.
func resumedSendReachesNoMoreThanAgreed(h *house) {
	segment := h.crowd("Later", 5)
	id := h.letter(segment)
	c, err := h.call("dtc_send_campaign", h.sending(id))
	must[any](h)(nil, err)
	resumed := func() (p tools.Preview, err error) {
		err = h.db.Read(h.Context(), func(tx *store.Tx) error {
			c.Tx = tx
			p, err = c.Tool.Handler().Preview(c)
			return err
		})
		return p, err
	}
	for _, step := range []struct {
		change string
		want   int64
	}{
		{"UPDATE customers SET email_consent_at = NULL WHERE customer_no = 'Later0000'", 4},
		{`INSERT INTO customers (merchant_id, customer_no, country, email, email_consent_at, contact_synthetic)
			SELECT merchant_id, customer_no || 'x', country, email, 1, 1 FROM customers WHERE country = 'Later'`, 5},
	} {
		h.exec(step.change)
		c.Resumed = false
		_, err := resumed()
		h.refused("the call itself", err, tools.StaleExpectation, "")
		c.Resumed = true
		if p, err := resumed(); err != nil || p.Customers != step.want || p.Money.AmountMinor != 1 {
			h.Errorf("when it runs it would reach %d for %v: %v, want %d", p.Customers, p.Money, err, step.want)
		}
	}
	h.exec("UPDATE campaigns SET version = version + 1 WHERE campaign_id = $1", id)
	_, err = resumed()
	h.refused("another version", err, tools.StaleExpectation, "")
}

// round is what 64 calls at once did to one campaign.
type round struct {
	*house
	id      string
	mu      sync.Mutex
	bodies  map[int64]string // that updates wrote, by version
	sent    []int64          // of each send that began, how many it says it reached
	ended   int              // sends that were done
	paused  atomic.Int64     // pauses that stopped something
	reached atomic.Int64     // written to by the time of the first pause; -1 before it

	first string // the kind of call that the others wait for
	begun chan struct{}
	once  sync.Once
}

// turn lets the calls of one kind begin, and the others when one of those has come to something.
func (r *round) turn(kind string) {
	if kind != r.first {
		<-r.begun
	}
}

func (r *round) cameTo(kind string) {
	if kind == r.first {
		r.once.Do(func() { close(r.begun) })
	}
}

// pausesUpdatesAndSendsTakeTurns lets 64 calls loose on one campaign, in rounds that begin with each kind of them.
func pausesUpdatesAndSendsTakeTurns(h *house) {
	for i, first := range []string{"send", "update", "pause", "send", "update", "send"} {
		name := fmt.Sprint("Turns", i)
		r := &round{
			house: h, id: h.letter(h.crowd(name, 450)), bodies: map[int64]string{1: "Hello.\n\nUnsubscribe."},
			first: first, begun: make(chan struct{}),
		}
		r.reached.Store(-1)
		h.jobs.open = map[string]string{"campaign:" + r.id: h.key.ID}
		in := h.sending(r.id)
		var all sync.WaitGroup
		for n := range 64 {
			all.Go(func() {
				switch n % 4 {
				case 0, 1:
					r.turn("send")
					r.send(in)
				case 2:
					r.turn("update")
					r.update(n)
				default:
					r.turn("pause")
					r.pause()
				}
			})
		}
		all.Wait()
		r.check()
	}
}

func (r *round) send(in args) {
	version := r.number("SELECT version FROM campaigns WHERE campaign_id = $1", r.id)
	c, err := r.call("dtc_send_campaign", in.with("expected_version", version))
	if err != nil {
		r.Error(err)
		return
	}
	var p tools.Progress
	var out sendCampaignOut
	for err == nil && !p.Done && p.Stop == "" {
		out, err = r.step(c, &p, false)
		if err == nil {
			r.cameTo("send")
		}
	}
	if refusal := (*tools.Refusal)(nil); err != nil && (!errors.As(err, &refusal) || refusal.Code != tools.StaleExpectation || len(p.Checkpoint) > 0) {
		r.Errorf("a send ended with %v at %s", err, p.Checkpoint)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(p.Checkpoint) > 0 {
		r.sent = append(r.sent, out.SentTo)
	}
	if p.Done {
		r.ended++
	}
}

func (r *round) update(n int) {
	body := fmt.Sprint("Hello ", n)
	version := r.number("SELECT version FROM campaigns WHERE campaign_id = $1", r.id)
	out, err := write[updateCampaignOut](r.house, "dtc_update_campaign", args{"campaign_id": r.id, "expected_version": version, "body": body})
	if refusal := (*tools.Refusal)(nil); err != nil {
		if !errors.As(err, &refusal) || refusal.Code != tools.StaleExpectation && refusal.Code != tools.Conflict {
			r.Errorf("an update ended with %v", err)
		}
		return
	}
	r.cameTo("update")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bodies[out.Version] != "" {
		r.Errorf("two updates made version %d", out.Version)
	}
	r.bodies[out.Version] = body
}

func (r *round) pause() {
	out, err := r.house.paused("campaign", r.id)
	if refusal := (*tools.Refusal)(nil); err != nil {
		if !errors.As(err, &refusal) || refusal.Code != tools.Conflict {
			r.Errorf("a pause ended with %v", err)
		}
		return
	}
	if out.WasAt != paused {
		r.paused.Add(1)
	}
	r.cameTo("pause")
	r.reached.CompareAndSwap(-1, r.number("SELECT COUNT(*) FROM deliveries WHERE mailing_id = $1", r.id))
}

// check holds what came of a round to what some order of its calls explains.
func (r *round) check() {
	r.Helper()
	got := r.campaign(r.id)
	reached := r.number("SELECT COUNT(*) FROM deliveries WHERE mailing_id = $1", r.id)
	began := int64(len(r.sent))
	r.Logf("%s after %d updates, %d sent", got.Status, len(r.bodies)-1, reached)
	if before := r.reached.Load(); before >= 0 && before != reached {
		r.Errorf("%d were written to when it was paused, and %d in the end", before, reached)
	}
	if began > 1 || began == 1 && r.sent[0] != reached || began == 0 && reached > 0 || got.SentTo != reached || reached > 450 {
		r.Errorf("%d sends began and say %v; the campaign says %d, there are %d deliveries", began, r.sent, got.SentTo, reached)
	}
	status := map[bool]string{true: "paused"}[r.paused.Load() == 1]
	if r.ended == 1 {
		status += "sent"
	}
	if got.Status != status {
		r.Errorf("after %d pauses and %d ends the campaign is %s", r.paused.Load(), r.ended, got.Status)
	}
	if version := int64(len(r.bodies)) + began + r.paused.Load() + int64(r.ended); got.Version != version {
		r.Errorf("it has version %d; %d changes were answered", got.Version, version-1)
	}
	var last int64
	for v := range r.bodies {
		last = max(last, v)
	}
	if got.Body != r.bodies[last] {
		r.Errorf("it reads %q, the last update wrote %q", got.Body, r.bodies[last])
	}
	if began == 1 && r.text("SELECT body FROM mailings WHERE mailing_id = $1", r.id) != got.Body {
		r.Error("another text went out than the one it has")
	}
}
