package shop

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// HoldCampaign gives a campaign and keeps everybody else from changing it until the transaction ends. A step of a send
// holds it before it writes to anybody: a pause waits for the step, and the step after the pause sees it.
func (d *Desk) HoldCampaign(id string) (Campaign, error) {
	if err := d.hold("campaigns", "campaign_id", id); err != nil {
		return Campaign{}, fmt.Errorf("holding the campaign: %w", err)
	}
	return d.Campaign(id)
}

// HoldDiscount gives a discount, by its id or code, and keeps everybody else from changing it until the transaction ends.
func (d *Desk) HoldDiscount(id string) (Discount, error) {
	x, err := d.Discount(id)
	if err == nil {
		err = d.hold("discounts", "discount_id", x.ID)
	}
	if err != nil {
		return x, fmt.Errorf("holding the discount: %w", err)
	}
	return d.Discount(x.ID)
}

// hold takes the lock of a row by writing what is there.
func (d *Desk) hold(table, key, id string) error {
	n, err := d.tx.Exec("UPDATE "+table+" SET version = version WHERE merchant_id = $1 AND "+key+" = $2", d.merchant, id)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

// PauseCampaign stops a campaign, unless its status is another by now than c's.
func (d *Desk) PauseCampaign(c Campaign) error {
	return d.turn("campaigns", "campaign_id", c.ID, c.Status, CampaignPaused)
}

// PauseDiscount stops a discount, unless its status is another by now than x's.
func (d *Desk) PauseDiscount(x Discount) error {
	return d.turn("discounts", "discount_id", x.ID, x.Status, DiscountPaused)
}

// ResumeCampaign makes a campaign that was paused before its send began a draft again. One that was stopped half-way
// stays as it is: the rest of its customers need a campaign of their own.
func (d *Desk) ResumeCampaign(id string) error {
	c, err := d.HoldCampaign(id)
	switch {
	case err != nil:
		return err
	case c.Status != CampaignPaused || !c.NotBegun():
		return fmt.Errorf("resuming the campaign: %w", ErrChanged)
	}
	return d.turn("campaigns", "campaign_id", id, CampaignPaused, CampaignDraft)
}

// ResumeDiscount lets a paused discount, by its id or code, be used again.
func (d *Desk) ResumeDiscount(id string) error {
	x, err := d.HoldDiscount(id)
	if err != nil {
		return err
	}
	return d.turn("discounts", "discount_id", x.ID, DiscountPaused, DiscountActive)
}

// turn is the compare-and-set of a status.
func (d *Desk) turn(table, key, id, from, to string) error {
	err := changed(d.tx.Exec("UPDATE "+table+" SET status = $1, version = version + 1 WHERE merchant_id = $2 AND "+key+" = $3 AND status = $4",
		to, d.merchant, id, from))
	if err != nil {
		return fmt.Errorf("changing the status from %s to %s: %w", from, to, err)
	}
	return nil
}
