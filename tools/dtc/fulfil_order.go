package dtc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type fulfilOrderIn struct {
	OrderNo         string       `json:"order_no" jsonschema:"maxLength=20"`
	ExpectedVersion int64        `json:"expected_version"`
	Lines           []fulfilLine `json:"lines,omitempty" jsonschema:"minItems=1,maxItems=200"`
	Carrier         string       `json:"carrier" jsonschema:"enum=royal_mail,enum=dpd,enum=dhl,enum=ups,enum=other"`
	TrackingNo      string       `json:"tracking_no,omitempty" jsonschema:"pattern=^[A-Za-z0-9 -]{0\\,40}$"`
	NotifyCustomer  bool         `json:"notify_customer"`
	Asked
}

type fulfilLine struct {
	Line int64 `json:"line" jsonschema:"minimum=1"`
	Qty  int64 `json:"qty" jsonschema:"minimum=1,maximum=1000000"`
}

type fulfilOrderOut struct {
	ID      string           `json:"id"` // of the shipment
	Version int64            `json:"version"`
	Status  shop.OrderStatus `json:"status"`
}

var fulfilOrder = tools.Define(tools.Spec{
	Name: "dtc_fulfil_order", Path: "orders.fulfil", Title: "Fulfil an order",
	Description: "Marks pieces of an order as shipped in one parcel and takes them from stock: all that is left, or only lines. Read " +
		"version, line and to_ship with dtc_get_order. Books no label.",
	Scope: "orders:fulfil", Risk: tools.Risk{Undo: 2, Blast: 1, Touch: 1}, Class: tools.ClassContact, Resource: "order:/order_no",
	Undo: "Reopens the lines and restocks; a sent mail stays sent",
	Example: `{"order_no":"71998","expected_version":1,"carrier":"royal_mail","tracking_no":"AB123456789GB","notify_customer":false,` +
		`"idempotency_key":"fulfil-71998","reason":"Packed and handed over this morning."}`,
	Routes: []tools.Route{{Method: "POST", Path: "/orders/{order_no}/fulfil"}},
}, tools.Func[fulfilOrderIn, fulfilOrderOut]{
	Preview: previewFulfil, Write: fulfil, Rate: rateFulfil, Class: classFulfil,
	Facts:   func(c *tools.Call, in fulfilOrderIn) ([]tools.Fact, error) { return orderFacts(c, in.OrderNo) },
	Ratings: []tools.Rating{{Risk: tools.Risk{Undo: 2, Blast: 1}}}, Undo: tools.Reversible(keepFulfil, reopen),
})

// rateFulfil reaches nobody without a mail.
func rateFulfil(in fulfilOrderIn, _ tools.Preview, r tools.Risk) tools.Risk {
	if !in.NotifyCustomer {
		r.Touch = 0
	}
	return r
}

func classFulfil(in fulfilOrderIn, _ tools.Preview) tools.Class {
	if in.NotifyCustomer {
		return tools.ClassContact
	}
	return tools.ClassNone
}

func previewFulfil(c *tools.Call, in fulfilOrderIn) (tools.Preview, error) {
	d, o, s, err := in.pack(c)
	if err != nil {
		return tools.Preview{}, err
	}
	p := tools.Preview{
		Summary: fmt.Sprintf("Ship %s of order %s of customer %s with %s", count(s.Pieces(), "piece"), o.No, o.CustomerNo, in.Carrier),
		Changes: statusOf(o, o.AfterShipment(s)),
		Version: strconv.FormatInt(o.Version, 10),
	}
	for _, part := range s.Lines {
		l, _ := lineOf(o, part.Line)
		p.Changes = append(p.Changes, piecesOf(o, l, "shipped", l.QtyShipped, part.Qty))
	}
	less := map[string]int64{}
	for sku, n := range s.Taken() {
		less[sku] = -n
	}
	stock, err := stockChanges(d, less)
	p.Changes = append(p.Changes, stock...)
	if left := o.ToShip() - s.Pieces(); left > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s of the order will still be to ship.", count(left, "piece")))
	}
	if o.Refunded.AmountMinor > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s of this order has been given back.", o.Refunded))
	}
	if err == nil && in.NotifyCustomer {
		p.Irreversible = "The mail to the customer stays sent."
		err = tellCustomer(&p, d, o.CustomerNo, shop.ShipmentNotice(o, s))
	}
	return p, err
}

