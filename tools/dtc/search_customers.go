package dtc

import (
	"fmt"
	"slices"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A Where is the rule of a segment: all that is set must hold.
type Where struct {
	BoughtAnySKU    []string `json:"bought_any_sku,omitempty" jsonschema:"maxItems=50"`
	BoughtCategory  string   `json:"bought_category,omitempty" jsonschema:"maxLength=60"`
	Country         string   `json:"country,omitempty" jsonschema:"maxLength=60"`
	LastOrderAfter  string   `json:"last_order_after,omitempty" jsonschema:"format=date,description=On this day or later"`
	LastOrderBefore string   `json:"last_order_before,omitempty" jsonschema:"format=date"`
	MinOrders       int64    `json:"min_orders,omitempty" jsonschema:"minimum=1,maximum=100000"`
	MinSpent        *Amount  `json:"min_spent,omitempty"`
	TagsAny         []string `json:"tags_any,omitempty" jsonschema:"maxItems=20,maxLength=40"`
	TagsNone        []string `json:"tags_none,omitempty" jsonschema:"maxItems=20,maxLength=40"`
}

// rule gives w as the shop's rule, and refuses what would pick nobody by a slip of the pen.
func (w Where) rule(d *shop.Desk) (shop.Rule, error) {
	r := shop.Rule{
		BoughtAnySKU: w.BoughtAnySKU, BoughtCategory: w.BoughtCategory, Country: w.Country, LastOrderAfter: w.LastOrderAfter,
		LastOrderBefore: w.LastOrderBefore, MinOrders: w.MinOrders, TagsAny: w.TagsAny, TagsNone: w.TagsNone,
	}
	if w.MinSpent != nil {
		least, err := w.MinSpent.inCurrency("where.min_spent", d)
		if err != nil {
			return r, err
		}
		r.MinSpent = &least
	}
	if w.LastOrderAfter != "" && w.LastOrderBefore != "" && w.LastOrderBefore <= w.LastOrderAfter {
		return r, tools.Wrong("where.last_order_before", "is not after last_order_after", "a day after last_order_after", nil)
	}
	known, err := d.Variants(w.BoughtAnySKU)
	if err != nil {
		return r, err
	}
	if i := slices.IndexFunc(w.BoughtAnySKU, func(sku string) bool { return known[sku].SKU == "" }); i >= 0 {
		return r, tools.Wrong(fmt.Sprintf("where.bought_any_sku[%d]", i), "is no SKU of this shop", "SKUs as dtc_search_products gives them", nil)
	}
	return r, nil
}

type searchCustomersIn struct {
	Query string            `json:"query,omitempty" jsonschema:"pattern=^[A-Za-z0-9]{0\\,20}$,description=How the customer number begins"`
	Where Where             `json:"where,omitzero"`
	Sort  shop.CustomerSort `json:"sort,omitempty" jsonschema:"enum=newest,enum=most_spent,enum=most_orders,enum=last_order"`
	Paging
}

type searchCustomersOut struct {
	Customers []shop.Customer `json:"customers"`
	Paged
}

var searchCustomers = tools.Define(tools.Spec{
	Name: "dtc_search_customers", Path: "customers.search", Title: "Search customers",
	Description: "Finds customers, newest first, by number or by a rule; never by name or address. spent is without refunds and " +
		"cancelled orders. To keep a rule use dtc_create_segment.",
	Scope: "customers:read", Risk: tools.Risk{DataOut: 2}, Resource: "customer:*", Undo: nothing,
	Example: `{"where":{"country":"Germany","min_orders":2},"sort":"most_spent","limit":3}`,
	Routes:  []tools.Route{{Method: "POST", Path: "/customers/search"}},
}, tools.Func[searchCustomersIn, searchCustomersOut]{
	Read: readCustomers, Asks: asksShop[searchCustomersIn],
	Rows: func(out searchCustomersOut) []tools.Object { return each(out.Customers, customerObject) },
})

// readCustomers tells no names and no addresses: a customer is a number here.
func readCustomers(c *tools.Call, in searchCustomersIn) (out searchCustomersOut, err error) {
	d, cut, err := in.open(c)
	if err != nil {
		return out, err
	}
	rule, err := in.Where.rule(d)
	if err != nil {
		return out, err
	}
	page, err := d.Customers(shop.CustomerFilter{Query: in.Query, Where: rule, Sort: in.Sort}, cut)
	if err != nil {
		return out, err
	}
	out.Customers, out.Paged, err = pageOf(c, page.Rows, page.Places, page.Total, page.More)
	return out, err
}
