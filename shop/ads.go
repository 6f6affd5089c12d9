package shop

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// Statuses of an ad account. In a new one nothing can be launched until a person has signed in with the platform.
const (
	AdPendingSignIn = "pending_sign_in"
	AdConnected     = "connected"
	AdDisconnected  = "disconnected"
)

// Statuses of an ad campaign. One that is active and not yet begun spends from its first day on.
const (
	AdActive = "active"
	AdPaused = "paused"
	AdEnded  = "ended"
)

// Bounds that keep what is asked of one merchant's ads small: accounts that are not disconnected, and campaigns that
// run, or are yet to run, in one account.
const (
	MaxAdAccounts = 20
	MaxRunningAds = 20
)

// An AdAccount is an account with a platform that shows ads.
type AdAccount struct {
	ID             string       `json:"ad_account_id"`
	Platform       string       `json:"platform"` // meta | google | tiktok
	Name           string       `json:"name"`
	Status         string       `json:"status"`
	MonthCap       Money        `json:"month_cap"` // all campaigns together, in a calendar month
	SpentThisMonth Money        `json:"spent_this_month"`
	Campaigns      []AdCampaign `json:"campaigns"` // those that run, then the newest
	CampaignsTotal int          `json:"campaigns_total"`
	Owner          string       `json:"-"` // the principal that connected it; empty for staff
	Version        int64        `json:"-"`
	CreatedAt      time.Time    `json:"-"`
	CreatedBy      string       `json:"-"`
}

// An AdCampaign is an ad that is shown on some days for so much a day.
type AdCampaign struct {
	ID                string    `json:"ad_campaign_id"`
	Name              string    `json:"name"`
	Status            string    `json:"status"`
	DailyBudget       Money     `json:"daily_budget"`
	Spent             Money     `json:"spent"`
	AttributedRevenue Money     `json:"attributed_revenue"`
	Version           int64     `json:"version"`
	StartOn           string    `json:"start_on"`
	EndOn             string    `json:"end_on"`
	AccountID         string    `json:"-"`
	Objective         string    `json:"-"` // sales | traffic | awareness
	Headline          string    `json:"-"`
	Body              string    `json:"-"`
	SKU               string    `json:"-"`
	Countries         []string  `json:"-"`
	SpentUntil        string    `json:"-"` // days up to this one have been written down
	Owner             string    `json:"-"` // the principal that launched it; empty for staff
	CreatedAt         time.Time `json:"-"`
	CreatedBy         string    `json:"-"`
}

// Running reports whether c spends on some day from today on.
func (c AdCampaign) Running() bool { return c.Status == AdActive }

const adAccountColumns = "ad_account_id, platform, name, status, month_cap_minor, owner_id, version, created_at, created_by"

// scanAdAccount reads adAccountColumns, and more columns after them.
func (d *Desk) scanAdAccount(r store.Row, more ...any) (AdAccount, error) {
	a := AdAccount{MonthCap: d.money(0), SpentThisMonth: d.money(0), Campaigns: []AdCampaign{}}
	err := r.Scan(append([]any{
		&a.ID, &a.Platform, &a.Name, &a.Status, &a.MonthCap.AmountMinor, &a.Owner, &a.Version, store.At(&a.CreatedAt), &a.CreatedBy,
	}, more...)...)
	return a, err
}

// AdAccount gives an account without its campaigns.
func (d *Desk) AdAccount(id string) (AdAccount, error) {
	a, err := store.One(d.tx, func(r store.Row) (AdAccount, error) { return d.scanAdAccount(r) },
		"SELECT "+adAccountColumns+" FROM ad_accounts WHERE merchant_id = $1 AND ad_account_id = $2", d.merchant, id)
	if err != nil {
		return a, fmt.Errorf("finding the ad account: %w", err)
	}
	return a, nil
}

// AdAccounts gives a page of the accounts with a platform, or of all, newest first, and their campaigns with what those
// spent in the last days that are over.
func (d *Desk) AdAccounts(platform string, days int, cut Cut) (Page[AdAccount], error) {
	q := sqlText("SELECT "+adAccountColumns+", created_at AS rank FROM ad_accounts WHERE merchant_id = ?", d.merchant)
	if platform != "" {
		q.add(" AND platform = ?", platform)
	}
	page, err := readPage(d.tx, listing{rows: q, by: []string{"rank", "ad_account_id"}, desc: true}, cut,
		func(r store.Row) (AdAccount, Place, error) {
			var p Place
			a, err := d.scanAdAccount(r, &p.Rank)
			p.ID = a.ID
			return a, p, err
		})
	for i := range page.Rows {
		if err == nil {
			err = d.fillAccount(&page.Rows[i], days)
		}
	}
	if err != nil {
		return page, fmt.Errorf("listing ad accounts: %w", err)
	}
	return page, nil
}

