package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals/notify"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
)

type webhookCmds struct {
	Add    webhookAdd    `cmd:"" help:"Add an endpoint and print its secret, this once."`
	List   webhookList   `cmd:"" help:"List the endpoints, without their secrets."`
	Rotate webhookRotate `cmd:"" help:"Give an endpoint a new secret and print it, this once."`
	Test   webhookTest   `cmd:"" help:"Send an endpoint a signed ping and say what came back."`
	Remove webhookRemove `cmd:"" help:"Tell an endpoint nothing any more."`
}

// webhookReach is where webhooks may go beside public addresses.
type webhookReach struct {
	WebhookNetworks []string `placeholder:"CIDR,…" help:"Private networks that webhooks may be sent to, there over http too. Without any they go to public addresses over https only."`
}

func (r webhookReach) tellable() (auth.Networks, error) {
	networks, err := auth.ParseNetworks(r.WebhookNetworks)
	if err != nil {
		return nil, fmt.Errorf("--webhook-networks: %w", err)
	}
	return networks, nil
}

func (r webhookReach) webhooks(db *store.DB, keys *vault.Keys, publicURL string, onError func(error)) (*notify.Webhooks, error) {
	networks, err := r.tellable()
	if err != nil {
		return nil, err
	}
	return notify.New(notify.Config{DB: db, Keys: keys, Networks: networks, PublicURL: publicURL, OnError: onError}), nil
}

// webhookAdmin is a command that needs the secrets of endpoints.
type webhookAdmin struct {
	forMerchant
	masterKeys
	webhookReach
}

// Validate is called by kong: what it refuses is wrong use.
func (c *webhookAdmin) Validate() error {
	_, err := c.tellable()
	return err
}

func (c *webhookAdmin) administer(ctx context.Context, a *app, fn func(*gate.Gate, gate.By) error) error {
	return a.with(ctx, func(db *store.DB) error {
		var m auth.Merchant
		err := db.Read(ctx, func(tx *store.Tx) (err error) {
			m, err = c.find(tx)
			return err
		})
		if err != nil {
			return err
		}
		keys, err := c.open(a)
		if err != nil {
			return err
		}
		hooks, err := c.webhooks(db, keys, "", nil)
		if err != nil {
			return err
		}
		g := gate.New(gate.Config{DB: db, Tools: registry, Log: zerolog.New(secret.Redacting(a.err)), Webhooks: hooks})
		return fn(g, gate.By{Principal: auth.OperatorPrincipal(m.ID), Transport: "cli"})
	})
}

type webhookAdd struct {
	webhookAdmin
	asJSON
	URL   string   `arg:"" name:"url" help:"Where messages are posted, such as https://hooks.example.com/dtcgate."`
	Types []string `placeholder:"A,B" help:"Only messages of these types: approval.requested, approval.updated, approval.resolved, job.updated; all if left out."`
}

func (c *webhookAdd) Run(ctx context.Context, a *app) error {
	var made gate.SecretEndpoint
	err := c.administer(ctx, a, func(g *gate.Gate, by gate.By) (err error) {
		made, err = g.AddWebhook(ctx, by, c.URL, c.Types)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, made, func(w io.Writer) { writeEndpointSecret(w, made) })
}

func writeEndpointSecret(w io.Writer, s gate.SecretEndpoint) {
	fmt.Fprintf(w, "%s\n\nThis is the secret of webhook %s (%s). It is not shown again.\n", s.Secret, s.ID, visible(s.URL))
	fmt.Fprintf(w, "The receiver checks the header webhook-signature with it, as Standard Webhooks has it.\n")
}

type webhookList struct {
	forMerchant
	asJSON
}

func (c *webhookList) Run(ctx context.Context, a *app) error {
	var all []notify.Endpoint
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		all, err = notify.List(tx, m.ID)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, all, func(w io.Writer) {
		rows := [][]string{}
		for _, e := range all {
			rows = append(rows, []string{e.ID, e.URL, webhookState(e), when(e.CreatedAt), strings.Join(e.Types, ",")})
		}
		table(w, []string{"ID", "URL", "STATE", "ADDED", "TYPES"}, rows)
	})
}

func webhookState(e notify.Endpoint) string {
	switch {
	case !e.DisabledAt.IsZero():
		return e.DisabledWhy + " " + when(e.DisabledAt)
	case !e.FailingAt.IsZero():
		return "failing since " + when(e.FailingAt)
	}
	return "live"
}

type webhookRotate struct {
	webhookAdmin
	asJSON
	ID      string        `arg:"" help:"The webhook's id, whk_…."`
	Overlap time.Duration `default:"24h" help:"For how long messages are signed with the old secret, too; 0 ends it at once."`
}

func (c *webhookRotate) Run(ctx context.Context, a *app) error {
	var made gate.SecretEndpoint
	err := c.administer(ctx, a, func(g *gate.Gate, by gate.By) (err error) {
		made, err = g.RotateWebhook(ctx, by, c.ID, c.Overlap)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, made, func(w io.Writer) { writeEndpointSecret(w, made) })
}

type webhookTest struct {
	webhookAdmin
	asJSON
	ID string `arg:"" help:"The webhook's id, whk_…."`
}

func (c *webhookTest) Run(ctx context.Context, a *app) error {
	var pong notify.Pong
	err := c.administer(ctx, a, func(g *gate.Gate, by gate.By) (err error) {
		pong, err = g.TestWebhook(ctx, by, c.ID)
		return err
	})
	if err != nil {
		return err
	}
	if err := c.print(a, pong, func(w io.Writer) {
		if pong.Delivered {
			fmt.Fprintf(w, "Delivered %s: HTTP %d in %d ms.\n", pong.MessageID, pong.Status, pong.Millis)
		}
	}); err != nil || pong.Delivered {
		return err
	}
	return fmt.Errorf("the ping %s did not arrive: %s (HTTP %d)", pong.MessageID, pong.Problem, pong.Status)
}

type webhookRemove struct {
	forMerchant
	ID string `arg:"" help:"The webhook's id, whk_…."`
}

func (c *webhookRemove) Run(ctx context.Context, a *app) error {
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) error { return g.RemoveWebhook(ctx, by, c.ID) })
	if err == nil {
		fmt.Fprintf(a.out, "Removed %s. What waited for it is told nobody.\n", visible(c.ID))
	}
	return err
}
