// Package gate is the one way to a tool.
//
// Call judges a call, records it, and parks or runs it. Vote counts what a person says to a parked call. Work carries
// out what waits, after judging it again. The package keeps these promises, and each is the name of a test:
//
//  1. No effect without a record. A read is recorded before its answer leaves; a write commits its effect, its
//     idempotency row and its record in one transaction; a stepped write does so with every step.
//  2. No record without the policy in force: version, rule, verdicts, principal chain, tool, status, latency and cost
//     stand in every entry, of refused and parked calls too.
//  3. One decision for all transports. Servers hand over a Request and get an Outcome or a *tools.Refusal; nothing here
//     depends on where it came from.
//  4. What was approved is what runs. The stored bytes run under the bound hash, and the facts are read again.
//  5. Fail closed. What cannot be judged or recorded is refused, and says so.
//  6. A new tool cannot forget a check. The checks are one list over all tools, and only this package takes a Handler.
//
// The order of judgement is in checks (judge.go): the first refusal wins. A refusal rolls everything back and is
// recorded in a transaction of its own.
package gate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/approvals/notify"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/spans"
	"github.com/dtcgate/dtcgate/tools"
)

// Config is everything a Gate depends on.
type Config struct {
	DB    *store.DB
	Tools *tools.Registry
	Log   zerolog.Logger // of internal errors, each once, with the call's id
	// Exports are customers' dossiers; without it none can be fetched.
	Exports *shop.DossierFiles
	// OIDC is the identity provider at which people sign in; without it none can.
	OIDC    *auth.OIDC
	Issuers *auth.Issuers // of tokens that let agents in; nil: there are none
	// Webhooks tell services outside what happens; nil: none are told.
	Webhooks *notify.Webhooks
	Observe  func(Observed) // is told of every call, by the goroutine that made it; nil: nobody is
	Spans    *spans.Tracer  // nil: nothing is traced
}

// A Gate judges, records, parks and runs calls. All its methods may be used concurrently.
type Gate struct {
	db        *store.DB
	tools     *tools.Registry
	log       zerolog.Logger
	queue     queue
	exports   *shop.DossierFiles
	oidc      *auth.OIDC
	issuers   *auth.Issuers
	webhooks  *notify.Webhooks
	wake      chan struct{} // tells a worker of this process that something may be due
	strangers strangers
	known     auth.Known // the callers of late
	records   store.Gathered[audit.Sealed]
	policies  policies
	shadows   shadows
	used      used
	feed      feed
	touched   touched
	outside   *outside
	frozen    noticed
	observe   func(Observed)
	spans     *spans.Tracer
	load      load
}

// New makes a gate. It starts nothing; Work carries out what waits.
func New(c Config) *Gate {
	return &Gate{
		db: c.DB, tools: c.Tools, log: c.Log, exports: c.Exports, issuers: c.Issuers, oidc: c.OIDC, webhooks: c.Webhooks,
		records: store.Gathered[audit.Sealed]{DB: c.DB, Write: audit.AppendSealed},
		wake:    make(chan struct{}, 1), strangers: newStrangers(), used: newUsed(), outside: newOutside(),
		observe: c.Observe, spans: c.Spans,
	}
}

// A Request is a call as a transport hands it over, not yet judged.
type Request struct {
	Tool      string
	Args      []byte // JSON as it came; nil for none
	Transport string // mcp, rest
	Source    string // the caller's network address
	// IdempotencyKey came beside the arguments (a header). It becomes the argument of that name where the tool has one.
	IdempotencyKey string
	FillFacts      bool // see tools.Route
	// Wrong is what the transport found wrong with the arguments, so that they are none. The call is judged all the same.
	Wrong *tools.Refusal
	Trace string // the W3C traceparent that the message itself names; "" for none
}

// An Outcome is the answer to a call that was not refused.
type Outcome struct {
	CallID   string
	Status   tools.Status
	Body     json.RawMessage // the same bytes on every transport
	Text     string          // for models and people, where the body is not itself the answer
	Replayed bool            // the answer to an earlier call with the same idempotency key
	Job      tools.Job       // that the call became, or the one it repeats, as it stands; none for most calls
}

