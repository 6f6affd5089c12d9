package shop_test

import (
	"errors"
	"testing"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

func TestAPersonResumesWhatDidNotBegin(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		at := func(fn func(*shop.Desk) error) error {
			return db.InTx(t.Context(), func(tx *store.Tx) error {
				d, err := shop.At(tx, merchant)
				if err != nil {
					return err
				}
				return fn(d)
			})
		}
		var id string
		err := at(func(d *shop.Desk) error {
			made, err := d.AddCampaign(shop.Campaign{Name: "Pots", Channel: shop.SMS, Body: "STOP"})
			id = made.ID
			return errors.Join(err, d.PauseCampaign(made))
		})
		if err != nil {
			t.Fatal(err)
		}
		resume := func(d *shop.Desk) error { return d.ResumeCampaign(id) }
		if err := at(resume); err != nil {
			t.Error(err)
		}
		if err := at(resume); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("resuming a draft: %v", err)
		}
		err = at(func(d *shop.Desk) error {
			c, err := d.Campaign(id)
			c.SenderID = "key_1"
			return errors.Join(err, d.BeginSend(c), d.EndSend(id, shop.CampaignPaused))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := at(resume); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("resuming what was stopped half-way: %v", err)
		}
		if err := at(func(d *shop.Desk) error { return d.ResumeDiscount("PRESS20") }); err != nil {
			t.Error(err)
		}
		if err := at(func(d *shop.Desk) error { return d.ResumeDiscount("PRESS20") }); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("resuming an active discount: %v", err)
		}
		if err := at(func(d *shop.Desk) error { return d.ResumeDiscount("NONE") }); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("resuming no discount: %v", err)
		}
	})
}
