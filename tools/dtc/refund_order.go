package dtc

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A refundOrderIn always states the amount. Left to the server, the largest refund would be the easiest to ask for.
type refundOrderIn struct {
	OrderNo         string       `json:"order_no" jsonschema:"minLength=1,maxLength=20"`
	ExpectedVersion int64        `json:"expected_version" jsonschema:"minimum=1,description=version as dtc_get_order gave it"`
	Amount          Amount       `json:"amount" jsonschema:"description=What is given back; at most refundable"`
	Lines           []refundLine `json:"lines,omitempty" jsonschema:"maxItems=200,description=The pieces it is for; none for goodwill or postage"`
	Cause           string       `json:"cause" jsonschema:"enum=damaged,enum=not_received,enum=wrong_item,enum=changed_mind,enum=goodwill,enum=duplicate,enum=fraud"`
	NotifyCustomer  bool         `json:"notify_customer" jsonschema:"description=Sends the customer an e-mail about it"`
	Asked
}

type refundLine struct {
	Line    int64 `json:"line" jsonschema:"minimum=1,description=line as dtc_get_order gave it"`
	Qty     int64 `json:"qty" jsonschema:"minimum=1,maximum=1000000"`
	Restock bool  `json:"restock,omitempty" jsonschema:"description=Puts the pieces back on the shelf"`
}

type refundOrderOut struct {
	Amount          shop.Money `json:"amount"`
	RefundNo        string     `json:"refund_no"`
	StillRefundable shop.Money `json:"still_refundable"`
}

var refundOrder = tools.Define(tools.Spec{
	Name: "dtc_refund_order", Path: "orders.refund", Title: "Refund an order",
	Description: "Gives a customer money back for an order, all or a part; it cannot be fetched back. Read the order with dtc_get_order first: it tells " +
		"version and refundable. amount is always stated, in minor units (1230 GBP is £12.30); naming lines does not set it. lines say which " +
		"pieces came back, and with restock they return to stock. A refund for no particular piece names no lines.",
	Scope: "orders:refund", Risk: tools.Risk{Undo: 3, Blast: 1, Money: 2, Touch: 1, Reach: 1}, Class: tools.ClassSpend,
	Resource: "order:/order_no",
	Undo:     "None: money given back cannot be fetched. Staff can invoice again",
	Routes:   []tools.Route{{Method: "POST", Path: "/orders/{order_no}/refund"}},
}, tools.Func[refundOrderIn, refundOrderOut]{Preview: previewRefund, Write: refund})

// old is the age from which a refund is unusual.
const old = 90 * 24 * time.Hour

// previewRefund shows money, pieces, stock and the text to the customer as they will be. It counts a customer as reached
// only when one is written to.
func previewRefund(c *tools.Call, in refundOrderIn) (tools.Preview, error) {
	d, o, err := in.order(c)
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
		if _, err := mailTo(d, o.CustomerNo); err != nil {
			return tools.Preview{}, err
		}
		notice := shop.RefundNotice(o, amount)
		p.Customers, p.Content = 1, "Subject: "+notice.Subject+"\n\n"+notice.Body
		p.Summary += " and tell the customer by e-mail"
	}
	p.Changes, err = in.changes(d, o)
	return p, err
}

// order reads the order and holds it to the version that the caller saw.
func (in refundOrderIn) order(c *tools.Call) (*shop.Desk, shop.Order, error) {
	d, err := desk(c)
	if err != nil {
		return nil, shop.Order{}, err
	}
	o, err := d.Order(in.OrderNo)
	if err == nil && o.Version != in.ExpectedVersion {
		err = staleOrder(o)
	}
	return d, o, err
}

// staleOrder refuses with the order as it is now, so that the caller can decide again without another read.
func staleOrder(o shop.Order) error {
	return tools.Stale("The order has changed since it was looked at.", map[string]any{
		"expected_version": o.Version, "status": o.Status, "refundable": o.Refundable(),
	})
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
		}
		seen[b.Line] = true
	}
	return nil
}

