package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// mine stands in the arguments of every refused call wherever a caller may write what it likes. No refusal may repeat it. (The
// name of a field that is none has to be repeated: without it nobody would know which to leave out.)
const mine = "Q7sCallersOwn"

// A wrongCall is a call that is refused, over REST and MCP alike. The arguments may use what the house has at hand: see
// refusing.args.
type wrongCall struct {
	code       tools.Code
	who        string
	tool, args string
	has        string // the member of errors with the particulars: fields, missing, now
}

var wrongCalls = []wrongCall{
	{tools.ForbiddenScope, "reader", "dtc_set_prices", `{"prices":[],"idempotency_key":"MINE","reason":"MINE MINE"}`, "missing"},
	{tools.ForbiddenScope, "reader", "dtc_undo", `{"undo_id":"MINE"}`, "missing"},
	{tools.ForbiddenScope, "reader", "dtc_get_customer", `{"customer_no":"CUSTOMER","include_contact":true}`, "missing"},
	{tools.ForbiddenTool, "owner", "dtc_get_order", `{"order_no":"MINE"}`, ""},
	{tools.ForbiddenTool, "clerk", "dtc_search_orders", `{"query":"MINE"}`, ""},
	{tools.ForbiddenResource, "clerk", "dtc_get_order", `{"order_no":"MINE"}`, ""},
	{tools.ForbiddenResource, "pricer", "dtc_set_prices", `{"prices":[{"sku":"A_1","expected_price":{"amount_minor":1,"currency":"GBP"},"new_price":{"amount_minor":2,"currency":"GBP"}},` +
		`{"sku":"B_2","expected_price":{"amount_minor":1,"currency":"GBP"},"new_price":{"amount_minor":2,"currency":"GBP"}}],"idempotency_key":"MINE","reason":"MINE MINE"}`, ""},
	{tools.RateLimited, "slow", "dtc_whoami", `{}`, ""},
	{tools.UnknownTool, "all", mine, `{"any":"MINE"}`, ""},
	{tools.RiskCeiling, "low", "dtc_update_product", `{"product_code":"40040","expected_version":1,"title":"MINE"}`, ""},

	{tools.InvalidArguments, "all", "dtc_search_orders", `{"limit":"MINE"}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_search_orders", `{"limit":99}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_search_orders", `{"status":"MINE"}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_search_orders", `{"from":"MINE"}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_search_orders", `{"nosuch":"MINE"}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_search_orders", `{"min_total":{"amount_minor":"MINE","currency":"MINE"}}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_search_orders", `{"cursor":"MINE"}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_search_orders", `{"from":"2026-11-02","to":"2026-11-01","query":"MINE"}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_get_order", `{"order_no":"MINEMINEMINEMINE"}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_get_order", `{}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_get_order", `{"` + strings.Repeat("n", 20_000) + `":1}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_pause", `{"kind":"MINE","id":"MINE"}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_add_order_note", `{"order_no":"ORDER","text":"MINE","idempotency_key":"MINE MINE"}`, "fields"},
	{tools.InvalidArguments, "all", "dtc_refund_order", refundOf(1, `{"amount_minor":500,"currency":"EUR"}`), "fields"},
	{tools.InvalidArguments, "all", "dtc_request_action", `{"action":"payments:refund","target":"MINE","arguments":{},"idempotency_key":"MINE","reason":"MINE MINE"}`, "fields"},

	{tools.StaleExpectation, "all", "dtc_refund_order", refundOf(9, `{"amount_minor":500,"currency":"GBP"}`), "now"},
	{tools.LimitExceeded, "all", "dtc_refund_order", refundOf(1, `{"amount_minor":90000000,"currency":"GBP"}`), ""},
	{tools.BudgetExceeded, "poor", "dtc_refund_order", refundOf(1, `{"amount_minor":51,"currency":"GBP"}`), ""},
	{tools.TrustTooLow, "all", "dtc_create_campaign", `{"name":"MINE","channel":"sms","body":"MINE Reply STOP to opt out."}`, ""},
	{tools.ForbiddenByPolicy, "barred", "dtc_add_order_note", `{"order_no":"ORDER","text":"MINE","idempotency_key":"MINE"}`, ""},
	{tools.Frozen, "frozen", "dtc_add_order_note", `{"order_no":"ORDER","text":"MINE","idempotency_key":"MINE"}`, ""},
	{tools.QuietHours, "all", "dtc_refund_order", strings.Replace(refundOf(1, `{"amount_minor":50,"currency":"GBP"}`), `"notify_customer":false`, `"notify_customer":true`, 1), ""},
	{tools.ForbiddenTool, "nobody", "dtc_get_order", `{"order_no":"MINE"}`, ""},
	{tools.ForbiddenTool, "stranger", "dtc_get_order", `{"order_no":"MINE"}`, ""},
	{tools.ForbiddenTool, "poor", "dtc_search_orders", `{"query":"MINE"}`, ""},
	{tools.ForbiddenTool, "all", "dtc_publish_page", `{"any":"MINE"}`, ""},
	{tools.ForbiddenResource, "poor", "dtc_update_product", `{"product_code":"40040","expected_version":1,"title":"MINE"}`, ""},
	{tools.RiskCeiling, "frozen", "dtc_update_product", `{"product_code":"40040","expected_version":1,"title":"MINE"}`, ""},
	{tools.NotFound, "poor", "dtc_request_action", `{"action":"payments:refund","target":"MINE","arguments":{},"idempotency_key":"MINE","reason":"MINE MINE"}`, ""},
	{tools.NotFound, "all", "dtc_get_order", `{"order_no":"MINE"}`, ""},
	{tools.NotFound, "all", "dtc_get_job", `{"job_id":"MINE"}`, ""},
	{tools.NotFound, "all", "dtc_draft_reply", `{"ticket_id":"MINE","text":"MINE"}`, ""},
	{tools.NotFound, "all", "dtc_undo", `{"undo_id":"MINE"}`, ""},
	{tools.NotFound, "all", "dtc_request_action", `{"action":"MINE","target":"MINE","arguments":{},"idempotency_key":"MINE","reason":"MINE MINE"}`, "fields"},
	{tools.Conflict, "all", "dtc_pause", `{"kind":"campaign","id":"SENT","reason":"MINE"}`, ""},
	{tools.Conflict, "all", "dtc_draft_reply", `{"ticket_id":"CLOSED","text":"MINE"}`, ""},
	{tools.IdempotencyConflict, "all", "dtc_add_order_note", `{"order_no":"ORDER","text":"MINE again","idempotency_key":"USED"}`, ""},
	{tools.Unavailable, "all", "notes_get", `{"note_id":"broken"}`, ""},
	{tools.Internal, "all", "notes_get", `{"note_id":"odd"}`, ""},
	{tools.Internal, "all", "notes_get", `{"note_id":"panic"}`, ""},
}

