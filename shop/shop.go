// Package shop is the commerce backend that the dtc_* tools act on, and the demo merchant in it.
//
// A merchant's shop is the tables of migration 00004: products, customers, orders, refunds, campaigns, tickets. The
// database itself holds the money rules (nothing is refunded beyond what was paid, no discount gives away more than its
// cap), so that a mistake in this package is refused and not carried out.
//
// There are two sources of a demo merchant, Generate (made up from a seed) and Read (a real retailer's files), and one
// way from either into the tables, load. It adds up the sales tables as it goes, and replaces nothing but demo data.
//
// Sales are defined once, here. A day is a day in London, from midnight to midnight. Gross is pieces times price as
// sold, on the day of the order, before discounts and without postage. Refunds are what was given back for goods, on the
// day of the refund. Net is gross minus discounts minus refunds. Postage paid and postage given back are kept apart.
// Whatever books a refund calls AddRefund in the same transaction, so that the sums are never behind the orders.
// A cancelled order has been given back and still counts as an order.
//
// A cohort is the customers who first ordered in one month. Of each month from that one on it is told how many of them
// ordered, how many orders they placed, the net of that month as defined above (so that a month's net over all cohorts is
// the month's sales), and the LTV: the net since the cohort's first month for each customer of the cohort, rounded to the
// minor unit, half of one away from zero.
//
// Attribution credits each order to its touches, of which a demo's are made up: to the last, to the first, or evenly to all
// (linear). Money that cannot be parted evenly goes to the earlier touches, minor unit by minor unit, and orders are parted in
// thousandths. What is given back is taken from the same touches on the day of the refund. An order without touches came
// directly. So what is credited in a period adds up to its sales, under each model.
//
// Stock is what lies on the shelf. An order that comes in takes nothing from it, and so the open orders of a load have
// taken nothing: pieces leave the shelf when they are shipped (Fulfil), and come back when the shipment is taken back
// (Reopen) or when a refund says so of pieces that had been shipped. Nothing else of an order moves stock. Which parcels
// went out before the load is in neither source: its settled orders count as shipped and have no shipments.
//
// What is searched by words has them in search_words (words.go), and what a list is sorted by is a column that whatever
// changes it keeps up to date in the same transaction (catalogue.go, prices.go): no list reads the whole shop.
//
// Rows are locked in one order by all, so that no two transactions wait for each other in a circle (locks.go): a campaign
// and its segment, orders by number, customers by number, tickets, variants by SKU, products by code, ad accounts,
// deliveries, dossiers, and then the shop's row. Who has that one changes the sums. Whatever belongs to one of these, such
// as lines, parcels, tags, drafts, words and ad campaigns, is changed by who holds it. Numbers are in the order of their
// bytes. A statement that changes several of these rows takes them by lock before. What the gate keeps of calls is taken
// before all this: a job, its request, the effect to be undone.
//
// Messages to customers are rows of deliveries, one per customer and mailing. The Carrier hands them over as files:
// no message leaves the machine.
package shop

import "time"

// A Source says where a shop's data comes from. Only demo data may be replaced by a load.
type Source string

// The sources.
const (
	Generated Source = "generated"
	Imported  Source = "import"
	Live      Source = "live" // a real merchant's own: never touched by a load
)

// Shop is what is known of a merchant's shop as a whole.
type Shop struct {
	Currency     string
	Source       Source
	Seed         int64  // of a generated shop
	Attribution  string // whose data it is, under which licence; to be shown with the data
	ShiftedWeeks int64  // how far the dates were moved; Order.SourcePlacedAt keeps the original
	DataUntil    time.Time
	LoadedAt     time.Time
}

// Simulated reports whether what no shop's data has, such as costs, is made up.
func (s Shop) Simulated() bool { return s.Source != Live }

