package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
)

// freezeCmds are the kill switch. `dtcgate freeze --all --reason TEXT` is the first of them: nobody looks for a subcommand in a hurry.
type freezeCmds struct {
	Start freezeStart `cmd:"" default:"withargs" help:"Stop the writes of one agent, or of all, on every server of this database. Reading goes on."`
	List  freezeList  `cmd:"" help:"List what is stopped, and what was lifted within a day."`
	Lift  freezeLift  `cmd:"" help:"Let agents write again. What waited goes on by itself."`
}

type freezeStart struct {
	forMerchant
	asJSON
	Key    string `xor:"whose" placeholder:"ID" help:"Whose writes stop, with all that stands below: the id of a key, sub-token, agent of an issuer, or person."`
	All    bool   `xor:"whose" help:"Every agent; of every merchant, unless --merchant names one."`
	Reason string `required:"" help:"Why. Agents are told."`
}

// Validate is called by kong.
func (c *freezeStart) Validate() error {
	if c.All == (c.Key != "") {
		return errors.New("say whose writes stop: --key ID, or --all")
	}
	return nil
}

func (c *freezeStart) Run(ctx context.Context, a *app) error {
	begun := []auth.Freeze{}
	err := a.with(ctx, func(db *store.DB) error {
		merchants, err := c.merchants(ctx, db)
		if err != nil {
			return err
		}
		g := gate.New(gate.Config{DB: db, Tools: registry, Log: zerolog.New(secret.Redacting(a.err))})
		for _, m := range merchants {
			by := gate.By{Principal: auth.OperatorPrincipal(m), Transport: "cli"}
			f, stopped := g.Freeze(ctx, by, gate.Freezing{Subject: c.Key, Reason: c.Reason})
			if stopped != nil { // the others are stopped all the same
				err = errors.Join(err, fmt.Errorf("merchant %s: %w", m, stopped))
				continue
			}
			begun = append(begun, f)
		}
		return err
	})
	if len(begun) == 0 {
		return err
	}
	return errors.Join(err, c.print(a, begun, func(w io.Writer) {
		for _, f := range begun {
			fmt.Fprintf(w, "%s: %s of merchant %s cannot write any more, as of now. To let it go on: %s freeze lift %s --reason TEXT\n", f.ID, whose(f), f.Merchant, a.self, f.ID)
		}
	}))
}

// merchants are those whose agents stop: the one that is meant, or with --all every one that there is.
func (c *freezeStart) merchants(ctx context.Context, db *store.DB) (ids []string, err error) {
	err = db.Read(ctx, func(tx *store.Tx) error {
		if c.All && c.Merchant == "" {
			all, err := auth.ListMerchants(tx)
			for _, m := range all {
				ids = append(ids, m.ID)
			}
			return err
		}
		m, err := c.find(tx)
		ids = []string{m.ID}
		return err
	})
	if err == nil && len(ids) == 0 {
		err = auth.ErrNoMerchant
	}
	return ids, err
}

func whose(f auth.Freeze) string {
	if f.Subject == "" {
		return "every agent"
	}
	return f.Subject
}

type freezeList struct {
	forMerchant
	asJSON
}

func (c *freezeList) Run(ctx context.Context, a *app) error {
	all := []auth.Freeze{}
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) error {
		found, err := auth.Freezes(tx, m.ID, tx.Now.Add(-24*time.Hour), listMax)
		all = append(all, found...)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, all, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, "Nothing is stopped.")
			return
		}
		rows := [][]string{}
		for _, f := range all {
			lifted := ""
			if !f.Open() {
				lifted = when(f.LiftedAt) + " by " + f.LiftedBy
			}
			rows = append(rows, []string{f.ID, whose(f), when(f.At), f.By, f.Reason, lifted})
		}
		table(w, []string{"ID", "WHOSE", "SINCE", "BY", "REASON", "LIFTED"}, rows)
	})
}

type freezeLift struct {
	forMerchant
	asJSON
	ID     string `arg:"" help:"The freeze's id."`
	Reason string `required:"" help:"Why it may go on."`
}

func (c *freezeLift) Run(ctx context.Context, a *app) error {
	var f auth.Freeze
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		f, err = g.LiftFreeze(ctx, by, c.ID, c.Reason)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, f, func(w io.Writer) { fmt.Fprintf(w, "Lifted %s: %s can write again.\n", f.ID, whose(f)) })
}
