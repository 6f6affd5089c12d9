package dtc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

var orderStories = []story{
	{"FulfilChangesAllItSays", fulfilChangesAllItSays},
	{"FulfilShipsInParts", fulfilShipsInParts},
	{"FulfilIsRefusedForWhatIsNotThere", fulfilIsRefusedForWhatIsNotThere},
	{"FulfilIsUndoneUnlessTheOrderChanged", fulfilIsUndoneUnlessTheOrderChanged},
	{"CancelGivesAllBack", cancelGivesAllBack},
	{"CancelWithoutMoneyMakesNoRefund", cancelWithoutMoneyMakesNoRefund},
	{"CancelIsRefusedOnceShipped", cancelIsRefusedOnceShipped},
	{"OnlyShippedPiecesAreRestocked", onlyShippedPiecesAreRestocked},
	{"NotesAreShownAndHidden", notesAreShownAndHidden},
	{"LongOrdersAreReadByParts", longOrdersAreReadByParts},
	{"OnlyOneOfManyEndsAnOrder", onlyOneOfManyEndsAnOrder},
}

// fresh gives an open order of two lines that nobody else of the stories has, of a customer whom nobody has written to, with enough of it on the shelf. Line 1 is 5
// pieces at £2.00, line 2 is 3 at £4.00; with £1.00 off and £3.00 postage it comes to £24.00.
func (h *house) fresh() getOrderOut {
	h.Helper()
	no := fmt.Sprintf("F%d", h.number("SELECT COUNT(*) FROM orders"))
	customer := h.text("SELECT MIN(customer_no) FROM customers WHERE email <> ''")
	h.exec("UPDATE customers SET last_contacted_at = NULL WHERE customer_no = $1", customer)
	h.exec(`INSERT INTO orders (merchant_id, order_no, customer_no, placed_at, source_placed_at, ship_country, status, items,
			subtotal_minor, shipping_minor, discount_minor, total_minor) VALUES ($1, $2, $3, $4, $4, 'Japan', 'open', 8, 2200, 300, 100, 2400)`,
		merchant, no, customer, sunday.UnixMicro())
	for i, l := range []struct{ qty, price int64 }{{5, 200}, {3, 400}} {
		sku := fmt.Sprint(no, "-", i+1)
		h.exec("INSERT INTO variants (merchant_id, sku, product_code, title, price_minor, on_hand) VALUES ($1, $2, $2, 'Thing', $3, 10)", merchant, sku, l.price)
		h.exec("INSERT INTO order_lines (merchant_id, order_no, line, sku, title, qty, unit_price_minor) VALUES ($1, $2, $3, $4, 'Thing', $5, $6)",
			merchant, no, i+1, sku, l.qty, l.price)
	}
	return h.order(no)
}

func (h *house) left(o getOrderOut) (n [2]int64) {
	h.Helper()
	for i := range n {
		n[i] = h.number("SELECT on_hand FROM variants WHERE sku = $1", fmt.Sprint(o.No, "-", i+1))
	}
	return n
}

func fulfilling(o getOrderOut) args {
	return args{
		"order_no": o.No, "expected_version": o.Version, "carrier": "dpd", "tracking_no": "DP 123", "notify_customer": false,
		"idempotency_key": "k", "reason": "packed this morning",
	}
}

func cancelling(o getOrderOut) args {
	return args{
		"order_no": o.No, "expected_version": o.Version, "expected_refund": pounds(o.Refundable.AmountMinor), "restock": false,
		"notify_customer": false, "idempotency_key": "k", "reason": "the customer rang and changed their mind",
	}
}

func someLines(lines ...args) []args { return lines }

func parcel(line, qty int64) args { return args{"line": line, "qty": qty} }

