package main

import (
	"net/http"
	"sync"

	"github.com/dtcgate/dtcgate/store"
)

// A mailbox is a webhook's receiver. Like the outside systems it lives in the rig's process, so that no kill of a server reaches it.
type mailbox struct {
	mu       sync.Mutex
	received map[string]int // message ids
}

func (m *mailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.received == nil {
		m.received = map[string]int{}
	}
	m.received[r.Header.Get("webhook-id")]++
	w.WriteHeader(http.StatusNoContent)
}

func (m *mailbox) has(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.received[id] > 0
}

// checkMessages is C4 for webhooks: every message that is told to be sent was received, and none ended otherwise than sent or replaced by a
// newer one. It may have been received twice, under one id: that is for the receiver to see.
func (r *rig) checkMessages() {
	r.t.Helper()
	states := map[string]int{}
	r.withDB(func(db *store.DB) error {
		return db.Read(r.t.Context(), func(tx *store.Tx) error {
			_, err := store.All(tx, func(row store.Row) (struct{}, error) {
				var id, state string
				err := row.Scan(&id, &state)
				if states[state]++; err == nil && state == "sent" && !r.abroad.mail.has(id) {
					r.t.Errorf("C4: the message %s is told to be sent, and was not received", id)
				}
				return struct{}{}, err
			}, `SELECT id, state FROM outbox`)
			return err
		})
	})
	if states["dead"]+states["waiting"] > 0 || states["sent"] == 0 {
		r.t.Errorf("C4: the messages to the webhook are %v", states)
	}
}
