package gate

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// record appends the entry of a call that ended with status, in the transaction of its effect. Whoever is about to be told
// what outsiders wrote is tainted with it: a read or a write, and a rehearsal too.
func (g *Gate) record(tx *store.Tx, c *call, status string) error {
	if c.QuotesOutsider() {
		if err := auth.SetTaint(tx, c.Principal, c.Tool.Name, c.ID); err != nil {
			return err
		}
	}
	if _, err := audit.Append(tx, g.entry(c, policy.EventCall, status)); err != nil {
		return err
	}
	return g.shadow(tx, c, policy.EventCall, status, "")
}

func (g *Gate) entry(c *call, event, status string) audit.Entry {
	e := audit.Entry{
		Merchant: c.Principal.Merchant, Event: event, CallID: c.ID, Transport: c.req.Transport, Source: c.req.Source,
		Actor: c.Principal.Chain()[0], Chain: c.Principal.Chain(), Tool: c.req.Tool, Action: c.action, Status: status, Checks: c.checks,
		PolicyVersion: c.Principal.PolicyVersion, PolicyRule: c.decidedBy(), JobID: c.job, ApprovalID: c.approval.ID, Binding: c.approval.BindingHash,
		IdempotencyKey: c.key, Customers: c.preview.Customers,
		LatencyMicros: g.db.Now().Sub(c.Started).Microseconds(),
		Personal:      map[string]string{},
	}
	if c.Tool == nil || !c.Tool.Batches() { // those of a batch stand with its calls, each beside the object that it is about
		e.Personal[policy.ArgumentsKept] = string(c.Args)
	}
	if c.policy != nil && c.policy.LooksAtName() {
		e.Personal[policy.NameKept] = c.facts.Name
	}
	if t := c.Tool; t != nil {
		e.Tool, e.Level, e.Facts = t.Name, c.risk.Level().String(), c.recorded()
		if !c.unread() {
			e.Resource = c.resource()
		}
	}
	c.noteUse(&e)
	if m := c.preview.Money; m != nil {
		e.MoneyMinor, e.Currency = m.AmountMinor, m.Currency
	}
	return e
}

// decidedBy names the rule that decided: what refused, asked people, or let the call through.
func (c *call) decidedBy() string {
	if c.rule == "" && c.policy != nil && c.Tool != nil {
		return c.policy.Letting(&c.facts)
	}
	return c.rule
}

// recorded are the facts of the call as they are kept, so that policy.Recall makes the same of them. Objects that stand in the arguments stand
// there alone, where they can be erased.
func (c *call) recorded() json.RawMessage {
	f := c.facts
	if c.unread() || !c.aliased() {
		f.Objects = nil
	}
	if !c.Resumed {
		f.At = time.Time{} // stands in the call's id
	}
	if c.refusedBy("standing") {
		f.Effect = nil // what is known beside it was not read
	}
	raw, err := json.Marshal(f)
	if err != nil { // of a type that has no such value
		return nil
	}
	return raw
}

// aliased reports whether the objects of the call are others, or go by other names, than its arguments tell.
func (c *call) aliased() bool {
	return c.objects != nil && !slices.EqualFunc(c.objects, c.Tool.ResourcesOf(c.Args), func(o tools.Object, name string) bool {
		return len(o) == 1 && o[0] == name
	})
}

// unread reports whether the arguments are not what the tool asks for. What stands where an id should may then be
// anybody's address, and the entry can never forget it; the arguments beside it can.
func (c *call) unread() bool { return c.refusedBy("arguments") || c.refusedBy("calls") }

// refusedBy reports whether a check has refused the call.
func (c *call) refusedBy(check string) bool {
	last := len(c.checks) - 1
	return last >= 0 && c.checks[last].Name == check && c.checks[last].Verdict != "ok"
}

// anID is how an object is named. What was not found may be anything that somebody put where an id should be, such as an address
// or a name, and the entry can never forget it.
var anID = regexp.MustCompile(`^[a-z_]+:[A-Za-z0-9_.#*,-]+$`)

// blame lowers the trust in an agent whose call was refused; it cannot help that people have frozen it.
func (g *Gate) blame(tx *store.Tx, c *call, code tools.Code) error {
	if c.refusedBy("frozen") {
		return nil
	}
	return g.signal(tx, c.Principal.Merchant, c.Principal.Root().ID, trust.Signal{Kind: trust.Refusal, Code: code, CallID: c.ID})
}

// refuse records that the call was refused and gives the refusal that the caller is told. When the record cannot be
// written the call stays refused, and the caller is told that the gate is not available. The agent's trust falls with the record, so that its
// next call is judged by the lower score.
func (g *Gate) refuse(ctx context.Context, c *call, cause error) *tools.Refusal {
	r := *asRefusal(cause)
	// Nothing of the call was done, so its entry may not speak of a job or an approval as if they were there.
	c.job, c.approval, c.grant = "", approvals.Request{}, approvals.Grant{}
	if r.Code == tools.NotFound {
		c.objects = nil // of what is not there no name is kept
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	err := g.db.InTx(ctx, func(tx *store.Tx) error {
		e := g.entry(c, policy.EventCall, "refused")
		e.Code, e.Reason = string(r.Code), r.Message
		if r.Code == tools.NotFound && !anID.MatchString(e.Resource) {
			e.Resource = ""
		}
		if err := g.blame(tx, c, r.Code); err != nil {
			return err
		}
		if _, err := audit.Append(tx, e); err != nil {
			return err
		}
		return g.shadow(tx, c, policy.EventCall, "refused", r.Code)
	})
	if err != nil {
		cause, r = errors.Join(cause, err), *asRefusal(store.ErrUnavailable)
	}
	g.logInternal(c.ID, r.Code, cause)
	r.CallID, r.PolicyVersion = c.ID, c.Principal.PolicyVersion
	return &r
}

// logInternal logs what the caller is not told, once.
func (g *Gate) logInternal(callID string, code tools.Code, err error) {
	if errors.Is(err, errPanicked) || errors.Is(err, context.Canceled) || code != tools.Internal && code != tools.Unavailable {
		return
	}
	g.log.Error().Str("call_id", callID).Str("code", string(code)).Err(err).Msg("a call could not be handled")
}