// harsh is a policy against which calls can go in every way. The house calls at noon, and later at one, of a day of 2026.
const harsh = `language: 1
tools:
  dtc_create_campaign: {minimum_trust: OPEN}
  dtc_publish_page: {off: true}
profiles:
  scoped: {}
  admin:
    tools: ["*"]
    resources: ["*"]
    actions: {request: ["*"]}
    ceiling: high
  poor: {tools: ["orders.refund", "products.update", "dtc_request_action"], resources: ["order:*"], ceiling: high}
  barred: {tools: ["*"], resources: ["*"], ceiling: high}
  frozen: {tools: ["*"], resources: ["*"], ceiling: low}
freezes:
- {name: always, from: 2026-01-01T00:00:00Z, to: 2036-01-01T00:00:00Z, why: We count., profiles: [frozen], tools: [orders.note]}
trust: {start: 65, sandboxes: {strict: {ceiling: low}, adaptive: {ceiling: L6}}}
conditions: |
  permit (principal, action, resource);
  @reason("it has not paid its dues.")
  forbid (principal, action, resource) when { principal.profile == "barred" };
limits:
  budgets:
  - {name: refunds, per: key, every: day, money: {amount_minor: 50, currency: GBP}, profiles: [poor]}
  contact: {quiet: {from: "12:30", to: "15:00"}}
`

func refundOf(version int, amount string) string {
	return fmt.Sprintf(`{"order_no":"ORDER","expected_version":%d,"amount":%s,"cause":"goodwill","notify_customer":false,`+
		`"idempotency_key":"MINE","reason":"MINE MINE"}`, version, amount)
}

// A wrongRequest is refused as HTTP, before it is a call, or is no call at all.
type wrongRequest struct {
	code         tools.Code
	who          string
	method, path string
	body         string
	headers      []string
	has          string
	event        string // as which it is on record; "" for requests that are logged and not recorded
}