func fulfilChangesAllItSays(h *house) {
	o := h.fresh()
	in := fulfilling(o).with("notify_customer", true)
	p := must[tools.Preview](h)(h.preview("dtc_fulfil_order", in))
	if want := "Ship 8 pieces of order " + o.No + " of customer " + o.CustomerNo + " with dpd and tell the customer by e-mail"; p.Summary != want {
		h.Errorf("the summary is %q, want %q", p.Summary, want)
	}
	of := "order " + o.No
	want := []tools.Change{
		{Object: of, Field: "status", From: "open", To: "fulfilled"},
		{Object: of, Field: "line 1 (" + o.No + "-1) pieces shipped", From: "0", To: "5"},
		{Object: of, Field: "line 2 (" + o.No + "-2) pieces shipped", From: "0", To: "3"},
		{Object: "SKU " + o.No + "-1", Field: "on hand", From: "10", To: "5"},
		{Object: "SKU " + o.No + "-2", Field: "on hand", From: "10", To: "7"},
	}
	if diff := cmp.Diff(want, p.Changes); diff != "" || p.Customers != 1 || p.Irreversible == "" || !strings.Contains(p.Content, "DPD, tracking number DP 123") {
		h.Errorf("the preview is %+v\n%s", p, diff)
	}
	out := must[fulfilOrderOut](h)(write[fulfilOrderOut](h, "dtc_fulfil_order", in))
	got := h.order(o.No)
	if got.Status != shop.OrderFulfilled || got.ToShip != 0 || got.Version != out.Version || got.Lines[0].QtyShipped != 5 || h.left(o) != [2]int64{5, 7} {
		h.Errorf("the order is %+v, the stock %v", got, h.left(o))
	}
	last := got.Events[len(got.Events)-1]
	if want := (shop.Event{At: sunday.UTC(), Actor: "test bot", What: "shipped 8 pieces with DPD, tracking number DP 123 (" + out.ID + ")"}); last != want {
		h.Errorf("the last event is %+v, want %+v", last, want)
	}
	notice := h.text("SELECT m.body FROM deliveries d JOIN mailings m ON m.mailing_id = d.mailing_id WHERE m.kind = 'shipment_notice' AND d.customer_no = $1 AND m.subject LIKE $2",
		o.CustomerNo, "%"+o.No+"%")
	if !strings.Contains(p.Content, notice) {
		h.Errorf("the mail is %q, the preview showed %q", notice, p.Content)
	}
	if row := h.text("SELECT carrier || '|' || tracking_no || '|' || reason || '|' || actor FROM shipments WHERE shipment_no = $1", out.ID); row != "dpd|DP 123|packed this morning|test bot" {
		h.Errorf("the shipment is kept as %q", row)
	}
}

func fulfilShipsInParts(h *house) {
	o := h.fresh()
	must[refundOrderOut](h)(write[refundOrderOut](h, "dtc_refund_order", refunding(o, 200).with("lines", []args{{"line": 1, "qty": 2}})))
	o = h.order(o.No)
	if o.ToShip != 6 {
		h.Errorf("of 8 pieces with 2 refunded %d are to ship, want 6", o.ToShip)
	}
	p := must[tools.Preview](h)(h.preview("dtc_fulfil_order", fulfilling(o).with("lines", someLines(parcel(1, 1), parcel(2, 3)))))
	if len(p.Warnings) != 2 || p.Customers != 0 || p.Irreversible != "" {
		h.Errorf("the preview is %+v", p)
	}
	must[fulfilOrderOut](h)(write[fulfilOrderOut](h, "dtc_fulfil_order", fulfilling(o).with("lines", someLines(parcel(1, 1), parcel(2, 3)))))
	o = h.order(o.No)
	if o.ToShip != 2 || o.Status != shop.OrderPartRefunded || h.left(o) != [2]int64{9, 7} {
		h.Errorf("after the first parcel: %+v, stock %v", o, h.left(o))
	}
	_, err := write[fulfilOrderOut](h, "dtc_fulfil_order", fulfilling(o).with("lines", someLines(parcel(1, 3))))
	h.refused("a refunded piece", err, tools.InvalidArguments, "lines[0].qty")
	must[fulfilOrderOut](h)(write[fulfilOrderOut](h, "dtc_fulfil_order", fulfilling(o)))
	o = h.order(o.No)
	if o.ToShip != 0 || o.Lines[0].QtyShipped != 3 || h.left(o) != [2]int64{7, 7} {
		h.Errorf("after the second parcel: %+v, stock %v", o, h.left(o))
	}
	_, err = write[fulfilOrderOut](h, "dtc_fulfil_order", fulfilling(o))
	h.refused("nothing left", err, tools.Conflict, "")
}

