package shop

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A PriceBatch is prices that are set together.
type PriceBatch struct {
	ID      string
	At      time.Time
	Undoes  string // the batch that this one takes back; empty: none
	Reason  string
	Actor   string
	Changes []PriceChange
}

// A PriceChange is one variant's price in a batch.
type PriceChange struct {
	SKU      string
	Old, New Money
}

// SetPrices sets all prices of a batch and gives it with its id. It answers ErrChanged, and has to be undone by the
// caller's transaction, when a price is not the old one any more.
func (d *Desk) SetPrices(b PriceBatch) (PriceBatch, error) {
	b.ID, b.At = store.NewID("prb", d.tx.Now), d.tx.Now
	b.Changes = slices.SortedFunc(slices.Values(b.Changes), func(x, y PriceChange) int { return cmp.Compare(x.SKU, y.SKU) })
	skus := make([]string, len(b.Changes))
	for i, c := range b.Changes {
		skus[i] = c.SKU
		err := changed(d.tx.Exec("UPDATE variants SET price_minor = $1, version = version + 1 WHERE merchant_id = $2 AND sku = $3 AND price_minor = $4",
			c.New.AmountMinor, d.merchant, c.SKU, c.Old.AmountMinor))
		if err != nil {
			return b, fmt.Errorf("setting a price: %w", err)
		}
	}
	if err := d.keepBatch(b); err != nil {
		return b, err
	}
	return b, d.priceProducts(skus)
}

// HoldVariants keeps others from changing variants until the transaction ends, SKU by SKU in one order for all callers.
func (d *Desk) HoldVariants(skus []string) error {
	for _, sku := range slices.Sorted(slices.Values(skus)) {
		if _, err := d.tx.Exec("UPDATE variants SET version = version WHERE merchant_id = $1 AND sku = $2", d.merchant, sku); err != nil {
			return fmt.Errorf("holding a variant: %w", err)
		}
	}
	return nil
}

func (d *Desk) keepBatch(b PriceBatch) error {
	_, err := d.tx.Exec("INSERT INTO price_batches (merchant_id, batch_id, at, undoes, reason, actor) VALUES ($1, $2, $3, $4, $5, $6)",
		d.merchant, b.ID, store.Micros(b.At), orNull(b.Undoes), b.Reason, b.Actor)
	if err != nil {
		return fmt.Errorf("keeping the batch: %w", err)
	}
	rows := make([][]any, len(b.Changes))
	for i, c := range b.Changes {
		rows[i] = []any{d.merchant, b.ID, c.SKU, c.Old.AmountMinor, c.New.AmountMinor}
	}
	if err := d.tx.Insert("price_changes", []string{"merchant_id", "batch_id", "sku", "old_minor", "new_minor"}, rows); err != nil {
		return fmt.Errorf("keeping the prices: %w", err)
	}
	return nil
}

// priceProducts brings the lowest and highest price of the products of some SKUs up to date. It takes a product's row
// before it looks at the prices, so that of two batches the later one sees what the first has set.
func (d *Desk) priceProducts(skus []string) error {
	variants, err := d.Variants(skus)
	if err != nil {
		return err
	}
	codes := map[string]bool{}
	for _, v := range variants {
		codes[v.ProductCode] = true
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		for _, statement := range []string{
			"UPDATE products SET version = version WHERE merchant_id = $1 AND product_code = $2",
			`UPDATE products SET low_minor = (SELECT MIN(price_minor) FROM variants WHERE merchant_id = $1 AND product_code = $2),
				high_minor = (SELECT MAX(price_minor) FROM variants WHERE merchant_id = $1 AND product_code = $2)
				WHERE merchant_id = $1 AND product_code = $2`,
		} {
			if _, err := d.tx.Exec(statement, d.merchant, code); err != nil {
				return fmt.Errorf("pricing the product: %w", err)
			}
		}
	}
	return nil
}
