package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
)

type subTokenCmds struct {
	Mint   subTokenMint   `cmd:"" help:"Make a sub-token of a key and print it, this once."`
	List   subTokenList   `cmd:"" help:"List sub-tokens, newest first, without their secrets."`
	Revoke subTokenRevoke `cmd:"" help:"End a sub-token and all below it, from the next call on."`
}

type subTokenMint struct {
	forMerchant
	asJSON
	Key       string        `required:"" placeholder:"key_…" help:"The key, or the sub-token (sub_…), that it is made of and never reaches beyond."`
	Name      string        `required:"" help:"What the record and people will call it."`
	Audience  string        `placeholder:"TEXT" help:"A note on who it is for."`
	Scopes    []string      `placeholder:"A,B" help:"Its rights; all of the key's if left out."`
	Action    []string      `placeholder:"A,B" help:"The actions it may ask for; all of the key's if left out."`
	Tools     []string      `placeholder:"A,B" help:"The only tools it may call, such as dtc_get_order or orders.*."`
	Resources []string      `placeholder:"A,B" help:"The only objects it may touch, such as order:71996 or order:*."`
	Network   []string      `placeholder:"CIDR,…" help:"The only networks it may be used from."`
	Ceiling   string        `placeholder:"LEVEL" help:"The riskiest call it may make: low, medium, high, or L0 to L7; the key's if left out."`
	Rate      int64         `placeholder:"N" help:"How many calls a minute it may make, drawn from the key's own."`
	TTL       time.Duration `name:"ttl" placeholder:"1h" help:"For how long it is good: 1s to 720h; an hour if left out."`
	Depth     int           `help:"How many sub-tokens deep it may delegate in turn."`
}

// asked is what is to be given, for the gate to judge.
func (c *subTokenMint) asked() auth.Delegation {
	d := auth.Delegation{
		Name: c.Name, Audience: c.Audience, Scopes: c.Scopes, Actions: c.Action, Tools: c.Tools, Resources: c.Resources, Networks: c.Network,
		Ceiling: c.Ceiling, TTL: c.TTL, Depth: c.Depth,
	}
	if c.Rate != 0 {
		d.Rate = &auth.Rate{PerMinute: c.Rate}
	}
	return d
}

func (c *subTokenMint) Run(ctx context.Context, a *app) error {
	var m gate.Minted
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		m, err = g.MintSubToken(ctx, by, c.Key, c.asked())
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, m, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n\nThis is sub-token %s (%s) of %s, good until %s. It is not shown again.\n",
			m.Token, m.ID, visible(m.Name), m.Parent, when(m.ExpiresAt))
	})
}

type subTokenList struct {
	forMerchant
	asJSON
	Key    string `placeholder:"key_…" help:"Only what stands below this key or sub-token."`
	Before string `placeholder:"sub_…" help:"Go on where a page ended."`
}

// subTokensShown bounds a page of sub-tokens.
const subTokensShown = 200

func (c *subTokenList) Run(ctx context.Context, a *app) error {
	var all []auth.SubToken
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		above := m.ID
		if c.Key != "" {
			above = c.Key
		}
		all, err = auth.ListSubTokens(tx, m.ID, above, c.Before, subTokensShown)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, all, func(w io.Writer) {
		rows := [][]string{}
		for _, t := range all {
			rows = append(rows, []string{
				t.ID, t.Parent, t.Name, t.Hint, t.Ceiling.String(), t.State, when(t.ExpiresAt), fmt.Sprint(t.Used.Uses), scopeList(t.Scopes), strings.Join(t.Tools, ","),
			})
		}
		table(w, []string{"ID", "OF", "NAME", "TOKEN", "CEILING", "STATE", "UNTIL", "USES", "SCOPES", "TOOLS"}, rows)
		if len(all) == subTokensShown {
			fmt.Fprintf(w, "There may be more: --before %s\n", all[len(all)-1].ID)
		}
	})
}

type subTokenRevoke struct {
	forMerchant
	ID string `arg:"" help:"The sub-token's id, sub_…."`
}

func (c *subTokenRevoke) Run(ctx context.Context, a *app) error {
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) error {
		_, err := g.RevokeSubToken(ctx, by, c.ID)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Revoked %s. It and all below it open nothing any more, and what they have parked will not run.\n", c.ID)
	return nil
}
