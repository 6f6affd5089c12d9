package shop

import "strings"

const productWords = "product"

func (q *query) foundBy(kind, column, text, merchant string) *query {
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' }) {
		q.add(" AND "+column+" IN (SELECT product_code FROM variants WHERE merchant_id = ? AND (' ' || LOWER(title)) LIKE LOWER(CAST(? AS TEXT)))", merchant, "% "+w+"%")
	}
	return q
}
