package dtc

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

var actionStories = []story{
	{"ActionRefundsAsTheToolDoes", actionRefundsAsTheToolDoes},
	{"LabelIsBoughtAndVoided", labelIsBoughtAndVoided},
	{"LabelIsRefusedBeyondItsCap", labelIsRefusedBeyondItsCap},
	{"RecallEmptiesTheShelfAndPutsBack", recallEmptiesTheShelfAndPutsBack},
	{"RecallIsAllOrNothing", recallIsAllOrNothing},
	{"MonthIsExportedOnce", monthIsExportedOnce},
	{"WrongWishesAreToldTheRightForm", wrongWishesAreToldTheRightForm},
	{"ActionsKeepTheSums", actionsKeepTheSums},
}

// maxActionInput bounds the arguments of an action; those of all actions that a key holds stand in one answer.
const maxActionInput = 640

func TestEveryAction(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Actions() {
		id := a.ID()
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
		if len(a.Description) > 330 || len(a.Input.JSON) > maxActionInput {
			t.Errorf("%s is described in %d bytes and its arguments in %d", id, len(a.Description), len(a.Input.JSON))
		}
		if a.Risk.Level() > requestAction.Risk.Level() {
			t.Errorf("%s is rated %s, above the tool that it is asked through", id, a.Risk.Level())
		}
		example, err := json.Marshal(a.Input.Example())
		if err != nil || a.Input.Check(example) != nil {
			t.Errorf("the example of %s does not fit: %s %v", id, example, err)
		}
		t.Logf("%-26s %s %-12s description %3d, input %3d bytes", id, a.Risk.Level(), a.Class, len(a.Description), len(a.Input.JSON))
	}
}

// asking are the arguments of a request for an action.
func asking(action, target string, in args) args {
	if in == nil {
		in = args{}
	}
	return args{"action": action, "target": target, "arguments": in, "idempotency_key": "k", "reason": "as a person asked for it"}
}

// request previews and does an action, and gives its own result and what takes it back.
func request[Out any](h *house, action, target string, in args) (out Out, undo func() error, err error) {
	h.Helper()
	done, undo, err := undoable[tools.Fulfilled](h, "dtc_request_action", asking(action, target, in))
	if err == nil {
		err = json.Unmarshal(done.Result, &out)
		if done.Action != action || done.Target != target {
			h.Errorf("the answer is about %s of %s", done.Action, done.Target)
		}
	}
	return out, undo, err
}

func (h *house) askPreview(action, target string, in args) (tools.Preview, error) {
	h.Helper()
	return h.preview("dtc_request_action", asking(action, target, in))
}

func actionRefundsAsTheToolDoes(h *house) {
	o := h.untouched(20)
	before := h.books()
	in := args{"expected_version": o.Version, "amount": pounds(123), "cause": "goodwill"}
	byTool := must[tools.Preview](h)(h.preview("dtc_refund_order", refunding(o, 123).with("cause", "goodwill")))
	p := must[tools.Preview](h)(h.askPreview("payments:refund", "order:"+o.No, in))
	byTool.Version += " " + actionRefund.Input.Hash
	if diff := cmp.Diff(byTool, p); diff != "" {
		h.Errorf("the preview is not the tool's:\n%s", diff)
	}
	// A refund has nothing to keep: it cannot be undone.
	_, _, err := request[refundOrderOut](h, "payments:refund", "order:"+o.No, in)
	if !errors.Is(err, tools.ErrNoUndo) {
		h.Fatalf("keeping a refund's image: %v", err)
	}
	done := must[tools.Fulfilled](h)(write[tools.Fulfilled](h, "dtc_request_action", asking("payments:refund", "order:"+o.No, in)))
	var out refundOrderOut
	if err := json.Unmarshal(done.Result, &out); err != nil || out.Amount.AmountMinor != 123 {
		h.Errorf("the result is %s (%v)", done.Result, err)
	}
	want := before
	want.Given, want.Goods, want.ByProduct, want.ByMonth = want.Given+123, want.Goods+123, want.ByProduct+123, want.ByMonth+123
	want.ByCohort, want.ByCredit = want.ByCohort-123, want.ByCredit-3*123
	if diff := cmp.Diff(want, h.books()); diff != "" {
		h.Errorf("the books:\n%s", diff)
	}
	if row := h.text("SELECT cause || '|' || reason || '|' || actor FROM refunds WHERE refund_no = $1", out.RefundNo); row != "goodwill|as a person asked for it|test bot" {
		h.Errorf("the refund is kept as %q", row)
	}
	_, err = h.askPreview("payments:refund", "order:"+o.No, in)
	h.refused("a stale version", err, tools.StaleExpectation, "")
	_, err = h.askPreview("payments:refund", "order:"+o.No, in.with("expected_version", 2).with("amount", pounds(0)))
	h.refused("no money", err, tools.InvalidArguments, "arguments.amount.amount_minor")
	_, err = h.askPreview("payments:refund", "order:"+o.No, in.with("expected_version", 2).with("amount", pounds(o.Total.AmountMinor)))
	h.refused("more than is left", err, tools.LimitExceeded, "")
	_, err = h.askPreview("payments:refund", "order:nobody", in)
	h.refused("no such order", err, tools.NotFound, "")
}

