package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A connecting is a rig with a vault and one provider.
type connecting struct {
	*rig
	challenge string // of the code that is given next
	told      atomic.Int64
}

func newConnecting(t *testing.T, db *store.DB) *connecting {
	g := &connecting{rig: newRig(t, db, fakes)}
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if r.URL.Path == "/revoke" {
			g.told.Add(1)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if r.PostFormValue("code") != "PLANTED-code" || base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		fmt.Fprint(w, `{"access_token":"PLANTED-access","refresh_token":"PLANTED-refresh","token_type":"Bearer","expires_in":3600}`)
	}))
	t.Cleanup(provider.Close)
	keys, err := vault.OpenKeys("", t.TempDir()+"/vault.key")
	g.must(err)
	v, err := vault.New(vault.Config{DB: db, Keys: keys, PublicURL: "https://gate.example", Providers: []vault.Provider{{
		Name: "acme", Title: "Acme", AuthorizeURL: provider.URL + "/authorize", TokenURL: provider.URL + "/token", RevokeURL: provider.URL + "/revoke",
		ClientID: "c", Auth: "none", AllowPrivate: true,
	}}})
	g.must(err)
	g.server, err = New(Config{Gate: g.gate, Tools: fakes, DB: db, Log: g.server.log, Version: "test", Vault: v})
	g.must(err)
	return g
}

// someone is a person with a role, signed in.
func (g *connecting) someone(merchant, name, role string) (p auth.Principal) {
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, merchant)
		if err != nil {
			return err
		}
		added, _, err := auth.AddPerson(tx, m.ID, name, role)
		if err != nil {
			return err
		}
		link, _, err := auth.MintLink(tx, m.ID, added.ID, 0)
		if err != nil {
			return err
		}
		proof, err := auth.ProveByLink(tx, link)
		if err != nil {
			return err
		}
		_, secret, err := auth.StartSession(tx, proof, "", "")
		if err == nil {
			p, _, err = auth.AuthenticateSession(tx, secret)
		}
		return err
	}))
	return p
}

// as has a handler answer a request of a principal.
func (g *connecting) as(p auth.Principal, h http.HandlerFunc, method, address string, values map[string]string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, address, nil)
	for name, value := range values {
		r.SetPathValue(name, value)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, &visit{principal: p, source: "192.0.2.1", ctx: r.Context()})))
	return w
}

var acme = map[string]string{"provider": "acme"}

// begin sends a person to the provider, and gives the state that comes back.
func (g *connecting) begin(p auth.Principal) string {
	w := g.as(p, g.server.beginConnection, "GET", "/connect/acme", acme)
	to, err := url.Parse(w.Header().Get("Location"))
	if w.Code != http.StatusSeeOther || err != nil || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
		g.Fatalf("%d to %v, %v", w.Code, to, w.Header())
	}
	q := to.Query()
	g.challenge = q.Get("code_challenge")
	if q.Get("redirect_uri") != "https://gate.example/connect/acme/callback" {
		g.Errorf("people come back to %s", q.Get("redirect_uri"))
	}
	return q.Get("state")
}

