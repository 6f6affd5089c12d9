package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// A yard is a rig with the demo shop behind the real tools, and keys that may ask for actions.
type yard struct{ *rig }

const actionPath = tools.BasePath + "/actions"

func newYard(t *testing.T, db *store.DB) yard {
	t.Helper()
	db.Now = storyTime()
	g := yard{newRig(t, db, tools.NewRegistry(dtc.Tools()...))}
	_, err := shop.LoadDemo(t.Context(), db, g.store, 1, db.Now())
	g.must(err)
	for name, actions := range map[string][]string{
		"all": {"*"}, "stock": {"warehouse:*", "shipping:create_label"}, "books": {"accounting:export_month"}, "none": nil,
		"robbed": {"warehouse:recall_lot", "shipping:*"}, "desk": {"helpdesk:*"},
	} {
		// None of them asks people for anything: only the tool does.
		g.mintKey(auth.Key{Name: name, Scopes: []auth.Scope{"actions:request", "orders:read"}, Actions: actions, Ceiling: auth.MaxLevel})
	}
	g.person("owner")
	return g
}

// ask asks for an action over REST and gives the status and the body.
func (g yard) ask(key, action, target, arguments string) (status int, body string) {
	g.Helper()
	return g.post(key, actionPath, action, target, arguments)
}

func (g yard) post(key, path, action, target, arguments string) (status int, body string) {
	g.Helper()
	resp, body := g.do("POST", path, fmt.Sprintf(`{"action":%q,"target":%q,"arguments":%s,"idempotency_key":%q,"reason":"as a person asked for it"}`,
		action, target, arguments, fmt.Sprint("k", g.number("SELECT COUNT(*) FROM audit_entries"))), jsonBody, "Authorization: Bearer "+g.secrets[key])
	return resp.StatusCode, body
}

func (g yard) number(q string, values ...any) (n int64) {
	g.Helper()
	g.must(g.db.Read(g.Context(), func(tx *store.Tx) error { return tx.QueryRow(q, values...).Scan(&n) }))
	return n
}

func (g yard) text(q string, values ...any) (s string) {
	g.Helper()
	g.must(g.db.Read(g.Context(), func(tx *store.Tx) error { return tx.QueryRow(q, values...).Scan(&s) }))
	return s
}

// parked asks for an action, which must be parked, and gives the answer.
func (g yard) parked(key, action, target, arguments string) tools.Result {
	g.Helper()
	status, body := g.ask(key, action, target, arguments)
	return g.isParked(status, body)
}

func (g yard) isParked(status int, body string) (r tools.Result) {
	g.Helper()
	g.must(json.Unmarshal([]byte(body), &r))
	if status != 202 || r.Status != tools.PendingApproval {
		g.Fatalf("it was not parked: %d %s", status, body)
	}
	return r
}

// approve lets a parked call go and carries it out; it gives the job as its caller sees it.
func (g yard) approve(key string, r tools.Result) (j tools.Job) {
	g.Helper()
	resp, body := g.do("POST", tools.BasePath+"/approvals/"+r.Approval.ApprovalID+"/resolve", g.ballot(r.JobID, approvals.Approve), jsonBody, "Authorization: Bearer "+g.secrets["owner"])
	if resp.StatusCode != 200 {
		g.Fatalf("approving: %s", body)
	}
	g.work()
	return g.job(key, r)
}

func (g yard) job(key string, r tools.Result) (j tools.Job) {
	g.Helper()
	_, body := g.do("GET", r.Poll, "", "Authorization: Bearer "+g.secrets[key])
	g.must(json.Unmarshal([]byte(body), &j))
	return j
}

// waiting counts the calls that were parked, whatever became of them.
func (g yard) waiting() int64 {
	g.Helper()
	return g.number("SELECT COUNT(*) FROM jobs") + g.number("SELECT COUNT(*) FROM approvals")
}

