package gate

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/approvals/notify"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/export"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/lease"
	"github.com/dtcgate/dtcgate/store/spans"
	"github.com/dtcgate/dtcgate/tools"
)

// An Observed is a call as it ended, for whoever counts calls. Nothing in it was written by a caller.
type Observed struct {
	Tool      *tools.Tool // nil: there is none of that name
	Transport string      // as the server gave it
	Status    tools.Status
	Replayed  bool          // the answer to an earlier call
	Code      tools.Code    // of the refusal; "" when the call was not refused
	Took      time.Duration // from when the gate was asked until it answered
}

// Verdicts are how a call may end.
var Verdicts = []string{string(tools.Done), string(tools.DryRun), string(tools.PendingApproval), string(tools.Queued), Replayed, Refused}

// The verdicts that are not statuses of an answer.
const (
	Replayed = "replayed"
	Refused  = "refused"
)

// Verdict is how the call ended, one of Verdicts.
func (o Observed) Verdict() string {
	switch {
	case o.Code != "":
		return Refused
	case o.Replayed:
		return Replayed
	}
	return string(o.Status)
}

// load is what a gate is doing now.
type load struct{ calls, busy atomic.Int64 }

// Load gives how many calls are on their way, how many of the workers carry out something, and how many workers there are.
func (g *Gate) Load() (calls, busy, all int64) {
	return g.load.calls.Load(), g.load.busy.Load(), workers
}

// Call takes p's request to a tool. The decision is on record before an answer leaves: without a record nothing runs
// and nothing is told. Every error is a *tools.Refusal.
func (g *Gate) Call(ctx context.Context, p auth.Principal, r Request) (Outcome, error) {
	began := time.Now()
	g.load.calls.Add(1)
	defer g.load.calls.Add(-1)
	ctx, span := g.spans.Message(ctx, "gate.call", r.Trace)
	out, err := g.take(ctx, p, r)
	if g.observe == nil && span == nil {
		return out, err
	}
	o := Observed{Transport: r.Transport, Status: out.Status, Replayed: out.Replayed}
	o.Tool, _ = g.tools.Find(r.Tool)
	id := out.CallID
	if refusal := (*tools.Refusal)(nil); errors.As(err, &refusal) {
		o.Code, id = refusal.Code, refusal.CallID
	}
	o.Took = time.Since(began)
	if g.observe != nil {
		g.observe(o)
	}
	describe(span, o, id, p.PolicyVersion)
	return out, err
}

// describe says in the span of a call what became of it.
func describe(span *spans.Span, o Observed, id string, version int64) {
	if span == nil {
		return
	}
	c := spans.Call{
		ID: id, Transport: o.Transport, Verdict: o.Verdict(), Code: string(o.Code), PolicyVersion: version,
		Fault: o.Code == tools.Internal || o.Code == tools.Unavailable,
	}
	if o.Tool != nil {
		c.Tool = o.Tool.Name
	}
	span.Called(c)
	span.End(nil)
}

// tracedWrite is the tool's Write with a span of its own.
func (g *Gate) tracedWrite(c *call) (any, error) {
	_, span := g.spans.Part(c.Context(), "tool.write")
	span.Tool(c.Tool.Name)
	result, err := c.Tool.Handler().Write(&c.Call)
	span.End(err)
	return result, err
}

// tracedRead is the tool's Read with a span of its own.
func (g *Gate) tracedRead(c *call) (any, error) {
	_, span := g.spans.Part(c.Context(), "tool.read")
	span.Tool(c.Tool.Name)
	answer, err := c.Tool.Handler().Read(&c.Call)
	span.End(err)
	return answer, err
}

// Backlogs are what waits in the database, of all merchants together.
type Backlogs struct {
	At        time.Time // when it was read
	Approvals approvals.OpenTotal
	Jobs      approvals.JobTotal
	Outbox    notify.Waiting
	Record    audit.Lag
	Leases    map[string]time.Time // until when by its holder's clock, by name
	Policies  map[string]int64     // versions in force, by merchant
	Exports   []export.Cursor      // how far each copy of the record has come
}

// Backlogs reads what waits, on one snapshot. It scans nothing but indexes of what is open, and no more than a bound of each.
func (g *Gate) Backlogs(ctx context.Context) (b Backlogs, err error) {
	err = g.db.Read(ctx, func(tx *store.Tx) error {
		b.At = tx.Now
		var errs [7]error
		b.Approvals, errs[0] = approvals.CountOpen(tx)
		b.Jobs, errs[1] = approvals.CountJobs(tx)
		b.Outbox, errs[2] = notify.CountWaiting(tx)
		b.Record, errs[3] = audit.ReadLag(tx)
		b.Leases, errs[4] = lease.All(tx)
		b.Policies, errs[5] = auth.PolicyVersions(tx)
		b.Exports, errs[6] = export.Cursors(tx)
		return errors.Join(errs[:]...)
	})
	return b, err
}

// describeJob says in the span of a job's turn which call it carries out, so that it is found with the trace in which that was accepted.
func describeJob(span *spans.Span, j approvals.Job, err error) {
	span.Called(spans.Call{ID: j.CallID, Tool: j.Tool, Transport: "worker"})
	span.End(err)
}
