package server

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

const (
	asForm = "Content-Type: application/x-www-form-urlencoded"
	asPage = "Accept: text/html,application/xhtml+xml"
)

// newPages is a rig under a name that may have passkeys, with one person and a clock that can be put forward.
func newPages(t *testing.T) (*rig, *moment) {
	t.Helper()
	db := storetest.New(t, "sqlite")
	m := &moment{}
	m.pass(untilNoon(time.Now())) // or what was decided a moment ago was, once a night, not decided today
	db.Now = m.now
	g := newRig(t, db, fakes)
	g.person("mia")
	return g, m
}

// untilNoon is how far ahead the next noon is, in the time zone of the pages.
func untilNoon(now time.Time) time.Duration {
	noon := now.UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)
	if noon.Before(now) {
		noon = noon.AddDate(0, 0, 1)
	}
	return noon.Sub(now)
}

// once is do without following where an answer leads.
func (g *rig) once(method, path, body string, headers ...string) (*http.Response, string) {
	g.Helper()
	r, err := http.NewRequestWithContext(g.Context(), method, g.url+path, strings.NewReader(body))
	g.must(err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	g.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	g.must(err)
	return resp, string(raw)
}

// code is the secret of a one-time link for a person.
func (g *rig) code(name string) string {
	g.Helper()
	_, code, _ := strings.Cut(g.link(name), "#")
	return code
}

// enter uses a link and gives the header that the browser sends from then on.
func (g *rig) enter(name string, headers ...string) string {
	g.Helper()
	form := url.Values{"code": {g.code(name)}}.Encode()
	resp, text := g.once("POST", "/sign-in/link", form, append(headers, asForm, asPage)...)
	if resp.StatusCode != http.StatusSeeOther {
		g.Fatalf("%s %s", resp.Status, text)
	}
	return "Cookie: " + sessionCookie + "=" + g.given(resp, sessionCookie).Value
}

// given is the cookie of that name that an answer sets.
func (g *rig) given(resp *http.Response, name string) *http.Cookie {
	g.Helper()
	for _, c := range resp.Cookies() {
		if c.Name == name {
			return c
		}
	}
	g.Fatalf("no cookie %s is set: %v", name, resp.Header)
	return nil
}

func TestTheCookieOfASession(t *testing.T) {
	g, _ := newPages(t)
	resp, _ := g.once("POST", "/sign-in/link", "code="+g.code("mia"), asForm, asPage)
	set := resp.Header.Get("Set-Cookie")
	for _, part := range []string{"__Host-dtcgate=sq_ses_", "Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=604800"} {
		if !strings.Contains(set, part) {
			t.Errorf("%s is not in %s", part, set)
		}
	}
	if strings.Contains(set, "Domain") {
		t.Error(set)
	}
	if log := g.log.String(); strings.Contains(log, "sq_ses_") || strings.Contains(log, "sq_lnk_") {
		t.Error("a secret is in the log")
	}
}

func TestLookingAtALinkDoesNotUseItUp(t *testing.T) {
	g, _ := newPages(t)
	code := g.code("mia")
	for _, path := range []string{"/sign-in/link", "/sign-in/link?code=" + code, "/sign-in/link?next=/me"} {
		for _, method := range []string{"GET", "HEAD"} {
			if resp, _ := g.once(method, path, "", asPage); resp.StatusCode != 200 || len(resp.Cookies()) > 0 {
				t.Errorf("%s %s: %s", method, path, resp.Status)
			}
		}
	}
	if resp, _ := g.once("POST", "/sign-in/link?code="+code, "", asForm, asPage); resp.StatusCode != 401 {
		t.Errorf("a code in the address: %s", resp.Status)
	}
	if resp, _ := g.once("POST", "/sign-in/link", "code="+code+"&code="+code, asForm, asPage); resp.StatusCode != 400 {
		t.Errorf("two codes: %s", resp.Status)
	}
	if resp, _ := g.once("POST", "/sign-in/link", `{"code":"`+code+`"}`, jsonBody); resp.StatusCode != 415 {
		t.Errorf("as JSON: %s", resp.Status)
	}
	if resp, _ := g.once("POST", "/sign-in/link", "code="+code, asForm, asPage, "Sec-Fetch-Site: cross-site"); resp.StatusCode != 403 {
		t.Errorf("from another site: %s", resp.Status)
	}
	if resp, text := g.once("POST", "/sign-in/link", "code="+code, asForm, asPage); resp.StatusCode != 303 || resp.Header.Get("Location") != home {
		t.Errorf("%s %s", resp.Status, text)
	}
	if resp, _ := g.once("POST", "/sign-in/link", "code="+code, asForm, asPage); resp.StatusCode != 401 {
		t.Errorf("again: %s", resp.Status)
	}
	g.refusedFor("used")
}

func TestASessionOpensUntilItEnds(t *testing.T) {
	g, m := newPages(t)
	opens := func(cookie string) bool {
		t.Helper()
		resp, text := g.once("GET", "/me", "", asPage, cookie)
		if to := resp.Header.Get("Location"); resp.StatusCode == 303 && to == "/sign-in?next=/me" {
			return false
		}
		if resp.StatusCode != 200 || !strings.Contains(text, "mia") {
			t.Fatalf("%s %s", resp.Status, text)
		}
		return true
	}
	ends := map[string]func(cookie string){
		"signing out": func(cookie string) { g.once("POST", "/me/sign-out", "", asPage, cookie) },
		"idleness":    func(string) { m.pass(auth.SessionIdle) },
		"signing out elsewhere": func(string) {
			other := g.enter("mia")
			g.once("POST", "/me/sessions/revoke-others", "", asPage, other)
		},
		"the command line": func(string) {
			g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
				_, err := auth.RevokeSessions(tx, g.store, g.ids["mia"], "")
				return err
			}))
		},
	}
	for how, end := range ends {
		cookie := g.enter("mia")
		if !opens(cookie) {
			t.Fatalf("%s: it opens nothing before", how)
		}
		if end(cookie); opens(cookie) {
			t.Errorf("%s does not end it", how)
		}
	}
	cookie := g.enter("mia")
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error { return auth.RevokePerson(tx, g.store, g.ids["mia"]) }))
	if opens(cookie) {
		t.Error("somebody who was disabled is still in")
	}
}

