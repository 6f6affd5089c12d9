package shop

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// ErrNotDemo means that a merchant's shop holds data of its own, which no load may replace.
var ErrNotDemo = errors.New("this merchant's shop is not a demo: its data is not replaced")

// tables are all the tables of a shop.
var tables = []string{
	"shops", "products", "variants", "customers", "customer_tags", "dossiers", "orders", "order_lines", "order_events",
	"order_notes", "shipments", "shipment_lines", "refunds", "refund_lines",
	"discounts", "segments", "campaigns", "mailings", "deliveries", "tickets", "ticket_messages",
	"ticket_drafts", "pages", "page_versions",
	"product_sales", "category_sales", "sales_totals", "sales_monthly", "cohort_months", "order_touches", "attribution_days", "search_words",
	"stock_moves", "price_batches", "price_changes", "ad_accounts", "ad_campaigns", "ad_days",
	"shipping_labels", "quarantine", "accounting_exports",
}

// LoadDemo fills the merchant's shop with the generated demo, in one transaction. What an earlier load put there is
// replaced.
func LoadDemo(ctx context.Context, db *store.DB, merchant string, seed int64, today time.Time) (Summary, error) {
	c := Generate(seed, today)
	return c.Summary(), load(ctx, db, merchant, c, nil)
}

// record says on the record what was loaded. Only the command line loads.
func record(tx *store.Tx, merchant string, s Summary) error {
	_, err := audit.Append(tx, audit.Entry{
		Merchant: merchant, Event: "demo.loaded", Actor: "operator:cli", Chain: []string{"operator:cli"}, Transport: "cli", Status: "done",
		Resource: "shop:" + merchant, Reason: fmt.Sprintf("%s: %d orders, %d lines", s.Source, s.Orders, s.Lines),
	})
	return err
}

// load writes contents into the merchant's shop, in one transaction that also removes the demo data before it.
// progress, if any, hears of rows written and rows in all.
func load(ctx context.Context, db *store.DB, merchant string, c *Contents, progress func(done, total int)) error {
	c.addTouches()
	b := newBook()
	b.addAll(c)
	if progress == nil {
		progress = func(done, total int) {}
	}
	total := c.rows() + b.rows()
	err := db.Bulk(ctx, func(tx *store.Tx) error {
		if err := empty(tx, merchant); err != nil {
			return err
		}
		w := &writer{tx: tx, merchant: merchant, total: total, progress: progress}
		w.contents(c)
		w.sales(b)
		w.analyze()
		if w.err != nil {
			return w.err
		}
		return record(tx, merchant, c.Summary())
	})
	if err != nil {
		return fmt.Errorf("loading the shop: %w", err)
	}
	progress(total, total)
	return nil
}

// empty removes a merchant's demo shop, and refuses to remove anything else.
func empty(tx *store.Tx, merchant string) error {
	var source Source
	switch err := tx.QueryRow("SELECT source FROM shops WHERE merchant_id = $1", merchant).Scan(&source); {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case source != Generated && source != Imported:
		return ErrNotDemo
	}
	for _, l := range lockOrder {
		if err := lock(tx, merchant, l.table, ""); err != nil {
			return err
		}
	}
	for _, table := range tables {
		if _, err := tx.Exec("DELETE FROM "+table+" WHERE merchant_id = $1", merchant); err != nil {
			return fmt.Errorf("emptying %s: %w", table, err)
		}
	}
	return nil
}

// rows is how many rows the contents make, near enough for a progress bar.
func (c *Contents) rows() int {
	n := len(c.Products) + len(c.Variants) + len(c.Customers) + len(c.Deliveries)
	for _, o := range c.Orders {
		n += 2 + len(o.Lines) + len(c.Touches[o.No]) // and an event
	}
	for _, r := range c.Refunds {
		n += 2 + len(r.Lines)
	}
	return n
}

// A writer inserts rows of one merchant and stops at the first error.
type writer struct {
	tx       *store.Tx
	merchant string
	done     int
	total    int
	progress func(done, total int)
	words    *sheet // of the index, see index
	err      error
}

// A sheet collects the rows of one table and inserts them by the few thousand, so that a big shop never stands in
// memory twice.
type sheet struct {
	w     *writer
	table string
	cols  []string
	rows  [][]any
}

const sheetRows = 4096

func (w *writer) sheet(table string, cols ...string) *sheet {
	return &sheet{w: w, table: table, cols: append([]string{"merchant_id"}, cols...)}
}

