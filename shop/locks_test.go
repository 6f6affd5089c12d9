//go:build !race

package shop_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// TestWritersNeverDeadlock lets sixteen callers do all that the shop can do, on a handful of the same rows, and fails when
// PostgreSQL has to end a circle of them: the order of locks in the package comment is kept by all.
func TestWritersNeverDeadlock(t *testing.T) {
	db := storetest.New(t, "postgres")
	loadDemo(t, db)
	c := newCrowd(t, db)
	db.Now = func() time.Time { return sunday.Add(time.Duration(c.days.Load()) * 25 * time.Hour) }
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() { c.act(rand.New(rand.NewPCG(7, uint64(i))), time.Now().Add(2*time.Second)) })
	}
	all.Wait()
	for what, did := range c.did {
		if did.Load() == 0 {
			t.Errorf("nobody could %s", what)
		}
	}
}

// A crowd acts on the same few things.
type crowd struct {
	*testing.T
	db        *store.DB
	days      atomic.Int64 // that have passed: customers rest for one between two campaigns
	customers []string
	orders    []string
	tickets   []string
	skus      []string
	products  []string
	segments  []string
	ads       []string
	did       map[string]*atomic.Int64
	acts      map[string]func(*shop.Desk, *rand.Rand) error // each in a transaction
	alone     map[string]func(*rand.Rand) error             // these make their own
}

func newCrowd(t *testing.T, db *store.DB) *crowd {
	c := &crowd{T: t, db: db, did: map[string]*atomic.Int64{}}
	column := func(q string) (all []string) {
		for _, row := range texts(t, db, 1, q) {
			all = append(all, row[0])
		}
		return all
	}
	const hot = "(SELECT customer_no FROM tickets WHERE merchant_id = $1 ORDER BY customer_no LIMIT 4)"
	c.customers = column("SELECT customer_no FROM customers WHERE merchant_id = $1 AND customer_no IN " + hot)
	c.tickets = column("SELECT ticket_id FROM tickets WHERE merchant_id = $1 AND customer_no IN " + hot)
	c.orders = column("SELECT order_no FROM orders WHERE merchant_id = $1 AND customer_no IN " + hot + " ORDER BY placed_at DESC LIMIT 40")
	c.skus = column("SELECT DISTINCT sku FROM order_lines WHERE merchant_id = $1 AND order_no = '" + c.orders[0] + "'")
	c.products = column("SELECT product_code FROM products WHERE merchant_id = $1 ORDER BY product_code LIMIT 3")
	for _, sku := range c.skus {
		c.products = append(c.products, column("SELECT product_code FROM variants WHERE merchant_id = $1 AND sku = '"+sku+"'")...)
	}
	c.segments = append(column("SELECT segment_id FROM segments WHERE merchant_id = $1 AND name IN ('United Kingdom', 'Recent buyers', 'Best customers') ORDER BY name DESC"), "")
	c.ads = column("SELECT ad_campaign_id FROM ad_campaigns WHERE merchant_id = $1 AND status = 'active'")
	for _, no := range c.orders {
		must(t, exec(t, db, "UPDATE orders SET status = 'open' WHERE order_no = $1 AND status = 'fulfilled'", no))
		must(t, exec(t, db, "UPDATE order_lines SET qty_shipped = qty_refunded WHERE order_no = $1", no))
	}
	c.acts = map[string]func(*shop.Desk, *rand.Rand) error{
		"refund": c.refund, "cancel": c.cancel, "ship": c.ship, "label": c.label, "price": c.price, "count stock": c.stock, "recall": c.recall,
		"move a product": c.category, "tag": c.tag, "reply": c.reply, "draft": c.draft, "close a ticket": c.closeTicket,
		"export": c.export, "pause an ad": c.pauseAd,
	}
	c.alone = map[string]func(*rand.Rand) error{"send": c.send, "erase": c.erase, "carry": c.carry, "tidy": c.tidy, "archive": c.archive, "budget an ad": c.budgetAd}
	for what := range c.acts {
		c.did[what] = new(atomic.Int64)
	}
	for what := range c.alone {
		c.did[what] = new(atomic.Int64)
	}
	return c
}

