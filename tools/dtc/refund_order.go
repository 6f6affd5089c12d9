package dtc

import (
	"fmt"
	"strconv"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A refundOrderIn always states the amount. Left to the server, the largest refund would be the easiest to ask for.
type refundOrderIn struct {
	OrderNo         string       `json:"order_no" jsonschema:"maxLength=20"`
	ExpectedVersion int64        `json:"expected_version"`
	Amount          Amount       `json:"amount" jsonschema:"description=At most refundable"`
	Lines           []refundLine `json:"lines,omitempty" jsonschema:"maxItems=200,description=None for goodwill or postage"`
	Cause           string       `json:"cause" jsonschema:"enum=damaged,enum=not_received,enum=wrong_item,enum=changed_mind,enum=goodwill,enum=duplicate,enum=fraud"`
	NotifyCustomer  bool         `json:"notify_customer"`
	Asked
}

type refundLine struct {
	Line    int64 `json:"line" jsonschema:"minimum=1"`
	Qty     int64 `json:"qty" jsonschema:"minimum=1,maximum=1000000"`
	Restock bool  `json:"restock,omitempty"`
}

type refundOrderOut struct {
	Amount          shop.Money `json:"amount"`
	RefundNo        string     `json:"refund_no"`
	StillRefundable shop.Money `json:"still_refundable"`
}

var refundOrder = tools.Define(tools.Spec{
	Name: "dtc_refund_order", Path: "orders.refund", Title: "Refund an order",
	Description: "Gives money back for an order, for good. dtc_get_order tells version and refundable. lines say which pieces it is for " +
		"and do not set amount. If nothing was shipped, dtc_cancel_order ends the order.",
	Scope: "orders:refund", Risk: tools.Risk{Undo: 3, Blast: 1, Money: 2, Touch: 1, Reach: 1}, Class: tools.ClassSpend,
	Resource: "order:/order_no",
	Undo:     "None: money given back cannot be fetched. Staff can invoice again",
	Example: `{"order_no":"70003","expected_version":1,"amount":{"amount_minor":500,"currency":"GBP"},"cause":"goodwill","notify_customer":false,` +
		`"idempotency_key":"refund-70003","reason":"The parcel came a week late."}`,
	Routes: []tools.Route{{Method: "POST", Path: "/orders/{order_no}/refund"}},
}, tools.Func[refundOrderIn, refundOrderOut]{
	Preview: previewRefund, Write: refund, Rate: rateRefund,
	Facts:   func(c *tools.Call, in refundOrderIn) ([]tools.Fact, error) { return orderFacts(c, in.OrderNo) },
	Ratings: []tools.Rating{{Risk: tools.Risk{Undo: 3, Blast: 1, Money: 2, Reach: 1}, Class: tools.ClassSpend}},
})

// rateRefund writes to nobody without a mail.
func rateRefund(in refundOrderIn, _ tools.Preview, r tools.Risk) tools.Risk {
	if !in.NotifyCustomer {
		r.Touch = 0
	}
	return r
}

// previewRefund shows money, pieces, stock and the text to the customer as they will be.
func previewRefund(c *tools.Call, in refundOrderIn) (tools.Preview, error) {
	d, o, err := orderAt(c, in.OrderNo, in.ExpectedVersion)
	if err != nil {
		return tools.Preview{}, err
	}
	if err := in.check(d, o); err != nil {
		return tools.Preview{}, err
	}
	amount := shop.Money(in.Amount)
	p := tools.Preview{
		Summary: fmt.Sprintf("Give back %s of the %s paid for order %s of customer %s (%s)", amount, o.Total, o.No, o.CustomerNo, in.Cause),
		Money:   &amount, Warnings: in.warnings(c, o),
		Irreversible: "Money given back cannot be fetched.",
		Version:      strconv.FormatInt(o.Version, 10),
	}
	if in.NotifyCustomer {
		if err := tellCustomer(&p, d, o.CustomerNo, shop.RefundNotice(o, amount)); err != nil {
			return tools.Preview{}, err
		}
	}
	p.Changes, err = in.changes(d, o)
	return p, err
}

// check holds the amount to what is left of the order. The database holds it too.
func (in refundOrderIn) check(d *shop.Desk, o shop.Order) error {
	amount, err := in.Amount.inCurrency("amount", d)
	switch left := o.Refundable(); {
	case err != nil:
		return err
	case amount.AmountMinor == 0:
		return tools.Wrong("amount.amount_minor", "is zero", "minor units, 1 or more", 1230)
	case amount.AmountMinor > left.AmountMinor:
		return tools.Refuse(tools.LimitExceeded, "Give back that much or less.", "Of this order %s can still be given back.", left)
	}
	return in.checkLines(o)
}

// checkLines holds the pieces to what is left of their lines. What they were sold for does not limit the amount: postage
// and goodwill are given back beside them.
func (in refundOrderIn) checkLines(o shop.Order) error {
	seen := map[int64]bool{}
	for i, b := range in.Lines {
		field := fmt.Sprintf("lines[%d].", i)
		l, ok := lineOf(o, b.Line)
		switch left := l.Qty - l.QtyRefunded; {
		case !ok:
			return tools.Wrong(field+"line", "is no line of this order", "a line as dtc_get_order gives it", nil)
		case seen[b.Line]:
			return tools.Wrong(field+"line", "is there twice", "each line once", nil)
		case left == 0:
			return tools.Wrong(field+"line", "has been given back whole", "a line with pieces left", nil)
		case b.Qty > left:
			return tools.Wrong(field+"qty", "is more than is left of the line", fmt.Sprintf("1 to %d", left), left)
		case b.Restock && b.Qty > l.Out():
			return tools.Wrong(field+"restock", fmt.Sprintf("is for more pieces than were shipped and have not come back (%d)", l.Out()), "false", false)
		}
		seen[b.Line] = true
	}
	return nil
}

// warnings are what makes a person look twice, such as more than the pieces are worth.
func (in refundOrderIn) warnings(c *tools.Call, o shop.Order) []string {
	w := moneyWarnings(c, o)
	var worth int64
	for _, b := range in.Lines {
		l, _ := lineOf(o, b.Line)
		worth += b.Qty * l.UnitPrice.AmountMinor
	}
	if len(in.Lines) > 0 && in.Amount.AmountMinor > worth {
		w = append(w, fmt.Sprintf("The pieces named were sold for %s, which is less than the amount.", shop.Money{AmountMinor: worth, Currency: o.Total.Currency}))
	}
	return w
}

// changes lists every field that the refund will change, as from and to.
func (in refundOrderIn) changes(d *shop.Desk, o shop.Order) ([]tools.Change, error) {
	after := shop.Money{AmountMinor: o.Refunded.AmountMinor + in.Amount.AmountMinor, Currency: o.Total.Currency}
	changes := append([]tools.Change{changeOf(o, "refunded", o.Refunded, after)}, statusOf(o, o.AfterRefund(after))...)
	back := map[string]int64{}
	for _, b := range in.Lines {
		l, _ := lineOf(o, b.Line)
		changes = append(changes, piecesOf(o, l, "refunded", l.QtyRefunded, b.Qty))
		if b.Restock {
			back[l.SKU] += b.Qty
		}
	}
	stock, err := stockChanges(d, back)
	return append(changes, stock...), err
}

// refund reads the order again and gives back on the condition that it is still the same: between the preview and here
// another refund may have been first.
func refund(c *tools.Call, in refundOrderIn) (refundOrderOut, error) {
	d, o, err := orderAt(c, in.OrderNo, in.ExpectedVersion)
	if err != nil {
		return refundOrderOut{}, err
	}
	returns := make([]shop.Return, len(in.Lines))
	for i, b := range in.Lines {
		returns[i] = shop.Return(b)
	}
	if err := beginNotice(d, o, in.NotifyCustomer); err != nil {
		return refundOrderOut{}, err
	}
	made, err := d.Refund(o, shop.Refund{
		Amount: shop.Money(in.Amount), Cause: in.Cause, Reason: in.Reason, Actor: c.Principal.Name,
	}, returns)
	if err == nil && in.NotifyCustomer {
		err = notify(d, o.CustomerNo, shop.RefundNotice(o, made.Amount))
	}
	if err != nil {
		return refundOrderOut{}, ifChanged(d, o.No, err)
	}
	left := o.Refundable()
	left.AmountMinor -= made.Amount.AmountMinor
	return refundOrderOut{Amount: made.Amount, RefundNo: made.No, StillRefundable: left}, nil
}
