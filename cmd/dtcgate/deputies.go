package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
)

type deputyCmds struct {
	List   deputyList   `cmd:"" help:"List who stands in for whom, now or to come."`
	Add    deputyAdd    `cmd:"" help:"Let a person stand in for one who is away. It hands nothing on."`
	Remove deputyRemove `cmd:"" help:"End it before its time. What was said in the absent person's place counts no more where it has not run."`
}

type deputyList struct {
	forMerchant
	asJSON
}

func (c *deputyList) Run(ctx context.Context, a *app) error {
	var all []approvals.Delegation
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		all, err = approvals.Delegations(tx, m.ID)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, all, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, "Nobody stands in for anybody.")
			return
		}
		rows := [][]string{}
		for _, d := range all {
			rows = append(rows, []string{d.ID, plainly(d.Deputy), plainly(d.Absent), when(d.From), when(d.Until), d.MadeBy})
		}
		table(w, []string{"ID", "DEPUTY", "FOR", "FROM", "UNTIL", "MADE BY"}, rows)
	})
}

type deputyAdd struct {
	forMerchant
	asJSON
	Deputy string `arg:"" help:"Who stands in: a person's name or id."`
	For    string `required:"" placeholder:"PERSON" help:"Who is away: a person's name or id."`
	Until  string `required:"" placeholder:"TIME" help:"When it ends: 2026-12-24T18:00:00Z, or 168h from now. At most 90 days after it begins."`
	From   string `default:"0s" placeholder:"TIME" help:"When it begins, written alike; now, if left out."`
}

func (c *deputyAdd) Run(ctx context.Context, a *app) error {
	var d approvals.Delegation
	ask, err := c.asks(time.Now())
	if err != nil {
		return err
	}
	err = a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		d, err = g.Deputise(ctx, by, ask)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, d, func(w io.Writer) {
		fmt.Fprintf(w, "%s stands in for %s from %s until %s (%s).\n", plainly(d.Deputy), plainly(d.Absent), when(d.From), when(d.Until), d.ID)
	})
}

func (c *deputyAdd) asks(now time.Time) (ask gate.Deputising, err error) {
	ask = gate.Deputising{Absent: c.For, Deputy: c.Deputy}
	if ask.From, err = parseWhen("--from", c.From, now); err == nil {
		ask.Until, err = parseWhen("--until", c.Until, now)
	}
	return ask, err
}

type deputyRemove struct {
	forMerchant
	asJSON
	ID string `arg:"" help:"The delegation's id, dlg_…."`
}

func (c *deputyRemove) Run(ctx context.Context, a *app) error {
	var d approvals.Delegation
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		d, err = g.EndDeputy(ctx, by, c.ID)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, d, func(w io.Writer) {
		fmt.Fprintf(w, "%s does not stand in for %s any more.\n", plainly(d.Deputy), plainly(d.Absent))
	})
}
