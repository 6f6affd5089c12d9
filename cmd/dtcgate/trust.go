package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/trust"
)

type trustCmds struct {
	Show     trustShow     `cmd:"" help:"Show how much agents are trusted, and what their sandbox lets them call."`
	History  trustHistory  `cmd:"" help:"Show what moved the trust in an agent, newest first."`
	Feedback trustFeedback `cmd:"" help:"Move the trust in an agent by hand, within the bounds of the policy."`
}

type trustShow struct {
	forMerchant
	asJSON
	Key string `placeholder:"key_…" help:"Only this key, or agent of an issuer (jwt_…)."`
}

// trustShown bounds a page of agents.
const trustShown = 200

func (c *trustShow) Run(ctx context.Context, a *app) error {
	var all []trust.Standing
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		all, err = c.read(ctx, g, by)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, all, func(w io.Writer) {
		rows := [][]string{}
		for _, s := range all {
			rows = append(rows, []string{s.Agent, s.Score.String(), string(s.Sandbox.Level), s.Sandbox.Ceiling.String(), when(s.ChangedAt)})
		}
		table(w, []string{"AGENT", "TRUST", "SANDBOX", "CEILING", "CHANGED"}, rows)
	})
}

func (c *trustShow) read(ctx context.Context, g *gate.Gate, by gate.By) (all []trust.Standing, err error) {
	if c.Key != "" {
		one, err := g.Trust(ctx, by, c.Key)
		return []trust.Standing{one}, err
	}
	for l := (gate.Listing{Limit: trustShown}); ; {
		page, err := g.Trusted(ctx, by, l)
		all = append(all, page.Rows...)
		if err != nil || page.Next == "" {
			return all, err
		}
		l.Cursor = page.Next
	}
}

type trustHistory struct {
	forMerchant
	asJSON
	Key string `required:"" placeholder:"key_…" help:"The key, or agent of an issuer (jwt_…)."`
}

func (c *trustHistory) Run(ctx context.Context, a *app) error {
	var all []trust.Moved
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		all, err = g.TrustHistory(ctx, by, c.Key)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, all, func(w io.Writer) {
		rows := [][]string{}
		for _, m := range all {
			rows = append(rows, []string{
				when(m.LastAt), string(m.Kind), m.Code, fmt.Sprint(m.Count), m.Before.String(), m.After.String(), m.CallID, m.By, visible(m.Note),
			})
		}
		table(w, []string{"AT", "SIGNAL", "CODE", "TIMES", "BEFORE", "AFTER", "CALL", "BY", "NOTE"}, rows)
	})
}

type trustFeedback struct {
	forMerchant
	asJSON
	Key   string `required:"" placeholder:"key_…" help:"The key, or agent of an issuer (jwt_…)."`
	Score string `required:"" placeholder:"±N" help:"By how many points, such as --score=-10 or --score=2.5."`
	Note  string `required:"" placeholder:"TEXT" help:"Why, for whoever reads the history."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *trustFeedback) Validate() error {
	if _, err := trust.ParseScore(c.Score); err != nil {
		return errors.New("--score takes points from -100 to 100 with at most three decimals, such as --score=-10")
	}
	return nil
}

func (c *trustFeedback) Run(ctx context.Context, a *app) error {
	score, err := trust.ParseScore(c.Score)
	if err != nil {
		return err
	}
	var s trust.Standing
	err = a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		s, err = g.GiveFeedback(ctx, by, c.Key, gate.Feedback{Score: score, Note: c.Note})
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, s, func(w io.Writer) {
		fmt.Fprintf(w, "The trust in %s is %s now: %s.\n", s.Agent, s.Score, s.Sandbox.Level)
	})
}
