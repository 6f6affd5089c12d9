package server

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// TypeScript clients throw on a result that does not fit the schema they were shown. So what is no answer yet, and what
// never will be one, must fit every tool's.
func TestParkedAnswersAndRefusalsFitEverySchema(t *testing.T) {
	parked, err := json.Marshal(tools.Result{Status: tools.PendingApproval, JobID: "job_1", Poll: "/jobs/job_1", Approval: &tools.Approval{}, Preview: &tools.Preview{}})
	if err != nil {
		t.Fatal(err)
	}
	refusal := bodyOf(*tools.Wrong("limit", "is too large", "at most 50", 10))
	for _, tool := range append(dtc.Tools(), fakes.All()...) {
		schema := compiled(t, describe(tool).OutputSchema.(json.RawMessage))
		for _, answer := range []json.RawMessage{parked, refusal} {
			if err := schema.Validate(parsed(t, answer)); err != nil {
				t.Errorf("%s: %s does not fit: %v", tool.Name, answer, err)
			}
		}
		if tool.Writes() && schema.Validate(parsed(t, []byte(`{"status":1}`))) == nil {
			t.Errorf("%s: anything fits", tool.Name)
		}
	}
}

// Every client pays for the list when it connects, in the context of its model. Output schemas are outlines for that reason.
func TestTheListOfToolsIsShort(t *testing.T) {
	registry := tools.NewRegistry(dtc.Tools()...)
	all := auth.Principal{
		Kind: auth.KindKey, Scopes: auth.AgentScopes, Ceiling: auth.MaxLevel, Links: []auth.Link{{Kind: auth.KindKey, Depth: auth.DefaultDepth}},
	}
	analyst := auth.Principal{Kind: auth.KindKey, Scopes: []auth.Scope{"analytics:read", "catalog:read", "marketing:read"}, Ceiling: 1}
	for _, list := range []struct {
		name  string
		of    auth.Principal
		limit int
	}{{"everything", all, 40 << 10}, {"a read-only analyst", analyst, 8 << 10}} {
		var shown []*mcp.Tool
		for _, tool := range registry.Visible(list.of, func(*tools.Tool) bool { return true }) {
			shown = append(shown, describe(tool))
			raw, err := json.Marshal(shown[len(shown)-1])
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%-28s %5d bytes, of which description %d, input %d, output %d", tool.Name, len(raw), len(tool.Description), len(tool.Input.JSON), len(tool.Output.Outline()))
		}
		raw, err := json.Marshal(mcp.ListToolsResult{Tools: shown})
		if err != nil {
			t.Fatal(err)
		}
		if t.Logf("%s: %d tools, %d bytes", list.name, len(shown), len(raw)); len(raw) > list.limit {
			t.Errorf("the list of %s takes %d bytes, more than %d", list.name, len(raw), list.limit)
		}
	}
}

func compiled(t *testing.T, schema json.RawMessage) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", parsed(t, schema)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parsed(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
