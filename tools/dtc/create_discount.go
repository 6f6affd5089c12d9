package dtc

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A createDiscountIn states every cap. There is no code without an end, without a number of uses or without a sum.
type createDiscountIn struct {
	Code         string   `json:"code" jsonschema:"pattern=^[A-Z0-9]{3\\,20}$"`
	PercentOff   int64    `json:"percent_off" jsonschema:"minimum=1,maximum=90"`
	SKUs         []string `json:"skus,omitempty" jsonschema:"maxItems=100"`
	MaxUses      int64    `json:"max_uses" jsonschema:"minimum=1,maximum=100000"`
	MaxGivenAway Amount   `json:"max_given_away"`
	StartOn      string   `json:"start_on" jsonschema:"format=date"`
	EndOn        string   `json:"end_on" jsonschema:"format=date,description=Within a year of start_on"`
	Asked
}

type createDiscountOut struct {
	Code       string `json:"code"`
	DiscountID string `json:"discount_id"`
}

var createDiscount = tools.Define(tools.Spec{
	Name: "dtc_create_discount", Path: "discounts.create", Title: "Create a discount code",
	Description: "Makes a code for a percentage off every SKU or those named. It ends with its last day, max_uses or max_given_away, " +
		"and is never used again. To stop it use dtc_pause.",
	Scope: "store:write", Risk: tools.Risk{Undo: 2, Blast: 3, Money: 1}, Class: tools.ClassSpend, Resource: "discount:+",
	Undo:   "dtc_undo ends it while it is unused. After that dtc_pause stops it; uses so far stand",
	Routes: []tools.Route{{Method: "POST", Path: "/discounts", Status: 201}},
	Example: `{"code":"SPRING10","percent_off":10,"max_uses":100,"max_given_away":{"amount_minor":50000,"currency":"GBP"},` +
		`"start_on":"2026-11-22","end_on":"2026-12-01","idempotency_key":"spring-code-1","reason":"For the spring launch"}`,
}, tools.Func[createDiscountIn, createDiscountOut]{
	Preview: previewDiscount, Write: discount, Class: classOfDiscount,
	Facts:   func(c *tools.Call, in createDiscountIn) ([]tools.Fact, error) { return variantsFacts(c, in.SKUs) },
	Ratings: []tools.Rating{{Risk: tools.Risk{Undo: 2, Blast: 3, Money: 1}}},
	Undo:    tools.Reversible(keepNothing[createDiscountIn], endDiscount),
})

// What a code may give without being asked about, as a rule built in: no more than this percentage, and no more than this
// sum in minor units.
const (
	smallPercent   = 15
	smallGivenAway = 500_00
)

func classOfDiscount(in createDiscountIn, _ tools.Preview) tools.Class {
	if in.PercentOff <= smallPercent && in.MaxGivenAway.AmountMinor <= smallGivenAway {
		return tools.ClassNone
	}
	return tools.ClassSpend
}

// steep is the percentage from which a person is warned.
const steep = 50

// previewDiscount shows as money the most that can be given away, since nobody knows how often the code will be used.
func previewDiscount(c *tools.Call, in createDiscountIn) (tools.Preview, error) {
	d, err := desk(c)
	if err != nil {
		return tools.Preview{}, err
	}
	most, err := in.MaxGivenAway.inCurrency("max_given_away", d)
	if err != nil {
		return tools.Preview{}, err
	}
	for _, check := range []func(*tools.Call, *shop.Desk) error{in.checkCap, in.checkDays, in.checkSKUs, in.checkCode} {
		if err := check(c, d); err != nil {
			return tools.Preview{}, err
		}
	}
	p := tools.Preview{
		Summary: fmt.Sprintf("Create the code %s: %d%% off %s from %s to %s, for %s and %s given away at most",
			in.Code, in.PercentOff, in.goods(), in.StartOn, in.EndOn, count(in.MaxUses, "use"), most),
		Money:        &most,
		Changes:      []tools.Change{{Object: "discount " + in.Code, Field: "status", To: shop.DiscountActive}},
		Irreversible: "What has been given away by then stays given away.",
	}
	if in.PercentOff >= steep {
		p.Warnings = append(p.Warnings, "Half of the price or more is given away.")
	}
	return p, nil
}

