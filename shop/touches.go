package shop

import (
	"time"
)

// A Touch is a contact with the shop that led to an order.
type Touch struct {
	Channel    string
	CampaignID string // of messages or of ads; empty: no campaign
}

// Channels of a touch, beside Email and SMS.
const (
	Ads     = "ads"
	Organic = "organic" // found the shop by a search
	Direct  = "direct"  // came by themselves
)

// A Model says which touches of an order are credited with it.
type Model string

// The models.
const (
	LastTouch  Model = "last_touch"
	FirstTouch Model = "first_touch"
	Linear     Model = "linear"
)

var models = []Model{FirstTouch, LastTouch, Linear}

// credited are the touches among which an order is shared evenly. An order without touches came directly.
func (m Model) credited(touches []Touch) []Touch {
	switch n := len(touches); {
	case n == 0:
		return []Touch{{Channel: Direct}}
	case m == FirstTouch:
		return touches[:1]
	case m == LastTouch:
		return touches[n-1:]
	}
	return touches
}

// share is the i-th of n even parts of an amount. What cannot be parted goes to the first ones, so that the parts add up.
func share(amount int64, i, n int) int64 {
	part := amount / int64(n)
	if int64(i) < amount%int64(n) {
		part++
	}
	return part
}

// wholeOrder is an order in thousandths.
const wholeOrder = 1000

// creditSum is what one touch is credited with: orders in thousandths, and money.
type creditSum struct{ orders, net int64 }

type booking bool

// An order is sold once, and may be given back in several parts.
const (
	sold      booking = true
	givenBack booking = false
)

// credit books a span of an order's money with its touches, under every model. The parts of a span are those of its end
// minus those of its start, so that spans that follow each other come to the parts of the whole, and an order given back
// bit by bit leaves nothing with any touch.
func (b *book) credit(order, day string, what booking, money span) {
	for _, m := range models {
		touches := m.credited(b.touches[order])
		for i, touch := range touches {
			sum := at(b.credits, creditKey{m, day, touch})
			part := share(money.to, i, len(touches)) - share(money.from, i, len(touches))
			if what == givenBack {
				sum.net -= part
				continue
			}
			sum.orders += share(wholeOrder, i, len(touches))
			sum.net += part
		}
	}
}

// touchWindow is how long a campaign's message may lead to an order.
const touchWindow = 14 * 24 * time.Hour

// Chance for the touches, to be drawn from evenly: how many an order has, and of which channel each is.
var (
	touchCounts   = []int{0, 0, 0, 1, 1, 1, 1, 2, 2, 3}
	touchChannels = []string{Ads, Ads, Ads, Organic, Organic, Organic, Email, Email, SMS, Direct}
)

// addTouches makes up what led to each order: nobody knows of any in either source. It depends on the order alone, so that
// every load gives the same. Only customers who agreed to a channel are touched on it. An order that is taken to have come
// of an ad has it as last touch; else, where the customer had a campaign's message within touchWindow before, every other
// time that is the last touch. What a campaign is told to have brought in is what it brought in as last touch.
func (c *Contents) addTouches() {
	people, got := map[string]*Customer{}, map[string][]Delivery{}
	for i := range c.Customers {
		people[c.Customers[i].No] = &c.Customers[i]
	}
	for _, d := range c.Deliveries {
		got[d.CustomerNo] = append(got[d.CustomerNo], d)
	}
	campaigns, ads := c.sources()
	c.Touches = map[string][]Touch{}
	for i := range c.Orders {
		o := &c.Orders[i]
		draw := hash("touches", o.No)
		touches := o.drawTouches(draw/2, people[o.CustomerNo])
		latest := latestBefore(got[o.CustomerNo], o.PlacedAt)
		switch {
		case ads[o.No] != "":
			touches = append(touches[:min(len(touches), 2)], Touch{Ads, ads[o.No]})
		case latest != nil && draw%2 == 0 && campaigns[latest.MailingID] != nil:
			k := campaigns[latest.MailingID]
			touches = append(touches[:min(len(touches), 2)], Touch{k.Channel, k.ID})
			k.AttributedRevenue.AmountMinor += o.worth()
		}
		c.Touches[o.No] = touches
	}
}

// sources are the campaigns by their ids, and the ad campaigns of which orders are taken to have come.
func (c *Contents) sources() (campaigns map[string]*Campaign, ads map[string]string) {
	campaigns, ads = map[string]*Campaign{}, map[string]string{}
	for i := range c.Campaigns {
		campaigns[c.Campaigns[i].ID] = &c.Campaigns[i]
	}
	for _, d := range c.AdDays {
		for _, order := range d.from {
			ads[order] = d.Campaign
		}
	}
	return campaigns, ads
}

// drawTouches makes touches out of a number. A message to somebody who had not agreed to any was none: they searched.
func (o *Order) drawTouches(draw uint64, of *Customer) []Touch {
	agreed := map[string]time.Time{Email: of.EmailConsentAt, SMS: of.SMSConsentAt}
	touches := []Touch{}
	n := touchCounts[draw%uint64(len(touchCounts))]
	for range n {
		draw /= 10
		channel := touchChannels[draw%uint64(len(touchChannels))]
		if at, asks := agreed[channel]; asks && (at.IsZero() || !at.Before(o.PlacedAt)) {
			channel = Organic
		}
		touches = append(touches, Touch{Channel: channel})
	}
	return touches
}

// latestBefore is the last delivery within touchWindow before an order.
func latestBefore(deliveries []Delivery, order time.Time) *Delivery {
	var latest *Delivery
	for i := range deliveries {
		d := &deliveries[i]
		since := order.Sub(d.CreatedAt)
		if since > 0 && since <= touchWindow && (latest == nil || d.CreatedAt.After(latest.CreatedAt)) {
			latest = d
		}
	}
	return latest
}

// orderTouches writes the touches, order by order.
func (w *writer) orderTouches(c *Contents) {
	t := w.sheet("order_touches", "order_no", "touch_no", "channel", "campaign_id")
	for _, o := range c.Orders {
		for i, touch := range c.Touches[o.No] {
			t.add(o.No, int64(i+1), touch.Channel, touch.CampaignID)
		}
	}
	t.flush()
}