func labelIsBoughtAndVoided(h *house) {
	o := h.untouched(21)
	in := args{"carrier": "dpd", "weight_grams": 2001, "max_cost": pounds(1798)}
	cost := int64(899)
	if o.ShipCountry != "United Kingdom" {
		cost *= 2
	}
	p := must[tools.Preview](h)(h.askPreview("shipping:create_label", "order:"+o.No, in))
	if p.Money == nil || p.Money.AmountMinor != cost || !strings.HasPrefix(p.Version, "1 ") || !strings.Contains(p.Summary, "a dpd label for 2,001 g") {
		h.Errorf("the preview is %+v", p)
	}
	out, undo, err := request[createLabelOut](h, "shipping:create_label", "order:"+o.No, in)
	if err != nil || !out.Simulated || out.Cost.AmountMinor != cost {
		h.Fatalf("%+v: %v", out, err)
	}
	p = must[tools.Preview](h)(h.askPreview("shipping:create_label", "order:"+o.No, in))
	if p.Changes[0] != (tools.Change{Object: "order " + o.No, Field: "labels", From: "1", To: "2"}) || !strings.Contains(strings.Join(p.Warnings, " "), "1 label already") {
		h.Errorf("a second label is previewed as %+v", p)
	}
	status := func() string { return h.text("SELECT status FROM shipping_labels WHERE label_id = $1", out.ID) }
	if got := h.order(o.No); got.Version != 2 || status() != "made" || !strings.Contains(got.Events[len(got.Events)-1].What, "label made: dpd") {
		h.Errorf("the order is %+v, the label %s", got, status())
	}
	if err := undo(); err != nil || status() != "void" {
		h.Errorf("the label is %s after: %v", status(), err)
	}
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("voiding it twice: %v", err)
	}
	if got := h.order(o.No); got.Version != 3 {
		h.Errorf("undone twice, the order has version %d", got.Version)
	}
}

