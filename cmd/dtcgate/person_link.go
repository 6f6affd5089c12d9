package main

import (
	"context"
	"fmt"
	"io"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
)

type personLink struct {
	forMerchant
	asJSON
	Person   string `arg:"" help:"The person's name or id, per_…."`
	Key      string `required:"" placeholder:"KEY" help:"The id of the service's key, which holds approvals:resolve."`
	External string `required:"" placeholder:"ID" help:"The person's id as the service knows it."`
}

func (c *personLink) Run(ctx context.Context, a *app) error {
	var l auth.PersonLink
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		l, err = g.LinkPerson(ctx, by, c.Person, c.Key, c.External)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, l, func(w io.Writer) {
		fmt.Fprintf(w, "Linked (%s). What %s decides in %s counts as theirs.\n", l.ID, visible(c.Person), visible(l.KeyName))
	})
}

type personLinks struct {
	forMerchant
	asJSON
	Person string `arg:"" help:"The person's name or id, per_…."`
}

func (c *personLinks) Run(ctx context.Context, a *app) error {
	var links []auth.PersonLink
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		links, err = g.PersonLinks(ctx, by, c.Person)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, links, func(w io.Writer) {
		rows := [][]string{}
		for _, l := range links {
			rows = append(rows, []string{l.ID, l.KeyName, l.Key, l.External, when(l.CreatedAt), l.CreatedBy})
		}
		table(w, []string{"ID", "SERVICE", "KEY", "KNOWN AS", "LINKED", "BY"}, rows)
	})
}

type personUnlink struct {
	forMerchant
	Person string `arg:"" help:"The person's name or id, per_…."`
	ID     string `arg:"" help:"The link's id, plk_…."`
}

func (c *personUnlink) Run(ctx context.Context, a *app) error {
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) error { return g.UnlinkPerson(ctx, by, c.Person, c.ID) })
	if err == nil {
		fmt.Fprintf(a.out, "Unlinked %s. Votes cast before stand.\n", visible(c.ID))
	}
	return err
}
