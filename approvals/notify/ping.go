package notify

import (
	"context"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// MessagePing is the type of the message with which an endpoint is tried out. No endpoint has to want it.
const MessagePing = "webhook.ping"

// A Ping is a message that tells nothing, ready to be sent.
type Ping struct{ message }

// A Pong says what came back to a ping, and nothing of what it said.
type Pong struct {
	MessageID string `json:"message_id"`
	Delivered bool   `json:"delivered"`
	Status    int    `json:"status,omitempty"`  // of HTTP; none: there was no answer
	Problem   string `json:"problem,omitempty"` // status, redirect, gone, timeout, unreachable, not_public
	Millis    int64  `json:"milliseconds"`
}

// Ping makes a ping to a merchant's live endpoint. It does not go through the outbox: whoever asks wants to know at once.
func (w *Webhooks) Ping(tx *store.Tx, merchant, id string) (p Ping, err error) {
	p.id, p.kind, p.created = store.NewID("msg", tx.Now), MessagePing, tx.Now
	if p.endpoint, err = Find(tx, merchant, id); err != nil {
		return p, err
	}
	if p.secrets, err = w.secrets(tx, p.endpoint); err != nil {
		return p, err
	}
	p.body, err = encode(p.kind, p.created, map[string]string{"endpoint_id": id})
	return p, err
}

// Send sends a ping, once. It is called outside of transactions.
func (w *Webhooks) Send(ctx context.Context, p Ping) Pong {
	began := time.Now()
	a := w.send(ctx, p.message)
	return Pong{MessageID: p.id, Delivered: a.ok(), Status: a.status, Problem: a.problem, Millis: time.Since(began).Milliseconds()}
}
