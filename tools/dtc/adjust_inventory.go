package dtc

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// An adjustInventoryIn has no reason besides its cause, which is what people see when they are asked.
type adjustInventoryIn struct {
	SKU            string `json:"sku" jsonschema:"maxLength=16"`
	Delta          int64  `json:"delta" jsonschema:"minimum=-10000,maximum=10000,description=-3 goes out"`
	Cause          string `json:"cause" jsonschema:"enum=received,enum=damaged,enum=stock_count,enum=returned,enum=lost"`
	ExpectedOnHand int64  `json:"expected_on_hand"`
	Tried
}

type adjustInventoryOut struct {
	SKU    string `json:"sku"`
	OnHand int64  `json:"on_hand"`
}

var adjustInventory = tools.Define(tools.Spec{
	Name: "dtc_adjust_inventory", Path: "inventory.adjust", Title: "Correct the stock of a SKU",
	Description: "Books pieces of one SKU in or out, never below zero. Over 500 pieces, or 20% of the stock, may wait for people. For " +
		"goods that a customer sends back use dtc_refund_order with restock.",
	Scope: "catalog:write", Risk: tools.Risk{Undo: 1, Blast: 1}, Resource: "variant:/sku",
	Undo:    "Books the opposite, unless too few pieces are left",
	Routes:  []tools.Route{{Method: "POST", Path: "/variants/{sku}/inventory"}},
	Example: `{"sku":"40010B","delta":48,"cause":"received","expected_on_hand":439}`,
}, tools.Func[adjustInventoryIn, adjustInventoryOut]{
	Preview: previewStock, Write: moveStock, Class: classOfMove,
	Facts:   func(c *tools.Call, in adjustInventoryIn) ([]tools.Fact, error) { return variantFacts(c, in.SKU) },
	Ratings: []tools.Rating{{Risk: tools.Risk{Undo: 1, Blast: 1}, Class: tools.ClassDestructive}},
	Undo:    tools.Reversible(keepStock, restoreStock),
})

// What makes a correction big: so many pieces, or more than one piece in so many.
const (
	bigMove  = 500
	bigShare = 5
)

// classOfMove has people asked about a big correction. expected_on_hand is the stock: the preview has compared them.
func classOfMove(in adjustInventoryIn, _ tools.Preview) tools.Class {
	if n := max(in.Delta, -in.Delta); n > bigMove || n*bigShare > in.ExpectedOnHand {
		return tools.ClassDestructive
	}
	return tools.ClassNone
}

// variant reads the variant and holds it to the stock that the caller saw.
func (in adjustInventoryIn) variant(c *tools.Call) (*shop.Desk, shop.Variant, error) {
	d, err := desk(c)
	if err != nil {
		return nil, shop.Variant{}, err
	}
	v, err := d.Variant(in.SKU)
	switch {
	case err != nil:
	case v.OnHand != in.ExpectedOnHand:
		err = staleStock(v)
	case in.Delta == 0:
		err = tools.Wrong("delta", "is zero", "pieces that come in, or with a minus go out", 12)
	case v.OnHand+in.Delta < 0:
		err = tools.Wrong("delta", "takes out more than is there", fmt.Sprintf("%d or more", -v.OnHand), -v.OnHand)
	}
	return d, v, err
}

func staleStock(v shop.Variant) error {
	return tools.Stale("The stock has changed since it was looked at.", map[string]any{"expected_on_hand": v.OnHand})
}

func previewStock(c *tools.Call, in adjustInventoryIn) (tools.Preview, error) {
	_, v, err := in.variant(c)
	if err != nil {
		return tools.Preview{}, err
	}
	verb, n := "Add", in.Delta
	if n < 0 {
		verb, n = "Take out", -n
	}
	p := tools.Preview{
		Summary: fmt.Sprintf("%s %s of SKU %s (%s): %s", verb, count(n, "piece"), v.SKU, v.Title, in.Cause),
		Changes: []tools.Change{{Object: "SKU " + v.SKU, Field: "on hand", From: fmt.Sprint(v.OnHand), To: fmt.Sprint(v.OnHand + in.Delta)}},
		Version: strconv.FormatInt(v.OnHand, 10),
	}
	if classOfMove(in, p) != tools.ClassNone {
		p.Warnings = []string{"This is more than 500 pieces, or more than 20% of the stock."}
	}
	if v.OnHand+in.Delta == 0 {
		p.Warnings = append(p.Warnings, "Nothing is left: it cannot be sold any more.")
	}
	return p, nil
}

func moveStock(c *tools.Call, in adjustInventoryIn) (adjustInventoryOut, error) {
	d, v, err := in.variant(c)
	if err != nil {
		return adjustInventoryOut{}, err
	}
	made, err := d.MoveStock(v, shop.StockMove{Delta: in.Delta, Cause: in.Cause, Actor: c.Principal.Name})
	if errors.Is(err, shop.ErrChanged) {
		if v, err = d.Variant(in.SKU); err == nil {
			err = staleStock(v)
		}
	}
	return adjustInventoryOut{SKU: made.SKU, OnHand: made.OnHand}, err
}

// keepStock keeps nothing: the call itself says what the opposite is.
func keepStock(*tools.Call, adjustInventoryIn) (struct{}, error) { return struct{}{}, nil }

// restoreStock books the opposite on whatever the stock is now, for what was sold meanwhile stays sold.
func restoreStock(c *tools.Call, in adjustInventoryIn, _ adjustInventoryOut, _ struct{}) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	v, err := d.Variant(in.SKU)
	if err != nil {
		return err
	}
	if v.OnHand < in.Delta {
		return tools.Refuse(tools.Conflict, "Count the stock and book the difference with dtc_adjust_inventory.",
			"Only %s left of the %s that were booked in.", count(v.OnHand, "piece"), shop.Thousands(in.Delta))
	}
	_, err = d.MoveStock(v, shop.StockMove{Delta: -in.Delta, Cause: "undo", Actor: c.Principal.Name})
	return err
}
