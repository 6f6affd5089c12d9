package dtc

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// What people are told of the thing that a parked call is about, read here and not taken from the caller. Contact data is no part of it:
// who decides about an order needs no address.

// dayOf writes a day for people: 3 Nov 2026.
func dayOf(t time.Time) string { return t.In(shop.London).Format("2 Jan 2006") }

// orderFacts are an order, whose it is, and what the customer wrote on it.
func orderFacts(c *tools.Call, no string) ([]tools.Fact, error) {
	d, err := desk(c)
	if err != nil {
		return nil, err
	}
	o, err := d.OrderHead(no)
	if err != nil {
		return nil, err
	}
	facts := []tools.Fact{
		{Label: "Order", Value: fmt.Sprintf("%s of %s, %s, to %s", o.No, dayOf(o.PlacedAt), strings.ReplaceAll(string(o.Status), "_", " "), o.ShipCountry)},
		{Label: "Paid", Value: fmt.Sprintf("%s for %s", o.Total, count(o.Items, "piece"))},
		{Label: "Given back so far", Value: fmt.Sprintf("%s, which leaves %s", o.Refunded, o.Refundable())},
	}
	buyer, err := customerFacts(d, o.CustomerNo)
	facts = append(facts, buyer...)
	if o.CustomerNote != "" {
		facts = append(facts, tools.Fact{Label: "Customer's note on the order", Value: o.CustomerNote, Quoted: true})
	}
	return facts, err
}

// customerFacts are who a customer is to the shop. None are told of one that is not there any more.
func customerFacts(d *shop.Desk, no string) ([]tools.Fact, error) {
	p, err := d.Customer(no)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value := fmt.Sprintf("%s of %s", p.No, p.Country)
	if !p.FirstOrderAt.IsZero() {
		value += ", since " + dayOf(p.FirstOrderAt)
	}
	value += fmt.Sprintf(", %s, %s spent", count(p.Orders, "order"), p.Spent)
	if !p.ErasedAt.IsZero() {
		value += ", personal values erased"
	}
	return []tools.Fact{{Label: "Customer", Value: value}}, nil
}

// ticketFacts are a ticket, the customer's last words in it, its order and whose it is.
func ticketFacts(c *tools.Call, id string) ([]tools.Fact, error) {
	d, err := desk(c)
	if err != nil {
		return nil, err
	}
	t, err := d.Ticket(id)
	if err != nil {
		return nil, err
	}
	facts := []tools.Fact{{Label: "Ticket", Value: fmt.Sprintf("%s in the queue %s, %s since %s, %s",
		t.ID, t.Queue, t.Status, dayOf(t.OpenedAt), count(t.Messages, "message"))}}
	words, err := lastWords(d, t.ID)
	if err != nil {
		return nil, err
	}
	if words != "" {
		facts = append(facts, tools.Fact{Label: "Customer's last message", Value: words, Quoted: true})
	}
	if t.OrderNo != "" {
		about, err := orderFacts(c, t.OrderNo)
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return append(facts, about...), err
	}
	buyer, err := customerFacts(d, t.CustomerNo)
	return append(facts, buyer...), err
}

// lastWords are the last that the customer wrote in a ticket, if it is not long ago.
func lastWords(d *shop.Desk, ticket string) (string, error) {
	thread, err := d.Thread(ticket, 10) // newest first
	for _, m := range thread {
		if m.Author == "customer" {
			return m.Body, err
		}
	}
	return "", err
}

// variantFacts are one SKU on the shelf.
func variantFacts(c *tools.Call, sku string) ([]tools.Fact, error) {
	d, err := desk(c)
	if err != nil {
		return nil, err
	}
	v, err := d.Variant(sku)
	if err != nil {
		return nil, err
	}
	value := fmt.Sprintf("%s “%s”, %s each, %s on hand", v.SKU, v.Title, v.Price, shop.Thousands(v.OnHand))
	if v.Cost.AmountMinor > 0 {
		value += fmt.Sprintf(", costs %s%s", v.Cost, simulatedNote(d))
	}
	return []tools.Fact{{Label: "SKU", Value: value}}, nil
}

// maxSKUs is how many SKUs of a call about many are told one by one.
const maxSKUs = 6

// variantsFacts are the first of many SKUs, and how many there are beside them.
func variantsFacts(c *tools.Call, skus []string) (facts []tools.Fact, err error) {
	for _, sku := range skus[:min(len(skus), maxSKUs)] {
		one, err := variantFacts(c, sku)
		if err != nil {
			return nil, err
		}
		facts = append(facts, one...)
	}
	if more := len(skus) - maxSKUs; more > 0 {
		facts = append(facts, tools.Fact{Label: "SKUs", Value: count(int64(more), "more SKU") + ", each in its row of the changes"})
	}
	return facts, nil
}

