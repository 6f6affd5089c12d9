package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

type jwtCmds struct {
	List   jwtList   `cmd:"" help:"List the agents that came with a token, the newest first."`
	Revoke jwtRevoke `cmd:"" help:"Keep an agent out, whatever tokens its issuer signs, from the next call on."`
}

type jwtList struct {
	forMerchant
	asJSON
	Lines int `default:"50" help:"How many."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *jwtList) Validate() error {
	if c.Lines < 1 {
		return errors.New("--lines must be 1 or more")
	}
	return nil
}

func (c *jwtList) Run(ctx context.Context, a *app) error {
	var agents []auth.JWTAgent
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		agents, err = auth.ListJWTAgents(tx, m.ID, c.Lines)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, agents, func(w io.Writer) {
		rows := [][]string{}
		for _, agent := range agents {
			rows = append(rows, []string{
				agent.ID, visible(agent.Subject), visible(agent.Issuer), agent.Owner, agent.Ceiling.String(), activeUntil(agent.RevokedAt), when(agent.FirstSeenAt), scopeList(agent.Scopes),
			})
		}
		table(w, []string{"ID", "SUBJECT", "ISSUER", "OWNER", "CEILING", "STATE", "FIRST SEEN", "SCOPES"}, rows)
	})
}

type jwtRevoke struct {
	forMerchant
	ID string `arg:"" help:"The agent's id, jwt_…."`
}

func (c *jwtRevoke) Run(ctx context.Context, a *app) error {
	err := a.change(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) error {
		if err := auth.BeginChange(tx, m.ID); err != nil {
			return err
		}
		if err := auth.RevokeJWTAgent(tx, m.ID, c.ID); err != nil {
			return err
		}
		return record(tx, audit.Entry{Merchant: m.ID, Event: "jwt.revoked", Resource: "jwt:" + c.ID})
	})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no active agent %q: `dtcgate jwt list` shows their ids", c.ID)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Revoked %s. No token opens anything for it any more, and what it has parked will not run.\n", c.ID)
	return nil
}
