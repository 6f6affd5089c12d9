package server

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// A screen is a browser in front of the demo shop, whose record is numbered as it grows.
type screen struct {
	album
	bot   string // a key
	asked int
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	m := &moment{clock: storyTime()}
	db := copyOf(t, demoShop(t))
	db.Now = m.now
	p := newTabOn(t, newRig(t, db, tools.NewRegistry(dtc.Tools()...)), m)
	p.numbering()
	p.person("Mia Owner")
	p.dress("light", 1280)
	return &screen{album: p.album(), bot: p.mint("growth-bot", true, "orders:read", "orders:refund", "catalog:read", "pricing:write", "marketing:read", "marketing:write", "marketing:send", "customers:read")}
}

// enter signs somebody in and waits for the list.
func (d *screen) enter(name string) {
	d.Helper()
	d.goTo(d.link(name))
	d.click("main button", signOutButton)
	d.goTo("/approvals")
	d.live()
}

// live waits until the page hears what happens.
func (d *screen) live() {
	d.Helper()
	d.wait(`document.querySelector("#live .is")?.textContent === "Live"`)
}

// wait waits until an expression holds in the page, whichever page that is by then. It asks nothing of one that is still loading: what is asked of
// its looks then would be answered by half of its style sheets.
func (d *screen) wait(expression string) {
	d.Helper()
	for began := time.Now(); time.Since(began) < 25*time.Second; time.Sleep(20 * time.Millisecond) {
		if holds, err := chromedp.Run(d.ctx, chromedp.Evaluate[bool](`document.readyState === "complete" && Boolean(`+expression+`)`)); err == nil && holds {
			return
		}
	}
	d.shoot("failed")
	d.Fatalf("%s does not come about; the page: %s; console: %v", expression, eval[string](d.tab, "document.body.innerText"), d.console())
}

