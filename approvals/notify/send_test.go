package notify

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

func TestARequestIsToldUntilItsEnd(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL)
		q := r.asked()
		if n := r.sendAll(); n != 1 {
			t.Fatalf("%d messages after the request", n)
		}
		r.cancel(q)
		if n := r.sendAll(); n != 2 {
			t.Fatalf("%d messages after its end", n)
		}
		got := map[string]delivery{} // between a request and its job there is no order
		for _, d := range r.receiver.deliveries() {
			got[d.kind] = d
		}
		for kind, want := range map[string]struct{ state, status, url string }{
			approvals.MessageRequested:  {"pending", "", "https://gate.example/approvals/" + q.ID},
			approvals.MessageResolved:   {"cancelled", "", "https://gate.example/approvals/" + q.ID},
			approvals.MessageJobUpdated: {"", "cancelled", "https://gate.example/jobs/" + q.JobID},
		} {
			if d := got[kind].data; d.State != want.state || d.Status != want.status || d.URL != want.url {
				t.Errorf("%s is %s, want %+v", kind, got[kind].body, want)
			}
		}
		if n := r.recorded("channel.sent"); n != 3 {
			t.Errorf("%d messages are on record", n)
		}
	})
}

func TestAFreezeIsToldAndSoIsItsLift(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL)
		var f auth.Freeze
		r.tx(func(tx *store.Tx) (err error) {
			if f, _, err = auth.BeginFreeze(tx, auth.Freeze{Merchant: r.merchant, Reason: "Ann Customer", By: "operator:cli"}); err != nil {
				return err
			}
			return approvals.AnnounceFreeze(tx, f)
		})
		r.sendAll()
		r.tx(func(tx *store.Tx) (err error) {
			if f, err = auth.LiftFreeze(tx, r.merchant, f.ID, "operator:cli", "over"); err != nil {
				return err
			}
			return approvals.AnnounceFreeze(tx, f)
		})
		r.sendAll()
		got := r.receiver.deliveries()
		if len(got) != 2 || got[0].kind != approvals.MessageFrozen || got[1].kind != approvals.MessageLifted {
			t.Fatalf("told is %+v", got)
		}
		for _, d := range got {
			if !strings.Contains(d.body, f.ID) || strings.Contains(d.body, "Ann") {
				t.Errorf("the body is %s", d.body)
			}
		}
	})
}

// Names, addresses and reasons stay inside: whoever is erased here does not live on in somebody's chat.
func TestABodyHoldsNoTextOfAnybodyAndIsSmall(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL)
		r.cancel(r.asked())
		r.sendAll()
		for _, d := range r.receiver.deliveries() {
			for _, text := range []string{"Ann", "Customer\"", "example.com", "Refund"} {
				if strings.Contains(d.body, text) || len(d.body) >= maxBody {
					t.Errorf("a body holds what was written: %s", d.body)
				}
			}
		}
	})
}

func TestRetriesFollowTheClockAndEnd(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		e := r.add(r.receiver.URL)
		r.receiver.status(500)
		r.asked()
		for i, wait := range clock {
			if wait > 0 {
				r.forward(wait - time.Millisecond)
				if n := r.sendAll(); n != 0 {
					t.Fatalf("attempt %d is made before %s", i+1, wait)
				}
				r.forward(time.Millisecond)
			}
			if n := r.sendAll(); n != 1 {
				t.Fatalf("attempt %d: %d messages after %s", i+1, n, wait)
			}
		}
		r.forward(48 * time.Hour)
		if n := r.sendAll(); n != 0 || r.states()[0] != "dead" || r.recorded("channel.failed") != 1 || r.endpoint(e.ID).FailingAt.IsZero() {
			t.Errorf("after the last attempt: %d more, %v, %d on record, failing since %s", n, r.states(), r.recorded("channel.failed"), r.endpoint(e.ID).FailingAt)
		}
		first := r.receiver.deliveries()[0]
		for _, d := range r.receiver.deliveries() {
			if d.id != first.id || d.body != first.body {
				t.Errorf("an attempt has another id or body: %s %s", d.id, d.body)
			}
		}
		r.receiver.status(204)
		r.asked()
		if r.sendAll(); !r.endpoint(e.ID).FailingAt.IsZero() {
			t.Error("an endpoint that answers again is failing still")
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL)
		r.receiver.answers(func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		})
		r.asked()
		r.sendAll()
		r.forward(time.Hour - time.Second)
		if n := r.sendAll(); n != 0 {
			t.Error("it is asked again before it wants to be")
		}
		r.forward(time.Second)
		if n := r.sendAll(); n != 1 {
			t.Error("it is not asked again when it wants to be")
		}
	})
}