const approvalsPath = tools.BasePath + "/approvals/"

var wrongRequests = []wrongRequest{
	{tools.ForbiddenApprover, "all", "POST", approvalsPath + "apr_" + mine + "/resolve", `{"decision":"approve","reason":"MINE","seen_sha256":"0000-0000-0000"}`, nil, "", "approval.refused"},
	{tools.ForbiddenApprover, "all", "GET", tools.BasePath + "/approvals", "", nil, "", "approval.refused"},
	{tools.ApprovalExpired, "owner", "POST", approvalsPath + "LAPSED/resolve", `{"decision":"approve","reason":"MINE","seen_sha256":"0000-0000-0000"}`, nil, "", "approval.refused"},
	{tools.Conflict, "owner", "POST", approvalsPath + "WAITS/resolve", `{"decision":"approve","seen_sha256":"MINE"}`, nil, "", "approval.refused"},
	{tools.ForbiddenApprover, "all", "POST", approvalsPath + "WAITS/resolve", `{"decision":"MINE"}`, nil, "", "approval.refused"},
	{tools.InvalidArguments, "owner", "POST", approvalsPath + "WAITS/resolve", `{"decision":"MINE"}`, nil, "fields", "approval.refused"},
	{tools.InvalidArguments, "all", "GET", tools.BasePath + "/orders/ORDER?order_no=" + mine, "", nil, "fields", "call"},
	{tools.InvalidArguments, "all", "POST", tools.BasePath + "/pause", `{"id":"MINE","id":"MINE"}`, nil, "", "call"},
	{tools.ForbiddenScope, "reader", "GET", tools.BasePath + "/orders/ORDER?order_no=" + mine, "", nil, "missing", "call"},
	{tools.NotFound, "owner", "POST", approvalsPath + mine + "/resolve", `{"decision":"deny","reason":"MINE"}`, nil, "", "approval.refused"},
	{tools.ForbiddenScope, "owner", "POST", adminBase + "/policy/publish", `{"source":"MINE","note":"MINE"}`, nil, "missing", "policy.published.refused"},
	{tools.ForbiddenScope, "all", "POST", adminBase + "/policy/check", `{"source":"MINE"}`, nil, "missing", "policy.checked.refused"},
	{tools.ForbiddenScope, "owner", "GET", adminBase + "/policy/versions/" + mine, "", nil, "missing", "policy.read.refused"},
	{tools.ForbiddenNetwork, "elsewhere", "GET", tools.BasePath + "/whoami", "", nil, "", "auth.refused"},
	{tools.NotFound, "", "GET", exportsPath + mine, "", nil, "", ""},
	{tools.Unauthorized, "", "GET", tools.BasePath + "/whoami", "", []string{"X-Agent-Key: " + mine}, "", "auth.refused"},
	{tools.Unauthorized, "", "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, []string{"X-Agent-Key: " + mine}, "", ""}, // counted, and recorded in a minute
	{codeHost, "all", "GET", tools.BasePath + "/whoami", "", []string{"Host: " + mine + ".example"}, "", ""},
	{codeHost, "all", "POST", "/mcp", `{}`, []string{"Host: " + mine + ".example"}, "", ""},
	{codeOrigin, "all", "POST", "/mcp", `{}`, []string{"Origin: https://" + mine + ".example"}, "", ""},
	{codeRoute, "all", "GET", "/" + mine, "", nil, "", ""},
	{codeRoute, "all", "POST", tools.BasePath + "//" + mine, "{}", nil, "", ""},
	{codeMethod, "all", "GET", "/mcp", "", nil, "", ""},
	{codeTooLarge, "all", "POST", "/mcp", `{"a":"` + strings.Repeat(mine, maxBody/len(mine)+1) + `"}`, nil, "", ""},
	{codeTooLarge, "all", "POST", tools.BasePath + "/pause", `{"a":"` + strings.Repeat(mine, maxBody/len(mine)+1) + `"}`, nil, "", ""},
	{codeMedia, "all", "POST", tools.BasePath + "/pause", mine, []string{"Content-Type: text/" + mine}, "", ""},
	{codeMalformed, "all", "GET", tools.BasePath + "/orders?query=" + mine + "%zz", "", nil, "", ""},
	{codeMalformed, "all", "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"` + mine + `","params":{}}`, nil, "", ""},
	{codeMalformed, "all", "POST", "/mcp", `{"a":"` + mine + `","a":2}`, nil, "", ""},
}

// refusing is a house in which calls go wrong: the demo shop, the tools of these tests beside the catalogue, and what the
// calls name.
type refusing struct {
	yard
	names     *strings.Replacer
	outsiders []string // what customers have written
}

func newRefusing(t *testing.T, db *store.DB) *refusing {
	t.Helper()
	loadDemo(t, db)
	return newRefusingOn(t, newRig(t, db, tools.NewRegistry(append(dtc.Tools(), fakes.All()...)...)))
}

// newRefusingOn makes the house of a rig that has the demo shop.
func newRefusingOn(t *testing.T, rig *rig) *refusing {
	t.Helper()
	g, db := &refusing{yard: yard{rig}}, rig.db
	all := auth.AgentScopes
	g.mintKey(auth.Key{Name: "all", Scopes: all, Actions: []string{"payments:refund"}, Ceiling: auth.MaxLevel})
	g.mintKey(auth.Key{Name: "low", Scopes: all, Ceiling: 1})
	g.mintKey(auth.Key{Name: "clerk", Scopes: all, Ceiling: auth.MaxLevel, Tools: []string{"dtc_get_order"}, Resources: []string{"order:1"}})
	g.mintKey(auth.Key{Name: "pricer", Scopes: all, Ceiling: auth.MaxLevel, Resources: []string{"variant:A_*"}})
	g.mintKey(auth.Key{Name: "slow", Scopes: all, Ceiling: auth.MaxLevel, Rate: auth.Rate{PerMinute: 1}})
	g.mintKey(auth.Key{Name: "elsewhere", Scopes: all, Ceiling: auth.MaxLevel, Networks: auth.Networks{netip.MustParsePrefix("192.0.2.0/24")}})
	for _, name := range []string{"poor", "barred", "frozen", "nobody", "stranger"} {
		profile := map[string]string{"nobody": policy.Scoped, "stranger": "gone"}[name]
		g.mintKey(auth.Key{Name: name, Profile: cmp.Or(profile, name), Scopes: all, Actions: []string{"*"}, Ceiling: auth.MaxLevel})
	}
	g.mint("careful", true, all...)
	g.mint("reader", false, "analytics:read", "customers:read")
	g.person("owner")
	g.person("gone")
	order := g.text("SELECT order_no FROM orders WHERE status = 'fulfilled' AND refunded_minor = 0 ORDER BY order_no LIMIT 1")
	lapsed := g.refund("careful", order, "lapsed")
	now := db.Now
	db.Now = func() time.Time { return now().Add(25 * time.Hour) }
	if resp, body := g.rest("slow", "dtc_whoami", "{}"); resp.StatusCode != 200 {
		t.Fatalf("the one call that a minute has room for: %s", body)
	}
	g.publish(harsh)
	g.names = strings.NewReplacer("MINE", mine, "ORDER", order, "USED", "used-"+mine, "LAPSED", lapsed.Approval.ApprovalID,
		"WAITS", g.refund("careful", order, "waits").Approval.ApprovalID,
		"CUSTOMER", g.text("SELECT customer_no FROM customers ORDER BY customer_no LIMIT 1"),
		"SENT", g.text("SELECT campaign_id FROM campaigns WHERE status = 'sent' ORDER BY campaign_id LIMIT 1"),
		"CLOSED", g.text("SELECT ticket_id FROM tickets WHERE status = 'closed' ORDER BY ticket_id LIMIT 1"))
	if resp, body := g.rest("all", "dtc_add_order_note", g.names.Replace(`{"order_no":"ORDER","text":"MINE","idempotency_key":"USED"}`)); resp.StatusCode != 200 {
		t.Fatalf("the first call with the key: %s", body)
	}
	g.outsiders = g.texts("SELECT body FROM ticket_messages UNION SELECT customer_note FROM orders WHERE customer_note <> ''")
	return g
}

func (g *refusing) texts(q string) (all []string) {
	g.Helper()
	g.must(g.db.Read(g.Context(), func(tx *store.Tx) (err error) {
		all, err = store.All(tx, func(r store.Row) (s string, err error) { return s, r.Scan(&s) }, q)
		return err
	}))
	return all
}

// refund has a key ask for a refund, which is parked.
func (g *refusing) refund(who, order, key string) (r tools.Result) {
	g.Helper()
	args := fmt.Sprintf(`{"order_no":%q,"expected_version":1,"amount":{"amount_minor":100,"currency":"GBP"},"cause":"goodwill",`+
		`"notify_customer":false,"idempotency_key":%q,"reason":"It came a week late"}`, order, key)
	resp, body := g.rest(who, "dtc_refund_order", args)
	return g.isParked(resp.StatusCode, body)
}

func (g *refusing) rest(who, tool, args string) (*http.Response, string) {
	g.Helper()
	return g.do("POST", tools.BasePath+"/tools/"+tool, args, jsonBody, "Authorization: Bearer "+g.secrets[who])
}

// A refusal is what a model can act on whatever went wrong: one shape on both transports, which says what was wrong and
// what to do, names the particulars that belong to its code, holds nobody's text but ours, goes out with the status that
// the one table has for it, and is on record. Every code has a case here that really is answered with it.
func TestEveryRefusalTellsWhatToDo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRefusing(t, db)
		met := map[tools.Code]bool{}
		for _, c := range wrongCalls {
			met[c.code] = true
			g.in(t, fmt.Sprint(c.code, " ", c.tool), func(g *refusing) { g.refusesCall(c) })
		}
		for _, r := range wrongRequests {
			met[r.code] = true
			g.in(t, fmt.Sprint(r.code, " ", r.method), func(g *refusing) { g.refusesRequest(r) })
		}
		met[tools.ApprovalInvalidated], met[tools.ApprovalDenied], met[tools.StepUpRequired] = true, true, true
		g.in(t, string(tools.StepUpRequired), (*refusing).stepsUp)
		g.in(t, string(tools.ApprovalInvalidated), (*refusing).invalidates)
		g.in(t, string(tools.ApprovalDenied), (*refusing).denies)
		for _, code := range append(codesIn(t, filepath.Join("..", "tools", "refusal.go")), codesIn(t, "errors.go")...) {
			if !met[code] {
				t.Errorf("nothing here is refused with %s", code)
			}
		}
	})
}

