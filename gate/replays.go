package gate

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/rehearsal"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A rehearsal that is asked for over the network runs on in the process that was asked, and its row says how far it is, so that any process
// can tell. It outlives the request, and ends with the process.

// tellEvery is how often a rehearsal writes down how far it is.
const tellEvery = time.Second

// replayTime bounds a rehearsal over the network.
const replayTime = 15 * time.Minute

// StartReplay begins the rehearsal of a draft for who may publish one, and answers with its row. Every error is a *tools.Refusal.
func (g *Gate) StartReplay(ctx context.Context, by By, source string, span Span) (policy.Replay, error) {
	draft, err := g.admitRehearsal(ctx, by, source, &span)
	if err != nil {
		return policy.Replay{}, err
	}
	r := policy.Replay{Merchant: by.Principal.Merchant, AskedBy: by.Principal.Chain()[0]}
	err = g.db.InTx(ctx, func(tx *store.Tx) (err error) {
		r, err = policy.BeginReplay(tx, r)
		return err
	})
	if errors.Is(err, policy.ErrTooManyReplays) {
		err = tools.Refuse(tools.LimitExceeded, "Wait until one is done.", "%d rehearsals run already.", policy.ReplaysAtOnce)
	}
	if err != nil {
		return r, g.refusePerson(ctx, by.Principal, eventRehearsed+".refused", Ballot{Channel: by.Transport, Source: by.Source}, err)
	}
	go g.runReplay(context.WithoutCancel(ctx), r, draft, span)
	return r, nil
}

// runReplay rehearses until it is done, its time is over, or its row says that it is taken for dead.
func (g *Gate) runReplay(ctx context.Context, r policy.Replay, draft *policy.Policy, span Span) {
	ctx, cancel := context.WithTimeout(ctx, replayTime)
	defer cancel()
	told := time.Now()
	var report rehearsal.Report
	err := g.safely(r.ID, func() (err error) {
		report, err = g.replayRecord(ctx, r.Merchant, draft, span, func(so rehearsal.Report) {
			if time.Since(told) < tellEvery {
				return
			}
			told = time.Now()
			if err := g.tellReplay(ctx, r, so); err != nil {
				cancel()
			}
		})
		return err
	})
	if r.Status = policy.ReplayDone; err != nil {
		r.Status, r.Why = policy.ReplayFailed, asRefusal(err).Message
	}
	last, done := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer done()
	if failed := g.tellReplay(last, r, report); failed != nil && !errors.Is(failed, policy.ErrReplayOver) || err != nil {
		g.logInternal(r.ID, tools.Internal, errors.Join(err, failed))
	}
}

func (g *Gate) tellReplay(ctx context.Context, r policy.Replay, report rehearsal.Report) (err error) {
	if r.Report, err = json.Marshal(report); err != nil {
		return err
	}
	return g.db.InTx(ctx, func(tx *store.Tx) error { return policy.AdvanceReplay(tx, r) })
}

// ShowReplay gives a rehearsal with what was found so far.
func (g *Gate) ShowReplay(ctx context.Context, by By, id string) (policy.Replay, error) {
	op := Op{Event: "policy.rehearsal.read", Scope: auth.PolicyAdmin}
	return examine(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (policy.Replay, string, error) {
		if _, ok := store.IDTime(id); !ok { // no text that PostgreSQL would refuse
			return policy.Replay{}, "", store.ErrNotFound
		}
		r, err := policy.FindReplay(tx, p.Merchant, id)
		return r, "policy_replay:" + r.ID, err
	})
}
