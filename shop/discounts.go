package shop

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// CodeTaken reports whether the shop has or had a discount with a code.
func (d *Desk) CodeTaken(code string) (bool, error) {
	var n int64
	err := d.tx.QueryRow("SELECT COUNT(*) FROM discounts WHERE merchant_id = $1 AND code = $2", d.merchant, code).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("looking for the code: %w", err)
	}
	return n > 0, nil
}

// AddDiscount stores x as a new discount and gives it with its id. It answers ErrChanged when its code is taken.
func (d *Desk) AddDiscount(x Discount) (Discount, error) {
	x.ID, x.Status, x.Version, x.CreatedAt = store.NewID("dsc", d.tx.Now), "active", 1, d.tx.Now
	err := changed(d.tx.Exec(`INSERT INTO discounts (merchant_id, discount_id, code, percent_off, skus, max_uses, max_given_away_minor,
			start_on, end_on, status, version, created_at, created_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (merchant_id, code) DO NOTHING`,
		d.merchant, x.ID, x.Code, x.PercentOff, jsonText(x.SKUs), x.MaxUses, x.MaxGivenAway.AmountMinor,
		x.StartOn, x.EndOn, x.Status, x.Version, store.Micros(x.CreatedAt), x.CreatedBy))
	if err != nil {
		return x, fmt.Errorf("storing the discount: %w", err)
	}
	return x, nil
}
