package shop

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// UpdateProduct changes a product's title, description, category and tags to those of to, and gives it as it is then.
// It answers ErrChanged when the product is not at from's version any more.
func (d *Desk) UpdateProduct(from, to Product) (Product, error) {
	err := changed(d.tx.Exec(`UPDATE products SET title = $1, description = $2, category = $3, tags = $4, version = version + 1
		WHERE merchant_id = $5 AND product_code = $6 AND version = $7`,
		to.Title, to.Description, to.Category, jsonText(to.Tags), d.merchant, from.Code, from.Version))
	if err != nil {
		return to, fmt.Errorf("changing the product: %w", err)
	}
	to.Code, to.Status, to.Version = from.Code, from.Status, from.Version+1
	if from.Title != to.Title {
		if err := d.indexProduct(to); err != nil {
			return to, err
		}
	}
	if from.Category != to.Category {
		err = d.recategorise(from.Code, from.Category, to.Category)
	}
	return to, err
}

// indexProduct finds the product by its own words and those of its variants.
func (d *Desk) indexProduct(p Product) error {
	variants, err := d.VariantsOf([]string{p.Code})
	if err != nil {
		return err
	}
	text := []string{p.Code, p.Title}
	for _, v := range variants[p.Code] {
		text = append(text, v.SKU, v.Title)
	}
	return d.index(productWords, p.Code, text...)
}

// recategorise moves what a product has sold from one category to another, after the product itself has moved. An order
// counts once in a category: it leaves the one when nothing else in it is of that one, and joins the other when nothing is yet.
// The sums are held before they are read, so that of two products that move at once the second one sees where the first has gone.
func (d *Desk) recategorise(code, left, joined string) error {
	if err := holdSums(d.tx, d.merchant, time.Time{}); err != nil {
		return err
	}
	b := newBook()
	if err := d.moveGoods(b, code, left, joined); err != nil {
		return fmt.Errorf("moving the sales of a product: %w", err)
	}
	if err := d.moveOrders(b, code, left, joined); err != nil {
		return fmt.Errorf("moving the orders of a product: %w", err)
	}
	var err error
	b.byCategory(func(values ...any) {
		if err == nil {
			_, err = d.tx.Exec(upsert("category_sales", 2, categoryCols), append([]any{d.merchant}, values...)...)
		}
		if err == nil {
			_, err = d.tx.Exec(`DELETE FROM category_sales WHERE merchant_id = $1 AND day = $2 AND category = $3
				AND orders = 0 AND units = 0 AND gross_minor = 0 AND refunds_minor = 0`, d.merchant, values[0], values[1])
		}
	})
	if err != nil {
		return fmt.Errorf("moving sales between categories: %w", err)
	}
	return nil
}

// moveGoods books what was sold of a product out of one category and into another. Its sums are up to each day.
func (d *Desk) moveGoods(b *book, code, left, joined string) error {
	var before goods
	_, err := store.All(d.tx, func(r store.Row) (struct{}, error) {
		var day string
		var g goods
		err := r.Scan(&day, &g.units, &g.gross, &g.refunds)
		of := goods{units: g.units - before.units, gross: g.gross - before.gross, refunds: g.refunds - before.refunds}
		at(b.categories, categoryKey{day, joined}).add(of)
		at(b.categories, categoryKey{day, left}).add(goods{units: -of.units, gross: -of.gross, refunds: -of.refunds})
		before = g
		return struct{}{}, err
	}, "SELECT day, units, gross_minor, refunds_minor FROM product_sales WHERE merchant_id = $1 AND product_code = $2 ORDER BY day", d.merchant, code)
	return err
}

// moveOrders books the orders of a product out of one category and into another. For each it is told how many other lines are
// of the one and of the other.
func (d *Desk) moveOrders(b *book, code, left, joined string) error {
	_, err := store.All(d.tx, func(r store.Row) (struct{}, error) {
		var placed time.Time
		var stay, there int64
		err := r.Scan(store.At(&placed), &stay, &there)
		day := Day(placed)
		if stay == 0 {
			at(b.categories, categoryKey{day, left}).orders--
		}
		if there == 0 {
			at(b.categories, categoryKey{day, joined}).orders++
		}
		return struct{}{}, err
	}, `SELECT o.placed_at, SUM(CASE WHEN p.category = $1 AND p.product_code <> $2 THEN 1 ELSE 0 END),
			SUM(CASE WHEN p.category = $3 AND p.product_code <> $2 THEN 1 ELSE 0 END)
		FROM orders o
		JOIN order_lines l ON l.merchant_id = o.merchant_id AND l.order_no = o.order_no
		JOIN variants v ON v.merchant_id = l.merchant_id AND v.sku = l.sku
		JOIN products p ON p.merchant_id = v.merchant_id AND p.product_code = v.product_code
		WHERE o.merchant_id = $4 AND o.order_no IN (SELECT b.order_no FROM variants s
			JOIN order_lines b ON b.merchant_id = s.merchant_id AND b.sku = s.sku WHERE s.merchant_id = $4 AND s.product_code = $2)
		GROUP BY o.order_no, o.placed_at`, left, code, joined, d.merchant)
	return err
}

// unsell takes what a refund gives back off the pieces sold of its products.
func unsell(tx *store.Tx, merchant string, r Refund) error {
	pieces := map[string]int64{}
	for _, l := range r.Lines {
		pieces[l.SKU] += l.Qty
	}
	d := &Desk{tx: tx, merchant: merchant}
	variants, err := d.Variants(slices.Collect(maps.Keys(pieces)))
	if err != nil {
		return err
	}
	products := map[string]int64{}
	for sku, n := range pieces {
		products[variants[sku].ProductCode] += n
	}
	for _, code := range slices.Sorted(maps.Keys(products)) {
		_, err := tx.Exec("UPDATE products SET sold = sold - $1 WHERE merchant_id = $2 AND product_code = $3", products[code], merchant, code)
		if err != nil {
			return fmt.Errorf("counting what was sold: %w", err)
		}
	}
	return nil
}
