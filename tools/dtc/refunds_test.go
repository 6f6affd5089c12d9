package dtc

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

var refundStories = []story{
	{"RefundChangesAllItSays", refundChangesAllItSays},
	{"WholeRefundEndsTheOrder", wholeRefundEndsTheOrder},
	{"RefundIsRefusedBeyondTheOrder", refundIsRefusedBeyondTheOrder},
	{"NoNoticeWithoutAddress", noNoticeWithoutAddress},
	{"RefundsNeverExceedTheirOrder", refundsNeverExceedTheirOrder},
}

// untouched gives an order of several lines of which nothing was given back.
func (h *house) untouched(nth int) getOrderOut {
	h.Helper()
	no := h.text(`SELECT order_no FROM orders o WHERE merchant_id = $1 AND status = 'fulfilled' AND version = 1 AND discount_minor = 0
		AND 2 < (SELECT COUNT(*) FROM order_lines l WHERE l.merchant_id = $1 AND l.order_no = o.order_no AND l.qty > 1)
		ORDER BY order_no LIMIT 1 OFFSET $2`, merchant, nth)
	return h.order(no)
}

func (h *house) order(no string) getOrderOut {
	h.Helper()
	return must[getOrderOut](h)(read[getOrderOut](h, "dtc_get_order", args{"order_no": no}))
}

func refunding(o getOrderOut, minor int64) args {
	return args{
		"order_no": o.No, "expected_version": o.Version, "amount": pounds(minor), "cause": "damaged", "notify_customer": false,
		"idempotency_key": "k", "reason": "arrived in pieces, photo attached",
	}
}

// books are the sums that a refund moves.
type books struct{ Paid, Given, Goods, Postage, ByProduct, ByMonth, ByCohort, ByCredit, UnitsBack, PiecesBack int64 }

func (h *house) books() books {
	h.Helper()
	sum := func(what, table string) int64 {
		return h.number("SELECT CAST(SUM(" + what + ") AS BIGINT) FROM " + table)
	}
	return books{
		Paid: sum("total_minor", "orders"), Given: sum("refunded_minor", "orders"),
		Goods: sum("refunds_minor", "sales_totals"), Postage: sum("shipping_refunds_minor", "sales_totals"),
		ByProduct: h.number(`SELECT CAST(SUM(refunds_minor) AS BIGINT) FROM product_sales s
			WHERE day = (SELECT MAX(day) FROM product_sales x WHERE x.merchant_id = s.merchant_id AND x.product_code = s.product_code)`),
		ByCohort: sum("net_minor", "cohort_months"), ByCredit: sum("net_minor", "attribution_days"), ByMonth: sum("refunds_minor", "sales_monthly"),
		UnitsBack: sum("units_refunded", "sales_totals"), PiecesBack: sum("qty_refunded", "order_lines"),
	}
}