func (s *sheet) add(values ...any) {
	s.rows = append(s.rows, append(append(make([]any, 0, len(s.cols)), s.w.merchant), values...))
	if len(s.rows) == sheetRows {
		s.flush()
	}
}

func (s *sheet) flush() {
	w := s.w
	if w.err == nil && len(s.rows) > 0 {
		if err := w.tx.Insert(s.table, s.cols, s.rows); err != nil {
			w.err = fmt.Errorf("writing %s: %w", s.table, err)
		}
	}
	w.done += len(s.rows)
	s.rows = s.rows[:0]
	if w.err == nil {
		w.progress(min(w.done, w.total), w.total)
	}
}

func (w *writer) contents(c *Contents) {
	w.shop(c.Shop)
	w.catalogue(c)
	w.customers(c.Customers)
	w.orders(c.Orders)
	w.refunds(c.Refunds)
	w.events(c)
	w.marketing(c)
	w.ads(c)
	w.deliveries(c.Deliveries)
	w.tickets(c.Tickets)
	w.orderTouches(c)
	w.pages(c.Pages)
	if w.words != nil {
		w.words.flush()
	}
}

// analyze tells the planner how the rows are spread. Without it SQLite takes a merchant for a handful of rows, because
// every key begins with one, and joins the catalogue to the sales the wrong way round: minutes and not milliseconds.
//
// SQLite takes what it is told for the whole truth, and makes its plans for it until the next load. So it is told of a
// hundred merchants such as this one: with one alone it would go through whole tables, since all rows are that
// merchant's, and through those that are small after a load and do not stay so.
func (w *writer) analyze() {
	for _, table := range tables {
		w.exec("ANALYZE " + table)
	}
	if w.tx.Engine() == "sqlite" {
		w.exec("UPDATE sqlite_stat1 SET stat = (100 * CAST(stat AS INTEGER)) || SUBSTR(stat, INSTR(stat, ' ')) WHERE tbl IN ('" +
			strings.Join(tables, "', '") + "') AND INSTR(stat, ' ') > 0")
		w.exec("ANALYZE sqlite_schema") // makes it read them
	}
}

func (w *writer) exec(q string) {
	if w.err == nil {
		_, w.err = w.tx.Exec(q)
	}
}

func (w *writer) shop(s Shop) {
	t := w.sheet("shops", "currency", "source", "seed", "attribution", "shifted_weeks", "data_until", "loaded_at")
	var seed any
	if s.Source == Generated {
		seed = s.Seed
	}
	t.add(s.Currency, string(s.Source), seed, s.Attribution, s.ShiftedWeeks, store.Micros(s.DataUntil), store.Micros(w.tx.Now))
	t.flush()
}

func (w *writer) catalogue(c *Contents) {
	sums := c.productSums()
	t := w.sheet("products", "product_code", "title", "description", "category", "status", "tags", "sold", "low_minor", "high_minor")
	for _, p := range c.Products {
		has := sums[p.Code]
		t.add(p.Code, p.Title, p.Description, p.Category, p.Status, jsonText(p.Tags), has.sold, has.low, has.high)
		w.index(productWords, p.Code, append(has.words, p.Code, p.Title)...)
	}
	t.flush()
	t = w.sheet("variants", "sku", "product_code", "title", "option_name", "price_minor", "on_hand", "cost_minor")
	for _, v := range c.Variants {
		t.add(v.SKU, v.ProductCode, v.Title, v.Option, v.Price.AmountMinor, v.OnHand, v.Cost.AmountMinor)
	}
	t.flush()
}

// productSum is what a product has of its variants.
type productSum struct {
	sold      int64 // pieces, those given back taken off
	low, high int64 // price
	words     []string
}

// productSums adds up the variants and what was sold of them, by product code.
func (c *Contents) productSums() map[string]productSum {
	sold := map[string]int64{}
	for _, o := range c.Orders {
		for _, l := range o.Lines {
			sold[l.SKU] += l.Qty
		}
	}
	for _, r := range c.Refunds {
		for _, l := range r.Lines {
			sold[l.SKU] -= l.Qty
		}
	}
	sums := map[string]productSum{}
	for _, v := range c.Variants {
		sum, known := sums[v.ProductCode]
		price := v.Price.AmountMinor
		if !known {
			sum.low = price
		}
		sum.low, sum.high = min(sum.low, price), max(sum.high, price)
		sum.sold += sold[v.SKU]
		sum.words = append(sum.words, v.SKU, v.Title)
		sums[v.ProductCode] = sum
	}
	return sums
}

