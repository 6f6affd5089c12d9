package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
)

type roleCmds struct {
	List   roleList   `cmd:"" help:"List the roles with what they hold."`
	Put    rolePut    `cmd:"" help:"Make a role, or change what it holds for everybody who has it."`
	Delete roleDelete `cmd:"" help:"Forget a role that nobody has."`
}

type roleList struct {
	forMerchant
	asJSON
}

func (c *roleList) Run(ctx context.Context, a *app) error {
	var roles []auth.Role
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		roles, err = auth.ListRoles(tx, m.ID)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, roles, func(w io.Writer) {
		rows := [][]string{}
		for _, r := range roles {
			rows = append(rows, []string{r.Name, scopeList(r.Scopes)})
		}
		table(w, []string{"NAME", "SCOPES"}, rows)
	})
}

type rolePut struct {
	forMerchant
	asJSON
	Name   string   `arg:"" help:"The role's name, such as buyer."`
	Scopes []string `required:"" placeholder:"A,B" help:"All that the role holds, such as orders:*,approvals:read; none is nothing."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *rolePut) Validate() error {
	_, err := auth.ParseScopes(orNone(c.Scopes), auth.AllScopes)
	return err
}

func (c *rolePut) Run(ctx context.Context, a *app) error {
	var r auth.Role
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		r, err = g.PutRole(ctx, by, c.Name, orNone(c.Scopes))
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, r, func(w io.Writer) { fmt.Fprintf(w, "The role %s holds %s.\n", visible(r.Name), scopeList(r.Scopes)) })
}

type roleDelete struct {
	forMerchant
	Name string `arg:"" help:"The role's name."`
}

func (c *roleDelete) Run(ctx context.Context, a *app) error {
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) error { return g.DeleteRole(ctx, by, c.Name) })
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Deleted the role %s.\n", visible(c.Name))
	return nil
}

type personRoles struct {
	forMerchant
	asJSON
	Person string   `arg:"" help:"The person's name or id, per_…."`
	Role   []string `required:"" placeholder:"A,B" help:"The roles, in place of those that the person has; none takes them all."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *personRoles) Validate() error {
	if len(c.Role) == 0 {
		return errors.New("--role names the roles, or none")
	}
	return nil
}

func (c *personRoles) Run(ctx context.Context, a *app) error {
	var m auth.Member
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		m, err = g.GiveRoles(ctx, by, c.Person, orNone(c.Role))
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, m, func(w io.Writer) {
		fmt.Fprintf(w, "The roles of %s: %s.\n", visible(m.Name), orAll(strings.Join(m.Roles, ", "), "none"))
	})
}

// scopeNames gives scopes as they are written.
func scopeNames(scopes []auth.Scope) []string { return strings.Split(scopeList(scopes), ",") }