// campaignFacts are a campaign, whom it is for and who is left out. What it says stands in the preview, word for word.
func campaignFacts(c *tools.Call, in sendCampaignIn) ([]tools.Fact, error) {
	p, err := in.plan(c)
	if err != nil {
		return nil, err
	}
	audience := "everybody who agreed to " + channelWord(p.campaign.Channel)
	if p.segment.ID != "" {
		audience = fmt.Sprintf("the segment “%s” (%s), those of it who agreed to %s", p.segment.Name, p.segment.ID, channelWord(p.campaign.Channel))
	}
	return []tools.Fact{
		{Label: "Campaign", Value: fmt.Sprintf("%s “%s”, %s, %s, made on %s by %s",
			p.campaign.ID, p.campaign.Name, channelWord(p.campaign.Channel), p.campaign.Status, dayOf(p.campaign.CreatedAt), p.campaign.CreatedBy)},
		{Label: "Audience", Value: fmt.Sprintf("%s: %s", audience, count(p.reach.Recipients, "customer"))},
		{Label: "Left out", Value: fmt.Sprintf("%s without consent, %s written to lately",
			count(p.reach.NoConsent, "customer"), count(p.reach.JustReached, "customer"))},
	}, nil
}

// adAccountFact is the account that pays for ads.
func adAccountFact(d *shop.Desk, id string) (tools.Fact, error) {
	a, err := d.AdAccount(id)
	return tools.Fact{Label: "Ad account", Value: fmt.Sprintf("%s “%s” at %s, %s, at most %s a month",
		a.ID, a.Name, a.Platform, strings.ReplaceAll(a.Status, "_", " "), a.MonthCap)}, err
}

// launchFacts are who pays for an ad and what it is for.
func launchFacts(c *tools.Call, in launchAdIn) ([]tools.Fact, error) {
	d, err := desk(c)
	if err != nil {
		return nil, err
	}
	account, err := adAccountFact(d, in.AdAccountID)
	if err != nil {
		return nil, err
	}
	goods, err := variantFacts(c, in.SKU)
	return append([]tools.Fact{account}, goods...), err
}

// adBudgetFacts are a running ad and the account that pays for it.
func adBudgetFacts(c *tools.Call, in setAdBudgetIn) ([]tools.Fact, error) {
	d, ad, err := in.campaign(c)
	if err != nil {
		return nil, err
	}
	if ad, err = d.FillSpent(ad); err != nil {
		return nil, err
	}
	account, err := adAccountFact(d, ad.AccountID)
	return []tools.Fact{
		{Label: "Ad campaign", Value: fmt.Sprintf("%s “%s”, %s, from %s to %s", ad.ID, ad.Name, ad.Status, ad.StartOn, ad.EndOn)},
		{Label: "Budget", Value: fmt.Sprintf("%s a day, %s spent so far, %s sold through it", ad.DailyBudget, ad.Spent, ad.AttributedRevenue)},
		account,
	}, err
}

// pageFacts are a page as its visitors see it.
func pageFacts(c *tools.Call, in publishPageIn) ([]tools.Fact, error) {
	_, now, err := in.page(c)
	return []tools.Fact{{Label: "Page", Value: fmt.Sprintf("%s “%s”, version %d of %s by %s", now.Slug, now.Title, now.Version, dayOf(now.At), now.By)}}, err
}

// undoFacts are the write that is taken back.
func undoFacts(c *tools.Call, in undoIn) ([]tools.Fact, error) {
	e, err := c.Undos.Effect(c.Tx, c.Principal, in.UndoID)
	return []tools.Fact{{Label: "Write", Value: fmt.Sprintf("%s of %s by %s: %s", e.UndoID, dayOf(e.At), e.Tool, e.Summary)}}, err
}

// monthFacts are what the books of a month are made of, which its name alone does not tell.
func monthFacts(c *tools.Call, _ exportMonthIn) ([]tools.Fact, error) {
	_, e, err := export(c)
	return []tools.Fact{{Label: "Month", Value: fmt.Sprintf("%s: %s, net %s", e.Month, count(e.Rows, "row"), e.Net)}}, err
}

// privacyFacts are whose personal data is exported or erased.
func privacyFacts(c *tools.Call, in privacyIn) ([]tools.Fact, error) {
	d, err := desk(c)
	if err != nil {
		return nil, err
	}
	return customerFacts(d, in.CustomerNo)
}

// The facts of an action are those of its target.

func factsOfOrder[In any](c *tools.Call, _ In) ([]tools.Fact, error) {
	return orderFacts(c, c.Wish.ID())
}

func factsOfTicket[In any](c *tools.Call, _ In) ([]tools.Fact, error) {
	return ticketFacts(c, c.Wish.ID())
}

func factsOfVariant[In any](c *tools.Call, _ In) ([]tools.Fact, error) {
	return variantFacts(c, c.Wish.ID())
}