// in tells one case as a test of its own.
func (g *refusing) in(t *testing.T, name string, tell func(*refusing)) {
	t.Run(name, func(t *testing.T) {
		own, rig := *g, *g.rig
		rig.T, own.yard = t, yard{&rig}
		tell(&own)
	})
}

func (g *refusing) refusesCall(c wrongCall) {
	c.args = g.names.Replace(c.args)
	resp, body := g.rest(c.who, c.tool, c.args)
	if resp.StatusCode != wires[c.code].http {
		g.Errorf("over REST its status is %s", resp.Status)
	}
	first := g.held(body, c.code, c.has)
	g.recorded(first, "call", "rest")
	if id := resp.Header.Get("X-Call-Id"); id != first.CallID {
		g.Errorf("the header names the call %s and the body %s", id, first.CallID)
	}
	for _, era := range eras {
		body := g.overMCP(c, era)
		again := g.held(body, c.code, c.has)
		g.recorded(again, "call", "mcp")
		again.RetryAfter, again.Message = first.RetryAfter, sameTime(again, first)
		if again.CallID = first.CallID; fmt.Sprint(asText(again)) != asText(first) {
			g.Errorf("MCP says %q and REST %q", asText(again), asText(first))
		}
	}
}

// sameTime gives again's message as it would have been when first was refused: a wait becomes shorter.
func sameTime(again, first tools.Refusal) string {
	return strings.Replace(again.Message, fmt.Sprintf("in %d s", again.RetryAfter), fmt.Sprintf("in %d s", first.RetryAfter), 1)
}

