// Package tools says what a tool is, and holds no tool itself.
//
// A tool is a Spec (its name, scope, risk, approval class, resource and routes) and typed functions over one input and
// one output struct. Define is the one generic seam: it makes the schemas from the structs, wraps the functions into a
// Handler that takes canonical argument bytes, and panics on a programmer's mistake, so that a bad tool stops the start
// and not a call. Below it nothing is typed; the gate treats all tools alike.
//
// There are four shapes. A read answers. A write previews its effect (customers, money, what changes), computed here
// and never taken from the agent, and then acts, in the gate's transaction. A stepped write acts in many short
// transactions with a checkpoint in each, as a job. A write outside acts on another system, outside of any transaction, as a job
// too (outside.go).
//
// One tool may stand before many actions (ByAction): what providers do on request, each with arguments, risk and class of its
// own, and each granted by its id.
//
// Tools hold no authorization code. Only package gate may take a tool's Handler, and a test holds that.
package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
)

// A Class is the kind of consent that a tool may need from people.
type Class string

// The approval classes. A tool of ClassNone is never parked.
const (
	ClassNone        Class = ""
	ClassSpend       Class = "spend"
	ClassContact     Class = "contact"
	ClassDestructive Class = "destructive"
)

// A Spec is everything about a tool but its code.
type Spec struct {
	Name        string   // dtc_refund_order: what agents call
	Path        string   // orders.refund: what patterns in policies match
	Aliases     []string // other names that reach it
	Title       string
	Description string       // for models: what it does, when another tool is right, units
	Scope       auth.Scope   // empty: any key
	AnyScope    []auth.Scope // instead of Scope: any one of these; Func.Needs says which one a call needs
	Risk        Risk         // the worst case of the tool; Handler.Rate may lower it for one call
	Class       Class
	Resource    string // type:/argument for one object, /argument where that names its type too, type:* for a set, type:+ for a new one
	Undo        string // how the effect is made good, or that it cannot be
	Brake       bool   // stops the caller's own things: held back by no ceiling and never parked
	AlwaysAsks  bool   // parked whoever calls it
	Delegates   bool   // of no use to a caller that may not delegate, and not listed for it
	Repeatable  bool   // of Func.Send: the outside system takes the execution id as idempotency key for RepeatTime, so that sending again is harmless
	Example     string // arguments, as JSON, of a call that works on the demo merchant; docs and tests run it
	Routes      []Route
}

// BasePath is where the routes of tools begin.
const BasePath = "/api/v1/agent/v1"

// A Route is a tool's place on the REST surface, relative to BasePath. A placeholder is an argument's name:
// POST /campaigns/{campaign_id}/send.
type Route struct {
	Method string
	Path   string
	Status int // of a done call; 0 means 200

	// Accept rewrites a body that this route takes in other spellings than the tool's own; nil where there are none.
	Accept func(body map[string]json.RawMessage)
	// FillFacts lets the body leave out what the agent is to have seen (expected_*, caps): where the call will be
	// parked, the server fills in what it is about to show to a person. A call that is not parked must state them.
	FillFacts bool
	// Only names the member whose first element is the whole answer, for a route that is about one object.
	Only string
	// Bare says that a done write is answered with its result alone, without what stands around it.
	Bare bool
}

// A Call is one call of a tool, as its functions see it. Everything in it has been checked by the gate.
type Call struct {
	*store.Tx // of the functions that are running; read-only for reads

	ID        string // call_…
	Tool      *Tool
	Principal auth.Principal
	Args      []byte // canonical; the very bytes that were hashed and approved
	Started   time.Time
	Registry  *Registry
	Jobs      Jobs
	Undos     Undos
	Traces    Traces
	Delegates Delegates
	Plans     Plans
	Batch     Batch
	// Resumed says that the call has waited and is judged again: what its caller saw was compared when it came, and from
	// there on its effect may only become smaller.
	Resumed bool
	// ContactRest is how long a customer who was written to is left alone; 0 is shop.Rest.
	ContactRest time.Duration

	PolicyVersion int64      // of the policy in force
	May           func() May // what the caller may do, for the tool that tells it
	Granted       func() ([]Granted, error)

	Wish Wish // of a call that an action carries out

	outsiders bool
	once      string
}

// May is what a caller may do under the policy in force, as far as the policy says it.
type May struct {
	Profile string
	Tools   []*Tool // that are listed for it
	Parks   []*Tool // of these: whose calls wait for people, or some of them do
	Actions []string
	Trust   string // 72.5
	Sandbox string
	Taint   *auth.Taint // nil: none
}

// A Granted is what people have agreed to beforehand: calls of the caller that fit it do not wait for them.
type Granted struct {
	GrantID   string    `json:"grant_id"`
	Tool      string    `json:"tool"`
	Arguments string    `json:"arguments"` // in words, one a line
	Left      string    `json:"left"`      // in words
	Until     time.Time `json:"until"`
}