// stocked is a SKU of the demo shop with pieces on hand.
func (g yard) stocked() (sku string, pieces int64) {
	g.Helper()
	sku = g.text("SELECT sku FROM variants WHERE on_hand > 20 ORDER BY sku LIMIT 1")
	return sku, g.number("SELECT on_hand FROM variants WHERE sku = $1", sku)
}

// TestActions goes through the whole gate with one shop an engine. What a story leaves there is no concern of the others.
func TestActions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newYard(t, db)
		for name, tell := range map[string]func(yard){
			"ParkedApprovedRunOnceAndUndone":    anActionIsParkedApprovedRunOnceAndUndone,
			"RefundMovesMoneyOnce":              aRefundThatIsAskedForMovesMoneyOnce,
			"NotGrantedIsAsNotThere":            whatIsNotGrantedAndWhatIsNotThereAreAnsweredAlike,
			"WrongArgumentsParkNothing":         wrongArgumentsOfAnActionParkNothing,
			"TakenGrantStopsWhatIsParked":       aGrantThatIsTakenAwayStopsWhatIsParked,
			"OtherNameReachesTheAction":         theOtherNameReachesTheAction,
			"WithoutAClassItIsParkedAllTheSame": withoutAClassItIsParkedAllTheSame,
		} {
			t.Run(name, func(t *testing.T) {
				own := *g.rig
				own.T = t
				tell(yard{&own})
			})
		}
	})
}

func anActionIsParkedApprovedRunOnceAndUndone(g yard) {
	sku, n := g.stocked()
	onHand := func() int64 { return g.number("SELECT on_hand FROM variants WHERE sku = $1", sku) }
	r := g.parked("stock", "warehouse:recall_lot", "variant:"+sku, fmt.Sprintf(`{"max_pieces":%d,"reason_code":"safety"}`, n))
	g.work()
	if onHand() != n {
		g.Fatalf("a parked recall left %d of %d", onHand(), n)
	}
	if class := g.text("SELECT class FROM approvals WHERE id = $1", r.Approval.ApprovalID); class != "destructive" {
		g.Errorf("people are asked for consent of class %q", class)
	}
	j := g.approve("stock", r)
	g.work()
	if j.Status != tools.JobSucceeded || onHand() != 0 || g.number("SELECT COUNT(*) FROM quarantine WHERE sku = $1", sku) != 1 {
		g.Fatalf("%d on hand after %+v", onHand(), j)
	}
	entries := g.entries()
	if e := entries[len(entries)-2]; e.Action != "warehouse:recall_lot" || e.Resource != "variant:"+sku || e.Event != "call.resumed" {
		g.Errorf("it is on record as %+v", e)
	}
	asked := g.undo("stock", j)
	if onHand() != 0 {
		g.Errorf("%d on hand although nobody agreed to the undo", onHand())
	}
	if back := g.approve("stock", asked); back.Status != tools.JobSucceeded || onHand() != n {
		g.Errorf("%d on hand after undo: %+v", onHand(), back)
	}
}

// undo asks for an action to be taken back, which waits for a person like the action itself.
func (g yard) undo(key string, j tools.Job) (r tools.Result) {
	g.Helper()
	resp, body := g.do("POST", tools.BasePath+"/undo/"+j.UndoID, "{}", jsonBody, "Authorization: Bearer "+g.secrets[key])
	if err := json.Unmarshal([]byte(body), &r); err != nil || resp.StatusCode != 202 || r.Status != tools.PendingApproval {
		g.Fatalf("the undo is answered %s: %s", resp.Status, body)
	}
	return r
}

