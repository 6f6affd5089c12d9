package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

type approvalCmds struct {
	List    approvalList    `cmd:"" help:"List what waits for a decision."`
	Show    approvalShow    `cmd:"" help:"Show one request in full."`
	Approve approvalApprove `cmd:"" help:"Show a request and let it run."`
	Deny    approvalDeny    `cmd:"" help:"Show a request and end it."`
	Report  approvalReport  `cmd:"" help:"Tell how the requests of the last days went, rule by rule."`

	Withdraw approvalWithdraw `cmd:"" help:"Take back a yes to a request that is not decided yet."`
	Cancel   approvalCancel   `cmd:"" help:"End a request for whoever answers for the agent, or as an admin."`
	Deputies deputyCmds       `cmd:"" help:"Who stands in for whom, from a day until a day."`

	Grant  grantAsk  `cmd:"" help:"Ask people to agree beforehand to calls like one that was asked about."`
	Grants grantCmds `cmd:"" help:"Standing grants: calls that people have agreed to beforehand."`
}

type approvalList struct {
	forMerchant
	asJSON
	All bool `help:"List what is decided, too."`
}

// listMax bounds a list of requests, newest first.
const listMax = 200

func (c *approvalList) Run(ctx context.Context, a *app) error {
	var requests []approvals.Request
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		requests, err = approvals.List(tx, m.ID, c.All, listMax)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, requests, func(w io.Writer) {
		if len(requests) == 0 {
			fmt.Fprintln(w, "Nothing waits for a decision.")
			return
		}
		rows := [][]string{}
		for _, r := range requests {
			rows = append(rows, []string{r.ID, string(r.State), r.Fingerprint, plainly(r.AskedBy), when(r.ExpiresAt), r.Missing, plainly(r.Preview.Summary)})
		}
		table(w, []string{"ID", "STATE", "FINGERPRINT", "ASKED BY", "EXPIRES", "STILL NEEDS", "WOULD"}, rows)
		if len(requests) == listMax {
			fmt.Fprintf(w, "These are the newest %d; there may be more.\n", listMax)
		}
	})
}

type approvalShow struct {
	forMerchant
	asJSON
	ID string `arg:"" help:"The approval's id or its job's."`
}

func (c *approvalShow) Run(ctx context.Context, a *app) error {
	var d gate.Decided
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		if d.Request, err = findRequest(tx, m, c.ID); err != nil {
			return err
		}
		job, err := approvals.FindJob(tx, m.ID, d.JobID)
		d.Job = job.Job
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, d, func(w io.Writer) {
		writeRequest(w, d.Request)
		writeJob(w, d)
	})
}

func findRequest(tx *store.Tx, m auth.Merchant, id string) (approvals.Request, error) {
	r, err := approvals.Find(tx, m.ID, id)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("there is no request %q: `dtcgate approvals list --all` shows them", id)
	}
	return r, err
}

// ballot is the command line of a decision.
type ballot struct {
	forMerchant
	asJSON
	ID       string `arg:"" help:"The approval's id or its job's."`
	As       string `required:"" placeholder:"PERSON" help:"Who decides: a person's name or id."`
	Reason   string `help:"Why, for the record and the agent. A denial takes one."`
	For      string `placeholder:"PERSON" help:"Who is away and stood in for."`
	Read     bool   `name:"acknowledge" help:"You have read what of the agent's reason does not fit the record."`
	Override bool   `help:"Decide alone, where the rule lets somebody who holds approvals:override. It takes a reason."`
}

type (
	approvalApprove struct{ ballot }
	approvalDeny    struct{ ballot }
)

func (c *approvalApprove) Run(ctx context.Context, a *app) error {
	return c.decide(ctx, a, approvals.Approve)
}

func (c *approvalDeny) Run(ctx context.Context, a *app) error {
	return c.decide(ctx, a, approvals.Deny)
}

