package shop

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// The size of the generated shop.
const (
	madeCustomers = 300
	madeOrders    = 2000
	madeDays      = 395 // 13 months
)

const generatedAttribution = "Made up by dtcgate's demo generator; any likeness to a real shop or person is chance."

// A generator makes a shop up. All chance comes from one sequence, so that the same seed and day give the same shop,
// byte for byte. Its shape (size of orders, refunds, season) follows the quantiles of a real one.
type generator struct {
	*Contents
	*rand.Rand
	today time.Time // London midnight; the last orders are of the day before
	// popular picks a variant by how well it sells: the cumulated weights of Variants.
	popular []float64
	seasons map[string]string // category, by SKU
}

// Generate makes up a merchant: the same one for the same seed and day.
func Generate(seed int64, today time.Time) *Contents {
	midnight := today.In(London)
	midnight = time.Date(midnight.Year(), midnight.Month(), midnight.Day(), 0, 0, 0, 0, London)
	g := &generator{
		Contents: &Contents{Shop: Shop{Currency: "GBP", Source: Generated, Seed: seed, Attribution: generatedAttribution}},
		Rand:     rand.New(rand.NewPCG(uint64(seed), 0x64746367617465)), // any fixed second half will do
		today:    midnight, seasons: map[string]string{},
	}
	g.addProducts()
	g.addCustomers()
	g.addDiscounts()
	g.addOrders()
	g.addBigOrder()
	g.addRefunds()
	g.finish()
	g.addSegments()
	g.addCampaigns()
	g.addTickets()
	g.addAds()
	g.addPages()
	g.addCustomerNotes()
	return g.Contents
}

// spread draws around a median with a long tail: two thirds of the draws lie within a factor of e^sigma.
func (g *generator) spread(median, sigma float64) float64 {
	return median * math.Exp(sigma*g.NormFloat64())
}

func (g *generator) addProducts() {
	var weight float64
	for i, w := range wares {
		code := fmt.Sprint(40010 + 10*i)
		g.Products = append(g.Products, Product{
			Code: code, Title: w.title, Description: w.about, Category: w.category, Status: "active",
		})
		for j, option := range append([]string{""}, w.options...) {
			v := Variant{SKU: code, ProductCode: code, Title: w.title, Price: g.money(w.price)}
			if len(w.options) > 0 {
				if j == 0 {
					continue // the product itself is not for sale, only its variants
				}
				v.SKU, v.Option, v.Title = code+string(rune('A'+j-1)), option, w.title+", "+option
			}
			g.Variants = append(g.Variants, v)
			g.seasons[v.SKU] = w.category
			weight += g.spread(1, 1)
			g.popular = append(g.popular, weight)
		}
	}
}

// homes are the countries of customers and how many in a hundred live there.
var homes = []struct {
	country string
	percent int
}{
	{"United Kingdom", 88}, {"Germany", 3}, {"France", 3}, {"Ireland", 2}, {"Netherlands", 1}, {"Spain", 1}, {"Norway", 1}, {"Japan", 1},
}

func (g *generator) addCustomers() {
	for i := range madeCustomers {
		n := g.IntN(100)
		home := 0
		for n >= homes[home].percent {
			n -= homes[home].percent
			home++
		}
		g.Customers = append(g.Customers, Customer{No: fmt.Sprint(1001 + i), Country: homes[home].country})
	}
}

// addOrders makes the orders. Every customer has one; the rest goes to few: about a third buy once, some every week.
func (g *generator) addOrders() {
	var keen []float64
	var sum float64
	for range g.Customers {
		sum += g.spread(1, 1.5)
		keen = append(keen, sum)
	}
	buyers := g.Perm(madeCustomers)
	for len(buyers) < madeOrders-1 {
		buyers = append(buyers, g.pick(keen))
	}
	g.Shuffle(len(buyers), func(i, j int) { buyers[i], buyers[j] = buyers[j], buyers[i] })
	for i, at := range g.times() {
		g.addOrder(fmt.Sprint(70001+i), g.Customers[buyers[i]], at)
	}
}

// pick draws an index by cumulated weights.
func (g *generator) pick(cumulated []float64) int {
	i, _ := slices.BinarySearch(cumulated, g.Float64()*cumulated[len(cumulated)-1])
	return i
}

// months says how busy each month is, January first.
var months = []float64{0.7, 0.7, 0.9, 0.8, 1, 1, 0.9, 0.9, 1.3, 1.5, 2.1, 1.2}

