package gate

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/dtcgate/dtcgate/approvals/notify"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A SecretEndpoint is an endpoint with its secret, which exists in this answer only.
type SecretEndpoint struct {
	notify.Endpoint
	Secret string `json:"secret"`
}

// AddWebhook makes an endpoint that is told messages of these types; of all when none is named.
func (g *Gate) AddWebhook(ctx context.Context, by By, address string, types []string) (SecretEndpoint, error) {
	op := Op{Event: "webhook.added", Scope: auth.WebhooksAdmin, Recent: true}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (s SecretEndpoint, e audit.Entry, err error) {
		if err = g.sends(); err == nil {
			s.Endpoint, s.Secret, err = g.webhooks.Add(tx, p.Merchant, address, types, p.Chain()[0])
		}
		return s, audit.Entry{Resource: "webhook:" + s.ID, Reason: fmt.Sprintf("host: %s; types: %s", hostOf(s.URL), words(s.Types))}, err
	})
}

// hostOf is what the record keeps of an address: its path may hold a secret of the other side.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// Webhooks gives the merchant's endpoints, newest first.
func (g *Gate) Webhooks(ctx context.Context, by By) ([]notify.Endpoint, error) {
	return examine(ctx, g, by, Op{Event: "webhook.read", Scope: auth.WebhooksAdmin}, func(tx *store.Tx, p auth.Principal) ([]notify.Endpoint, string, error) {
		all, err := notify.List(tx, p.Merchant)
		return all, "webhook:*", err
	})
}

// RotateWebhook gives an endpoint a new secret; messages are signed with the old one, too, for the overlap.
func (g *Gate) RotateWebhook(ctx context.Context, by By, id string, overlap time.Duration) (SecretEndpoint, error) {
	op := Op{Event: "webhook.rotated", Scope: auth.WebhooksAdmin, Recent: true}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (s SecretEndpoint, e audit.Entry, err error) {
		if err = g.sends(); err == nil {
			s.Endpoint, s.Secret, err = g.webhooks.Rotate(tx, p.Merchant, id, overlap)
		}
		return s, audit.Entry{Resource: "webhook:" + id, Reason: fmt.Sprintf("messages are signed with the old secret, too, for %s", overlap)}, noWebhook(err)
	})
}

// RemoveWebhook ends an endpoint. What waits for it is told nobody.
func (g *Gate) RemoveWebhook(ctx context.Context, by By, id string) error {
	op := Op{Event: "webhook.removed", Scope: auth.WebhooksAdmin}
	_, err := Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (struct{}, audit.Entry, error) {
		return struct{}{}, audit.Entry{Resource: "webhook:" + id}, noWebhook(notify.Remove(tx, p.Merchant, id))
	})
	return err
}

// TestWebhook sends an endpoint a signed ping and says what came back. That it was asked for is on record before it is sent.
func (g *Gate) TestWebhook(ctx context.Context, by By, id string) (notify.Pong, error) {
	op := Op{Event: "webhook.tested", Scope: auth.WebhooksAdmin}
	ping, err := Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (ping notify.Ping, e audit.Entry, err error) {
		if err = g.sends(); err == nil {
			ping, err = g.webhooks.Ping(tx, p.Merchant, id)
		}
		return ping, audit.Entry{Resource: "webhook:" + id}, noWebhook(err)
	})
	if err != nil {
		return notify.Pong{}, err
	}
	return g.webhooks.Send(ctx, ping), nil
}

// sends refuses what takes a server that sends webhooks.
func (g *Gate) sends() error {
	if g.webhooks == nil {
		return tools.Refuse(tools.NotFound, "Ask the operator.", "This server sends no webhooks.")
	}
	return nil
}

// noWebhook says which endpoints there are to find.
func noWebhook(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return tools.Refuse(tools.NotFound, "List the webhooks and use the id of one that is not disabled.", "There is no live webhook of this id.")
	case errors.Is(err, vault.ErrSealed):
		return tools.Refuse(tools.Conflict, "Rotate its secret, or bring back the vault's key.", "The secret of this webhook does not open.")
	}
	return err
}
