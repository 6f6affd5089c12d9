package dtc

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type createLabelIn struct {
	Carrier     string `json:"carrier" jsonschema:"enum=royal_mail,enum=dpd,enum=dhl,enum=ups"`
	WeightGrams int64  `json:"weight_grams" jsonschema:"minimum=1,maximum=30000"`
	MaxCost     Amount `json:"max_cost" jsonschema:"description=Refused if it would cost more"`
}

type createLabelOut struct {
	shop.Label
	Simulated bool `json:"simulated,omitempty"` // no carrier is asked or paid
}

var actionCreateLabel = tools.DefineAction(tools.ActionSpec{
	Provider: "shipping", Name: "create_label", Title: "Buy a shipping label",
	Description: "Buys postage for one parcel of an order. The price follows from carrier, weight and country; max_cost caps it. Carriers are simulated.",
	Risk:        tools.Risk{Undo: 1, Blast: 1, Money: 1, Reach: 1}, Class: tools.ClassSpend,
	Targets: []tools.Target{{Type: "order", Example: "536365"}},
	Undo:    "dtc_undo voids the label",
}, tools.Func[createLabelIn, createLabelOut]{
	Preview: previewLabel, Write: createLabel, Facts: factsOfOrder[createLabelIn], Undo: tools.Reversible(keepNothing, voidLabel),
})

// previewLabel counts what a label costs. Labels that the order has already are no reason to refuse: it may go in two parcels.
func previewLabel(c *tools.Call, in createLabelIn) (tools.Preview, error) {
	d, o, cost, err := in.priced(c)
	if err != nil {
		return tools.Preview{}, err
	}
	n, err := d.Labels(o.No)
	p := tools.Preview{
		Summary: fmt.Sprintf("Buy a %s label for %s g to %s for order %s, at %s", in.Carrier, shop.Thousands(in.WeightGrams), o.ShipCountry, o.No, cost),
		Money:   &cost, Version: strconv.FormatInt(o.Version, 10),
		Changes:  []tools.Change{{Object: "order " + o.No, Field: "labels", From: fmt.Sprint(n), To: fmt.Sprint(n + 1)}},
		Warnings: []string{"Carriers are simulated: no carrier is asked and none is paid."},
	}
	if n > 0 {
		p.Warnings = append(p.Warnings, "The order has "+count(n, "label")+" already.")
	}
	return p, err
}

// priced finds the order and what its label costs.
func (in createLabelIn) priced(c *tools.Call) (*shop.Desk, shop.Order, shop.Money, error) {
	d, err := desk(c)
	if err != nil {
		return nil, shop.Order{}, shop.Money{}, err
	}
	o, err := d.Order(c.Wish.ID())
	if err != nil {
		return nil, o, shop.Money{}, err
	}
	if o.Status == shop.OrderCancelled || o.Status == shop.OrderRefunded {
		return nil, o, shop.Money{}, tools.Refuse(tools.Conflict, "Choose an order that is to be sent.", "The order is %s: nothing of it is to be sent.", o.Status)
	}
	most, err := in.MaxCost.inCurrency("max_cost", d)
	if err != nil {
		return nil, o, shop.Money{}, err
	}
	cost, err := d.Postage(o, in.Carrier, in.WeightGrams)
	if err == nil && cost.AmountMinor > most.AmountMinor {
		err = tools.Refuse(tools.LimitExceeded, "Raise max_cost if it is worth that, or choose another carrier.", "The label costs %s, more than max_cost.", cost)
	}
	return d, o, cost, err
}

func createLabel(c *tools.Call, in createLabelIn) (createLabelOut, error) {
	d, o, cost, err := in.priced(c)
	if err != nil {
		return createLabelOut{}, err
	}
	l, err := d.AddLabel(o, shop.Label{Carrier: in.Carrier, WeightGrams: in.WeightGrams, Cost: cost, CreatedBy: c.Principal.Name})
	if errors.Is(err, shop.ErrChanged) {
		err = errMoved()
	}
	return createLabelOut{Label: l, Simulated: true}, err
}

// errMoved refuses what somebody else was first with, between the look at a thing and its change.
func errMoved() error {
	return tools.Refuse(tools.Conflict, "Ask again.", "Somebody has changed it at this very moment.")
}

func voidLabel(c *tools.Call, _ createLabelIn, out createLabelOut, _ struct{}) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	return d.VoidLabel(out.Label, c.Principal.Name)
}
