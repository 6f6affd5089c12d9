package shop

import (
	"errors"
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// ErrFull means that there is no room for another ad account, or for another running campaign in one.
var ErrFull = errors.New("there are as many as there may be")

// holdAccount locks an account until the transaction ends, and reads it. Whatever changes a campaign holds its account
// first and the campaign second, so that what the campaigns of an account commit it to is counted by one caller at a time.
func (d *Desk) holdAccount(id string) (AdAccount, error) {
	n, err := d.tx.Exec("UPDATE ad_accounts SET version = version + 1 WHERE merchant_id = $1 AND ad_account_id = $2", d.merchant, id)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return AdAccount{}, fmt.Errorf("holding the ad account: %w", err)
	}
	return d.AdAccount(id)
}

// AdAccountsFull answers ErrFull when no account can be added.
func (d *Desk) AdAccountsFull() error {
	var n int64
	err := d.tx.QueryRow("SELECT COUNT(*) FROM ad_accounts WHERE merchant_id = $1 AND status <> 'disconnected'", d.merchant).Scan(&n)
	if err != nil {
		return fmt.Errorf("counting ad accounts: %w", err)
	}
	if n >= MaxAdAccounts {
		return ErrFull
	}
	return nil
}

// AddAdAccount stores a as a new account that nobody has signed in to, and gives it with its id. The shop's row is held
// while the accounts are counted.
func (d *Desk) AddAdAccount(a AdAccount) (AdAccount, error) {
	a.ID, a.Status, a.Version, a.CreatedAt = store.NewID("ada", d.tx.Now), AdPendingSignIn, 1, d.tx.Now
	_, err := d.tx.Exec("UPDATE shops SET currency = currency WHERE merchant_id = $1", d.merchant)
	if err == nil {
		err = d.AdAccountsFull()
	}
	if err == nil {
		_, err = d.tx.Exec(`INSERT INTO ad_accounts (merchant_id, ad_account_id, platform, name, month_cap_minor, status, owner_id, version, created_at, created_by)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			d.merchant, a.ID, a.Platform, a.Name, a.MonthCap.AmountMinor, a.Status, a.Owner, a.Version, store.Micros(a.CreatedAt), a.CreatedBy)
	}
	if err != nil {
		return a, fmt.Errorf("storing the ad account: %w", err)
	}
	return a, nil
}

// DisconnectAds ends an account in which no campaign runs. It answers ErrChanged when one does, or when the account is
// disconnected already.
func (d *Desk) DisconnectAds(id string) error {
	if _, err := d.holdAccount(id); err != nil {
		return err
	}
	running, err := d.activeAds(id, d.today())
	if err == nil && len(running) > 0 {
		err = ErrChanged
	}
	if err == nil {
		err = changed(d.tx.Exec(`UPDATE ad_accounts SET status = 'disconnected'
			WHERE merchant_id = $1 AND ad_account_id = $2 AND status <> 'disconnected'`, d.merchant, id))
	}
	if err != nil {
		return fmt.Errorf("disconnecting the ad account: %w", err)
	}
	return nil
}

// LaunchAd stores c as a new campaign that runs from its first day on, or from today if that is past, and gives it with
// its id. It answers ErrChanged when its account is not connected, ErrFull, or an OverCap.
func (d *Desk) LaunchAd(c AdCampaign) (AdCampaign, error) {
	c.ID, c.Status, c.Version, c.CreatedAt, c.SpentUntil = store.NewID("adc", d.tx.Now), AdActive, 1, d.tx.Now, dayBefore(d.today())
	c.Spent, c.AttributedRevenue = d.money(0), d.money(0)
	a, err := d.holdAccount(c.AccountID)
	if err != nil {
		return c, err
	}
	if a.Status != AdConnected {
		return c, fmt.Errorf("the ad account is %s: %w", a.Status, ErrChanged)
	}
	if _, err := d.RoomForAd(a, c); err != nil {
		return c, err
	}
	_, err = d.tx.Exec(`INSERT INTO ad_campaigns (merchant_id, ad_campaign_id, ad_account_id, name, objective, headline, body, sku, countries,
			daily_budget_minor, start_on, end_on, status, spent_until, owner_id, version, created_at, created_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
		d.merchant, c.ID, c.AccountID, c.Name, c.Objective, c.Headline, c.Body, c.SKU, jsonText(c.Countries),
		c.DailyBudget.AmountMinor, c.StartOn, c.EndOn, c.Status, c.SpentUntil, c.Owner, c.Version, store.Micros(c.CreatedAt), c.CreatedBy)
	if err != nil {
		return c, fmt.Errorf("storing the ad campaign: %w", err)
	}
	return c, nil
}

// RoomForAd tells what a new campaign commits its account to. It answers ErrFull or an OverCap when there is no room.
func (d *Desk) RoomForAd(a AdAccount, c AdCampaign) ([]AdMonth, error) {
	running, err := d.activeAds(a.ID, d.today())
	if err != nil {
		return nil, err
	}
	if len(running) >= MaxRunningAds {
		return nil, ErrFull
	}
	budget := c.DailyBudget
	c.DailyBudget = d.money(0)
	return d.AdMonths(a, c, budget)
}

// SetAdBudget gives c another budget from today on, unless it has changed since it was read or does not run: then it
// answers ErrChanged. It answers an OverCap when a month of the account has no room for what is more.
func (d *Desk) SetAdBudget(c AdCampaign, budget Money) (AdCampaign, error) {
	a, err := d.holdAccount(c.AccountID)
	if err != nil {
		return c, err
	}
	if _, err := d.AdMonths(a, c, budget); err != nil {
		return c, err
	}
	err = changed(d.tx.Exec(`UPDATE ad_campaigns SET daily_budget_minor = $1, spent_until = $2, version = version + 1
		WHERE merchant_id = $3 AND ad_campaign_id = $4 AND version = $5 AND status = 'active' AND end_on >= $6`,
		budget.AmountMinor, c.writtenUntil(d.today()), d.merchant, c.ID, c.Version, d.today()))
	if err == nil {
		err = d.writeDays(c)
	}
	if err != nil {
		return c, fmt.Errorf("setting the budget: %w", err)
	}
	return d.AdCampaign(c.ID)
}

// PauseAd stops a campaign from today on and tells what it was before: active, or paused, which changes nothing. It
// answers ErrChanged when the campaign has ended. Only people let it run again.
func (d *Desk) PauseAd(id string) (was string, err error) {
	c, err := d.AdCampaign(id)
	if err == nil {
		_, err = d.holdAccount(c.AccountID)
	}
	if err == nil {
		c, err = d.AdCampaign(id) // as it is now that nobody else can change it
	}
	switch {
	case err != nil || c.Status == AdPaused:
		return c.Status, err
	case c.Status == AdEnded:
		return c.Status, fmt.Errorf("the ad campaign has ended: %w", ErrChanged)
	}
	err = changed(d.tx.Exec(`UPDATE ad_campaigns SET status = 'paused', spent_until = $1, version = version + 1
		WHERE merchant_id = $2 AND ad_campaign_id = $3 AND version = $4 AND status = 'active'`, c.writtenUntil(d.today()), d.merchant, c.ID, c.Version))
	if err == nil {
		err = d.writeDays(c)
	}
	if err != nil {
		return c.Status, fmt.Errorf("pausing the ad campaign: %w", err)
	}
	return AdActive, nil
}

// SignInAds connects an account that waits for it, as a person does. It answers ErrChanged when it waits no more.
func (d *Desk) SignInAds(id string) error {
	_, err := d.holdAccount(id)
	if err == nil {
		err = changed(d.tx.Exec(`UPDATE ad_accounts SET status = 'connected'
			WHERE merchant_id = $1 AND ad_account_id = $2 AND status = 'pending_sign_in'`, d.merchant, id))
	}
	if err != nil {
		return fmt.Errorf("signing in to the ad account: %w", err)
	}
	return nil
}
