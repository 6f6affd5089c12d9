package gate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A batch is several calls as one question: people see one card with all of them, and all of them run in one transaction or none does. Each is
// judged as a call of its own, by all checks, on what was there before any of them; the batch adds to that whose consent all of them together
// take. It has no say of its own: what a call may not do alone, it may not do in a batch.

// partChecks are asked of each call of a batch before the transaction, heldPartChecks and partWriteChecks in it, with those of the batch.
var (
	partChecks = slices.Concat(nameChecks, toolChecks, []check{
		{"fits", (*Gate).checkFits},
		{"rate", (*Gate).checkPartRate},
		{"arguments", (*Gate).checkArguments},
		{"action", (*Gate).checkAction},
	})
	heldPartChecks  = slices.Concat([]check{{"standing", (*Gate).checkPartStanding}}, objectChecks)
	partWriteChecks = slices.Concat([]check{{"needs", (*Gate).checkNeeds}, {"effect", (*Gate).checkEffect}, {"later", (*Gate).checkAtOnce}}, effectChecks, []check{
		{"approval", (*Gate).checkApproval},
		{"key", (*Gate).checkPartKey},
	})
)

// The checks of a batch that ask those of its calls. They have nothing to ask of any other call.
var (
	callsHeld  = check{"calls held", eachCall(heldPartChecks)}
	callsJudge = check{"calls judged", eachCall(partWriteChecks)}
)

// eachCall makes a check that asks a list of every call of a batch, in their order. The first refusal names its call and refuses the batch.
func eachCall(list []check) func(*Gate, context.Context, *call) error {
	return func(g *Gate, ctx context.Context, c *call) error {
		for i, part := range c.parts {
			part.Tx = c.Tx
			if err := g.judge(ctx, part, list); err != nil {
				return c.refusedAt(i, part, err)
			}
		}
		return nil
	}
}

// checkCalls makes the calls of a batch, and asks of each what is asked of a call before its transaction.
func (g *Gate) checkCalls(ctx context.Context, c *call) error {
	if !c.Tool.Batches() {
		return nil
	}
	if len(c.key) > maxBatchKey {
		return tools.Wrong("idempotency_key", "is too long for a batch", fmt.Sprintf("at most %d characters", maxBatchKey), "refunds-of-monday")
	}
	parts, err := g.split(c)
	if err != nil {
		return err
	}
	for i, part := range parts {
		if err := g.judge(ctx, part, partChecks); err != nil {
			return c.refusedAt(i, part, err)
		}
	}
	c.parts = parts
	return nil
}

// maxBatchKey leaves room for what the keys of the calls have behind it.
const maxBatchKey = maxKey - len(".99")

// batchOwn are the arguments that a batch has for all of its calls. The key of the Nth is that of the batch with .N behind it.
var batchOwn = []string{"idempotency_key", "reason", "dry_run"}

// split makes the calls of a batch, not yet judged.
func (g *Gate) split(c *call) ([]*call, error) {
	planned, err := c.Tool.Handler().Calls(&c.Call)
	if err != nil {
		return nil, err
	}
	parts := make([]*call, len(planned))
	for i, p := range planned {
		args, err := c.completed(i, p)
		if err != nil {
			return nil, err
		}
		r := Request{Tool: p.Tool, Args: args, Transport: c.req.Transport, Source: c.req.Source}
		if c.key != "" {
			r.IdempotencyKey = fmt.Sprintf("%s.%d", c.key, i+1)
		}
		part := g.newCall(c.Principal, r)
		part.ID, part.Started = store.NewID("call", c.Started), c.Started
		part.Tx, part.Resumed, part.planned, part.said, part.batch, part.nth = c.Tx, c.Resumed, c.planned, c.said, c, i+1
		parts[i] = part
	}
	return parts, nil
}