// call is one call on its way through the gate.
type call struct {
	tools.Call
	req Request

	key      string // idempotency key
	checks   []audit.Check
	dryRun   bool
	argsHash string
	asked    string // hash of the arguments before facts were filled in: what a repeat is known by
	stated   []byte // the arguments before facts were filled in; nil: none were
	repeats  bool   // its key was used before, so that no facts were filled in
	consumed bool   // its approval is used up in the running transaction; from there on it fails and is not invalidated
	action   string // that it asks for, if there is such a one
	policy   *policy.Policy
	facts    policy.Facts    // what the policy is asked about it
	taint    *auth.Taint     // of the caller; nil: none
	said     *trust.Asked    // by the outside source of trust, if there is one
	ask      approvals.Rule  // whose consent it waits for
	parked   bool            // it does
	grant    approvals.Grant // that it runs under in place of being asked about; none for most
	planned  bool            // it is only judged, and not made
	rule     string          // that decided
	risk     tools.Risk
	rated    *auth.Level // as an earlier call was rated, in place of risk, for one that takes it back
	class    tools.Class // the consent that this call may need
	preview  tools.Preview
	objects  []tools.Object // that it is about
	rows     []tools.Object // that its answer shows
	out      Outcome
	job      string         // of a parked or queued call
	stored   *approvals.Job // of a call that is resumed
	approval approvals.Request
	question *approvals.Request // that people are to be asked
	changed  []tools.Change     // what is not as people saw it
	parts    []*call            // of a batch: its calls
	batch    *call              // that it is part of; nil: of none
	nth      int                // of the calls of its batch, from 1
}

// take is Call but for those who watch it (observe.go).
func (g *Gate) take(ctx context.Context, p auth.Principal, r Request) (Outcome, error) {
	c := g.newCall(p, r)
	if err := g.safely(c.ID, func() error { return g.handle(ctx, c) }); err != nil {
		if p.Recalled() && undone(err) {
			if now, gone := g.Confirm(ctx, p, r.Source); gone != nil {
				return Outcome{}, gone
			} else if !now.Same(p) {
				return g.take(ctx, now, r)
			}
		}
		g.used.count(c.Principal, auth.Used{Refusals: 1, LastUsedAt: c.Started})
		return Outcome{}, g.refuse(ctx, c, err)
	}
	g.used.count(c.Principal, auth.Used{Uses: 1, LastUsedAt: c.Started})
	g.earned(c)
	c.out.Body = c.Reveal(c.out.Body)
	return c.out, nil
}

// undone reports whether it is known that nothing came of a call that failed, so that it may be judged anew.
func undone(err error) bool {
	code := asRefusal(err).Code
	return code != tools.Unavailable && code != tools.Internal
}

func (g *Gate) newCall(p auth.Principal, r Request) *call {
	now := g.db.Now().Truncate(time.Microsecond) // as its id tells it: who decides the call again later does so at this time
	c := &call{
		Call: tools.Call{
			ID: store.NewID("call", now), Started: now, Registry: g.tools, Jobs: g.queue, Undos: undos{g}, Traces: traces{},
			Delegates: delegates{g}, PolicyVersion: p.PolicyVersion,
		},
		req:    r,
		key:    r.IdempotencyKey,
		checks: make([]audit.Check, 0, 32), // a write has 27
	}
	c.madeBy(p)
	c.May, c.Granted, c.Plans, c.Batch = c.may, c.held, plans{g, c}, several{g, c}
	return c
}

func (g *Gate) handle(ctx context.Context, c *call) error {
	if err := g.judge(ctx, c, checks); err != nil {
		return err
	}
	c.askOutside(ctx)
	store.Reach(store.Judged)
	c.out.CallID = c.ID
	if c.Tool.Writes() {
		return g.write(ctx, c)
	}
	return g.read(ctx, c)
}

// askAgain is how often a read that is not settled yet is repeated when nobody tells that what it reads has changed: what another process told
// may be lost on its way. Tests set it.
var askAgain = time.Second

// recordTime bounds the recording of an answer or a refusal when the caller, or the server itself, has no more time.
const recordTime = 10 * time.Second

func (g *Gate) read(ctx context.Context, c *call) error {
	answer, err := g.readSettled(ctx, c)
	if err != nil {
		return err
	}
	if c.out.Body, err = json.Marshal(answer); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	c.out.Status, c.out.Text = tools.Done, string(c.out.Body)
	store.Reach(store.ReadDone)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if g.leavesOnlyARecord(c) {
		return g.recordAmong(ctx, c)
	}
	return g.db.InTx(ctx, func(tx *store.Tx) error {
		c.Tx = tx
		if err := g.judgeTx(c, toldChecks); err != nil {
			return err
		}
		return g.record(tx, c, string(tools.Done))
	})
}

// leavesOnlyARecord reports whether nothing but its entry is to be stored of a read that was answered.
func (g *Gate) leavesOnlyARecord(c *call) bool {
	return !c.QuotesOutsider() && c.Principal.PolicyShadow == "" && len(c.charges()) == 0
}

// recordAmong records a read together with those of others.
func (g *Gate) recordAmong(ctx context.Context, c *call) error {
	c.Tx = nil
	if err := g.judge(ctx, c, toldChecks); err != nil {
		return err
	}
	sealed, err := audit.Seal(g.entry(c, policy.EventCall, string(tools.Done)), g.db.Now())
	if err != nil {
		return err
	}
	return g.records.Do(ctx, sealed)
}

