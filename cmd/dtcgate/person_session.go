package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// aPerson is the argument of commands about one person.
type aPerson struct {
	forMerchant
	Person string `arg:"" help:"The person's name or id, per_…."`
}

// findPerson gives the active person of that name or id.
func (c aPerson) findPerson(tx *store.Tx, m auth.Merchant) (auth.Principal, error) {
	p, err := auth.FindPerson(tx, m.ID, c.Person)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("there is no active person %q: `dtcgate person list` shows them", c.Person)
	}
	return p, err
}

// change runs fn on the active person in one transaction that changes who may do what.
func (c aPerson) change(ctx context.Context, a *app, fn func(tx *store.Tx, p auth.Principal) error) error {
	return a.change(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) error {
		if err := auth.BeginChange(tx, m.ID); err != nil {
			return err
		}
		p, err := c.findPerson(tx, m)
		if err != nil {
			return err
		}
		return fn(tx, p)
	})
}

type personInvite struct {
	aPerson
	asJSON
	For       time.Duration `default:"15m" placeholder:"15m" help:"How long the link is good for, 24h at most."`
	PublicURL string        `name:"public-url" default:"http://localhost:8080" placeholder:"https://…" help:"The address under which the person reaches the server."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *personInvite) Validate() (err error) {
	if c.For < time.Minute || c.For > auth.MaxLinkTime {
		return fmt.Errorf("--for is 1m to %s, not %s", auth.MaxLinkTime, c.For)
	}
	c.PublicURL, err = parsePublicURL(c.PublicURL)
	return err
}

func (c *personInvite) Run(ctx context.Context, a *app) error {
	var in gate.Invitation
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		in, err = g.Invite(ctx, by, c.Person, c.PublicURL, c.For)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, in, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n\nWith this link %s signs in, once, until %s. It is not shown again.\n", in.Link, visible(c.Person), when(in.ExpiresAt))
	})
}

type personToken struct {
	aPerson
	asJSON
}

func (c *personToken) Run(ctx context.Context, a *app) error {
	var n gate.NewToken
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		n, err = g.NewToken(ctx, by, c.Person)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, n, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n\nThis is the token of %s, with the rights of now and no later ones. The one before has ended. It is not shown again.\n", n.Token, visible(c.Person))
	})
}

type personSessions struct {
	aPerson
	asJSON
}

// sessionsShown bounds a list of sessions, newest first.
const sessionsShown = 100

func (c *personSessions) Run(ctx context.Context, a *app) error {
	var sessions []auth.Session
	var now time.Time
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		p, err := c.findPerson(tx, m)
		if err != nil {
			return err
		}
		now = tx.Now
		sessions, err = auth.ListSessions(tx, m.ID, p.ID, "", sessionsShown)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, sessions, func(w io.Writer) {
		rows := [][]string{}
		for _, s := range sessions {
			rows = append(rows, []string{s.ID, s.State(now), string(s.Method), when(s.CreatedAt), when(s.LastSeenAt), s.Agent})
		}
		table(w, []string{"ID", "STATE", "BY", "SINCE", "LAST SEEN", "BROWSER"}, rows)
	})
}

type personSignOut struct {
	aPerson
	Session string `placeholder:"ses_…" help:"End this session only."`
}

func (c *personSignOut) Run(ctx context.Context, a *app) error {
	var ended gate.EndedSessions
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		ended, err = g.RevokeSessionsOf(ctx, by, c.Person, c.Session)
		return err
	})
	if r := (*tools.Refusal)(nil); c.Session != "" && errors.As(err, &r) && r.Code == tools.NotFound {
		return fmt.Errorf("%s has no live session %q: `dtcgate person sessions` shows them", visible(c.Person), c.Session)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Ended %d session(s) of %s.\n", ended.Ended, visible(c.Person))
	return nil
}

type personEmail struct {
	aPerson
	Address string `arg:"" optional:"" help:"The address, as the identity provider has it; none to forget it."`
}

func (c *personEmail) Run(ctx context.Context, a *app) error {
	err := c.change(ctx, a, func(tx *store.Tx, p auth.Principal) error {
		if err := auth.SetEmail(tx, p.Merchant, p.ID, strings.TrimSpace(c.Address)); err != nil {
			return err
		}
		return record(tx, audit.Entry{
			Merchant: p.Merchant, Event: "person.email", Resource: "person:" + p.ID, Personal: map[string]string{"email": c.Address},
		})
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Stored. Accounts at the identity provider that %s used before are no longer linked.\n", visible(c.Person))
	return nil
}