func fulfilIsRefusedForWhatIsNotThere(h *house) {
	o := h.fresh()
	in := fulfilling(o)
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"another version": {in.with("expected_version", 9), tools.StaleExpectation, ""},
		"no such order":   {in.with("order_no", "none"), tools.NotFound, ""},
		"no such line":    {in.with("lines", someLines(parcel(9, 1))), tools.InvalidArguments, "lines[0].line"},
		"a line twice":    {in.with("lines", someLines(parcel(1, 1), parcel(1, 1))), tools.InvalidArguments, "lines[1].line"},
		"too many pieces": {in.with("lines", someLines(parcel(2, 4))), tools.InvalidArguments, "lines[0].qty"},
		"no piece":        {in.with("lines", someLines()), tools.InvalidArguments, "lines"},
		"a strange code":  {in.with("tracking_no", "<b>"), tools.InvalidArguments, "tracking_no"},
		"unsaid notice":   {in.with("notify_customer", nil), tools.InvalidArguments, "notify_customer"},
	} {
		_, err := write[fulfilOrderOut](h, "dtc_fulfil_order", c.in)
		h.refused(what, err, c.code, c.field)
	}
	h.exec("UPDATE variants SET on_hand = 2 WHERE sku = $1", o.No+"-2")
	_, err := write[fulfilOrderOut](h, "dtc_fulfil_order", in)
	if r := h.refused("short stock", err, tools.Conflict, ""); !strings.Contains(r.Message, o.No+"-2") || strings.Contains(r.Message, o.No+"-1") {
		h.Errorf("short stock is refused with %q", r.Message)
	}
	must[cancelOrderOut](h)(write[cancelOrderOut](h, "dtc_cancel_order", cancelling(o)))
	_, err = write[fulfilOrderOut](h, "dtc_fulfil_order", fulfilling(h.order(o.No)))
	h.refused("a cancelled order", err, tools.Conflict, "")
	if h.left(o) != [2]int64{10, 2} {
		h.Errorf("a refused shipment moved the stock: %v", h.left(o))
	}
}

func fulfilIsUndoneUnlessTheOrderChanged(h *house) {
	o := h.fresh()
	_, undo, err := undoable[fulfilOrderOut](h, "dtc_fulfil_order", fulfilling(o).with("notify_customer", true))
	if err != nil {
		h.Fatal(err)
	}
	h.exec("UPDATE variants SET on_hand = on_hand + 1 WHERE sku = $1", o.No+"-1") // a delivery meanwhile stands
	if err := undo(); err != nil {
		h.Fatal(err)
	}
	got := h.order(o.No)
	if got.Status != o.Status || got.ToShip != 8 || got.Version != 3 || h.left(o) != [2]int64{11, 10} {
		h.Errorf("undone, the order is %+v, the stock %v", got, h.left(o))
	}
	if n := h.number("SELECT COUNT(*) FROM mailings WHERE kind = 'shipment_notice' AND subject LIKE $1", "%"+o.No+"%"); n != 1 {
		h.Errorf("%d mails after the undo, want the one that was sent", n)
	}
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("a second undo: %v", err)
	}

	_, undo, err = undoable[fulfilOrderOut](h, "dtc_fulfil_order", fulfilling(got))
	if err != nil {
		h.Fatal(err)
	}
	must[refundOrderOut](h)(write[refundOrderOut](h, "dtc_refund_order", refunding(h.order(o.No), 200).with("lines", []args{{"line": 1, "qty": 1, "restock": true}})))
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("undoing a shipment of which pieces came back: %v", err)
	}
	if h.left(o) != [2]int64{7, 7} {
		h.Errorf("the stock is %v, want 7 and 7", h.left(o))
	}
}

