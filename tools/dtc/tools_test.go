package dtc

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

var update = flag.Bool("update", false, "rewrite the golden schemas")

const (
	goldens  = "../../schemas"
	maxInput = 2 << 10 // of one tool, in bytes; what the whole list may take is held in package server
)

// catalogue is the table of the catalogue, by which people judge what a key may reach: risk is undo·blast·money·touch·data·reach.
// It is written by hand, so that a slip in a tool's Spec is seen.
var catalogue = map[string]struct {
	path, scope, level, risk string
	class                    tools.Class
	resource                 string
}{
	"dtc_whoami":                 {"self.whoami", "", "L0", "0·0·0·0·1·0", "", "self"},
	"dtc_get_job":                {"jobs.get", "", "L0", "0·0·0·0·1·0", "", "job:/job_id"},
	"dtc_cancel_job":             {"jobs.cancel", "", "L2", "1·0·0·0·0·0", "", "job:/job_id"},
	"dtc_request_action":         {"actions.request_approval", "actions:request", "L6", "2·1·2·1·1·1", "contact", "/target"},
	"dtc_search_products":        {"products.search", "catalog:read", "L0", "0·0·0·0·1·0", "", "product:*"},
	"dtc_update_product":         {"products.update", "catalog:write", "L3", "1·1·0·0·0·0", "", "product:/product_code"},
	"dtc_adjust_inventory":       {"inventory.adjust", "catalog:write", "L3", "1·1·0·0·0·0", "", "variant:/sku"},
	"dtc_set_prices":             {"prices.set", "pricing:write", "L5", "2·2·1·0·0·0", "spend", "variant:/prices/*/sku"},
	"dtc_search_orders":          {"orders.search", "orders:read", "L1", "0·0·0·0·2·0", "", "order:*"},
	"dtc_get_order":              {"orders.get", "orders:read", "L1", "0·0·0·0·2·0 taint", "", "order:/order_no"},
	"dtc_add_order_note":         {"orders.note", "orders:write", "L2", "1·0·0·0·0·0", "", "order:/order_no"},
	"dtc_fulfil_order":           {"orders.fulfil", "orders:fulfil", "L5", "2·1·0·1·0·0", "contact", "order:/order_no"},
	"dtc_refund_order":           {"orders.refund", "orders:refund", "L6", "3·1·2·1·0·1", "spend", "order:/order_no"},
	"dtc_cancel_order":           {"orders.cancel", "orders:refund", "L6", "3·1·2·1·0·1", "destructive", "order:/order_no"},
	"dtc_search_customers":       {"customers.search", "customers:read", "L1", "0·0·0·0·2·0", "", "customer:*"},
	"dtc_get_customer":           {"customers.get", "customers:read", "L1", "0·0·0·0·2·0 taint", "", "customer:/customer_no"},
	"dtc_update_customer":        {"customers.update", "customers:write", "L4", "2·1·0·0·0·0", "", "customer:/customer_no"},
	"dtc_create_segment":         {"segments.create", "customers:write", "L2", "1·0·0·0·1·0", "", "segment:+"},
	"dtc_handle_privacy_request": {"customers.privacy", "customers:erase", "L7", "3·1·0·0·3·0", "destructive", "customer:/customer_no"},
	"dtc_list_campaigns":         {"campaigns.list", "marketing:read", "L0", "0·0·0·0·1·0", "", "campaign:*"},
	"dtc_create_campaign":        {"campaigns.create", "marketing:write", "L2", "1·0·0·0·0·0", "", "campaign:+"},
	"dtc_update_campaign":        {"campaigns.update", "marketing:write", "L3", "1·1·0·0·0·0", "", "campaign:/campaign_id"},
	"dtc_preview_campaign":       {"campaigns.preview", "marketing:read", "L0", "0·0·0·0·1·0", "", "campaign:/campaign_id"},
	"dtc_send_campaign":          {"campaigns.send", "marketing:send", "L7", "3·2·1·2·0·1", "contact", "campaign:/campaign_id"},
	"dtc_list_ad_accounts":       {"ads.list", "ads:read", "L0", "0·0·0·0·1·0", "", "ad_account:*"},
	"dtc_connect_ad_account":     {"ads.connect", "ads:connect", "L5", "1·1·1·0·0·1", "spend", "ad_account:+"},
	"dtc_launch_ad_campaign":     {"ads.launch", "ads:spend", "L5", "2·1·1·0·0·1", "spend", "ad_account:/ad_account_id"},
	"dtc_set_ad_budget":          {"ads.budget", "ads:spend", "L5", "2·1·1·0·0·1", "spend", "ad_campaign:/ad_campaign_id"},
	"dtc_pause":                  {"brake.pause", "", "L3", "1·1·0·0·0·0", "", "/kind:/id"},
	"dtc_get_sales_summary":      {"analytics.sales", "analytics:read", "L0", "0·0·0·0·1·0", "", "analytics:*"},
	"dtc_get_cohorts":            {"analytics.cohorts", "analytics:read", "L0", "0·0·0·0·1·0", "", "analytics:*"},
	"dtc_get_attribution":        {"analytics.attribution", "analytics:read", "L0", "0·0·0·0·1·0", "", "analytics:*"},
	"dtc_publish_page":           {"store.publish", "store:publish", "L5", "1·3·0·0·0·1", "destructive", "page:/page"},
	"dtc_create_discount":        {"discounts.create", "store:write", "L5", "2·3·1·0·0·0", "spend", "discount:+"},
	"dtc_get_tickets":            {"tickets.search", "support:read", "L1", "0·0·0·0·2·0 taint", "", "ticket:/ticket_id"},
	"dtc_draft_reply":            {"tickets.reply.draft", "support:write", "L2", "1·0·0·0·0·0", "", "ticket:/ticket_id"},
	"dtc_delegate":               {"self.delegate", "", "L2", "1·0·0·0·0·0", "", "sub_token:+"},
	"dtc_preflight":              {"plan.preflight", "", "L0", "0·0·0·0·1·0", "", "self"},
	"dtc_batch":                  {"self.batch", "", "L3", "1·1·0·0·0·0", "", "self"},
	"dtc_undo":                   {"self.undo", "", "L3", "1·1·0·0·0·0", "", "effect:/undo_id"},
}

