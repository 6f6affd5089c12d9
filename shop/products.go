package shop

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// A ProductSort is the order of a list of products.
type ProductSort string

// The orders of a list of products. Relevance is the default: a product's own number first, then titles that begin with
// the words, then the others, and by title where nothing is looked for. Best sellers go by pieces sold and not given back, over all time.
const (
	Relevance   ProductSort = "relevance"
	ByTitle     ProductSort = "title"
	BestSelling ProductSort = "best_selling"
	PriceLow    ProductSort = "price_low"
	PriceHigh   ProductSort = "price_high"
)

// A StockLevel says how much there is of a variant.
type StockLevel string

// The levels of stock: one piece or more, fewer than LowStock, none.
const (
	InStock StockLevel = "in_stock"
	Low     StockLevel = "low"
	Out     StockLevel = "out"
)

// A ProductFilter selects products; what is empty does not count.
type ProductFilter struct {
	Query    string // words of the titles, or a product code or SKU, or how they begin; all must be found
	SKUs     []string
	Category string
	Stock    StockLevel // of some variant
	Sort     ProductSort
}

const ofProduct = " FROM variants v WHERE v.merchant_id = p.merchant_id AND v.product_code = p.product_code"

// sorts are the orders that have an index: what a product ranks by, and the columns of the list's order.
var sorts = map[ProductSort]struct {
	rank string
	by   []string
	desc bool
}{
	ByTitle:     {"0", []string{"title", "product_code"}, false},
	PriceLow:    {"p.low_minor", []string{"rank", "product_code"}, false},
	PriceHigh:   {"p.high_minor", []string{"rank", "product_code"}, true},
	BestSelling: {"p.sold", []string{"rank", "product_code"}, true},
}

const productColumns = "p.description, p.category, p.status, p.tags, p.version, p.title, p.product_code"

// scanProduct reads productColumns, and more columns after them.
func scanProduct(r store.Row, more ...any) (Product, error) {
	var p Product
	var tags string
	err := r.Scan(append([]any{&p.Description, &p.Category, &p.Status, &tags, &p.Version, &p.Title, &p.Code}, more...)...)
	if err == nil {
		err = json.Unmarshal([]byte(tags), &p.Tags)
	}
	return p, err
}

// Product gives a product.
func (d *Desk) Product(code string) (Product, error) {
	p, err := store.One(d.tx, func(r store.Row) (Product, error) { return scanProduct(r) },
		"SELECT "+productColumns+" FROM products p WHERE p.merchant_id = $1 AND p.product_code = $2", d.merchant, code)
	if err != nil {
		return p, fmt.Errorf("finding the product: %w", err)
	}
	return p, nil
}

// Products gives a page of the products that match f.
func (d *Desk) Products(f ProductFilter, cut Cut) (Page[Product], error) {
	l := listing{rows: sqlText("SELECT " + productColumns + ", "), by: []string{"rank", "title", "product_code"}}
	sought := strings.TrimSpace(f.Query)
	sorted, indexed := sorts[f.Sort]
	switch {
	case indexed:
		l.by, l.desc = sorted.by, sorted.desc
		l.rows.add(sorted.rank)
	case sought == "":
		l.by = sorts[ByTitle].by
		l.rows.add(sorts[ByTitle].rank)
	default:
		rank(l.rows, sought)
	}
	l.rows.add(" AS rank FROM products p WHERE p.merchant_id = ?", d.merchant)
	d.selected(l.rows, f)
	if err := d.findTitle(cut.After); err != nil {
		return Page[Product]{}, err
	}
	page, err := readPage(d.tx, l, cut, func(r store.Row) (Product, Place, error) {
		var at Place
		p, err := scanProduct(r, &at.Rank)
		at.Text, at.ID = p.Title, p.Code
		return p, at, err
	})
	if err != nil {
		return page, fmt.Errorf("listing products: %w", err)
	}
	return page, nil
}

// findTitle completes a place in a list of products. A product that has gone since leaves it at its rank.
func (d *Desk) findTitle(at *Place) error {
	if at == nil {
		return nil
	}
	err := d.tx.QueryRow("SELECT title FROM products WHERE merchant_id = $1 AND product_code = $2", d.merchant, at.ID).Scan(&at.Text)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("finding where the page ended: %w", err)
	}
	return nil
}

// rank adds how well a product that was found fits what was sought.
func rank(q *query, sought string) {
	q.add("CASE WHEN LOWER(p.product_code) = LOWER(CAST(? AS TEXT)) THEN 0 WHEN EXISTS (SELECT 1"+ofProduct+
		" AND LOWER(v.sku) = LOWER(CAST(? AS TEXT))) THEN 0 WHEN "+like("p.title")+" THEN 1 ELSE 2 END",
		sought, sought, likeEscapes.Replace(sought)+"%")
}

// selected adds the conditions of the filter. A product matches by any of its variants.
func (d *Desk) selected(q *query, f ProductFilter) {
	q.foundBy(productWords, "p.product_code", f.Query, d.merchant)
	variant := func(condition string, args ...any) {
		q.add(" AND p.product_code IN (SELECT v.product_code FROM variants v WHERE v.merchant_id = ? AND ", d.merchant).add(condition+")", args...)
	}
	if len(f.SKUs) > 0 {
		variant("v.sku IN ("+marks(len(f.SKUs))+")", values(f.SKUs)...)
	}
	if f.Category != "" {
		q.add(" AND LOWER(p.category) = LOWER(CAST(? AS TEXT))", f.Category)
	}
	switch f.Stock {
	case InStock:
		variant("v.on_hand > 0")
	case Low:
		variant("v.on_hand > 0 AND v.on_hand < ?", LowStock)
	case Out:
		variant("v.on_hand = 0")
	}
}

// VariantsOf gives the variants of products, by product code.
func (d *Desk) VariantsOf(codes []string) (map[string][]Variant, error) {
	of := map[string][]Variant{}
	if len(codes) == 0 {
		return of, nil
	}
	all, err := d.variants("product_code", codes)
	for _, v := range all {
		of[v.ProductCode] = append(of[v.ProductCode], v)
	}
	return of, err
}

// Variants gives those of the SKUs that exist, by SKU.
func (d *Desk) Variants(skus []string) (map[string]Variant, error) {
	by := map[string]Variant{}
	if len(skus) == 0 {
		return by, nil
	}
	all, err := d.variants("sku", skus)
	for _, v := range all {
		by[v.SKU] = v
	}
	return by, err
}

// variants gives the variants that have one of some values in a column.
func (d *Desk) variants(column string, in []string) ([]Variant, error) {
	q := sqlText("SELECT sku, product_code, title, option_name, price_minor, on_hand, version, cost_minor FROM variants WHERE merchant_id = ?", d.merchant).
		add(" AND "+column+" IN ("+marks(len(in))+") ORDER BY product_code, sku", values(in)...)
	all, err := store.All(d.tx, func(r store.Row) (Variant, error) {
		v := Variant{Price: d.money(0), Cost: d.money(0)}
		return v, r.Scan(&v.SKU, &v.ProductCode, &v.Title, &v.Option, &v.Price.AmountMinor, &v.OnHand, &v.Version, &v.Cost.AmountMinor)
	}, q.sql(), q.args...)
	if err != nil {
		return nil, fmt.Errorf("reading variants: %w", err)
	}
	return all, nil
}
