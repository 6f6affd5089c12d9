package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/store"
)

// An Endpoint is where a merchant is told, without its secret.
type Endpoint struct {
	ID          string    `json:"id"`
	Merchant    string    `json:"-"`
	URL         string    `json:"url"`
	Types       []string  `json:"types"`
	OldUntil    time.Time `json:"old_secret_until,omitzero"` // after a rotation: until when messages are signed with the one before, too
	CreatedBy   string    `json:"created_by"`
	CreatedAt   time.Time `json:"created_at"`
	FailingAt   time.Time `json:"failing_since,omitzero"` // messages were given up, and none arrived since
	DisabledAt  time.Time `json:"disabled_at,omitzero"`
	DisabledWhy string    `json:"disabled_why,omitempty"` // removed, gone
}

// Why an endpoint is told nothing any more.
const (
	removed = "removed"
	gone    = "gone" // it answered 410
)

const (
	// MaxEndpoints bounds the live endpoints of a merchant: every transition writes a row for each.
	MaxEndpoints = 10
	maxURL       = 2000 // bytes
	// DefaultOverlap is for how long messages are signed with the secret before, too, and MaxOverlap for how long at most.
	DefaultOverlap = 24 * time.Hour
	MaxOverlap     = 30 * 24 * time.Hour
)

// Add stores an endpoint that is told messages of these types, all when none is named, and gives it with its secret, which is shown this once.
// What is wrong with the address, the types or the number of endpoints is *auth.Unfit.
func (w *Webhooks) Add(tx *store.Tx, merchant, address string, types []string, by string) (Endpoint, string, error) {
	if err := errors.Join(w.mayTell(address), known(types)); err != nil {
		return Endpoint{}, "", err
	}
	if len(types) == 0 {
		types = approvals.MessageTypes
	}
	e := Endpoint{ID: store.NewID("whk", tx.Now), Merchant: merchant, URL: address, Types: slices.Compact(slices.Sorted(slices.Values(types))), CreatedBy: by, CreatedAt: tx.Now}
	n, err := tx.Exec(`INSERT INTO webhook_endpoints (id, merchant_id, url, types, created_by, created_at) SELECT $1, $2, $3, $4, $5, CAST($6 AS BIGINT)
		WHERE (SELECT COUNT(*) FROM webhook_endpoints WHERE merchant_id = $2 AND disabled_at IS NULL) < $7`,
		e.ID, e.Merchant, e.URL, " "+strings.Join(e.Types, " ")+" ", e.CreatedBy, store.Micros(e.CreatedAt), MaxEndpoints)
	if err != nil {
		return Endpoint{}, "", fmt.Errorf("storing an endpoint: %w", err)
	}
	if n == 0 {
		return Endpoint{}, "", &auth.Unfit{Field: "url", Problem: "is one too many", Expected: fmt.Sprintf("at most %d endpoints; remove one first", MaxEndpoints)}
	}
	s := secrets{Now: newSecret()}
	return e, s.Now, w.keep(tx, e, s)
}

func (w *Webhooks) keep(tx *store.Tx, e Endpoint, s secrets) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("writing the secrets of an endpoint: %w", err)
	}
	return w.Keys.Keep(tx, e.Merchant, e.ID, text)
}

func (w *Webhooks) secrets(tx *store.Tx, e Endpoint) (secrets, error) {
	text, err := w.Keys.Reveal(tx, e.Merchant, e.ID)
	if err != nil {
		return secrets{}, err
	}
	s, err := readSecrets(text)
	if !tx.Now.Before(e.OldUntil) {
		s.Old = ""
	}
	return s, err
}