func cancelGivesAllBack(h *house) {
	o := h.fresh()
	must[refundOrderOut](h)(write[refundOrderOut](h, "dtc_refund_order", refunding(o, 500).with("lines", []args{{"line": 1, "qty": 2}})))
	o = h.order(o.No)
	before, stock := h.books(), h.left(o)
	in := cancelling(o).with("notify_customer", true).with("restock", true)
	p := must[tools.Preview](h)(h.preview("dtc_cancel_order", in))
	of := "order " + o.No
	want := []tools.Change{
		{Object: of, Field: "status", From: "part_refunded", To: "cancelled"},
		{Object: of, Field: "refunded", From: "£5.00", To: "£24.00"},
		{Object: of, Field: "line 1 (" + o.No + "-1) pieces refunded", From: "2", To: "5"},
		{Object: of, Field: "line 2 (" + o.No + "-2) pieces refunded", From: "0", To: "3"},
	}
	if diff := cmp.Diff(want, p.Changes); diff != "" || p.Money.AmountMinor != 1900 || p.Customers != 1 || !strings.Contains(p.Content, "£19.00") {
		h.Errorf("the preview is %+v\n%s", p, diff)
	}
	out := must[cancelOrderOut](h)(write[cancelOrderOut](h, "dtc_cancel_order", in))
	got := h.order(o.No)
	if out.Amount.AmountMinor != 1900 || out.StillRefundable.AmountMinor != 0 || got.Status != shop.OrderCancelled || got.Refundable.AmountMinor != 0 || got.ToShip != 0 {
		h.Errorf("cancelled: %+v, the order is %+v", out, got)
	}
	if n := len(got.Events); got.Events[n-1].What != "cancelled" || got.Events[n-2].What != "refunded £19.00 ("+out.RefundNo+")" {
		h.Errorf("its story ends with %+v", got.Events)
	}
	wantBooks := before
	wantBooks.Given, wantBooks.Postage = wantBooks.Given+1900, wantBooks.Postage+300
	wantBooks.Goods, wantBooks.ByProduct, wantBooks.ByMonth = wantBooks.Goods+1600, wantBooks.ByProduct+1600, wantBooks.ByMonth+1600
	wantBooks.ByCohort, wantBooks.ByCredit = wantBooks.ByCohort-1600, wantBooks.ByCredit-3*1600
	wantBooks.UnitsBack, wantBooks.PiecesBack = wantBooks.UnitsBack+6, wantBooks.PiecesBack+6
	if diff := cmp.Diff(wantBooks, h.books()); diff != "" || h.left(o) != stock {
		h.Errorf("the stock is %v, the books:\n%s", h.left(o), diff)
	}
}

func cancelWithoutMoneyMakesNoRefund(h *house) {
	o := h.fresh()
	must[refundOrderOut](h)(write[refundOrderOut](h, "dtc_refund_order", refunding(o, 2400)))
	o = h.order(o.No)
	out := must[cancelOrderOut](h)(write[cancelOrderOut](h, "dtc_cancel_order", cancelling(o)))
	if got := h.order(o.No); out.RefundNo != "" || out.Amount.AmountMinor != 0 || got.Status != shop.OrderCancelled || got.Refunded.AmountMinor != 2400 {
		h.Errorf("cancelled: %+v, the order is %+v", out, got)
	}
	if n := h.number("SELECT COUNT(*) FROM refunds WHERE order_no = $1", o.No); n != 1 {
		h.Errorf("%d refunds, want the one before", n)
	}
	if b := h.books(); b.UnitsBack != b.PiecesBack {
		h.Errorf("the sales tell of %d pieces given back, the orders of %d", b.UnitsBack, b.PiecesBack)
	}
}