// readSettled reads until the answer is settled, or gives the one in hand when there is no more time.
func (g *Gate) readSettled(ctx context.Context, c *call) (any, error) {
	judged := len(c.checks)
	answer, err := g.readOnce(ctx, c)
	for errors.Is(err, tools.ErrNotYet) && ctx.Err() == nil {
		c.checks = c.checks[:judged] // asked again with the read
		answer, err = g.readAgain(ctx, c)
	}
	if errors.Is(err, tools.ErrNotYet) {
		err = nil
	}
	return answer, err
}

// readAgain reads, and when the answer is not settled waits until another may be: somebody told that the object of the call has
// changed, or may have without telling. Nothing of the database is held meanwhile.
func (g *Gate) readAgain(ctx context.Context, c *call) (any, error) {
	told, stop := g.db.Listen(c.Tool.ResourceOf(c.Args))
	defer stop()
	answer, err := g.readOnce(ctx, c)
	if errors.Is(err, tools.ErrNotYet) {
		select {
		case <-ctx.Done():
		case <-told:
		case <-time.After(askAgain):
		}
	}
	return answer, err
}

func (g *Gate) readOnce(ctx context.Context, c *call) (answer any, err error) {
	err = g.db.Read(ctx, func(tx *store.Tx) error {
		c.Tx = tx
		if c.facts.Effect, err = rated(c, tools.Preview{}); err != nil {
			return err
		}
		c.see()
		limited := c.limited()
		if !limited {
			c.foresee()
		}
		if err := g.judgeTx(c, readChecks); err != nil {
			return err
		}
		if limited {
			c.foresee()
		}
		if answer, err = g.tracedRead(c); err != nil && !errors.Is(err, tools.ErrNotYet) {
			return err
		}
		return cmp.Or(g.judgeAnswer(c, answer), err)
	})
	return answer, err
}

// foresee lets the tool's questions go with the next query.
func (c *call) foresee() {
	if asks := c.Tool.Handler().Asks; asks != nil {
		c.Tx.Ahead(func() error { return asks(&c.Call) })
	}
}

// limited reports whether some objects are out of the caller's reach. Nothing of them is read before that is judged: how long it takes would tell
// whether they are there.
func (c *call) limited() bool {
	return c.Principal.Resources() != nil || !c.policy.Everything(c.facts.Profile)
}

// write does everything of a write in one transaction: what the call changes, what a repeat will be answered, and the
// record. Whatever fails, none of it is there.
func (g *Gate) write(ctx context.Context, c *call) error {
	return g.db.InTx(ctx, func(tx *store.Tx) error {
		c.Tx = tx
		if err := g.writeOnce(c); err != nil || c.job == "" {
			return err
		}
		var err error
		c.out.Job, err = g.queue.Job(tx, c.Principal, c.job)
		return err
	})
}

func (g *Gate) writeOnce(c *call) error {
	if err := g.judgeTx(c, heldChecks); err != nil {
		return err
	}
	if replayed, err := g.claimKey(c); err != nil || replayed {
		return err
	}
	store.Reach(store.KeyClaimed)
	c.foresee()
	if err := g.judgeTx(c, writeChecks); err != nil {
		return err
	}
	if err := g.act(c); err != nil {
		return err
	}
	store.Reach(store.Acted)
	if err := g.saveAnswer(c); err != nil {
		return err
	}
	defer store.Reach(store.Recorded)
	return g.record(c.Tx, c, string(c.out.Status))
}

// act takes the one of four ways that the judged call has: rehearse, park, queue, run.
func (g *Gate) act(c *call) error {
	switch {
	case c.dryRun:
		return c.answer(tools.Result{Status: tools.DryRun, Preview: &c.preview, Undo: c.Tool.Undo},
			"Rehearsed: nothing was done. "+c.preview.Summary)
	case c.parked:
		return g.park(c)
	case c.Tool.Handler().Works():
		return g.enqueue(c)
	}
	return g.run(c)
}

// run has the effect of a write, in the transaction that c holds.
func (g *Gate) run(c *call) error {
	image, err := keep(c)
	if err != nil {
		return err
	}
	result, err := g.tracedWrite(c)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	r := tools.Result{Status: tools.Done, Result: raw, Undo: c.Tool.Undo}
	if err := g.done(c, &r, image); err != nil {
		return err
	}
	return c.answer(r, "Done. "+c.preview.Summary)
}

// answer makes r the call's answer.
func (c *call) answer(r tools.Result, text string) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	c.out.Status, c.out.Body, c.out.Text = r.Status, body, text
	return nil
}

// notify wakes a worker; when one has been told already, that is enough.
func (g *Gate) notify() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}
