package shop

import (
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Recall is all the pieces of a SKU on hand, taken off the shelf.
type Recall struct {
	ID         string `json:"recall_id"`
	SKU        string `json:"sku"`
	Pieces     int64  `json:"pieces"`
	ReasonCode string `json:"reason_code"`
	CreatedBy  string `json:"-"`
}

// Buyers counts the customers who bought a SKU from a time on, orders that were cancelled apart.
func (d *Desk) Buyers(sku string, from time.Time) (n int64, err error) {
	err = d.tx.QueryRow(`SELECT COUNT(DISTINCT o.customer_no) FROM order_lines l
		JOIN orders o ON o.merchant_id = l.merchant_id AND o.order_no = l.order_no
		WHERE l.merchant_id = $1 AND l.sku = $2 AND o.placed_at >= $3 AND o.status <> 'cancelled'`, d.merchant, sku, store.Micros(from)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting buyers: %w", err)
	}
	return n, nil
}

// Recall moves what v has on hand into quarantine, unless v has changed since it was read: then it answers ErrChanged.
func (d *Desk) Recall(v Variant, r Recall) (Recall, error) {
	r.ID, r.SKU, r.Pieces = store.NewID("rcl", d.tx.Now), v.SKU, v.OnHand
	err := changed(d.tx.Exec(`UPDATE variants SET on_hand = 0, version = version + 1
		WHERE merchant_id = $1 AND sku = $2 AND version = $3 AND on_hand = $4`, d.merchant, v.SKU, v.Version, v.OnHand))
	if err != nil {
		return r, err
	}
	_, err = d.tx.Exec(`INSERT INTO quarantine (merchant_id, recall_id, sku, pieces, reason_code, status, created_at, created_by)
		VALUES ($1, $2, $3, $4, $5, 'held', $6, $7)`, d.merchant, r.ID, r.SKU, r.Pieces, r.ReasonCode, store.Micros(d.tx.Now), r.CreatedBy)
	if err != nil {
		return r, fmt.Errorf("storing the recall: %w", err)
	}
	return r, nil
}

// PutBack returns the pieces of a recall to the shelf, beside what has come since. Pieces that are not held any more are
// ErrChanged.
func (d *Desk) PutBack(r Recall) error {
	err := changed(d.tx.Exec("UPDATE variants SET on_hand = on_hand + $1, version = version + 1 WHERE merchant_id = $2 AND sku = $3",
		r.Pieces, d.merchant, r.SKU))
	if err != nil {
		return err
	}
	return changed(d.tx.Exec(`UPDATE quarantine SET status = 'returned'
		WHERE merchant_id = $1 AND recall_id = $2 AND status = 'held' AND pieces = $3`, d.merchant, r.ID, r.Pieces))
}
