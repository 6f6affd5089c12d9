package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

type personCmds struct {
	Add    personAdd    `cmd:"" help:"Add a person who may decide, and print the token, this once."`
	List   personList   `cmd:"" help:"List the people, without their tokens."`
	Revoke personRevoke `cmd:"" help:"End a person's right to decide."`

	Invite   personInvite   `cmd:"" help:"Print a link with which a person signs in, once."`
	Email    personEmail    `cmd:"" help:"Say by which address the identity provider knows a person."`
	Sessions personSessions `cmd:"" help:"List where a person is signed in."`
	SignOut  personSignOut  `cmd:"" help:"End a person's sessions."`
}

type personAdd struct {
	forMerchant
	asJSON
	Name string   `arg:"" help:"The name that will stand beside each decision."`
	Role []string `default:"manager" placeholder:"A,B" help:"What the person may do, and let agents do: admin, manager, finance, marketing, support, security, compliance, or a role of your own."`
}

// An added person is a person with the token, which exists in this answer only.
type added struct {
	auth.Person
	Token string `json:"token"`
}

func (c *personAdd) Run(ctx context.Context, a *app) error {
	var p added
	err := a.change(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		p, err = addPerson(tx, m, c.Name, c.Role...)
		return err
	})
	if errors.Is(err, auth.ErrNameTaken) {
		return fmt.Errorf("%w: choose another name, or end the old one with `dtcgate person revoke %s`", err, c.Name)
	}
	if errors.Is(err, auth.ErrNoRole) {
		return fmt.Errorf("%w: `dtcgate person add --help` names those that are built in", err)
	}
	if err != nil {
		return err
	}
	return c.print(a, p, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n\nThis is the token of %s (%s). It is not shown again.\n", p.Token, visible(p.Name), p.ID)
	})
}

// addPerson stores a person and the record of it. The name is personal, so it can be erased from the record.
func addPerson(tx *store.Tx, m auth.Merchant, name string, roles ...string) (added, error) {
	p, token, err := auth.AddPerson(tx, m.ID, name, roles...)
	if err != nil {
		return added{}, err
	}
	return added{p, token}, record(tx, audit.Entry{
		Merchant: m.ID, Event: "person.added", Resource: "person:" + p.ID, Reason: "roles " + strings.Join(roles, ","), Personal: map[string]string{"name": p.Name},
	})
}

type personList struct {
	forMerchant
	asJSON
}

func (c *personList) Run(ctx context.Context, a *app) error {
	var people []auth.Person
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		people, err = auth.ListPeople(tx, m.ID)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, people, func(w io.Writer) {
		rows := [][]string{}
		for _, p := range people {
			state := "active"
			if !p.RevokedAt.IsZero() {
				state = "revoked " + when(p.RevokedAt)
			}
			rows = append(rows, []string{p.ID, p.Name, p.Hint, state})
		}
		table(w, []string{"ID", "NAME", "TOKEN", "STATE"}, rows)
	})
}

type personRevoke struct {
	forMerchant
	Person string `arg:"" help:"The person's name or id, per_…."`
}

func (c *personRevoke) Run(ctx context.Context, a *app) error {
	err := a.change(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) error {
		p, err := auth.FindPerson(tx, m.ID, c.Person)
		if err != nil {
			return err
		}
		if err := auth.RevokePerson(tx, m.ID, p.ID); err != nil {
			return err
		}
		return record(tx, audit.Entry{Merchant: m.ID, Event: "person.revoked", Resource: "person:" + p.ID})
	})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no active person %q: `dtcgate person list` shows them", c.Person)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Revoked %s. Votes cast before stand.\n", visible(c.Person))
	return nil
}
