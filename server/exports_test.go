package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// A case is a customer's legal request on a whole server, from the call to the last trace.
type privacyCase struct {
	*rig
	later              *atomic.Int64 // how much the clock is ahead, in hours
	key, boss          string
	customer           string
	order              string
	email, phone, note string
}

func eachCase(t *testing.T, tell func(g *privacyCase)) {
	storetest.EachFilled(t, "demo", fillDemo, func(t *testing.T, db *store.DB) {
		var later atomic.Int64
		clock := storyTime()
		db.Now = func() time.Time { return clock().Add(time.Duration(later.Load()) * time.Hour) }
		g := &privacyCase{rig: newRig(t, db, tools.NewRegistry(dtc.Tools()...)), later: &later}
		g.key, g.boss = g.mintKey(auth.Key{
			Name: "bot", Scopes: auth.AgentScopes, Actions: []string{"*"}, RequiresApproval: true, Ceiling: auth.MaxLevel,
		}), g.person("Berta")
		g.note = "Call my sister \"Ada\" first;\nshe knows the way."
		g.customer = g.ask("SELECT customer_no FROM customers WHERE phone <> '' AND email_consent_at IS NOT NULL AND sms_consent_at IS NOT NULL AND orders > 5 AND tags = '[]' ORDER BY customer_no LIMIT 1")
		g.email, g.phone = g.ask("SELECT email FROM customers WHERE customer_no = $1", g.customer), g.ask("SELECT phone FROM customers WHERE customer_no = $1", g.customer)
		g.order = g.ask("SELECT order_no FROM orders WHERE customer_no = $1 AND status = 'fulfilled' ORDER BY order_no LIMIT 1", g.customer)
		g.exec("UPDATE customers SET note = $1 WHERE customer_no = $2", g.note, g.customer)
		g.exec("UPDATE orders SET customer_note = $1 WHERE order_no = $2", "Ring me: "+g.phone, g.order)
		g.exec("INSERT INTO tickets (merchant_id, ticket_id, customer_no, queue, status, opened_at) VALUES ($1, 'tkt_test', $2, 'privacy', 'open', 1)", g.store, g.customer)
		g.exec("INSERT INTO ticket_messages (merchant_id, ticket_id, message_no, author, body, at) VALUES ($1, 'tkt_test', 1, 'customer', $2, 1)", g.store, "I am "+g.email)
		g.exec("INSERT INTO ticket_messages (merchant_id, ticket_id, message_no, author, body, at) VALUES ($1, 'tkt_test', 2, 'staff', $2, 2)", g.store, "We rang "+g.phone)
		tell(g)
	})
}

func (g *privacyCase) exec(q string, values ...any) {
	g.Helper()
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(q, values...)
		return err
	}))
}

func (g *privacyCase) ask(q string, values ...any) (text string) {
	g.Helper()
	err := g.db.Read(g.Context(), func(tx *store.Tx) error { return tx.QueryRow(q, values...).Scan(&text) })
	if err != nil {
		g.Fatalf("%s: %v", q, err)
	}
	return text
}

// call calls a tool and gives the status and the answer.
func (g *privacyCase) call(tool string, in map[string]any) (int, string) {
	g.Helper()
	raw, err := json.Marshal(in)
	g.must(err)
	resp, text := g.do("POST", tools.BasePath+"/tools/"+tool, string(raw), "Authorization: Bearer "+g.key, jsonBody)
	return resp.StatusCode, text
}

// seeing is a ballot of somebody who has read what has that fingerprint.
func seeing(ballot, fingerprint string) string {
	return strings.TrimSuffix(ballot, "}") + `,"seen_sha256":"` + fingerprint + `"}`
}

// decided has a parked call decided and gives its job when it has ended.
func (g *privacyCase) decided(tool string, in map[string]any, ballot string) tools.Job {
	g.Helper()
	status, text := g.call(tool, in)
	var parked tools.Result
	if status != http.StatusAccepted || json.Unmarshal([]byte(text), &parked) != nil {
		g.Fatalf("%s: %d %s", tool, status, text)
	}
	resp, text := g.do("POST", tools.BasePath+"/approvals/"+parked.Approval.ApprovalID+"/resolve", seeing(ballot, parked.Approval.Fingerprint), "Authorization: Bearer "+g.boss, jsonBody)
	if resp.StatusCode != http.StatusOK {
		g.Fatalf("deciding: %s %s", resp.Status, text)
	}
	g.work()
	return g.job(parked.JobID)
}

