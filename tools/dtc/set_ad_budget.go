package dtc

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type setAdBudgetIn struct {
	AdCampaignID    string `json:"ad_campaign_id" jsonschema:"maxLength=40"`
	ExpectedVersion int64  `json:"expected_version"`
	DailyBudget     Amount `json:"daily_budget" jsonschema:"description=0 stops the spending"`
	Asked
}

var setAdBudget = tools.Define(tools.Spec{
	Name: "dtc_set_ad_budget", Path: "ads.budget", Title: "Set an ad budget",
	Description: "Sets what a running ad campaign may spend a day, from today on. Lowering it needs no consent; raised it must fit " +
		"the account's cap of each month. Simulated. To stop it for good use dtc_pause.",
	Scope: "ads:spend", Risk: tools.Risk{Undo: 2, Blast: 1, Money: 1, Reach: 1}, Class: tools.ClassSpend, Resource: "ad_campaign:/ad_campaign_id",
	Undo: "Sets the old budget, if the month's cap allows; what is spent is spent",
	Example: `{"ad_campaign_id":"adc_01M5CC1T80E008S68NMD8ZFK61","expected_version":1,"daily_budget":{"amount_minor":2000,"currency":"GBP"},` +
		`"idempotency_key":"gifts-lower","reason":"The gifts are nearly sold out"}`,
	Routes: []tools.Route{{Method: "POST", Path: "/ads/campaigns/{ad_campaign_id}/budget"}},
}, tools.Func[setAdBudgetIn, adCampaignOut]{
	Preview: previewBudget, Write: setBudget, Rate: rateBudget, Class: classOfBudget, Facts: adBudgetFacts,
	Ratings: []tools.Rating{{Risk: tools.Risk{Undo: 1, Blast: 1, Reach: 1}}},
	Undo:    tools.Reversible(keepBudget, restoreBudget),
})

// rateBudget lets whoever may not spend spend less. Only a rise has money in its preview.
func rateBudget(_ setAdBudgetIn, p tools.Preview, r tools.Risk) tools.Risk {
	if p.Money == nil {
		r.Money, r.Undo = 0, 1
	}
	return r
}

func classOfBudget(_ setAdBudgetIn, p tools.Preview) tools.Class {
	if p.Money == nil {
		return tools.ClassNone
	}
	return tools.ClassSpend
}

// previewBudget shows a rise as money: what it adds, for all days that are left.
func previewBudget(c *tools.Call, in setAdBudgetIn) (tools.Preview, error) {
	d, ad, err := in.campaign(c)
	if err != nil {
		return tools.Preview{}, err
	}
	budget, err := in.DailyBudget.inCurrency("daily_budget", d)
	if err == nil && budget == ad.DailyBudget {
		err = tools.Wrong("daily_budget", "is the budget already", "another amount", nil)
	}
	if err != nil {
		return tools.Preview{}, err
	}
	a, err := d.AdAccount(ad.AccountID)
	if err != nil {
		return tools.Preview{}, err
	}
	months, err := d.AdMonths(a, ad, budget)
	if err != nil {
		return tools.Preview{}, adRefusal(err)
	}
	p := tools.Preview{
		Summary: fmt.Sprintf("Lower the daily budget of the ad campaign “%s” from %s to %s", ad.Name, ad.DailyBudget, budget),
		Changes: append([]tools.Change{{
			Object: "ad campaign " + ad.ID, Field: "daily budget", From: ad.DailyBudget.String(), To: budget.String(),
		}}, monthChanges(a, months)...),
		Version: strconv.FormatInt(ad.Version, 10),
	}
	if rise := budget.AmountMinor - ad.DailyBudget.AmountMinor; rise > 0 {
		more := shop.Money{AmountMinor: rise * shop.DaysBetween(max(ad.StartOn, shop.Day(c.Now)), ad.EndOn), Currency: budget.Currency}
		p.Money, p.Irreversible = &more, "What has been spent until it is lowered stays spent."
		p.Summary = fmt.Sprintf("Raise the daily budget of the ad campaign “%s” from %s to %s, which is at most %s more until %s",
			ad.Name, ad.DailyBudget, budget, more, ad.EndOn)
	}
	return p, nil
}

// campaign reads the campaign and holds it to what the caller saw. One that does not run has no budget to set.
func (in setAdBudgetIn) campaign(c *tools.Call) (*shop.Desk, shop.AdCampaign, error) {
	d, err := desk(c)
	if err != nil {
		return nil, shop.AdCampaign{}, err
	}
	ad, err := d.AdCampaign(in.AdCampaignID)
	switch {
	case err != nil:
	case ad.Version != in.ExpectedVersion:
		err = staleAd(ad)
	case !ad.Running():
		err = tools.Refuse(tools.Conflict, "Launch a new one with dtc_launch_ad_campaign, or leave it to a person.",
			"The ad campaign is %s and spends nothing.", ad.Status)
	}
	return d, ad, err
}

func staleAd(ad shop.AdCampaign) error {
	return tools.Stale("The ad campaign has changed since it was looked at.", map[string]any{
		"expected_version": ad.Version, "daily_budget": ad.DailyBudget, "status": ad.Status,
	})
}

func setBudget(c *tools.Call, in setAdBudgetIn) (out adCampaignOut, err error) {
	d, ad, err := in.campaign(c)
	if err != nil {
		return out, err
	}
	after, err := d.SetAdBudget(ad, shop.Money(in.DailyBudget))
	if errors.Is(err, shop.ErrChanged) {
		if ad, err = d.AdCampaign(ad.ID); err == nil {
			err = staleAd(ad)
		}
	}
	if err == nil {
		after, err = d.FillSpent(after)
	}
	return adCampaignOut{after, true}, adRefusal(err)
}

func keepBudget(c *tools.Call, in setAdBudgetIn) (shop.Money, error) {
	_, ad, err := in.campaign(c)
	return ad.DailyBudget, err
}

// restoreBudget sets the budget that was, of a campaign that is as the write left it. A rise is held to the month's cap
// again: meanwhile others may have taken the room.
func restoreBudget(c *tools.Call, _ setAdBudgetIn, out adCampaignOut, before shop.Money) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	ad, err := d.AdCampaign(out.ID)
	if err == nil && ad.Version != out.Version {
		err = shop.ErrChanged
	}
	if err == nil {
		_, err = d.SetAdBudget(ad, before)
	}
	return adRefusal(err)
}