// overMCP makes the call over MCP and gives the refusal, which must be a result unless the code is one of JSON-RPC's.
func (g *refusing) overMCP(c wrongCall, era string) string {
	g.Helper()
	_, r := g.rpc(c.who, era, "tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, c.tool, c.args))
	if code := wires[c.code].rpc; code != 0 {
		if r.Error == nil || r.Error.Code != code {
			g.Fatalf("%s: it is no JSON-RPC error %d: %+v", era, code, r)
		}
		raw, err := json.Marshal(r.Error.Data)
		g.must(err)
		return string(raw)
	}
	if r.Error != nil || !r.Result.IsError || len(r.Result.Content) != 1 {
		g.Fatalf("%s: it is no refused result: %+v", era, r)
	}
	var refusal tools.Refusal
	g.must(json.Unmarshal(r.Result.StructuredContent, &refusal))
	if text := r.Result.Content[0].Text; text != asText(refusal) {
		g.Errorf("the model reads %q", text)
	}
	if id := r.Result.Meta[metaCallID]; id != refusal.CallID {
		g.Errorf("the result is of call %v and the refusal of %s", id, refusal.CallID)
	}
	return string(r.Result.StructuredContent)
}

func (g *refusing) refusesRequest(r wrongRequest) {
	before := len(g.entries())
	headers := r.headers
	if secret := g.secrets[r.who]; secret != "" {
		headers = append(headers, "Authorization: Bearer "+secret)
	}
	if r.body != "" && !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Content-Type") }) {
		headers = append(headers, jsonBody)
	}
	resp, body := g.do(r.method, g.names.Replace(r.path), g.names.Replace(r.body), headers...)
	var wrapped struct {
		Error *struct{ Data json.RawMessage }
	}
	if json.Unmarshal([]byte(body), &wrapped) == nil && wrapped.Error != nil {
		body = string(wrapped.Error.Data) // it was JSON-RPC, whose methods have statuses of their own
	} else if resp.StatusCode != wires[r.code].http {
		g.Errorf("its status is %s", resp.Status)
	}
	refusal := g.held(body, r.code, r.has)
	switch made := g.entries()[before:]; {
	case r.event == "" && len(made) > 0 && r.code != tools.Unauthorized:
		g.Errorf("on record is %+v", made)
	case r.event == "auth.refused":
		if len(made) != 1 || made[0].Event != r.event || made[0].Code != string(r.code) {
			g.Errorf("on record is %+v", made)
		}
	case r.event != "":
		g.recorded(refusal, r.event, "")
	}
}

