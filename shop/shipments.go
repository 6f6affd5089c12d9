package shop

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Shipment is a parcel of pieces of one order.
type Shipment struct {
	No         string
	OrderNo    string
	At         time.Time
	Carrier    string // royal_mail | dpd | dhl | ups | other
	TrackingNo string // may be empty
	Reason     string
	Actor      string
	Lines      []ShipmentLine
}

// A ShipmentLine says which pieces are in a parcel.
type ShipmentLine struct {
	Line int64 // of the order
	SKU  string
	Qty  int64
}

// Pieces is how many pieces are in the parcel.
func (s Shipment) Pieces() (n int64) {
	for _, l := range s.Lines {
		n += l.Qty
	}
	return n
}

// Taken is how many pieces the parcel takes from the shelf, by SKU.
func (s Shipment) Taken() map[string]int64 {
	taken := map[string]int64{}
	for _, l := range s.Lines {
		taken[l.SKU] += l.Qty
	}
	return taken
}

// carriers are the names that customers know.
var carriers = map[string]string{"royal_mail": "Royal Mail", "dpd": "DPD", "dhl": "DHL", "ups": "UPS"}

// way is how the parcel goes, as the end of a sentence: " with DPD, tracking number 123".
func (s Shipment) way() string {
	way := ""
	if name := carriers[s.Carrier]; name != "" {
		way = " with " + name
	}
	if s.TrackingNo != "" {
		way += ", tracking number " + s.TrackingNo
	}
	return way
}

// AfterShipment is the status of the order when the parcel has gone: fulfilled once nothing is left to ship. Where money
// was given back it goes on deciding the status.
func (o Order) AfterShipment(s Shipment) OrderStatus {
	if o.Status == OrderOpen && o.ToShip() == s.Pieces() {
		return OrderFulfilled
	}
	return o.Status
}

// Fulfil ships pieces of an order, unless it has changed since o was read or the shelf does not hold them: then it
// answers ErrChanged. The pieces, the stock and the order's story change together. It gives the shipment with its number.
func (d *Desk) Fulfil(o Order, s Shipment) (Shipment, error) {
	s.No, s.OrderNo, s.At = store.NewID("shp", d.tx.Now), o.No, d.tx.Now
	err := d.setStatus(o, o.AfterShipment(s))
	if err == nil {
		err = d.moveLines(o.No, s.Lines, 1)
	}
	if err == nil {
		err = d.takeStock(s.Taken())
	}
	if err == nil {
		err = d.keepShipment(s)
	}
	if err == nil {
		err = d.tell(o.No, s.At, "shipped "+pieces(s.Pieces())+s.way()+" ("+s.No+")", s.Actor)
	}
	if err != nil {
		return s, fmt.Errorf("fulfilling: %w", err)
	}
	return s, nil
}

func pieces(n int64) string {
	if n == 1 {
		return "1 piece"
	}
	return Thousands(n) + " pieces"
}

// setStatus is the compare-and-set that a change of the order hangs on; it holds the order's row until the end.
func (d *Desk) setStatus(o Order, to OrderStatus) error {
	return changed(d.tx.Exec("UPDATE orders SET status = $1, version = version + 1 WHERE merchant_id = $2 AND order_no = $3 AND version = $4 AND status = $5",
		string(to), d.merchant, o.No, o.Version, string(o.Status)))
}

// moveLines notes pieces as shipped (sign 1) or as not shipped after all (-1). What was given back is not shipped, but
// for pieces that had been shipped and came back.
func (d *Desk) moveLines(order string, lines []ShipmentLine, sign int64) error {
	for _, l := range lines {
		err := changed(d.tx.Exec(`UPDATE order_lines SET qty_shipped = qty_shipped + $1 WHERE merchant_id = $2 AND order_no = $3 AND line = $4
			AND qty_shipped + $1 >= qty_restocked AND ($1 < 0 OR qty - (qty_refunded - qty_restocked) - qty_shipped >= $1)`,
			sign*l.Qty, d.merchant, order, l.Line))
		if err != nil {
			return err
		}
	}
	return nil
}

// takeStock takes pieces from the shelf, SKU by SKU in one order for all callers. It answers ErrChanged where there are
// not enough.
func (d *Desk) takeStock(taken map[string]int64) error {
	for _, sku := range slices.Sorted(maps.Keys(taken)) {
		err := changed(d.tx.Exec("UPDATE variants SET on_hand = on_hand - $1, version = version + 1 WHERE merchant_id = $2 AND sku = $3 AND on_hand >= $1",
			taken[sku], d.merchant, sku))
		if err != nil {
			return err
		}
	}
	return nil
}