// QuoteOutsider notes that the answer carries text that somebody outside wrote.
func (c *Call) QuoteOutsider() { c.outsiders = true }

// QuotesOutsider reports whether it does.
func (c *Call) QuotesOutsider() bool { return c.outsiders }

// ErrNotYet is returned by a read together with an answer that is right but may become better soon: the gate asks
// again in a moment and gives the answer when the read returns no error.
var ErrNotYet = errors.New("not yet")

// A Func is a tool's code, over its input and output structs. Either Read, or Preview with one of Write, Step and Send, is set.
type Func[In, Out any] struct {
	Read func(*Call, In) (Out, error)
	// Asks puts the questions that Read, or Preview, will begin with, so that a database far away is sent all of them at once (store.Tx.Ahead). No
	// answer comes, nothing else may be done, and before Read the checks on the caller's standing are still under way. It may be nil.
	Asks func(*Call, In)

	// Objects names the objects that a call is about, in the transaction in which it runs; it may read. Nil: those that Spec.Resource
	// names, by that one name each. What is not there is named as the arguments name it, so that a refusal does not tell it from what
	// is out of reach.
	Objects func(*Call, In) ([]Object, error)
	// Rows names the objects that an answer of Read shows: every row of the tool's own type, and of another type those that are
	// shown as their own tool shows them. An id beside a row (of its customer, say) is none. Parts of a row that people know by a name
	// of their own, as a product's variants, go by the name of the whole as well: who sees it sees them.
	Rows func(Out) []Object

	// Preview computes the effect without having it. It also refuses what cannot be done.
	Preview func(*Call, In) (Preview, error)
	Write   func(*Call, In) (Out, error)
	// Step does the next part of the work in a transaction of its own. It reads and writes p; when p.Done is set the
	// output is the job's result. The output of the steps before is what a cancelled job reports.
	Step func(*Call, In, *Progress) (Out, error)
	// Stopped settles what the steps have left when no more will come: the job was cancelled or failed between two of
	// them. It may be nil. The call's principal has no rights, for its key may be gone.
	Stopped func(*Call, In, Progress) error
	// Send acts on a system outside, with no transaction held (c.Tx is nil). It returns soon after ctx ends. What its error means stands
	// in outside.go. Outsiders' text in its result is quoted as such (QuoteOutsider).
	Send func(ctx context.Context, c *Call, in In, execution string) (Out, error)
	// Probe asks the outside system what became of an execution, and changes nothing. It may be nil: then nobody but a person can tell. The
	// call's principal may have no rights any more.
	Probe func(ctx context.Context, c *Call, in In, execution string) (Out, Known, error)

	// Needs names the scopes that one call needs beyond the Spec's. It is asked in the call's transaction, before Preview.
	Needs func(*Call, In) ([]auth.Scope, error)
	// Rate re-rates one call from its arguments and effect; nil keeps the Spec's risk.
	Rate func(In, Preview, Risk) Risk
	// Class says which consent one call may need; nil keeps the Spec's class. It may name one where the Spec has none.
	Class func(In, Preview) Class
	// Ratings are all that Rate and Class can give beside the Spec's own; a call that is rated otherwise is not made.
	Ratings []Rating
	// NoAmount says that nobody can tell how much money a call moves, so that its preview need not. Otherwise a rating with money has one.
	NoAmount bool
	// Kinds are the types of the names that Objects gives beside that of Spec.Resource, for a tool whose arguments do not name the type.
	Kinds []string
	// Action names the one of Actions that a call asks for, which the key must hold; see ByAction.
	Action  func(In) string
	Actions []*Action
	// Undo makes the write one that can be taken back; see Reversible. It stays empty where Spec.Undo says why there is none.
	Undo Undo[In, Out]
	// Fill completes the facts of an input for a route with FillFacts.
	Fill func(*Call, *In) error
	// Calls makes the tool a batch: it gives the calls of which one of its own is made. Preview and Write go by Call.Batch.
	Calls func(In) ([]Planned, error)
	// Facts tells people what the call is about, read in the transaction that parks it, after Preview. Nil tells nothing.
	Facts func(*Call, In) ([]Fact, error)
}

// Progress is what a stepped write keeps between two steps.
type Progress struct {
	Checkpoint json.RawMessage // what the last step committed; empty before the first
	Percent    int
	Note       string // one line for people, such as "1,200 of 2,184 sent"
	Done       bool
	// Stop ends the job here although it is not done, for a reason in one word, such as paused; Note says it in words. What
	// the steps before did stands.
	Stop string
}

