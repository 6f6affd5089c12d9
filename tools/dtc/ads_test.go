package dtc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

var adStories = []story{
	{"AdAccountWaitsForAPerson", adAccountWaitsForAPerson},
	{"AdAccountIsRefusedWhenItMakesNoSense", adAccountIsRefusedWhenItMakesNoSense},
	{"AdIsLaunchedAsShown", adIsLaunchedAsShown},
	{"AdIsRefusedWhenItMakesNoSense", adIsRefusedWhenItMakesNoSense},
	{"AdThatWasAgreedToALaterDayBeginsAtOnce", adThatWasAgreedToALaterDayBeginsAtOnce},
	{"BudgetIsRaisedAndPutBack", budgetIsRaisedAndPutBack},
	{"BudgetFallsWithoutConsent", budgetFallsWithoutConsent},
	{"BudgetIsNotPutBackOverTheCap", budgetIsNotPutBackOverTheCap},
	{"BudgetOfWhatDoesNotRunIsRefused", budgetOfWhatDoesNotRunIsRefused},
	{"ManyLaunchAdsAtOnce", manyLaunchAdsAtOnce},
	{"AdsAreListed", adsAreListed},
	{"ExamplesOfAdsWork", examplesOfAdsWork},
}

var (
	connecting = args{
		"platform": "google", "name": "Another try", "month_cap": pounds(900_00),
		"idempotency_key": "k", "reason": "for the tests of ads",
	}
	launching = args{
		"name": "Wool in winter", "objective": "sales", "headline": "Warm by Friday", "text": "Thick wool, thin parcels.",
		"sku": "40350A", "countries": []string{"United Kingdom", "Japan"}, "daily_budget": pounds(10_00),
		"start_on": "2026-11-29", "end_on": "2026-12-04", "idempotency_key": "k", "reason": "for the tests of ads",
	}
)

// adAccount makes an account in which ads can be launched. There may be only so many: it is gone after the story.
func (h *house) adAccount(capMinor int64) string {
	h.Helper()
	out, _, err := undoable[connectAdAccountOut](h, "dtc_connect_ad_account", connecting.with("month_cap", pounds(capMinor)))
	if err != nil {
		h.Fatal(err)
	}
	h.exec("UPDATE ad_accounts SET status = 'connected' WHERE ad_account_id = $1", out.AdAccountID)
	h.Cleanup(func() {
		err := h.db.InTx(context.Background(), func(tx *store.Tx) error {
			_, one := tx.Exec("DELETE FROM ad_campaigns WHERE ad_account_id = $1", out.AdAccountID)
			_, two := tx.Exec("DELETE FROM ad_accounts WHERE ad_account_id = $1", out.AdAccountID)
			return errors.Join(one, two)
		})
		if err != nil {
			h.Error(err)
		}
	})
	return out.AdAccountID
}

func (h *house) ad(account string, in args) adCampaignOut {
	h.Helper()
	out, _, err := undoable[adCampaignOut](h, "dtc_launch_ad_campaign", in.with("ad_account_id", account))
	if err != nil {
		h.Fatal(err)
	}
	return out
}

// setting is a call for another budget.
func setting(ad adCampaignOut, minor int64) args {
	return args{
		"ad_campaign_id": ad.ID, "expected_version": ad.Version, "daily_budget": pounds(minor),
		"idempotency_key": "k", "reason": "for the tests of ads",
	}
}

