package notify

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// A rig is a merchant with a receiver of webhooks, on a database whose clock is moved.
type rig struct {
	*Webhooks
	t        *testing.T
	merchant string
	start    time.Time
	passed   atomic.Int64
	receiver *receiver
}

// here is where the receivers of tests are.
var here, _ = auth.ParseNetworks([]string{"127.0.0.0/8", "::1/128"})

func on(t *testing.T, fn func(t *testing.T, r *rig)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { fn(t, newRig(t, db)) })
}

func newRig(t *testing.T, db *store.DB) *rig {
	t.Helper()
	keys, err := vault.OpenKeys("", filepath.Join(t.TempDir(), "vault.key"))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, start: time.Now(), receiver: newReceiver(t)}
	db.Now = func() time.Time { return r.start.Add(time.Duration(r.passed.Load())) }
	r.Webhooks = New(Config{DB: db, Keys: keys, Networks: here, PublicURL: "https://gate.example", OnError: func(err error) { t.Log(err) }})
	r.jitter = func(d time.Duration) time.Duration { return d }
	r.tx(func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, "demo")
		r.merchant = m.ID
		return err
	})
	return r
}

func (r *rig) tx(fn func(*store.Tx) error) {
	r.t.Helper()
	if err := r.DB.InTx(r.t.Context(), fn); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) forward(d time.Duration) { r.passed.Add(int64(d)) }

// add makes an endpoint at an address, and has the receiver know its secret.
func (r *rig) add(address string, types ...string) (e Endpoint) {
	r.t.Helper()
	r.tx(func(tx *store.Tx) (err error) {
		var secret string
		e, secret, err = r.Add(tx, r.merchant, address, types, "operator:cli")
		r.receiver.knows(secret)
		return err
	})
	return e
}

// asked parks a request.
func (r *rig) asked() (q approvals.Request) {
	r.t.Helper()
	r.tx(func(tx *store.Tx) (err error) {
		j := approvals.Job{Job: tools.Job{JobID: store.NewID("job", tx.Now), Tool: "dtc_refund", Summary: "Refund Ann Customer"}, Merchant: r.merchant, PrincipalID: "key_x"}
		b := approvals.Binding{V: 1, Merchant: r.merchant, Tool: "dtc_refund", Chain: []string{"key:key_x"}}
		shown := tools.Preview{Summary: "Refund Ann Customer", Customers: 1}
		if b.EffectHash, err = approvals.EffectHash(shown, nil); err != nil {
			return err
		}
		q, err = approvals.Park(tx, j, approvals.Request{Binding: b, Preview: shown, AgentReason: "Ann Customer asked at ann@example.com"})
		return err
	})
	return q
}

// cancel ends the request's job, as its caller does.
func (r *rig) cancel(q approvals.Request) {
	r.t.Helper()
	r.tx(func(tx *store.Tx) error {
		_, err := approvals.Queue{}.CancelJob(tx, auth.Principal{Merchant: r.merchant, ID: "key_x"}, q.JobID, "")
		return err
	})
}

// sendAll sends what is due and says how many messages that were.
func (r *rig) sendAll() (n int) {
	r.t.Helper()
	for {
		sent, err := r.Once(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		if !sent {
			return n
		}
		n++
	}
}

// states are those of the outbox's rows, the oldest first.
func (r *rig) states() (all []string) {
	r.t.Helper()
	r.tx(func(tx *store.Tx) (err error) {
		all, err = store.All(tx, func(row store.Row) (s string, err error) { return s, row.Scan(&s) }, `SELECT state FROM outbox ORDER BY endpoint_id, id`)
		return err
	})
	return all
}

func (r *rig) endpoint(id string) (e Endpoint) {
	r.t.Helper()
	r.tx(func(tx *store.Tx) (err error) {
		e, err = store.One(tx, scanEndpoint, `SELECT `+endpointColumns+` FROM webhook_endpoints WHERE id = $1`, id)
		return err
	})
	return e
}

// recorded counts the entries of an event.
func (r *rig) recorded(event string) (n int) {
	r.t.Helper()
	r.tx(func(tx *store.Tx) error {
		found, err := audit.Find(tx, audit.Filter{Event: event, Limit: 1000})
		n = len(found)
		return err
	})
	return n
}

// A receiver takes webhooks and checks each by the reference implementation.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	secrets []string
	got     []delivery
	answer  func(w http.ResponseWriter, r *http.Request, n int) // to the nth message
}

// A delivery is a message as it arrived.
type delivery struct {
	id, kind string
	data     struct {
		State  string `json:"state"`
		Status string `json:"status"`
		URL    string `json:"url"`
	}
	body string
}

func newReceiver(t *testing.T) *receiver {
	rc := &receiver{t: t}
	rc.Server = httptest.NewServer(rc)
	t.Cleanup(rc.Close)
	return rc
}

func (rc *receiver) knows(secret string) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.secrets = append(rc.secrets, secret)
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		rc.t.Error(err)
	}
	var p struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	d := delivery{id: r.Header.Get("webhook-id"), body: string(body)}
	if err := json.Unmarshal(body, &p); err != nil || json.Unmarshal(p.Data, &d.data) != nil {
		rc.t.Errorf("a body cannot be read: %s", body)
	}
	d.kind = p.Type
	rc.mu.Lock()
	if !slices.ContainsFunc(rc.secrets, func(s string) bool { return verified(s, body, r.Header) }) {
		rc.t.Errorf("no secret of the receiver signs %s", body)
	}
	rc.got = append(rc.got, d)
	n, answer := len(rc.got), rc.answer
	rc.mu.Unlock()
	if answer != nil {
		answer(w, r, n)
	}
}

// verified asks the reference implementation. The clocks of tests are moved, so times are compared elsewhere.
func verified(secret string, body []byte, h http.Header) bool {
	wh, err := standardwebhooks.NewWebhook(secret)
	return err == nil && wh.VerifyIgnoringTimestamp(body, h) == nil
}

func (rc *receiver) answers(fn func(w http.ResponseWriter, r *http.Request, n int)) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.answer = fn
}

// status answers everything with a status.
func (rc *receiver) status(code int) {
	rc.answers(func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(code) })
}

func (rc *receiver) deliveries() []delivery {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return slices.Clone(rc.got)
}

func (r *rig) claimed(ctx context.Context, owner string) (message, bool) {
	r.t.Helper()
	m, ok, err := r.claim(ctx, owner)
	if err != nil {
		r.t.Fatal(err)
	}
	return m, ok
}
