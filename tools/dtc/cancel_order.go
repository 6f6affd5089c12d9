package dtc

import (
	"fmt"
	"strconv"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A cancelOrderIn states what will be given back, as the caller saw it: all that can be.
type cancelOrderIn struct {
	OrderNo         string `json:"order_no" jsonschema:"maxLength=20"`
	ExpectedVersion int64  `json:"expected_version"`
	ExpectedRefund  Amount `json:"expected_refund"`
	Restock         bool   `json:"restock" jsonschema:"description=No effect: nothing has left stock"`
	NotifyCustomer  bool   `json:"notify_customer"`
	Asked
}

type cancelOrderOut struct {
	Amount          shop.Money `json:"amount"`
	RefundNo        string     `json:"refund_no,omitempty"` // none when there was nothing to give back
	StillRefundable shop.Money `json:"still_refundable"`
}

var cancelOrder = tools.Define(tools.Spec{
	Name: "dtc_cancel_order", Path: "orders.cancel", Title: "Cancel an order",
	Description: "Cancels an order of which nothing was shipped and gives back all that is refundable, for good. State version and " +
		"refundable from dtc_get_order. Once a piece was shipped use dtc_refund_order.",
	Scope: "orders:refund", Risk: tools.Risk{Undo: 3, Blast: 1, Money: 2, Touch: 1, Reach: 1}, Class: tools.ClassDestructive,
	Resource: "order:/order_no",
	Undo:     "None. The customer must order again",
	Example: `{"order_no":"71996","expected_version":1,"expected_refund":{"amount_minor":25720,"currency":"GBP"},"restock":false,"notify_customer":false,` +
		`"idempotency_key":"cancel-71996","reason":"The customer rang and does not want it any more."}`,
	Routes: []tools.Route{{Method: "POST", Path: "/orders/{order_no}/cancel"}},
}, tools.Func[cancelOrderIn, cancelOrderOut]{
	Preview: previewCancelOrder, Write: endOrder, Rate: rateCancel,
	Facts: func(c *tools.Call, in cancelOrderIn) ([]tools.Fact, error) { return orderFacts(c, in.OrderNo) },
	Ratings: []tools.Rating{
		{Risk: tools.Risk{Undo: 3, Blast: 1, Money: 2, Reach: 1}, Class: tools.ClassDestructive},
		{Risk: tools.Risk{Undo: 3, Blast: 1, Touch: 1, Reach: 1}, Class: tools.ClassDestructive},
		{Risk: tools.Risk{Undo: 3, Blast: 1, Reach: 1}, Class: tools.ClassDestructive},
	},
})

// rateCancel writes to nobody without a mail, and moves no money where none is left to give back.
func rateCancel(in cancelOrderIn, p tools.Preview, r tools.Risk) tools.Risk {
	if !in.NotifyCustomer {
		r.Touch = 0
	}
	if p.Money == nil {
		r.Money = 0
	}
	return r
}

func previewCancelOrder(c *tools.Call, in cancelOrderIn) (tools.Preview, error) {
	d, o, err := in.order(c)
	if err != nil {
		return tools.Preview{}, err
	}
	left := o.Refundable()
	p := tools.Preview{
		Summary:      fmt.Sprintf("Cancel order %s of customer %s and give back %s of the %s paid", o.No, o.CustomerNo, left, o.Total),
		Changes:      cancelChanges(o),
		Warnings:     moneyWarnings(c, o),
		Irreversible: "A cancelled order stays cancelled, and money given back cannot be fetched.",
		Version:      strconv.FormatInt(o.Version, 10),
	}
	if left.AmountMinor > 0 {
		p.Money = &left
	}
	if in.Restock {
		p.Warnings = append(p.Warnings, "Nothing is restocked: no piece of the order has left the stock.")
	}
	if in.NotifyCustomer {
		err = tellCustomer(&p, d, o.CustomerNo, shop.CancelNotice(o))
	}
	return p, err
}

// order reads the order and refuses one that cannot be cancelled, or not for what the caller expects.
func (in cancelOrderIn) order(c *tools.Call) (*shop.Desk, shop.Order, error) {
	d, o, err := orderAt(c, in.OrderNo, in.ExpectedVersion)
	if err == nil {
		err = checkUnshipped(o)
	}
	if err == nil {
		err = in.checkRefund(d, o)
	}
	return d, o, err
}

func checkUnshipped(o shop.Order) error {
	switch {
	case o.Status == shop.OrderCancelled:
		return tools.Refuse(tools.Conflict, "Leave it as it is. What is still refundable of it dtc_refund_order gives back.", "The order has been cancelled already.")
	case o.Status == shop.OrderFulfilled || o.Shipped() > 0:
		return tools.Refuse(tools.Conflict, "Give money back with dtc_refund_order, and name the pieces that come back.",
			"The order cannot be cancelled: %s of it shipped.", wereOf(o.Shipped()))
	}
	return nil
}

func wereOf(pieces int64) string {
	if pieces == 1 {
		return "1 piece was"
	}
	return count(pieces, "piece") + " were"
}

func (in cancelOrderIn) checkRefund(d *shop.Desk, o shop.Order) error {
	expected, err := in.ExpectedRefund.inCurrency("expected_refund", d)
	if err == nil && expected != o.Refundable() {
		err = tools.Stale("Another amount would be given back.", map[string]any{
			"expected_refund": o.Refundable(), "expected_version": o.Version, "status": o.Status,
		})
	}
	return err
}

// cancelChanges lists every field that the cancellation will change.
func cancelChanges(o shop.Order) []tools.Change {
	changes := statusOf(o, shop.OrderCancelled)
	if o.Refundable().AmountMinor > 0 {
		changes = append(changes, changeOf(o, "refunded", o.Refunded, o.Total))
	}
	for _, l := range o.Lines {
		if left := l.Qty - l.QtyRefunded; left > 0 {
			changes = append(changes, piecesOf(o, l, "refunded", l.QtyRefunded, left))
		}
	}
	return changes
}

// endOrder gives back through the code of every refund, so that the sales agree. Its cause is not asked for: the reason
// says it.
func endOrder(c *tools.Call, in cancelOrderIn) (cancelOrderOut, error) {
	d, o, err := in.order(c)
	if err != nil {
		return cancelOrderOut{}, err
	}
	if err := beginNotice(d, o, in.NotifyCustomer); err != nil {
		return cancelOrderOut{}, err
	}
	made, err := d.Cancel(o, shop.Refund{Cause: "unknown", Reason: in.Reason, Actor: c.Principal.Name})
	if err == nil && in.NotifyCustomer {
		err = notify(d, o.CustomerNo, shop.CancelNotice(o))
	}
	if err != nil {
		return cancelOrderOut{}, ifChanged(d, o.No, err)
	}
	return cancelOrderOut{Amount: made.Amount, RefundNo: made.No, StillRefundable: shop.Money{Currency: d.Currency}}, nil
}
