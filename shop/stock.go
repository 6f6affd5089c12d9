package shop

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// A StockMove is stock that is booked in or out by hand.
type StockMove struct {
	SKU    string
	Delta  int64
	Cause  string // received | damaged | stock_count | returned | lost | undo
	Actor  string
	OnHand int64 // after it
}

// MoveStock books a move of a variant that has as many pieces as v says, and keeps it in the history. It answers
// ErrChanged when there are as many no more. There are never fewer than none: the caller has made sure.
func (d *Desk) MoveStock(v Variant, m StockMove) (StockMove, error) {
	m.SKU, m.OnHand = v.SKU, v.OnHand+m.Delta
	err := changed(d.tx.Exec("UPDATE variants SET on_hand = $1, version = version + 1 WHERE merchant_id = $2 AND sku = $3 AND on_hand = $4",
		m.OnHand, d.merchant, m.SKU, v.OnHand))
	if err != nil {
		return m, fmt.Errorf("moving stock: %w", err)
	}
	_, err = d.tx.Exec(`INSERT INTO stock_moves (merchant_id, sku, move_id, at, delta, cause, on_hand, actor)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		d.merchant, m.SKU, store.NewID("stm", d.tx.Now), store.Micros(d.tx.Now), m.Delta, m.Cause, m.OnHand, m.Actor)
	if err != nil {
		return m, fmt.Errorf("keeping the move: %w", err)
	}
	return m, nil
}

// Variant gives a variant.
func (d *Desk) Variant(sku string) (Variant, error) {
	all, err := d.Variants([]string{sku})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("finding the variant: %w", store.ErrNotFound)
	}
	return all[sku], err
}