func TestASessionThatIsUsedStaysOpen(t *testing.T) {
	g, m := newPages(t)
	cookie := g.enter("mia")
	for range 4 {
		m.pass(auth.SessionIdle - time.Hour)
		if resp, _ := g.once("GET", "/me", "", asPage, cookie); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
}

func TestOneCannotEndTheSessionOfAnother(t *testing.T) {
	g, _ := newPages(t)
	g.person("noa")
	mia, noa := g.enter("mia"), g.enter("noa")
	var sessions []auth.Session
	g.must(g.db.Read(g.Context(), func(tx *store.Tx) (err error) {
		sessions, err = auth.ListSessions(tx, g.store, g.ids["mia"], "", 1)
		return err
	}))
	if resp, _ := g.once("POST", "/me/sessions/"+sessions[0].ID+"/revoke", "", asPage, noa); resp.StatusCode != 404 {
		t.Error(resp.Status)
	}
	if resp, _ := g.once("GET", "/me", "", asPage, mia); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	if resp, _ := g.once("POST", "/me/sessions/"+sessions[0].ID+"/revoke", "", asPage, mia); resp.StatusCode != 303 {
		t.Error(resp.Status)
	}
	if resp, _ := g.once("POST", "/me/passkeys/pk_nothing/remove", "", asPage, noa); resp.StatusCode != 404 {
		t.Error(resp.Status)
	}
}

func TestSigningInAnewEndsWhatTheBrowserHeld(t *testing.T) {
	g, _ := newPages(t)
	g.person("noa")
	before := g.enter("mia")
	after := g.enter("noa", before)
	if after == before {
		t.Error("the secret stayed")
	}
	if resp, _ := g.once("GET", "/me", "", asPage, before); resp.StatusCode != 303 {
		t.Errorf("the session before: %s", resp.Status)
	}
	planted := "Cookie: " + sessionCookie + "=sq_ses_planted"
	if fresh := g.enter("mia", planted); fresh == planted {
		t.Error("a planted secret became a session")
	}
}

// The cookie counts on people's own pages, where they decide and where they administer, and nowhere else.
func TestACookieOpensNothingOfAgents(t *testing.T) {
	g, _ := newPages(t)
	cookie := g.enter("mia")
	for _, route := range g.server.routes {
		method, path, _ := strings.Cut(route, " ")
		people := isPage(path) || path == "/events" || strings.HasSuffix(path, "/reconcile") || slices.ContainsFunc(
			[]string{tools.BasePath + "/approvals", tools.BasePath + "/delegations", "/connect", adminBase}, func(at string) bool { return strings.HasPrefix(path, at) })
		if people || path == "/healthz" || path == "/readyz" || strings.Contains(path, "{token}") {
			continue
		}
		want := http.StatusUnauthorized
		if path == metricsPath {
			want = http.StatusNotFound // as if it were not there
		}
		path = strings.NewReplacer("{$}", "", "{", "", "}", "").Replace(path)
		if resp, text := g.once(method, path, "{}", jsonBody, cookie); resp.StatusCode != want {
			t.Errorf("%s: %s %s", route, resp.Status, text)
		}
	}
	secret := strings.TrimPrefix(cookie, "Cookie: "+sessionCookie+"=")
	for _, header := range []string{"Authorization: Bearer ", "X-Agent-Key: "} {
		for _, path := range []string{tools.BasePath + "/approvals", tools.BasePath + "/notes"} {
			if resp, _ := g.once("GET", path, "", header+secret); resp.StatusCode != 401 {
				t.Errorf("%s as a token at %s: %s", header, path, resp.Status)
			}
		}
	}
}

func TestACookieAndATokenMustBeOnePersons(t *testing.T) {
	g, _ := newPages(t)
	g.person("noa")
	key := g.mint("bot", false, "orders:read")
	cookie := g.enter("mia")
	for name, c := range map[string]struct {
		headers []string
		status  int
	}{
		"the cookie":               {[]string{cookie}, 200},
		"with the same person's":   {[]string{cookie, "Authorization: Bearer " + g.secrets["mia"]}, 200},
		"with another person's":    {[]string{cookie, "Authorization: Bearer " + g.secrets["noa"]}, 401},
		"with an agent's key":      {[]string{cookie, "X-Agent-Key: " + key}, 401},
		"with nonsense":            {[]string{cookie, "Authorization: Basic abc"}, 401},
		"two cookies":              {[]string{cookie, cookie}, 401},
		"an ended one and a token": {[]string{"Cookie: " + sessionCookie + "=x", "Authorization: Bearer " + g.secrets["mia"]}, 401},
	} {
		for _, path := range []string{tools.BasePath + "/approvals", "/me"} {
			if resp, text := g.once("GET", path, "", c.headers...); resp.StatusCode != c.status {
				t.Errorf("%s at %s: %s %s", name, path, resp.Status, text)
			}
		}
	}
}

func TestAPersonDecidesFromTheBrowser(t *testing.T) {
	g, _ := newPages(t)
	key := g.mint("careful", true, "marketing:send")
	ask := func(k string) string {
		_, text := g.do("POST", tools.BasePath+"/tools/notes_send", `{"note_id":"n1","expected_version":1,"reason":"to test it all","idempotency_key":"`+k+`"}`, jsonBody, "X-Agent-Key: "+key)
		_, id, _ := strings.Cut(text, `"job_id":"`)
		id, _, _ = strings.Cut(id, `"`)
		return id
	}
	cookie := g.enter("mia")
	vote := func(id string, headers ...string) int {
		resp, _ := g.once("POST", tools.BasePath+"/approvals/"+id+"/resolve", g.ballot(id, approvals.Approve), append(headers, jsonBody)...)
		return resp.StatusCode
	}
	if status := vote(ask("a"), cookie, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"); status != 403 {
		t.Errorf("another site votes: %d", status)
	}
	if status := vote(ask("a"), cookie, "Sec-Fetch-Site: same-origin"); status != 200 {
		t.Errorf("the person votes: %d", status)
	}
	second := ask("b")
	g.once("POST", "/me/sign-out", "", asPage, cookie)
	if status := vote(second, cookie); status != 401 {
		t.Errorf("after signing out: %d", status)
	}
}

func TestAnAdminInABrowserConfirmsBeforeChanges(t *testing.T) {
	g, m := newPages(t)
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		p, _, err := auth.AddPerson(tx, g.store, "root", "admin")
		g.ids["root"] = p.ID
		return err
	}))
	cookie := g.enter("root")
	mint := func(headers ...string) (int, string) {
		resp, text := g.once("POST", adminBase+"/keys", `{"name":"bot","scopes":["orders:read"]}`, append(headers, jsonBody, cookie)...)
		return resp.StatusCode, text
	}
	if status, text := mint(); status != 201 {
		t.Errorf("just signed in: %d %s", status, text)
	}
	if status, text := mint("Sec-Fetch-Site: cross-site"); status != 403 {
		t.Errorf("from another site: %d %s", status, text)
	}
	m.pass(auth.StepUpTime + time.Minute)
	if status, text := mint(); status != 403 || !strings.Contains(text, string(tools.StepUpRequired)) {
		t.Errorf("later: %d %s", status, text)
	}
}