func aRefundThatIsAskedForMovesMoneyOnce(g yard) {
	order := g.text("SELECT order_no FROM orders WHERE status = 'fulfilled' ORDER BY order_no LIMIT 1")
	refunded := func() int64 { return g.number("SELECT refunded_minor FROM orders WHERE order_no = $1", order) }
	r := g.parked("all", "payments:refund", "order:"+order, `{"expected_version":1,"amount":{"amount_minor":250,"currency":"GBP"},"cause":"goodwill"}`)
	if r.Preview.Money == nil || r.Preview.Money.AmountMinor != 250 || refunded() != 0 {
		g.Errorf("people are shown %+v", r.Preview)
	}
	j := g.approve("all", r)
	if j.Status != tools.JobSucceeded || refunded() != 250 || g.number("SELECT COUNT(*) FROM refunds WHERE order_no = $1", order) != 1 {
		g.Errorf("%d refunded after %+v", refunded(), j)
	}
	if j.UndoID != "" {
		resp, body := g.do("POST", tools.BasePath+"/undo/"+j.UndoID, "{}", jsonBody, "Authorization: Bearer "+g.secrets["all"])
		if resp.StatusCode != 409 || refunded() != 250 {
			g.Errorf("money was fetched back: %s", body)
		}
	}
}

func whatIsNotGrantedAndWhatIsNotThereAreAnsweredAlike(g yard) {
	before := g.waiting()
	refused := func(key, action string) string {
		status, body := g.ask(key, action, "order:1", `{"anything":1}`)
		if status != 404 || !strings.Contains(body, string(tools.NotFound)) {
			g.Errorf("%s asks for %s: %d %s", key, action, status, body)
		}
		var r tools.Refusal
		g.must(json.Unmarshal([]byte(body), &r))
		r.CallID = ""
		raw, err := json.Marshal(r)
		g.must(err)
		return string(raw)
	}
	for _, key := range []string{"stock", "books", "none"} {
		if diff := cmp.Diff(refused(key, "no:such_action"), refused(key, "payments:refund")); diff != "" {
			g.Errorf("%s can tell them apart:\n%s", key, diff)
		}
	}
	if told := refused("stock", "payments:refund"); !strings.Contains(told, "one of: shipping:create_label, warehouse:recall_lot") || strings.Contains(told, "accounting") {
		g.Errorf("a key is told of %s", told)
	}
	refused("all", "no:such_action")
	refused("all", "*")
	refused("stock", "warehouse:*")
	refused("stock", "warehouse:recall_lot ")
	if n := g.waiting() - before; n != 0 {
		g.Errorf("%d of them are parked", n)
	}
	last := g.entries()[len(g.entries())-1]
	if last.Status != "refused" || last.Code != string(tools.NotFound) || last.Tool != "dtc_request_action" {
		g.Errorf("it is on record as %+v", last)
	}
}

func wrongArgumentsOfAnActionParkNothing(g yard) {
	before, entries := g.waiting(), g.entries()
	sku, _ := g.stocked()
	for _, c := range []struct{ target, arguments, field string }{
		{"variant:" + sku, `{"max_pieces":0,"reason_code":"safety"}`, "arguments.max_pieces"},
		{"variant:" + sku, `{"max_pieces":9}`, "arguments.reason_code"},
		{"variant:" + sku, `{"max_pieces":9,"reason_code":"safety","x":1}`, "arguments.x"},
		{"order:" + sku, `{"max_pieces":9,"reason_code":"safety"}`, "target"},
		{"variant:" + sku, `[]`, "arguments"},
	} {
		status, body := g.ask("stock", "warehouse:recall_lot", c.target, c.arguments)
		if status != 400 || !strings.Contains(body, `"field":"`+c.field+`"`) {
			g.Errorf("%s %s: %d %s", c.target, c.arguments, status, body)
		}
	}
	if n := g.waiting() - before; n != 0 {
		g.Errorf("%d of them are parked", n)
	}
	entries = g.entries()[len(entries):]
	if len(entries) != 5 || entries[0].Code != string(tools.InvalidArguments) || entries[0].Action != "warehouse:recall_lot" {
		g.Errorf("on record are %+v", entries)
	}
}

