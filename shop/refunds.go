package shop

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// A Return is a line of an order of which pieces are given back.
type Return struct {
	Line    int64
	Qty     int64
	Restock bool // the pieces go back on the shelf
}

// A Notice is a message to one customer about one thing.
type Notice struct {
	Kind    string
	Subject string
	Body    string
}

// Refund gives back r.Amount of an order, unless it has changed since o was read: then it answers ErrChanged. The
// money, the pieces, the order's story and the sales change together. It gives the refund with its number.
func (d *Desk) Refund(o Order, r Refund, returns []Return) (Refund, error) {
	r, err := d.giveBack(o, o.AfterRefund(Money{o.Refunded.AmountMinor + r.Amount.AmountMinor, d.Currency}), r, returns)
	if err != nil {
		return r, fmt.Errorf("refunding: %w", err)
	}
	return r, nil
}

// giveBack is what a refund and a cancellation have in common: money and pieces go back, and the order has the status to
// after that. Where there is no money to give back there is no refund, but the pieces are not sold any more.
func (d *Desk) giveBack(o Order, to OrderStatus, r Refund, returns []Return) (Refund, error) {
	r.OrderNo, r.At, r.Lines = o.No, d.tx.Now, worth(o, r.Amount, returns)
	if r.Amount.AmountMinor > 0 {
		r.No = store.NewID("rfd", d.tx.Now)
	}
	err := d.payBack(o, to, r)
	for _, step := range []func(Order, Refund, []Return) error{d.takeBack, d.takeOff, d.restock, d.keepRefund} {
		if err == nil {
			err = step(o, r, returns)
		}
	}
	if err == nil {
		err = AddRefund(d.tx, d.merchant, o, r)
	}
	return r, err
}

// worth says which money is for which line: each takes what its pieces were sold for until the amount is used up.
func worth(o Order, amount Money, returns []Return) []RefundLine {
	lines := make([]RefundLine, 0, len(returns))
	left := amount.AmountMinor
	for _, b := range returns {
		l := o.Lines[slices.IndexFunc(o.Lines, func(l Line) bool { return l.Line == b.Line })]
		part := min(left, b.Qty*l.UnitPrice.AmountMinor)
		left -= part
		lines = append(lines, RefundLine{Line: b.Line, SKU: l.SKU, Qty: b.Qty, Amount: Money{part, amount.Currency}})
	}
	return lines
}

// payBack is the compare-and-set that all else of a refund hangs on; it holds the order's row until the end.
func (d *Desk) payBack(o Order, to OrderStatus, r Refund) error {
	return changed(d.tx.Exec(`UPDATE orders SET refunded_minor = $1, status = $2, version = version + 1
		WHERE merchant_id = $3 AND order_no = $4 AND version = $5 AND status = $6 AND refunded_minor = $7 AND total_minor >= $1`,
		o.Refunded.AmountMinor+r.Amount.AmountMinor, string(to), d.merchant, o.No, o.Version, string(o.Status), o.Refunded.AmountMinor))
}

// AfterRefund is the status of the order when refunded is what has been given back of it in all.
func (o Order) AfterRefund(refunded Money) OrderStatus {
	if o.Status == OrderCancelled {
		return OrderCancelled
	}
	return RefundedStatus(refunded, o.Total)
}

// takeBack notes which pieces were given back, and which of them come back on the shelf: no more than were taken from it.
// The order's row is held, so that no other refund counts the same pieces.
func (d *Desk) takeBack(o Order, _ Refund, returns []Return) error {
	for _, b := range returns {
		var restocked int64
		if b.Restock {
			restocked = b.Qty
		}
		err := changed(d.tx.Exec(`UPDATE order_lines SET qty_refunded = qty_refunded + $1, qty_restocked = qty_restocked + $2
			WHERE merchant_id = $3 AND order_no = $4 AND line = $5 AND qty - qty_refunded >= $1 AND qty_shipped - qty_restocked >= $2`,
			b.Qty, restocked, d.merchant, o.No, b.Line))
		if err != nil {
			return err
		}
	}
	return nil
}