// decide shows the request and votes for what was shown: the hash that stands on the screen goes with the vote.
func (c *ballot) decide(ctx context.Context, a *app, decision approvals.Decision) error {
	return a.with(ctx, func(db *store.DB) error {
		person, r, err := c.readAs(ctx, db, c.As, c.ID)
		if err != nil {
			return err
		}
		if !c.JSON {
			writeRequest(a.out, r)
		}
		g := gate.New(gate.Config{DB: db, Tools: registry, Log: zerolog.New(a.err)})
		d, err := g.Vote(ctx, person, gate.Ballot{
			ID: r.ID, Decision: decision, Override: c.Override, For: c.For, Reason: c.Reason, Seen: r.BindingHash, Acknowledged: c.Read, Channel: "cli",
		})
		if err != nil {
			return err
		}
		return c.print(a, d, func(w io.Writer) { writeJob(w, d) })
	})
}

// readAs gives who is at work and the request that it is about.
func (f forMerchant) readAs(ctx context.Context, db *store.DB, as, id string) (person auth.Principal, r approvals.Request, err error) {
	err = db.Read(ctx, func(tx *store.Tx) error {
		m, err := f.find(tx)
		if err == nil {
			person, err = findPerson(tx, m, as)
		}
		if err == nil {
			r, err = findRequest(tx, m, id)
		}
		return err
	})
	return person, r, err
}

// statement is the command line of what a person does to a request beside voting.
type statement struct {
	forMerchant
	asJSON
	ID string `arg:"" help:"The approval's id or its job's."`
	As string `required:"" placeholder:"PERSON" help:"Who does it: a person's name or id."`
}

type (
	approvalWithdraw struct {
		statement
		Reason string `help:"Why, for the record."`
	}
	approvalCancel struct {
		statement
		Reason string `required:"" help:"Why, for the record and the agent."`
	}
)

func (c *approvalWithdraw) Run(ctx context.Context, a *app) error {
	return c.do(ctx, a, c.Reason, (*gate.Gate).Withdraw)
}

func (c *approvalCancel) Run(ctx context.Context, a *app) error {
	return c.do(ctx, a, c.Reason, (*gate.Gate).CallOff)
}

func (c *statement) do(ctx context.Context, a *app, reason string, act func(*gate.Gate, context.Context, auth.Principal, gate.Ballot) (gate.Decided, error)) error {
	return a.with(ctx, func(db *store.DB) error {
		person, r, err := c.readAs(ctx, db, c.As, c.ID)
		if err != nil {
			return err
		}
		g := gate.New(gate.Config{DB: db, Tools: registry, Log: zerolog.New(a.err)})
		d, err := act(g, ctx, person, gate.Ballot{ID: r.ID, Reason: reason, Channel: "cli"})
		if err != nil {
			return err
		}
		return c.print(a, d, func(w io.Writer) { writeJob(w, d) })
	})
}

type approvalReport struct {
	forMerchant
	asJSON
	Days int `default:"7" help:"Of how many days: 1 to 90."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *approvalReport) Validate() error {
	if c.Days < 1 || c.Days > gate.MaxReportDays {
		return fmt.Errorf("--days is 1 to %d", gate.MaxReportDays)
	}
	return nil
}

func (c *approvalReport) Run(ctx context.Context, a *app) error {
	var report []approvals.RuleReport
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		report, err = approvals.Report(tx, m.ID, tx.Now.AddDate(0, 0, -c.Days))
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, report, func(w io.Writer) { writeRuleReport(w, report) })
}

func writeRuleReport(w io.Writer, report []approvals.RuleReport) {
	if len(report) == 0 {
		fmt.Fprintln(w, "Nothing was asked.")
		return
	}
	rows := [][]string{}
	for _, r := range report {
		row := []string{r.Rule}
		for _, n := range []int64{r.Asked, r.Approved, r.Denied, r.Lapsed, r.Other, r.Open, r.Flagged} {
			row = append(row, shop.Thousands(n))
		}
		rows = append(rows, append(row, r.Median.Truncate(time.Second).String(), r.Advice))
	}
	table(w, []string{"RULE", "ASKED", "APPROVED", "DENIED", "LAPSED", "OTHER", "OPEN", "IN HASTE", "MEDIAN", "ADVICE"}, rows)
}