func labelIsRefusedBeyondItsCap(h *house) {
	o := h.untouched(22)
	in := args{"carrier": "royal_mail", "weight_grams": 30000, "max_cost": pounds(3298)}
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"too dear":       {in, tools.LimitExceeded, ""},
		"too heavy":      {in.with("weight_grams", 30001), tools.InvalidArguments, "arguments.weight_grams"},
		"weightless":     {in.with("weight_grams", 0), tools.InvalidArguments, "arguments.weight_grams"},
		"another money":  {in.with("max_cost", args{"amount_minor": 9999, "currency": "EUR"}), tools.InvalidArguments, "arguments.max_cost.currency"},
		"no such firm":   {in.with("carrier", "pigeon"), tools.InvalidArguments, "arguments.carrier"},
		"no stated cap":  {in.with("max_cost", nil), tools.InvalidArguments, "arguments.max_cost"},
		"what is it for": {in.with("colour", "red"), tools.InvalidArguments, "arguments.colour"},
	} {
		_, err := h.askPreview("shipping:create_label", "order:"+o.No, c.in)
		h.refused(what, err, c.code, c.field)
	}
	cancelled := h.text("SELECT order_no FROM orders WHERE merchant_id = $1 AND status = 'refunded' ORDER BY order_no LIMIT 1", merchant)
	_, err := h.askPreview("shipping:create_label", "order:"+cancelled, in.with("max_cost", pounds(9999)))
	h.refused("an order that is not to be sent", err, tools.Conflict, "")
	for steps, grams := range []int64{1, 1000, 1001, 30000} {
		p := must[tools.Preview](h)(h.askPreview("shipping:create_label", "order:"+o.No, in.with("weight_grams", grams).with("max_cost", pounds(9999))))
		if want := []int64{449, 449, 599, 3299}[steps]; p.Money.AmountMinor != want && p.Money.AmountMinor != 2*want {
			h.Errorf("%d g cost %s", grams, p.Money)
		}
	}
}

// onShelf gives the nth SKU that has pieces and was bought of late.
func (h *house) onShelf(nth int) (sku string, pieces int64) {
	h.Helper()
	sku = h.text(`SELECT sku FROM variants WHERE merchant_id = $1 AND on_hand > 20 ORDER BY sku LIMIT 1 OFFSET $2`, merchant, nth)
	return sku, h.number("SELECT on_hand FROM variants WHERE merchant_id = $1 AND sku = $2", merchant, sku)
}

func (h *house) onHandAndHeld(sku string) (onHand, held int64) {
	h.Helper()
	return h.number("SELECT on_hand FROM variants WHERE merchant_id = $1 AND sku = $2", merchant, sku),
		h.number("SELECT CAST(COALESCE(SUM(pieces), 0) AS BIGINT) FROM quarantine WHERE merchant_id = $1 AND sku = $2 AND status = 'held'", merchant, sku)
}

func recallEmptiesTheShelfAndPutsBack(h *house) {
	sku, n := h.onShelf(3)
	in := args{"max_pieces": n, "reason_code": "safety"}
	p := must[tools.Preview](h)(h.askPreview("warehouse:recall_lot", "variant:"+sku, in))
	buyers := h.number(`SELECT COUNT(DISTINCT customer_no) FROM orders WHERE merchant_id = $1 AND placed_at >= $2 AND status <> 'cancelled'
		AND order_no IN (SELECT order_no FROM order_lines WHERE merchant_id = $1 AND sku = $3)`, merchant, store.Micros(sunday.AddDate(0, 0, -90)), sku)
	if p.Customers != buyers || buyers == 0 || p.Changes[0].From != fmt.Sprint(n) || p.Changes[0].To != "0" || p.Content != "" {
		h.Errorf("%d bought it: %+v", buyers, p)
	}
	mailings := h.number("SELECT COUNT(*) FROM deliveries")
	out, undo, err := request[shop.Recall](h, "warehouse:recall_lot", "variant:"+sku, in)
	if onHand, held := h.onHandAndHeld(sku); err != nil || onHand != 0 || held != n || out.Pieces != n {
		h.Errorf("%d on hand and %d held after %+v: %v", onHand, held, out, err)
	}
	if h.number("SELECT COUNT(*) FROM deliveries") != mailings {
		h.Error("a recall wrote to somebody")
	}
	h.exec("UPDATE variants SET on_hand = on_hand + 7, version = version + 1 WHERE merchant_id = $1 AND sku = $2", merchant, sku)
	if err := undo(); err != nil {
		h.Error(err)
	}
	if onHand, held := h.onHandAndHeld(sku); onHand != n+7 || held != 0 {
		h.Errorf("%d on hand and %d held after it was undone", onHand, held)
	}
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("undoing it twice: %v", err)
	}
	if onHand, _ := h.onHandAndHeld(sku); onHand != n+7 {
		h.Errorf("undone twice, %d are on hand", onHand)
	}
}

