package main

import (
	"context"
	"fmt"
	"io"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy"
)

type policyShadow struct {
	Cast   shadowCast   `cmd:"" default:"withargs" help:"Let a document run beside the one in force."`
	Off    shadowOff    `cmd:"" help:"End it."`
	Report shadowReport `cmd:"" help:"Say where it has differed so far."`
}

type shadowCast struct {
	forMerchant
	asJSON
	document
	Note string `required:"" placeholder:"TEXT" help:"Why, for whoever reads the record."`
}

func (c *shadowCast) Run(ctx context.Context, a *app) error {
	source, err := c.read()
	if err != nil {
		return err
	}
	var cast policy.Shadow
	err = a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		cast, err = g.CastShadow(ctx, by, source, c.Note)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, cast, func(w io.Writer) {
		fmt.Fprintf(w, "%s runs beside the policy in force (sha256 %s). It decides nothing; `dtcgate policy shadow report` says where it differs.\n", c.name(), cast.Hash)
	})
}

type shadowOff struct {
	forMerchant
	asJSON
}

func (c *shadowOff) Run(ctx context.Context, a *app) error {
	var lifted policy.Shadow
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		lifted, err = g.LiftShadow(ctx, by)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, lifted, func(w io.Writer) { fmt.Fprintf(w, "The draft of %s runs no more.\n", when(lifted.At)) })
}

type shadowReport struct {
	forMerchant
	asJSON
}

func (c *shadowReport) Run(ctx context.Context, a *app) error {
	var r gate.ShadowReport
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		r, err = g.ShadowReport(ctx, by)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, r, func(w io.Writer) {
		fmt.Fprintf(w, "Since %s the draft (sha256 %s) has differed about %d calls.\n", when(r.At), r.Hash, r.Differences)
		counts, examples := [][]string{}, [][]string{}
		for _, n := range r.Tools {
			counts = append(counts, []string{n.Tool, string(n.Kind), number(n.Calls)})
		}
		for _, e := range r.Examples {
			examples = append(examples, []string{e.CallID, e.Tool, string(e.Kind), e.Live, e.Draft, e.Why})
		}
		if len(counts) > 0 {
			table(w, []string{"TOOL", "KIND", "CALLS"}, counts)
			fmt.Fprintln(w)
			table(w, []string{"CALL", "TOOL", "KIND", "LIVE", "DRAFT", "WHY"}, examples)
		}
	})
}