// dangerous is what takes many rows; it is done more often than the rest.
var dangerous = []string{"send", "send", "send", "send", "erase", "erase", "erase", "reply", "reply", "refund", "move a product"}

// idle reports whether there is something that nobody has done yet.
func (c *crowd) idle() bool {
	for _, did := range c.did {
		if did.Load() == 0 {
			return true
		}
	}
	return false
}

// act does one thing after another until the time is over; on a slow machine until everything was done once.
func (c *crowd) act(chance *rand.Rand, until time.Time) {
	names := append(slices.Sorted(maps.Keys(c.did)), dangerous...)
	for time.Now().Before(until) || c.idle() && time.Now().Before(until.Add(20*time.Second)) {
		what := one(names, chance)
		var err error
		if alone := c.alone[what]; alone != nil {
			err = alone(chance)
		} else {
			err = at(c.T, c.db, func(d *shop.Desk) error { return c.acts[what](d, chance) })
		}
		switch {
		case err == nil:
			c.did[what].Add(1)
		case errors.Is(err, shop.ErrChanged), errors.Is(err, shop.ErrResting), errors.Is(err, shop.ErrArchived), errors.Is(err, shop.ErrInUse), errors.As(err, new(*shop.OverCap)), errors.Is(err, store.ErrNotFound), store.IsConstraint(err):
		default:
			c.Errorf("%s: %v", what, err)
		}
	}
}

func one[T any](of []T, chance *rand.Rand) T { return of[chance.IntN(len(of))] }

func (c *crowd) refund(d *shop.Desk, chance *rand.Rand) error {
	o, err := d.Order(one(c.orders, chance))
	if err != nil {
		return err
	}
	var back []shop.Return
	for _, l := range o.Lines {
		if l.Qty > l.QtyRefunded {
			back = append(back, shop.Return{Line: l.Line, Qty: 1, Restock: l.Out() > 0})
		}
	}
	tell, err := c.tells(d, o, chance)
	if err == nil {
		_, err = d.Refund(o, shop.Refund{Amount: gbp(1), Cause: "goodwill", Reason: "r", Actor: "test"}, back)
	}
	if err == nil && tell {
		err = d.Notify(o.CustomerNo, "c@example.com", shop.RefundNotice(o, gbp(1)))
	}
	return err
}

// tells is now and then true, for a change that the customer is told of.
func (c *crowd) tells(d *shop.Desk, o shop.Order, chance *rand.Rand) (bool, error) {
	if chance.IntN(2) == 0 {
		return false, nil
	}
	err := d.BeginNotice(o)
	if errors.Is(err, shop.ErrResting) {
		return false, nil
	}
	return err == nil, err
}

func (c *crowd) cancel(d *shop.Desk, chance *rand.Rand) error {
	o, err := d.Order(one(c.orders[:4], chance))
	if err == nil && o.Status != shop.OrderCancelled && o.Shipped() == 0 {
		_, err = d.Cancel(o, shop.Refund{Cause: "unknown", Actor: "test"})
	}
	return err
}

// ship ships a piece of each line and, every other time, takes it back.
func (c *crowd) ship(d *shop.Desk, chance *rand.Rand) error {
	o, err := d.Order(one(c.orders, chance))
	if err != nil {
		return err
	}
	s := shop.Shipment{Carrier: "dpd", TrackingNo: "T1", Actor: "test"}
	for _, l := range o.Lines {
		if l.ToShip() > 0 {
			s.Lines = append(s.Lines, shop.ShipmentLine{Line: l.Line, SKU: l.SKU, Qty: 1})
		}
	}
	after := o.AfterShipment(s)
	tell, err := c.tells(d, o, chance)
	if err == nil {
		s, err = d.Fulfil(o, s)
	}
	if err == nil && tell {
		err = d.Notify(o.CustomerNo, "c@example.com", shop.ShipmentNotice(o, s))
	}
	if err == nil && after != o.Status && chance.IntN(2) == 0 {
		err = d.Reopen(s.No, o.Version+1, o.Status, "test")
	}
	return err
}