// pack reads the order and what is to go into the parcel, and refuses what is not there to be shipped.
func (in fulfilOrderIn) pack(c *tools.Call) (*shop.Desk, shop.Order, shop.Shipment, error) {
	s := shop.Shipment{Carrier: in.Carrier, TrackingNo: strings.TrimSpace(in.TrackingNo), Reason: in.Reason, Actor: c.Principal.Name}
	d, o, err := orderAt(c, in.OrderNo, in.ExpectedVersion)
	if err == nil {
		err = checkToShip(o)
	}
	if err == nil {
		s.Lines, err = in.linesOf(o)
	}
	if err == nil {
		err = checkStock(d, s)
	}
	return d, o, s, err
}

func checkToShip(o shop.Order) error {
	switch {
	case o.Status == shop.OrderCancelled || o.Status == shop.OrderRefunded:
		return tools.Refuse(tools.Conflict, "Ship nothing of it.", "The order is %s: its money has been given back.", o.Status)
	case o.ToShip() == 0:
		return tools.Refuse(tools.Conflict, "Look at the lines with dtc_get_order.", "Nothing of the order is left to ship: every piece was shipped or given back.")
	}
	return nil
}

// linesOf are the pieces named, or all that are left.
func (in fulfilOrderIn) linesOf(o shop.Order) (parts []shop.ShipmentLine, err error) {
	for _, l := range o.Lines {
		if left := l.ToShip(); left > 0 && len(in.Lines) == 0 {
			parts = append(parts, shop.ShipmentLine{Line: l.Line, SKU: l.SKU, Qty: left})
		}
	}
	seen := map[int64]bool{}
	for i, part := range in.Lines {
		field := fmt.Sprintf("lines[%d].", i)
		l, ok := lineOf(o, part.Line)
		switch left := l.ToShip(); {
		case !ok:
			return nil, tools.Wrong(field+"line", "is no line of this order", "a line as dtc_get_order gives it", nil)
		case seen[part.Line]:
			return nil, tools.Wrong(field+"line", "is there twice", "each line once", nil)
		case left == 0:
			return nil, tools.Wrong(field+"line", "has nothing left to ship", "a line with pieces neither shipped nor given back", nil)
		case part.Qty > left:
			return nil, tools.Wrong(field+"qty", "is more than is left to ship of the line", fmt.Sprintf("1 to %d", left), left)
		}
		seen[part.Line] = true
		parts = append(parts, shop.ShipmentLine{Line: l.Line, SKU: l.SKU, Qty: part.Qty})
	}
	return parts, nil
}

// checkStock names the SKUs of which the shelf holds too few.
func checkStock(d *shop.Desk, s shop.Shipment) error {
	short, err := d.Short(s.Taken())
	if err == nil && len(short) > 0 {
		err = tools.Refuse(tools.Conflict, "Ship fewer pieces, or correct the stock with dtc_adjust_inventory when it is wrong.",
			"There is not enough in stock of %s.", strings.Join(short, ", "))
	}
	return err
}

// fulfil packs again: between the preview and here others may have changed the order, or taken the last piece.
func fulfil(c *tools.Call, in fulfilOrderIn) (fulfilOrderOut, error) {
	d, o, s, err := in.pack(c)
	if err != nil {
		return fulfilOrderOut{}, err
	}
	if err := beginNotice(d, o, in.NotifyCustomer); err != nil {
		return fulfilOrderOut{}, err
	}
	made, err := d.Fulfil(o, s)
	if errors.Is(err, shop.ErrChanged) {
		if short := checkStock(d, s); short != nil {
			err = short
		}
	}
	if err == nil && in.NotifyCustomer {
		err = notify(d, o.CustomerNo, shop.ShipmentNotice(o, made))
	}
	if err != nil {
		return fulfilOrderOut{}, ifChanged(d, o.No, err)
	}
	return fulfilOrderOut{ID: made.No, Version: o.Version + 1, Status: o.AfterShipment(made)}, nil
}

// keepFulfil keeps the status; all else is known from the shipment.
func keepFulfil(c *tools.Call, in fulfilOrderIn) (shop.OrderStatus, error) {
	_, o, err := orderAt(c, in.OrderNo, in.ExpectedVersion)
	return o.Status, err
}

func reopen(c *tools.Call, _ fulfilOrderIn, out fulfilOrderOut, before shop.OrderStatus) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	return d.Reopen(out.ID, out.Version, before, c.Principal.Name)
}
