package shop

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// adAccountPlans are the ad accounts that every demo merchant starts with.
var adAccountPlans = []struct {
	platform, name string
	cap            int64 // a month, in minor units
}{
	{"meta", "Meta, main account", 2400_00},
	{"google", "Google Shopping", 1800_00},
	{"tiktok", "TikTok trial", 600_00},
}

// adPlans are their campaigns. No two of an account that run on the same day cost more in a month than its cap. Days
// count from the last day of the data, past ones below zero.
var adPlans = []struct {
	account        int
	name           string
	objective      string
	headline, body string
	countries      int // in which most customers live
	budget         int64
	start, end     int
	paused         int // the day on which it was paused; 0 for none
}{
	{0, "Autumn table", "sales", "A table for longer evenings", "Things for the table that last. See what is new.", 1, 20_00, -85, -40, 0},
	{0, "Christmas gifts", "sales", "Gifts worth wrapping", "Small makers, good parcels. Order early for Christmas.", 2, 32_00, -30, 33, 0},
	{1, "Best sellers", "sales", "What everybody comes back for", "Our best sellers, in stock and posted the next day.", 3, 28_00, -88, 60, 0},
	{1, "Our name", "traffic", "Straight to the shop", "Everything we make, in one place.", 1, 12_00, -60, 30, 0},
	{2, "Meet the makers", "awareness", "Made slowly", "The people behind the things on your table.", 1, 15_00, -45, -20, 0},
	{2, "Gift ideas", "traffic", "Ten gifts under ten pounds", "Found something for everybody yet?", 1, 10_00, -14, 20, -4},
}

// addAds makes the ad accounts, their campaigns and what those have spent so far. All chance is in the names, so that
// the same orders give the same ads.
func (c *Contents) addAds() {
	last := civil(c.Shop.DataUntil)
	for _, p := range adAccountPlans {
		at := last.AddDate(0, -5, 0).Add(9 * time.Hour)
		c.AdAccounts = append(c.AdAccounts, AdAccount{
			ID: fixedID("ada", at, p.name), Platform: p.platform, Name: p.name, Status: AdConnected, MonthCap: c.money(p.cap),
			CreatedAt: at, CreatedBy: "staff",
		})
	}
	sellers, homes := c.bestSellers(len(adPlans)), c.mostCustomers()
	for i, p := range adPlans {
		at := last.AddDate(0, 0, p.start-2).Add(10 * time.Hour)
		day := func(n int) string { return last.AddDate(0, 0, n).Format(time.DateOnly) }
		a := AdCampaign{
			ID: fixedID("adc", at, p.name), AccountID: c.AdAccounts[p.account].ID, Name: p.name, Status: AdActive, Objective: p.objective,
			Headline: p.headline, Body: p.body, SKU: sellers[i%len(sellers)], Countries: homes[:min(p.countries, len(homes))],
			DailyBudget: c.money(p.budget), StartOn: day(p.start), EndOn: day(p.end), SpentUntil: day(min(0, p.end)),
			CreatedAt: at, CreatedBy: "staff",
		}
		switch {
		case p.paused != 0:
			a.Status, a.SpentUntil = AdPaused, day(p.paused-1)
		case p.end < 0:
			a.Status = AdEnded
		}
		c.AdCampaigns = append(c.AdCampaigns, a)
	}
	c.addAdDays()
}

// bestSellers are up to n SKUs of which most pieces were sold.
func (c *Contents) bestSellers(n int) []string {
	sold := map[string]int64{}
	for _, o := range c.Orders {
		for _, l := range o.Lines {
			sold[l.SKU] += l.Qty
		}
	}
	all := mostFirst(sold)
	return all[:min(n, len(all))]
}

// mostCustomers are the countries of the customers, those of most of them first.
func (c *Contents) mostCustomers() []string {
	living := map[string]int64{}
	for _, p := range c.Customers {
		living[p.Country]++
	}
	return mostFirst(living)
}

func mostFirst(counts map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}

// addAdDays works out what each campaign spent and brought on each of its days: the more orders that day, the more.
func (c *Contents) addAdDays() {
	byDay := map[string][]*Order{}
	for i := range c.Orders {
		day := Day(c.Orders[i].PlacedAt)
		byDay[day] = append(byDay[day], &c.Orders[i])
	}
	usual := max(1, int64(len(c.Orders)/len(byDay)))
	for i, a := range c.AdCampaigns {
		for day := range eachDay(a.StartOn, a.SpentUntil) {
			c.AdDays = append(c.AdDays, a.loaded(day, int64(i), byDay[day], usual))
		}
	}
}

// loaded is a day of a of which the orders are known. Of a usual day's orders a spends 60 to 100 percent of its budget.
// Four in a hundred of the orders that were not given back are taken to have come of the campaign with number n, though
// of no more than one click in twenty.
func (a AdCampaign) loaded(day string, n int64, orders []*Order, usual int64) adDay {
	h := hash("ad day", a.ID+day)
	budget := a.DailyBudget.AmountMinor
	spent := min(budget, budget*int64(len(orders))*int64(60+h%41)/(100*usual))
	d := adDay{Campaign: a.ID, Account: a.AccountID, Day: day, Budget: budget, Spent: spent, Clicks: clicksFor(spent, h)}
	for _, o := range orders {
		kept := o.Status != OrderRefunded && o.Status != OrderCancelled
		if kept && 20*d.Orders < d.Clicks && int64(hash("ad", o.No)%100/4) == n && slices.Contains(a.Countries, o.ShipCountry) {
			d.Orders++
			d.from = append(d.from, o.No)
			d.Attributed += o.Subtotal.AmountMinor - o.Discount.AmountMinor
		}
	}
	return d
}

func (w *writer) ads(c *Contents) {
	t := w.sheet("ad_accounts", "ad_account_id", "platform", "name", "month_cap_minor", "status", "owner_id", "created_at", "created_by")
	for _, a := range c.AdAccounts {
		t.add(a.ID, a.Platform, a.Name, a.MonthCap.AmountMinor, a.Status, a.Owner, store.Micros(a.CreatedAt), a.CreatedBy)
	}
	t.flush()
	t = w.sheet("ad_campaigns", "ad_campaign_id", "ad_account_id", "name", "objective", "headline", "body", "sku", "countries",
		"daily_budget_minor", "start_on", "end_on", "status", "spent_until", "owner_id", "created_at", "created_by")
	for _, a := range c.AdCampaigns {
		t.add(a.ID, a.AccountID, a.Name, a.Objective, a.Headline, a.Body, a.SKU, jsonText(a.Countries), a.DailyBudget.AmountMinor,
			a.StartOn, a.EndOn, a.Status, a.SpentUntil, a.Owner, store.Micros(a.CreatedAt), a.CreatedBy)
	}
	t.flush()
	t = w.sheet("ad_days", adDayCols...)
	for _, d := range c.AdDays {
		t.add(d.row()...)
	}
	t.flush()
}
