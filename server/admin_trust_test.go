package server

import (
	"fmt"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

const watchful = policytest.Open + `
trust:
  start: 75
  signals: {refusal: -10}
  feedback: {lowest: -50, highest: 10}
  sandboxes:
    strict: {ceiling: L0}
    adaptive: {ceiling: L1}
`

func TestPeopleSeeTrustAndGiveFeedbackOverREST(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		g.must(db.InTx(t.Context(), func(tx *store.Tx) error {
			if err := auth.BeginChange(tx, g.store); err != nil {
				return err
			}
			now, err := auth.PolicyVersion(tx, g.store)
			if err == nil {
				_, err = policy.Publish(tx, policy.Version{Merchant: g.store, Source: watchful, Author: "operator:cli", Note: "a test"}, now)
			}
			return err
		}))
		g.hire("ada", "admin")
		g.hire("mara", "manager")
		minted := g.admin("ada", 201, "POST", "/keys", `{"name":"bot","profile":"admin","scopes":["orders:*"]}`)
		key, id := fmt.Sprint(minted["secret"]), fmt.Sprint(minted["id"])
		if s := g.admin("ada", 200, "GET", "/trust/"+id, ""); s["score"] != 75.0 || s["changed_at"] != nil {
			t.Errorf("a new key stands at %v", s)
		}
		if resp, _ := g.do("POST", tools.BasePath+"/tools/nothing", `{}`, jsonBody, "X-Agent-Key: "+key); resp.StatusCode != 404 {
			t.Errorf("%s", resp.Status)
		}
		s := g.admin("ada", 200, "POST", "/trust/"+id+"/feedback", `{"score":-40.125,"note":"It asked twice."}`)
		if s["score"] != 24.875 || s["sandbox"].(map[string]any)["level"] != "STRICT" {
			t.Errorf("after feedback it stands at %v", s)
		}
		moves := g.admin("ada", 200, "GET", "/trust/"+id+"/history", "")["moves"].([]any)
		if len(moves) != 2 || moves[0].(map[string]any)["note"] != "It asked twice." || moves[1].(map[string]any)["code"] != "UNKNOWN_TOOL" {
			t.Errorf("the history is %v", moves)
		}
		if all := g.admin("ada", 200, "GET", "/trust?limit=5", "")["agents"].([]any); len(all) != 1 {
			t.Errorf("listed are %v", all)
		}
		for body, status := range map[string]int{
			`{"score":-1}`: 400, `{"score":-50.5,"note":"x"}`: 400, `{"score":0.0001,"note":"x"}`: 400, `{"score":"-1","note":"x"}`: 400, `{"score":0,"note":"x"}`: 400,
			`{"score":-1,"note":"x","by":"me"}`: 400, `{"score":-1,"score":1,"note":"x"}`: 400,
		} {
			g.admin("ada", status, "POST", "/trust/"+id+"/feedback", body)
		}
		g.admin("mara", 403, "POST", "/trust/"+id+"/feedback", `{"score":-1,"note":"x"}`)
		g.admin("mara", 403, "GET", "/trust/"+id, "")
		g.admin("ada", 404, "GET", "/trust/key_nobodys", "")
	})
}
