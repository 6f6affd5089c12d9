package server

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A seat is a rig at which somebody sits and decides in a browser.
type seat struct {
	*rig
	clock  *moment
	key    string
	cookie string
	asked  int
}

func newSeat(t *testing.T) *seat {
	t.Helper()
	g, m := newPages(t)
	d := &seat{rig: g, clock: m, key: g.mint("growth-bot", true, "marketing:send")}
	d.cookie = g.enter("mia")
	return d
}

// ask parks a call with these words of the agent, and gives its approval.
func (d *seat) ask(reason string) (id string) {
	d.Helper()
	d.asked++
	args := fmt.Sprintf(`{"reason":%q,"idempotency_key":"k%d"}`, reason, d.asked)
	_, text := d.do("POST", tools.BasePath+fmt.Sprintf("/notes/n%d/send", d.asked), args, jsonBody, "X-Agent-Key: "+d.key)
	_, id, ok := strings.Cut(text, `"approval_id":"`)
	if !ok {
		d.Fatal(text)
	}
	id, _, _ = strings.Cut(id, `"`)
	return id
}

// open loads a page.
func (d *seat) open(path string) (int, string) {
	d.Helper()
	resp, text := d.once("GET", path, "", asPage, d.cookie)
	return resp.StatusCode, text
}

// fields are the hidden fields of the first form on a page.
func (d *seat) fields(page string) url.Values {
	d.Helper()
	all := url.Values{}
	_, form, _ := strings.Cut(page, "<form id=\"vote\"")
	for _, f := range regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)"`).FindAllStringSubmatch(form, -1) {
		if !all.Has(f[1]) {
			all.Set(f[1], f[2])
		}
	}
	return all
}

// say opens a card and sends its form with these fields changed: "decision=deny", "reason=…".
func (d *seat) say(id string, changes ...string) (*http.Response, string) {
	d.Helper()
	_, page := d.open("/approvals/" + id)
	return d.send(id, "vote", d.fields(page), changes...)
}

func (d *seat) send(id, act string, fields url.Values, changes ...string) (*http.Response, string) {
	d.Helper()
	for _, c := range changes {
		name, value, _ := strings.Cut(c, "=")
		fields.Set(name, value)
	}
	return d.once("POST", "/approvals/"+id+"/"+act, fields.Encode(), asForm, asPage, d.cookie)
}

func (d *seat) stands(id string, want approvals.State) approvals.Request {
	d.Helper()
	var r approvals.Request
	d.must(d.db.Read(d.Context(), func(tx *store.Tx) (err error) {
		r, err = approvals.Find(tx, d.store, id)
		return err
	}))
	if r.State != want {
		d.Errorf("%s is %s, want %s", id, r.State, want)
	}
	return r
}

func (d *seat) shows(page string, parts ...string) {
	d.Helper()
	for _, part := range parts {
		if !strings.Contains(page, part) {
			d.Errorf("the page lacks %q:\n%s", part, page[strings.Index(page, "<main"):])
		}
	}
}

func TestTheFirstPageIsWhatWaits(t *testing.T) {
	d := newSeat(t)
	if resp, _ := d.once("GET", "/", "", asPage, d.cookie); resp.Header.Get("Location") != "/approvals" {
		t.Error(resp.Header.Get("Location"))
	}
	_, page := d.open("/approvals")
	d.shows(page, "Nothing waits for you.", "Nothing was decided yet.", `id="inbox"`)
	id := d.ask("for a good reason")
	_, page = d.open("/approvals")
	d.shows(page, "1 waits for you", `data-id="`+id+`"`, "growth-bot", "Cannot be undone", "0 of 1 approval", " left</time>", `<ol id="inbox"`)
	d.say(id, "decision=deny", "reason=Not today")
	d.clock.pass(40 * time.Minute)
	_, page = d.open("/approvals")
	d.shows(page, "Nothing waits for you.", "The last one was decided", "40 minutes ago", "Decided today", "Denied")
}

func TestTheListIsNarrowedByClassAgentAndRule(t *testing.T) {
	d := newSeat(t)
	id := d.ask("for a good reason")
	for query, here := range map[string]bool{
		"class=contact": true, "class=spend": false, "agent=growth-bot": true, "agent=other": false,
		"rule=builtin.key_requires_approval": true, "rule=builtin": false, "rule=%25": false, "show=mine": true, "show=others": false,
		"show=mine&after=apr_01M825B7TDE2HSYV6DMYTBD34T": true, "after=%27": true, "after=" + id: false,
	} {
		status, page := d.open("/approvals?" + query)
		if got := strings.Contains(page, `data-id="`+id+`"`); status != 200 || got != here {
			t.Errorf("%s: %d, shown %v", query, status, got)
		}
	}
}