func lineOf(o shop.Order, line int64) (shop.Line, bool) {
	i := slices.IndexFunc(o.Lines, func(l shop.Line) bool { return l.Line == line })
	if i < 0 {
		return shop.Line{}, false
	}
	return o.Lines[i], true
}

// warnings are what makes a person look twice: money given back before, an old order, more than the pieces are worth.
func (in refundOrderIn) warnings(c *tools.Call, o shop.Order) []string {
	var w []string
	if o.Refunded.AmountMinor > 0 {
		w = append(w, fmt.Sprintf("%s of this order has been given back before.", o.Refunded))
	}
	if age := c.Now.Sub(o.PlacedAt); age > old {
		w = append(w, fmt.Sprintf("The order is %d days old.", int(age.Hours()/24)))
	}
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
	changes := []tools.Change{{Field: "refunded", From: o.Refunded.String(), To: after.String()}}
	if status := o.AfterRefund(after); status != o.Status {
		changes = append(changes, tools.Change{Field: "status", From: string(o.Status), To: string(status)})
	}
	back := map[string]int64{}
	for _, b := range in.Lines {
		l, _ := lineOf(o, b.Line)
		changes = append(changes, tools.Change{
			Field: fmt.Sprintf("line %d (%s) pieces refunded", l.Line, l.SKU),
			From:  fmt.Sprint(l.QtyRefunded), To: fmt.Sprint(l.QtyRefunded + b.Qty),
		})
		if b.Restock {
			back[l.SKU] += b.Qty
		}
	}
	stock, err := stockChanges(d, back)
	return append(changes, stock...), err
}

func stockChanges(d *shop.Desk, back map[string]int64) ([]tools.Change, error) {
	skus := slices.Sorted(maps.Keys(back))
	variants, err := d.Variants(skus)
	if err != nil {
		return nil, err
	}
	changes := make([]tools.Change, len(skus))
	for i, sku := range skus {
		n := variants[sku].OnHand
		changes[i] = tools.Change{Field: sku + " on hand", From: fmt.Sprint(n), To: fmt.Sprint(n + back[sku])}
	}
	return changes, nil
}

// refund reads the order again and gives back on the condition that it is still the same: between the preview and here
// another refund may have been first.
func refund(c *tools.Call, in refundOrderIn) (refundOrderOut, error) {
	d, o, err := in.order(c)
	if err != nil {
		return refundOrderOut{}, err
	}
	returns := make([]shop.Return, len(in.Lines))
	for i, b := range in.Lines {
		returns[i] = shop.Return(b)
	}
	made, err := d.Refund(o, shop.Refund{
		Amount: shop.Money(in.Amount), Cause: in.Cause, Reason: in.Reason, Actor: c.Principal.Name,
	}, returns)
	if errors.Is(err, shop.ErrChanged) {
		err = in.nowStale(d)
	}
	if err == nil && in.NotifyCustomer {
		err = notify(d, o, made.Amount)
	}
	if err != nil {
		return refundOrderOut{}, err
	}
	left := o.Refundable()
	left.AmountMinor -= made.Amount.AmountMinor
	return refundOrderOut{Amount: made.Amount, RefundNo: made.No, StillRefundable: left}, nil
}

// mailTo gives the address for the notice, and refuses a notice that would reach nobody.
func mailTo(d *shop.Desk, customer string) (string, error) {
	address, err := d.AddressOf(customer)
	if err == nil && address == "" {
		err = tools.Wrong("notify_customer", "cannot be done: no e-mail address is known", "false", false)
	}
	return address, err
}

func notify(d *shop.Desk, o shop.Order, amount shop.Money) error {
	address, err := mailTo(d, o.CustomerNo)
	if err != nil {
		return err
	}
	return d.Notify(o.CustomerNo, address, shop.RefundNotice(o, amount))
}

// nowStale tells how the order is after somebody else was first.
func (in refundOrderIn) nowStale(d *shop.Desk) error {
	o, err := d.Order(in.OrderNo)
	if err != nil {
		return err
	}
	return staleOrder(o)
}