// denies lets a person deny a call that the agent then makes once more, in other words and under another key.
func (g *refusing) denies() {
	order := g.text("SELECT order_no FROM orders WHERE status = 'fulfilled' AND refunded_minor = 0 ORDER BY order_no LIMIT 1")
	parked := g.refund("careful", order, "first")
	resp, body := g.do("POST", approvalsPath+parked.Approval.ApprovalID+"/resolve", g.ballot(parked.JobID, approvals.Deny), jsonBody, "Authorization: Bearer "+g.secrets["owner"])
	if resp.StatusCode != http.StatusOK {
		g.Fatalf("denying: %s", body)
	}
	g.refusesCall(wrongCall{tools.ApprovalDenied, "careful", "dtc_refund_order", fmt.Sprintf(`{"order_no":%q,"expected_version":1,`+
		`"amount":{"amount_minor":100,"currency":"GBP"},"cause":"goodwill","notify_customer":false,"idempotency_key":"again","reason":"Please, it is urgent"}`, order), ""})
}

// invalidates approves a call whose approver then loses the right to, before it runs: nobody is there to be answered, so
// the job says it.
func (g *refusing) invalidates() {
	order := g.text("SELECT order_no FROM orders WHERE status = 'fulfilled' AND refunded_minor = 0 ORDER BY order_no DESC LIMIT 1")
	parked := g.refund("careful", order, "orphaned")
	resp, body := g.do("POST", approvalsPath+parked.Approval.ApprovalID+"/resolve", g.ballot(parked.JobID, approvals.Approve), jsonBody, "Authorization: Bearer "+g.secrets["gone"])
	if resp.StatusCode != http.StatusOK {
		g.Fatalf("approving: %s", body)
	}
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error { return auth.RevokePerson(tx, g.store, g.ids["gone"]) }))
	g.work()
	j := g.job("careful", parked)
	if j.Status != tools.JobCancelled || !strings.Contains(j.Why, string(tools.ApprovalInvalidated)) || !strings.Contains(j.Why, "asked again") {
		g.Errorf("the job is %+v", j)
	}
	entries := g.entries()
	if i := slices.IndexFunc(entries, func(e audit.Entry) bool { return e.Code == string(tools.ApprovalInvalidated) && e.JobID == j.JobID }); i < 0 {
		g.Error("it is not on record")
	}
}

