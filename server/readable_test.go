package server

import (
	"net/url"
	"testing"

	"github.com/dtcgate/dtcgate/tools"
)

// What is no text in an address or a form is refused before anybody looks for it: one database would store it, the other fails.
func TestAnAddressOrAFormThatIsNoTextIsRefused(t *testing.T) {
	g, _ := newPages(t)
	mia := g.enter("mia")
	for _, path := range []string{"/approvals/%00", "/approvals/%ff", "/approvals?agent=%00", "/approvals?class=%ff", "/jobs/a%00b"} {
		if resp, _ := g.once("GET", path, "", asPage, mia); resp.StatusCode != 400 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	token := "Authorization: Bearer " + g.secrets["mia"]
	for _, path := range []string{"/approvals/%00", "/approvals/grants/%ff", "/delegations/%00"} {
		method := "GET"
		if path == "/delegations/%00" {
			method = "DELETE"
		}
		if resp, text := g.once(method, tools.BasePath+path, "", token); resp.StatusCode != 400 {
			t.Errorf("%s: %s %s", path, resp.Status, text)
		}
	}
	form := url.Values{"key_id": {"key_x"}, "external_id": {"U\x001"}}.Encode()
	if resp, _ := g.once("POST", "/me/links", form, asForm, asPage, mia); resp.StatusCode != 400 {
		t.Errorf("a form: %s", resp.Status)
	}
}