func TestACardSaysWhatWouldHappenAndTheButtonNamesIt(t *testing.T) {
	d := newSeat(t)
	id := d.ask("because the customer asked")
	status, page := d.open("/approvals/" + id)
	if status != 200 {
		t.Fatal(status)
	}
	d.shows(page, "Send a note.", "Can it be undone?", "Whom it reaches", "1 customer", "Who asks", "growth-bot", "Not checked", "because the customer asked",
		"It needs 1 person", "It lapses", "Exact request, fingerprint and rule", `id="decide"`, `id="approve"`, `id="deny"`, `id="reason"`, d.stands(id, approvals.Pending).Fingerprint)
	if strings.Contains(page, ">OK<") || strings.Contains(page, ">Approve<") {
		t.Error("the button does not name the act")
	}
}

func TestWhatCannotBeUndoneTakesASecondPress(t *testing.T) {
	d := newSeat(t)
	id := d.ask("because the customer asked")
	resp, page := d.say(id, "decision=approve", "reason=looks right")
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	d.shows(page, "This cannot be undone.", `id="sure"`, `value="looks right"`)
	d.stands(id, approvals.Pending)
	d.clock.pass(5 * time.Second)
	if resp, page = d.say(id, "decision=approve", "reason=looks right", "sure=yes"); resp.StatusCode != 303 || resp.Header.Get("Location") != "/approvals/"+id {
		t.Fatal(resp.Status, page)
	}
	r := d.stands(id, approvals.Approved)
	if v := r.Votes[0]; v.Channel != "web" || v.Reason != "looks right" || v.Seen != r.BindingHash || v.OpenSeconds < 1 {
		t.Errorf("%+v", v)
	}
	d.work()
	_, page = d.open("/approvals/" + id)
	d.shows(page, "<h2 id=\"decided\">Approved</h2>", "mia", "looks right", "is done", "cannot be undone from here")
	if strings.Contains(page, `id="approve"`) {
		t.Error("there is still something to press")
	}
}

func TestAFormThatIsSentTwiceCountsOnce(t *testing.T) {
	d := newSeat(t)
	id := d.ask("because the customer asked")
	_, page := d.open("/approvals/" + id)
	for range 2 {
		if resp, text := d.send(id, "vote", d.fields(page), "decision=approve", "sure=yes"); resp.StatusCode != 303 {
			t.Fatal(resp.Status, text)
		}
	}
	if r := d.stands(id, approvals.Approved); len(r.Votes) != 1 {
		t.Errorf("%+v", r.Votes)
	}
	resp, text := d.send(id, "vote", d.fields(page), "decision=deny", "reason=too late, my words")
	if resp.StatusCode != 409 {
		t.Error(resp.Status)
	}
	d.shows(text, "decided already")
}

func TestADenialTakesAReasonAndTheTypedWordsStay(t *testing.T) {
	d := newSeat(t)
	id := d.ask("because the customer asked")
	resp, page := d.say(id, "decision=deny", "reason=  ")
	if resp.StatusCode != 400 {
		t.Error(resp.Status)
	}
	d.shows(page, "A denial takes a reason.", `role="alert"`)
	resp, page = d.say(id, "decision=perhaps", "reason=a <i>thought</i> of mine")
	if resp.StatusCode != 400 {
		t.Error(resp.Status)
	}
	d.shows(page, "a &lt;i&gt;thought&lt;/i&gt; of mine</textarea>")
	d.stands(id, approvals.Pending)
	if resp, _ = d.say(id, "decision=deny", "reason=The note is wrong"); resp.StatusCode != 303 {
		t.Error(resp.Status)
	}
	_, page = d.open("/approvals/" + id)
	d.stands(id, approvals.Rejected)
	d.shows(page, "Denied", "The note is wrong", "did not run")
}

