package gate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// sourced is a policy whose agents are trusted as far as somebody outside trusts them; what moves a lamp reaches outside.
const sourced = `language: 1
tools:
  test_move: {risk: {reach: 1}}
profiles:
  scoped: {}
  admin:
    tools: ["*"]
    resources: ["*"]
    ceiling: high
trust:
  start: 100
  signals: {success: 0, refusal: 0, guardrail: 0, denial: 0}
  sandboxes: {strict: {ceiling: low}, adaptive: {from: 30, ceiling: low}, open: {from: 70}}
  source: {url: "%s"}
conditions: |
  permit (principal, action, resource);
`

// An outside source of trust takes trust away at the very next call, and its silence holds back what reaches outside.
func TestWhoIsNotTrustedOutsideIsHeldBackAtTheNextCall(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var answer atomic.Pointer[string]
		say := func(s string) { answer.Store(&s) }
		var agents atomic.Pointer[string]
		source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			agent := r.URL.Query().Get("agent")
			agents.Store(&agent)
			if *answer.Load() == "" {
				http.Error(w, "down", http.StatusBadGateway)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, *answer.Load())
		}))
		defer source.Close()
		h := newHouse(t, db)
		h.under(fmt.Sprintf(sourced, source.URL))
		free := h.mint(auth.Key{Name: "trusted", Scopes: []auth.Scope{"orders:read", "orders:refund"}, Ceiling: auth.MaxLevel, RequiresApproval: true})
		say(`{"score": 72.5}`)
		parked, err := h.call(free, "test_move", oneLamp)
		if err != nil || *agents.Load() != free.ID {
			t.Fatalf("trusted at 72.5: %v, asked about %s", err, *agents.Load())
		}
		job := h.result(parked).JobID
		if err := h.vote(job, approvals.Approve); err != nil {
			t.Fatal(err)
		}
		say(`{"score": 65}`)
		_, err = h.call(free, "test_move", oneLamp)
		wantCode(t, err, tools.TrustTooLow)
		h.resume()
		if j := h.job(job); j.Status != tools.JobCancelled || !strings.Contains(j.Why, string(tools.TrustTooLow)) {
			t.Errorf("approved, and distrusted before it ran: %s, %s", j.Status, j.Why)
		}
		say("")
		_, err = h.call(free, "test_move", oneLamp)
		wantCode(t, err, tools.Unavailable)
		if _, err := h.call(free, "test_read", `{}`); err != nil {
			t.Errorf("what stays inside goes on without the source: %v", err)
		}
		say(`{"score": 90}`)
		parked, err = h.call(free, "test_move", oneLamp)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.vote(h.result(parked).JobID, approvals.Approve); err != nil {
			t.Fatal(err)
		}
		h.resume()
		if j := h.job(h.result(parked).JobID); j.Status != tools.JobSucceeded {
			t.Errorf("trusted when it ran: %s, %s", j.Status, j.Why)
		}
	})
}
