package dtc

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type setPricesIn struct {
	Prices []newPrice `json:"prices" jsonschema:"minItems=1,maxItems=100"`
	Asked
}

type newPrice struct {
	SKU           string `json:"sku" jsonschema:"maxLength=16"`
	ExpectedPrice Amount `json:"expected_price"`
	NewPrice      Amount `json:"new_price"`
}

type setPricesOut struct {
	BatchID string `json:"batch_id"`
	Changed int    `json:"changed"`
}

var setPrices = tools.Define(tools.Spec{
	Name: "dtc_set_prices", Path: "prices.set", Title: "Set prices",
	Description: "Sets up to 100 prices, all or none. Read them with dtc_search_products. Over 20 rows, a move over 20% or a price " +
		"below cost may wait for people. For an offer that ends use dtc_create_discount.",
	Scope: "pricing:write", Risk: tools.Risk{Undo: 2, Blast: 2, Money: 1}, Class: tools.ClassSpend, Resource: "variant:/prices/*/sku",
	Undo:   "Restores the batch; orders placed meanwhile keep their price",
	Routes: []tools.Route{{Method: "POST", Path: "/prices"}},
	Example: `{"prices":[{"sku":"40040","expected_price":{"amount_minor":1890,"currency":"GBP"},"new_price":{"amount_minor":1990,"currency":"GBP"}}],` +
		`"idempotency_key":"cups-2026-11","reason":"The supplier charges more from December"}`,
}, tools.Func[setPricesIn, setPricesOut]{
	Preview: previewPrices, Write: writePrices, Class: classOfPrices,
	Facts:   func(c *tools.Call, in setPricesIn) ([]tools.Fact, error) { return variantsFacts(c, in.skus()) },
	Ratings: []tools.Rating{{Risk: tools.Risk{Undo: 2, Blast: 2, Money: 1}}},
	Undo:    tools.Reversible(keepPrices, restorePrices), NoAmount: true,
})

// What makes a batch big: so many rows, or a price that moves by more than one part in so many.
const (
	bigBatch = 20
	bigPart  = 5
)

// The field of a change says when the new price is below cost: people see it in its row, and classOfPrices reads it.
const (
	fieldPrice     = "price"
	fieldBelowCost = "price (below cost)"
)

// classOfPrices has people asked about a big batch, a big move, or a price below cost. The expected prices are the
// prices: the preview has compared them.
func classOfPrices(in setPricesIn, p tools.Preview) tools.Class {
	below := func(c tools.Change) bool { return c.Field == fieldBelowCost }
	if len(in.Prices) > bigBatch || slices.ContainsFunc(in.Prices, newPrice.big) || slices.ContainsFunc(p.Changes, below) {
		return tools.ClassSpend
	}
	return tools.ClassNone
}

// big reports whether the price moves by more than a fifth. From nothing every move is big.
func (p newPrice) big() bool {
	move := p.NewPrice.AmountMinor - p.ExpectedPrice.AmountMinor
	return max(move, -move)*bigPart > p.ExpectedPrice.AmountMinor
}

// move is by how much the price moves, in percent; from nothing it is beyond all others.
func (p newPrice) move() float64 {
	return 100 * float64(p.NewPrice.AmountMinor-p.ExpectedPrice.AmountMinor) / float64(p.ExpectedPrice.AmountMinor)
}

// percent is the move in words: +12.5%.
func (p newPrice) percent() string {
	if p.ExpectedPrice.AmountMinor == 0 {
		return "from nothing"
	}
	return fmt.Sprintf("%+.1f%%", p.move())
}

// variants reads the variants, by SKU, and holds the rows to them: every wrong row is named at once, and then every
// stale one.
func (in setPricesIn) variants(c *tools.Call) (*shop.Desk, map[string]shop.Variant, error) {
	d, err := desk(c)
	if err != nil {
		return nil, nil, err
	}
	skus := in.skus()
	variants, err := d.Variants(skus)
	if err != nil {
		return nil, nil, err
	}
	var wrong []schemas.Wrong
	for i, p := range in.Prices {
		if w := p.check(d, variants, skus[:i]); w != nil {
			w.Field = fmt.Sprintf("prices[%d].%s", i, w.Field)
			wrong = append(wrong, *w)
		}
	}
	if len(wrong) > 0 {
		return nil, nil, tools.WrongFields(wrong)
	}
	return d, variants, in.stale(variants)
}

// check holds a row to the shop and to the SKUs of the rows before it.
func (p newPrice) check(d *shop.Desk, variants map[string]shop.Variant, before []string) *schemas.Wrong {
	if w := cmp.Or(p.ExpectedPrice.wrong("expected_price", d), p.NewPrice.wrong("new_price", d)); w != nil {
		return w
	}
	switch _, known := variants[p.SKU]; {
	case !known:
		return &schemas.Wrong{Field: "sku", Problem: "is no SKU of this shop", Expected: "a SKU as dtc_search_products gives it"}
	case slices.Contains(before, p.SKU):
		return &schemas.Wrong{Field: "sku", Problem: "is there twice", Expected: "each SKU once"}
	case p.NewPrice.AmountMinor == 0:
		return &schemas.Wrong{Field: "new_price.amount_minor", Problem: "is zero", Expected: "minor units, 1 or more", Example: 1230}
	case p.NewPrice == p.ExpectedPrice:
		return &schemas.Wrong{Field: "new_price", Problem: "is the price it has", Expected: "another price, or leave the row out"}
	}
	return nil
}