// stepsUp lets somebody who signed in an hour ago mint a key.
func (g *refusing) stepsUp() {
	g.hire("ada", "admin")
	_, link, _ := strings.Cut(g.link("ada"), "#")
	in, err := g.gate.SignInByLink(g.Context(), gate.Browser{Source: "127.0.0.1"}, link)
	g.must(err)
	now := g.db.Now
	g.db.Now = func() time.Time { return now().Add(time.Hour) }
	defer func() { g.db.Now = now }()
	resp, body := g.do("POST", adminBase+"/keys", g.names.Replace(`{"name":"MINE"}`), jsonBody, "Cookie: "+sessionCookie+"="+in.Secret)
	if resp.StatusCode != wires[tools.StepUpRequired].http {
		g.Errorf("its status is %s", resp.Status)
	}
	g.recorded(g.held(body, tools.StepUpRequired, ""), "key.minted.refused", "rest")
}

// held reads a refusal and holds it to its form.
func (g *refusing) held(body string, code tools.Code, has string) (r tools.Refusal) {
	g.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		g.Fatalf("it is no refusal (%v): %s", err, body)
	}
	if r.Code != code || r.CallID == "" {
		g.Errorf("it is refused with %s", body)
	}
	for _, text := range []string{r.Message, r.Next} {
		if len(text) < 10 || !strings.HasSuffix(text, ".") {
			g.Errorf("%q is no sentence of %s", text, body)
		}
	}
	e := tools.Errors{}
	if r.Errors != nil {
		e = *r.Errors
	}
	if len(e.Missing) > 0 != (has == "missing") || len(e.Fields) > 0 != (has == "fields") || len(e.Now) > 0 != (has == "now") {
		g.Errorf("of its particulars it should have %q: %s", has, body)
	}
	for _, f := range e.Fields {
		if f.Field == "" || f.Problem == "" || f.Expected == "" {
			g.Errorf("a field is not told whole: %+v", f)
		}
	}
	g.isOurs(body)
	return r
}

// isOurs holds a refusal to what we have written: nothing of the caller's and nothing of a customer's.
func (g *refusing) isOurs(body string) {
	g.Helper()
	if len(body) > 4<<10 {
		g.Errorf("it takes %d bytes", len(body))
	}
	if strings.Contains(strings.ToLower(body), strings.ToLower(mine)) {
		g.Errorf("the caller's own values stand in %s", body)
	}
	for _, text := range g.outsiders {
		if strings.Contains(body, text) {
			g.Errorf("a customer's words stand in %s", body)
		}
	}
}

// recorded holds the record to have the refusal.
func (g *refusing) recorded(r tools.Refusal, event, transport string) {
	g.Helper()
	entries := g.entries()
	i := slices.IndexFunc(entries, func(e audit.Entry) bool { return e.CallID == r.CallID })
	if i < 0 {
		g.Fatalf("%s is not on record", r.CallID)
	}
	e := entries[i]
	if e.Event != event || e.Status != "refused" || e.Code != string(r.Code) || e.Reason != r.Message || transport != "" && e.Transport != transport {
		g.Errorf("on record is %+v", e)
	}
}

// Wherever a refusal is made it says the next step, and its words are not filled in from the arguments. An example may be: it
// is a value that has passed the schema of its field, such as a day.
func TestNoRefusalLeavesItsCallerAlone(t *testing.T) {
	var n int
	for _, room := range []string{"gate", "shop", "server", "tools", "tools/dtc"} {
		files, err := filepath.Glob(filepath.Join("..", room, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(node ast.Node) bool {
				call, ok := node.(*ast.CallExpr)
				if !ok || !slices.Contains([]string{"Refuse", "Wrong", "Stale"}, called(call)) {
					return true
				}
				n++
				for i, arg := range call.Args {
					if text, ok := arg.(*ast.BasicLit); ok && text.Value == `""` && called(call) == "Refuse" && i == 1 {
						t.Errorf("%s: a refusal without a next step", fset.Position(call.Pos()))
					}
					if s, ok := arg.(*ast.SelectorExpr); ok && fmt.Sprint(s.X) == "in" && (called(call) != "Wrong" || i != 3) {
						t.Errorf("%s: a refusal repeats the argument %s", fset.Position(call.Pos()), s.Sel.Name)
					}
				}
				return true
			})
		}
	}
	if n < 100 {
		t.Errorf("only %d refusals were found", n)
	}
}

// called is the name of what an expression calls.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}
