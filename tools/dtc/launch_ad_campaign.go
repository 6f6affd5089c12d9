package dtc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A launchAdIn has a last day and a budget a day, always: no ad runs until somebody remembers it.
type launchAdIn struct {
	AdAccountID string   `json:"ad_account_id" jsonschema:"maxLength=40"`
	Name        string   `json:"name" jsonschema:"minLength=1,maxLength=80"`
	Objective   string   `json:"objective" jsonschema:"enum=sales,enum=traffic,enum=awareness"`
	Headline    string   `json:"headline" jsonschema:"minLength=1,maxLength=60"`
	Text        string   `json:"text" jsonschema:"minLength=1,maxLength=500"`
	SKU         string   `json:"sku" jsonschema:"maxLength=16"`
	Countries   []string `json:"countries" jsonschema:"minItems=1,maxItems=20,maxLength=60,description=Such as United Kingdom"`
	DailyBudget Amount   `json:"daily_budget"`
	StartOn     string   `json:"start_on" jsonschema:"format=date"`
	EndOn       string   `json:"end_on" jsonschema:"format=date,description=Within a year of start_on"`
	Asked
}

// An adCampaignOut is a campaign after a change.
type adCampaignOut struct {
	shop.AdCampaign
	Simulated bool `json:"simulated,omitempty"`
}

var launchAdCampaign = tools.Define(tools.Spec{
	Name: "dtc_launch_ad_campaign", Path: "ads.launch", Title: "Launch an ad campaign",
	Description: "Starts an ad for one SKU in a connected ad account. daily_budget times days must fit the account's cap of each month. " +
		"Simulated. To stop it use dtc_pause.",
	Scope: "ads:spend", Risk: tools.Risk{Undo: 2, Blast: 1, Money: 1, Reach: 1}, Class: tools.ClassSpend, Resource: "ad_account:/ad_account_id",
	Undo: "dtc_pause ends it; what is spent is spent",
	Example: `{"ad_account_id":"ada_01KVMPGZM0E00BFASEKNRG4BEC","name":"Candles in advent","objective":"sales","headline":"Forty hours of quiet",` +
		`"text":"A candle for every Sunday until Christmas.","sku":"40120A","countries":["United Kingdom","Ireland"],` +
		`"daily_budget":{"amount_minor":1500,"currency":"GBP"},"start_on":"2026-11-29","end_on":"2026-12-20",` +
		`"idempotency_key":"candles-advent","reason":"Candles sold best in last year's advent"}`,
	Routes: []tools.Route{{Method: "POST", Path: "/ads/campaigns"}},
}, tools.Func[launchAdIn, adCampaignOut]{Preview: previewLaunch, Step: launch, Facts: launchFacts})

func (in launchAdIn) campaign(by *tools.Call) shop.AdCampaign {
	return shop.AdCampaign{
		AccountID: in.AdAccountID, Name: in.Name, Objective: in.Objective, Headline: in.Headline, Body: in.Text, SKU: in.SKU,
		Countries: in.Countries, DailyBudget: shop.Money(in.DailyBudget), StartOn: in.StartOn, EndOn: in.EndOn,
		Owner: by.Principal.ID, CreatedBy: by.Principal.Name,
	}
}

// previewLaunch shows as money what the campaign may cost from its first to its last day, and what that commits each
// month of the account to.
func previewLaunch(c *tools.Call, in launchAdIn) (tools.Preview, error) {
	d, err := desk(c)
	if err != nil {
		return tools.Preview{}, err
	}
	a, err := d.AdAccount(in.AdAccountID)
	if err != nil {
		return tools.Preview{}, err
	}
	if a.Status != shop.AdConnected {
		return tools.Preview{}, notConnected(a)
	}
	for _, check := range []func(*tools.Call, *shop.Desk) error{in.checkTexts, in.checkBudget, in.checkDays, in.checkCountries} {
		if err := check(c, d); err != nil {
			return tools.Preview{}, err
		}
	}
	variant, err := in.variant(d)
	if err != nil {
		return tools.Preview{}, err
	}
	months, err := d.RoomForAd(a, in.campaign(c))
	if err != nil {
		return tools.Preview{}, adRefusal(err)
	}
	return in.preview(a, variant, months), nil
}

func (in launchAdIn) preview(a shop.AdAccount, v shop.Variant, months []shop.AdMonth) tools.Preview {
	daily := shop.Money(in.DailyBudget)
	most := daily
	most.AmountMinor *= shop.DaysBetween(in.StartOn, in.EndOn)
	p := tools.Preview{
		Summary: fmt.Sprintf("Launch the %s ad “%s” for %s (SKU %s) in %s from %s to %s, for at most %s a day and %s in all",
			a.Platform, in.Name, v.Title, v.SKU, countriesOf(in.Countries), in.StartOn, in.EndOn, daily, most),
		Money: &most,
		Changes: []tools.Change{
			{Object: "new ad campaign", Field: "status", From: "none", To: shop.AdActive},
			{Object: "new ad campaign", Field: "daily budget", From: "none", To: daily.String()},
		},
		Content:      in.Headline + "\n\n" + in.Text + "\n\nShown in: " + strings.Join(in.Countries, ", "),
		Irreversible: "What has been spent until it is paused stays spent.",
	}
	p.Changes = append(p.Changes, monthChanges(a, months)...)
	if v.OnHand == 0 {
		p.Warnings = append(p.Warnings, "Nothing of SKU "+v.SKU+" is on hand.")
	}
	return p
}

