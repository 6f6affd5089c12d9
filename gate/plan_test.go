package gate

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

// A plan is told what each of its calls would be told, and none of them is made.
func TestAPlanTellsWhatItsCallsWouldGet(t *testing.T) {
	stored(t, func(h storeroom) {
		h.tools = tools.NewRegistry(append(h.boxTools(), realTool("dtc_preflight"))...)
		const plan = `{"calls":[
			{"tool":"test_look","arguments":{"box":"red"}},
			{"tool":"test_carry","arguments":{"thing":"lamp","amount":1,"reason":"because it stands"}},
			{"tool":"test_carry","arguments":{"thing":"bowl","amount":1}},
			{"tool":"test_carry","arguments":{"thing":"lamp","amount":0}},
			{"tool":"dtc_undo","arguments":{"undo_id":"u"}},
			{"tool":"test_none","arguments":{}}]}`
		p := h.mint(auth.Key{
			Name: "planner", Scopes: []auth.Scope{"orders:read", "orders:refund"}, Ceiling: auth.MaxLevel, RequiresApproval: true,
			Resources: []string{"box:red/*"}, Rate: auth.Rate{PerMinute: 1},
		})
		out, err := h.call(p, "dtc_preflight", plan)
		if err != nil {
			h.t.Fatal(err)
		}
		var told struct{ Calls []tools.Forecast }
		if err := json.Unmarshal(out.Body, &told); err != nil {
			h.t.Fatal(err)
		}
		want := []tools.Forecast{
			{Tool: "test_look", Outcome: tools.WouldRun},
			{Tool: "test_carry", Outcome: tools.WouldPark, Needs: "1 person"},
			{Tool: "test_carry", Outcome: tools.WouldRefuse, Code: tools.ForbiddenResource},
			{Tool: "test_carry", Outcome: tools.WouldRefuse, Code: tools.InvalidArguments},
			{Tool: "dtc_undo", Outcome: tools.WouldRefuse, Code: tools.ForbiddenScope},
			{Tool: "test_none", Outcome: tools.WouldRefuse, Code: tools.UnknownTool},
		}
		for i, f := range told.Calls {
			if f.Tool != want[i].Tool || f.Outcome != want[i].Outcome || f.Code != want[i].Code || f.Needs != want[i].Needs || (f.Code != "") != (f.Reason != "") {
				h.t.Errorf("call %d: %+v, want %+v", i, f, want[i])
			}
		}
		if !slices.Contains(told.Calls[4].Missing, "orders:write") {
			h.t.Errorf("what is missing is not told: %+v", told.Calls[4])
		}
		if n := h.effects() + h.count(`SELECT COUNT(*) FROM jobs`) + len(h.entries("call")) - 1; n != 0 {
			h.t.Errorf("the plan left %d effects, jobs and entries", n)
		}
	})
}