func refundChangesAllItSays(h *house) {
	o := h.untouched(0)
	before := h.books()
	l := o.Lines[slices.IndexFunc(o.Lines, func(l shop.Line) bool { return l.Qty > 1 })]
	stock := h.number("SELECT on_hand FROM variants WHERE sku = $1", l.SKU)
	amount := l.UnitPrice.AmountMinor + 7
	in := refunding(o, amount).with("notify_customer", true).with("lines", []args{{"line": l.Line, "qty": 1, "restock": true}})

	p := must[tools.Preview](h)(h.preview("dtc_refund_order", in))
	gbp := shop.Money{AmountMinor: amount, Currency: "GBP"}
	if want := fmt.Sprintf("Give back %s of the %s paid for order %s of customer %s (damaged) and tell the customer by e-mail", gbp, o.Total, o.No, o.CustomerNo); p.Summary != want {
		h.Errorf("the summary is %q, want %q", p.Summary, want)
	}
	wantChanges := []tools.Change{
		{Object: "order " + o.No, Field: "refunded", From: "£0.00", To: gbp.String()},
		{Object: "order " + o.No, Field: "status", From: "fulfilled", To: "part_refunded"},
		{Object: "order " + o.No, Field: fmt.Sprintf("line %d (%s) pieces refunded", l.Line, l.SKU), From: "0", To: "1"},
		{Object: "SKU " + l.SKU, Field: "on hand", From: fmt.Sprint(stock), To: fmt.Sprint(stock + 1)},
	}
	if diff := cmp.Diff(wantChanges, p.Changes); diff != "" || *p.Money != gbp || p.Customers != 1 || p.Version != "1" {
		h.Errorf("the preview is %+v\n%s", p, diff)
	}
	if !strings.Contains(p.Content, gbp.String()) || !strings.Contains(strings.Join(p.Warnings, " "), "less than the amount") {
		h.Errorf("the preview shows %q and warns of %q", p.Content, p.Warnings)
	}

	out := must[refundOrderOut](h)(write[refundOrderOut](h, "dtc_refund_order", in))
	got := h.order(o.No)
	if out.Amount != gbp || out.StillRefundable != got.Refundable || got.Refundable.AmountMinor != o.Total.AmountMinor-amount {
		h.Errorf("the result is %+v, refundable %s", out, got.Refundable)
	}
	if got.Status != shop.OrderPartRefunded || got.Version != 2 || got.Lines[l.Line-1].QtyRefunded != 1 {
		h.Errorf("the order is %+v", got)
	}
	last := got.Events[len(got.Events)-1]
	if want := (shop.Event{At: sunday.UTC(), Actor: "test bot", What: "refunded " + gbp.String() + " (" + out.RefundNo + ")"}); last != want {
		h.Errorf("the last event is %+v, want %+v", last, want)
	}
	if n := h.number("SELECT on_hand FROM variants WHERE sku = $1", l.SKU); n != stock+1 {
		h.Errorf("%d on hand, want %d", n, stock+1)
	}
	if row := h.text("SELECT cause || '|' || reason || '|' || actor FROM refunds WHERE refund_no = $1", out.RefundNo); row != "damaged|arrived in pieces, photo attached|test bot" {
		h.Errorf("the refund is kept as %q", row)
	}
	notice := h.text(`SELECT m.subject || '|' || d.address FROM deliveries d JOIN mailings m ON m.mailing_id = d.mailing_id
		WHERE m.kind = 'refund_notice' AND d.customer_no = $1`, o.CustomerNo)
	if notice != "Your refund for order "+o.No+"|c"+o.CustomerNo+"@example.com" {
		h.Errorf("the notice is %q", notice)
	}
	want := before
	want.Given, want.Goods, want.ByProduct, want.ByMonth = want.Given+amount, want.Goods+amount, want.ByProduct+amount, want.ByMonth+amount
	want.ByCohort, want.ByCredit = want.ByCohort-amount, want.ByCredit-3*amount // under three models
	want.UnitsBack, want.PiecesBack = want.UnitsBack+1, want.PiecesBack+1
	if diff := cmp.Diff(want, h.books()); diff != "" {
		h.Errorf("the books:\n%s", diff)
	}
}

func wholeRefundEndsTheOrder(h *house) {
	o := h.untouched(1)
	before := h.books()
	must[refundOrderOut](h)(write[refundOrderOut](h, "dtc_refund_order", refunding(o, o.Total.AmountMinor)))
	got := h.order(o.No)
	if got.Status != shop.OrderRefunded || got.Refundable.AmountMinor != 0 {
		h.Errorf("the order is %s with %s refundable", got.Status, got.Refundable)
	}
	after := h.books()
	if goods, postage := after.Goods-before.Goods, after.Postage-before.Postage; goods != o.Total.AmountMinor-o.Shipping.AmountMinor || postage != o.Shipping.AmountMinor {
		h.Errorf("of %s, postage %s, %d went back for goods and %d for postage", o.Total, o.Shipping, goods, postage)
	}
	_, err := write[refundOrderOut](h, "dtc_refund_order", refunding(got, 1))
	h.refused("a penny more", err, tools.LimitExceeded, "")
}