func adAccountWaitsForAPerson(h *house) {
	p := must[tools.Preview](h)(h.preview("dtc_connect_ad_account", connecting))
	if want := "Connect the google ad account “Another try”, in which ads may cost at most £900.00 a month"; p.Summary != want || p.Money.AmountMinor != 900_00 {
		h.Errorf("the preview is %+v", p)
	}
	out, undo, err := undoable[connectAdAccountOut](h, "dtc_connect_ad_account", connecting)
	if err != nil {
		h.Fatal(err)
	}
	if want := "https://ads.example/google/sign-in?account=" + out.AdAccountID; out.SignInURL != want || !out.Simulated {
		h.Errorf("it answers %+v, want %s", out, want)
	}
	_, err = h.preview("dtc_launch_ad_campaign", launching.with("ad_account_id", out.AdAccountID))
	h.refused("a launch before anybody signed in", err, tools.Conflict, "")
	if err := undo(); err != nil {
		h.Fatal(err)
	}
	if status := h.text("SELECT status || ' ' || owner_id FROM ad_accounts WHERE ad_account_id = $1", out.AdAccountID); status != "disconnected key_test" {
		h.Errorf("after the undo it is %s", status)
	}
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("undoing twice: %v", err)
	}
}

func adAccountIsRefusedWhenItMakesNoSense(h *house) {
	for what, c := range map[string]struct {
		in    args
		field string
	}{
		"a cap of nothing":    {connecting.with("month_cap", pounds(0)), "month_cap.amount_minor"},
		"other money":         {connecting.with("month_cap", args{"amount_minor": 1, "currency": "USD"}), "month_cap.currency"},
		"a name of two lines": {connecting.with("name", "a\nb"), "name"},
		"an unknown platform": {connecting.with("platform", "post"), "platform"},
	} {
		_, err := h.preview("dtc_connect_ad_account", c.in)
		h.refused(what, err, tools.InvalidArguments, c.field)
	}
	account := h.adAccount(100)
	h.exec(`INSERT INTO ad_accounts (merchant_id, ad_account_id, platform, name, month_cap_minor, status, owner_id, created_at, created_by)
		SELECT merchant_id, 'many' || order_no, 'meta', 'many', 1, 'connected', '', 0, '' FROM orders ORDER BY order_no LIMIT 20`)
	_, err := h.preview("dtc_connect_ad_account", connecting)
	h.refused("one account too many", err, tools.LimitExceeded, "")
	h.exec("DELETE FROM ad_accounts WHERE name = 'many'")
	_ = account
}

func adIsLaunchedAsShown(h *house) {
	account := h.adAccount(900_00)
	in := launching.with("ad_account_id", account)
	p := must[tools.Preview](h)(h.preview("dtc_launch_ad_campaign", in))
	want := tools.Preview{
		Summary: "Launch the google ad “Wool in winter” for " + h.text("SELECT title FROM variants WHERE sku = '40350A'") +
			" (SKU 40350A) in United Kingdom, Japan from 2026-11-29 to 2026-12-04, for at most £10.00 a day and £60.00 in all",
		Money: &shop.Money{AmountMinor: 60_00, Currency: "GBP"},
		Changes: []tools.Change{
			{Object: "new ad campaign", Field: "status", From: "none", To: "active"},
			{Object: "new ad campaign", Field: "daily budget", From: "none", To: "£10.00"},
			{Object: "ad account " + account, Field: "committed in 2026-11 of £900.00", From: "£0.00", To: "£20.00"},
			{Object: "ad account " + account, Field: "committed in 2026-12 of £900.00", From: "£0.00", To: "£40.00"},
		},
		Content:      "Warm by Friday\n\nThick wool, thin parcels.\n\nShown in: United Kingdom, Japan",
		Irreversible: "What has been spent until it is paused stays spent.",
	}
	if h.number("SELECT on_hand FROM variants WHERE sku = '40350A'") == 0 {
		want.Warnings = []string{"Nothing of SKU 40350A is on hand."}
	}
	if diff := cmp.Diff(want, p); diff != "" {
		h.Errorf("the preview:\n%s", diff)
	}
	out := h.ad(account, launching)
	row := h.text(`SELECT name || '|' || objective || '|' || headline || '|' || body || '|' || sku || '|' || countries || '|' || daily_budget_minor
		|| '|' || start_on || '|' || end_on || '|' || status || '|' || owner_id || '|' || created_by FROM ad_campaigns WHERE ad_campaign_id = $1`, out.ID)
	if want := `Wool in winter|sales|Warm by Friday|Thick wool, thin parcels.|40350A|["United Kingdom","Japan"]|1000|` +
		"2026-11-29|2026-12-04|active|key_test|test bot"; row != want || !out.Simulated || out.Version != 1 {
		h.Errorf("kept as %s\nwant    %s\nanswered %+v", row, want, out)
	}
}

