package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
)

type personCmds struct {
	Add    personAdd    `cmd:"" help:"Add a person who may decide, and print the token, this once."`
	List   personList   `cmd:"" help:"List the people, without their tokens."`
	Roles  personRoles  `cmd:"" help:"Give a person other roles, from the next call on."`
	Revoke personRevoke `cmd:"" help:"End a person's right to decide."`

	Token    personToken    `cmd:"" help:"Give a person a token in place of the one before, and print it, this once."`
	Invite   personInvite   `cmd:"" help:"Print a link with which a person signs in, once."`
	Email    personEmail    `cmd:"" help:"Say by which address the identity provider knows a person."`
	Sessions personSessions `cmd:"" help:"List where a person is signed in."`
	SignOut  personSignOut  `cmd:"" help:"End a person's sessions."`

	Link   personLink   `cmd:"" help:"Let a service carry what a person decides there."`
	Links  personLinks  `cmd:"" help:"List the services that carry what a person decides."`
	Unlink personUnlink `cmd:"" help:"End a link of a person to a service."`
}

type personAdd struct {
	forMerchant
	asJSON
	Name string   `arg:"" help:"The name that will stand beside each decision."`
	Role []string `default:"manager" placeholder:"A,B" help:"What the person may do, and let agents do: admin, manager, finance, marketing, support, security, compliance, or a role of your own."`
}

func (c *personAdd) Run(ctx context.Context, a *app) error {
	var p gate.AddedPerson
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		p, err = g.AddPerson(ctx, by, c.Name, c.Role...)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, p, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n\nThis is the token of %s (%s). It is not shown again.\n", p.Token, visible(p.Name), p.ID)
	})
}

type personList struct {
	forMerchant
	asJSON
}

func (c *personList) Run(ctx context.Context, a *app) error {
	var people []auth.Member
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		people, err = everyPage(tx, m.ID, auth.ListMembers)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, people, func(w io.Writer) {
		rows := [][]string{}
		for _, p := range people {
			rows = append(rows, []string{p.ID, p.Name, p.Hint, activeUntil(p.RevokedAt), strings.Join(p.Roles, ",")})
		}
		table(w, []string{"ID", "NAME", "TOKEN", "STATE", "ROLES"}, rows)
	})
}

type personRevoke struct {
	forMerchant
	asJSON
	Person string `arg:"" help:"The person's name or id, per_…."`
}

func (c *personRevoke) Run(ctx context.Context, a *app) error {
	var r gate.RevokedPerson
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		r, err = g.RevokePerson(ctx, by, c.Person)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, r, func(w io.Writer) {
		fmt.Fprintf(w, "Revoked %s. Votes cast before stand.\nWith it end %d keys, %d sub-tokens, and %d parked calls that will not run.\n",
			visible(c.Person), r.Keys, r.SubTokens, r.Waiting)
	})
}
