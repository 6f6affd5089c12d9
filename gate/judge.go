package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A check judges one thing about a call and refuses it with a *tools.Refusal. A check is one function and one line here.
type check struct {
	name  string
	judge func(*Gate, context.Context, *call) error
}

// checks are asked in this order before anything is read, and the first refusal wins.
var checks = slices.Concat(nameChecks, toolChecks, []check{
	{"rate", (*Gate).checkRate},
	{"arguments", (*Gate).checkArguments},
	{"action", (*Gate).checkAction},
	{"calls", (*Gate).checkCalls},
})

// nameChecks find the policy in force and the tool, toolChecks ask whether the caller may call it, and objectChecks whether it may do so with what
// the call is about. Every list below asks them.
var (
	nameChecks = []check{
		{"policy", (*Gate).checkPolicy},
		{"tool", (*Gate).checkTool},
	}
	toolChecks = []check{
		{"switched", asks((*policy.Policy).Switched)},
		{"scope", (*Gate).checkScope},
		{"tools", (*Gate).checkTools},
		{"profile", asks((*policy.Policy).Grants)},
	}
	objectChecks = []check{
		{"objects", (*Gate).checkObjects},
		{"profile objects", asks((*policy.Policy).GrantsObjects)},
	}
)

// grantChecks are those of the above that ask what the caller was given. They are asked again when that has changed between
// the credential and the call's transaction.
var grantChecks = slices.Concat([]check{
	{"policy", (*Gate).checkPolicy},
	{"network", (*Gate).checkNetwork},
}, toolChecks, []check{
	{"action", (*Gate).checkAction},
})

// readChecks and writeChecks are asked in the transaction in which the call runs. A write's effect is computed first,
// because the ceiling is about this call and not about the worst one.
var (
	readChecks  = slices.Concat([]check{{"standing", (*Gate).checkStanding}}, objectChecks, []check{{"needs", (*Gate).checkNeeds}}, effectChecks)
	writeChecks = slices.Concat([]check{{"frozen", (*Gate).checkFrozen}, {"needs", (*Gate).checkNeeds}, callsJudge, {"effect", (*Gate).checkEffect}}, effectChecks, []check{
		{"approval", (*Gate).checkApproval},
		{"asked", (*Gate).checkAsked},
		{"budgets", (*Gate).checkBudgets},
	})

	// effectChecks are about what the call would do.
	effectChecks = []check{
		{"freeze", asks((*policy.Policy).Frozen)},
		{"ceiling", (*Gate).checkCeiling},
		{"profile ceiling", asks((*policy.Policy).Under)},
		{"sandbox", asks((*policy.Policy).Trusts)},
		{"conditions", asks((*policy.Policy).Meets)},
		{"quiet", asks((*policy.Policy).Awake)},
	}

	// heldChecks come before anything of a write, also before the answer to a repeat of it.
	heldChecks = slices.Concat([]check{{"standing", (*Gate).checkHeld}}, objectChecks, []check{callsHeld})

	// toldChecks are asked of a read before its answer leaves: it has no effect that a budget would have to come before.
	toldChecks = []check{{"budgets", (*Gate).checkBudgets}}

	// answerChecks are asked of what was read, before it is on record and told, where it shows objects.
	answerChecks = []check{{"rows", (*Gate).checkRows}, {"profile rows", (*Gate).checkProfileRows}}
)

func (g *Gate) judge(ctx context.Context, c *call, list []check) error {
	for _, k := range list {
		c.know()
		err := k.judge(g, ctx, c)
		c.checks = append(c.checks, audit.Check{Name: k.name, Verdict: verdict(err)})
		g.spans.Check(ctx, k.name, c.checks[len(c.checks)-1].Verdict)
		if err != nil {
			c.rule = ruleOf(k, err)
			return err
		}
	}
	return nil
}

// ruleOf names the rule by which a check refused: the policy's, or else the check itself.
func ruleOf(k check, err error) string {
	if d := (*policy.Denied)(nil); errors.As(err, &d) {
		return d.Rule
	}
	return "builtin." + k.name
}

