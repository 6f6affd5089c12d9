package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

// resume is what a person has against dtc_pause. No agent can resume anything.
type resume struct {
	forMerchant
	Kind string `arg:"" enum:"campaign,discount" help:"What was paused: campaign or discount."`
	ID   string `arg:"" help:"Its id, or the code of a discount."`
}

func (c *resume) Run(ctx context.Context, a *app) error {
	err := a.change(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) error {
		d, err := shop.At(tx, m.ID)
		if err != nil {
			return err
		}
		again := map[string]func(string) error{"campaign": d.ResumeCampaign, "discount": d.ResumeDiscount}
		if err := again[c.Kind](c.ID); err != nil {
			return err
		}
		return record(tx, audit.Entry{Merchant: m.ID, Event: c.Kind + ".resumed", Resource: c.Kind + ":" + c.ID})
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("there is no %s %q", c.Kind, c.ID)
	case errors.Is(err, shop.ErrChanged) && c.Kind == "campaign":
		return fmt.Errorf("the campaign is not paused, or its send has begun: those it has not reached need a campaign of their own")
	case errors.Is(err, shop.ErrChanged):
		return fmt.Errorf("the discount is not paused")
	case err != nil:
		return err
	}
	fmt.Fprintf(a.out, "Resumed the %s %s.\n", c.Kind, visible(c.ID))
	return nil
}