func cancelIsRefusedOnceShipped(h *house) {
	o := h.fresh()
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"another amount":   {cancelling(o).with("expected_refund", pounds(2399)), tools.StaleExpectation, ""},
		"another currency": {cancelling(o).with("expected_refund", args{"amount_minor": 2400, "currency": "USD"}), tools.InvalidArguments, "expected_refund.currency"},
		"another version":  {cancelling(o).with("expected_version", 7), tools.StaleExpectation, ""},
		"no such order":    {cancelling(o).with("order_no", "none"), tools.NotFound, ""},
	} {
		_, err := write[cancelOrderOut](h, "dtc_cancel_order", c.in)
		r := h.refused(what, err, c.code, c.field)
		if what == "another amount" && r.Errors.Now["expected_refund"] != o.Refundable {
			h.Errorf("the facts now are %v", r.Errors.Now)
		}
	}
	must[fulfilOrderOut](h)(write[fulfilOrderOut](h, "dtc_fulfil_order", fulfilling(o).with("lines", someLines(parcel(1, 1)))))
	_, err := write[cancelOrderOut](h, "dtc_cancel_order", cancelling(h.order(o.No)))
	if r := h.refused("a part of it shipped", err, tools.Conflict, ""); !strings.Contains(r.Next, "dtc_refund_order") {
		h.Errorf("the next step is %q", r.Next)
	}
	other := h.fresh()
	must[cancelOrderOut](h)(write[cancelOrderOut](h, "dtc_cancel_order", cancelling(other)))
	_, err = write[cancelOrderOut](h, "dtc_cancel_order", cancelling(h.order(other.No)))
	h.refused("cancelled already", err, tools.Conflict, "")
	_, err = write[cancelOrderOut](h, "dtc_cancel_order", cancelling(h.untouched(8)))
	h.refused("a fulfilled order", err, tools.Conflict, "")
}

// onlyShippedPiecesAreRestocked holds refunds to what left the shelf: else they would make stock out of nothing.
func onlyShippedPiecesAreRestocked(h *house) {
	o := h.fresh()
	back := func(o getOrderOut, qty int64) (refundOrderOut, error) {
		return write[refundOrderOut](h, "dtc_refund_order", refunding(o, 10).with("lines", []args{{"line": 1, "qty": qty, "restock": true}}))
	}
	_, err := back(o, 1)
	h.refused("restocking what was not shipped", err, tools.InvalidArguments, "lines[0].restock")
	must[fulfilOrderOut](h)(write[fulfilOrderOut](h, "dtc_fulfil_order", fulfilling(o).with("lines", someLines(parcel(1, 2)))))
	must[refundOrderOut](h)(back(h.order(o.No), 1))
	_, err = back(h.order(o.No), 2)
	h.refused("restocking more than came back", err, tools.InvalidArguments, "lines[0].restock")
	if h.left(o) != [2]int64{9, 10} {
		h.Errorf("the stock is %v, want 9 and 10", h.left(o))
	}
	if got := h.order(o.No); got.ToShip != 6 {
		h.Errorf("of 8 pieces, 2 shipped and one of them back, %d are to ship, want 6", got.ToShip)
	}
}