func adIsRefusedWhenItMakesNoSense(h *house) {
	account := h.adAccount(900_00)
	in := launching.with("ad_account_id", account)
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"no such account":         {in.with("ad_account_id", "ada_none"), tools.NotFound, ""},
		"no such SKU":             {in.with("sku", "NONE"), tools.InvalidArguments, "sku"},
		"a country of nobody":     {in.with("countries", []string{"Japan", "Atlantis"}), tools.InvalidArguments, "countries[1]"},
		"no country":              {in.with("countries", []string{}), tools.InvalidArguments, "countries"},
		"a budget of nothing":     {in.with("daily_budget", pounds(0)), tools.InvalidArguments, "daily_budget.amount_minor"},
		"other money":             {in.with("daily_budget", args{"amount_minor": 1, "currency": "EUR"}), tools.InvalidArguments, "daily_budget.currency"},
		"yesterday":               {in.with("start_on", "2026-11-21"), tools.InvalidArguments, "start_on"},
		"in two years":            {in.with("start_on", "2028-11-21").with("end_on", "2028-11-22"), tools.InvalidArguments, "start_on"},
		"for more than a year":    {in.with("end_on", "2027-11-30"), tools.InvalidArguments, "end_on"},
		"the end before":          {in.with("end_on", "2026-11-28"), tools.InvalidArguments, "end_on"},
		"a headline of two lines": {in.with("headline", "a\u2028b"), tools.InvalidArguments, "headline"},
		"more than the cap":       {in.with("daily_budget", pounds(225_01)), tools.LimitExceeded, ""},
	} {
		_, err := h.preview("dtc_launch_ad_campaign", c.in)
		h.refused(what, err, c.code, c.field)
	}
	h.ad(account, launching.with("daily_budget", pounds(200_00)))
	_, err := h.preview("dtc_launch_ad_campaign", in.with("daily_budget", pounds(50_00)))
	r := h.refused("more than the first has left", err, tools.LimitExceeded, "")
	if want := "The ad account has a cap of £900.00 a month. In 2026-12, £800.00 of it is spent or committed, which leaves £100.00; " +
		"with this it would be £1,000.00."; r.Message != want {
		h.Errorf("it says %q, want %q", r.Message, want)
	}
}