func refundIsRefusedBeyondTheOrder(h *house) {
	o := h.untouched(2)
	in := refunding(o, 100)
	line := func(n, qty int64) []args { return []args{{"line": n, "qty": qty}} }
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"another version":  {in.with("expected_version", 9), tools.StaleExpectation, ""},
		"too much":         {in.with("amount", pounds(o.Total.AmountMinor+1)), tools.LimitExceeded, ""},
		"nothing":          {in.with("amount", pounds(0)), tools.InvalidArguments, "amount.amount_minor"},
		"less than that":   {in.with("amount", pounds(-5)), tools.InvalidArguments, "amount.amount_minor"},
		"another currency": {in.with("amount", args{"amount_minor": 5, "currency": "USD"}), tools.InvalidArguments, "amount.currency"},
		"no such order":    {in.with("order_no", "none"), tools.NotFound, ""},
		"no such line":     {in.with("lines", line(99, 1)), tools.InvalidArguments, "lines[0].line"},
		"too many pieces":  {in.with("lines", line(1, 1e6)), tools.InvalidArguments, "lines[0].qty"},
		"a line twice":     {in.with("lines", append(line(1, 1), line(1, 1)...)), tools.InvalidArguments, "lines[1].line"},
		"no cause":         {in.with("cause", nil), tools.InvalidArguments, "cause"},
	} {
		_, err := write[refundOrderOut](h, "dtc_refund_order", c.in)
		r := h.refused(what, err, c.code, c.field)
		if c.code == tools.StaleExpectation && (r.Errors.Now["expected_version"] != int64(1) || r.Errors.Now["refundable"] != o.Refundable) {
			h.Errorf("%s: the facts now are %v", what, r.Errors.Now)
		}
	}
	if got := h.order(o.No); got.Version != 1 {
		h.Errorf("a refused refund changed the order: %+v", got)
	}
}

func noNoticeWithoutAddress(h *house) {
	o := h.untouched(3)
	h.exec("UPDATE customers SET email = '', email_consent_at = NULL WHERE customer_no = $1", o.CustomerNo)
	_, err := h.preview("dtc_refund_order", refunding(o, 100).with("notify_customer", true))
	h.refused("a notice to nobody", err, tools.InvalidArguments, "notify_customer")
	must[refundOrderOut](h)(write[refundOrderOut](h, "dtc_refund_order", refunding(o, 100)))
}

// refundsNeverExceedTheirOrder makes random refunds of the same few orders from several goroutines at once, most of
// them on facts that are stale by then. Whatever comes of them, what was given back is what the refunds say, never more
// than was paid, and the sales are the orders minus the refunds.
func refundsNeverExceedTheirOrder(h *house) {
	var orders []string
	for i := range 4 {
		orders = append(orders, h.untouched(i).No)
	}
	before := h.books()
	var all sync.WaitGroup
	for worker := range uint64(4) {
		all.Go(func() { refundAtRandom(h, orders, rand.New(rand.NewPCG(worker, 7))) })
	}
	all.Wait()
	after := h.books()
	if after.Given == before.Given || after.Given-before.Given != after.Goods-before.Goods+after.Postage-before.Postage {
		h.Errorf("the orders and the sales do not agree: %+v, before %+v", after, before)
	}
	if after.ByProduct != after.Goods || after.ByMonth != after.Goods || after.UnitsBack != after.PiecesBack || after.ByCredit != 3*after.ByCohort {
		h.Errorf("the sales tables do not agree: %+v", after)
	}
	for _, no := range orders {
		o := h.order(no)
		made := h.number("SELECT CAST(SUM(amount_minor) AS BIGINT) FROM refunds WHERE order_no = $1", no)
		pieces := h.number("SELECT CAST(COALESCE(SUM(l.qty), 0) AS BIGINT) FROM refund_lines l JOIN refunds r ON r.refund_no = l.refund_no WHERE r.order_no = $1", no)
		var back int64
		for _, l := range o.Lines {
			back += l.QtyRefunded
		}
		if made != o.Refunded.AmountMinor || made > o.Total.AmountMinor || pieces != back {
			h.Errorf("order %s of %s: refunded %s, refunds of %d; %d pieces, refund lines of %d", no, o.Total, o.Refunded, made, back, pieces)
		}
	}
}

// refundAtRandom reads an order, waits for nobody, and asks for some of it back, often more than there is.
func refundAtRandom(h *house, orders []string, chance *rand.Rand) {
	for range 25 {
		o, err := read[getOrderOut](h, "dtc_get_order", args{"order_no": orders[chance.IntN(len(orders))]})
		if err != nil {
			h.Error(err)
			return
		}
		in := refunding(o, 1+chance.Int64N(o.Total.AmountMinor/6))
		lines := map[int64]args{}
		for range chance.IntN(3) {
			l := o.Lines[chance.IntN(len(o.Lines))]
			lines[l.Line] = args{"line": l.Line, "qty": 1 + chance.Int64N(l.Qty), "restock": chance.IntN(2) == 0}
		}
		_, err = write[refundOrderOut](h, "dtc_refund_order", in.with("lines", slices.Collect(maps.Values(lines))))
		if r := (*tools.Refusal)(nil); err != nil && !errors.As(err, &r) {
			h.Errorf("refunding %v: %v", in, err)
		}
	}
}
