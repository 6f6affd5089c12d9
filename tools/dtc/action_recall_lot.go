package dtc

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

type recallLotIn struct {
	MaxPieces  int64  `json:"max_pieces" jsonschema:"minimum=1,maximum=1000000,description=Refused if more are on hand"`
	ReasonCode string `json:"reason_code" jsonschema:"enum=safety,enum=contamination,enum=labelling,enum=quality,enum=supplier_notice"`
}

var actionRecallLot = tools.DefineAction(tools.ActionSpec{
	Provider: "warehouse", Name: "recall_lot", Title: "Recall a lot",
	Description: "Takes all pieces of one SKU off the shelf into quarantine, so that none is sold. It counts who bought it in the last 90 days and writes to " +
		"nobody. A recall leaves none on sale: with more on hand than max_pieces it is refused.",
	Risk: tools.Risk{Undo: 1, Blast: 2}, Class: tools.ClassDestructive,
	Targets: []tools.Target{{Type: "variant", Example: "85123A"}},
	Undo:    "dtc_undo puts the pieces back",
}, tools.Func[recallLotIn, shop.Recall]{Preview: previewRecall, Write: recall, Facts: factsOfVariant[recallLotIn], Undo: tools.Reversible(keepNothing, putBack)})

// recallDays is how far back buyers of a recalled SKU are counted.
const recallDays = 90

// previewRecall counts the buyers as customers of the effect although nothing is sent: they are whom a recall is about.
func previewRecall(c *tools.Call, in recallLotIn) (tools.Preview, error) {
	d, v, err := in.variant(c)
	if err != nil {
		return tools.Preview{}, err
	}
	buyers, err := d.Buyers(v.SKU, c.Now.AddDate(0, 0, -recallDays))
	return tools.Preview{
		Summary: fmt.Sprintf("Take all %s of %s off the shelf (%s); %s bought it in the last %d days",
			count(v.OnHand, "piece"), v.SKU, in.ReasonCode, count(buyers, "customer"), recallDays),
		Customers: buyers, Version: strconv.FormatInt(v.Version, 10),
		Changes: []tools.Change{
			{Object: "SKU " + v.SKU, Field: "on_hand", From: fmt.Sprint(v.OnHand), To: "0"},
			{Object: "SKU " + v.SKU, Field: "in quarantine by this recall", From: "0", To: fmt.Sprint(v.OnHand)},
		},
		Warnings: []string{"Nobody is written to: telling the customers is for people."},
	}, err
}

// variant finds what is recalled and holds it to the cap.
func (in recallLotIn) variant(c *tools.Call) (*shop.Desk, shop.Variant, error) {
	d, err := desk(c)
	if err != nil {
		return nil, shop.Variant{}, err
	}
	known, err := d.Variants([]string{c.Wish.ID()})
	v, ok := known[c.Wish.ID()]
	switch {
	case err != nil:
		return nil, v, err
	case !ok:
		return nil, v, store.ErrNotFound
	case v.OnHand == 0:
		return nil, v, tools.Refuse(tools.Conflict, "Leave it: none can be sold.", "None of %s is on hand.", v.SKU)
	case v.OnHand > in.MaxPieces:
		return nil, v, tools.Refuse(tools.LimitExceeded, "Raise max_pieces if all of them are to go: a recall leaves none on sale.",
			"There are %s of %s on hand, more than max_pieces.", count(v.OnHand, "piece"), v.SKU)
	}
	return d, v, nil
}

func recall(c *tools.Call, in recallLotIn) (shop.Recall, error) {
	d, v, err := in.variant(c)
	if err != nil {
		return shop.Recall{}, err
	}
	r, err := d.Recall(v, shop.Recall{ReasonCode: in.ReasonCode, CreatedBy: c.Principal.Name})
	if errors.Is(err, shop.ErrChanged) {
		err = errMoved()
	}
	return r, err
}

func putBack(c *tools.Call, _ recallLotIn, r shop.Recall, _ struct{}) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	return d.PutBack(r)
}
