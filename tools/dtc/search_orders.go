package dtc

import (
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A searchOrdersIn narrows by everything in it at once.
type searchOrdersIn struct {
	Query    string           `json:"query,omitempty" jsonschema:"maxLength=100,description=Order or customer number\\, SKU\\, words of a product title"`
	Status   shop.OrderStatus `json:"status,omitempty" jsonschema:"enum=open,enum=fulfilled,enum=part_refunded,enum=refunded,enum=cancelled"`
	From     string           `json:"from,omitempty" jsonschema:"format=date"`
	To       string           `json:"to,omitempty" jsonschema:"format=date"`
	MinTotal *Amount          `json:"min_total,omitempty"`
	Country  string           `json:"country,omitempty" jsonschema:"maxLength=60,description=Shipped to\\, such as United Kingdom"`
	Sort     shop.OrderSort   `json:"sort,omitempty" jsonschema:"enum=newest,enum=oldest,enum=largest"`
	Paging
}

type searchOrdersOut struct {
	Orders []shop.Order `json:"orders"`
	Paged
}

var searchOrders = tools.Define(tools.Spec{
	Name: "dtc_search_orders", Path: "orders.search", Title: "Search orders",
	Description: "Finds orders, newest first. For the lines and version of one use dtc_get_order; for sums dtc_get_sales_summary: add " +
		"nothing up yourself.",
	Scope: "orders:read", Risk: tools.Risk{DataOut: 2}, Resource: "order:*", Undo: nothing,
	Example: `{"query":"mug","status":"open","sort":"largest","limit":5}`,
	Routes:  []tools.Route{{Method: "GET", Path: "/orders"}},
}, tools.Func[searchOrdersIn, searchOrdersOut]{
	Read: readOrders, Asks: asksShop[searchOrdersIn],
	Rows: func(out searchOrdersOut) []tools.Object { return each(out.Orders, orderObject) },
})

// readOrders tells no names and no addresses: a customer is a number here.
func readOrders(c *tools.Call, in searchOrdersIn) (out searchOrdersOut, err error) {
	if err := daysInOrder("from", in.From, "to", in.To); err != nil {
		return out, err
	}
	d, cut, err := in.open(c)
	if err != nil {
		return out, err
	}
	f := shop.OrderFilter{Query: in.Query, Status: in.Status, From: in.From, To: in.To, Country: in.Country, Sort: in.Sort}
	if in.MinTotal != nil {
		least, err := in.MinTotal.inCurrency("min_total", d)
		if err != nil {
			return out, err
		}
		f.MinTotal = least.AmountMinor
	}
	page, err := d.Orders(f, cut)
	if err != nil {
		return out, err
	}
	out.Orders, out.Paged, err = pageOf(c, page.Rows, page.Places, page.Total, page.More)
	return out, err
}
