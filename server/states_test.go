package server

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
)

// The states of the pages that the stories in approver_test.go do not come by.

func TestPagesOfWhatWaits(t *testing.T) {
	d := newScreen(t)
	refund := d.refund(1230, "Refund £13.20 for the broken piece of order 71946")
	price := d.price(2490, "The supplier charges more")
	d.enter("Mia Owner")
	d.goTo("/approvals?class=destructive")
	d.live()
	d.look("approvals-narrowed")
	d.goTo("/approvals/" + refund)
	d.live()
	d.look("approval-contradicted")
	d.click("#approve", ".problem")
	d.look("approval-not-acknowledged")
	if at := eval[bool](d.tab, `document.activeElement.matches(".problem")`); !at {
		t.Error("what went wrong does not have the focus")
	}
	d.goTo("/approvals/" + price)
	d.live()
	d.click("#deny", ".problem")
	d.look("approval-without-reason")
	eval[any](d.tab, `document.querySelector("#vote [name=seen_sha256]").value = "ab".repeat(32), null`)
	d.do(chromedp.SendKeys(chromedp.CSS("#reason"), "Too dear"))
	d.click("#deny", "#read")
	d.look("approval-stale")
	d.moment.pass(auth.StepUpTime + time.Minute)
	d.goTo("/approvals/" + refund)
	d.live()
	d.look("approval-step-up")
	d.goTo("/approvals/apr_01M825B7TDE2HSYV6DMYTBD34T")
	d.look("approval-unknown")
	d.moment.pass(25 * time.Hour)
	d.must(d.gate.Sweep(t.Context()))
	d.goTo(d.link("Mia Owner")) // the session was idle for too long
	d.click("main button", signOutButton)
	d.goTo("/approvals/" + refund)
	d.live()
	d.stands(refund, approvals.Expired)
	d.look("approval-lapsed")
}

func TestPagesOfWhatWasDone(t *testing.T) {
	d := newScreen(t)
	kept, changed := d.price(2490, "The supplier charges more"), ""
	d.enter("Mia Owner")
	d.approve(kept)
	d.work()
	d.wait(`document.getElementById("undo")`)
	d.look("approval-undoable")
	d.do(chromedp.Click(chromedp.CSS("#undo")))
	d.wait(`!document.getElementById("undo")`)
	d.work()
	d.goTo("/approvals/" + kept)
	d.look("approval-undone")

	changed = d.price(2590, "The supplier charges more")
	d.approve(changed)
	d.bot = d.mint("free-bot", false, "catalog:read", "pricing:write")
	d.free("dtc_set_prices", map[string]any{"prices": []any{map[string]any{"sku": "40040", "expected_price": gbp(1890), "new_price": gbp(1900)}}, "reason": "The other bot was first"})
	d.work()
	d.goTo("/approvals/" + changed)
	d.stands(changed, approvals.Invalidated)
	d.look("approval-invalidated")
	d.goTo("/jobs")
	d.live()
	d.look("jobs")
	d.do(chromedp.Click(chromedp.CSS(".job-row a")), chromedp.WaitVisible(chromedp.CSS(".job-now")))
	d.live()
	d.look("job")
	d.goTo("/approvals")
	d.live()
	d.look("approvals-decided")
	d.quiet()
}

// approve presses what approves a request that can be undone.
func (d *screen) approve(id string) {
	d.Helper()
	d.goTo("/approvals/" + id)
	d.live()
	d.click("#approve", ".decided")
	d.stands(id, approvals.Approved)
	d.live()
}

func TestPagesOfWhoMayNotDecideAlone(t *testing.T) {
	d := newScreen(t)
	d.publish(strings.Replace(askingTwo, "people: 2", "people: 2, override: true", 1))
	d.role("reader", auth.ApprovalsRead)
	d.role("nobody", auth.PolicyAdmin)
	d.role("boss", auth.ApprovalsRead, auth.ApprovalsResolve, auth.ApprovalsOverride, auth.KeysAdmin)
	d.person("Ned Nobody", "nobody")
	d.person("Rea Reader", "reader")
	d.person("Bo Boss", "boss")
	refund := d.refund(1230, "One piece came broken")

	d.goTo(d.link("Ned Nobody"))
	d.click("main button", signOutButton)
	d.goTo("/approvals")
	d.look("approvals-forbidden")
	d.enter("Rea Reader")
	d.look("approvals-of-others")
	d.goTo("/approvals/" + refund)
	d.live()
	d.look("approval-of-others")
	d.enter("Mia Owner")
	d.goTo("/approvals/" + refund)
	d.live()
	d.click("#approve", "#sure")
	d.click("#sure", "#withdraw")
	d.live()
	d.look("approval-said")
	d.enter("Bo Boss")
	d.goTo("/approvals/" + refund)
	d.live()
	eval[any](d.tab, `document.querySelectorAll("details").forEach((e) => e.open = true), null`)
	d.look("approval-override")
	d.do(chromedp.SendKeys(chromedp.CSS("#reason"), "Nobody else can be reached"))
	d.click("#override", "#sure")
	d.look("approval-override-sure")
	d.goTo("/approvals/" + refund)
	d.live()
	d.do(chromedp.Click(chromedp.CSS("summary")), chromedp.WaitVisible(chromedp.CSS("#cancel")))
	d.click("#cancel", ".decided")
	d.stands(refund, approvals.Cancelled)
	d.look("approval-cancelled")
}

func TestAPageWithoutScriptsStillDecides(t *testing.T) {
	d := newScreen(t)
	refund := d.refund(1230, "One piece came broken")
	price := d.price(2490, "The supplier charges more")
	campaign := d.campaign("Soap is back", "Soap is back", "Rose Clay soap is back. Write back to opt out.", "The soap is in stock")
	d.goTo(d.link("Mia Owner"))
	d.click("main button", signOutButton)
	_, err := chromedp.Call(d.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	d.must(err)
	d.goTo("/approvals")
	d.shoot("no-scripts-approvals")
	d.dress("light", 390)
	d.do(chromedp.Click(chromedp.CSS(`.card-row[data-id="`+refund+`"] a`)), chromedp.WaitVisible(chromedp.CSS("#decide")))
	d.do(chromedp.Click(chromedp.CSS(`a[href="#why"]`)), chromedp.WaitVisible(chromedp.CSS("#deny")))
	d.do(chromedp.SendKeys(chromedp.CSS("#reason"), "The photo shows another cup"))
	d.click("#deny", ".decided")
	if r := d.stands(refund, approvals.Rejected); r.Votes[0].Reason != "The photo shows another cup" {
		t.Errorf("on record: %+v", r.Votes)
	}
	d.shoot("no-scripts-denied")
	d.goTo("/approvals/" + campaign)
	d.click("#approve", "#sure")
	d.stands(campaign, approvals.Pending)
	d.click("#sure", ".decided")
	d.stands(campaign, approvals.Approved)
	d.dress("light", 1280)
	d.goTo("/approvals/" + price)
	d.click("#deny", ".problem") // without a reason
	d.stands(price, approvals.Pending)
	for _, m := range d.console() {
		if !strings.Contains(m, "400") { // of the denial without a reason
			t.Errorf("in the browser: %s", m)
		}
	}
}
