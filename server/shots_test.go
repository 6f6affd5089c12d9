package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

func TestShots(t *testing.T) {
	dir := os.Getenv("DTCGATE_SCREENSHOTS")
	if dir == "" {
		t.Skip()
	}
	_ = storetest.New
	p := newTab(t)
	registry := tools.NewRegistry(dtc.Tools()...)
	demo := copyOf(t, demoShop(t))
	g := newRig(t, demo, registry)
	demo.Now = storyTime()
	g.server.public = "http://localhost" + g.url[len("http://127.0.0.1"):]
	p.rig, p.base = g, g.server.public
	scene(g)
	shoot := func(page string) {
		for _, l := range looks {
			_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}},
			})
			p.must(err)
			p.do(chromedp.EmulateViewport(l.width, 800))
			if wide := eval[int64](p, "document.documentElement.scrollWidth"); wide > l.width {
				t.Errorf("%s is %d px wide at %d", page, wide, l.width)
			}
			picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
			p.must(err)
			p.must(os.WriteFile(filepath.Join(dir, page+"-"+l.name+".png"), picture, 0o600))
		}
	}
	p.goTo(p.link("Mia Owner"))
	p.click("main button", "main h1")
	shoot("inbox")
	p.do(chromedp.Click(chromedp.CSS("#inbox a")), chromedp.WaitVisible(chromedp.CSS("#approve")))
	shoot("card")
	p.click("#approve", "#sure")
	shoot("after-approve")
	p.goTo("/jobs")
	shoot("jobs")
	t.Log(p.console())
}

// scene parks a few requests of the demo shop.
func scene(g *rig) {
	g.Helper()
	key := g.mint("growth-bot", true, "orders:read", "orders:refund", "catalog:read", "pricing:write", "marketing:read", "marketing:write", "marketing:send", "customers:read")
	g.person("Mia Owner")
	ask := func(tool, args string) string {
		_, text := g.do("POST", tools.BasePath+"/tools/"+tool, args, jsonBody, "X-Agent-Key: "+key)
		g.Log(tool, text)
		return text
	}
	ask("dtc_refund_order", `{"order_no":"71946","expected_version":1,"amount":{"amount_minor":1230,"currency":"GBP"},"cause":"damaged","notify_customer":true,"idempotency_key":"broken-71946","reason":"One piece came broken, the customer sent a photo. <b>See</b> https://evil.example/\u202ephoto"}`)
	ask("dtc_set_prices", `{"prices":[{"sku":"40040","expected_price":{"amount_minor":1890,"currency":"GBP"},"new_price":{"amount_minor":2490,"currency":"GBP"}}],"idempotency_key":"cups-up","reason":"The supplier charges a third more from December"}`)
	text := ask("dtc_create_campaign", `{"name":"Soap is back","channel":"email","subject":"Soap is back","body":"Rose Clay soap is back. Write back to opt out."}`)
	_, id, _ := strings.Cut(text, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	ask("dtc_send_campaign", `{"campaign_id":"`+id+`","expected_version":1,"expected_recipients":188,"max_cost":{"amount_minor":19,"currency":"GBP"},"idempotency_key":"soap","reason":"The soap is in stock"}`)
}
