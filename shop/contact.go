package shop

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// Rest is how long a customer who was written to is left alone, where nobody says otherwise.
const Rest = 24 * time.Hour

// ErrResting says that a customer was written to a short while ago, and is left alone for now.
var ErrResting = errors.New("the customer was written to a short while ago")

// rested holds for customers whom nobody has written to since the parameter.
const rested = "(c.last_contacted_at IS NULL OR c.last_contacted_at <= ?)"

// restedSince is the latest contact that does not keep a customer out.
func (d *Desk) restedSince() time.Time { return d.tx.Now.Add(-d.Rest) }

// RestsUntil gives the time from which on a customer may be written to again; none when that is now.
func (d *Desk) RestsUntil(customer string) (time.Time, error) {
	return d.restsUntil(customer, d.restedSince())
}

// RestsUntilFor is RestsUntil for a reply to a ticket. Who has written to us since is answered at any time.
func (d *Desk) RestsUntilFor(t Ticket) (time.Time, error) {
	since, err := d.answerable(t)
	if err != nil {
		return time.Time{}, err
	}
	return d.restsUntil(t.CustomerNo, since)
}

func (d *Desk) restsUntil(customer string, since time.Time) (until time.Time, err error) {
	var last time.Time
	err = d.tx.QueryRow("SELECT last_contacted_at FROM customers WHERE merchant_id = $1 AND customer_no = $2", d.merchant, customer).Scan(store.At(&last))
	if err != nil {
		return until, fmt.Errorf("reading when the customer was written to: %w", err)
	}
	if last.After(since) {
		until = last.Add(d.Rest)
	}
	return until, nil
}

// answerable is the latest contact after which a ticket may be replied to: the end of the rest, or what the customer wrote last.
func (d *Desk) answerable(t Ticket) (time.Time, error) {
	var wrote time.Time
	err := d.tx.QueryRow("SELECT MAX(at) FROM ticket_messages WHERE merchant_id = $1 AND ticket_id = $2 AND author = 'customer'",
		d.merchant, t.ID).Scan(store.At(&wrote))
	if err != nil {
		return wrote, fmt.Errorf("reading when the customer wrote: %w", err)
	}
	if since := d.restedSince(); since.After(wrote) {
		return since, nil
	}
	return wrote, nil
}

// BeginNotice notes that an order's customer is written to now, who rests from here on; ErrResting when the customer does so already. It comes
// before the change that the notice tells of, because the order of locks has customers before what such a change takes.
func (d *Desk) BeginNotice(o Order) error {
	if err := lock(d.tx, d.merchant, "orders", "order_no = ?", o.No); err != nil {
		return err
	}
	return d.contact(o.CustomerNo, d.restedSince())
}

// contact is the compare-and-set by which of two who would write to a customer at once one does.
func (d *Desk) contact(customer string, since time.Time) error {
	n, err := d.tx.Exec(`UPDATE customers SET last_contacted_at = $1
		WHERE merchant_id = $2 AND customer_no = $3 AND (last_contacted_at IS NULL OR last_contacted_at <= $4)`,
		store.Micros(d.tx.Now), d.merchant, customer, store.Micros(since))
	switch {
	case err != nil:
		return fmt.Errorf("noting that the customer is written to: %w", err)
	case n == 0:
		return ErrResting
	}
	return nil
}