func aGrantThatIsTakenAwayStopsWhatIsParked(g yard) {
	sku, n := g.stocked()
	recall := fmt.Sprintf(`{"max_pieces":%d,"reason_code":"safety"}`, n)
	first := g.approve("robbed", g.parked("robbed", "warehouse:recall_lot", "variant:"+sku, recall))
	order := g.text("SELECT order_no FROM orders WHERE status = 'fulfilled' ORDER BY order_no LIMIT 1")
	r := g.parked("robbed", "shipping:create_label", "order:"+order, `{"carrier":"ups","weight_grams":900,"max_cost":{"amount_minor":2000,"currency":"GBP"}}`)
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE agent_keys SET actions = '[]' WHERE id = $1", g.ids["robbed"])
		return err
	}))
	if j := g.approve("robbed", r); j.Status != tools.JobCancelled || j.Reason != "invalidated" || g.number("SELECT COUNT(*) FROM shipping_labels") != 0 {
		g.Errorf("it ran without a grant: %+v", j)
	}
	resp, body := g.do("POST", tools.BasePath+"/undo/"+first.UndoID, "{}", jsonBody, "Authorization: Bearer "+g.secrets["robbed"])
	if resp.StatusCode != 404 || g.number("SELECT on_hand FROM variants WHERE sku = $1", sku) != 0 {
		g.Errorf("it was undone without a grant: %s", body)
	}
}

// The tool has another name, which patterns and older clients know it by.
func theOtherNameReachesTheAction(g yard) {
	g.isParked(g.post("books", tools.BasePath+"/tools/actions.request_approval", "accounting:export_month", "month:2026-08", `{}`))
	for i, era := range eras {
		args := fmt.Sprintf(`{"action":"accounting:export_month","target":"month:2026-0%d","arguments":{},"idempotency_key":"m%d","reason":"the books are due"}`, i+6, i)
		_, r := g.rpc("books", era, "tools/call", `{"name":"actions.request_approval","arguments":`+args+`}`)
		var parked tools.Result
		g.must(json.Unmarshal(r.Result.StructuredContent, &parked))
		if r.Error != nil || r.Result.IsError || parked.Status != tools.PendingApproval {
			g.Fatalf("%s: %+v", era, r)
		}
		if j := g.approve("books", parked); j.Status != tools.JobSucceeded || j.Tool != "dtc_request_action" {
			g.Errorf("%s: %+v", era, j)
		}
	}
	if n := g.number("SELECT COUNT(*) FROM accounting_exports"); n != 2 {
		g.Errorf("%d months are exported", n)
	}
}

// Closing a ticket has no class and could be undone; asked for as an action it waits for a person all the same.
func withoutAClassItIsParkedAllTheSame(g yard) {
	ticket := g.text("SELECT ticket_id FROM tickets WHERE status = 'open' ORDER BY ticket_id LIMIT 1")
	status := func() string { return g.text("SELECT status FROM tickets WHERE ticket_id = $1", ticket) }
	r := g.parked("desk", "helpdesk:close_ticket", "ticket:"+ticket, `{"expected_version":1}`)
	if class := g.text("SELECT class FROM approvals WHERE id = $1", r.Approval.ApprovalID); class != "" || status() != "open" {
		g.Errorf("people are asked for consent of class %q while the ticket is %s", class, status())
	}
	j := g.approve("desk", r)
	if j.Status != tools.JobSucceeded || status() != "closed" {
		g.Fatalf("the ticket is %s after %+v", status(), j)
	}
	if back := g.approve("desk", g.undo("desk", j)); back.Status != tools.JobSucceeded || status() != "open" {
		g.Errorf("the ticket is %s after undo: %+v", status(), back)
	}
	// A reply is parked, and lapses when the ticket has moved on.
	r = g.parked("desk", "helpdesk:send_reply", "ticket:"+ticket, `{"expected_version":3,"text":"It is on its way."}`)
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE tickets SET version = version + 1 WHERE ticket_id = $1", ticket)
		return err
	}))
	if j := g.approve("desk", r); j.Status != tools.JobCancelled || g.number("SELECT COUNT(*) FROM ticket_messages WHERE ticket_id = $1 AND author = 'staff'", ticket) != 0 {
		g.Errorf("a reply to what has changed went out: %+v", j)
	}
}