func recallIsAllOrNothing(h *house) {
	sku, n := h.onShelf(4)
	in := args{"max_pieces": n - 1, "reason_code": "quality"}
	_, err := h.askPreview("warehouse:recall_lot", "variant:"+sku, in)
	h.refused("more on hand than the cap", err, tools.LimitExceeded, "")
	_, err = h.askPreview("warehouse:recall_lot", "variant:none", in)
	h.refused("no such SKU", err, tools.NotFound, "")
	h.exec("UPDATE variants SET on_hand = 0, version = version + 1 WHERE merchant_id = $1 AND sku = $2", merchant, sku)
	_, err = h.askPreview("warehouse:recall_lot", "variant:"+sku, in)
	h.refused("nothing on hand", err, tools.Conflict, "")
}

func monthIsExportedOnce(h *house) {
	out, undo, err := request[shop.Export](h, "accounting:export_month", "month:2026-09", nil)
	if err != nil {
		h.Fatal(err)
	}
	sum := func(column string) int64 {
		return h.number("SELECT CAST(SUM("+column+") AS BIGINT) FROM sales_totals WHERE merchant_id = $1 AND day LIKE '2026-09-%'", merchant)
	}
	if out.Gross.AmountMinor != sum("gross_minor") || out.Refunds.AmountMinor != sum("refunds_minor") ||
		out.Net.AmountMinor != sum("gross_minor")-sum("discount_minor")-sum("refunds_minor") {
		h.Errorf("the sums are %+v", out)
	}
	rows, err := csv.NewReader(strings.NewReader(h.text("SELECT csv FROM accounting_exports WHERE export_id = $1", out.ID))).ReadAll()
	if err != nil || int64(len(rows)) != out.Rows+1 || cmp.Diff(exported, rows[0]) != "" {
		h.Fatalf("%d rows of %v: %v", len(rows), rows, err)
	}
	var net int64
	for _, row := range rows[1:] {
		n, err := strconv.ParseInt(row[7], 10, 64)
		if err != nil || !strings.HasPrefix(row[0], "2026-09-") {
			h.Errorf("the row %v: %v", row, err)
		}
		net += n
	}
	if net != out.Net.AmountMinor {
		h.Errorf("the rows add up to %d, the answer says %s", net, out.Net)
	}
	_, err = h.askPreview("accounting:export_month", "month:2026-09", nil)
	h.refused("the same sums again", err, tools.Conflict, "")
	if err := undo(); err != nil || h.number("SELECT COUNT(*) FROM accounting_exports WHERE export_id = $1", out.ID) != 0 {
		h.Errorf("it is still there: %v", err)
	}
	again, _, err := request[shop.Export](h, "accounting:export_month", "month:2026-09", nil)
	if err != nil || again.SHA256 != out.SHA256 {
		h.Errorf("the same month has other bytes: %s and %s (%v)", out.SHA256, again.SHA256, err)
	}
	for _, month := range []string{"2026-11", "2027-01", "2026-13", "2026-9", "September"} {
		_, err := h.askPreview("accounting:export_month", "month:"+month, nil)
		h.refused(month, err, tools.InvalidArguments, "target")
	}
	_, err = h.askPreview("accounting:export_month", "month:1999-12", nil)
	h.refused("a month without sales", err, tools.Conflict, "")
}

var exported = []string{
	"day", "country", "orders", "units", "gross_minor", "discount_minor", "refunds_minor", "net_minor", "shipping_minor",
	"shipping_refunds_minor", "currency",
}