// A Tool is a Spec with its schemas and its code. Tools are made by Define.
type Tool struct {
	Spec
	Input   *schemas.Schema
	Output  *schemas.Schema
	Actions []*Action // that it can be asked for, sorted by id; none for most tools

	handler    Handler
	classifies bool // its code names the class of each call
	ratings    []Rating
	noAmount   bool
	kinds      []string
}

// A Handler is a tool's code over canonical bytes. Only what the tool has is set.
type Handler struct {
	Objects func(*Call) ([]Object, error)
	Asks    func(*Call) error
	Read    func(*Call) (any, error)
	Rows    func(answer any) []Object
	Preview func(*Call) (Preview, error)
	Write   func(*Call) (any, error)
	Step    func(*Call, *Progress) (any, error)
	Stopped func(*Call, Progress) error
	Send    func(ctx context.Context, c *Call, execution string) (any, error)
	Probe   func(ctx context.Context, c *Call, execution string) (any, Known, error)
	Needs   func(*Call) ([]auth.Scope, error)
	Rate    func(*Call, Preview) (Risk, error)
	Class   func(*Call, Preview) (Class, error)
	Action  func(*Call) (string, error)
	Fill    func(*Call) ([]byte, error)
	Facts   func(*Call) ([]Fact, error)
	Calls   func(*Call) ([]Planned, error)
	Keep    func(*Call) (json.RawMessage, error)
	Restore func(c *Call, result, image json.RawMessage) error
}

// Handler gives the tool's code. It is for package gate alone: whoever runs a tool past the gate runs it past every check.
func (t *Tool) Handler() Handler { return t.handler }

// Writes reports whether the tool has an effect.
func (t *Tool) Writes() bool { return t.handler.Read == nil }

// MayPark reports whether some call of the tool may have to wait for people: it has a class, or its code gives one to some calls.
func (t *Tool) MayPark() bool {
	return t.AlwaysAsks || t.Class != ClassNone || t.classifies || t.Batches()
}

// Define makes a tool from its spec and code. It panics when they do not fit together.
func Define[In, Out any](spec Spec, f Func[In, Out]) *Tool {
	t := &Tool{
		Spec: spec, Input: schemas.Of[In](), Actions: f.Actions, classifies: f.Class != nil, ratings: f.Ratings, noAmount: f.NoAmount,
		kinds: kindsOf(spec, f.Kinds),
	}
	t.handler = erase(spec, f, t.kinds)
	if t.Writes() {
		t.Output = schemas.Envelope[Out]()
	} else {
		t.Output = schemas.Answer[Out]()
	}
	err := t.check()
	if rates := f.Rate != nil || f.Class != nil; err == nil && rates != (len(f.Ratings)+len(f.Actions) > 0) {
		err = errors.New("code that rates calls, and the ratings that it gives, go together")
	}
	if err != nil {
		panic(fmt.Sprintf("tool %s: %v", spec.Name, err))
	}
	return t
}

func erase[In, Out any](spec Spec, f Func[In, Out], kinds []string) Handler {
	h := Handler{
		Objects: f.about(spec, kinds),
		Rows:    f.shown(),
		Needs:   func(*Call) ([]auth.Scope, error) { return nil, nil },
		Rate:    func(*Call, Preview) (Risk, error) { return spec.Risk, nil },
		Class:   func(*Call, Preview) (Class, error) { return spec.Class, nil },
		Action:  func(*Call) (string, error) { return "", nil },
		Facts:   func(*Call) ([]Fact, error) { return nil, nil },
		Keep:    f.Undo.keep,
		Restore: f.Undo.restore,
	}
	if f.Read != nil {
		h.Read = func(c *Call) (any, error) { return with(c, func(in In) (any, error) { return f.Read(c, in) }) }
	}
	if f.Asks != nil {
		h.Asks = func(c *Call) error {
			_, err := with(c, func(in In) (struct{}, error) { f.Asks(c, in); return struct{}{}, nil })
			return err
		}
	}
	if f.Preview != nil {
		h.Preview = func(c *Call) (Preview, error) {
			return with(c, func(in In) (Preview, error) { return f.Preview(c, in) })
		}
	}
	if f.Write != nil {
		h.Write = func(c *Call) (any, error) { return with(c, func(in In) (any, error) { return f.Write(c, in) }) }
	}
	if f.Step != nil {
		h.Step = func(c *Call, p *Progress) (any, error) {
			return with(c, func(in In) (any, error) { return f.Step(c, in, p) })
		}
	}
	if f.Stopped != nil {
		h.Stopped = func(c *Call, p Progress) error {
			_, err := with(c, func(in In) (struct{}, error) { return struct{}{}, f.Stopped(c, in, p) })
			return err
		}
	}
	sender[In, Out]{f.Send, f.Probe}.erase(&h)
	if f.Rate != nil {
		h.Rate = func(c *Call, p Preview) (Risk, error) {
			return with(c, func(in In) (Risk, error) { return f.Rate(in, p, spec.Risk), nil })
		}
	}
	if f.Needs != nil {
		h.Needs = func(c *Call) ([]auth.Scope, error) {
			return with(c, func(in In) ([]auth.Scope, error) { return f.Needs(c, in) })
		}
	}
	if f.Class != nil {
		h.Class = func(c *Call, p Preview) (Class, error) {
			return with(c, func(in In) (Class, error) { return f.Class(in, p), nil })
		}
	}
	if f.Action != nil {
		h.Action = func(c *Call) (string, error) {
			return with(c, func(in In) (string, error) { return f.Action(in), nil })
		}
	}
	if f.Fill != nil {
		h.Fill = func(c *Call) ([]byte, error) { return fill(c, f.Fill) }
	}
	if f.Calls != nil {
		h.Calls = func(c *Call) ([]Planned, error) { return with(c, f.Calls) }
	}
	if f.Facts != nil {
		h.Facts = func(c *Call) ([]Fact, error) {
			facts, err := with(c, func(in In) ([]Fact, error) { return f.Facts(c, in) })
			return bounded(facts), err
		}
	}
	return h
}