// adThatWasAgreedToALaterDayBeginsAtOnce holds start_on to the day of the call and not to that of the consent.
func adThatWasAgreedToALaterDayBeginsAtOnce(h *house) {
	account := h.adAccount(900_00)
	c, err := h.call("dtc_launch_ad_campaign", launching.with("ad_account_id", account).with("start_on", "2026-11-21"))
	if err != nil {
		h.Fatal(err)
	}
	c.ID = store.NewID("call", sunday.AddDate(0, 0, -1))
	err = h.db.InTx(h.Context(), func(tx *store.Tx) error {
		c.Tx = tx
		if _, err := c.Tool.Handler().Preview(c); err != nil {
			return err
		}
		_, err := c.Tool.Handler().Step(c, &tools.Progress{})
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	out := must[listAdAccountsOut](h)(read[listAdAccountsOut](h, "dtc_list_ad_accounts", args{"platform": "google", "limit": 50}))
	for _, a := range out.Accounts {
		if a.ID == account && a.SpentThisMonth.AmountMinor != 0 {
			h.Errorf("it spent %s before it was there", a.SpentThisMonth)
		}
	}
}

// judged is the risk and class of one call.
func (h *house) judged(name string, in args) (tools.Preview, tools.Risk, tools.Class) {
	h.Helper()
	c, err := h.call(name, in)
	if err != nil {
		h.Fatal(err)
	}
	p := must[tools.Preview](h)(h.preview(name, in))
	risk := must[tools.Risk](h)(c.Tool.Handler().Rate(c, p))
	class := must[tools.Class](h)(c.Tool.Handler().Class(c, p))
	return p, risk, class
}

func budgetIsRaisedAndPutBack(h *house) {
	ad := h.ad(h.adAccount(900_00), launching)
	p, risk, class := h.judged("dtc_set_ad_budget", setting(ad, 30_00))
	if class != tools.ClassSpend || risk.Level() != 5 || p.Money.AmountMinor != 6*20_00 || p.Version != "1" {
		h.Errorf("a rise is of class %q, %s, %+v", class, risk.Level(), p)
	}
	if want := "Raise the daily budget of the ad campaign “Wool in winter” from £10.00 to £30.00, which is at most £120.00 more until 2026-12-04"; p.Summary != want {
		h.Errorf("it says %q, want %q", p.Summary, want)
	}
	out, undo, err := undoable[adCampaignOut](h, "dtc_set_ad_budget", setting(ad, 30_00))
	if err != nil || out.Version != 2 || out.DailyBudget.AmountMinor != 30_00 {
		h.Fatalf("it answers %+v, %v", out, err)
	}
	_, err = h.preview("dtc_set_ad_budget", setting(ad, 20_00))
	if r := h.refused("on what was before", err, tools.StaleExpectation, ""); fmt.Sprint(r.Errors.Now["expected_version"]) != "2" {
		h.Errorf("it tells %v", r.Errors.Now)
	}
	_, err = h.preview("dtc_set_ad_budget", setting(out, 30_00))
	h.refused("the same budget", err, tools.InvalidArguments, "daily_budget")
	_, err = h.preview("dtc_set_ad_budget", setting(out, 225_01))
	h.refused("more than the cap", err, tools.LimitExceeded, "")
	if err := undo(); err != nil {
		h.Fatal(err)
	}
	if row := h.text("SELECT daily_budget_minor || ' ' || status || ' ' || version FROM ad_campaigns WHERE ad_campaign_id = $1", ad.ID); row != "1000 active 3" {
		h.Errorf("after the undo it is %s", row)
	}
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("undoing what has changed since: %v", err)
	}
}

func budgetFallsWithoutConsent(h *house) {
	ad := h.ad(h.adAccount(900_00), launching)
	p, risk, class := h.judged("dtc_set_ad_budget", setting(ad, 0))
	if class != tools.ClassNone || risk.Money != 0 || risk.Level() > 4 || p.Money != nil {
		h.Errorf("a fall is of class %q, %s, %+v", class, risk.Level(), p)
	}
	if _, _, err := undoable[adCampaignOut](h, "dtc_set_ad_budget", setting(ad, 0)); err != nil {
		h.Error(err)
	}
}

func budgetIsNotPutBackOverTheCap(h *house) {
	account := h.adAccount(60_00)
	ad := h.ad(account, launching.with("daily_budget", pounds(15_00)))
	_, undo, err := undoable[adCampaignOut](h, "dtc_set_ad_budget", setting(ad, 5_00))
	if err != nil {
		h.Fatal(err)
	}
	h.ad(account, launching.with("daily_budget", pounds(10_00)))
	h.refused("putting it back", undo(), tools.LimitExceeded, "")
	if n := h.number("SELECT daily_budget_minor FROM ad_campaigns WHERE ad_campaign_id = $1", ad.ID); n != 5_00 {
		h.Errorf("after an undo that was refused its budget is %d", n)
	}
}

func budgetOfWhatDoesNotRunIsRefused(h *house) {
	ad := h.ad(h.adAccount(900_00), launching)
	_, err := h.preview("dtc_set_ad_budget", setting(ad, 5_00).with("ad_campaign_id", "adc_none"))
	h.refused("no such campaign", err, tools.NotFound, "")
	h.exec("UPDATE ad_campaigns SET status = 'paused' WHERE ad_campaign_id = $1", ad.ID)
	_, err = h.preview("dtc_set_ad_budget", setting(ad, 5_00))
	h.refused("a paused campaign", err, tools.Conflict, "")
}

// manyLaunchAdsAtOnce holds the cap between preview and launch, in which others come in between.
func manyLaunchAdsAtOnce(h *house) {
	account := h.adAccount(4 * 10_00 * 5)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			_, _, err := undoable[adCampaignOut](h, "dtc_launch_ad_campaign", launching.with("ad_account_id", account))
			var r *tools.Refusal
			if err != nil && (!errors.As(err, &r) || r.Code != tools.LimitExceeded) {
				h.Error(err)
			}
		})
	}
	all.Wait()
	if n := h.number("SELECT COUNT(*) FROM ad_campaigns WHERE ad_account_id = $1", account); n != 5 {
		h.Errorf("%d were launched, want 5", n)
	}
}

