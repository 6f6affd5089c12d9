package shop

import "time"

// campaignPlans are the generated shop's campaigns. Texts are of the shop's own.
var campaignPlans = []struct {
	name, channel, status string
	daysAgo               int // sent, to be sent, or written
	subject, body         string
}{
	{
		"Summer Table", "email", "sent", 118, "Lunch outside, for as long as it lasts",
		"Hello,\n\nthe new linen is in, the platters are back, and everything for a long table is 10% off until Sunday with WELCOME10.\n\nYour shop",
	},
	{
		"Back to the Desk", "email", "sent", 74, "Pencils sharpened",
		"Hello,\n\njournals, pencil rolls and a calendar that never ends: the desk shelf is full again.\n\nYour shop",
	},
	{
		"Autumn Evenings", "sms", "sent", 41, "",
		"Candles for longer evenings: three for two on Fen Reed until Friday. Reply STOP to opt out.",
	},
	{
		"Early Christmas List", "email", "sent", 12, "The advent house is back",
		"Hello,\n\nlast year it was gone by the tenth of November. This year we made more, though not many more.\n\nYour shop",
	},
	{
		"Last Posting Dates", "email", "scheduled", -9, "Order by Thursday for Christmas",
		"Hello,\n\nparcels ordered by Thursday noon arrive in time within the United Kingdom.\n\nYour shop",
	},
	{
		"Garden Clear-out", "email", "paused", 20, "Making room in the shed",
		"Hello,\n\nthe last of this year's pots and troughs go at 20% off while they are here.\n\nYour shop",
	},
	{
		"New Year Notebook", "email", "draft", 3, "A clean page",
		"Hello,\n\na journal and three pencils, together for less.\n\nYour shop",
	},
	{
		"Sunday Soap Drop", "sms", "draft", 1, "",
		"Rose Clay soap is back in stock. First come, first washed. Reply STOP to opt out.",
	},
}

// addCampaigns makes the campaigns, and the deliveries of those that have gone out: what a customer got depends on when
// the customer agreed to get it.
func (g *generator) addCampaigns() {
	for _, plan := range campaignPlans {
		at := g.today.AddDate(0, 0, -plan.daysAgo).Add(10 * time.Hour)
		written := g.today.AddDate(0, 0, -max(plan.daysAgo, 1)-2).Add(15 * time.Hour)
		c := Campaign{
			ID: fixedID("cmp", written, plan.name), Name: plan.name, Channel: plan.channel, Status: plan.status,
			AttributedRevenue: g.money(0), Subject: plan.subject, Body: plan.body, CreatedAt: written, CreatedBy: "staff",
		}
		switch plan.status {
		case "scheduled":
			c.ScheduledAt = at
		case "sent":
			c.SentAt = at
			g.deliver(&c)
		}
		g.Campaigns = append(g.Campaigns, c)
	}
}

// batchOf is how many messages go out at a time.
const batchOf = 200

func (g *generator) deliver(c *Campaign) {
	for i := range g.Customers {
		p := &g.Customers[i]
		agreed, address := p.EmailConsentAt, p.Email
		if c.Channel == "sms" {
			agreed, address = p.SMSConsentAt, p.Phone
		}
		if agreed.IsZero() || agreed.After(c.SentAt) {
			continue
		}
		g.Deliveries = append(g.Deliveries, Delivery{
			MailingID: c.ID, CustomerNo: p.No, Batch: c.SentTo/batchOf + 1, Address: address,
			CreatedAt: c.SentAt, CarriedAt: c.SentAt.Add(time.Second),
		})
		p.LastContactedAt = later(p.LastContactedAt, c.SentAt)
		c.SentTo++
	}
	if c.Channel == "email" {
		c.Opened = c.SentTo * int64(36+g.IntN(18)) / 100
		c.Clicked = c.Opened * int64(8+g.IntN(12)) / 100
	}
	c.OptedOut = min(c.SentTo, int64(g.IntN(4)))
}

// addDiscounts makes the codes; orders use them as they are made.
func (g *generator) addDiscounts() {
	for _, d := range []struct {
		code       string
		percent    int64
		from, to   int // days ago
		status     string
		uses, most int64
	}{
		{"WELCOME10", 10, 300, 60, "ended", 400, 8000_00},
		{"AUTUMN15", 15, 70, -10, "active", 200, 6000_00},
		{"PRESS20", 20, 200, -60, "paused", 25, 1500_00},
	} {
		created := g.today.AddDate(0, 0, -d.from-1).Add(9 * time.Hour)
		g.Discounts = append(g.Discounts, Discount{
			ID: fixedID("dis", created, d.code), Code: d.code, PercentOff: d.percent, MaxUses: d.uses,
			MaxGivenAway: g.money(d.most), GivenAway: g.money(0), Status: d.status,
			StartOn: Day(g.today.AddDate(0, 0, -d.from)), EndOn: Day(g.today.AddDate(0, 0, -d.to)),
			CreatedAt: created, CreatedBy: "staff",
		})
	}
}

// redeem uses a code on an order if one is running that still has room, on one order in nine.
func (g *generator) redeem(o *Order) {
	if g.IntN(9) != 0 {
		return
	}
	day := Day(o.PlacedAt)
	for i := range g.Discounts {
		d := &g.Discounts[i]
		off := o.Subtotal.AmountMinor * d.PercentOff / 100
		if day < d.StartOn || day > d.EndOn || d.Uses == d.MaxUses || d.GivenAway.AmountMinor+off > d.MaxGivenAway.AmountMinor {
			continue
		}
		d.Uses++
		d.GivenAway.AmountMinor += off
		o.Discount.AmountMinor = off
		return
	}
}