// stale refuses with every price that is not as expected.
func (in setPricesIn) stale(variants map[string]shop.Variant) error {
	now := map[string]any{}
	for _, p := range in.Prices {
		if v := variants[p.SKU]; v.Price != shop.Money(p.ExpectedPrice) {
			now[p.SKU] = map[string]any{"expected_price": v.Price}
		}
	}
	if len(now) == 0 {
		return nil
	}
	return tools.Stale(count(int64(len(now)), "price")+" changed since they were looked at. Nothing was set.", now)
}

func previewPrices(c *tools.Call, in setPricesIn) (tools.Preview, error) {
	d, variants, err := in.variants(c)
	if err != nil {
		return tools.Preview{}, err
	}
	var p tools.Preview
	var big, below []string
	for _, n := range in.Prices {
		v, field := variants[n.SKU], fieldPrice
		to := shop.Money(n.NewPrice)
		if n.big() {
			big = append(big, n.SKU+" "+n.percent())
		}
		if to.AmountMinor < v.Cost.AmountMinor {
			field = fieldBelowCost
			below = append(below, fmt.Sprintf("%s costs %s", n.SKU, v.Cost))
		}
		p.Changes = append(p.Changes, tools.Change{Object: "SKU " + n.SKU, Field: field, From: v.Price.String(), To: to.String()})
	}
	p.Summary = in.summary(p.Changes)
	if len(big) > 0 {
		p.Warnings = append(p.Warnings, "Moves of more than 20%: "+strings.Join(big, ", ")+".")
	}
	if len(below) > 0 {
		p.Warnings = append(p.Warnings, "Below cost"+simulatedNote(d)+": "+strings.Join(below, ", ")+".")
	}
	return p, nil
}

// simulatedNote says beside a made-up figure that it is one.
func simulatedNote(d *shop.Desk) string {
	if d.Simulated() {
		return " (simulated)"
	}
	return ""
}

// summary names the price, or how far the prices move.
func (in setPricesIn) summary(changes []tools.Change) string {
	if len(in.Prices) == 1 {
		return fmt.Sprintf("Set the price of %s from %s to %s (%s)", changes[0].Object, changes[0].From, changes[0].To, in.Prices[0].percent())
	}
	byMove := func(a, b newPrice) int { return cmp.Compare(a.move(), b.move()) }
	return fmt.Sprintf("Set the prices of %d SKUs; they move by %s to %s", len(in.Prices),
		slices.MinFunc(in.Prices, byMove).percent(), slices.MaxFunc(in.Prices, byMove).percent())
}

// writePrices reads the prices again when nobody else can set them any more: between the preview and here another batch
// may have been first.
func writePrices(c *tools.Call, in setPricesIn) (setPricesOut, error) {
	d, err := desk(c)
	if err != nil {
		return setPricesOut{}, err
	}
	if err := d.HoldVariants(in.skus()); err != nil {
		return setPricesOut{}, err
	}
	if _, _, err := in.variants(c); err != nil {
		return setPricesOut{}, err
	}
	b := shop.PriceBatch{Reason: in.Reason, Actor: c.Principal.Name}
	for _, p := range in.Prices {
		b.Changes = append(b.Changes, shop.PriceChange{SKU: p.SKU, Old: shop.Money(p.ExpectedPrice), New: shop.Money(p.NewPrice)})
	}
	made, err := d.SetPrices(b)
	return setPricesOut{BatchID: made.ID, Changed: len(made.Changes)}, err
}

func (in setPricesIn) skus() []string {
	skus := make([]string, len(in.Prices))
	for i, p := range in.Prices {
		skus[i] = p.SKU
	}
	return skus
}

// keepPrices keeps nothing: the call itself says what the prices were.
func keepPrices(*tools.Call, setPricesIn) (struct{}, error) { return struct{}{}, nil }

// restorePrices sets the prices of before, as a batch of its own, if all prices are still those of this one.
func restorePrices(c *tools.Call, in setPricesIn, out setPricesOut, _ struct{}) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	b := shop.PriceBatch{Undoes: out.BatchID, Reason: "undo of " + out.BatchID, Actor: c.Principal.Name}
	for _, p := range in.Prices {
		b.Changes = append(b.Changes, shop.PriceChange{SKU: p.SKU, Old: shop.Money(p.NewPrice), New: shop.Money(p.ExpectedPrice)})
	}
	if err := d.HoldVariants(in.skus()); err != nil {
		return err
	}
	variants, err := d.Variants(in.skus())
	if err != nil {
		return err
	}
	var since []string
	for _, p := range b.Changes {
		if variants[p.SKU].Price != p.Old {
			since = append(since, p.SKU)
		}
	}
	if len(since) > 0 {
		return tools.Refuse(tools.Conflict, "Set the prices you want with dtc_set_prices.",
			"These prices have been changed since: %s. Nothing was restored.", strings.Join(since, ", "))
	}
	_, err = d.SetPrices(b)
	return err
}
