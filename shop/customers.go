package shop

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// A CustomerSort is the order of a list of customers.
type CustomerSort string

// The orders of a list of customers, each from the top down. NewestCustomers is the default.
const (
	NewestCustomers CustomerSort = "newest" // by the first order
	MostSpent       CustomerSort = "most_spent"
	MostOrders      CustomerSort = "most_orders"
	LastOrder       CustomerSort = "last_order"
)

// customerRanks are the columns that customers are sorted by; each has an index that begins with the merchant.
var customerRanks = map[CustomerSort]string{
	NewestCustomers: "first_order_at", MostSpent: "spent_minor", MostOrders: "orders", LastOrder: "last_order_at",
}

// A CustomerFilter selects customers; what is empty does not count.
type CustomerFilter struct {
	Query string // how the number begins
	Where Rule
	Sort  CustomerSort
}

const customerColumns = `c.customer_no, c.country, c.orders, c.spent_minor, c.last_order_at, c.first_order_at, c.tags, c.version,
	c.email, c.phone, c.email_consent_at, c.sms_consent_at, c.contact_synthetic, c.note, c.last_contacted_at, c.erased_at`

// scanCustomer reads customerColumns, and more columns after them.
func (d *Desk) scanCustomer(r store.Row, more ...any) (Customer, error) {
	c := Customer{Spent: d.money(0)}
	var last, first, synthetic int64
	var tags string
	err := r.Scan(append([]any{
		&c.No, &c.Country, &c.Orders, &c.Spent.AmountMinor, &last, &first, &tags, &c.Version, &c.Email, &c.Phone,
		store.At(&c.EmailConsentAt), store.At(&c.SMSConsentAt), &synthetic, &c.Note, store.At(&c.LastContactedAt), store.At(&c.ErasedAt),
	}, more...)...)
	if err != nil {
		return c, err
	}
	c.LastOrderAt, c.FirstOrderAt, c.ContactSynthetic = fromZero(last), fromZero(first), synthetic == 1
	if last != 0 {
		c.LastOrder = Day(c.LastOrderAt)
	}
	return c, json.Unmarshal([]byte(tags), &c.Tags)
}

// Customer gives a customer, also one whose personal values were erased.
func (d *Desk) Customer(no string) (Customer, error) {
	c, err := store.One(d.tx, func(r store.Row) (Customer, error) { return d.scanCustomer(r) },
		"SELECT "+customerColumns+" FROM customers c WHERE c.merchant_id = $1 AND c.customer_no = $2", d.merchant, no)
	if err != nil {
		return c, fmt.Errorf("finding the customer: %w", err)
	}
	return c, nil
}

// Customers gives a page of the customers that match f. Those whose personal values were erased are in no list.
func (d *Desk) Customers(f CustomerFilter, cut Cut) (Page[Customer], error) {
	rank := customerRanks[f.Sort]
	if rank == "" {
		rank = customerRanks[NewestCustomers]
	}
	q := sqlText("SELECT "+customerColumns+", c."+rank+" AS rank FROM customers c WHERE c.merchant_id = ?", d.merchant)
	q.foundBy(customerWords, "c.customer_no", f.Query, d.merchant)
	if err := d.belongs(q, f.Where); err != nil {
		return Page[Customer]{}, err
	}
	l := listing{rows: q, by: []string{"rank", "customer_no"}, desc: true, once: f.Where.asksWhatWasBought()}
	page, err := readPage(d.tx, l, cut,
		func(r store.Row) (Customer, Place, error) {
			var p Place
			c, err := d.scanCustomer(r, &p.Rank)
			p.ID = c.No
			return c, p, err
		})
	if err != nil {
		return page, fmt.Errorf("listing customers: %w", err)
	}
	return page, nil
}

const ordersOf = " FROM orders o WHERE o.merchant_id = $1 AND o.customer_no = $2"

// recount adds up a customer's orders anew. Whatever changes what an order is worth, or whether it counts, calls it after
// the change and in the same transaction; a call that does so twice at once waits for the first one's row before it
// counts, so that neither misses the other's order.
func (d *Desk) recount(customer string) error {
	const counted = ordersOf + " AND o.status <> 'cancelled'"
	for _, q := range []string{
		"UPDATE customers SET orders = orders WHERE merchant_id = $1 AND customer_no = $2",
		"UPDATE customers SET orders = (SELECT COUNT(*)" + counted + "), " +
			"spent_minor = (SELECT CAST(COALESCE(SUM(o.total_minor - o.refunded_minor), 0) AS BIGINT)" + counted + "), " +
			"last_order_at = (SELECT COALESCE(MAX(o.placed_at), 0)" + counted + "), " +
			"first_order_at = (SELECT COALESCE(MIN(o.placed_at), 0)" + ordersOf + ") " +
			"WHERE merchant_id = $1 AND customer_no = $2",
	} {
		if _, err := d.tx.Exec(q, d.merchant, customer); err != nil {
			return fmt.Errorf("adding up the customer's orders: %w", err)
		}
	}
	return nil
}

// ChangeCustomer gives a customer other tags and ends consents, unless the customer has changed since c was read: then
// it answers ErrChanged. It gives the version after it. Consent is never given here.
func (d *Desk) ChangeCustomer(c Customer, tags, optOut []string) (int64, error) {
	q := sqlText("UPDATE customers SET version = version + 1, tags = ?", jsonText(tags))
	for _, channel := range optOut {
		q.add(", " + consentColumns[channel] + " = NULL")
	}
	q.add(" WHERE merchant_id = ? AND customer_no = ? AND version = ? AND erased_at IS NULL", d.merchant, c.No, c.Version)
	err := changed(d.tx.Exec(q.sql(), q.args...))
	if err == nil {
		err = d.retag(c, tags)
	}
	if err != nil {
		return 0, fmt.Errorf("changing the customer: %w", err)
	}
	return c.Version + 1, nil
}

// consentColumns are where consent stands, by channel.
var consentColumns = map[string]string{Email: "email_consent_at", SMS: "sms_consent_at"}

// retag makes customer_tags say what the customer's row says, which this transaction holds.
func (d *Desk) retag(c Customer, tags []string) error {
	for _, tag := range c.Tags {
		if slices.Contains(tags, tag) {
			continue
		}
		_, err := d.tx.Exec("DELETE FROM customer_tags WHERE merchant_id = $1 AND tag = $2 AND customer_no = $3",
			d.merchant, strings.ToLower(tag), c.No)
		if err != nil {
			return err
		}
	}
	for _, tag := range tags {
		_, err := d.tx.Exec("INSERT INTO customer_tags (merchant_id, tag, customer_no) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
			d.merchant, strings.ToLower(tag), c.No)
		if err != nil {
			return err
		}
	}
	return nil
}
