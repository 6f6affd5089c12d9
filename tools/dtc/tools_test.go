package dtc

import (
	"encoding/json"
	"flag"
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
	maxInput = 2 << 10
	maxList  = 26 << 10 // names, descriptions and schemas of all tools; every client pays for them at the start
)

// catalogue is the table of the catalogue, by which people judge what a key may reach.
var catalogue = map[string]struct {
	path, scope, level string
	class              tools.Class
	resource           string
}{
	"dtc_whoami":            {"self.whoami", "", "L0", "", "self"},
	"dtc_get_job":           {"jobs.get", "", "L0", "", "job:/job_id"},
	"dtc_cancel_job":        {"jobs.cancel", "", "L2", "", "job:/job_id"},
	"dtc_search_products":   {"products.search", "catalog:read", "L0", "", "product:*"},
	"dtc_search_orders":     {"orders.search", "orders:read", "L1", "", "order:*"},
	"dtc_get_order":         {"orders.get", "orders:read", "L1", "", "order:/order_no"},
	"dtc_refund_order":      {"orders.refund", "orders:refund", "L6", "spend", "order:/order_no"},
	"dtc_list_campaigns":    {"campaigns.list", "marketing:read", "L0", "", "campaign:*"},
	"dtc_create_campaign":   {"campaigns.create", "marketing:write", "L2", "", "campaign:+"},
	"dtc_preview_campaign":  {"campaigns.preview", "marketing:read", "L0", "", "campaign:/campaign_id"},
	"dtc_send_campaign":     {"campaigns.send", "marketing:send", "L7", "contact", "campaign:/campaign_id"},
	"dtc_get_sales_summary": {"analytics.sales", "analytics:read", "L0", "", "analytics:*"},
	"dtc_create_discount":   {"discounts.create", "store:write", "L5", "spend", "discount:+"},
}

func TestEveryTool(t *testing.T) {
	all := tools.NewRegistry(Tools()...).All() // panics when two share a name or path
	if len(all) != len(catalogue) {
		t.Errorf("there are %d tools, the catalogue has %d", len(all), len(catalogue))
	}
	routes := map[string]string{}
	size := 0
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
		size += len(tool.Name) + len(tool.Title) + len(tool.Description) + len(tool.Input.JSON) + len(tool.Output.JSON)
		t.Logf("%-22s description %4d, input %4d, output %4d bytes", tool.Name, len(tool.Description), len(tool.Input.JSON), len(tool.Output.JSON))
	}
	t.Logf("the list takes %d bytes", size)
	if size > maxList {
		t.Errorf("the list takes %d bytes, more than %d", size, maxList)
	}
}

func checkCatalogue(t *testing.T, tool *tools.Tool) {
	want, ok := catalogue[tool.Name]
	if !ok {
		t.Fatal("the catalogue has no such tool")
	}
	got := want
	got.path, got.scope, got.level = tool.Path, string(tool.Scope), tool.Risk.Level().String()
	got.class, got.resource = tool.Class, tool.Resource
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