func (g *privacyCase) job(id string) (j tools.Job) {
	g.Helper()
	_, text := g.do("GET", tools.BasePath+"/jobs/"+id, "", "Authorization: Bearer "+g.key)
	g.must(json.Unmarshal([]byte(text), &j))
	return j
}

func (g *privacyCase) request(kind, key string) map[string]any {
	return map[string]any{
		"customer_no": g.customer, "kind": kind, "case_ref": "PR-" + key, "idempotency_key": key, "reason": "the customer asked for it in writing",
	}
}

const approve = `{"decision":"approve"}`

// export has the customer's data exported and gives the link with its token.
func (g *privacyCase) export(key string) (job, link, token string) {
	g.Helper()
	j := g.decided("dtc_handle_privacy_request", g.request("export", key), approve)
	var out struct {
		ExportURL string `json:"export_url"`
		Rows      int
	}
	if j.Status != tools.JobSucceeded || json.Unmarshal(j.Result, &out) != nil || out.Rows < 20 {
		g.Fatalf("the export: %+v %s", j, j.Result)
	}
	token, ok := strings.CutPrefix(out.ExportURL, tools.BasePath+"/exports/")
	if !ok || !regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`).MatchString(token) {
		g.Fatalf("the link is %q", out.ExportURL)
	}
	return j.JobID, out.ExportURL, token
}

func TestExportIsFetchedByItsLink(t *testing.T) {
	eachCase(t, func(g *privacyCase) {
		job, link, token := g.export("exp-1")
		for _, path := range []string{link, "/" + link, "//x" + strings.ToUpper(tools.BasePath) + "/Exports/" + token, link + "/", "/exports/" + token} {
			if resp, _ := g.do("HEAD", path, ""); resp.StatusCode == http.StatusOK {
				g.Errorf("HEAD %s: %s", path, resp.Status)
			}
		}
		if resp, _ := g.do("GET", tools.BasePath+"/customers/"+g.email, "", "X-Agent-Key: "+g.key); resp.StatusCode != http.StatusBadRequest || strings.Contains(g.log.String(), g.email) {
			g.Errorf("an address in a path: %s", resp.Status)
		}
		if j := g.job(job); !strings.Contains(string(j.Result), token) {
			g.Error("who only looked at the link has taken it away")
		}
		for _, when := range []string{"before it is a file", "as a file"} {
			resp, text := g.do("GET", link, "")
			if h := resp.Header; resp.StatusCode != http.StatusOK || h.Get("Cache-Control") != "no-store" ||
				h.Get("Content-Disposition") != "attachment; filename=customer-"+g.customer+".json" {
				g.Fatalf("%s: %s %v", when, resp.Status, resp.Header)
			}
			var all map[string]json.RawMessage
			g.must(json.Unmarshal([]byte(text), &all))
			for _, part := range []string{"customer", "orders", "order_lines", "refunds", "tickets", "ticket_messages", "messages"} {
				if len(all[part]) < 10 && part != "refunds" {
					g.Errorf("%s: the export has no %s", when, part)
				}
			}
			for _, value := range []string{g.email, g.phone, "We rang", g.order} {
				if !strings.Contains(text, value) {
					g.Errorf("%s: the export does not hold %q", when, value)
				}
			}
			g.must(g.exports.TidyOnce(g.Context()))
		}
		if body := g.ask("SELECT body FROM dossiers"); body != "" {
			g.Error("the body of a written export is still in the database")
		}
		file := g.files()[0]
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			g.Errorf("%s: %v %v", file, info.Mode(), err)
		}
		if strings.Contains(g.log.String(), token) {
			g.Error("the log holds the token")
		}
		if found := g.scan(token); len(found) > 0 {
			g.Errorf("the token stands in %q after it was used", found)
		}
		if j := g.job(job); strings.Contains(string(j.Result), token) || j.Status != tools.JobSucceeded {
			g.Errorf("the job says %s", j.Result)
		}
		downloads := slices.DeleteFunc(g.entries(), func(e audit.Entry) bool { return e.Event != "data.exported" })
		if len(downloads) != 2 || downloads[0].Resource != "customer:"+g.customer || downloads[0].Reason != "download" {
			g.Errorf("the record of downloads: %+v", downloads)
		}
		for _, wrong := range []string{link[:len(link)-1], link + "A", tools.BasePath + "/exports/x", strings.Replace(link, token, strings.ToUpper(token), 1)} {
			if resp, text := g.do("GET", wrong, ""); resp.StatusCode != http.StatusNotFound {
				g.Errorf("a wrong link: %s %s", resp.Status, text)
			}
		}
		if resp, _ := g.do("POST", link, ""); resp.StatusCode != http.StatusMethodNotAllowed || strings.Contains(g.log.String(), token) {
			g.Errorf("another method: %s", resp.Status)
		}
		g.later.Store(7*24 + 1)
		if resp, _ := g.do("GET", link, ""); resp.StatusCode != http.StatusNotFound {
			g.Errorf("after its time: %s", resp.Status)
		}
		g.must(g.exports.TidyOnce(g.Context()))
		if left := g.files(); len(left) > 0 {
			g.Errorf("files left: %q", left)
		}
	})
}

func (g *privacyCase) files() []string {
	g.Helper()
	files, err := filepath.Glob(filepath.Join(g.exports.Dir, "*", "*"))
	g.must(err)
	return files
}

// scan gives the columns of the whole database that hold a text.
func (g *privacyCase) scan(text string) (found []string) {
	g.Helper()
	columns := `SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' AND UPPER(p.type) = 'TEXT'`
	if g.db.Engine() == "postgres" {
		columns = `SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() AND data_type = 'text'`
	}
	g.must(g.db.Read(g.Context(), func(tx *store.Tx) error {
		type column struct{ table, name string }
		all, err := store.All(tx, func(r store.Row) (c column, err error) { return c, r.Scan(&c.table, &c.name) }, columns)
		if err == nil && len(all) < 100 {
			err = fmt.Errorf("only %d columns", len(all))
		}
		for _, c := range all {
			var n int
			if err == nil {
				err = tx.QueryRow("SELECT COUNT(*) FROM "+c.table+" WHERE LOWER("+c.name+") LIKE $1", "%"+strings.ToLower(text)+"%").Scan(&n)
			}
			if n > 0 {
				found = append(found, c.table+"."+c.name)
			}
		}
		return err
	}))
	return found
}

