package shop

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// A ProductSort is the order of a list of products.
type ProductSort string

// The orders of a list of products. Relevance is the default: a product's own number first, then titles that begin with
// the words, then the others. Best sellers go by pieces sold and not given back, over all time.
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
	Query    string // words of the titles, or a product code or SKU; all words must be found
	SKUs     []string
	Category string
	Stock    StockLevel // of some variant
	Sort     ProductSort
}

const ofProduct = " FROM variants v WHERE v.merchant_id = p.merchant_id AND v.product_code = p.product_code"

// ranks are what products are sorted by, lowest first. They come from a sum over all products, b, which is made once:
// asked for each product alone, SQLite takes minutes over a year's sales.
var ranks = map[ProductSort]struct{ rank, sum string }{
	ByTitle:   {"0", ""},
	PriceLow:  {"b.low", "SELECT product_code, MIN(price_minor) AS low FROM variants WHERE merchant_id = ? GROUP BY product_code"},
	PriceHigh: {"-b.high", "SELECT product_code, MAX(price_minor) AS high FROM variants WHERE merchant_id = ? GROUP BY product_code"},
	BestSelling: {"-b.sold", `SELECT v.product_code, SUM(s.sold) AS sold FROM (SELECT sku, SUM(units - units_refunded) AS sold
		FROM sales_monthly WHERE merchant_id = ? GROUP BY sku) s JOIN variants v ON v.merchant_id = ? AND v.sku = s.sku GROUP BY v.product_code`},
}

// Products gives a page of the products that match f.
func (d *Desk) Products(f ProductFilter, cut Cut) (Page[Product], error) {
	q := sqlText("SELECT p.product_code, p.description, p.category, p.status, p.tags, p.version, CAST(COALESCE(")
	f.rank(q)
	q.add(", 0) AS BIGINT) AS rank, p.title FROM products p")
	if sum := ranks[f.Sort].sum; sum != "" {
		q.add(" LEFT JOIN ("+sum, slices.Repeat([]any{d.merchant}, strings.Count(sum, "?"))...).add(") b ON b.product_code = p.product_code")
	}
	q.add(" WHERE p.merchant_id = ?", d.merchant)
	f.where(q)
	l := listing{rows: q, by: []string{"rank", "title", "product_code"}}
	if err := d.findTitle(cut.After); err != nil {
		return Page[Product]{}, err
	}
	page, err := readPage(d.tx, l, cut, func(r store.Row) (Product, Place, error) {
		var p Product
		var at Place
		var tags string
		err := r.Scan(&p.Code, &p.Description, &p.Category, &p.Status, &tags, &p.Version, &at.Rank, &p.Title)
		if err == nil {
			err = json.Unmarshal([]byte(tags), &p.Tags)
		}
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

// rank adds what the products are sorted by. Products without a variant, or without sales, rank as 0.
func (f ProductFilter) rank(q *query) {
	words := strings.TrimSpace(f.Query)
	switch sorted, ok := ranks[f.Sort]; {
	case ok:
		q.add(sorted.rank)
	case words == "":
		q.add("0")
	default:
		q.add("CASE WHEN LOWER(p.product_code) = LOWER(CAST(? AS TEXT)) THEN 0 WHEN EXISTS (SELECT 1"+ofProduct+
			" AND LOWER(v.sku) = LOWER(CAST(? AS TEXT))) THEN 0 WHEN "+like("p.title")+" THEN 1 ELSE 2 END",
			words, words, likeEscapes.Replace(words)+"%")
	}
}

// where adds the conditions of the filter. A product matches by any of its variants.
func (f ProductFilter) where(q *query) {
	if strings.TrimSpace(f.Query) != "" {
		q.add(" AND ").eachWord(f.Query, "("+like("p.title")+" OR "+like("p.product_code")+
			" OR EXISTS (SELECT 1"+ofProduct+" AND ("+like("v.sku")+" OR "+like("v.title")+")))")
	}
	if len(f.SKUs) > 0 {
		q.add(" AND EXISTS (SELECT 1"+ofProduct+" AND v.sku IN ("+marks(len(f.SKUs))+"))", values(f.SKUs)...)
	}
	if f.Category != "" {
		q.add(" AND LOWER(p.category) = LOWER(CAST(? AS TEXT))", f.Category)
	}
	switch f.Stock {
	case InStock:
		q.add(" AND EXISTS (SELECT 1" + ofProduct + " AND v.on_hand > 0)")
	case Low:
		q.add(" AND EXISTS (SELECT 1"+ofProduct+" AND v.on_hand > 0 AND v.on_hand < ?)", LowStock)
	case Out:
		q.add(" AND EXISTS (SELECT 1" + ofProduct + " AND v.on_hand = 0)")
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
	q := sqlText("SELECT sku, product_code, title, option_name, price_minor, on_hand, version FROM variants WHERE merchant_id = ?", d.merchant).
		add(" AND "+column+" IN ("+marks(len(in))+") ORDER BY product_code, sku", values(in)...)
	all, err := store.All(d.tx, func(r store.Row) (Variant, error) {
		v := Variant{Price: d.money(0)}
		return v, r.Scan(&v.SKU, &v.ProductCode, &v.Title, &v.Option, &v.Price.AmountMinor, &v.OnHand, &v.Version)
	}, q.sql(), q.args...)
	if err != nil {
		return nil, fmt.Errorf("reading variants: %w", err)
	}
	return all, nil
}
