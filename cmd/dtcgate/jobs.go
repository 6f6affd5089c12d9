package main

import (
	"context"
	"fmt"
	"io"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

type jobCmds struct {
	List      jobList      `cmd:"" help:"List calls that outlive their answers, newest first."`
	Reconcile jobReconcile `cmd:"" help:"Say what became of a call of which nobody knows whether it happened."`
}

type jobList struct {
	forMerchant
	asJSON
	NeedsDecision bool `help:"Only those of which nobody knows whether they happened, oldest first."`
}

func (c *jobList) Run(ctx context.Context, a *app) error {
	read := approvals.Recent
	if c.NeedsDecision {
		read = approvals.Doubtful
	}
	jobs := []tools.Job{}
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) error {
		found, err := read(tx, m.ID, listMax)
		for _, j := range found {
			jobs = append(jobs, j.Job)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, jobs, func(w io.Writer) {
		if len(jobs) == 0 {
			fmt.Fprintln(w, "There are none.")
			return
		}
		rows := [][]string{}
		for _, j := range jobs {
			rows = append(rows, []string{j.JobID, string(j.Status), j.Tool, when(j.CreatedAt), j.Summary, j.Why})
		}
		table(w, []string{"ID", "STATUS", "TOOL", "ASKED", "WOULD", "WHY"}, rows)
		if len(jobs) == listMax {
			fmt.Fprintf(w, "These are the first %d; there may be more.\n", listMax)
		}
	})
}

// jobReconcile is a person's word on a call whose outcome was lost.
type jobReconcile struct {
	forMerchant
	asJSON
	ID      string `arg:"" help:"The job's id."`
	Outcome string `arg:"" enum:"happened,did-not-happen" help:"What became of it at the outside system: happened or did-not-happen."`
	As      string `required:"" placeholder:"PERSON" help:"Who says so: a person's name or id."`
	Reason  string `required:"" help:"How this person knows, for the record and the agent."`
}

var outcomes = map[string]tools.Known{"happened": tools.Happened, "did-not-happen": tools.DidNotHappen}

func (c *jobReconcile) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(db *store.DB) error {
		var person auth.Principal
		err := db.Read(ctx, func(tx *store.Tx) error {
			m, err := c.find(tx)
			if err == nil {
				person, err = findPerson(tx, m, c.As)
			}
			return err
		})
		if err != nil {
			return err
		}
		g := gate.New(gate.Config{DB: db, Tools: registry, Log: zerolog.New(a.err)})
		j, err := g.Reconcile(ctx, person, gate.Reconciliation{JobID: c.ID, Outcome: outcomes[c.Outcome], Reason: c.Reason, Channel: "cli"})
		if err != nil {
			return err
		}
		return c.print(a, j, func(w io.Writer) { fmt.Fprintf(w, "%s is %s. %s\n", j.JobID, j.Status, visible(j.Why)) })
	})
}