// quoteEverywhere has agents and people write the customer's contact data wherever a call takes words.
func (g *privacyCase) quoteEverywhere() {
	g.Helper()
	version := int64(1)
	refund := map[string]any{
		"order_no": g.order, "expected_version": version, "amount": map[string]any{"amount_minor": 100, "currency": "GBP"}, "cause": "goodwill",
		"notify_customer": true, "idempotency_key": "r1", "reason": "she wrote from " + g.email + ", rang from " + g.phone,
	}
	if j := g.decided("dtc_refund_order", refund, `{"decision":"deny","reason":"ask `+g.email+` first"}`); j.Status != tools.JobCancelled {
		g.Fatalf("the refund: %+v", j)
	}
	refund["idempotency_key"], refund["cause"] = "r2", "damaged"
	if j := g.decided("dtc_refund_order", refund, `{"decision":"approve","reason":"`+g.phone+` is hers"}`); j.Status != tools.JobSucceeded {
		g.Fatalf("the refund: %+v", j)
	}
	g.exec("UPDATE tickets SET messages = 2 WHERE ticket_id = 'tkt_test'")
	g.exec("UPDATE customers SET last_contacted_at = NULL WHERE customer_no = '" + g.customer + "'") // or nobody would write to her again today
	refund["idempotency_key"] = "r3"
	refund["expected_version"] = 2
	var parked tools.Result
	if _, text := g.call("dtc_refund_order", refund); json.Unmarshal([]byte(text), &parked) != nil || parked.JobID == "" {
		g.Fatalf("the refund: %s", text)
	}
	if status, text := g.call("dtc_cancel_job", map[string]any{
		"job_id": parked.JobID, "reason": "it was " + g.email + " who rang from " + g.phone,
	}); status != 200 {
		g.Fatalf("cancelling: %d %s", status, text)
	}
	g.undone("dtc_add_order_note", map[string]any{"order_no": g.order, "text": "We rang her sister: " + g.phone + ", " + g.email})
	g.undone("dtc_draft_reply", map[string]any{"ticket_id": "tkt_test", "text": "To " + g.email, "advice_to_staff": "We rang " + g.phone})
	g.undone("dtc_update_customer", map[string]any{"customer_no": g.customer, "expected_version": 1, "add_tags": []string{"sister-of-ada"}})
	for _, ballot := range []string{`{"decision":"deny","reason":"not ` + g.email + `"}`, approve} {
		g.decided("dtc_request_action", map[string]any{
			"action": "helpdesk:send_reply", "target": "ticket:tkt_test", "arguments": map[string]any{"text": fmt.Sprintf("Dear %s, we rang %s about %d", g.email, g.phone, len(ballot)), "expected_version": 1},
			"idempotency_key": fmt.Sprint("a", len(ballot)), "reason": "answer " + g.email,
		}, ballot)
	}
	for _, c := range []struct {
		tool string
		in   map[string]any
		want int
	}{
		{"dtc_draft_reply", map[string]any{"ticket_id": "tkt_test", "text": "Dear owner of " + g.email, "advice_to_staff": "ring " + g.phone}, 200},
		{"dtc_search_orders", map[string]any{"query": g.email}, 200},
		{"dtc_get_customer", map[string]any{"customer_no": g.customer, "include_contact": true}, 200},
		{"dtc_handle_privacy_request", g.request("erase", g.email), 400},
		{"dtc_update_customer", map[string]any{"customer_no": g.customer, "expected_version": 3, "add_tags": []string{"vip"}}, 200},
	} {
		in := c.in
		if c.want == 400 {
			in["idempotency_key"], in["reason"] = "e0", "erase "+strings.ToUpper(g.email)+" as asked"
		}
		if status, text := g.call(c.tool, in); status != c.want {
			g.Fatalf("%s: %d %s", c.tool, status, text)
		}
	}
}

