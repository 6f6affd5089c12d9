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

type adsCmds struct {
	SignIn adsSignIn `cmd:"" help:"Sign in to a simulated ad account that waits for it, so that ads can be launched in it."`
}

// An adsSignIn is the person's part of connecting an account. No platform stands behind it, so that the command is the
// sign-in.
type adsSignIn struct {
	forMerchant
	Account string `arg:"" help:"The account's id, ada_…, as dtc_connect_ad_account gave it."`
}

func (c *adsSignIn) Run(ctx context.Context, a *app) error {
	err := a.change(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) error {
		d, err := shop.At(tx, m.ID)
		if err == nil {
			err = d.SignInAds(c.Account)
		}
		if err != nil {
			return err
		}
		return record(tx, audit.Entry{Merchant: m.ID, Event: "ad_account.signed_in", Resource: "ad_account:" + c.Account})
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("there is no ad account %q", c.Account)
	case errors.Is(err, shop.ErrChanged):
		return fmt.Errorf("the ad account %q does not wait for a sign-in", c.Account)
	case err != nil:
		return err
	}
	fmt.Fprintf(a.out, "Signed in. Ads can be launched in %s.\n", visible(c.Account))
	return nil
}
