package shop

import (
	"fmt"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// Erased stands where a customer's words or address stood in a row that must stay.
const Erased = "[erased]"

// A trace is where a table holds personal values of customer $2 of merchant $1: the rows, and what becomes of them.
// Without set they are deleted.
type trace struct{ table, set, where string }

// personal are all traces of a customer in the shop. What is left is a number, a country and sums, without which the books would not add up.
//
// Refunds keep their cause; the words beside it may be about a person. An event of a parcel ends in its tracking number,
// with which a carrier tells the address; the other events are sentences of our own, with sums and numbers. All messages of a customer's tickets go: what
// staff answer quotes and names whom they answer. So do notices, which are to one customer each; one that the carrier has
// not taken is not sent any more.
var personal = []trace{
	{"orders", "customer_note = '" + Erased + "'", "customer_no = $2 AND customer_note <> ''"},
	{"customers", "", "customer_no = $2"}, // by eraseCustomer
	{"customer_tags", "", "customer_no = $2"},
	{"refunds", "reason = '" + Erased + "'", "reason <> '' AND order_no IN " + theirOrders},
	{"order_notes", "text = '" + Erased + "', tags = '[]'", "order_no IN " + theirOrders},
	{"order_events", "what = 'shipped " + Erased + "'", "what LIKE 'shipped %, tracking number %' AND order_no IN " + theirOrders},
	{"shipments", "reason = '" + Erased + "', tracking_no = ''", "order_no IN " + theirOrders},
	{"ticket_messages", "body = '" + Erased + "'", "ticket_id IN " + theirTickets},
	{"ticket_drafts", "body = '" + Erased + "', advice = ''", "ticket_id IN " + theirTickets},
	{"search_words", "", "kind = 'ticket' AND id IN " + theirTickets},
	{
		"mailings", "subject = '', body = '" + Erased + "'",
		"kind <> '" + KindCampaign + "' AND mailing_id IN (SELECT mailing_id FROM deliveries WHERE merchant_id = $1 AND customer_no = $2)",
	},
	{"deliveries", "", "customer_no = $2 AND carried_at IS NULL"},
	{"deliveries", "address = '" + Erased + "'", "customer_no = $2 AND carried_at IS NOT NULL"},
	{"dossiers", "", "customer_no = $2"},
}

// A Trace is how many rows of a table hold personal values.
type Trace struct {
	Table string
	Rows  int64
}

// Traces counts the rows that Erase would change or delete, by table.
func (d *Desk) Traces(customer string) ([]Trace, error) {
	var all []Trace
	for _, t := range personal {
		var n int64
		err := d.tx.QueryRow("SELECT COUNT(*) FROM "+t.table+" WHERE merchant_id = $1 AND "+t.where, d.merchant, customer).Scan(&n)
		if err != nil {
			return nil, fmt.Errorf("counting in %s: %w", t.table, err)
		}
		all = addTrace(all, t.table, n)
	}
	return all, nil
}

// addTrace adds rows of a table, which may have two traces.
func addTrace(all []Trace, table string, rows int64) []Trace {
	if last := len(all) - 1; last >= 0 && all[last].Table == table {
		all[last].Rows += rows
		return all
	}
	return append(all, Trace{table, rows})
}

// Erase removes a customer's personal values from the shop and from the record, unless the customer has changed since c
// was read: then it answers ErrChanged. It gives how many rows it changed or deleted. Entries of the record stay, and
// what proves them; what they hold of arguments and reasons about the customer, the orders and the tickets goes.
func (d *Desk) Erase(c Customer) (rows int64, err error) {
	about, err := d.Subjects(c.No)
	if err != nil {
		return 0, err
	}
	if err := d.holdTraces(c.No); err != nil {
		return 0, err
	}
	for _, t := range personal {
		n, err := d.eraseTrace(t, c)
		if err != nil {
			return 0, fmt.Errorf("erasing in %s: %w", t.table, err)
		}
		rows += n
	}
	n, err := audit.EraseAbout(d.tx, d.merchant, about)
	return rows + n, err
}

// holdTraces keeps others from the rows that everything of a customer hangs on: what they were about to add is there
// before the erasure or comes after it.
func (d *Desk) holdTraces(customer string) error {
	for _, table := range []string{"orders", "customers", "tickets", "deliveries", "dossiers"} {
		if err := lock(d.tx, d.merchant, table, "customer_no = ?", customer); err != nil {
			return err
		}
	}
	return nil
}

func (d *Desk) eraseTrace(t trace, c Customer) (int64, error) {
	switch {
	case t.table == "customers":
		return 1, d.eraseCustomer(c)
	case t.set == "":
		return d.tx.Exec("DELETE FROM "+t.table+" WHERE merchant_id = $1 AND "+t.where, d.merchant, c.No)
	}
	return d.tx.Exec("UPDATE "+t.table+" SET "+t.set+" WHERE merchant_id = $1 AND "+t.where, d.merchant, c.No)
}

// eraseCustomer is the compare-and-set that all else of an erasure hangs on.
func (d *Desk) eraseCustomer(c Customer) error {
	return changed(d.tx.Exec(`UPDATE customers SET email = '', phone = '', note = '', tags = '[]', email_consent_at = NULL,
		sms_consent_at = NULL, erased_at = $1, version = version + 1
		WHERE merchant_id = $2 AND customer_no = $3 AND version = $4 AND erased_at IS NULL`,
		store.Micros(d.tx.Now), d.merchant, c.No, c.Version))
}

// Subjects are the objects, as the record names them, whose calls are about a customer: the customer, the orders, as they
// may be written, and the tickets.
func (d *Desk) Subjects(customer string) ([]string, error) {
	numbers := func(q string) ([]string, error) {
		return store.All(d.tx, func(r store.Row) (no string, err error) { return no, r.Scan(&no) }, q, d.merchant, customer)
	}
	orders, err := numbers("SELECT order_no FROM orders WHERE merchant_id = $1 AND customer_no = $2")
	if err != nil {
		return nil, fmt.Errorf("finding the customer's orders: %w", err)
	}
	tickets, err := numbers("SELECT ticket_id FROM tickets WHERE merchant_id = $1 AND customer_no = $2")
	if err != nil {
		return nil, fmt.Errorf("finding the customer's tickets: %w", err)
	}
	about := []string{"customer:" + customer}
	for _, no := range orders {
		about = append(about, "order:"+no, "order:#"+no)
	}
	for _, id := range tickets {
		about = append(about, "ticket:"+id)
	}
	return about, nil
}