// A Product is what is shown as one thing; its variants are what is sold.
type Product struct {
	Code        string   `json:"product_code"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Category    string   `json:"category"`
	Status      string   `json:"status"` // active | archived
	Tags        []string `json:"tags"`
	Version     int64    `json:"version"`
}

// A Variant is what is sold, priced and counted.
type Variant struct {
	SKU         string `json:"sku"`
	ProductCode string `json:"-"`
	Title       string `json:"title"`
	Option      string `json:"option,omitempty"` // "Red"; empty when the product has one variant
	Price       Money  `json:"price"`
	OnHand      int64  `json:"on_hand"`
	Version     int64  `json:"version"`
	Cost        Money  `json:"-"` // of a piece to the shop; zero: not known. A demo's are made up: see Shop.Simulated
}

// LowStock is the number of pieces on hand below which a variant counts as low.
const LowStock = 10

// A Customer is a person or firm that buys. Contact data never leaves through this struct's JSON.
//
// Its JSON is a row of a list. Orders, Spent and the two times are sums over its orders: see recount.
type Customer struct {
	No        string   `json:"customer_no"`
	Country   string   `json:"country"`
	Orders    int64    `json:"orders"`               // without cancelled ones
	Spent     Money    `json:"spent"`                // refunds taken off
	LastOrder string   `json:"last_order,omitempty"` // the day of LastOrderAt
	Tags      []string `json:"tags"`

	Version          int64     `json:"-"`
	LastOrderAt      time.Time `json:"-"` // zero: none
	FirstOrderAt     time.Time `json:"-"` // cancelled ones count here
	ErasedAt         time.Time `json:"-"` // zero: not erased
	Email            string    `json:"-"`
	Phone            string    `json:"-"` // empty: none known
	EmailConsentAt   time.Time `json:"-"` // zero: none
	SMSConsentAt     time.Time `json:"-"`
	ContactSynthetic bool      `json:"-"` // made up by the loader
	Note             string    `json:"-"` // the customer's own words: never trusted
	LastContactedAt  time.Time `json:"-"`
}

// An OrderStatus is how far an order has come.
type OrderStatus string

// The statuses of an order. Money decides between the two kinds of refunded.
const (
	OrderOpen         OrderStatus = "open"
	OrderFulfilled    OrderStatus = "fulfilled"
	OrderPartRefunded OrderStatus = "part_refunded"
	OrderRefunded     OrderStatus = "refunded"
	OrderCancelled    OrderStatus = "cancelled"
)

// An Order is one purchase. Its JSON is a row of a list; an answer about one order adds the rest.
type Order struct {
	No         string      `json:"order_no"`
	CustomerNo string      `json:"customer_no"`
	PlacedAt   time.Time   `json:"placed_at"`
	Status     OrderStatus `json:"status"`
	Items      int64       `json:"items"` // pieces, not lines
	Total      Money       `json:"total"` // Subtotal + Shipping - Discount
	Refunded   Money       `json:"refunded"`

	SourcePlacedAt time.Time `json:"-"` // before the load moved the dates
	ShipCountry    string    `json:"-"`
	Subtotal       Money     `json:"-"` // sum of the lines
	Shipping       Money     `json:"-"`
	Discount       Money     `json:"-"`
	CustomerNote   string    `json:"-"` // the customer's own words: never trusted
	Version        int64     `json:"-"`
	Lines          []Line    `json:"-"`
}

// A Line is one SKU at one price in an order.
type Line struct {
	Line        int64  `json:"line"` // 1, 2, … within the order
	SKU         string `json:"sku"`
	Title       string `json:"title"` // as sold
	Qty         int64  `json:"qty"`
	QtyRefunded int64  `json:"qty_refunded"`
	QtyShipped  int64  `json:"qty_shipped"`
	UnitPrice   Money  `json:"unit_price"`

	QtyRestocked int64 `json:"-"` // of QtyRefunded: what came back on the shelf
}

// ToShip is how many pieces of the line are still to be shipped. What was given back is not, whether it had been shipped
// or not; only a piece that came back on the shelf leaves the others where they were.
func (l Line) ToShip() int64 {
	return max(0, l.Qty-(l.QtyRefunded-l.QtyRestocked)-l.QtyShipped)
}

// Out is how many pieces were taken from the shelf for the line and have not come back.
func (l Line) Out() int64 { return l.QtyShipped - l.QtyRestocked }

// An Event is one thing that happened to an order.
type Event struct {
	At    time.Time `json:"at"`
	Actor string    `json:"by"` // "customer", "staff", an agent's name
	What  string    `json:"what"`
}

// A Refund is money given back for an order.
type Refund struct {
	No      string
	OrderNo string
	At      time.Time
	Amount  Money
	Cause   string // damaged, not_received, …; unknown for imported ones
	Reason  string
	Actor   string
	Lines   []RefundLine // may be empty, or worth less than Amount
}

// A RefundLine says which pieces a refund is for.
type RefundLine struct {
	Line   int64 // of the order
	SKU    string
	Qty    int64
	Amount Money
}

// A Campaign is a message to many customers.
type Campaign struct {
	ID                string    `json:"campaign_id"`
	Name              string    `json:"name"`
	Channel           string    `json:"channel"` // email | sms
	Status            string    `json:"status"`  // draft | scheduled | sending | sent | paused
	SentTo            int64     `json:"sent_to"`
	Opened            int64     `json:"opened"`
	Clicked           int64     `json:"clicked"`
	OptedOut          int64     `json:"opted_out"`
	AttributedRevenue Money     `json:"attributed_revenue"`
	Version           int64     `json:"version"`
	SegmentID         string    `json:"-"` // empty: everybody who consented to the channel
	Subject           string    `json:"-"`
	Body              string    `json:"-"`
	ScheduledAt       time.Time `json:"-"`
	SentAt            time.Time `json:"-"`
	CreatedAt         time.Time `json:"-"`
	CreatedBy         string    `json:"-"` // a name
	OwnerID           string    `json:"-"` // the principal that made it; empty for staff
	SenderID          string    `json:"-"` // the principal that began to send it
}

// A Discount is a code that takes a percentage off, with a cap on everything.
type Discount struct {
	ID           string
	Code         string // upper case
	PercentOff   int64
	SKUs         []string // empty: every SKU
	MaxUses      int64
	Uses         int64
	MaxGivenAway Money
	GivenAway    Money
	StartOn      string // days, both included
	EndOn        string
	Status       string // active | paused | ended
	Version      int64
	CreatedAt    time.Time
	CreatedBy    string // a name
	OwnerID      string // the principal that made it; empty for staff
}

// A Segment is a rule that says who belongs; it is evaluated when it is used. Segments named test-… hold people of the
// shop's own, for trial sends.
type Segment struct {
	ID         string
	Name       string
	Rule       Rule
	CreatedAt  time.Time
	CreatedBy  string
	ArchivedAt time.Time // zero: in use
}

// A Rule picks customers. Every condition that is set must hold; the empty rule picks everybody.
type Rule struct {
	BoughtAnySKU    []string `json:"bought_any_sku,omitempty"`
	BoughtCategory  string   `json:"bought_category,omitempty"`
	Country         string   `json:"country,omitempty"`
	LastOrderAfter  string   `json:"last_order_after,omitempty"`  // a day; that day counts
	LastOrderBefore string   `json:"last_order_before,omitempty"` // a day; that day does not
	MinOrders       int64    `json:"min_orders,omitempty"`
	MinSpent        *Money   `json:"min_spent,omitempty"` // refunds taken off
	TagsAny         []string `json:"tags_any,omitempty"`
	TagsNone        []string `json:"tags_none,omitempty"`
}

// A Ticket is a customer's question to the shop, or a review. Its JSON is a row of a list; an answer about one ticket adds
// what was said.
type Ticket struct {
	ID         string    `json:"ticket_id"`
	CustomerNo string    `json:"customer_no"`
	OrderNo    string    `json:"order_no,omitempty"`
	Queue      string    `json:"queue"`           // returns | delivery | product | review | privacy
	Status     string    `json:"status"`          // open | waiting | closed
	Stars      int64     `json:"stars,omitempty"` // of a review, 1 to 5
	OpenedAt   time.Time `json:"opened_at"`
	Messages   int64     `json:"messages"`
	Drafts     int64     `json:"drafts_waiting"`
	Version    int64     `json:"version"` // drafts leave it as it is
	Thread     []Message `json:"-"`
}

// A Message is one text in a ticket. What a customer writes is never trusted.
type Message struct {
	Author string // customer | staff
	By     string // who of the staff, or which agent for them; may be empty
	Body   string
	At     time.Time
}

// A Draft is a reply that waits for staff. It reaches nobody.
type Draft struct {
	ID     string    `json:"draft_id"`
	Text   string    `json:"text"`
	Advice string    `json:"advice_to_staff,omitempty"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`
}

// A WebPage is a page of the store front as visitors see it.
type WebPage struct {
	Slug    string // the last part of its address
	Title   string
	Body    string // Markdown
	Version int64
	At      time.Time // when this version was published
	By      string
}