func (in createDiscountIn) goods() string {
	if len(in.SKUs) == 0 {
		return "every SKU"
	}
	return count(int64(len(in.SKUs)), "SKU")
}

// checkCap refuses a cap of nothing, which the database would refuse as well.
func (in createDiscountIn) checkCap(*tools.Call, *shop.Desk) error {
	if in.MaxGivenAway.AmountMinor == 0 {
		return tools.Wrong("max_given_away.amount_minor", "is zero", "minor units, 1 or more", 50000)
	}
	return nil
}

// checkDays keeps a code within sight: it begins within a year and lasts no longer than one. Days compare as text.
func (in createDiscountIn) checkDays(c *tools.Call, _ *shop.Desk) error {
	start, err := shop.Midnight(in.StartOn)
	if err != nil {
		return err
	}
	today := shop.Day(c.Now)
	switch {
	case in.EndOn < today:
		return tools.Wrong("end_on", "is past", "today or later", today)
	case in.EndOn > shop.Day(start.AddDate(1, 0, 0)):
		return tools.Wrong("end_on", "is more than a year after start_on", "a day within a year of start_on", in.StartOn)
	case in.StartOn > shop.Day(c.Now.AddDate(5, 0, 0)):
		return tools.Wrong("start_on", "is more than five years ahead", "a day within five years from now", today)
	}
	return daysInOrder("start_on", in.StartOn, "end_on", in.EndOn)
}

// checkSKUs names the first SKU that is none, so that a slip of the pen does not become a code for nothing.
func (in createDiscountIn) checkSKUs(_ *tools.Call, d *shop.Desk) error {
	known, err := d.Variants(in.SKUs)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(in.SKUs, func(sku string) bool { return known[sku].SKU == "" }); i >= 0 {
		return tools.Wrong(fmt.Sprintf("skus[%d]", i), "is no SKU of this shop", "SKUs as dtc_search_products gives them", nil)
	}
	return nil
}

// checkCode is the polite way to learn that a code is taken; two calls at once are settled by the table, in discount.
func (in createDiscountIn) checkCode(_ *tools.Call, d *shop.Desk) error {
	taken, err := d.CodeTaken(in.Code)
	if err == nil && taken {
		err = errTaken()
	}
	return err
}

func errTaken() error {
	return tools.Refuse(tools.Conflict, "Choose another code.", "This code exists already, or did once.")
}

func discount(c *tools.Call, in createDiscountIn) (createDiscountOut, error) {
	d, err := desk(c)
	if err != nil {
		return createDiscountOut{}, err
	}
	made, err := d.AddDiscount(shop.Discount{
		Code: in.Code, PercentOff: in.PercentOff, SKUs: in.SKUs, MaxUses: in.MaxUses, MaxGivenAway: shop.Money(in.MaxGivenAway),
		StartOn: in.StartOn, EndOn: in.EndOn, CreatedBy: c.Principal.Name, OwnerID: c.Principal.ID,
	})
	if errors.Is(err, shop.ErrChanged) {
		err = errTaken()
	}
	return createDiscountOut{Code: made.Code, DiscountID: made.ID}, err
}

// endDiscount takes back a code that nobody has used. A use cannot be taken back.
func endDiscount(c *tools.Call, _ createDiscountIn, out createDiscountOut, _ struct{}) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	if err = d.EndUnused(out.DiscountID); !errors.Is(err, shop.ErrChanged) {
		return err
	}
	x, err := d.Discount(out.DiscountID)
	switch {
	case err != nil:
		return err
	case x.Uses > 0:
		return tools.Refuse(tools.Conflict, "Stop it with dtc_pause (kind discount); the uses so far stand.", "The code has had %s.", count(x.Uses, "use"))
	}
	return tools.Refuse(tools.Conflict, "There is nothing left to do.", "The code has ended.")
}