// mayTell holds an address to what a message may be sent to, as far as it tells: where a name leads is looked at when it is dialled.
func (w *Webhooks) mayTell(address string) error {
	unfit := func(problem string) error {
		return &auth.Unfit{Field: "url", Problem: problem, Expected: "an address such as https://hooks.example.com/dtcgate; a private one, or http, only in the networks of --webhook-networks"}
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Contains(address, "#") || len(address) > maxURL {
		return unfit("is no address, or holds a user or a #")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	inside := err == nil && w.Networks.Contain(ip)
	switch {
	case u.Scheme == "http" && len(w.Networks) > 0 && (inside || err != nil):
		return nil
	case u.Scheme != "https":
		return unfit("is not https")
	case err == nil && !inside && !auth.Public(ip):
		return unfit("is not a public address")
	}
	return nil
}

func known(types []string) error {
	for _, t := range types {
		if !slices.Contains(approvals.MessageTypes, t) {
			return &auth.Unfit{Field: "types", Problem: "hold one that there is not", Expected: "some of " + strings.Join(approvals.MessageTypes, ", ")}
		}
	}
	return nil
}

const endpointColumns = `id, merchant_id, url, types, old_until, created_by, created_at, failing_at, disabled_at, disabled_why`

func scanEndpoint(r store.Row) (e Endpoint, err error) {
	var types string
	err = r.Scan(&e.ID, &e.Merchant, &e.URL, &types, store.At(&e.OldUntil), &e.CreatedBy, store.At(&e.CreatedAt), store.At(&e.FailingAt),
		store.At(&e.DisabledAt), &e.DisabledWhy)
	e.Types = strings.Fields(types)
	return e, err
}

// List gives a merchant's endpoints that were not removed, newest first.
func List(tx *store.Tx, merchant string) ([]Endpoint, error) {
	return store.All(tx, scanEndpoint, `SELECT `+endpointColumns+` FROM webhook_endpoints
		WHERE merchant_id = $1 AND disabled_why <> 'removed' ORDER BY id DESC LIMIT $2`, merchant, 10*MaxEndpoints)
}

// Find gives a merchant's live endpoint; store.ErrNotFound when it is not there, or is disabled.
func Find(tx *store.Tx, merchant, id string) (Endpoint, error) {
	return store.One(tx, scanEndpoint, `SELECT `+endpointColumns+` FROM webhook_endpoints
		WHERE merchant_id = $1 AND id = $2 AND disabled_at IS NULL`, merchant, id)
}

// Rotate gives an endpoint a new secret, which is shown this once. Messages are signed with both for the overlap. A secret that was
// before the one before is used no more.
func (w *Webhooks) Rotate(tx *store.Tx, merchant, id string, overlap time.Duration) (Endpoint, string, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Endpoint{}, "", &auth.Unfit{Field: "overlap_seconds", Problem: "is out of range", Expected: fmt.Sprintf("0 to %d; 0 ends the old secret at once", MaxOverlap/time.Second)}
	}
	e, err := Find(tx, merchant, id)
	if err != nil {
		return e, "", err
	}
	s, err := w.secrets(tx, e)
	if err != nil && !errors.Is(err, vault.ErrSealed) { // one that does not open any more is what rotating is for
		return e, "", err
	}
	s.Now, s.Old, e.OldUntil = newSecret(), s.Now, tx.Now.Add(overlap)
	n, err := tx.Exec(`UPDATE webhook_endpoints SET old_until = $1 WHERE merchant_id = $2 AND id = $3 AND disabled_at IS NULL`,
		store.Micros(e.OldUntil), merchant, id)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return e, "", fmt.Errorf("rotating a secret: %w", err)
	}
	return e, s.Now, w.keep(tx, e, s)
}

// Remove ends an endpoint for good: its secret is dropped, and it is told nothing any more. One that is gone may be removed too.
func Remove(tx *store.Tx, merchant, id string) error {
	n, err := tx.Exec(`UPDATE webhook_endpoints SET disabled_at = COALESCE(disabled_at, CAST($1 AS BIGINT)), disabled_why = 'removed'
		WHERE merchant_id = $2 AND id = $3 AND disabled_why <> 'removed'`, store.Micros(tx.Now), merchant, id)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("removing an endpoint: %w", err)
	}
	return silence(tx, merchant, id)
}

// disable switches off an endpoint that has said that it is gone.
func disable(tx *store.Tx, e Endpoint) error {
	n, err := tx.Exec(`UPDATE webhook_endpoints SET disabled_at = $1, disabled_why = 'gone' WHERE id = $2 AND disabled_at IS NULL`, store.Micros(tx.Now), e.ID)
	if err != nil {
		return fmt.Errorf("disabling an endpoint: %w", err)
	}
	if n == 0 {
		return nil // somebody was quicker
	}
	return errors.Join(silence(tx, e.Merchant, e.ID), record(tx, "channel.disabled", e, message{}, gone))
}

// silence drops the secret of an endpoint that is disabled, and gives up what waits for it.
func silence(tx *store.Tx, merchant, id string) error {
	if err := vault.Drop(tx, merchant, id); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE outbox SET state = 'dead', ended_at = $1, last_error = 'disabled', lease_owner = '', lease_until = NULL
		WHERE endpoint_id = $2 AND state = 'waiting'`, store.Micros(tx.Now), id)
	if err != nil {
		return fmt.Errorf("giving up messages: %w", err)
	}
	return nil
}
