package server

import (
	"net/url"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

func TestPeopleStopAgentsOverREST(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		g.hire("ada", "admin")
		g.hire("mara", "marketing")
		g.hire("otto", "compliance")
		minted := g.admin("ada", 201, "POST", "/keys", `{"name":"bot","profile":"admin","scopes":["marketing:send"]}`)
		key, id := "X-Agent-Key: "+minted["secret"].(string), minted["id"].(string)
		send := func(n string) int {
			resp, _ := g.do("POST", tools.BasePath+"/notes/"+n+"/send", `{"expected_version":1,"reason":"for a good reason","idempotency_key":"k`+n+`"}`, jsonBody, key)
			return resp.StatusCode
		}
		f := g.admin("mara", 201, "POST", "/freezes", `{"subject_id":"`+id+`","reason":"it sends too much"}`)
		if status := send("n1"); status != 409 {
			t.Errorf("a frozen agent writes: %d", status)
		}
		if all := g.admin("otto", 200, "GET", "/freezes", "")["freezes"].([]any); len(all) != 1 {
			t.Errorf("listed are %v", all)
		}
		lift := "/freezes/" + f["id"].(string) + "/lift"
		g.admin("mara", 403, "POST", lift, `{"reason":"enough"}`)
		g.admin("ada", 400, "POST", lift, `{}`)
		g.admin("ada", 200, "POST", lift, `{"reason":"enough"}`)
		g.admin("ada", 404, "POST", lift, `{"reason":"enough"}`)
		if status := send("n1"); status/100 != 2 {
			t.Errorf("after the lift: %d", status)
		}
		for _, body := range []string{`{"reason":"x"}`, `{"all":true,"subject_id":"` + id + `","reason":"x"}`, `{"all":true}`, `{"all":true,"reason":"x","y":1}`} {
			g.admin("ada", 400, "POST", "/freezes", body)
		}
		g.admin("ada", 404, "POST", "/freezes", `{"subject_id":"key_nobodys","reason":"x"}`)
	})
}

func TestEveryPageSaysThatAllIsStopped(t *testing.T) {
	d := newSeat(t)
	_, page := d.open("/freeze")
	_, rest, _ := strings.Cut(page, `name="csrf" value="`)
	token, _, _ := strings.Cut(rest, `"`)
	post := func(path string, f url.Values) (int, string) {
		resp, text := d.once("POST", path, f.Encode(), asForm, asPage, d.cookie)
		return resp.StatusCode, text
	}
	if status, _ := post("/freeze", url.Values{"reason": {"prices"}}); status == 303 {
		t.Error("a form of somebody else's stops everything")
	}
	if status, text := post("/freeze", url.Values{"csrf": {token}}); status != 400 || !strings.Contains(text, "reason") {
		t.Errorf("without a reason: %d", status)
	}
	if status, _ := post("/freeze", url.Values{"csrf": {token}, "reason": {"the <b>prices</b>"}}); status != 303 {
		t.Fatalf("answered %d", status)
	}
	for _, path := range []string{"/approvals", "/jobs", "/me", "/freeze"} {
		_, page := d.open(path)
		d.shows(page, "All writes of agents are stopped", "the &lt;b&gt;prices&lt;/b&gt;")
	}
	resp, _ := d.do("POST", tools.BasePath+"/notes/n1/send", `{"reason":"for a good reason","idempotency_key":"k"}`, jsonBody, "X-Agent-Key: "+d.key)
	if resp.StatusCode != 409 {
		t.Errorf("an agent is answered %s", resp.Status)
	}
}