// undone makes a write and takes it back.
func (g *privacyCase) undone(tool string, in map[string]any) {
	g.Helper()
	var done tools.Result
	if _, text := g.call(tool, in); json.Unmarshal([]byte(text), &done) != nil || done.UndoID == "" {
		g.Fatalf("%s: %s", tool, text)
	}
	if status, text := g.call("dtc_undo", map[string]any{"undo_id": done.UndoID, "idempotency_key": "u-" + done.UndoID}); status != 200 {
		g.Fatalf("undoing %s: %d %s", tool, status, text)
	}
}

func TestErasedCustomerIsNowhere(t *testing.T) {
	eachCase(t, func(g *privacyCase) {
		signer, key, err := audit.LoadOrCreateSigner(filepath.Join(t.TempDir(), "audit.key"), "test")
		g.must(err)
		log := audit.New(audit.Config{DB: g.db, Signer: signer, VerifierKey: key})
		g.quoteEverywhere()
		_, link, _ := g.export("exp-2")
		g.must(g.exports.TidyOnce(g.Context()))
		_, err = log.Sequence(g.Context())
		g.must(err)
		spent := g.ask("SELECT CAST(spent_minor AS TEXT) FROM customers WHERE customer_no = $1", g.customer)
		for _, value := range []string{g.email, g.phone, "We rang"} {
			if len(g.scan(value)) == 0 {
				g.Fatalf("%q is nowhere before the erasure: the scan finds nothing", value)
			}
		}

		j := g.decided("dtc_handle_privacy_request", g.request("erase", "era-1"), approve)
		if j.Status != tools.JobSucceeded {
			g.Fatalf("the erasure: %+v", j)
		}
		for _, value := range []string{g.email, g.phone, strings.ReplaceAll(g.phone, " ", ""), "sister", "We rang"} {
			if found := g.scan(value); len(found) > 0 {
				g.Errorf("%q still stands in %q", value, found)
			}
		}
		_, err = log.Sequence(g.Context())
		g.must(err)
		trusted, err := audit.Verifiers(key)
		g.must(err)
		if report, err := audit.Verify(g.Context(), g.db, trusted); err != nil || report.Bad != nil {
			g.Errorf("the record does not hold any more: %v, %v", report.Bad, err)
		}
		if resp, _ := g.do("GET", link, ""); resp.StatusCode != http.StatusNotFound {
			g.Errorf("the export of an erased customer: %s", resp.Status)
		}
		g.must(g.exports.TidyOnce(g.Context()))
		if left := g.files(); len(left) > 0 {
			g.Errorf("files left: %q", left)
		}
		if now := g.ask("SELECT CAST(spent_minor AS TEXT) FROM customers WHERE customer_no = $1", g.customer); now != spent {
			g.Errorf("spent %s, was %s", now, spent)
		}
		g.checkErased(j)
	})
}

