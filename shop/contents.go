package shop

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"time"
)

// Contents is a whole demo merchant in memory, from either source, complete and checked: what load writes.
type Contents struct {
	Shop        Shop
	Products    []Product
	Variants    []Variant
	Customers   []Customer
	Orders      []Order  // by time placed
	Refunds     []Refund // by time
	Segments    []Segment
	Campaigns   []Campaign
	Deliveries  []Delivery         // of campaigns already sent
	Touches     map[string][]Touch // by order, earliest first; made by load
	Discounts   []Discount
	Tickets     []Ticket
	AdAccounts  []AdAccount
	AdCampaigns []AdCampaign
	AdDays      []adDay
	Pages       []WebPage
}

// A Delivery is one message to one customer.
type Delivery struct {
	MailingID  string // the campaign, or a notice's own id
	CustomerNo string
	Batch      int64
	Address    string
	CreatedAt  time.Time
	CarriedAt  time.Time // zero: waits for the carrier
}

// A Summary says what a load put into the shop.
type Summary struct {
	Source       Source `json:"source"`
	Products     int    `json:"products"`
	Variants     int    `json:"variants"`
	Customers    int    `json:"customers"`
	Orders       int    `json:"orders"`
	Lines        int    `json:"lines"`
	Refunds      int    `json:"refunds"`
	Campaigns    int    `json:"campaigns"`
	Tickets      int    `json:"tickets"`
	Gross        Money  `json:"gross"`
	Refunded     Money  `json:"refunded"`
	FirstDay     string `json:"first_day"`
	LastDay      string `json:"last_day"`
	ShiftedWeeks int64  `json:"shifted_weeks"`
	Attribution  string `json:"attribution"` // to be shown to whoever loads or sees the data
}

// Summary counts the contents.
func (c *Contents) Summary() Summary {
	s := Summary{
		Source: c.Shop.Source, Products: len(c.Products), Variants: len(c.Variants), Customers: len(c.Customers),
		Orders: len(c.Orders), Refunds: len(c.Refunds), Campaigns: len(c.Campaigns), Tickets: len(c.Tickets),
		Gross: c.money(0), Refunded: c.money(0), FirstDay: Day(c.Orders[0].PlacedAt), LastDay: Day(c.Shop.DataUntil),
		ShiftedWeeks: c.Shop.ShiftedWeeks, Attribution: c.Shop.Attribution,
	}
	for _, o := range c.Orders {
		s.Lines += len(o.Lines)
		s.Gross.AmountMinor += o.Subtotal.AmountMinor
		s.Refunded.AmountMinor += o.Refunded.AmountMinor
	}
	return s
}

func (c *Contents) money(minor int64) Money { return Money{minor, c.Shop.Currency} }

// finish derives what both sources leave open: the order of rows, how far each order has come, and how far the data
// reaches. Orders of the last two days are still open; a customer's consent dates from the first order.
func (c *Contents) finish() {
	slices.SortStableFunc(c.Orders, func(a, b Order) int {
		return cmp.Or(a.PlacedAt.Compare(b.PlacedAt), cmp.Compare(a.No, b.No))
	})
	slices.SortStableFunc(c.Refunds, func(a, b Refund) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.No, b.No)) })
	c.Shop.DataUntil = c.lastEvent()
	fresh := Day(c.Shop.DataUntil.In(London).AddDate(0, 0, -1))
	for i := range c.Orders {
		c.Orders[i].settle(Day(c.Orders[i].PlacedAt) >= fresh)
	}
	c.sumCustomers()
	for i := range c.Customers {
		c.Customers[i].fillContact()
	}
	for i := range c.Variants {
		v := &c.Variants[i]
		v.OnHand, v.Cost = onHand(v.SKU), c.money(cost(v.SKU, v.Price.AmountMinor))
	}
}