func TestAPersonConnectsWithABrowserAndAnAdminEndsIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newConnecting(t, db)
		ann, admin := g.someone(rigMerchant, "ann", "marketing"), g.someone(rigMerchant, "root", "admin")
		state := g.begin(ann)
		back := "/connect/acme/callback?code=PLANTED-code&state=" + state
		w := g.as(ann, g.server.finishConnection, "GET", back, acme)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"state":"connected"`) || strings.Contains(w.Body.String(), "PLANTED") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w := g.as(ann, g.server.finishConnection, "GET", back, acme); w.Code != http.StatusBadRequest {
			t.Errorf("once more: %d %s", w.Code, w.Body)
		}

		if w := g.as(ann, g.server.listOffers, "GET", "/connect", nil); !strings.Contains(w.Body.String(), `"name":"acme","title":"Acme","connection":{"id":"con_`) {
			t.Errorf("offered: %s", w.Body)
		}
		list := func(p auth.Principal) string {
			return g.as(p, g.server.listConnections, "GET", connectionsPath, nil).Body.String()
		}
		id := list(admin)[strings.Index(list(admin), "con_"):][:30]
		foreign, bob := g.someone("Other shop", "eve", "admin"), g.someone(rigMerchant, "bob", "manager")
		for name, p := range map[string]auth.Principal{"another merchant's admin": foreign, "a colleague": bob} {
			if strings.Contains(list(p), "con_") {
				t.Errorf("%s sees it", name)
			}
		}
		end := func(p auth.Principal) int {
			return g.as(p, g.server.endConnection, "DELETE", connectionsPath+"/"+id, map[string]string{"id": id}).Code
		}
		if foreign, own := end(foreign), end(ann); foreign != http.StatusNotFound || own != http.StatusForbidden {
			t.Errorf("ended by another merchant's admin: %d, by somebody without keys:admin: %d", foreign, own)
		}
		if end(admin) != http.StatusOK || end(admin) != http.StatusNotFound || g.told.Load() != 1 {
			t.Errorf("an admin could not end it once, or the provider was told %d times", g.told.Load())
		}
		events := ""
		for _, e := range g.entries() {
			events += e.Event + " " + e.Actor + "\n"
		}
		for _, want := range []string{"connection.made person:" + ann.ID, "connection.refused person:" + ann.ID, "connection.revoked.refused person:" + ann.ID, "connection.revoked person:" + admin.ID} {
			if !strings.Contains(events, want) {
				t.Errorf("not on record: %s\n%s", want, events)
			}
		}
		if strings.Contains(g.log.String(), "PLANTED") || strings.Contains(g.log.String(), state) {
			t.Error("the log has a secret")
		}
	})
}

func TestConnectingIsRefused(t *testing.T) {
	g := newConnecting(t, storetest.New(t, "sqlite"))
	ann := g.someone(rigMerchant, "ann", "marketing")
	token := ann
	token.Session = ""
	state := g.begin(ann)
	for _, c := range []struct {
		name    string
		p       auth.Principal
		h       http.HandlerFunc
		method  string
		address string
		headers []string
		status  int
	}{
		{"begun by another site", ann, g.server.beginConnection, "GET", "/connect/acme", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"begun by a neighbour", ann, g.server.beginConnection, "GET", "/connect/acme", []string{"Sec-Fetch-Site: same-site"}, 403},
		{"looked at by a mail scanner", ann, g.server.beginConnection, "HEAD", "/connect/acme", nil, 405},
		{"a person's token", token, g.server.beginConnection, "GET", "/connect/acme", nil, 403},
		{"an agent", auth.Principal{Kind: auth.KindKey, ID: "key_1", Merchant: ann.Merchant}, g.server.beginConnection, "GET", "/connect/acme", nil, 403},
		{"two states", ann, g.server.finishConnection, "GET", "/connect/acme/callback?code=a&state=" + state + "&state=b", nil, 400},
		{"two codes", ann, g.server.finishConnection, "GET", "/connect/acme/callback?code=a&code=b&state=" + state, nil, 400},
		{"a query that cannot be read", ann, g.server.finishConnection, "GET", "/connect/acme/callback?code=%zz", nil, 400},
		{"looked at, coming back", ann, g.server.finishConnection, "HEAD", "/connect/acme/callback?code=a&state=" + state, nil, 405},
		{"nothing brought back", ann, g.server.finishConnection, "GET", "/connect/acme/callback", nil, 400},
		{"an issuer nobody expects", ann, g.server.finishConnection, "GET", "/connect/acme/callback?code=PLANTED-code&iss=https://evil.example&state=" + state, nil, 400},
		{"the same, used up", ann, g.server.finishConnection, "GET", "/connect/acme/callback?code=PLANTED-code&state=" + state, nil, 400},
	} {
		w := g.as(c.p, c.h, c.method, c.address, acme, c.headers...)
		if w.Code != c.status || strings.Contains(w.Body.String(), "evil") {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	if w := g.as(ann, g.server.beginConnection, "GET", "/connect/x", map[string]string{"provider": "x"}); w.Code != http.StatusNotFound {
		t.Errorf("no such provider: %d", w.Code)
	}
}

// Whoever finds a session open does not put an account of their own in the place of the person's.
func TestConnectingTakesAConfirmationThatIsRecent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g, now := newConnecting(t, db), time.Now()
		db.Now = func() time.Time { return now }
		p := g.someone("demo", "mia", "manager")
		g.begin(p)
		now = now.Add(auth.StepUpTime + time.Second)
		w := g.as(p, g.server.beginConnection, "GET", "/connect/acme", acme)
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "STEP_UP_REQUIRED") || w.Header().Get("Location") != "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
