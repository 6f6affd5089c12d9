package shop

import (
	"fmt"
	"slices"

	"github.com/dtcgate/dtcgate/store"
)

// A Label is postage for one parcel of an order. No carrier is asked: its price comes from the table here.
type Label struct {
	ID          string `json:"label_id"`
	OrderNo     string `json:"order_no"`
	Carrier     string `json:"carrier"`
	WeightGrams int64  `json:"weight_grams"`
	Cost        Money  `json:"cost"`
	CreatedBy   string `json:"-"`
}

// labelSteps are the weights, in grams, up to which one price holds, and labelPrices what each carrier takes for a step
// within the country, in minor units.
var (
	labelSteps  = []int64{1000, 2000, 5000, 10000, 20000, 30000}
	labelPrices = map[string][]int64{
		"royal_mail": {449, 599, 1249, 1699, 2499, 3299},
		"dpd":        {599, 649, 899, 1199, 1599, 2199},
		"dhl":        {699, 799, 1099, 1499, 1999, 2599},
		"ups":        {749, 849, 1149, 1549, 2099, 2699},
	}
)

// Postage is what a carrier takes for a parcel of an order; abroad it is twice that at home. It knows the carriers of
// labels and weights up to 30 kg.
func (d *Desk) Postage(o Order, carrier string, grams int64) (Money, error) {
	prices := labelPrices[carrier]
	step, _ := slices.BinarySearch(labelSteps, grams)
	if step >= len(prices) || grams < 1 {
		return Money{}, fmt.Errorf("no price of %s for %d g", carrier, grams)
	}
	price := prices[step]
	if o.ShipCountry != "United Kingdom" {
		price *= 2
	}
	return d.money(price), nil
}

// Labels counts the labels of an order that are not void.
func (d *Desk) Labels(order string) (n int64, err error) {
	err = d.tx.QueryRow("SELECT COUNT(*) FROM shipping_labels WHERE merchant_id = $1 AND order_no = $2 AND status = 'made'", d.merchant, order).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting labels: %w", err)
	}
	return n, nil
}

// AddLabel makes a label, unless the order has changed since o was read: then it answers ErrChanged.
func (d *Desk) AddLabel(o Order, l Label) (Label, error) {
	l.ID, l.OrderNo = store.NewID("lbl", d.tx.Now), o.No
	if err := d.advance(o, "label made: "+l.Carrier+" for "+l.Cost.String()+" ("+l.ID+")", l.CreatedBy); err != nil {
		return l, err
	}
	_, err := d.tx.Exec(`INSERT INTO shipping_labels (merchant_id, label_id, order_no, carrier, weight_grams, cost_minor, status, created_at, created_by)
		VALUES ($1, $2, $3, $4, $5, $6, 'made', $7, $8)`,
		d.merchant, l.ID, l.OrderNo, l.Carrier, l.WeightGrams, l.Cost.AmountMinor, store.Micros(d.tx.Now), l.CreatedBy)
	if err != nil {
		return l, fmt.Errorf("storing the label: %w", err)
	}
	return l, nil
}

// VoidLabel takes a label back. One that is void already is ErrChanged.
func (d *Desk) VoidLabel(l Label, by string) error {
	o, err := d.Order(l.OrderNo)
	if err != nil {
		return err
	}
	if err := d.advance(o, "label void ("+l.ID+")", by); err != nil {
		return err
	}
	return changed(d.tx.Exec("UPDATE shipping_labels SET status = 'void' WHERE merchant_id = $1 AND label_id = $2 AND status = 'made'", d.merchant, l.ID))
}

// advance tells the story of an order on, unless it has changed since o was read. It holds the order's row until the end.
func (d *Desk) advance(o Order, what, by string) error {
	err := changed(d.tx.Exec("UPDATE orders SET version = version + 1 WHERE merchant_id = $1 AND order_no = $2 AND version = $3",
		d.merchant, o.No, o.Version))
	if err != nil {
		return err
	}
	return d.tell(o.No, d.tx.Now, what, by)
}
