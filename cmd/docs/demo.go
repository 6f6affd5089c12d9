package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// seed and today fix the demo merchant. The day is a Sunday, as a demo's last day is a Saturday.
const seed = 1

var today = time.Date(2026, 11, 22, 9, 30, 0, 0, shop.London)

// demo is a gate in front of the generated merchant, with a key that may do everything, one whose calls are parked, and a
// person who approves them.
type demo struct {
	*gate.Gate
	db       *store.DB
	registry *tools.Registry
	merchant string
	free     auth.Principal
	asking   auth.Principal
	person   auth.Principal
}

func newDemo(ctx context.Context, db *store.DB) (*demo, error) {
	db.Now = func() time.Time { return today }
	d := &demo{db: db, registry: tools.NewRegistry(dtc.Tools()...)}
	d.Gate = gate.New(gate.Config{DB: db, Tools: d.registry, Log: zerolog.Nop()})
	err := db.InTx(ctx, func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, "demo")
		if err != nil {
			return err
		}
		d.merchant = m.ID
		if err := policytest.Install(tx, m.ID); err != nil {
			return err
		}
		if _, _, err := auth.AddPerson(tx, m.ID, "owner", "manager"); err != nil {
			return err
		}
		if d.person, err = auth.FindPerson(tx, m.ID, "owner"); err != nil {
			return err
		}
		if d.free, err = mint(tx, auth.Key{Merchant: m.ID, Name: "free-bot"}); err != nil {
			return err
		}
		d.asking, err = mint(tx, auth.Key{Merchant: m.ID, Name: "growth-bot", RequiresApproval: true})
		return err
	})
	if err == nil {
		_, err = shop.LoadDemo(ctx, db, d.merchant, seed, today)
	}
	return d, err
}

// mint makes a key that may do everything, and gives its principal.
func mint(tx *store.Tx, k auth.Key) (auth.Principal, error) {
	k.Profile = "admin"
	k.Scopes, k.Ceiling, k.Actions, k.Depth = auth.AgentScopes, auth.MaxLevel, []string{"*"}, auth.DefaultDepth
	_, secret, err := auth.MintKey(tx, k)
	if err != nil {
		return auth.Principal{}, err
	}
	return auth.Authenticate(tx, secret)
}

// An answer is what came of a call: the answer itself, and the job's end where there was a job.
type answer struct {
	Body   json.RawMessage
	Status tools.Status
	Job    tools.Job
}

// result is what a write gave, whether at once or through a job.
func (a answer) result() (r tools.Result, err error) {
	err = json.Unmarshal(a.Body, &r)
	if a.Job.JobID != "" {
		r.Result, r.UndoID = a.Job.Result, a.Job.UndoID
	}
	return r, err
}

// call calls a tool, approves it where it is parked, and carries it out where it waits.
func (d *demo) call(ctx context.Context, p auth.Principal, tool, args string) (answer, error) {
	out, err := d.Call(ctx, p, gate.Request{Tool: tool, Args: []byte(args), Transport: "rest"})
	if err != nil {
		return answer{}, err
	}
	a := answer{Body: out.Body, Status: out.Status}
	if out.Status != tools.PendingApproval && out.Status != tools.Queued {
		return a, nil
	}
	r, err := a.result()
	if err == nil && out.Status == tools.PendingApproval {
		_, err = d.Vote(ctx, d.person, gate.Ballot{ID: r.JobID, Decision: approvals.Approve, Seen: r.Approval.Fingerprint, Channel: "rest"})
	}
	for err == nil && (a.Job.JobID == "" || !a.Job.Status.Final()) { // another caller may be at it
		if err = d.work(ctx); err != nil {
			return a, err
		}
		if a.Job, err = d.job(ctx, r.JobID); err != nil {
			return a, err
		}
	}
	if err == nil && a.Job.Status != tools.JobSucceeded {
		err = fmt.Errorf("the job ended as %s (%s): %s", a.Job.Status, a.Job.Reason, a.Job.Why)
	}
	return a, err
}

// work carries out all that waits.
func (d *demo) work(ctx context.Context) error {
	for {
		worked, err := d.Resume(ctx, "docs")
		if err != nil || !worked {
			return err
		}
	}
}

func (d *demo) job(ctx context.Context, id string) (j tools.Job, err error) {
	err = d.db.Read(ctx, func(tx *store.Tx) error {
		found, err := approvals.FindJob(tx, d.merchant, id)
		j = found.Job
		return err
	})
	return j, err
}

// An example is a tool's example after it ran.
type example struct {
	Args   string
	Answer answer
}

// example runs a tool's example. What an example cannot name beforehand is made first: a parked job, and a write to undo.
func (d *demo) example(ctx context.Context, t *tools.Tool) (e example, err error) {
	if e.Args, err = d.filled(ctx, t.Example); err != nil {
		return e, err
	}
	who := d.free
	if strings.Contains(t.Example, jobPlace) {
		who = d.asking // whose job it is
	}
	e.Answer, err = d.call(ctx, who, t.Name, e.Args)
	if r := (*tools.Refusal)(nil); errors.As(err, &r) {
		raw, _ := json.Marshal(r)
		err = fmt.Errorf("%s %s is refused: %s", t.Name, e.Args, raw)
	}
	return e, err
}

// Places in examples for ids that do not exist before.
const (
	jobPlace  = "{{job_id}}"
	undoPlace = "{{undo_id}}"
)

// filled puts ids that do not exist before into an example's places for them.
func (d *demo) filled(ctx context.Context, args string) (string, error) {
	for place, make := range map[string]func(context.Context) (string, error){jobPlace: d.parkedJob, undoPlace: d.undoable} {
		if !strings.Contains(args, place) {
			continue
		}
		id, err := make(ctx)
		if err != nil {
			return args, err
		}
		args = strings.ReplaceAll(args, place, id)
	}
	return args, nil
}

func (d *demo) parkedJob(ctx context.Context) (string, error) {
	t, _ := d.registry.Find("dtc_publish_page")
	out, err := d.Call(ctx, d.asking, gate.Request{Tool: t.Name, Args: []byte(t.Example), Transport: "rest"})
	if err != nil {
		return "", err
	}
	r, err := answer{Body: out.Body}.result()
	return r.JobID, err
}

func (d *demo) undoable(ctx context.Context) (string, error) {
	t, _ := d.registry.Find("dtc_create_campaign")
	a, err := d.call(ctx, d.free, t.Name, t.Example)
	if err != nil {
		return "", err
	}
	r, err := a.result()
	return r.UndoID, err
}
