package shop

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// Statuses of a discount.
const (
	DiscountActive = "active"
	DiscountPaused = "paused"
	DiscountEnded  = "ended"
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

// Discount gives a discount by its id or its code. No code holds the underline that every id has.
func (d *Desk) Discount(id string) (Discount, error) {
	column := "code"
	if strings.Contains(id, "_") {
		column = "discount_id"
	}
	x, err := store.One(d.tx, d.scanDiscount, `SELECT discount_id, code, percent_off, skus, max_uses, uses, max_given_away_minor, given_away_minor,
		start_on, end_on, status, version, created_at, created_by, owner_id FROM discounts WHERE merchant_id = $1 AND `+column+` = $2`, d.merchant, id)
	if err != nil {
		return x, fmt.Errorf("finding the discount: %w", err)
	}
	return x, nil
}

func (d *Desk) scanDiscount(r store.Row) (Discount, error) {
	x := Discount{MaxGivenAway: d.money(0), GivenAway: d.money(0)}
	var skus string
	err := r.Scan(&x.ID, &x.Code, &x.PercentOff, &skus, &x.MaxUses, &x.Uses, &x.MaxGivenAway.AmountMinor, &x.GivenAway.AmountMinor,
		&x.StartOn, &x.EndOn, &x.Status, &x.Version, store.At(&x.CreatedAt), &x.CreatedBy, &x.OwnerID)
	if err == nil {
		err = json.Unmarshal([]byte(skus), &x.SKUs)
	}
	return x, err
}

// AddDiscount stores x as a new discount and gives it with its id. It answers ErrChanged when its code is taken.
func (d *Desk) AddDiscount(x Discount) (Discount, error) {
	x.ID, x.Status, x.Version, x.CreatedAt = store.NewID("dsc", d.tx.Now), DiscountActive, 1, d.tx.Now
	err := changed(d.tx.Exec(`INSERT INTO discounts (merchant_id, discount_id, code, percent_off, skus, max_uses, max_given_away_minor,
			start_on, end_on, status, version, created_at, created_by, owner_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (merchant_id, code) DO NOTHING`,
		d.merchant, x.ID, x.Code, x.PercentOff, jsonText(x.SKUs), x.MaxUses, x.MaxGivenAway.AmountMinor,
		x.StartOn, x.EndOn, x.Status, x.Version, store.Micros(x.CreatedAt), x.CreatedBy, x.OwnerID))
	if err != nil {
		return x, fmt.Errorf("storing the discount: %w", err)
	}
	return x, nil
}

// EndUnused ends a discount that nobody has used, or answers ErrChanged. Its code stays taken. A pause in between does not
// stand in the way: who takes the discount back wants no less.
func (d *Desk) EndUnused(id string) error {
	err := changed(d.tx.Exec(`UPDATE discounts SET status = $1, version = version + 1
		WHERE merchant_id = $2 AND discount_id = $3 AND status IN ('active', 'paused') AND uses = 0`, DiscountEnded, d.merchant, id))
	if err != nil {
		return fmt.Errorf("ending the discount: %w", err)
	}
	return nil
}