func TestAnEndpointCannotAskForMoreThanADay(t *testing.T) {
	w := &Webhooks{jitter: func(d time.Duration) time.Duration { return d }}
	for text, want := range map[string]time.Duration{"999999999": maxWait, "-5": clock[1], "soon": clock[1], "60": time.Minute, "": clock[1]} {
		got, ok := w.wait(1, retryAfter(http.Header{"Retry-After": {text}}, time.Now()))
		if !ok || got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestGoneSwitchesAnEndpointOff(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		e := r.add(r.receiver.URL)
		r.receiver.status(http.StatusGone)
		r.asked()
		r.asked()
		if n := r.sendAll(); n != 1 {
			t.Errorf("%d messages to who is gone", n)
		}
		if e = r.endpoint(e.ID); e.DisabledWhy != gone || r.recorded("channel.disabled") != 1 {
			t.Errorf("it is disabled because %q, %d on record", e.DisabledWhy, r.recorded("channel.disabled"))
		}
		r.asked()
		if states := r.states(); len(states) != 2 || states[0] != "dead" || states[1] != "dead" {
			t.Errorf("the outbox holds %v", states)
		}
		r.tx(func(tx *store.Tx) error {
			if _, err := r.Keys.Reveal(tx, r.merchant, e.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("its secret is there still: %v", err)
			}
			return nil
		})
	})
}

func TestRedirectsAreRefused(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL)
		elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
		defer elsewhere.Close()
		r.receiver.answers(func(w http.ResponseWriter, q *http.Request, _ int) {
			http.Redirect(w, q, elsewhere.URL, http.StatusTemporaryRedirect)
		})
		r.asked()
		r.sendAll()
		if why := r.lastError(); why != "redirect" || r.states()[0] != "waiting" {
			t.Errorf("it failed because %q, and is %v", why, r.states())
		}
	})
}

func (r *rig) lastError() (code string) {
	r.t.Helper()
	r.tx(func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT last_error FROM outbox ORDER BY id DESC LIMIT 1`).Scan(&code)
	})
	return code
}

// The name is a public one as far as anybody can tell who only reads it: where it leads is seen when it is dialled.
func TestANameThatLeadsToAPrivateAddressIsNotAsked(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		inside := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a private address was asked") }))
		defer inside.Close()
		u, err := url.Parse(inside.URL)
		if err != nil {
			t.Fatal(err)
		}
		open := r.clients
		for _, networks := range []string{"10.0.0.0/8", ""} {
			r.Networks, r.clients = nil, newClients(nil)
			if networks != "" {
				r.Networks, _ = auth.ParseNetworks([]string{networks})
				r.clients = newClients(r.Networks)
			}
			r.add("https://localhost:" + u.Port())
			if networks != "" {
				r.add("http://localhost:" + u.Port())
			}
			r.asked()
			for range r.states() {
				r.sendAll()
			}
			if why := r.lastError(); why != "not_public" {
				t.Errorf("allowed %q: it failed because %q", networks, why)
			}
		}
		r.clients = open
	})
}

func TestPlainHTTPGoesToTheOperatorsNetworksOnly(t *testing.T) {
	inside := func(a netip.Addr) bool { return here.Contain(a.Unmap()) }
	for text, want := range map[string]bool{"127.0.0.1": true, "::1": true, "::ffff:127.0.0.1": true, "93.184.215.14": false, "10.0.0.1": false, "169.254.169.254": false} {
		if got := inside(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestAddressesThatCannotBeTold(t *testing.T) {
	closed, open := New(Config{}), New(Config{Networks: here})
	for address, want := range map[string][2]bool{ // without and with a network of the operator's
		"https://hooks.example.com/x":       {true, true},
		"https://93.184.215.14/x":           {true, true},
		"http://hooks.example.com":          {false, true}, // where it leads is looked at when it is dialled
		"http://127.0.0.1:8080":             {false, true},
		"https://127.0.0.1":                 {false, true},
		"http://93.184.215.14":              {false, false},
		"https://10.0.0.1":                  {false, false},
		"https://169.254.169.254/latest":    {false, false},
		"https://[::1]":                     {false, true},
		"https://user:pass@example.com":     {false, false},
		"https://example.com/#x":            {false, false},
		"ftp://example.com":                 {false, false},
		"example.com":                       {false, false},
		"https://e.example/" + long(maxURL): {false, false},
	} {
		if got := [2]bool{closed.mayTell(address) == nil, open.mayTell(address) == nil}; got != want {
			t.Errorf("%.60s: %v, want %v", address, got, want)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }
