package dtc

import (
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type searchProductsIn struct {
	Query    string           `json:"query,omitempty" jsonschema:"maxLength=200,description=Words of a title\\, a code or a SKU"`
	SKUs     []string         `json:"skus,omitempty" jsonschema:"maxItems=50"`
	Category string           `json:"category,omitempty" jsonschema:"maxLength=40"`
	Stock    string           `json:"stock,omitempty" jsonschema:"enum=any,enum=in_stock,enum=low,enum=out,description=low is 1 to 9 pieces"`
	Sort     shop.ProductSort `json:"sort,omitempty" jsonschema:"enum=relevance,enum=title,enum=best_selling,enum=price_low,enum=price_high"`
	Detail   string           `json:"detail,omitempty" jsonschema:"enum=concise,enum=full,description=full adds description and tags"`
	Paging
}

// A productRow holds all variants, for prices and stock are theirs. Description and Tags are for detail full.
type productRow struct {
	Code        string         `json:"product_code"`
	Title       string         `json:"title"`
	Category    string         `json:"category"`
	Status      string         `json:"status"`
	Description string         `json:"description,omitempty"`
	Tags        []string       `json:"tags,omitempty"`
	Version     int64          `json:"version"`
	Variants    []shop.Variant `json:"variants"`
}

type searchProductsOut struct {
	Products []productRow `json:"products"`
	Paged
}

var searchProducts = tools.Define(tools.Spec{
	Name: "dtc_search_products", Path: "products.search", Title: "Search products",
	Description: "Finds products, archived ones too, with their variants: SKU, price, pieces on hand. best_selling: pieces of all time; " +
		"for a period use dtc_get_sales_summary by product.",
	Scope: "catalog:read", Risk: tools.Risk{DataOut: 1}, Resource: "product:*", Undo: nothing,
	Routes:  []tools.Route{{Method: "GET", Path: "/products"}},
	Example: `{"query":"mug","stock":"in_stock","sort":"best_selling"}`,
}, tools.Func[searchProductsIn, searchProductsOut]{
	Read: readProducts, Asks: asksShop[searchProductsIn],
	Rows: func(out searchProductsOut) (all []tools.Object) {
		for _, row := range out.Products {
			all = append(all, productObjects(row)...)
		}
		return all
	},
})

func readProducts(c *tools.Call, in searchProductsIn) (out searchProductsOut, err error) {
	d, cut, err := in.open(c)
	if err != nil {
		return out, err
	}
	f := shop.ProductFilter{Query: in.Query, SKUs: in.SKUs, Category: in.Category, Sort: in.Sort}
	if in.Stock != "any" {
		f.Stock = shop.StockLevel(in.Stock)
	}
	page, err := d.Products(f, cut)
	if err != nil {
		return out, err
	}
	rows, err := productRows(d, page.Rows, in.Detail == "full")
	if err != nil {
		return out, err
	}
	out.Products, out.Paged, err = pageOf(c, rows, page.Places, page.Total, page.More)
	if out.Truncated && in.Detail == "full" {
		out.Narrow = "Go on with next_cursor, filter more, or ask for detail concise."
	}
	return out, err
}

// productRows reads the variants of all products of a page at once.
func productRows(d *shop.Desk, products []shop.Product, full bool) ([]productRow, error) {
	codes := make([]string, len(products))
	for i, p := range products {
		codes[i] = p.Code
	}
	variants, err := d.VariantsOf(codes)
	if err != nil {
		return nil, err
	}
	rows := make([]productRow, len(products))
	for i, p := range products {
		rows[i] = productRow{Code: p.Code, Title: p.Title, Category: p.Category, Status: p.Status, Version: p.Version, Variants: variants[p.Code]}
		if full {
			rows[i].Description, rows[i].Tags = p.Description, p.Tags
		}
		if rows[i].Variants == nil {
			rows[i].Variants = []shop.Variant{}
		}
	}
	return rows, nil
}