func with[In, T any](c *Call, fn func(In) (T, error)) (T, error) {
	in, err := schemas.Decode[In](c.Args)
	if err != nil {
		var none T
		return none, fmt.Errorf("decoding arguments: %w", err)
	}
	return fn(in)
}

// fill completes the arguments with what fn knows. A member that was left out and that fn leaves empty stays left out,
// so that the schema check calls it missing and not empty.
func fill[In any](c *Call, fn func(*Call, *In) error) ([]byte, error) {
	in, err := schemas.Decode[In](c.Args)
	if err != nil {
		return c.Args, nil // not ours to report: the schema check names every wrong field
	}
	if err := fn(c, &in); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encoding arguments: %w", err)
	}
	var given, filled map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(c.Args, &given), json.Unmarshal(raw, &filled)); err != nil {
		return nil, fmt.Errorf("completing arguments: %w", err)
	}
	for name, value := range filled {
		if _, there := given[name]; !there && string(value) == `""` {
			delete(filled, name)
		}
	}
	if raw, err = json.Marshal(filled); err != nil {
		return nil, fmt.Errorf("encoding arguments: %w", err)
	}
	return schemas.Canonical(raw)
}

var (
	goodName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)+$`)
	goodPath = regexp.MustCompile(`^[a-z]+(\.[a-z]+(_[a-z]+)*)+$`)
)

// check holds a tool to the rules that a reader of the catalogue relies on.
func (t *Tool) check() error {
	h, writes := t.handler, t.Writes()
	switch {
	case !goodName.MatchString(t.Name) || len(t.Name) > 64:
		return fmt.Errorf("the name must be words in lower case joined by underscores")
	case !goodPath.MatchString(t.Path):
		return fmt.Errorf("the path %q must be dotted words", t.Path)
	case t.Title == "" || len(t.Description) < 40 || len(t.Description) > 1200:
		return fmt.Errorf("a title and a description of 40 to 1200 bytes are needed, not %d", len(t.Description))
	case t.Undo == "":
		return fmt.Errorf("it must say how its effect is undone")
	case !strings.ContainsAny(t.Resource, ":/") && t.Resource != "self":
		return fmt.Errorf("the resource %q must be self or type:/argument, /type:/argument, type:* or type:+", t.Resource)
	case len(t.Routes) == 0:
		return fmt.Errorf("it needs a route")
	case writes && h.Rows != nil:
		return fmt.Errorf("only what a read answers is held to limits on objects; a write shows what it is about")
	case writes != (t.Risk.Undo > 0):
		return fmt.Errorf("a write has something to undo and a read has nothing")
	case t.Brake && (t.Class != ClassNone || t.AlwaysAsks):
		return fmt.Errorf("a brake is never parked")
	case t.Scope != "" && len(t.AnyScope) > 0:
		return fmt.Errorf("either Scope or AnyScope")
	case h.Keep != nil && (!writes || t.Risk.Undo == 0):
		return fmt.Errorf("only a write can be undone")
	}
	if err := t.shapes(); err != nil {
		return err
	}
	return t.checkFields(writes)
}

// checkFields requires the arguments that make approvals, retries and rehearsals mean something.
func (t *Tool) checkFields(writes bool) error {
	var want []string
	if writes && !t.Brake {
		want = append(want, "idempotency_key", "dry_run")
	}
	if t.Class != ClassNone || t.Batches() {
		want = append(want, "reason")
	}
	for _, name := range want {
		if _, ok := t.Input.Property(name); !ok {
			return fmt.Errorf("the argument %s is missing", name)
		}
	}
	return nil
}