// fillAccount adds what an account's campaigns are and have spent.
func (d *Desk) fillAccount(a *AdAccount, days int) error {
	err := d.tx.QueryRow("SELECT COUNT(*) FROM ad_campaigns WHERE merchant_id = $1 AND ad_account_id = $2", d.merchant, a.ID).Scan(&a.CampaignsTotal)
	if err != nil {
		return err
	}
	if a.Campaigns, err = d.adCampaignsOf(a.ID); err != nil {
		return err
	}
	if err := d.fillSpent(a.Campaigns, days); err != nil {
		return err
	}
	a.SpentThisMonth, err = d.adSpentThisMonth(a.ID)
	return err
}

const adCampaignColumns = `ad_campaign_id, ad_account_id, name, objective, headline, body, sku, countries, daily_budget_minor,
	start_on, end_on, status, spent_until, owner_id, version, created_at, created_by`

// scanAdCampaign reads adCampaignColumns. A campaign whose last day is past has ended, whether or not anybody noted it.
func (d *Desk) scanAdCampaign(r store.Row) (AdCampaign, error) {
	c := AdCampaign{DailyBudget: d.money(0), Spent: d.money(0), AttributedRevenue: d.money(0)}
	var countries string
	err := r.Scan(&c.ID, &c.AccountID, &c.Name, &c.Objective, &c.Headline, &c.Body, &c.SKU, &countries, &c.DailyBudget.AmountMinor,
		&c.StartOn, &c.EndOn, &c.Status, &c.SpentUntil, &c.Owner, &c.Version, store.At(&c.CreatedAt), &c.CreatedBy)
	if err == nil {
		err = json.Unmarshal([]byte(countries), &c.Countries)
	}
	if c.Status == AdActive && c.EndOn < d.today() {
		c.Status = AdEnded
	}
	return c, err
}

func (d *Desk) today() string { return Day(d.tx.Now) }

// AdCampaign gives a campaign without what it spent.
func (d *Desk) AdCampaign(id string) (AdCampaign, error) {
	c, err := store.One(d.tx, d.scanAdCampaign,
		"SELECT "+adCampaignColumns+" FROM ad_campaigns WHERE merchant_id = $1 AND ad_campaign_id = $2", d.merchant, id)
	if err != nil {
		return c, fmt.Errorf("finding the ad campaign: %w", err)
	}
	return c, nil
}

// adCampaignsOf gives the campaigns of an account that run, and the newest of the others up to as many in all.
func (d *Desk) adCampaignsOf(account string) ([]AdCampaign, error) {
	all, err := d.activeAds(account, d.today())
	if err != nil {
		return nil, err
	}
	newest, err := store.All(d.tx, d.scanAdCampaign, "SELECT "+adCampaignColumns+` FROM ad_campaigns
		WHERE merchant_id = $1 AND ad_account_id = $2 ORDER BY created_at DESC, ad_campaign_id DESC LIMIT $3`, d.merchant, account, 2*MaxRunningAds)
	for _, c := range newest {
		if !c.Running() && len(all) < MaxRunningAds {
			all = append(all, c)
		}
	}
	return all, err
}

// activeAds gives the campaigns of an account that nobody stopped and whose last day is from or later.
func (d *Desk) activeAds(account, from string) ([]AdCampaign, error) {
	all, err := store.All(d.tx, d.scanAdCampaign, "SELECT "+adCampaignColumns+` FROM ad_campaigns
		WHERE merchant_id = $1 AND ad_account_id = $2 AND status = 'active' AND end_on >= $3 ORDER BY end_on, ad_campaign_id`, d.merchant, account, from)
	if err != nil {
		return nil, fmt.Errorf("listing ad campaigns: %w", err)
	}
	return all, nil
}

// AdOwner gives the principal that launched a campaign, empty when it was staff.
func (d *Desk) AdOwner(id string) (string, error) {
	c, err := d.AdCampaign(id)
	return c.Owner, err
}

// HasCustomersIn reports whether any customer of the shop lives in a country.
func (d *Desk) HasCustomersIn(country string) (bool, error) {
	var one int64
	err := d.tx.QueryRow("SELECT 1 FROM customers WHERE merchant_id = $1 AND country = $2 LIMIT 1", d.merchant, country).Scan(&one)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for the country: %w", err)
	}
	return true, nil
}