// countriesOf names the countries while they are few.
func countriesOf(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%d countries", len(names))
	}
	return strings.Join(names, ", ")
}

// monthChanges show how much of its cap an account is committed to.
func monthChanges(a shop.AdAccount, months []shop.AdMonth) []tools.Change {
	changes := make([]tools.Change, len(months))
	for i, m := range months {
		changes[i] = tools.Change{
			Object: "ad account " + a.ID, Field: fmt.Sprintf("committed in %s of %s", m.Month, m.Cap), From: m.Now.String(), To: m.Then.String(),
		}
	}
	return changes
}

func (in launchAdIn) checkTexts(*tools.Call, *shop.Desk) error {
	for _, text := range []struct{ field, is string }{{"name", in.Name}, {"headline", in.Headline}} {
		if !oneLine(text.is) {
			return tools.Wrong(text.field, "holds a character that is not printed", "one line of plain text", nil)
		}
	}
	return nil
}

func (in launchAdIn) checkBudget(_ *tools.Call, d *shop.Desk) error {
	budget, err := in.DailyBudget.inCurrency("daily_budget", d)
	if err == nil && budget.AmountMinor == 0 {
		err = tools.Wrong("daily_budget.amount_minor", "is zero", "minor units, 1 or more", 1000)
	}
	return err
}

// checkDays judges start_on as of the day of the call, which stands in its id: a call that people agreed to a day later
// begins at once. Days compare as text.
func (in launchAdIn) checkDays(c *tools.Call, _ *shop.Desk) error {
	start, err := shop.Midnight(in.StartOn)
	if err != nil {
		return err
	}
	asked, ok := store.IDTime(c.ID)
	if !ok {
		asked = c.Now
	}
	switch {
	case in.StartOn < shop.Day(asked):
		return tools.Wrong("start_on", "is past", "today or later", shop.Day(asked))
	case in.StartOn > shop.Day(asked.AddDate(1, 0, 0)):
		return tools.Wrong("start_on", "is more than a year ahead", "a day within a year", shop.Day(asked))
	case in.EndOn > shop.Day(start.AddDate(1, 0, 0)):
		return tools.Wrong("end_on", "is more than a year after start_on", "a day within a year of start_on", in.StartOn)
	case in.EndOn < shop.Day(c.Now):
		return tools.Wrong("end_on", "is past", "today or later", shop.Day(c.Now))
	}
	return daysInOrder("start_on", in.StartOn, "end_on", in.EndOn)
}

func (in launchAdIn) checkCountries(_ *tools.Call, d *shop.Desk) error {
	for i, name := range in.Countries {
		known, err := d.HasCustomersIn(name)
		if err != nil {
			return err
		}
		if !known {
			return tools.Wrong(fmt.Sprintf("countries[%d]", i), "is no country of this shop's customers",
				"names as dtc_get_sales_summary gives them with group_by country", "United Kingdom")
		}
	}
	return nil
}

func (in launchAdIn) variant(d *shop.Desk) (shop.Variant, error) {
	known, err := d.Variants([]string{in.SKU})
	if err != nil {
		return shop.Variant{}, err
	}
	v, ok := known[in.SKU]
	if !ok {
		return v, tools.Wrong("sku", "is no SKU of this shop", "a SKU as dtc_search_products gives it", nil)
	}
	return v, nil
}

func notConnected(a shop.AdAccount) error {
	return tools.Refuse(tools.Conflict, "Use an account that dtc_list_ad_accounts shows as connected, or leave the sign-in to a person.",
		"The ad account is %s; only in a connected one can a campaign be launched.", a.Status)
}

// launch does it in one step. The room in the account is counted again, by one caller at a time.
func launch(c *tools.Call, in launchAdIn, p *tools.Progress) (out adCampaignOut, err error) {
	d, err := desk(c)
	if err != nil {
		return out, err
	}
	made, err := d.LaunchAd(in.campaign(c))
	if errors.Is(err, shop.ErrChanged) {
		err = tools.Refuse(tools.Conflict, "Look at it with dtc_list_ad_accounts.", "The ad account is not connected any more.")
	}
	if err != nil {
		return out, adRefusal(err)
	}
	p.Done, p.Percent, p.Note = true, 100, "Launched"
	return adCampaignOut{made, true}, nil
}