// takeOff lowers what the customer has spent.
func (d *Desk) takeOff(o Order, _ Refund, _ []Return) error { return d.recount(o.CustomerNo) }

// restock puts pieces back on the shelf.
func (d *Desk) restock(_ Order, r Refund, returns []Return) error {
	back := map[string]int64{}
	for i, b := range returns {
		if b.Restock {
			back[r.Lines[i].SKU] += b.Qty
		}
	}
	return d.putStock(back)
}

// keepRefund keeps the refund and tells the order's story.
func (d *Desk) keepRefund(o Order, r Refund, _ []Return) error {
	if r.No == "" {
		return nil
	}
	_, err := d.tx.Exec(`INSERT INTO refunds (merchant_id, refund_no, order_no, refunded_at, amount_minor, cause, reason, actor)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, d.merchant, r.No, r.OrderNo, store.Micros(r.At), r.Amount.AmountMinor, r.Cause, r.Reason, r.Actor)
	if err != nil {
		return err
	}
	for _, l := range r.Lines {
		_, err := d.tx.Exec("INSERT INTO refund_lines (merchant_id, refund_no, line, qty, amount_minor) VALUES ($1, $2, $3, $4, $5)",
			d.merchant, r.No, l.Line, l.Qty, l.Amount.AmountMinor)
		if err != nil {
			return err
		}
	}
	return d.tell(o.No, r.At, "refunded "+r.Amount.String()+" ("+r.No+")", r.Actor)
}

// Cancel ends an order of which nothing has been shipped and gives everything back that can be given back, postage too.
// It answers ErrChanged as Refund does. Stock stays as it is: what was not shipped lies on the shelf.
func (d *Desk) Cancel(o Order, r Refund) (Refund, error) {
	var returns []Return
	for _, l := range o.Lines {
		if left := l.Qty - l.QtyRefunded; left > 0 {
			returns = append(returns, Return{Line: l.Line, Qty: left})
		}
	}
	r.Amount = o.Refundable()
	r, err := d.giveBack(o, OrderCancelled, r, returns)
	if err == nil {
		err = d.tell(o.No, r.At, "cancelled", r.Actor)
	}
	if err != nil {
		return r, fmt.Errorf("cancelling: %w", err)
	}
	return r, nil
}

// CancelNotice is what a customer is told about a cancelled order.
func CancelNotice(o Order) Notice {
	body := []string{"Hello,", "your order " + o.No + " has been cancelled and will not be sent."}
	if amount := o.Refundable(); amount.AmountMinor > 0 {
		body = append(body, "We have refunded "+amount.String()+". It goes back the way you paid and takes up to five working days to arrive.")
	}
	return Notice{Kind: KindCancelNotice, Subject: "Your order " + o.No + " has been cancelled", Body: strings.Join(body, "\n\n")}
}

// RefundNotice is what a customer is told about a refund.
func RefundNotice(o Order, amount Money) Notice {
	return Notice{
		Kind:    KindRefundNotice,
		Subject: "Your refund for order " + o.No,
		Body: strings.Join([]string{
			"Hello,", "we have refunded " + amount.String() + " for your order " + o.No + ".",
			"It goes back the way you paid and takes up to five working days to arrive.",
		}, "\n\n"),
	}
}

// AddressOf gives the e-mail address of a customer, empty when none is known.
func (d *Desk) AddressOf(customer string) (string, error) {
	var email string
	err := d.tx.QueryRow("SELECT email FROM customers WHERE merchant_id = $1 AND customer_no = $2", d.merchant, customer).Scan(&email)
	if err != nil {
		return "", fmt.Errorf("finding the customer: %w", err)
	}
	return email, nil
}

// Notify hands a notice to the carrier, after BeginNotice. What is about a customer's own order needs no consent to marketing.
func (d *Desk) Notify(customer, address string, n Notice) error {
	id := store.NewID("ntc", d.tx.Now)
	if err := d.addMailing(id, n.Kind, Email, n.Subject, n.Body); err != nil {
		return err
	}
	if _, err := d.deliver(id, 1, []recipient{{customer, address}}); err != nil {
		return fmt.Errorf("storing the notice: %w", err)
	}
	return nil
}