// isPage reports whether a path is one of people's pages.
func isPage(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return slices.Contains([]string{"me", "sign-in", "web", "approvals", "jobs", "freeze", "{$}"}, first)
}

func TestEveryPageIsGuarded(t *testing.T) {
	g, _ := newPages(t)
	cookie := g.enter("mia")
	for _, route := range g.server.routes {
		method, path, _ := strings.Cut(route, " ")
		if !isPage(path) {
			continue
		}
		if path == "/me/sign-out" {
			continue // below
		}
		for _, headers := range [][]string{{asPage}, {asPage, cookie}, {cookie}} {
			g.guarded(method, strings.NewReplacer("{$}", "", "{", "", "}", "").Replace(path), headers...)
		}
	}
	g.guarded("POST", "/me/sign-out", asPage, cookie)
}

func (g *rig) guarded(method, path string, headers ...string) {
	g.Helper()
	resp, _ := g.once(method, path, "", headers...)
	for name, want := range map[string]string{
		"Content-Security-Policy": contentPolicy, "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin",
	} {
		if got := resp.Header.Get(name); got != want {
			g.Errorf("%s %s: %s is %q", method, path, name, got)
		}
	}
}

// No inline script or style stands in a page: the policy would stop it, and so it would stop one that somebody planted.
func TestPagesHoldNoInlineCode(t *testing.T) {
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(contentPolicy, part) {
			t.Errorf("the policy lacks %s", part)
		}
	}
	if strings.Contains(contentPolicy, "unsafe") || strings.Contains(contentPolicy, "*") {
		t.Error(contentPolicy)
	}
	files, err := web.ReadDir("web")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, _ := web.ReadFile("web/" + f.Name())
		text := strings.ToLower(string(raw))
		if !strings.HasSuffix(f.Name(), ".html") {
			continue
		}
		for _, bad := range []string{" style=", "<style", " onclick", " onload", " onsubmit", "javascript:", "<script>", "http://", "https://"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s holds %s", f.Name(), bad)
			}
		}
	}
}