func TestEveryTool(t *testing.T) {
	all := tools.NewRegistry(Tools()...).All() // panics when two share a name or path
	if len(all) != len(catalogue) {
		t.Logf("there are %d tools, the catalogue has %d", len(all), len(catalogue))
	}
	routes := map[string]string{}
	for _, tool := range all {
		t.Run(tool.Name, func(t *testing.T) {
			checkCatalogue(t, tool)
			checkWords(t, tool)
			checkArguments(t, tool)
			checkGolden(t, tool)
			for _, r := range tool.Routes {
				if other := routes[r.Method+" "+r.Path]; other != "" {
					t.Errorf("%s %s is a route of %s too", r.Method, r.Path, other)
				}
				routes[r.Method+" "+r.Path] = tool.Name
			}
		})
	}
}

func checkCatalogue(t *testing.T, tool *tools.Tool) {
	want, ok := catalogue[tool.Name]
	if !ok {
		t.Fatal("the catalogue has no such tool")
	}
	got := want
	got.path, got.scope, got.level = tool.Path, string(tool.Scope), tool.Risk.Level().String()
	got.class, got.resource, got.risk = tool.Class, tool.Resource, vector(tool.Risk)
	if got != want {
		t.Errorf("it is %+v, the catalogue says %+v", got, want)
	}
	if tool.Scope != "" && !slices.Contains(auth.AgentScopes, tool.Scope) {
		t.Errorf("no key can hold its scope %s", tool.Scope)
	}
	if !tool.Writes() && tool.Undo != "nothing to undo" {
		t.Errorf("a read has nothing to undo, but says %q", tool.Undo)
	}
}

func vector(r tools.Risk) string {
	text := fmt.Sprintf("%d·%d·%d·%d·%d·%d", r.Undo, r.Blast, r.Money, r.Touch, r.DataOut, r.Reach)
	if r.Taint {
		text += " taint"
	}
	return text
}

// checkWords keeps the descriptions to what a model can use. Consent is the gate's to get: a description that tells the
// model to ask makes it a habit to go on when somebody said yes to something else.
func checkWords(t *testing.T, tool *tools.Tool) {
	for _, phrase := range []string{"ask the user", "confirm with", "user confirm", "permission"} {
		if strings.Contains(strings.ToLower(tool.Description+string(tool.Input.JSON)), phrase) {
			t.Errorf("the description says %q", phrase)
		}
	}
	if tool.Risk.Taint != strings.Contains(tool.Description, "instruction") {
		t.Error("a tool that carries outsiders' text, and no other, says so in its description")
	}
}

func checkArguments(t *testing.T, tool *tools.Tool) {
	var schema struct {
		Required             []string
		AdditionalProperties *bool
	}
	if err := json.Unmarshal(tool.Input.JSON, &schema); err != nil {
		t.Fatal(err)
	}
	if schema.AdditionalProperties == nil || *schema.AdditionalProperties {
		t.Error("its arguments are not closed")
	}
	for _, name := range []string{"idempotency_key", "reason"} {
		if tool.Class != tools.ClassNone && !slices.Contains(schema.Required, name) {
			t.Errorf("a tool of class %s does not require %s", tool.Class, name)
		}
	}
	if n := len(tool.Input.JSON); n > maxInput {
		t.Errorf("its arguments take %d bytes, more than %d", n, maxInput)
	}
}

// checkGolden holds the schemas to what is under version control, so that a change of what agents are told is seen.
func checkGolden(t *testing.T, tool *tools.Tool) {
	golden, err := json.MarshalIndent(map[string]any{
		"hash": tool.Input.Hash, "input": tool.Input.JSON, "output": tool.Output.JSON,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden = append(golden, '\n')
	file := filepath.Join(goldens, tool.Name+".json")
	if *update {
		if err := os.WriteFile(file, golden, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(golden)); diff != "" {
		t.Errorf("the schema has changed; if that is meant, run go test ./tools/dtc -update\n%s", diff)
	}
}

func TestNoGoldenWithoutTool(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldens, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := catalogue[strings.TrimSuffix(filepath.Base(f), ".json")]; !ok {
			t.Errorf("%s is the schema of no tool", f)
		}
	}
}
