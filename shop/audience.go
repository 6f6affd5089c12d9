package shop

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// Rest is how long a customer is left alone after a campaign message: campaigns pass over whoever had one since.
const Rest = 24 * time.Hour

// A Reach is whom a campaign would reach now, and who of its segment is left out.
type Reach struct {
	Recipients  int64
	NoConsent   int64 // did not agree to the channel
	JustReached int64 // agreed, but had a message within Rest
}

// consents says when a customer may be written to, by channel. Addresses are checked too: consent without one is none.
var consents = map[string]string{
	"email": "(c.email_consent_at IS NOT NULL AND c.email <> '')",
	"sms":   "(c.sms_consent_at IS NOT NULL AND c.phone <> '')",
}

// addresses are the columns that a channel writes to.
var addresses = map[string]string{"email": "email", "sms": "phone"}

// rested holds for customers whom no campaign has reached since the parameter.
const rested = "(c.last_contacted_at IS NULL OR c.last_contacted_at <= ?)"

// Reach counts whom a campaign would reach now.
func (d *Desk) Reach(c Campaign) (Reach, error) {
	var r Reach
	rule, err := d.rule(c.SegmentID)
	if err != nil {
		return r, err
	}
	consent := consents[c.Channel]
	q := sqlText(`SELECT CAST(COALESCE(SUM(CASE WHEN `+consent+` AND `+rested+` THEN 1 ELSE 0 END), 0) AS BIGINT),
		CAST(COALESCE(SUM(CASE WHEN `+consent+` THEN 0 ELSE 1 END), 0) AS BIGINT), COUNT(*)
		FROM customers c WHERE c.merchant_id = ?`, d.restedSince(), d.merchant)
	if err := d.belongs(q, rule); err != nil {
		return r, err
	}
	var all int64
	if err := d.tx.QueryRow(q.sql(), q.args...).Scan(&r.Recipients, &r.NoConsent, &all); err != nil {
		return r, fmt.Errorf("counting the recipients: %w", err)
	}
	r.JustReached = all - r.Recipients - r.NoConsent
	return r, nil
}

// restedSince is the latest contact that does not keep a customer out.
func (d *Desk) restedSince() any { return store.Micros(d.tx.Now.Add(-Rest)) }

// Segment gives a segment.
func (d *Desk) Segment(id string) (Segment, error) {
	s, err := store.One(d.tx, func(r store.Row) (Segment, error) {
		var s Segment
		var rule string
		err := r.Scan(&s.ID, &s.Name, &rule, store.At(&s.CreatedAt), &s.CreatedBy)
		if err == nil {
			err = json.Unmarshal([]byte(rule), &s.Rule)
		}
		return s, err
	}, "SELECT segment_id, name, rule, created_at, created_by FROM segments WHERE merchant_id = $1 AND segment_id = $2", d.merchant, id)
	if err != nil {
		return s, fmt.Errorf("finding the segment: %w", err)
	}
	return s, nil
}

// rule gives the rule of a segment, or the rule that picks everybody where there is none.
func (d *Desk) rule(segment string) (Rule, error) {
	if segment == "" {
		return Rule{}, nil
	}
	s, err := d.Segment(segment)
	return s.Rule, err
}

var errCurrency = errors.New("the rule is in another currency than the shop")

const ordersOf = " FROM orders o WHERE o.merchant_id = c.merchant_id AND o.customer_no = c.customer_no AND o.status <> 'cancelled'"

// belongs adds a rule to a query over customers c. Cancelled orders do not count.
func (d *Desk) belongs(q *query, r Rule) error {
	if r.Country != "" {
		q.add(" AND LOWER(c.country) = LOWER(CAST(? AS TEXT))", r.Country)
	}
	d.bought(q, r)
	if r.MinOrders > 0 {
		q.add(" AND (SELECT COUNT(*)"+ordersOf+") >= ?", r.MinOrders)
	}
	if r.MinSpent != nil {
		if r.MinSpent.Currency != d.Currency {
			return errCurrency
		}
		q.add(" AND (SELECT COALESCE(SUM(o.total_minor - o.refunded_minor), 0)"+ordersOf+") >= ?", r.MinSpent.AmountMinor)
	}
	if err := lastOrder(q, r); err != nil {
		return err
	}
	tagged(q, r)
	return nil
}

// bought adds the conditions on what a customer has bought. The buyers are found once, from the SKUs: asked for each
// customer alone, SQLite reads all lines of these SKUs for every one.
func (d *Desk) bought(q *query, r Rule) {
	const buyers = ` AND c.customer_no IN (SELECT o.customer_no FROM orders o WHERE o.merchant_id = ? AND o.status <> 'cancelled'
		AND o.order_no IN (SELECT l.order_no FROM order_lines l WHERE l.merchant_id = ? AND l.sku IN (`
	if len(r.BoughtAnySKU) > 0 {
		q.add(buyers, d.merchant, d.merchant).add(marks(len(r.BoughtAnySKU))+")))", values(r.BoughtAnySKU)...)
	}
	if r.BoughtCategory != "" {
		q.add(buyers, d.merchant, d.merchant).add(`SELECT v.sku FROM variants v
			JOIN products p ON p.merchant_id = v.merchant_id AND p.product_code = v.product_code
			WHERE v.merchant_id = ? AND LOWER(p.category) = LOWER(CAST(? AS TEXT)))))`, d.merchant, r.BoughtCategory)
	}
}

// lastOrder adds the conditions on when a customer bought last: after counts its day, before does not.
func lastOrder(q *query, r Rule) error {
	if r.LastOrderAfter != "" {
		from, err := Midnight(r.LastOrderAfter)
		if err != nil {
			return err
		}
		q.add(" AND EXISTS (SELECT 1"+ordersOf+" AND o.placed_at >= ?)", store.Micros(from))
	}
	if r.LastOrderBefore != "" {
		end, err := Midnight(r.LastOrderBefore)
		if err != nil {
			return err
		}
		q.add(" AND EXISTS (SELECT 1"+ordersOf+") AND NOT EXISTS (SELECT 1"+ordersOf+" AND o.placed_at >= ?)", store.Micros(end))
	}
	return nil
}

// tagged adds the conditions on tags. They are looked for as they stand in the stored JSON, quotes and all.
func tagged(q *query, r Rule) {
	if len(r.TagsAny) > 0 {
		q.add(" AND (")
		for i, tag := range r.TagsAny {
			if i > 0 {
				q.add(" OR ")
			}
			q.add(like("c.tags"), contains(jsonText(tag)))
		}
		q.add(")")
	}
	for _, tag := range r.TagsNone {
		q.add(" AND NOT "+like("c.tags"), contains(jsonText(tag)))
	}
}