func (c *crowd) label(d *shop.Desk, chance *rand.Rand) error {
	o, err := d.Order(one(c.orders, chance))
	if err != nil {
		return err
	}
	l, err := d.AddLabel(o, shop.Label{Carrier: "dpd", WeightGrams: 100, Cost: gbp(599), CreatedBy: "test"})
	if err == nil {
		err = d.VoidLabel(l, "test")
	}
	return err
}

func (c *crowd) price(d *shop.Desk, chance *rand.Rand) error {
	skus := slices.Clone(c.skus)
	chance.Shuffle(len(skus), func(i, j int) { skus[i], skus[j] = skus[j], skus[i] })
	if err := d.HoldVariants(skus); err != nil {
		return err
	}
	variants, err := d.Variants(skus)
	b := shop.PriceBatch{Reason: "r", Actor: "test"}
	for _, sku := range skus {
		b.Changes = append(b.Changes, shop.PriceChange{SKU: sku, Old: variants[sku].Price, New: gbp(1 + chance.Int64N(900))})
	}
	if err == nil {
		_, err = d.SetPrices(b)
	}
	return err
}

func (c *crowd) hold(d *shop.Desk, chance *rand.Rand) (shop.Variant, error) {
	sku := one(c.skus, chance)
	if err := d.HoldVariants([]string{sku}); err != nil {
		return shop.Variant{}, err
	}
	return d.Variant(sku)
}

func (c *crowd) stock(d *shop.Desk, chance *rand.Rand) error {
	v, err := c.hold(d, chance)
	if err == nil {
		_, err = d.MoveStock(v, shop.StockMove{Delta: 500, Cause: "received", Actor: "test"})
	}
	return err
}

func (c *crowd) recall(d *shop.Desk, chance *rand.Rand) error {
	v, err := c.hold(d, chance)
	if err != nil || v.OnHand == 0 {
		return err
	}
	r, err := d.Recall(v, shop.Recall{ReasonCode: "safety", CreatedBy: "test"})
	if err == nil {
		err = d.PutBack(r)
	}
	return err
}

func (c *crowd) category(d *shop.Desk, chance *rand.Rand) error {
	p, err := d.Product(one(c.products, chance))
	if err != nil {
		return err
	}
	to := p
	to.Category = one([]string{"kitchen", "garden", "christmas"}, chance)
	to.Title += "!"
	_, err = d.UpdateProduct(p, to)
	return err
}

func (c *crowd) tag(d *shop.Desk, chance *rand.Rand) error {
	p, err := d.Customer(one(c.customers, chance))
	if err == nil {
		_, err = d.ChangeCustomer(p, []string{one([]string{"a", "b"}, chance), "c"}, nil)
	}
	return err
}

// erase erases a customer, who is given something to erase before.
func (c *crowd) erase(chance *rand.Rand) error {
	no := one(c.customers, chance)
	err := errors.Join(
		exec(c.T, c.db, "UPDATE customers SET erased_at = NULL, email = 'c@example.com', email_consent_at = 1 WHERE customer_no = $1", no),
		exec(c.T, c.db, "UPDATE orders SET customer_note = 'n' WHERE order_no = $1", one(c.orders, chance)),
	)
	if err != nil {
		return err
	}
	return at(c.T, c.db, func(d *shop.Desk) error {
		p, err := d.Customer(no)
		if err == nil {
			_, err = d.Erase(p)
		}
		return err
	})
}

func (c *crowd) export(d *shop.Desk, chance *rand.Rand) error {
	_, _, _, err := d.AddDossier(one(c.customers, chance))
	return err
}