func (g *Gate) judgeTx(c *call, list []check) error { return g.judge(c.Context(), c, list) }

func verdict(err error) string {
	if err == nil {
		return "ok"
	}
	return string(asRefusal(err).Code)
}

func (g *Gate) checkTool(_ context.Context, c *call) error {
	t, ok := g.tools.Find(c.req.Tool)
	if !ok {
		return tools.Refuse(tools.UnknownTool, "List the tools (tools/list, or whoami) and call one of them.", "There is no tool of that name.")
	}
	c.Tool, c.risk, c.class = t, t.Risk, t.Class
	if !c.Principal.Agent() {
		return tools.Refuse(tools.ForbiddenTool, "Call tools with an agent's key (sq_agt_…); a person's token decides about approvals.",
			"A person's token calls no tools.")
	}
	return nil
}

func (g *Gate) checkScope(_ context.Context, c *call) error {
	if c.Tool.OpenTo(c.Principal) {
		return nil
	}
	if any := c.Tool.AnyScope; len(any) > 0 {
		return lacks(any, "This credential holds none of the scopes %s, one of which %s needs.", c.Tool.Name)
	}
	return lacks([]auth.Scope{c.Tool.Scope}, "This credential does not hold the scope %s, which %s needs.", c.Tool.Name)
}

// checkNeeds asks for the scopes that this very call needs beyond those of its tool.
func (g *Gate) checkNeeds(_ context.Context, c *call) error {
	need, err := c.Tool.Handler().Needs(&c.Call)
	if err != nil {
		return err
	}
	need = slices.DeleteFunc(slices.Clone(need), c.Principal.Has)
	if len(need) == 0 {
		return nil
	}
	return lacks(need, "This credential does not hold the scope %s, which this call of %s needs.", c.Tool.Name)
}

// checkAction asks for the grant of the action that a call names. One that is not there and one that is not granted are
// answered alike, with those that are.
func (g *Gate) checkAction(_ context.Context, c *call) error {
	id, err := c.Tool.Handler().Action(&c.Call)
	if err != nil || len(c.Tool.Actions) == 0 {
		return err
	}
	var granted []string
	for _, a := range c.Tool.Actions {
		if a.ID() == id {
			c.action = id
		}
		if c.mayRequest(a.ID()) {
			granted = append(granted, a.ID())
		}
	}
	c.facts.Action = c.action
	switch {
	case slices.Contains(granted, id):
		return nil
	case c.action != "" && c.Principal.MayRequest(id): // so it is the profile that does not grant it
		return &policy.Denied{Rule: policy.ProfileRule(c.facts.Profile), Refusal: noAction(granted)}
	}
	return noAction(granted)
}

func noAction(granted []string) *tools.Refusal {
	r := tools.Refuse(tools.NotFound, "Work without it, or ask whoever gave you the credential for a grant of the action.",
		"There is no such action, or this credential may not request it.")
	if len(granted) > 0 {
		list := strings.Join(granted, ", ")
		r.Errors = &tools.Errors{Fields: []schemas.Wrong{{
			Field: "action", Problem: "is none that this credential may request", Expected: "one of: " + list, Example: granted[0],
		}}}
		r.Next = "This credential may request " + list + ". For any other, ask whoever gave it to you for a grant."
	}
	return r
}

// lacks refuses for missing scopes. The message names them and the tool.
func lacks(missing []auth.Scope, message, tool string) *tools.Refusal {
	names := scopeNames(missing)
	r := tools.Refuse(tools.ForbiddenScope, "Work without it, or ask whoever gave you the credential for one with this scope.",
		message, strings.Join(names, ", "), tool)
	r.Errors = &tools.Errors{Missing: names}
	return r
}

