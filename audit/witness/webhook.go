package witness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals/notify"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
)

// A Webhook sends checkpoints as messages that are signed as Standard Webhooks has it. It goes to public addresses over
// https, and to this machine.
type Webhook struct {
	url    *url.URL
	client *http.Client
	secret string
	now    func() time.Time
}

// NewWebhook checks the address and the secret, whsec_….
func NewWebhook(address, secret string, now func() time.Time) (*Webhook, error) {
	u, err := auth.ParseOutbound(address)
	if err != nil {
		return nil, err
	}
	if err := notify.CheckSecret(secret); err != nil {
		return nil, fmt.Errorf("its secret: %w", err)
	}
	return &Webhook{u, auth.OutboundClient(u), secret, now}, nil
}

// Name is what it is.
func (*Webhook) Name() string { return "webhook" }

// Last cannot be told: receivers are told and not asked.
func (*Webhook) Last(context.Context) (string, error) { return "", nil }

// payload is what is sent (Standard Webhooks, "Payload structure").
type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when it was signed
	Data      struct {
		Key        string           `json:"key"` // name and hash of the key that signed
		Checkpoint audit.Checkpoint `json:"checkpoint"`
	} `json:"data"`
}

// Put makes one attempt. The message's id is of the checkpoint, so that a receiver knows one that comes again.
func (w *Webhook) Put(ctx context.Context, c audit.Checkpoint) error {
	p := payload{Type: "audit.checkpoint", Timestamp: c.At}
	p.Data.Key, p.Data.Checkpoint = audit.KeyOf(c.Note), c
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("its address cannot be asked")
	}
	hash := p.Data.Key[strings.LastIndexByte(p.Data.Key, '+')+1:]
	if err := notify.Sign(r, w.secret, fmt.Sprintf("msg_checkpoint_%s_%d", hash, c.Size), w.now(), body); err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "dtcgate-witness")
	resp, err := w.client.Do(r)
	if err != nil {
		return errors.New(notify.Problem(err)) // no text of the other side, and no address: it may hold a token
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answered %d", resp.StatusCode)
	}
	return nil
}