// text is that of an element, as people see it.
func (d *screen) text(selector string) string {
	d.Helper()
	return eval[string](d.tab, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// role makes a role.
func (d *screen) role(name string, scopes ...auth.Scope) {
	d.Helper()
	d.must(d.db.InTx(d.Context(), func(tx *store.Tx) error {
		return auth.PutRole(tx, auth.Role{Merchant: d.store, Name: name, Scopes: scopes})
	}))
}

// press presses keys, one after the other.
func (d *screen) press(keys ...string) {
	d.Helper()
	for _, k := range keys {
		d.do(chromedp.KeyEvent(k))
	}
}

// free calls a tool and gives the answer.
func (d *screen) free(tool string, args map[string]any) (text string) {
	d.Helper()
	d.asked++
	args["idempotency_key"] = fmt.Sprint("asked-", d.asked)
	raw, err := json.Marshal(args)
	d.must(err)
	_, text = d.rig.do("POST", tools.BasePath+"/tools/"+tool, string(raw), jsonBody, "X-Agent-Key: "+d.bot)
	return text
}

// call calls a tool and gives the id of the approval that it waits for.
func (d *screen) call(tool string, args map[string]any) (approval string) {
	d.Helper()
	text := d.free(tool, args)
	_, approval, ok := strings.Cut(text, `"approval_id":"`)
	if !ok {
		d.Fatalf("%s is answered %s", tool, text)
	}
	approval, _, _ = strings.Cut(approval, `"`)
	return approval
}

func gbp(minor int) map[string]any { return map[string]any{"amount_minor": minor, "currency": "GBP"} }

// refund asks for money to go back to a customer, which can never be fetched back.
func (d *screen) refund(minor int, reason string) (approval string) {
	d.Helper()
	return d.call("dtc_refund_order", map[string]any{"order_no": "71946", "expected_version": 1, "amount": gbp(minor), "cause": "damaged", "notify_customer": true, "reason": reason})
}

// price asks for a new price, which can be undone.
func (d *screen) price(minor int, reason string) (approval string) {
	d.Helper()
	return d.call("dtc_set_prices", map[string]any{"prices": []any{map[string]any{"sku": "40040", "expected_price": gbp(1890), "new_price": gbp(minor)}}, "reason": reason})
}

// campaign asks for a message to be sent to customers.
func (d *screen) campaign(name, subject, body, reason string) (approval string) {
	d.Helper()
	raw, err := json.Marshal(map[string]any{"name": name, "channel": "email", "subject": subject, "body": body})
	d.must(err)
	_, text := d.rig.do("POST", tools.BasePath+"/tools/dtc_create_campaign", string(raw), jsonBody, "X-Agent-Key: "+d.bot)
	found := regexp.MustCompile(`"id":"(cmp_[^"]+)"`).FindStringSubmatch(text)
	if found == nil {
		d.Fatalf("the campaign is answered %s", text)
	}
	return d.call("dtc_send_campaign", map[string]any{"campaign_id": found[1], "expected_version": 1, "expected_recipients": 188, "max_cost": gbp(19), "reason": reason})
}

// stands gives a request as it is, which has to be in a state.
func (d *screen) stands(id string, want approvals.State) (r approvals.Request) {
	d.Helper()
	d.must(d.db.Read(d.Context(), func(tx *store.Tx) (err error) {
		r, err = approvals.Find(tx, d.store, id)
		return err
	}))
	if r.State != want {
		d.Errorf("it is %s, want %s", r.State, want)
	}
	return r
}

// quiet fails when a browser has complained.
func (d *screen) quiet() {
	d.Helper()
	for _, m := range d.console() {
		d.Errorf("in the browser: %s", m)
	}
}

// The story of docs/approvals.md: a card comes while somebody sits there, and is denied from a phone; another is approved without a mouse.
func TestSomebodySitsThereAndDecides(t *testing.T) {
	d := newScreen(t)
	d.enter("Mia Owner")
	d.look("approvals-empty")

	refund := d.refund(1230, "One piece of order 71946 came broken, the customer sent a photo. £12.30 makes it good.")
	d.wait(`document.querySelector("#live [role=status]").textContent === "1 new"`)
	if rows := eval[int](d.tab, `document.querySelectorAll(".card-row").length`); rows != 0 {
		t.Errorf("%d rows moved in by themselves", rows)
	}
	d.look("approvals-announced")
	d.click("#live button", `.card-row[data-id="`+refund+`"]`)
	if at := eval[string](d.tab, "document.activeElement.getAttribute('href')"); at != "/approvals/"+refund {
		t.Errorf("the focus is on %q", at)
	}
	d.look("approvals")

	d.dress("light", 390)
	d.do(chromedp.Click(chromedp.CSS(".card-row a")), chromedp.WaitVisible(chromedp.CSS("#decide")))
	d.live()
	d.look("approval")
	d.dress("light", 390)
	d.do(chromedp.Click(chromedp.CSS(`a[href="#why"]`)), chromedp.WaitVisible(chromedp.CSS("#reason")))
	d.wait(`document.activeElement.id === "reason"`)
	d.look("approval-reason")
	d.dress("light", 390)
	d.do(chromedp.SendKeys(chromedp.CSS("#reason"), "The photo shows another cup"))
	d.click("#deny", ".decided")
	if r := d.stands(refund, approvals.Rejected); r.Votes[0].Reason != "The photo shows another cup" || r.Votes[0].Channel != "web" {
		t.Errorf("on record: %+v", r.Votes)
	}
	d.look("approval-denied")

	campaign := d.campaign("Soap is back", "Soap is back", "Rose Clay soap is back. Write back to opt out.", "The soap is in stock")
	price := d.price(2490, "The supplier charges a third more from December")
	d.dress("light", 1280)
	d.goTo("/approvals")
	d.live()
	d.byKeyboardAlone(campaign)
	d.stands(price, approvals.Pending)
	d.quiet()
}

// byKeyboardAlone goes to a request in the list, approves it, and presses once more, as it cannot be undone.
func (d *screen) byKeyboardAlone(id string) {
	d.Helper()
	for range 10 {
		d.press("j")
		if eval[string](d.tab, "document.activeElement.getAttribute('href')") == "/approvals/"+id {
			break
		}
	}
	d.look("approvals-chosen")
	d.press(kb.Enter)
	d.wait(`document.getElementById("approve") && document.querySelector("#live .is").textContent === "Live"`)
	d.press("a")
	d.stands(id, approvals.Pending)
	if at := eval[string](d.tab, "document.activeElement.id"); at != "approve" {
		d.Fatalf("the focus is on %q", at)
	}
	d.press(kb.Enter)
	d.wait(`document.getElementById("sure")`)
	d.look("approval-sure")
	d.stands(id, approvals.Pending)
	d.press("a", kb.Enter)
	d.wait(`document.querySelector(".decided")`)
	d.stands(id, approvals.Approved)
	d.live()
	d.work()
	d.wait(`document.querySelector(".decided").innerText.includes("is done")`) // as it happens
	d.look("approval-done")
}

func TestAnOpenRequestSaysThatItChangedWhileItWasRead(t *testing.T) {
	d := newScreen(t)
	d.publish(askingTwo)
	d.person("Rob Second")
	d.enter("Mia Owner")
	refund := d.refund(1230, "One piece came broken")
	d.goTo("/approvals/" + refund)
	d.live()
	d.do(chromedp.SendKeys(chromedp.CSS("#reason"), "I am not sure yet"))

	d.votes("Rob Second", refund, "approve")
	d.wait(`document.querySelector("#decide .left").textContent.includes("1 of 2")`)
	if eval[bool](d.tab, `document.getElementById("approve").disabled`) || d.text("#live [role=alert]") != "" {
		t.Error("a vote takes the buttons away")
	}
	d.look("approval-voted")

	d.votes("Rob Second", refund, "withdraw")
	d.wait(`document.querySelector("#decide .left").textContent.includes("0 of 2")`)
	d.votes("Rob Second", refund, "deny")
	d.wait(`document.querySelector("#live [role=alert]").textContent.includes("changed while you read: it is denied")`)
	if !eval[bool](d.tab, `[...document.querySelectorAll("#decide button")].every((b) => b.disabled)`) {
		t.Error("there is something left to press")
	}
	if kept := eval[string](d.tab, `document.getElementById("reason").value`); kept != "I am not sure yet" {
		t.Errorf("what was typed is now %q", kept)
	}
	d.look("approval-changed")
	d.do(chromedp.Click(chromedp.CSS("#live [role=alert] a")), chromedp.WaitVisible(chromedp.CSS(".decided")))
	d.stands(refund, approvals.Rejected)
	d.quiet()
}

// askingTwo asks two people about everything that costs money.
const askingTwo = `language: 1
profiles:
  scoped: {}
  admin: {tools: ["*"], resources: ["*"], ceiling: high}
conditions: permit (principal, action, resource);
approvals:
  - {name: two, classes: [spend], need: {people: 2}}
`

// votes has somebody else decide elsewhere.
func (d *screen) votes(name, id, what string) {
	d.Helper()
	r := d.stands(id, approvals.Pending)
	p, err := d.gate.Authenticate(d.Context(), d.secrets[name], "127.0.0.1")
	d.must(err)
	b := gate.Ballot{ID: id, Decision: approvals.Decision(what), Reason: "my words", Seen: r.BindingHash, Channel: "rest"}
	say := d.gate.Vote
	if what == "withdraw" {
		say = d.gate.Withdraw
	}
	_, err = say(d.Context(), p, b)
	d.must(err)
}

func TestARowThatWasDecidedElsewhereStaysWhereItIs(t *testing.T) {
	d := newScreen(t)
	d.person("Rob Second")
	first, second := d.refund(1230, "One piece came broken"), d.price(2490, "The supplier charges more")
	d.enter("Mia Owner")
	before := eval[string](d.tab, `[...document.querySelectorAll("#inbox .card-row")].map((r) => r.dataset.id + r.getBoundingClientRect().y).join()`)
	d.votes("Rob Second", first, "deny")
	d.wait(`document.querySelector(".card-row.over")?.dataset.id === "` + first + `"`)
	if after := eval[string](d.tab, `[...document.querySelectorAll("#inbox .card-row")].map((r) => r.dataset.id + r.getBoundingClientRect().y).join()`); after != before {
		t.Errorf("the rows moved: %s, %s", before, after)
	}
	d.wait(`document.querySelector("#live .waiting").textContent === "1 waits in all"`)
	d.look("approvals-decided-since")
	d.stands(second, approvals.Pending)
	d.quiet()
}

// Four streams are all that a browser gets. The page then asks by itself, says since when, and listens again when it can.
func TestAPageWithoutAStreamAsksByItself(t *testing.T) {
	d := newScreen(t)
	d.enter("Mia Owner")
	d.do(chromedp.Navigate("about:blank"))
	var others []*stream
	for range 4 {
		others = append(others, d.rig.stream("", d.session()))
	}
	d.goTo("/approvals")
	d.wait(`/^Not live since \d\d:\d\d( [AP]M)?, retrying$/.test(document.querySelector("#live .is").textContent)`)
	d.look("approvals-not-live")
	d.refund(1230, "One piece came broken")
	d.wait(`document.querySelector("#live [role=status]").textContent === "1 new"`)
	for _, s := range others {
		s.leave()
	}
	d.live()
	d.look("approvals-live-again")
}

// session is the header with the browser's cookie.
func (d *screen) session() string {
	d.Helper()
	all, err := chromedp.Call(d.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{d.base}})
	d.must(err)
	for _, c := range all.Cookies {
		if c.Name == sessionCookie {
			return "Cookie: " + c.Name + "=" + c.Value
		}
	}
	d.Fatal("nobody is signed in")
	return ""
}

func TestAPageSaysThatItsPersonIsSignedOut(t *testing.T) {
	d := newScreen(t)
	refund := d.refund(1230, "One piece came broken")
	d.enter("Mia Owner")
	d.goTo("/approvals/" + refund)
	d.live()
	session := d.session()
	if resp, text := d.once("POST", "/me/sign-out", "", session, "Content-Type: application/x-www-form-urlencoded"); resp.StatusCode >= 400 {
		t.Fatal(text)
	}
	d.wait(`document.querySelector("#live [role=alert]").textContent.includes("not signed in any more")`)
	d.look("approval-signed-out")
	if !eval[bool](d.tab, `document.getElementById("approve").disabled`) {
		t.Error("there is something left to press")
	}
}

func TestKeysCanBeSwitchedOffAndNoneDecides(t *testing.T) {
	d := newScreen(t)
	refund := d.refund(1230, "One piece came broken")
	d.enter("Mia Owner")
	d.press("g", "j")
	d.wait(`location.pathname === "/jobs" && document.querySelector("#live .is")?.textContent === "Live"`)
	d.look("jobs-waiting")
	d.press("g", "u")
	d.wait(`location.pathname === "/me" && document.getElementById("keys")`)
	d.press("g", "a")
	d.wait(`location.pathname === "/approvals" && document.getElementById("keys")`)
	d.press("/")
	if at := eval[string](d.tab, "document.activeElement.name"); at != "class" {
		t.Errorf("the focus is on %q", at)
	}
	eval[any](d.tab, "document.activeElement.blur(), null")
	d.press("?")
	d.wait(`document.querySelector("dialog").open`)
	d.look("keys")
	d.press("a", "d", "j") // in the dialog they are letters
	d.press(kb.Escape)
	d.wait(`!document.querySelector("dialog").open`)

	d.goTo("/approvals/" + refund)
	d.live()
	for _, key := range strings.Split("abcdefghijklmnopqrstuvwxyz/y", "") {
		if key != "g" { // it leads away with the next one
			d.press(key)
		}
		eval[any](d.tab, "document.activeElement.blur(), null")
	}
	d.stands(refund, approvals.Pending)
	d.press("d")
	if at := eval[string](d.tab, "document.activeElement.id"); at != "reason" {
		t.Errorf("the focus is on %q", at)
	}
	d.press("a", "d")
	if typed := eval[string](d.tab, `document.getElementById("reason").value`); !strings.HasSuffix(typed, "ad") {
		t.Errorf("typed is %q", typed)
	}

	d.do(chromedp.Click(chromedp.CSS("#keys")), chromedp.Click(chromedp.CSS("#keys-on")), chromedp.Click(chromedp.CSS("dialog button")))
	d.goTo("/approvals/" + refund)
	d.live()
	d.press("a", "d", "?")
	if eval[bool](d.tab, `document.activeElement !== document.body || document.querySelector("dialog").open`) {
		t.Error("a key that is switched off does something")
	}
	d.quiet()
}

// hostileText is what an agent, or whoever wrote what the agent read, may try: markup, a script, a link, and characters that turn the order round.
const hostileText = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script><b>bold</b> [approve](https://evil.example/a) https://evil.example/b ` +
	"javascript:alert(1) {{.Token}} \u202eexe.otohp\u202c \u2066hidden\u2069 \u05d0\u05d1\u05d2 </textarea></main><h1>Approved by the owner</h1> photo.jpg"

func TestWhatIsPlantedInTheAgentsTextsDoesNothing(t *testing.T) {
	d := newScreen(t)
	d.bot = d.mint("bot <b>x</b> \u202etob https://evil.example", true, "marketing:read", "marketing:write", "marketing:send", "orders:read", "orders:refund")
	cards := map[string]string{
		"reason":   d.refund(1230, hostileText),
		"campaign": d.campaign("Sale <b>x</b> https://evil.example <script>window.pwned=1</script>", "Sale <i>y</i> https://evil.example", hostileText+" Write back to opt out.", "A sale before the holidays"),
	}
	d.enter("Mia Owner")
	d.harmless("the list")
	d.look("planted-approvals")
	d.goTo("/jobs")
	d.live()
	d.harmless("the jobs")
	d.look("planted-jobs")
	for name, id := range cards {
		d.goTo("/approvals/" + id)
		d.wait(`document.getElementById("decide")`)
		eval[any](d.tab, `document.querySelectorAll("details").forEach((e) => e.open = true), null`)
		d.harmless("the " + name)
		d.look("planted-" + name)
	}
	d.quiet()
}

// harmless asks whether the page is ours alone: nothing of what was planted is an element, a link or a script, or turns the order of what is read.
func (d *screen) harmless(page string) {
	d.Helper()
	for what, expression := range map[string]string{
		"a script ran":            `window.pwned === undefined`,
		"an element was made":     `document.querySelector("main img, main script, main b, main i, main iframe, main h1 ~ main, main h1 + h1") === null`,
		"a second heading":        `document.querySelectorAll("h1").length === 1 && !document.querySelector("h1").innerText.startsWith("Approved by")`,
		"a link leads away":       `[...document.links].every((a) => a.origin === location.origin)`,
		"the order may be turned": `!/[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/.test(document.documentElement.textContent + document.title)`,
		"the order is turned": `(() => {
			for (const walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT); walk.nextNode();) {
				const at = walk.currentNode.data.indexOf("photo.jpg");
				if (at < 0 || !walk.currentNode.parentElement.checkVisibility()) continue;
				const xs = [...Array(9).keys()].map((i) => { const r = document.createRange(); r.setStart(walk.currentNode, at + i); r.setEnd(walk.currentNode, at + i + 1); const b = r.getBoundingClientRect(); return [b.y, b.x]; });
				if (xs.some(([y, x], i) => i && y === xs[i - 1][0] && x <= xs[i - 1][1])) return false;
			}
			return true;
		})()`,
	} {
		if !eval[bool](d.tab, expression) {
			d.Errorf("on %s: %s", page, what)
		}
	}
}