// completed gives the arguments of a call with those that the batch has for all: why, and whether it is a rehearsal.
func (c *call) completed(i int, p tools.Planned) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(p.Arguments, &members); err != nil {
		return nil, fmt.Errorf("reading the calls: %w", err)
	}
	for _, name := range batchOwn {
		if _, there := members[name]; there {
			return nil, tools.Wrong(fmt.Sprintf("calls[%d].arguments.%s", i, name), "is one for all calls of a batch", "to stand beside calls, once", nil)
		}
	}
	t, known := c.Registry.Find(p.Tool)
	if !known {
		return p.Arguments, nil // which the checks refuse
	}
	var own map[string]json.RawMessage
	if err := json.Unmarshal(c.Args, &own); err != nil {
		return nil, fmt.Errorf("reading arguments: %w", err)
	}
	for _, name := range batchOwn[1:] {
		if _, has := t.Input.Property(name); has && own[name] != nil {
			members[name] = own[name]
		}
	}
	return json.Marshal(members)
}

// checkFits asks whether a call is one that can be done with others in one transaction, and be undone by its failure.
func (g *Gate) checkFits(_ context.Context, c *call) error {
	if t := c.Tool; t.Writes() && g.oneStep(t) && !t.Brake && !t.Delegates {
		return nil
	}
	return notTogether("what waits for a worker, reads, stops something or hands out a token does not")
}

// checkAtOnce keeps what is set for later out of a batch.
func (g *Gate) checkAtOnce(_ context.Context, c *call) error {
	if c.preview.RunAt.IsZero() {
		return nil
	}
	return notTogether("this one is set for later")
}

func notTogether(why string) error {
	return tools.Refuse(tools.Conflict, "Call it by itself, and leave it out of the batch.", "Only writes that are done at once go together in a batch: %s.", why)
}

// checkPartRate takes a call from the rates of the caller's chain; the first has been taken with the batch. One that is judged in a transaction
// is not made, or was taken as it came.
func (g *Gate) checkPartRate(ctx context.Context, c *call) error {
	if c.Tx != nil || c.nth == 1 {
		return nil
	}
	return g.charge(ctx, c.Principal)
}

// checkPartStanding takes over who the batch's caller is by now, and asks again what depends on it when that has changed.
func (g *Gate) checkPartStanding(ctx context.Context, c *call) error {
	if now := c.batch.Principal; !now.Same(c.Principal) {
		c.madeBy(now)
		if err := g.judge(ctx, c, grantChecks); err != nil {
			return err
		}
	}
	f := c.batch.facts
	c.facts.Trust, c.facts.NoTrust, c.facts.Tainted, c.taint = f.Trust, f.NoTrust, f.Tainted, c.batch.taint
	return nil
}

// checkPartKey refuses a batch of which a call has been made by itself, under the key that it would have.
func (g *Gate) checkPartKey(_ context.Context, c *call) error {
	if c.key == "" || c.dryRun {
		return nil
	}
	if used, err := c.taken(c.Tx, c.key); err != nil || !used {
		return err
	}
	return keyTaken()
}

func keyTaken() error {
	return tools.Refuse(tools.IdempotencyConflict, "Use a new key for the batch.", "The idempotency key of this call, which is that of the batch with its number behind it, was used before.")
}

// refusedAt is the refusal of a batch for one of its calls, which it names; what is no refusal stays what it is.
func (c *call) refusedAt(i int, part *call, err error) error {
	given := (*tools.Refusal)(nil)
	if !errors.As(err, &given) && !errors.Is(err, store.ErrNotFound) || outOfReach(err) {
		return fmt.Errorf("call %d of a batch: %w", i+1, err)
	}
	r := *asRefusal(err)
	at := fmt.Sprintf("calls[%d]", i)
	r.Message = at + ": " + r.Message
	if r.Errors != nil && len(r.Errors.Fields) > 0 {
		e := *r.Errors
		e.Fields = slices.Clone(e.Fields)
		for i := range e.Fields {
			e.Fields[i].Field = strings.TrimSuffix(at+".arguments."+e.Fields[i].Field, ".")
		}
		r.Errors = &e
	}
	r.Next = strings.TrimSpace(r.Next + " Nothing of the batch was done; dtc_preflight tells of all its calls at once.")
	c.changed = []tools.Change{{Field: fmt.Sprintf("call %d: %s", i+1, part.lastCheck()), From: "ok", To: string(r.Code)}}
	if d := (*policy.Denied)(nil); errors.As(err, &d) {
		return &policy.Denied{Rule: d.Rule, Most: d.Most, Refusal: &r}
	}
	return &r
}