// checkArguments decodes the arguments, once, to the canonical bytes that everything after it works on.
func (g *Gate) checkArguments(ctx context.Context, c *call) error {
	if c.req.Wrong != nil {
		return c.req.Wrong
	}
	var err error
	if c.Args, err = schemas.Canonical(c.req.Args); err != nil {
		return badSyntax(err)
	}
	if err := c.takeKey(); err != nil {
		return err
	}
	if secret.In(string(c.Args)) {
		return pastedSecret()
	}
	c.asked = schemas.Fingerprint(c.Args)
	if err := g.fillFacts(ctx, c); err != nil {
		return err
	}
	if wrong := c.Tool.Input.Check(c.Args); len(wrong) > 0 && !c.repeats {
		return wrongFields(wrong)
	}
	common, err := commonOf(c.Args)
	if err != nil {
		return err
	}
	if err := checkKey(common.IdempotencyKey); err != nil {
		return err
	}
	if err := checkReason(c.Tool, common.Reason); err != nil {
		return err
	}
	c.dryRun, c.key, c.argsHash = common.DryRun, common.key(), schemas.Fingerprint(c.Args)
	return nil
}

// pastedSecret refuses a call into whose arguments somebody has put a key or token. Run, it would be stored, shown and sent
// on; refused, it is in this request alone.
func pastedSecret() *tools.Refusal {
	return tools.Refuse(tools.InvalidArguments, "Leave it out. Whoever can read the conversation can use it: have an admin rotate or revoke it.",
		"An argument holds a key or token of this gate.")
}

// wrongFields names every wrong field, and the other place where one of them can stand.
func wrongFields(wrong []schemas.Wrong) error {
	r := tools.WrongFields(wrong)
	if slices.ContainsFunc(wrong, func(w schemas.Wrong) bool { return w.Field == "idempotency_key" }) {
		r.Next += " Over REST the idempotency_key may come as the header Idempotency-Key instead."
	}
	return r
}

// common are the arguments that mean the same on every tool that has them.
type common struct {
	IdempotencyKey *string `json:"idempotency_key"`
	DryRun         bool    `json:"dry_run"`
	Reason         *string `json:"reason"`
}

// key is the idempotency key, "" without one.
func (a common) key() string {
	if a.IdempotencyKey == nil {
		return ""
	}
	return *a.IdempotencyKey
}

// minReason and maxReasonOf bound the reason of a call that people may have to agree to, in characters.
const (
	minReason   = 10
	maxReasonOf = 500
)

// checkReason holds every reason that people may read to one length, whatever the schema of its tool says. A tool that requires
// one is given none by its schema.
func checkReason(t *tools.Tool, reason *string) error {
	if reason == nil || t.Class == tools.ClassNone && !t.Batches() {
		return nil
	}
	if n := utf8.RuneCountInString(*reason); n >= minReason && n <= maxReasonOf {
		return nil
	}
	return tools.Wrong("reason", "is too short or too long", fmt.Sprintf("%d to %d characters that say why", minReason, maxReasonOf), "The customer returned the lamp")
}

// why is the reason, "" without one.
func (a common) why() string {
	if a.Reason == nil {
		return ""
	}
	return *a.Reason
}

// commonOf reads the common arguments. Canonical bytes hold every name once and in one case, so that encoding/json
// reads them as the tool does.
func commonOf(canonical []byte) (common, error) {
	var a common
	if err := json.Unmarshal(canonical, &a); err != nil {
		return common{}, fmt.Errorf("reading arguments: %w", err)
	}
	return a, nil
}

func badSyntax(err error) error {
	return tools.Refuse(tools.InvalidArguments, "Send one JSON object with each field once, such as {\"limit\": 10}.",
		"The arguments cannot be read: %s.", err)
}