func adsAreListed(h *house) {
	account := h.adAccount(900_00)
	for range shop.MaxRunningAds {
		h.ad(account, launching.with("daily_budget", pounds(1)).with("name", strings.Repeat("é", 80)))
	}
	all := must[listAdAccountsOut](h)(read[listAdAccountsOut](h, "dtc_list_ad_accounts", args{"limit": 50}))
	if !all.Simulated || all.Total != int(h.number("SELECT COUNT(*) FROM ad_accounts")) || all.Accounts[0].ID != account {
		h.Errorf("simulated %v, %d of %d accounts", all.Simulated, len(all.Accounts), all.Total)
	}
	if a := all.Accounts[0]; a.CampaignsTotal != shop.MaxRunningAds || len(a.Campaigns) != shop.MaxRunningAds || a.MonthCap.AmountMinor != 900_00 {
		h.Errorf("the account has %d campaigns, and %d of them", a.CampaignsTotal, len(a.Campaigns))
	}
	one := must[listAdAccountsOut](h)(read[listAdAccountsOut](h, "dtc_list_ad_accounts", args{"platform": "google", "limit": 1}))
	rest := must[listAdAccountsOut](h)(read[listAdAccountsOut](h, "dtc_list_ad_accounts", args{"platform": "google", "limit": 1, "cursor": one.NextCursor}))
	if one.Accounts[0].ID != account || rest.Accounts[0].ID == account || rest.Accounts[0].Platform != "google" {
		h.Errorf("the second page is %+v", rest)
	}
	few := must[listAdAccountsOut](h)(read[listAdAccountsOut](h, "dtc_list_ad_accounts", args{"platform": "meta", "days": 7}))
	more := must[listAdAccountsOut](h)(read[listAdAccountsOut](h, "dtc_list_ad_accounts", args{"platform": "meta", "days": 90}))
	sum := func(l listAdAccountsOut) (n int64) {
		for _, a := range l.Accounts {
			for _, c := range a.Campaigns {
				n += c.Spent.AmountMinor
			}
		}
		return n
	}
	if sum(few) == 0 || sum(more) <= sum(few) {
		h.Errorf("%d was spent in 7 days and %d in 90", sum(few), sum(more))
	}
}

func examplesOfAdsWork(h *house) {
	for _, name := range []string{"dtc_connect_ad_account", "dtc_launch_ad_campaign", "dtc_set_ad_budget"} {
		t, _ := h.registry.Find(name)
		var in args
		if err := json.Unmarshal([]byte(t.Example), &in); err != nil {
			h.Fatal(err)
		}
		if _, err := h.preview(name, in); err != nil {
			h.Errorf("%s: %v", name, err)
		}
	}
}
