package gate

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
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

// Twenty calls, and all that is tried in place of those that are refused, wait for somebody outside once, and not with a snapshot held.
func TestAPlanAsksTheOutsideSourceOfTrustOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var asked atomic.Int64
		source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"score": 40}`))
		}))
		t.Cleanup(source.Close)
		h := newHouse(t, db)
		h.tools = tools.NewRegistry(append(h.tools.All(), realTool("dtc_preflight"))...)
		h.publish(watchful + "  source: {url: '" + source.URL + "'}\n")
		plan := `{"calls":[` + strings.Repeat(`{"tool":"test_move","arguments":`+oneLamp+`},`, 19) + `{"tool":"test_read","arguments":{}}]}`
		out, err := h.call(h.anew(h.free), "dtc_preflight", plan)
		if err != nil {
			t.Fatal(err)
		}
		var told struct{ Calls []tools.Forecast }
		if err := json.Unmarshal(out.Body, &told); err != nil {
			t.Fatal(err)
		}
		if first, last := told.Calls[0], told.Calls[19]; first.Code != tools.TrustTooLow || last.Outcome != tools.WouldRun {
			t.Errorf("at 40 points it is told %+v and %+v", first, last)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the source was asked %d times", n)
		}
	})
}
