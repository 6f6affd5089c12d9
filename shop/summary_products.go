package shop

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// productGroups says by which column of products a grouping goes, what its rows are called, and what counts its orders.
var productGroups = map[Grouping]struct{ key, label, orders string }{
	ByProduct:  {"p.product_code", "MAX(p.title)", "orders"},
	ByCategory: {"p.category", "p.category", "category_orders"},
}

// upTo joins what each product p has sold up to the end of a day, under a name.
const upTo = ` LEFT JOIN product_sales %[1]s ON %[1]s.merchant_id = p.merchant_id AND %[1]s.product_code = p.product_code AND %[1]s.day =
	(SELECT MAX(x.day) FROM product_sales x WHERE x.merchant_id = p.merchant_id AND x.product_code = p.product_code AND x.day <= ?)`

// between is the sum of a column between the ends of two days that are joined with upTo.
func between(column, later, earlier string) string {
	return fmt.Sprintf("CAST(SUM(COALESCE(%[2]s.%[1]s, 0) - COALESCE(%[3]s.%[1]s, 0)) AS BIGINT)", column, later, earlier)
}

// productQuery asks for the groups with sales in the period. Where it is to be compared it asks for those of both periods,
// and for the net and the refunds of the one before.
func (d *Desk) productQuery(q SalesQuestion, now, before period) *query {
	g := productGroups[q.By]
	net := func(later, earlier string) string {
		return between("gross_minor", later, earlier) + " - " + between("refunds_minor", later, earlier)
	}
	then, since := "0, 0", now.before
	if q.Compare {
		then, since = net("b", "c")+", "+between("refunds_minor", "b", "c"), before.before
	}
	text := sqlText("SELECT " + g.key + ", " + g.label + ", MAX(a.day), " + between(g.orders, "a", "b") + ", " + between("units", "a", "b") + ", " +
		between("gross_minor", "a", "b") + ", " + between("refunds_minor", "a", "b") + ", " + net("a", "b") + ", " + then + " FROM products p")
	text.add(fmt.Sprintf(upTo, "a"), now.to).add(fmt.Sprintf(upTo, "b"), now.before)
	if q.Compare {
		text.add(fmt.Sprintf(upTo, "c"), before.before)
	}
	return text.add(" WHERE p.merchant_id = ? GROUP BY "+g.key+" HAVING MAX(a.day) > ?", d.merchant, since)
}

// productSales are the groups by product or category. all and then are the totals of the two periods: what they gave back
// beyond all products together was for no product.
func (d *Desk) productSales(q SalesQuestion, now, before period, all, then Sales) ([]Sales, error) {
	rest, restThen := all.Refunds.AmountMinor, then.Refunds.AmountMinor
	groups := []Sales{}
	text := d.productQuery(q, now, before)
	_, err := store.All(d.tx, func(r store.Row) (struct{}, error) {
		s := Sales{Gross: d.money(0), Refunds: d.money(0), Net: d.money(0)}
		var last string
		var net, refunds int64 // of the period before
		err := r.Scan(&s.Key, &s.Label, &last, &s.Orders, &s.Units, &s.Gross.AmountMinor, &s.Refunds.AmountMinor, &s.Net.AmountMinor, &net, &refunds)
		rest -= s.Refunds.AmountMinor
		restThen -= refunds
		if q.Compare {
			s.NetChangePercent = change(net, s.Net.AmountMinor)
		}
		if last >= now.from {
			groups = append(groups, s)
		}
		return struct{}{}, err
	}, text.sql(), text.args...)
	if err != nil {
		return nil, fmt.Errorf("adding up the sales of products: %w", err)
	}
	if rest > 0 {
		s := Sales{Label: "refunds of no product", Gross: d.money(0), Refunds: d.money(rest), Net: d.money(-rest)}
		if q.Compare {
			s.NetChangePercent = change(-restThen, -rest)
		}
		groups = append(groups, s)
	}
	return groups, nil
}