func (w *writer) customers(customers []Customer) {
	t := w.sheet("customers", "customer_no", "country", "email", "phone", "email_consent_at", "sms_consent_at",
		"contact_synthetic", "tags", "note", "last_contacted_at", "orders", "spent_minor", "last_order_at", "first_order_at")
	tags := w.sheet("customer_tags", "tag", "customer_no")
	for _, c := range customers {
		var synthetic int64
		if c.ContactSynthetic {
			synthetic = 1
		}
		t.add(c.No, c.Country, c.Email, c.Phone, store.Micros(c.EmailConsentAt), store.Micros(c.SMSConsentAt),
			synthetic, jsonText(c.Tags), c.Note, store.Micros(c.LastContactedAt), c.Orders, c.Spent.AmountMinor,
			orZero(c.LastOrderAt), orZero(c.FirstOrderAt))
		w.index(customerWords, c.No, c.No)
		for _, tag := range c.Tags {
			tags.add(strings.ToLower(tag), c.No)
		}
	}
	t.flush()
	tags.flush()
}

func (w *writer) orders(orders []Order) {
	t := w.sheet("orders", "order_no", "customer_no", "placed_at", "source_placed_at", "ship_country", "status", "items",
		"subtotal_minor", "shipping_minor", "discount_minor", "total_minor", "refunded_minor", "customer_note")
	for _, o := range orders {
		t.add(o.No, o.CustomerNo, store.Micros(o.PlacedAt), store.Micros(o.SourcePlacedAt), o.ShipCountry, string(o.Status),
			o.Items, o.Subtotal.AmountMinor, o.Shipping.AmountMinor, o.Discount.AmountMinor, o.Total.AmountMinor,
			o.Refunded.AmountMinor, o.CustomerNote)
	}
	t.flush()
	t = w.sheet("order_lines", "order_no", "line", "sku", "title", "qty", "unit_price_minor", "qty_refunded", "qty_shipped")
	for _, o := range orders {
		for _, l := range o.Lines {
			t.add(o.No, l.Line, l.SKU, l.Title, l.Qty, l.UnitPrice.AmountMinor, l.QtyRefunded, l.QtyShipped)
		}
	}
	t.flush()
}

func (w *writer) refunds(refunds []Refund) {
	t := w.sheet("refunds", "refund_no", "order_no", "refunded_at", "amount_minor", "cause", "reason", "actor")
	for _, r := range refunds {
		t.add(r.No, r.OrderNo, store.Micros(r.At), r.Amount.AmountMinor, r.Cause, r.Reason, r.Actor)
	}
	t.flush()
	t = w.sheet("refund_lines", "refund_no", "line", "qty", "amount_minor")
	for _, r := range refunds {
		for _, l := range r.Lines {
			t.add(r.No, l.Line, l.Qty, l.Amount.AmountMinor)
		}
	}
	t.flush()
}

// events tells each order's story as far as the data knows it.
func (w *writer) events(c *Contents) {
	refunds := map[string][]Refund{}
	for _, r := range c.Refunds {
		refunds[r.OrderNo] = append(refunds[r.OrderNo], r)
	}
	t := w.sheet("order_events", "order_no", "event_no", "at", "what", "actor")
	for _, o := range c.Orders {
		for i, e := range o.story(refunds[o.No]) {
			t.add(o.No, int64(i+1), store.Micros(e.At), e.What, e.Actor)
		}
	}
	t.flush()
}

// story is what happened to an order. When it was shipped is not in either source; nothing is made up for it.
func (o Order) story(refunds []Refund) []Event {
	events := []Event{{At: o.PlacedAt, Actor: "customer", What: "placed"}}
	for _, r := range refunds {
		events = append(events, Event{At: r.At, Actor: r.Actor, What: "refunded " + r.Amount.String() + " (" + r.No + ")"})
	}
	if o.Status == OrderCancelled {
		events = append(events, Event{At: events[len(events)-1].At, Actor: "staff", What: "cancelled"})
	}
	return events
}

// jsonText is a value of the shop's own types as stored JSON; no list is null.
func jsonText(v any) string {
	if list, ok := v.([]string); ok && list == nil {
		return "[]"
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(b)
}

// orZero is a time as it is stored where lists are sorted by it, which NULL would not be: 0 for none.
func orZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromZero(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Exists says whether the merchant has a shop.
func Exists(tx *store.Tx, merchant string) (bool, error) {
	var n int
	err := tx.QueryRow("SELECT COUNT(*) FROM shops WHERE merchant_id = $1", merchant).Scan(&n)
	return n > 0, err
}