// sumCustomers adds up each customer's orders, as recount does in the database. Orders are in the order of their time.
func (c *Contents) sumCustomers() {
	byNo := make(map[string]*Customer, len(c.Customers))
	for i := range c.Customers {
		c.Customers[i].Spent = c.money(0)
		byNo[c.Customers[i].No] = &c.Customers[i]
	}
	for _, o := range c.Orders {
		p := byNo[o.CustomerNo]
		if p.FirstOrderAt.IsZero() {
			p.FirstOrderAt = o.PlacedAt
		}
		if o.Status != OrderCancelled {
			p.Orders++
			p.Spent.AmountMinor += o.Total.AmountMinor - o.Refunded.AmountMinor
			p.LastOrderAt = o.PlacedAt
		}
	}
}

func (c *Contents) lastEvent() time.Time {
	var last time.Time
	for _, o := range c.Orders {
		last = later(last, o.PlacedAt)
	}
	for _, r := range c.Refunds {
		last = later(last, r.At)
	}
	return last
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// settle decides an order's status from its money and, where no money decides, from whether it is fresh.
func (o *Order) settle(fresh bool) {
	switch {
	case o.Status == OrderCancelled:
		return
	case o.Refunded.AmountMinor > 0:
		o.Status = RefundedStatus(o.Refunded, o.Total)
	case fresh:
		o.Status = OrderOpen
		return
	default:
		o.Status = OrderFulfilled
	}
	for i := range o.Lines {
		o.Lines[i].QtyShipped = o.Lines[i].Qty
	}
}

// RefundedStatus is the status of an order of which something was given back.
func RefundedStatus(refunded, total Money) OrderStatus {
	if refunded.AmountMinor == total.AmountMinor {
		return OrderRefunded
	}
	return OrderPartRefunded
}

// add puts a line into an order and its sums.
func (o *Order) add(l Line) {
	qty := l.Qty
	l.Line, l.Qty = int64(len(o.Lines)+1), 0
	o.Lines = append(o.Lines, l)
	o.more(len(o.Lines)-1, qty)
}

// more puts further pieces into a line and the order's sums.
func (o *Order) more(line int, qty int64) {
	o.Lines[line].Qty += qty
	o.Items += qty
	o.Subtotal.AmountMinor += qty * o.Lines[line].UnitPrice.AmountMinor
	o.Total.AmountMinor = o.Subtotal.AmountMinor + o.Shipping.AmountMinor - o.Discount.AmountMinor
}

// fillContact makes up what the sources do not have. It depends on the customer's number alone, so that every load
// gives the same; consent dates from the first order. The phone numbers are those that Ofcom keeps free for drama;
// example.com belongs to nobody.
func (c *Customer) fillContact() {
	c.ContactSynthetic = true
	c.Email = "c" + c.No + "@example.com"
	if hash("email", c.No)%100 < 62 {
		c.EmailConsentAt = c.FirstOrderAt
	}
	if c.Country != "United Kingdom" {
		return
	}
	c.Phone = "07700 " + strconv.FormatUint(900000+hash("phone", c.No)%1000, 10)
	if hash("sms", c.No)%100 < 35 {
		c.SMSConsentAt = c.FirstOrderAt
	}
}

// onHand makes up a stock level from the SKU: one in twenty is out, one in ten low.
func onHand(sku string) int64 {
	switch h := hash("stock", sku); h % 20 {
	case 0:
		return 0
	case 1, 2:
		return 1 + int64(h/20%(LowStock-1))
	default:
		return LowStock + int64(h/20%490)
	}
}

// cost makes up what a piece costs the shop: 45 to 65 percent of its price, by the SKU.
func cost(sku string, priceMinor int64) int64 {
	return priceMinor * int64(4500+hash("cost", sku)%2001) / 10000
}

// hash spreads a key evenly and the same way for ever; what keeps the uses of one key apart.
func hash(what, key string) uint64 {
	sum := sha256.Sum256([]byte(what + "\x00" + key))
	return binary.BigEndian.Uint64(sum[:])
}