func TestADecisionAboutSomethingElseIsNotTaken(t *testing.T) {
	d := newSeat(t)
	id := d.ask("because the customer asked")
	other := strings.Repeat("ab", 32)
	resp, page := d.say(id, "decision=approve", "sure=yes", "reason=my words", "seen_sha256="+other)
	if resp.StatusCode != 409 {
		t.Error(resp.Status)
	}
	d.shows(page, "This is not what you opened.", "ABAB-ABAB-ABAB", "What you opened, and what stands here now", `id="read"`)
	if strings.Contains(page, `id="approve"`) || strings.Contains(page, `id="deny"`) {
		t.Error("it can be decided before it was read")
	}
	d.stands(id, approvals.Pending)
	for _, seen := range []string{"", "x", "'"} {
		if resp, _ = d.say(id, "decision=approve", "sure=yes", "seen_sha256="+seen); resp.StatusCode != 409 {
			t.Errorf("%q: %s", seen, resp.Status)
		}
	}
	d.stands(id, approvals.Pending)
}

func TestAFormOfAnotherSessionIsNotTaken(t *testing.T) {
	d := newSeat(t)
	id := d.ask("because the customer asked")
	_, page := d.open("/approvals/" + id)
	fields := d.fields(page)
	for _, act := range []string{"vote", "withdraw", "cancel", "undo"} {
		for _, token := range []string{"", "0", strings.Repeat("0", 64)} {
			resp, text := d.send(id, act, fields, "decision=deny", "reason=my words", "csrf="+token)
			if resp.StatusCode != 403 || act == "vote" && !strings.Contains(text, "my words</textarea>") {
				t.Errorf("%s with %q: %s", act, token, resp.Status)
			}
		}
	}
	fields = d.fields(page)
	d.cookie = d.enter("mia") // another session of the same person
	if resp, _ := d.send(id, "vote", fields, "decision=deny", "reason=my words"); resp.StatusCode != 403 {
		t.Error(resp.Status)
	}
	d.stands(id, approvals.Pending)
}

func TestHowLongACardWasOpenCannotBeMadeUp(t *testing.T) {
	d := newSeat(t)
	for _, c := range []struct {
		opened string
		want   func(int64) bool
	}{
		{"", func(n int64) bool { return n == 0 }},
		{"1.00", func(n int64) bool { return n == 0 }},
		{"as it was", func(n int64) bool { return n >= 60 && n < 90 }},
	} {
		id := d.ask("because the customer asked")
		_, page := d.open("/approvals/" + id)
		fields := d.fields(page)
		d.clock.pass(time.Minute)
		if c.opened != "as it was" {
			fields.Set("opened", c.opened)
		}
		d.send(id, "vote", fields, "decision=approve", "sure=yes")
		if got := d.stands(id, approvals.Approved).Votes[0].OpenSeconds; !c.want(got) {
			t.Errorf("%q: %d seconds", c.opened, got)
		}
	}
}

func TestApprovingWhatCannotBeUndoneTakesAFreshConfirmation(t *testing.T) {
	d := newSeat(t)
	id := d.ask("because the customer asked")
	d.clock.pass(auth.StepUpTime + time.Minute)
	_, page := d.open("/approvals/" + id)
	d.shows(page, "takes a confirmation that it is you")
	resp, page := d.say(id, "decision=approve", "sure=yes", "reason=my words")
	if resp.StatusCode != 403 {
		t.Error(resp.Status)
	}
	d.shows(page, "fresh confirmation", "my words</textarea>")
	d.stands(id, approvals.Pending)
	if resp, _ = d.say(id, "decision=deny", "reason=no need to confirm a no"); resp.StatusCode != 303 {
		t.Error(resp.Status)
	}
}

func TestWhoMayOnlyReadSeesAndCannotPress(t *testing.T) {
	d := newSeat(t)
	d.role("reader", auth.ApprovalsRead)
	d.person("rea", "reader")
	d.role("nobody")
	d.person("nod", "nobody")
	id := d.ask("because the customer asked")
	_, page := d.open("/approvals/" + id)
	fields := d.fields(page)

	d.cookie = d.enter("rea")
	_, page = d.open("/approvals")
	d.shows(page, "Nothing waits for you", "Waiting for others", `data-id="`+id+`"`)
	_, page = d.open("/approvals/" + id)
	d.shows(page, "approvals:resolve")
	token := regexp.MustCompile(`name="csrf" value="([^"]+)"`)
	if token.MatchString(page) {
		t.Error("there is a form for somebody who may do nothing")
	}
	if resp, _ := d.send(id, "vote", fields, "decision=deny", "reason=my words"); resp.StatusCode != 403 {
		t.Error(resp.Status)
	}

	d.cookie = d.enter("nod")
	for _, path := range []string{"/approvals", "/approvals/" + id, "/jobs"} {
		if status, page := d.open(path); status != 403 || strings.Contains(page, "growth-bot") {
			t.Errorf("%s: %d", path, status)
		}
	}
	if resp, _ := d.once("GET", "/", "", asPage, d.cookie); resp.Header.Get("Location") != "/me" {
		t.Error(resp.Header.Get("Location"))
	}
	d.stands(id, approvals.Pending)
}

