package dtc

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// What the tools that change an order have in common.

// old is the age from which money back, or an end, is unusual for an order.
const old = 90 * 24 * time.Hour

// orderAt reads an order and holds it to the version that the caller saw.
func orderAt(c *tools.Call, no string, version int64) (*shop.Desk, shop.Order, error) {
	d, err := desk(c)
	if err != nil {
		return nil, shop.Order{}, err
	}
	o, err := d.Order(no)
	if err == nil && o.Version != version {
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

// ifChanged turns shop.ErrChanged into what the order is after somebody else was first.
func ifChanged(d *shop.Desk, no string, err error) error {
	if !errors.Is(err, shop.ErrChanged) {
		return err
	}
	o, err := d.OrderHead(no)
	if err != nil {
		return err
	}
	return staleOrder(o)
}

func lineOf(o shop.Order, line int64) (shop.Line, bool) {
	i := slices.IndexFunc(o.Lines, func(l shop.Line) bool { return l.Line == line })
	if i < 0 {
		return shop.Line{}, false
	}
	return o.Lines[i], true
}

// changeOf is the change of a field of an order, and piecesOf that of a count of a line's pieces.
func changeOf(o shop.Order, field string, from, to any) tools.Change {
	return tools.Change{Object: "order " + o.No, Field: field, From: fmt.Sprint(from), To: fmt.Sprint(to)}
}

func piecesOf(o shop.Order, l shop.Line, what string, from, more int64) tools.Change {
	return changeOf(o, fmt.Sprintf("line %d (%s) pieces %s", l.Line, l.SKU, what), from, from+more)
}

// statusOf is the change of an order's status, if it is one.
func statusOf(o shop.Order, to shop.OrderStatus) []tools.Change {
	if to == o.Status {
		return nil
	}
	return []tools.Change{changeOf(o, "status", o.Status, to)}
}

// stockChanges are those of stock by so many pieces, by SKU.
func stockChanges(d *shop.Desk, more map[string]int64) ([]tools.Change, error) {
	skus := slices.Sorted(maps.Keys(more))
	variants, err := d.Variants(skus)
	if err != nil {
		return nil, err
	}
	changes := make([]tools.Change, len(skus))
	for i, sku := range skus {
		n := variants[sku].OnHand
		changes[i] = tools.Change{Object: "SKU " + sku, Field: "on hand", From: fmt.Sprint(n), To: fmt.Sprint(n + more[sku])}
	}
	return changes, nil
}

// moneyWarnings are what makes a person look twice: money given back before, an old order.
func moneyWarnings(c *tools.Call, o shop.Order) []string {
	var w []string
	if o.Refunded.AmountMinor > 0 {
		w = append(w, fmt.Sprintf("%s of this order has been given back before.", o.Refunded))
	}
	if age := c.Now.Sub(o.PlacedAt); age > old {
		w = append(w, fmt.Sprintf("The order is %d days old.", int(age.Hours()/24)))
	}
	return w
}

// tellCustomer adds to a preview that a notice goes out. A customer counts as reached only when one is written to.
func tellCustomer(p *tools.Preview, d *shop.Desk, customer string, n shop.Notice) error {
	if _, err := mailTo(d, customer); err != nil {
		return err
	}
	if err := checkRested(d, customer); err != nil {
		return err
	}
	p.Customers, p.Content = 1, "Subject: "+n.Subject+"\n\n"+n.Body
	p.Summary += " and tell the customer by e-mail"
	return nil
}

// mailTo gives the address for a notice, and refuses a notice that would reach nobody.
func mailTo(d *shop.Desk, customer string) (string, error) {
	address, err := d.AddressOf(customer)
	if err == nil && address == "" {
		err = tools.Wrong("notify_customer", "cannot be done: no e-mail address is known", "false", false)
	}
	return address, err
}

// checkRested refuses a notice to a customer who was written to a short while ago, and says from when on there can be one.
func checkRested(d *shop.Desk, customer string) error {
	until, err := d.RestsUntil(customer)
	if err != nil || until.IsZero() {
		return err
	}
	return resting(d, until, "Call with notify_customer:false, or again from then on.")
}

// resting is the refusal to write to a customer before a time.
func resting(d *shop.Desk, until time.Time, next string) error {
	r := tools.Refuse(tools.LimitExceeded, next, "The customer was written to within the last %s, and may be written to again from %s on.",
		lasting(d.Rest), until.Format(time.RFC3339))
	r.RetryAfter = int64((until.Sub(d.Now()) + time.Second - 1) / time.Second)
	return r
}

// lasting is a time in words, such as 24 hours.
func lasting(d time.Duration) string {
	if d%time.Hour == 0 {
		return count(int64(d/time.Hour), "hour")
	}
	return count(int64(d/time.Minute), "minute")
}

// beginNotice notes that the customer of an order is written to, if so. Somebody else may have been first since the preview.
func beginNotice(d *shop.Desk, o shop.Order, notify bool) error {
	if !notify {
		return nil
	}
	err := d.BeginNotice(o)
	if errors.Is(err, shop.ErrResting) {
		return errors.Join(checkRested(d, o.CustomerNo), err)
	}
	return err
}

func notify(d *shop.Desk, customer string, n shop.Notice) error {
	address, err := mailTo(d, customer)
	if err != nil {
		return err
	}
	return d.Notify(customer, address, n)
}