func wrongWishesAreToldTheRightForm(h *house) {
	_, err := h.askPreview("payments:refund", "customer:17850", args{"amount": args{"amount_minor": 1.5, "currency": "GBP"}, "colour": "red"})
	r := h.refused("wrong in every way", err, tools.InvalidArguments, "target")
	var fields []string
	for _, f := range r.Errors.Fields {
		fields = append(fields, f.Field)
	}
	want := []string{"target", "arguments.amount.amount_minor", "arguments.cause", "arguments.colour", "arguments.expected_version"}
	if diff := cmp.Diff(want, fields); diff != "" {
		h.Errorf("the fields that are named:\n%s", diff)
	}
	if f := r.Errors.Fields[0]; f.Expected != "order:ID" || f.Example != "order:536365" {
		h.Errorf("a target is asked for as %+v", f)
	}
	if !strings.Contains(r.Next, `payments:refund takes a target such as order:536365 and arguments such as {"amount":{"amount_minor":1,"currency":"GBP"},`) {
		h.Errorf("the right form is told as %q", r.Next)
	}
	for _, target := range []string{"536365", "order:", ":536365", "orders:536365"} {
		_, err := h.askPreview("payments:refund", target, args{"expected_version": 1, "amount": pounds(1), "cause": "fraud"})
		h.refused(target, err, tools.InvalidArguments, "target")
	}
	for _, list := range []any{nil, "text", []int{1}} {
		_, err := h.preview("dtc_request_action", asking("accounting:export_month", "month:2026-09", nil).with("arguments", list))
		h.refused(fmt.Sprint(list), err, tools.InvalidArguments, "arguments")
	}
}

// actionsKeepTheSums recalls, puts back and refunds at random from several goroutines at once. Whatever comes of it, no piece
// is lost or made, no recall takes more than its cap, and what was given back is what the refunds say and never more than
// was paid.
func actionsKeepTheSums(h *house) {
	pieces, orders := map[string]int64{}, []string{}
	for i := range 3 {
		sku, n := h.onShelf(6 + i)
		_, held := h.onHandAndHeld(sku)
		pieces[sku] = n + held
		orders = append(orders, h.untouched(30+i).No)
	}
	var all sync.WaitGroup
	for worker := range uint64(4) {
		all.Go(func() { actionAtRandom(h, pieces, orders, rand.New(rand.NewPCG(worker, 11))) })
	}
	all.Wait()
	for sku, n := range pieces {
		if onHand, held := h.onHandAndHeld(sku); onHand+held != n {
			h.Errorf("%s: %d on hand and %d held of %d", sku, onHand, held, n)
		}
	}
	for _, no := range orders {
		o := h.order(no)
		made := h.number("SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM refunds WHERE order_no = $1", no)
		if made != o.Refunded.AmountMinor || made > o.Total.AmountMinor || made == 0 {
			h.Errorf("order %s of %s: refunded %s, refunds of %d", no, o.Total, o.Refunded, made)
		}
	}
}

func actionAtRandom(h *house, pieces map[string]int64, orders []string, chance *rand.Rand) {
	allowed := func(err error) {
		if r := (*tools.Refusal)(nil); err != nil && !errors.As(err, &r) && !errors.Is(err, shop.ErrChanged) {
			h.Error(err)
		}
	}
	for range 8 {
		for sku, n := range pieces {
			most := 1 + chance.Int64N(2*n)
			out, undo, err := request[shop.Recall](h, "warehouse:recall_lot", "variant:"+sku, args{"max_pieces": most, "reason_code": "labelling"})
			allowed(err)
			if err == nil && out.Pieces > most {
				h.Errorf("a recall of at most %d took %d", most, out.Pieces)
			}
			if err == nil && chance.IntN(4) > 0 {
				allowed(undo())
			}
		}
		o, err := read[getOrderOut](h, "dtc_get_order", args{"order_no": orders[chance.IntN(len(orders))]})
		allowed(err)
		_, err = write[tools.Fulfilled](h, "dtc_request_action", asking("payments:refund", "order:"+o.No, args{
			"expected_version": o.Version, "amount": pounds(1 + chance.Int64N(o.Total.AmountMinor/3)), "cause": "goodwill",
		}))
		allowed(err)
	}
}