func TestNamesOnPagesAreText(t *testing.T) {
	g, _ := newPages(t)
	const planted = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`
	g.person(planted)
	cookie := g.enter(planted, "User-Agent: <b>Firefox/</b>")
	resp, text := g.once("GET", "/me", "", asPage, cookie)
	if resp.StatusCode != 200 || strings.Contains(text, "<script>alert") || strings.Contains(text, "<img") || strings.Contains(text, "<b>") {
		t.Errorf("%s %s", resp.Status, text)
	}
}

func TestNextIsOnlyEverAPathOfOurs(t *testing.T) {
	g, _ := newPages(t)
	for next, want := range map[string]string{
		"/me": "/me", "/approvals/apr_01?all=true": "/approvals/apr_01?all=true", "/a-b/c_d": "/a-b/c_d",
		"": home, "//evil.example": home, "///evil.example": home, `/\evil.example`: home, `\\evil.example`: home, `\/evil.example`: home,
		"https://evil.example": home, "HTTPS:evil.example": home, "https:/evil.example": home, "javascript:alert(1)": home, "data:text/html,x": home,
		"/%2f/evil.example": home, "/%5cevil.example": home, "%2f%2fevil.example": home, "/%09/evil.example": home, "/\t/evil.example": home,
		"/\n/evil.example": home, "/\r\nSet-Cookie: a=b": home, "/ /evil.example": home, " //evil.example": home, "/.//evil.example": home,
		"/..//evil.example": home, "/me/../..//evil.example": home, "/@evil.example": home, "/me#//evil.example": home, "evil.example": home,
		"?next=//evil.example": home, "/me?to=https://evil.example": home, "/\u2044evil.example": home, "/\uff0fevil.example": home,
		"/;@evil.example": home, "/" + strings.Repeat("a", 400): home, "/me//": home, "/": home, "/me\x00": home, "/%00/": home,
	} {
		if got := ownPath(next); got != want {
			t.Errorf("%q leads to %q", next, got)
		}
		form := url.Values{"code": {g.code("mia")}, "next": {next}}.Encode()
		leads := want
		if strings.Contains(next, "\x00") {
			leads = "" // a form that is no text is not taken
		}
		if resp, _ := g.once("POST", "/sign-in/link", form, asForm, asPage); resp.Header.Get("Location") != leads {
			t.Errorf("%q leads to %q", next, resp.Header.Get("Location"))
		}
		if resp, text := g.once("GET", "/sign-in/link?next="+url.QueryEscape(next), "", asPage); resp.StatusCode != 200 || strings.Contains(text, "evil") {
			t.Errorf("%q stands on a page", next)
		}
	}
}
