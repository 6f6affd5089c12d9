package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/rehearsal"
)

type policyReplay struct {
	forMerchant
	asJSON
	document
	Since string `default:"7d" placeholder:"7d|TIME" help:"From when on: how long ago (30m, 24h, 7d), or a time such as 2026-11-01T00:00:00Z."`
	Until string `placeholder:"1d|TIME" help:"Up to when; now if left out."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *policyReplay) Validate() error {
	_, err := c.span(time.Now())
	return err
}

func (c *policyReplay) span(now time.Time) (s gate.Span, err error) {
	if s.Since, err = ago(c.Since, now); err != nil {
		return s, fmt.Errorf("--since %w", err)
	}
	if c.Until == "" {
		return s, nil
	}
	if s.Until, err = ago(c.Until, now); err != nil {
		return s, fmt.Errorf("--until %w", err)
	}
	return s, nil
}

// ago reads a time, or how long before now it was.
func ago(text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	var d policy.Duration
	if d.UnmarshalText([]byte(text)) != nil {
		return time.Time{}, errors.New("takes how long ago, such as 24h or 7d, or a time such as 2026-11-01T00:00:00Z")
	}
	return now.Add(-time.Duration(d)), nil
}

func (c *policyReplay) Run(ctx context.Context, a *app) error {
	source, err := c.read()
	if err != nil {
		return err
	}
	span, err := c.span(time.Now())
	if err != nil {
		return err
	}
	var report rehearsal.Report
	err = a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		report, err = g.Replay(ctx, by, source, span, a.progress())
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, report, func(w io.Writer) { writeRehearsal(w, report) })
}

// progress writes how far a rehearsal is, on one line of a terminal; elsewhere nothing.
func (a *app) progress() func(rehearsal.Report) {
	f, ok := a.err.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	last := time.Now()
	return func(r rehearsal.Report) {
		if time.Since(last) > time.Second/2 {
			last = time.Now()
			fmt.Fprintf(f, "\r%d calls, up to %s", r.Calls, when(r.Through))
		}
		if r.Complete {
			fmt.Fprintln(f)
		}
	}
}

func writeRehearsal(w io.Writer, r rehearsal.Report) {
	fmt.Fprintf(w, "%s\n", r.Summary)
	fmt.Fprintf(w, "Of %s to %s: %d calls, %d unchanged, %d refused by what no policy decides, %d repeats.\n",
		when(r.Since), when(r.Through), r.Calls, r.Unchanged, r.KeptRefused, r.Repeats)
	for why, n := range r.Unknown {
		fmt.Fprintf(w, "%d cannot be decided again: %s.\n", n, why)
	}
	writeRows(w, "AGENT", r.Agents)
	writeRows(w, "RULE", r.Rules)
	rows := [][]string{}
	for _, kind := range rehearsal.Kinds {
		for _, e := range r.Examples[kind] {
			rows = append(rows, []string{string(kind), e.CallID, when(e.At), e.Agent, e.Tool, e.Was.Status + " " + e.Was.Rule, string(e.Would.Outcome) + " " + e.Would.Rule, e.Would.Why})
		}
	}
	if len(rows) > 0 {
		fmt.Fprintln(w, "\nExamples:")
		table(w, []string{"KIND", "CALL", "AT", "AGENT", "TOOL", "WAS", "WOULD", "WHY"}, rows)
	}
}

func writeRows(w io.Writer, name string, all []rehearsal.Row) {
	if len(all) == 0 {
		return
	}
	rows := [][]string{}
	for _, row := range all {
		rows = append(rows, []string{row.Name, string(row.Kind), number(row.Calls), number(row.Customers), row.Amounts()})
	}
	fmt.Fprintln(w)
	table(w, []string{name, "KIND", "CALLS", "CUSTOMERS", "MONEY"}, rows)
}