// times draws when the orders come in, in order: more before Christmas, fewer at weekends, none at night.
func (g *generator) times() []time.Time {
	first := g.today.AddDate(0, 0, -madeDays)
	var busy []float64
	var sum float64
	for i := range madeDays {
		day := first.AddDate(0, 0, i)
		weight := months[day.Month()-1]
		switch day.Weekday() {
		case time.Saturday:
			weight *= 0.3
		case time.Sunday:
			weight *= 0.6
		}
		sum += weight
		busy = append(busy, sum)
	}
	times := make([]time.Time, madeOrders-1) // the big one comes on top
	for i := range times {
		day := first.AddDate(0, 0, g.pick(busy))
		times[i] = time.Date(day.Year(), day.Month(), day.Day(), 8, g.IntN(12*60), 0, 0, London)
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

func (g *generator) newOrder(no string, c Customer, at time.Time) Order {
	zero := g.money(0)
	return Order{
		No: no, CustomerNo: c.No, PlacedAt: at, SourcePlacedAt: at, ShipCountry: c.Country,
		Subtotal: zero, Shipping: zero, Discount: zero, Total: zero, Refunded: zero,
	}
}

// addOrder makes an order of about as much as a draw says, spread over half a dozen lines or so.
func (g *generator) addOrder(no string, c Customer, at time.Time) {
	o := g.newOrder(no, c, at)
	worth := g.spread(265_00, 0.8)
	if g.IntN(40) == 0 {
		worth *= 6 // a shop buys for its shelves
	}
	lines := min(max(int(g.spread(6, 0.7)), 1), 60)
	has := map[string]bool{}
	for range lines {
		v := g.Variants[g.pick(g.popular)]
		winter := at.Month() >= time.September
		if has[v.SKU] || g.seasons[v.SKU] == "christmas" && !winter && g.IntN(8) > 0 {
			continue
		}
		has[v.SKU] = true
		o.add(g.line(v, g.spread(worth/float64(lines), 0.5)))
	}
	if len(o.Lines) == 0 {
		o.add(g.line(g.Variants[0], worth))
	}
	g.redeem(&o)
	o.Shipping.AmountMinor = postageTo(o)
	o.more(0, 0) // the sums, with discount and postage
	o.CustomerNote = g.note()
	g.Orders = append(g.Orders, o)
}

// line is as many pieces of a variant as come to worth; by the dozen they are cheaper.
func (g *generator) line(v Variant, worth float64) Line {
	qty := max(int64(math.Round(worth/float64(v.Price.AmountMinor))), 1)
	price := v.Price
	if qty >= 12 {
		qty = qty / 6 * 6
		price.AmountMinor = price.AmountMinor * 85 / 100
	}
	return Line{SKU: v.SKU, Title: v.Title, Qty: qty, UnitPrice: price}
}

func postageTo(o Order) int64 {
	switch {
	case o.ShipCountry == "Japan":
		return 28_00
	case o.ShipCountry != "United Kingdom":
		return 14_50
	case o.Subtotal.AmountMinor >= 75_00:
		return 0
	}
	return 4_95
}

// addBigOrder is the shop's lesson in approvals: a slip of the keyboard on the last day, given back in full twelve
// minutes later.
func (g *generator) addBigOrder() {
	at := g.today.AddDate(0, 0, -1).Add(9*time.Hour + 15*time.Minute)
	o := g.newOrder(fmt.Sprint(70000+madeOrders), g.Customers[0], at)
	v := g.Variants[0]
	o.add(Line{SKU: v.SKU, Title: v.Title, Qty: 3_600, UnitPrice: g.money(v.Price.AmountMinor * 85 / 100)})
	r := g.newRefund(&o, at.Add(12*time.Minute), "duplicate", "3,600 instead of 36; the customer rang at once")
	giveBack(&o, &r, v.SKU, o.Items, o.Lines[0].UnitPrice)
	g.Orders = append(g.Orders, o)
	g.Refunds = append(g.Refunds, r)
}

func (g *generator) newRefund(o *Order, at time.Time, cause, reason string) Refund {
	return Refund{
		No: "R" + o.No + "-1", OrderNo: o.No, At: at, Amount: g.money(0), Cause: cause, Reason: reason, Actor: "staff",
	}
}

// causes are why customers get money back; the first ones more often.
var causes = []struct{ cause, reason string }{
	{"damaged", "Arrived broken; photo on file"},
	{"damaged", "Chipped rim"},
	{"changed_mind", "Returned unused"},
	{"wrong_item", "Other colour than ordered"},
	{"not_received", "Missing from the parcel"},
}

// addRefunds gives something back on a fifth of the orders, mostly little; a few orders are cancelled as a whole.
func (g *generator) addRefunds() {
	for i := range g.Orders {
		o := &g.Orders[i]
		at := o.PlacedAt.Add(time.Duration(g.IntN(20*24*60)+300) * time.Minute)
		if !at.Before(g.today) || o.Refunded.AmountMinor > 0 {
			continue
		}
		switch n := g.IntN(1000); {
		case n < 4:
			g.cancel(o, o.PlacedAt.Add(3*time.Hour))
		case n < 12:
			g.goodwill(o, at)
		case n < 200:
			g.giveBackSome(o, at)
		}
	}
}

func (g *generator) giveBackSome(o *Order, at time.Time) {
	why := causes[g.IntN(len(causes))]
	r := g.newRefund(o, at, why.cause, why.reason)
	for range 1 + g.IntN(5)/4 {
		l := o.Lines[g.IntN(len(o.Lines))]
		qty := int64(math.Round(g.spread(6_00, 1.3) / float64(l.UnitPrice.AmountMinor)))
		if qty = min(max(qty, 1), l.Qty-l.QtyRefunded); qty > 0 {
			giveBack(o, &r, l.SKU, qty, l.UnitPrice) // changes nothing where the order has not as much left
		}
	}
	if r.Amount.AmountMinor > 0 {
		g.Refunds = append(g.Refunds, r)
	}
}

func (g *generator) goodwill(o *Order, at time.Time) {
	r := g.newRefund(o, at, "goodwill", "Late parcel")
	r.Amount.AmountMinor = min(5_00, o.Total.AmountMinor)
	o.Refunded.AmountMinor += r.Amount.AmountMinor
	g.Refunds = append(g.Refunds, r)
}

// cancel gives everything back, postage too.
func (g *generator) cancel(o *Order, at time.Time) {
	r := g.newRefund(o, at, "changed_mind", "Cancelled before it was packed")
	left := o.Subtotal.AmountMinor - o.Discount.AmountMinor
	for i := range o.Lines {
		l := &o.Lines[i]
		l.QtyRefunded = l.Qty
		part := min(l.Qty*l.UnitPrice.AmountMinor, left)
		left -= part
		r.addLine(RefundLine{Line: l.Line, SKU: l.SKU, Qty: l.Qty, Amount: g.money(part)})
	}
	r.Amount, o.Refunded, o.Status = o.Total, o.Total, OrderCancelled
	g.Refunds = append(g.Refunds, r)
}