func notesAreShownAndHidden(h *house) {
	o := h.fresh()
	in := args{"order_no": o.No, "text": "  rang twice ", "tags": []string{"late", "call-back", "late"}}
	p := must[tools.Preview](h)(h.preview("dtc_add_order_note", in))
	if p.Summary != "Add a note of 10 characters to order "+o.No || len(p.Changes) != 2 || p.Changes[0].To != "rang twice" {
		h.Errorf("the preview is %+v", p)
	}
	out, undo, err := undoable[addOrderNoteOut](h, "dtc_add_order_note", in)
	if err != nil {
		h.Fatal(err)
	}
	got := h.order(o.No)
	want := []orderNote{{NoteID: out.ID, At: sunday.UTC(), Tags: []string{"call-back", "late"}, Text: &Untrusted{From: "agent test bot", Text: "rang twice"}}}
	if diff := cmp.Diff(want, got.Notes); diff != "" || got.NotesTotal != 1 || got.Version != o.Version || out.Version != o.Version {
		h.Errorf("%d notes, version %d:\n%s", got.NotesTotal, got.Version, diff)
	}
	if err := undo(); err != nil {
		h.Fatal(err)
	}
	if got := h.order(o.No); len(got.Notes) != 0 || got.NotesTotal != 0 {
		h.Errorf("a hidden note is shown: %+v", got.Notes)
	}
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("hiding it again: %v", err)
	}
	for i := range 14 { // none of them may crowd out the lines
		must[addOrderNoteOut](h)(write[addOrderNoteOut](h, "dtc_add_order_note", in.with("text", fmt.Sprint(i)+strings.Repeat("<", 990))))
	}
	got = h.order(o.No)
	if got.NotesTotal != 14 || len(got.Notes) == 0 || !strings.HasPrefix(got.Notes[0].Text.Text, "13") || !got.Truncated || len(got.Lines) != 2 {
		h.Errorf("%d of %d notes and %d lines are shown: %q", len(got.Notes), got.NotesTotal, len(got.Lines), got.Narrow)
	}
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"no order":   {in.with("order_no", "none"), tools.NotFound, ""},
		"blank":      {in.with("text", " \n"), tools.InvalidArguments, "text"},
		"too long":   {in.with("text", strings.Repeat("é", 1001)), tools.InvalidArguments, "text"},
		"a bad tag":  {in.with("tags", []string{"ok", "<b>"}), tools.InvalidArguments, "tags[1]"},
		"many a tag": {in.with("tags", strings.Split("a,b,c,d,e,f,g,h,i,j,k", ",")), tools.InvalidArguments, "tags"},
	} {
		_, err := write[addOrderNoteOut](h, "dtc_add_order_note", c.in)
		h.refused(what, err, c.code, c.field)
	}
}

// longOrdersAreReadByParts follows next_line through an order of 450 lines: each is shown once.
func longOrdersAreReadByParts(h *house) {
	o := h.fresh()
	upTo := func(n int) string {
		return fmt.Sprintf("WITH RECURSIVE upto (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM upto WHERE n < %d) ", n)
	}
	h.exec(upTo(448)+`INSERT INTO order_lines (merchant_id, order_no, line, sku, title, qty, unit_price_minor)
		SELECT merchant_id, order_no, n + 2, sku, title, 1, 1 FROM upto, order_lines WHERE merchant_id = $1 AND order_no = $2 AND line = 1`, merchant, o.No)
	h.exec(upTo(25)+`INSERT INTO order_events (merchant_id, order_no, event_no, at, what, actor)
		SELECT merchant_id, order_no, n, n, 'shipped', 'staff' FROM upto, orders WHERE merchant_id = $1 AND order_no = $2`, merchant, o.No)
	seen, next := int64(0), int64(1)
	for range 10 {
		got := must[getOrderOut](h)(read[getOrderOut](h, "dtc_get_order", args{"order_no": o.No, "from_line": next}))
		for _, l := range got.Lines {
			if seen++; l.Line != seen {
				h.Fatalf("line %d comes after line %d", l.Line, seen-1)
			}
		}
		if len(got.Lines) > maxLines || got.LinesTotal != 450 || got.ToShip != 456 || got.EventsOlder != 5 || len(got.Events) != 20 || got.Events[0].At.UnixMicro() != 6 {
			h.Errorf("%d lines of %d, %d events after %d", len(got.Lines), got.LinesTotal, len(got.Events), got.EventsOlder)
		}
		if got.NextLine == 0 {
			break
		}
		next = got.NextLine
	}
	if seen != 450 {
		h.Errorf("%d lines were shown, want 450", seen)
	}
	_, err := read[getOrderOut](h, "dtc_get_order", args{"order_no": o.No, "from_line": 451})
	h.refused("beyond the last line", err, tools.InvalidArguments, "from_line")
}

