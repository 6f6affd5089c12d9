package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
	"github.com/dtcgate/dtcgate/tools/outsidetest"
)

func TestACallThatIsLostOutsideIsApprovedSentAndDecidedOverREST(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		vendor := &outsidetest.Vendor{Fault: func(string, int) outsidetest.Fault { return outsidetest.LoseAnswer }}
		web := httptest.NewServer(vendor)
		t.Cleanup(web.Close)
		now := time.Now()
		db.Now = func() time.Time { return now }
		g := newRig(t, db, tools.NewRegistry(append(dtc.Tools(), outsidetest.Tool(web.URL, outsidetest.Shape{Name: "test_pay", Path: "test.pay"}))...))
		agent, mara := "Authorization: Bearer "+g.mint("bot", true, "orders:refund"), "Authorization: Bearer "+g.person("mara")

		tell := func(status int, answer string, field string, method, path, body string, who string) map[string]any {
			t.Helper()
			resp, text := g.do(method, tools.BasePath+path, body, jsonBody, who)
			var got map[string]any
			if err := json.Unmarshal([]byte(text), &got); err != nil || resp.StatusCode != status || got[field] != answer {
				t.Fatalf("%s %s: %s %s, want %d with %s", method, path, resp.Status, text, status, answer)
			}
			return got
		}
		parked := tell(http.StatusAccepted, "pending_approval", "status", "POST", "/test_pay", `{"payee":"ada","amount":100,"reason":"she is owed it"}`, agent)
		job := "/jobs/" + parked["job_id"].(string)
		seen := parked["approval"].(map[string]any)["fingerprint"].(string)
		tell(http.StatusOK, "queued", "status", "POST", "/approvals/"+parked["job_id"].(string)+"/resolve", `{"decision":"approve","seen_sha256":"`+seen+`"}`, mara)
		g.work()
		lost := tell(http.StatusOK, "indeterminate", "status", "GET", job, "", agent)
		if why, _ := lost["why"].(string); !strings.Contains(why, "Do not send it again") {
			t.Errorf("the agent is told %q", why)
		}
		found := `{"outcome":"happened","reason":"it stands in the statement"}`
		tell(http.StatusForbidden, "FORBIDDEN_APPROVER", "error_code", "POST", job+"/reconcile", found, agent)
		tell(http.StatusBadRequest, "INVALID_ARGUMENTS", "error_code", "POST", job+"/reconcile", `{"outcome":"perhaps","reason":"x"}`, mara)
		tell(http.StatusBadRequest, "INVALID_ARGUMENTS", "error_code", "POST", job+"/reconcile", `{"outcome":"happened"}`, mara)
		tell(http.StatusOK, "succeeded", "status", "POST", job+"/reconcile", found, mara)
		told := tell(http.StatusOK, "succeeded", "status", "GET", job, "", agent)
		if why, _ := told["why"].(string); why != `mara found that it happened: "it stands in the statement".` {
			t.Errorf("the agent is told %q", why)
		}
	})
}
