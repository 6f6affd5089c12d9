package shop

// pagePlans are the pages of every demo shop: neither source has any.
var pagePlans = []struct{ slug, title, body string }{
	{"home", "Welcome", `# Things for the house, made to last

New this week: the winter shelf, with candles, throws and the advent house.

- [Gift guide](/gift-guide)
- [Delivery](/delivery)
- [Returns](/returns)
`},
	{"about", "About us", `# About us

We are a small shop for things that are used every day. Most of what we sell comes from workshops that we have visited.

We pack in paper and send from one warehouse.
`},
	{"delivery", "Delivery", `# Delivery

| To | Price | Time |
|----|-------|------|
| United Kingdom | £4.95, free from £75 | 2 to 3 working days |
| Europe | £14.50 | 5 to 8 working days |
| Japan | £28.00 | 8 to 12 working days |

Orders placed before noon leave on the same working day.
`},
	{"returns", "Returns", `# Returns

Send back what you do not like within 30 days, unused and in its box. We refund the way you paid within five working
days of its arrival.

Something arrived broken? Write to us with a photo; you need not send it back.
`},
	{"faq", "Questions and answers", `# Questions and answers

**Where is my order?** The mail that tells you it has left holds a link to the carrier.

**Can I change my address?** Until the parcel has left, yes. Write to us with the order number.

**Do you sell to shops?** Yes; dozens are cheaper, and the price in the basket says so.
`},
	{"contact", "Contact", `# Contact

Write to help@shop.example. We answer on working days, mostly the same day.
`},
	{"privacy", "Privacy", `# Privacy

We keep what an order needs: name, address, what was bought. We write about offers only to those who asked for it, and
every mail says how to stop.

You may ask what we hold about you, or ask us to erase it.
`},
	{"gift-guide", "Gift guide", `# Gift guide

- **Under £10:** a bar of soap, a packet of seeds
- **Under £25:** a candle, a pair of mugs
- **Under £50:** a lantern, a throw

A note can go into the parcel; no invoice will.
`},
}

// addPages publishes the pages at the time of the first order.
func (c *Contents) addPages() {
	for _, p := range pagePlans {
		c.Pages = append(c.Pages, WebPage{Slug: p.slug, Title: p.title, Body: p.body, Version: 1, At: c.Orders[0].PlacedAt, By: "staff"})
	}
}