func (c *crowd) reply(d *shop.Desk, chance *rand.Rand) error {
	ticket, err := d.Ticket(one(c.tickets, chance))
	if err == nil {
		err = d.SendReply(ticket.ID, ticket.Version, "an answer with some words", "test")
	}
	return err
}

func (c *crowd) draft(d *shop.Desk, chance *rand.Rand) error {
	id := one(c.tickets, chance)
	f, err := d.AddDraft(id, shop.Draft{Text: "a draft", By: "test"})
	if err == nil && chance.IntN(2) == 0 {
		err = d.DeleteDraft(id, f.ID)
	}
	return err
}

func (c *crowd) closeTicket(d *shop.Desk, chance *rand.Rand) error {
	ticket, err := d.Ticket(one(c.tickets, chance))
	if err != nil {
		return err
	}
	was, err := d.CloseTicket(ticket.ID, ticket.Version, "test")
	if err == nil {
		err = d.ReopenTicket(ticket.ID, was, ticket.Version+1)
	}
	return err
}

// send sends a campaign of its own to everybody, in batches of a size of its own, a day after the last one.
func (c *crowd) send(chance *rand.Rand) error {
	c.days.Add(1)
	limit := one([]int{3, 30, 200}, chance)
	var k shop.Campaign
	err := at(c.T, c.db, func(d *shop.Desk) (err error) {
		if k, err = d.AddCampaign(shop.Campaign{Name: "c", Channel: shop.Email, SegmentID: one(c.segments[:2], chance), Subject: "s", Body: "b", CreatedBy: "test"}); err == nil {
			err = d.BeginSend(k)
		}
		return err
	})
	after := ""
	for batch := int64(1); err == nil && batch <= 4; batch++ {
		err = at(c.T, c.db, func(d *shop.Desk) error {
			if _, err := d.HoldCampaign(k.ID); err != nil {
				return err
			}
			last, _, err := d.SendBatch(k, after, batch, limit)
			after = last
			return err
		})
		if after == "" {
			break
		}
	}
	if err == nil {
		err = at(c.T, c.db, func(d *shop.Desk) error { return d.EndSend(k.ID, shop.CampaignSent) })
	}
	return err
}

// archive puts a segment away, also one that others would send to.
func (c *crowd) archive(chance *rand.Rand) error {
	id := one(c.segments[:3], chance)
	if err := exec(c.T, c.db, "UPDATE segments SET archived_at = NULL WHERE segment_id = $1", id); err != nil {
		return err
	}
	return at(c.T, c.db, func(d *shop.Desk) error { return d.ArchiveSegment(id) })
}

func (c *crowd) pauseAd(d *shop.Desk, chance *rand.Rand) error {
	_, err := d.PauseAd(one(c.ads, chance))
	return err
}

// budgetAd gives an ad that runs another budget.
func (c *crowd) budgetAd(chance *rand.Rand) error {
	id := one(c.ads, chance)
	if err := exec(c.T, c.db, "UPDATE ad_campaigns SET status = 'active', end_on = '2027-12-31' WHERE ad_campaign_id = $1", id); err != nil {
		return err
	}
	return at(c.T, c.db, func(d *shop.Desk) error {
		k, err := d.AdCampaign(id)
		if err == nil {
			_, err = d.SetAdBudget(k, gbp(1+chance.Int64N(100)))
		}
		return err
	})
}

func (c *crowd) carry(*rand.Rand) error {
	carrier := &shop.Carrier{DB: c.db, Dir: filepath.Join(c.TempDir(), "out")}
	_, err := carrier.CarryOnce(c.Context())
	if err != nil && !errors.Is(err, store.ErrUnavailable) {
		return nil // the mailing has gone, or the batch grew
	}
	return err
}

func (c *crowd) tidy(*rand.Rand) error {
	return (&shop.DossierFiles{DB: c.db, Dir: filepath.Join(c.TempDir(), "files")}).TidyOnce(c.Context())
}