// checkErased looks at an erased customer as agents do.
func (g *privacyCase) checkErased(erasure tools.Job) {
	g.Helper()
	_, text := g.call("dtc_get_customer", map[string]any{"customer_no": g.customer, "include_contact": true})
	var got struct {
		Erased bool
		Email  string
		Orders int
	}
	if json.Unmarshal([]byte(text), &got) != nil || !got.Erased || got.Email != "" || got.Orders == 0 {
		g.Errorf("an erased customer reads %s", text)
	}
	if _, text := g.call("dtc_search_customers", map[string]any{"query": g.customer}); !strings.Contains(text, `"total":0`) {
		g.Errorf("an erased customer is found: %s", text)
	}
	for _, c := range []struct {
		what, customer, kind string
		status               int
	}{
		{"erasing twice", g.customer, "erase", 409}, {"exporting nothing", g.customer, "export", 409}, {"erasing nobody", "none", "erase", 404},
	} {
		in := g.request(c.kind, "again-"+c.kind)
		in["customer_no"] = c.customer
		if status, text := g.call("dtc_handle_privacy_request", in); status != c.status {
			g.Errorf("%s: %d %s", c.what, status, text)
		}
	}
	entries := slices.DeleteFunc(g.entries(), func(e audit.Entry) bool { return e.Event != "data.erased" })
	if len(entries) != 1 || entries[0].Resource != "customer:"+g.customer || entries[0].Count < 10 {
		g.Errorf("the record of the erasure: %+v", entries)
	}
	// A repeat of a call that was decided is still a repeat, and undoing has ended.
	if status, text := g.call("dtc_handle_privacy_request", g.request("erase", "era-1")); status != http.StatusAccepted || !strings.Contains(text, erasure.JobID) {
		g.Errorf("a repeat: %d %s", status, text)
	}
	if n := g.ask("SELECT CAST(COUNT(*) AS TEXT) FROM effects WHERE resource = $1 AND state = 'open'", "customer:"+g.customer); n != "0" {
		g.Errorf("%s effects can be undone", n)
	}
}

// TestErasureWaitsForOpenCalls refuses to erase while a call about the customer's order waits.
func TestErasureWaitsForOpenCalls(t *testing.T) {
	eachCase(t, func(g *privacyCase) {
		refund := map[string]any{
			"order_no": g.order, "expected_version": 1, "amount": map[string]any{"amount_minor": 100, "currency": "GBP"}, "cause": "goodwill",
			"notify_customer": false, "idempotency_key": "r1", "reason": "she was kind about it",
		}
		if status, text := g.call("dtc_refund_order", refund); status != http.StatusAccepted {
			g.Fatalf("%d %s", status, text)
		}
		if status, text := g.call("dtc_handle_privacy_request", g.request("erase", "e1")); status != http.StatusConflict {
			g.Errorf("%d %s", status, text)
		}
		if status, text := g.call("dtc_handle_privacy_request", g.request("export", "e2")); status != http.StatusAccepted {
			g.Errorf("%d %s", status, text)
		}
	})
}
