package server

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// looks are the widths and colours in which every page and state is checked, and photographed for eyes: DTCGATE_SCREENSHOTS names the folder.
var looks = []struct {
	name, scheme string
	width        int64
}{{"wide-light", "light", 1280}, {"wide-dark", "dark", 1280}, {"phone-light", "light", 390}, {"phone-dark", "dark", 390}}

// axe is axe-core, a checker of what machines can find of WCAG.
var axe = sync.OnceValues(func() (string, error) {
	raw, err := os.ReadFile("testdata/axe-core/axe.min.js")
	return string(raw), err
})

// axeRules are the rules that are checked: WCAG 2.2, A and AA, with all before it, and what axe-core itself advises. It gives what does not
// hold, with where.
const axeRules = `axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
	.then(({violations}) => violations.map(({id, help, nodes}) => id + ": " + help + ": " + nodes.map((n) => n.html + " " + n.failureSummary).join("; ")))`

// An album is where a test keeps its pictures.
type album struct {
	*tab
	dir string
}

func (p *tab) album() album {
	p.Helper()
	dir := os.Getenv("DTCGATE_SCREENSHOTS")
	if dir == "" {
		dir = p.TempDir()
	}
	return album{p, dir}
}

// look checks the page as it is now in all looks: it fits, axe-core has nothing to say, and there is a picture of it.
func (a album) look(state string) {
	a.Helper()
	for !eval[bool](a.tab, `document.readyState === "complete"`) { // else there may be nothing to see yet
		time.Sleep(10 * time.Millisecond)
	}
	for _, l := range looks {
		a.dress(l.scheme, l.width)
		if wide := eval[int64](a.tab, "document.documentElement.scrollWidth"); wide > l.width {
			a.Errorf("%s is %d px wide at %d", state, wide, l.width)
		}
		for _, problem := range a.violations() {
			a.Errorf("%s, %s: %s", state, l.name, problem)
		}
		a.shoot(state + "-" + l.name)
	}
	a.dress("light", 1280)
}

// dress sets the colours and the width.
func (p *tab) dress(scheme string, width int64) {
	p.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	p.must(err)
	p.do(chromedp.EmulateViewport(width, 844))
}

func (p *tab) violations() []string {
	p.Helper()
	source, err := axe()
	p.must(err)
	if eval[string](p, "typeof axe") == "undefined" {
		_, err = chromedp.Run(p.ctx, chromedp.Evaluate[any](source+"; null"))
		p.must(err)
	}
	found, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]string](axeRules, chromedp.EvalAwaitPromise))
	p.must(err)
	return found
}

// shoot keeps a picture of the whole page.
func (a album) shoot(name string) {
	a.Helper()
	picture, err := chromedp.Run(a.ctx, chromedp.FullScreenshot(100))
	a.must(err)
	a.must(os.WriteFile(filepath.Join(a.dir, name+".png"), picture, 0o600))
}

// A checker that finds nothing anywhere would be worth nothing.
func TestAxeFindsWhatIsWrong(t *testing.T) {
	p := newTab(t)
	p.goTo("/sign-in")
	eval[any](p, `document.querySelector("main").insertAdjacentHTML("beforeend", "<img src='/web/people.css'><input><p style='color:#999;background:#aaa'>x</p>"), null`)
	found := strings.Join(p.violations(), "\n")
	for _, rule := range []string{"image-alt", "label"} {
		if !strings.Contains(found, rule+": ") {
			t.Errorf("%s is not found: %s", rule, found)
		}
	}
}