// onlyOneOfManyEndsAnOrder ships, refunds and cancels the same few orders from several goroutines at once, most of it on
// facts that are stale by then.
func onlyOneOfManyEndsAnOrder(h *house) {
	var orders []getOrderOut
	for range 6 {
		orders = append(orders, h.fresh())
	}
	before := h.books()
	var all sync.WaitGroup
	for worker := range uint64(4) {
		all.Go(func() {
			chance := rand.New(rand.NewPCG(worker, 11))
			for range 20 {
				actAtRandom(h, orders[chance.IntN(len(orders))].No, chance)
			}
		})
	}
	all.Wait()
	after := h.books()
	if after.Given-before.Given != after.Goods-before.Goods+after.Postage-before.Postage || after.UnitsBack-before.UnitsBack != after.PiecesBack-before.PiecesBack {
		h.Errorf("the orders and the sales do not agree: %+v, before %+v", after, before)
	}
	for _, o := range orders {
		now := h.order(o.No)
		made := h.number("SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM refunds WHERE order_no = $1", o.No)
		sent := h.number(`SELECT CAST(COALESCE(SUM(l.qty), 0) AS BIGINT) FROM shipment_lines l JOIN shipments s ON s.shipment_no = l.shipment_no WHERE s.order_no = $1`, o.No)
		restocked := h.number("SELECT SUM(qty_restocked) FROM order_lines WHERE order_no = $1", o.No)
		stock := h.left(o)
		if made != now.Refunded.AmountMinor || stock[0]+stock[1] != 20-sent+restocked || sent != now.Lines[0].QtyShipped+now.Lines[1].QtyShipped ||
			now.Status == shop.OrderCancelled && sent > 0 {
			h.Errorf("order %+v: refunds of %d, %d pieces sent, %d back, stock %v", now, made, sent, restocked, stock)
		}
	}
}

func actAtRandom(h *house, no string, chance *rand.Rand) {
	o, err := read[getOrderOut](h, "dtc_get_order", args{"order_no": no})
	if err != nil {
		h.Error(err)
		return
	}
	line := 1 + chance.Int64N(2)
	switch chance.IntN(8) {
	case 0:
		_, err = write[cancelOrderOut](h, "dtc_cancel_order", cancelling(o))
	case 1, 2, 3:
		_, err = write[refundOrderOut](h, "dtc_refund_order", refunding(o, 1+chance.Int64N(400)).
			with("lines", []args{{"line": line, "qty": 1, "restock": chance.IntN(2) == 0}}))
	default:
		_, err = write[fulfilOrderOut](h, "dtc_fulfil_order", fulfilling(o).with("lines", someLines(parcel(line, 1+chance.Int64N(2)))))
	}
	if r := (*tools.Refusal)(nil); err != nil && !errors.As(err, &r) {
		h.Errorf("acting on order %s: %v", no, err)
	}
}

// TestOnlyANoticeAsksForConsent tells when fulfilling an order is a matter for people.
func TestOnlyANoticeAsksForConsent(t *testing.T) {
	for notify, want := range map[bool]struct {
		class tools.Class
		level string
	}{true: {tools.ClassContact, "L5"}, false: {tools.ClassNone, "L4"}} {
		h := newHouse(t, nil)
		c, err := h.call("dtc_fulfil_order", fulfilling(getOrderOut{Order: shop.Order{No: "1"}, Version: 1}).with("notify_customer", notify))
		if err != nil {
			t.Fatal(err)
		}
		class, err := c.Tool.Handler().Class(c, tools.Preview{})
		if err != nil || class != want.class {
			t.Errorf("notify %v: the class is %q (%v), want %q", notify, class, err, want.class)
		}
		if risk, err := c.Tool.Handler().Rate(c, tools.Preview{}); err != nil || risk.Level().String() != want.level {
			t.Errorf("notify %v: the level is %s (%v), want %s", notify, risk.Level(), err, want.level)
		}
	}
}