// fillFacts completes what a route allows to be left out, where a person will see it before it counts. What it reads may say how things stand,
// so that whoever may not reach them is refused first, and in the same words whether they are there or not.
func (g *Gate) fillFacts(ctx context.Context, c *call) error {
	fill := c.Tool.Handler().Fill
	if !c.req.FillFacts || fill == nil || !c.policy.MayAsk(&c.facts) {
		return nil
	}
	common, _ := commonOf(c.Args) // what cannot be read is for the schema check to name
	return g.db.Read(ctx, func(tx *store.Tx) error {
		taken, err := c.taken(tx, common.key())
		if c.repeats = taken && !common.DryRun; err != nil || c.repeats {
			return err
		}
		c.Tx = tx
		if err := g.checkObjects(ctx, c); err != nil {
			return err
		}
		c.know()
		if err := c.policy.GrantsObjects(&c.facts); err != nil {
			return err
		}
		args, err := fill(&c.Call)
		if err == nil {
			c.stated, c.Args = c.Args, args
		}
		return err
	})
}

// checkEffect computes what the write would do and rates this call by it.
func (g *Gate) checkEffect(_ context.Context, c *call) error {
	h := c.Tool.Handler()
	var err error
	if c.preview, err = h.Preview(&c.Call); err != nil {
		return err
	}
	if c.facts.Effect, err = rated(c, c.preview); err == nil {
		c.see()
	}
	return err
}

// rated gives the effect of a call as its tool sees it.
func rated(c *call, p tools.Preview) (*policy.Effect, error) {
	if len(c.parts) > 0 {
		return effectOf(c.parts, p), nil
	}
	h := c.Tool.Handler()
	risk, err := h.Rate(&c.Call, p)
	if err != nil {
		return nil, err
	}
	class, err := h.Class(&c.Call, p)
	if err == nil {
		err = c.Tool.Foresaw(c.facts.Action, p, tools.Rating{Risk: risk, Class: class, Asks: p.Asks})
	}
	return &policy.Effect{Risk: risk, Class: class, Customers: p.Customers, Money: p.Money, Asks: p.Asks, RunAt: p.RunAt}, err
}

// see takes over risk and class of the call as the policy sees them.
func (c *call) see() {
	e := c.facts.Effect
	c.risk, c.class = c.policy.Rate(c.Tool, e.Risk), c.policy.Classify(c.Tool, e.Class)
	if c.dryRun {
		c.risk = c.risk.Rehearsed()
	}
}

func (g *Gate) checkCeiling(_ context.Context, c *call) error {
	level := c.risk.Level()
	if c.rated != nil {
		level = *c.rated
	}
	if c.Tool.Brake || level <= c.Principal.Ceiling {
		return nil
	}
	return tools.Refuse(tools.RiskCeiling, "Do a smaller thing, rehearse it with dry_run where the tool has it, or leave it to people.",
		"This call is rated %s (%s); this credential may go up to %s (%s).", level, level.Word(), c.Principal.Ceiling, c.Principal.Ceiling.Word())
}

// safely runs fn and turns a panic into an error, so that a fault in one tool ends one call. who is the call or worker.
func (g *Gate) safely(who string, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error().Str("at", who).Any("panic", p).Bytes("stack", debug.Stack()).Msg("a panic")
			err = errPanicked
		}
	}()
	return fn()
}

var errPanicked = errors.New("a panic, which is logged")

// asRefusal gives the refusal that an error is. What is no refusal tells the caller nothing but whether to try again.
func asRefusal(err error) *tools.Refusal {
	var r *tools.Refusal
	switch {
	case errors.As(err, &r):
		return r
	case administrative(err) != nil:
		return administrative(err)
	case errors.Is(err, store.ErrNotFound):
		return tools.Refuse(tools.NotFound, "Search for it, and use the id exactly as it was given.", "There is no such object, or this credential may not see it.")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		// Where the connection was lost during a commit nobody knows yet whether it counted; the key does, afterwards.
		return tools.Refuse(tools.Unavailable, "Try again in a few seconds with the same idempotency key: what was done is answered and not done again.",
			"The gate cannot reach its database.")
	}
	return tools.Refuse(tools.Internal, "Try again later; if it stays, tell the operator the call_id.", "Something is wrong inside the gate. Nothing was done.")
}
