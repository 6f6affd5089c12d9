package shop

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// upTo is what a product p has sold to the end of a day: one look into an index. It gives the sums as one text because
// that is all a sub-query can give; joined instead, PostgreSQL reads the whole table.
const upTo = `COALESCE((SELECT s.day || ' ' || s.orders || ' ' || s.units || ' ' || s.gross_minor || ' ' || s.refunds_minor
	FROM product_sales s WHERE s.merchant_id = p.merchant_id AND s.product_code = p.product_code AND s.day <= ? ORDER BY s.day DESC LIMIT 1), '')`

// A toDate is an answer of upTo: the last day on which anything happened, and the sums to its end.
type toDate struct {
	day                            string
	orders, units, gross, refunded int64
}

func readToDate(text string) (s toDate, err error) {
	if text == "" {
		return s, nil
	}
	day, rest, _ := strings.Cut(text, " ")
	s.day = day
	for _, to := range []*int64{&s.orders, &s.units, &s.gross, &s.refunded} {
		var next string
		next, rest, _ = strings.Cut(rest, " ")
		if *to, err = strconv.ParseInt(next, 10, 64); err != nil {
			return s, err
		}
	}
	return s, nil
}

// since is what came after an earlier day.
func (s toDate) since(earlier toDate) toDate {
	return toDate{
		s.day, s.orders - earlier.orders, s.units - earlier.units, s.gross - earlier.gross, s.refunded - earlier.refunded,
	}
}

// A productRow is what a product sold in a period and in the one before it.
type productRow struct {
	code, title string
	now, then   toDate
}

// soldBetween gives all products by their codes: the order in which the index has them, so that SQLite goes through it.
func (d *Desk) soldBetween(now, before period) ([]productRow, error) {
	q := sqlText("SELECT p.product_code, p.title, "+upTo+", "+upTo, now.to, now.before)
	if before.days > 0 {
		q.add(", "+upTo, before.before)
	} else {
		q.add(", ''")
	}
	q.add(" FROM products p WHERE p.merchant_id = ? ORDER BY p.product_code", d.merchant)
	return store.All(d.tx, func(r store.Row) (p productRow, err error) {
		var text [3]string
		var ends [3]toDate
		if err = r.Scan(&p.code, &p.title, &text[0], &text[1], &text[2]); err != nil {
			return p, err
		}
		for i := range text {
			if ends[i], err = readToDate(text[i]); err != nil {
				return p, err
			}
		}
		p.now, p.then = ends[0].since(ends[1]), ends[1].since(ends[2])
		return p, nil
	}, q.sql(), q.args...)
}

// productSales are the groups by product. all and then are the totals of the two periods: what they gave back
// beyond all products together was for no product.
func (d *Desk) productSales(q SalesQuestion, now, before period, all, then Sales) ([]Sales, error) {
	if !q.Compare {
		before = period{}
	}
	products, err := d.soldBetween(now, before)
	if err != nil {
		return nil, fmt.Errorf("adding up the sales of products: %w", err)
	}
	rows, netThen := []Sales{}, map[string]int64{}
	rest, restThen := all.Refunds.AmountMinor, then.Refunds.AmountMinor
	for _, p := range products {
		row := p.sales(d)
		rest -= p.now.refunded
		restThen -= p.then.refunded
		netThen[row.Key] += p.then.gross - p.then.refunded
		if p.now.day >= now.from {
			rows = append(rows, row)
		}
	}
	if rest > 0 {
		rows = append(rows, Sales{Label: noProduct, Gross: d.money(0), Refunds: d.money(rest), Net: d.money(-rest)})
		netThen[""] = -restThen
	}
	groups := d.group(rows, q.bucket)
	for i := range groups {
		if q.Compare {
			groups[i].NetChangePercent = change(netThen[groups[i].Key], groups[i].Net.AmountMinor)
		}
	}
	return groups, nil
}

// noProduct is the label of what was given back for no product.
const noProduct = "refunds of no product"

func (p productRow) sales(d *Desk) Sales {
	return Sales{
		Key: p.code, Label: cmp.Or(p.title, p.code), Orders: p.now.orders, Units: p.now.units,
		Gross: d.money(p.now.gross), Refunds: d.money(p.now.refunded), Net: d.money(p.now.gross - p.now.refunded),
	}
}