func TestAnotherMerchantsRequestIsNotThere(t *testing.T) {
	d := newSeat(t)
	id := d.ask("because the customer asked")
	job := d.stands(id, approvals.Pending).JobID
	ours := d.store
	d.store = d.merchant("Another shop")
	d.person("eve")
	d.cookie = d.enter("eve")
	d.store = ours
	for _, path := range []string{"/approvals/" + id, "/approvals/" + job, "/jobs/" + job, "/approvals/apr_01M825B7TDE2HSYV6DMYTBD34T", "/approvals/x", "/jobs/x"} {
		if status, page := d.open(path); status != 404 || strings.Contains(page, "growth-bot") {
			t.Errorf("%s: %d", path, status)
		}
	}
	r, err := http.NewRequest("GET", "/", nil)
	d.must(err)
	r.Header.Set("Cookie", strings.TrimPrefix(d.cookie, "Cookie: "))
	fields := url.Values{"csrf": {formToken(r)}, "decision": {"deny"}, "reason": {"mine"}, "outcome": {"happened"}, "undo_id": {"und_01M825B7TDE2HSYV6DMYTBD34T"}}
	for _, path := range []string{"/approvals/" + id + "/vote", "/approvals/" + id + "/withdraw", "/approvals/" + id + "/cancel", "/approvals/" + id + "/undo", "/jobs/" + job + "/reconcile"} {
		if resp, text := d.once("POST", path, fields.Encode(), asForm, asPage, d.cookie); resp.StatusCode != 404 || strings.Contains(text, "growth-bot") {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	d.stands(id, approvals.Pending)
	_, page := d.open("/approvals")
	if strings.Contains(page, id) {
		t.Error("it stands in the list")
	}
	_, page = d.open("/approvals?after=" + id)
	if strings.Contains(page, id) {
		t.Error("it stands in the list")
	}
}

func TestAYesIsWithdrawn(t *testing.T) {
	d := newSeat(t)
	d.publish(twoPeople)
	id := d.ask("because the customer asked")
	if resp, text := d.say(id, "decision=approve", "sure=yes"); resp.StatusCode != 303 {
		t.Fatal(resp.Status, text)
	}
	_, page := d.open("/approvals")
	d.shows(page, "Nothing waits for you", "Waiting for others", "1 of 2 approvals")
	_, page = d.open("/approvals/" + id)
	d.shows(page, "You said yes.", `id="withdraw"`)
	token := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(page)[1]
	if resp, text := d.send(id, "withdraw", url.Values{"csrf": {token}}); resp.StatusCode != 303 {
		t.Fatal(resp.Status, text)
	}
	_, page = d.open("/approvals")
	d.shows(page, "1 waits for you", "0 of 2 approvals")
	if resp, _ := d.send(id, "withdraw", url.Values{"csrf": {token}}); resp.StatusCode != 409 {
		t.Error(resp.Status)
	}
}

func TestWhatAgentsAndPeopleWriteIsOnlyEverText(t *testing.T) {
	d := newSeat(t)
	const planted = `<script>alert(1)</script><img src=x onerror=alert(1)> [a](https://evil.example) https://evil.example "'> ` + "\u202egnp.exe\u200b\u0000"
	id := d.ask(strings.ReplaceAll(planted, "\u0000", ""))
	for _, path := range []string{"/approvals", "/approvals/" + id, "/jobs"} {
		_, page := d.open(path)
		inert(t, path, page)
	}
	_, page := d.open("/approvals/" + id)
	d.shows(page, "<mark>U&#43;202E</mark>", "<mark>U&#43;200B</mark>", "&lt;script&gt;")
	_, page = d.say(id, "decision=perhaps", "reason="+planted)
	inert(t, "after a failed action", page)
	d.say(id, "decision=deny", "reason="+strings.ReplaceAll(planted, "\u0000", ""))
	_, page = d.open("/approvals/" + id)
	inert(t, "decided", page)
}

// inert reports what of a planted text would act on a page.
func inert(t *testing.T, where, page string) {
	t.Helper()
	for _, bad := range []string{"<script>", "<img", `href="https://evil`, "\u202e", "onerror=alert(1)>"} {
		if strings.Contains(strings.ReplaceAll(page, "<textarea", ""), bad) && (bad != "\u202e" || !strings.Contains(page, "</textarea>")) {
			t.Errorf("%s holds %q", where, bad)
		}
	}
}

func TestJobsAreShownAsTheyStand(t *testing.T) {
	d := newSeat(t)
	_, page := d.open("/jobs")
	d.shows(page, "Nothing runs.")
	id := d.ask("because the customer asked")
	job := d.stands(id, approvals.Pending).JobID
	_, page = d.open("/jobs")
	d.shows(page, "Waiting for people", job)
	d.say(id, "decision=approve", "sure=yes")
	_, page = d.open("/jobs")
	d.shows(page, "about to run", job)
	d.work()
	_, page = d.open("/jobs")
	d.shows(page, "Ended in the last week", job)
	_, page = d.open("/jobs/" + job)
	d.shows(page, "Is done.", "What it did", "/approvals/"+id)
}

func TestDecidingAloneIsLoudAndTakesAReasonAndASecondPress(t *testing.T) {
	d := newSeat(t)
	d.publish(twoPeople)
	id := d.ask("because the customer asked")
	_, page := d.open("/approvals/" + id)
	if strings.Contains(page, `id="override"`) {
		t.Error("somebody without the right may decide alone")
	}
	d.role("chief", auth.ApprovalsRead, auth.ApprovalsResolve, auth.ApprovalsOverride)
	d.person("ada", "chief")
	d.cookie = d.enter("ada")
	_, page = d.open("/approvals/" + id)
	d.shows(page, `id="override"`, "Decide alone")
	resp, page := d.say(id, "decision=override")
	if resp.StatusCode != 400 {
		t.Error(resp.Status)
	}
	d.shows(page, "To decide alone takes a reason.")
	_, page = d.say(id, "decision=override", "reason=The sale ends tonight")
	d.shows(page, "You decide alone,", `name="decision" value="override"`, `id="sure"`)
	d.stands(id, approvals.Pending)
	if resp, page = d.say(id, "decision=override", "reason=The sale ends tonight", "sure=yes"); resp.StatusCode != 303 {
		t.Fatal(resp.Status, page)
	}
	d.stands(id, approvals.Approved)
	_, page = d.open("/approvals/" + id)
	d.shows(page, "approved alone, by override", "The sale ends tonight")
}

func TestWhoAdministersCallsARequestOff(t *testing.T) {
	d := newSeat(t)
	id := d.ask("because the customer asked")
	_, page := d.open("/approvals/" + id)
	if strings.Contains(page, `id="cancel"`) {
		t.Error("anybody may call it off")
	}
	if resp, _ := d.send(id, "cancel", d.fields(page), "reason=no"); resp.StatusCode != 403 {
		t.Error(resp.Status)
	}
	d.stands(id, approvals.Pending)
	d.role("root", auth.ApprovalsRead, auth.KeysAdmin)
	d.person("rob", "root")
	d.cookie = d.enter("rob")
	_, page = d.open("/approvals/" + id)
	d.shows(page, `id="cancel"`)
	token := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(page)[1]
	if resp, text := d.send(id, "cancel", url.Values{"csrf": {token}}, "reason=Asked by mistake"); resp.StatusCode != 303 {
		t.Fatal(resp.Status, text)
	}
	d.stands(id, approvals.Cancelled)
	_, page = d.open("/approvals/" + id)
	d.shows(page, "Cancelled", "rob called it off: Asked by mistake")
}

// twoPeople asks two people about every note, and lets one who may do so decide alone.
const twoPeople = `language: 1
profiles:
  scoped: {}
  admin: {tools: ["*"], resources: ["*"], ceiling: high}
conditions: permit (principal, action, resource);
approvals:
  - {name: two, tools: [notes_send], need: {people: 2, override: true}}
`
