package dtc

import (
	"errors"
	"strings"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// What calls are about and what answers show, by every name that a limit may use: see tools.Object. A row shows itself. Of what it
// refers to by an id alone (the customer of an order, the order of a ticket) it shows nothing but that id, which is part of the row.
// Rows of another type that stand in it whole, as a customer's last orders, are objects of their own.

// each names the objects that rows show.
func each[T any](rows []T, names func(T) tools.Object) []tools.Object {
	all := make([]tools.Object, len(rows))
	for i, row := range rows {
		all[i] = names(row)
	}
	return all
}

func orderObject(o shop.Order) tools.Object       { return tools.Object{"order:" + o.No} }
func customerObject(p shop.Customer) tools.Object { return tools.Object{"customer:" + p.No} }
func sendObject(x shop.Campaign) tools.Object     { return tools.Object{"campaign:" + x.ID} }
func ticketObject(t shop.Ticket) tools.Object {
	return tools.Object{"ticket:" + t.ID, "queue:" + t.Queue + "/" + t.ID}
}

func discountObject(x shop.Discount) tools.Object {
	return tools.Object{"discount:" + x.ID, "discount:" + x.Code}
}

// productObjects are a product and its variants, which are its parts: to act on one takes its own name, to see it that of the product.
func productObjects(p productRow) []tools.Object {
	product := "product:" + p.Code
	return append([]tools.Object{{product}}, each(p.Variants, func(v shop.Variant) tools.Object {
		return tools.Object{"variant:" + v.SKU, product}
	})...)
}

// adAccountObjects are an account and its campaigns, which are its parts as variants are a product's.
func adAccountObjects(a shop.AdAccount) []tools.Object {
	account := "ad_account:" + a.ID
	return append([]tools.Object{{account}}, each(a.Campaigns, func(ad shop.AdCampaign) tools.Object {
		return tools.Object{"ad_campaign:" + ad.ID, account}
	})...)
}

// aboutOrder is an order by its number, which people write with a # too: by one name, so that a denied order stays denied.
func aboutOrder(no string) tools.Object { return tools.Object{"order:" + strings.TrimPrefix(no, "#")} }

// aboutTicket is a ticket by its id and its place in a queue. One that is not there is in none.
func aboutTicket(c *tools.Call, id string) ([]tools.Object, error) {
	d, err := desk(c)
	if err != nil {
		return nil, err
	}
	t, err := d.Ticket(id)
	if errors.Is(err, store.ErrNotFound) {
		return []tools.Object{{"ticket:" + id}}, nil
	}
	return []tools.Object{ticketObject(t)}, err
}

// aboutTarget is the ticket that an action is asked for.
func aboutTarget[In any](c *tools.Call, _ In) ([]tools.Object, error) {
	return aboutTicket(c, c.Wish.ID())
}

// aboutTickets are one ticket, or all of a queue or of all queues.
func aboutTickets(c *tools.Call, in getTicketsIn) ([]tools.Object, error) {
	switch {
	case in.TicketID != "":
		return aboutTicket(c, in.TicketID)
	case in.Queue != "":
		return []tools.Object{{"ticket:*", "queue:" + in.Queue + "/*"}}, nil
	}
	return []tools.Object{{"ticket:*", "queue:*"}}, nil
}

// aboutPause is what is to be paused. A discount has an id and a code, and goes by both whichever the caller wrote.
func aboutPause(c *tools.Call, in pauseIn) ([]tools.Object, error) {
	asked := []tools.Object{{in.Kind + ":" + in.ID}}
	if in.Kind != "discount" {
		return asked, nil
	}
	d, err := desk(c)
	if err != nil {
		return nil, err
	}
	x, err := d.Discount(in.ID)
	if errors.Is(err, store.ErrNotFound) {
		return asked, nil
	}
	return []tools.Object{discountObject(x)}, err
}
