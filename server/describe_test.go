package server

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

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
		if tool.Writes() && schema.Validate(parsed(t, []byte(`{"other":1}`))) == nil {
			t.Errorf("%s: anything fits", tool.Name)
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