// putStock puts pieces on the shelf, in the same order.
func (d *Desk) putStock(back map[string]int64) error {
	for _, sku := range slices.Sorted(maps.Keys(back)) {
		err := changed(d.tx.Exec("UPDATE variants SET on_hand = on_hand + $1, version = version + 1 WHERE merchant_id = $2 AND sku = $3",
			back[sku], d.merchant, sku))
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Desk) keepShipment(s Shipment) error {
	_, err := d.tx.Exec(`INSERT INTO shipments (merchant_id, shipment_no, order_no, shipped_at, carrier, tracking_no, reason, actor)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, d.merchant, s.No, s.OrderNo, store.Micros(s.At), s.Carrier, s.TrackingNo, s.Reason, s.Actor)
	if err != nil {
		return err
	}
	for _, l := range s.Lines {
		_, err := d.tx.Exec("INSERT INTO shipment_lines (merchant_id, shipment_no, line, qty) VALUES ($1, $2, $3, $4)",
			d.merchant, s.No, l.Line, l.Qty)
		if err != nil {
			return err
		}
	}
	return nil
}

// Reopen takes a shipment back: its pieces are to be shipped again and lie on the shelf again, and the order has the
// status it had before. It answers ErrChanged when the order is not at version any more, which is the one the shipment
// left.
func (d *Desk) Reopen(shipment string, version int64, to OrderStatus, actor string) error {
	s, err := d.shipment(shipment)
	if err != nil {
		return err
	}
	o, err := d.Order(s.OrderNo)
	if err != nil {
		return err
	}
	if o.Version != version {
		return ErrChanged
	}
	err = d.setStatus(o, to)
	if err == nil {
		err = d.moveLines(o.No, s.Lines, -1)
	}
	if err == nil {
		err = d.putStock(s.Taken())
	}
	if err == nil {
		err = changed(d.tx.Exec("UPDATE shipments SET undone_at = $1 WHERE merchant_id = $2 AND shipment_no = $3 AND undone_at IS NULL",
			store.Micros(d.tx.Now), d.merchant, s.No))
	}
	if err == nil {
		err = d.tell(o.No, d.tx.Now, "shipment taken back: "+pieces(s.Pieces())+" ("+s.No+")", actor)
	}
	if err != nil {
		return fmt.Errorf("reopening: %w", err)
	}
	return nil
}

// shipment gives a parcel with what is in it.
func (d *Desk) shipment(no string) (Shipment, error) {
	s := Shipment{No: no}
	err := d.tx.QueryRow("SELECT order_no FROM shipments WHERE merchant_id = $1 AND shipment_no = $2", d.merchant, no).Scan(&s.OrderNo)
	if err == nil {
		s.Lines, err = store.All(d.tx, func(r store.Row) (l ShipmentLine, err error) { return l, r.Scan(&l.Line, &l.SKU, &l.Qty) },
			`SELECT s.line, l.sku, s.qty FROM shipment_lines s
				JOIN order_lines l ON l.merchant_id = s.merchant_id AND l.order_no = $1 AND l.line = s.line
				WHERE s.merchant_id = $2 AND s.shipment_no = $3 ORDER BY s.line`, s.OrderNo, d.merchant, no)
	}
	if err != nil {
		return s, fmt.Errorf("finding the shipment: %w", err)
	}
	return s, nil
}

// Short gives those of the SKUs of which fewer are on hand than wanted, in order.
func (d *Desk) Short(wanted map[string]int64) ([]string, error) {
	var short []string
	skus := slices.Sorted(maps.Keys(wanted))
	variants, err := d.Variants(skus)
	for _, sku := range skus {
		if variants[sku].OnHand < wanted[sku] {
			short = append(short, sku)
		}
	}
	return short, err
}

// ShipmentNotice is what a customer is told about a parcel.
func ShipmentNotice(o Order, s Shipment) Notice {
	body := []string{"Hello,", "we have sent you " + pieces(s.Pieces()) + " of your order " + o.No + s.way() + "."}
	if left := o.ToShip() - s.Pieces(); left > 0 {
		body = append(body, pieces(left)+" of it will follow.")
	}
	return Notice{Kind: KindShipmentNotice, Subject: "Your order " + o.No + " is on its way", Body: strings.Join(body, "\n\n")}
}