// lastCheck names the check that was asked last.
func (c *call) lastCheck() string {
	if len(c.checks) == 0 {
		return "run"
	}
	return c.checks[len(c.checks)-1].Name
}

// asksWhom says whose consent the call waits for. Of a batch it takes what each of its calls takes, what each would take if it did as much as all
// of them, so that ten small ones are no way round what one large one takes, and what the batch takes by itself.
func (c *call) asksWhom() (approvals.Rule, bool) {
	own, parks := c.policy.Approval(&c.facts)
	if len(c.parts) == 0 {
		return own, parks
	}
	var rules []approvals.Rule
	if parks {
		rules = append(rules, own)
	}
	for _, part := range c.parts {
		if part.parked {
			rules = append(rules, part.ask)
		}
		if rule, parks := part.ruleAt(part.amongAll(c.preview)); parks {
			rules = append(rules, rule)
		}
	}
	if len(rules) == 0 {
		return own, false
	}
	return approvals.Each(rules), true
}

// amongAll is what all calls of the batch do, of that which this one does too.
func (c *call) amongAll(all tools.Preview) approvals.Amounts {
	a := approvals.Amounts{Money: c.preview.Money, Customers: c.preview.Customers}
	if a.Money != nil && a.Money.AmountMinor > 0 {
		a.Money = all.Money
	}
	if a.Customers > 0 {
		a.Customers = all.Customers
	}
	return a
}

// charges are what the call takes from the budgets; of a batch, what all of its calls take.
func (c *call) charges() []budget.Charge {
	all := c.policy.Charges(&c.facts)
	for _, part := range c.parts {
		for _, more := range c.policy.Charges(&part.facts) {
			at := slices.IndexFunc(all, func(b budget.Charge) bool {
				return b.Budget == more.Budget && b.Subject == more.Subject && b.Unit == more.Unit && b.From.Equal(more.From)
			})
			if at < 0 {
				all = append(all, more)
				continue
			}
			all[at].Amount, all[at].Limit = all[at].Amount+more.Amount, min(all[at].Limit, more.Limit)
		}
	}
	return all
}

// tellFacts gives what the server reads for people about the call, and about each call of a batch.
func (c *call) tellFacts() ([]tools.Fact, error) {
	if len(c.parts) == 0 {
		return c.Tool.Handler().Facts(&c.Call)
	}
	var all []tools.Fact
	for _, part := range c.parts {
		some, err := part.Tool.Handler().Facts(&part.Call)
		if err != nil {
			return nil, err
		}
		for _, f := range some {
			f.Label = fmt.Sprintf("%d. %s", part.nth, f.Label)
			all = append(all, f)
		}
	}
	return all, nil
}

// resource names what the call is about. Of a batch it is the names of what its calls are about, each once, with a space between: a batch about
// one thing alone goes by the name of that.
func (c *call) resource() string {
	if !c.Tool.Batches() {
		return c.Tool.ResourceOf(c.Args)
	}
	planned, err := c.Tool.Handler().Calls(&c.Call)
	if err != nil {
		return ""
	}
	var names []string
	for _, p := range planned {
		if t, known := c.Registry.Find(p.Tool); known {
			if name := shortened(t.ResourceOf(p.Arguments)); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, approvals.BetweenNames)
}

// maxName bounds the name of one of the things that a batch is about, in bytes: 20 of them stand in one index entry.
const maxName = 64

// shortened is a name, or where that is long (of a list) a digest of it.
func shortened(name string) string {
	if len(name) <= maxName {
		return strings.ReplaceAll(name, approvals.BetweenNames, "_")
	}
	kind, _, _ := strings.Cut(name, ":")
	return cmp.Or(kind, "list") + ":#" + schemas.Fingerprint([]byte(name))[:16]
}
