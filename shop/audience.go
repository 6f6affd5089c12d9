package shop

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// A Reach is whom a campaign would reach now, and who of its segment is left out.
type Reach struct {
	Recipients  int64
	NoConsent   int64 // did not agree to the channel
	JustReached int64 // agreed, but was written to within the rest
}

// consents says when a customer may be written to, by channel. Addresses are checked too: consent without one is none.
var consents = map[string]string{
	"email": "(c.email_consent_at IS NOT NULL AND c.email <> '')",
	"sms":   "(c.sms_consent_at IS NOT NULL AND c.phone <> '')",
}

// addresses are the columns that a channel writes to.
var addresses = map[string]string{"email": "email", "sms": "phone"}

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
		FROM customers c WHERE c.merchant_id = ?`, store.Micros(d.restedSince()), d.merchant)
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

// Segment gives a segment, also one that is put away.
func (d *Desk) Segment(id string) (Segment, error) {
	s, err := store.One(d.tx, func(r store.Row) (Segment, error) {
		var s Segment
		var rule string
		err := r.Scan(&s.ID, &s.Name, &rule, store.At(&s.CreatedAt), &s.CreatedBy, store.At(&s.ArchivedAt))
		if err == nil {
			err = json.Unmarshal([]byte(rule), &s.Rule)
		}
		return s, err
	}, `SELECT segment_id, name, rule, created_at, created_by, archived_at FROM segments
		WHERE merchant_id = $1 AND segment_id = $2`, d.merchant, id)
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

// Everybody reports whether the rule picks everybody: it has no condition.
func (r Rule) Everybody() bool {
	return len(r.BoughtAnySKU)+len(r.TagsAny)+len(r.TagsNone) == 0 && r.MinOrders == 0 && (r.MinSpent == nil || r.MinSpent.AmountMinor <= 0) &&
		r.BoughtCategory+r.Country+r.LastOrderAfter+r.LastOrderBefore == ""
}

var errCurrency = errors.New("the rule is in another currency than the shop")

// belongs adds a rule to a query over customers c. Cancelled orders do not count, and who was erased belongs nowhere.
func (d *Desk) belongs(q *query, r Rule) error {
	q.add(" AND c.erased_at IS NULL")
	if r.Country != "" {
		q.add(" AND LOWER(c.country) = LOWER(CAST(? AS TEXT))", r.Country)
	}
	d.bought(q, r)
	if r.MinOrders > 0 {
		q.add(" AND c.orders >= ?", r.MinOrders)
	}
	if r.MinSpent != nil {
		if r.MinSpent.Currency != d.Currency {
			return errCurrency
		}
		q.add(" AND c.spent_minor >= ?", r.MinSpent.AmountMinor)
	}
	if err := lastOrder(q, r); err != nil {
		return err
	}
	d.tagged(q, r)
	return nil
}

func (r Rule) asksWhatWasBought() bool { return len(r.BoughtAnySKU) > 0 || r.BoughtCategory != "" }

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
		q.add(" AND c.last_order_at > 0 AND c.last_order_at >= ?", from.UnixMicro())
	}
	if r.LastOrderBefore != "" {
		end, err := Midnight(r.LastOrderBefore)
		if err != nil {
			return err
		}
		q.add(" AND c.last_order_at > 0 AND c.last_order_at < ?", end.UnixMicro())
	}
	return nil
}

// tagged adds the conditions on tags, whatever the case of their letters.
func (d *Desk) tagged(q *query, r Rule) {
	for _, c := range []struct {
		in   string
		tags []string
	}{{"IN", r.TagsAny}, {"NOT IN", r.TagsNone}} {
		if len(c.tags) == 0 {
			continue
		}
		q.add(" AND c.customer_no "+c.in+" (SELECT t.customer_no FROM customer_tags t WHERE t.merchant_id = ? AND t.tag IN (", d.merchant)
		q.add(marks(len(c.tags))+"))", values(lower(c.tags))...)
	}
}

func lower(texts []string) []string {
	all := make([]string, len(texts))
	for i, t := range texts {
		all[i] = strings.ToLower(t)
	}
	return all
}

// An Audience is how many customers belong to a rule now, and how many of them may be written to.
type Audience struct{ Customers, EmailConsent, SMSConsent int64 }

// Audience counts who belongs to a rule.
func (d *Desk) Audience(r Rule) (Audience, error) {
	var a Audience
	q := sqlText(`SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN `+consents[Email]+` THEN 1 ELSE 0 END), 0) AS BIGINT),
		CAST(COALESCE(SUM(CASE WHEN `+consents[SMS]+` THEN 1 ELSE 0 END), 0) AS BIGINT)
		FROM customers c WHERE c.merchant_id = ?`, d.merchant)
	if err := d.belongs(q, r); err != nil {
		return a, err
	}
	if err := d.tx.QueryRow(q.sql(), q.args...).Scan(&a.Customers, &a.EmailConsent, &a.SMSConsent); err != nil {
		return a, fmt.Errorf("counting the segment: %w", err)
	}
	return a, nil
}
