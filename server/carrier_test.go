package server

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

// A person links a service on the page of their account; from then on the service's key brings what they decide.
func TestAPersonLinksAServiceWhichCarriesTheirVote(t *testing.T) {
	g, _ := newPages(t)
	careful := "X-Agent-Key: " + g.mint("careful", true, "marketing:send")
	chat := "Authorization: Bearer " + g.mintKey(auth.Key{Name: "chat <b>", Scopes: auth.CarrierScopes, Ceiling: auth.MaxLevel})
	_, text := g.do("POST", tools.BasePath+"/notes/n1/send", `{"reason":"to test it"}`, careful, jsonBody, "Idempotency-Key: k1")
	var parked tools.Result
	if err := json.Unmarshal([]byte(text), &parked); err != nil || parked.Approval == nil {
		t.Fatalf("%s %v", text, err)
	}
	resolve := func(status int, external string) {
		t.Helper()
		body := `{"decision":"deny","reason":"not today","seen_sha256":"` + parked.Approval.Fingerprint + `","on_behalf_of_person":"` + external + `"}`
		resp, text := g.do("POST", tools.BasePath+"/approvals/"+parked.Approval.ApprovalID+"/resolve", body, jsonBody, chat)
		if resp.StatusCode != status || strings.Contains(text, "mia") {
			t.Errorf("%s %s, want %d and no names", resp.Status, text, status)
		}
	}
	resolve(403, "U1")
	mia := g.enter("mia")
	form := url.Values{"key_id": {g.ids["chat <b>"]}, "external_id": {"U1"}}.Encode()
	if resp, text := g.once("POST", "/me/links", form, asForm, asPage, mia); resp.StatusCode != 303 {
		t.Fatalf("%s %s", resp.Status, text)
	}
	_, page := g.once("GET", "/me", "", asPage, mia)
	if !strings.Contains(page, "chat &lt;b&gt;") || !strings.Contains(page, "knows you as U1") {
		t.Errorf("the page does not show the link: %s", page)
	}
	resolve(200, "U1")
	resolve(403, "U2")
}
