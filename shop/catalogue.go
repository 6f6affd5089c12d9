package shop

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// UpdateProduct changes a product's title, description, category and tags to those of to, and gives it as it is then.
// It answers ErrChanged when the product is not at from's version any more.
func (d *Desk) UpdateProduct(from, to Product) (Product, error) {
	if from.Category != to.Category {
		if err := d.holdCategories(); err != nil {
			return to, err
		}
	}
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

// holdCategories lets one transaction at a time move products between categories: what it counts depends on where all
// the others are. The lock is the row of the merchant's first product, which every order of locks begins with.
func (d *Desk) holdCategories() error {
	_, err := d.tx.Exec(`UPDATE products SET version = version WHERE merchant_id = $1
		AND product_code = (SELECT MIN(product_code) FROM products WHERE merchant_id = $1)`, d.merchant)
	if err != nil {
		return fmt.Errorf("holding the categories: %w", err)
	}
	return nil
}

// recategorise counts again which SKU is the first of its category in each order that holds a product, after the product
// has moved from one category to another: see sales_daily.
func (d *Desk) recategorise(code, left, joined string) error {
	moved := map[dailyKey]int64{}
	var order string
	var before, after map[string]bool
	_, err := store.All(d.tx, func(r store.Row) (struct{}, error) {
		var no, sku, country, product, category string
		var at time.Time
		if err := r.Scan(&no, store.At(&at), &country, &sku, &product, &category); err != nil {
			return struct{}{}, err
		}
		if no != order {
			order, before, after = no, map[string]bool{}, map[string]bool{}
		}
		key, was := dailyKey{Day(at), sku, country}, category
		if product == code {
			was = left
		}
		if !before[was] {
			before[was] = true
			moved[key]--
		}
		if !after[category] {
			after[category] = true
			moved[key]++
		}
		return struct{}{}, nil
	}, `SELECT l.order_no, o.placed_at, o.ship_country, l.sku, p.product_code, p.category FROM order_lines l
		JOIN orders o ON o.merchant_id = l.merchant_id AND o.order_no = l.order_no
		JOIN variants v ON v.merchant_id = l.merchant_id AND v.sku = l.sku
		JOIN products p ON p.merchant_id = v.merchant_id AND p.product_code = v.product_code
		WHERE l.merchant_id = $1 AND l.order_no IN (SELECT b.order_no FROM variants s
			JOIN order_lines b ON b.merchant_id = s.merchant_id AND b.sku = s.sku WHERE s.merchant_id = $1 AND s.product_code = $2)
			AND l.sku IN (SELECT w.sku FROM products c JOIN variants w ON w.merchant_id = c.merchant_id AND w.product_code = c.product_code
				WHERE c.merchant_id = $1 AND c.category IN ($3, $4))
		ORDER BY l.order_no, l.line`, d.merchant, code, left, joined)
	if err != nil {
		return fmt.Errorf("counting the orders of categories: %w", err)
	}
	return d.addCategoryOrders(moved)
}

// addCategoryOrders moves the counts, in the order in which all writers touch these rows.
func (d *Desk) addCategoryOrders(moved map[dailyKey]int64) error {
	for _, k := range slices.SortedFunc(maps.Keys(moved), func(x, y dailyKey) int {
		return cmp.Or(cmp.Compare(x.day, y.day), cmp.Compare(x.sku, y.sku), cmp.Compare(x.country, y.country))
	}) {
		if moved[k] == 0 {
			continue
		}
		_, err := d.tx.Exec(`UPDATE sales_daily SET category_orders = category_orders + $1
			WHERE merchant_id = $2 AND day = $3 AND sku = $4 AND country = $5`, moved[k], d.merchant, k.day, k.sku, k.country)
		if err != nil {
			return fmt.Errorf("moving the orders of categories: %w", err)
		}
	}
	return nil
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
