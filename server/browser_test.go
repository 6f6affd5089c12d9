package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// browsers are the names of Chromium, and of what is as good. .ci/browser gets one.
var browsers = []string{"chromium", "chromium-browser", "google-chrome"}

// A tab is a page in a real browser, on a rig.
type tab struct {
	*rig
	ctx     context.Context
	base    string // of the rig, under a name that may have passkeys
	moment  *moment
	console func() []string // what went wrong in it: errors, and what the policy of the page stopped
}

// moment is a clock that can be put forward.
type moment struct {
	clock func() time.Time // the real one where it is nil
	mu    sync.Mutex
	ahead time.Duration
}

func (m *moment) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.clock != nil {
		return m.clock().Add(m.ahead)
	}
	return time.Now().Add(m.ahead)
}

func (m *moment) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead += d
}

// newTab is a tab on a rig with the fake tools.
func newTab(t *testing.T) *tab {
	t.Helper()
	db := storetest.New(t, "sqlite")
	m := &moment{}
	db.Now = m.now
	return newTabOn(t, newRig(t, db, fakes), m)
}

// newTabOn is a tab on g, whose clock is m.
func newTabOn(t *testing.T, g *rig, m *moment) *tab {
	t.Helper()
	at := slices.IndexFunc(browsers, func(name string) bool { _, err := exec.LookPath(name); return err == nil })
	if at < 0 && os.Getenv("CI") != "" {
		t.Fatal("there is no Chromium; .ci/browser installs it")
	}
	if at < 0 {
		t.Skip("there is no Chromium, so what people see is not tested; .ci/browser installs it")
	}
	g.server.public = strings.Replace(g.url, "127.0.0.1", "localhost", 1)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browsers[at]),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox does not work for root
	}
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	p := &tab{rig: g, ctx: ctx, base: g.server.public, moment: m}
	p.do(chromedp.Navigate("about:blank"))
	p.console = listen(ctx)
	return p
}

// listen collects errors and warnings of a tab.
func listen(ctx context.Context) func() []string {
	var mu sync.Mutex
	var said []string
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			mu.Lock()
			said = append(said, fmt.Sprint(m.Type, ": ", m.Text))
			mu.Unlock()
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(said)
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		text, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("location.href + ' ' + document.body.innerText"))
		p.Fatalf("%v; the page is %s; console: %v", err, text, p.console())
	}
}

func eval[T any](p *tab, expression string) T {
	p.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	p.must(err)
	return v
}

// goTo opens a page and waits for it.
func (p *tab) goTo(path string) { p.Helper(); p.do(chromedp.Navigate(p.base + path)) }

// click presses what has the selector and waits for what the next page has.
func (p *tab) click(selector, then string) {
	p.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector)), chromedp.WaitVisible(chromedp.CSS(then)))
}

// link makes a one-time link for a person and gives its path.
func (g *rig) link(name string) string {
	g.Helper()
	var secret string
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) (err error) {
		secret, _, err = auth.MintLink(tx, g.store, g.ids[name], 0)
		return err
	}))
	return "/sign-in/link#" + secret
}

// authenticator plugs in a device that holds passkeys and always says yes.
func (p *tab) authenticator() webauthn.AuthenticatorID {
	p.Helper()
	_, err := chromedp.Call(p.ctx, webauthn.Enable, webauthn.EnableParams{})
	p.must(err)
	device, err := chromedp.Call(p.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		},
	})
	p.must(err)
	return device.AuthenticatorID
}

const (
	signOutButton = `form[action="/me/sign-out"] button`
	ownAccount    = `main h2`
)

func TestAPersonSignsInByLinkAndThenByPasskey(t *testing.T) {
	p := newTab(t)
	p.person("Mia Owner")
	device := p.authenticator()
	p.goTo(p.link("Mia Owner"))
	if address := eval[string](p, "location.href"); strings.Contains(address, "sq_lnk_") {
		t.Errorf("the code stays in the address: %s", address)
	}
	p.click("main button", ".top nav")
	p.goTo("/me")
	if cookies := eval[string](p, "document.cookie"); cookies != "" {
		t.Errorf("scripts can read %q", cookies)
	}
	p.click(`form[data-passkey=add] button`, `form[action*="/remove"]`)
	p.click(signOutButton, `button[data-passkey]`)
	p.goTo("/me")
	if at := eval[string](p, "location.pathname + location.search"); at != "/sign-in?next=/me" {
		t.Errorf("signed out, the account leads to %s", at)
	}
	p.click(`button[data-passkey]`, ownAccount)

	// Later the person has to show once more that it is them.
	p.moment.pass(auth.StepUpTime + time.Minute)
	p.goTo("/me")
	p.click(`button[data-passkey=sign-in]`, `form[data-passkey=add]`)

	// Somebody who has copied the key is found out by its counter.
	p.click(signOutButton, `button[data-passkey]`)
	p.rewind(device)
	p.click(`button[data-passkey]`, `.problem`)
	if text := eval[string](p, "document.querySelector('.problem').textContent"); !strings.Contains(text, "You are not signed in") {
		t.Errorf("a copied passkey: %s", text)
	}
	p.refusedFor("cloned")
	for _, m := range p.console() {
		if !strings.Contains(m, "401") { // of the copied key
			t.Errorf("in the browser: %s", m)
		}
	}
}

// addCredential is webauthn.AddCredential without the members that Debian's Chromium does not know yet.
var addCredential = cdp.Command[map[string]any, cdp.Empty]{Method: webauthn.CommandAddCredential}

// rewind sets the counter of a device's only key back, as a copy of it would have it.
func (p *tab) rewind(device webauthn.AuthenticatorID) {
	p.Helper()
	keys, err := chromedp.Call(p.ctx, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: device})
	p.must(err)
	key := keys.Credentials[0]
	_, err = chromedp.Call(p.ctx, webauthn.RemoveCredential, webauthn.RemoveCredentialParams{AuthenticatorID: device, CredentialID: key.CredentialID})
	p.must(err)
	_, err = chromedp.Call(p.ctx, addCredential, map[string]any{"authenticatorId": device, "credential": map[string]any{
		"credentialId": key.CredentialID, "isResidentCredential": true, "rpId": key.RpID, "privateKey": key.PrivateKey,
		"userHandle": key.UserHandle, "signCount": 0,
	}})
	p.must(err)
}

// refusedFor looks for a refusal with that reason on record.
func (g *rig) refusedFor(why string) {
	g.Helper()
	for _, e := range g.entries() {
		if e.Event == "auth.refused" && e.Reason == why {
			return
		}
	}
	g.Errorf("no refusal for %q is on record", why)
}

func TestPagesOfAnAccount(t *testing.T) {
	p := newTab(t)
	p.person("Mia Owner")
	p.authenticator()
	a := p.album()
	p.goTo("/sign-in")
	a.look("sign-in")
	p.goTo("/sign-in/link")
	a.look("link-by-hand")
	p.goTo("/sign-in")
	p.goTo(p.link("Mia Owner"))
	a.look("link")
	p.click("main button", signOutButton)
	p.goTo("/me")
	a.look("me-new")
	p.click(`form[data-passkey=add] button`, `form[action*="/remove"]`)
	a.look("me")
	p.moment.pass(auth.StepUpTime + time.Minute)
	p.goTo("/me")
	a.look("me-later")
	p.goTo("/sign-in/link")
	p.do(chromedp.SendKeys(chromedp.CSS("#code"), "sq_lnk_wrong"))
	p.click("main button", ".problem")
	a.look("refused")
}
