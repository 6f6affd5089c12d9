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

// recategorise counts again which SKU is the first of its category in each order that holds a product, after the product
// has moved from one category to another: see product_sales. It holds the sums before it counts: of two products that move
// at once the second one's count sees where the first has gone.
func (d *Desk) recategorise(code, left, joined string) error {
	if err := holdSums(d.tx, d.merchant, time.Time{}); err != nil {
		return err
	}
	moved := map[productKey]int64{}
	var order string
	var before, after map[string]bool
	_, err := store.All(d.tx, func(r store.Row) (struct{}, error) {
		var no, product, category string
		var at time.Time
		if err := r.Scan(&no, store.At(&at), &product, &category); err != nil {
			return struct{}{}, err
		}
		if no != order {
			order, before, after = no, map[string]bool{}, map[string]bool{}
		}
		key, was := productKey{product, Day(at)}, category
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
	}, `SELECT l.order_no, o.placed_at, p.product_code, p.category FROM order_lines l
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

// addCategoryOrders moves the counts, each up to its day and up to every day until the product's next: row by row in the
// order in which all writers touch them.
func (d *Desk) addCategoryOrders(moved map[productKey]int64) error {
	maps.DeleteFunc(moved, func(_ productKey, n int64) bool { return n == 0 })
	keys := slices.SortedFunc(maps.Keys(moved), productKey.compare)
	var sum int64
	for i, k := range keys {
		if i == 0 || keys[i-1].product != k.product {
			sum = 0
		}
		sum += moved[k]
		next := lastDay
		if i+1 < len(keys) && keys[i+1].product == k.product {
			next = keys[i+1].day
		}
		_, err := d.tx.Exec(`UPDATE product_sales SET category_orders = category_orders + $1
			WHERE merchant_id = $2 AND product_code = $3 AND day >= $4 AND day < $5`, sum, d.merchant, k.product, k.day, next)
		if err != nil {
			return fmt.Errorf("moving the orders of categories: %w", err)
		}
	}
	return nil
}

// lastDay comes after every day.
const lastDay = "9999-12-31"

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
