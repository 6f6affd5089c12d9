package tools

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/schemas"
)

// An ActionSpec is everything about an action but its code.
type ActionSpec struct {
	Provider    string // helpdesk: whose system it acts on
	Name        string // send_reply
	Title       string
	Description string // for models: what it does, units, limits
	Risk        Risk
	Class       Class
	Targets     []Target
	Undo        string // how the effect is made good, or that it cannot be
	Idempotent  bool   // done twice it has the effect of once
	Like        string // the tool that has the same effect, if there is one: who may not call it can ask for this
}

// ID is the name that keys are granted the action by: provider:name.
func (s ActionSpec) ID() string { return s.Provider + ":" + s.Name }

func byID(x, y *Action) int { return cmp.Compare(x.ID(), y.ID()) }

// A Target is a type of objects that an action can be about. A call names one of them as type:id.
type Target struct {
	Type    string // order
	Example string // an id: 536365
}

func (t Target) String() string { return t.Type + ":" + t.Example }

// An Action is what a provider does on request: something beside the shop's own tools, asked for through one tool by its id.
// It has a tool's parts, its arguments are described by a struct in the same way, and it runs in the gate's transaction.
type Action struct {
	ActionSpec
	Input *schemas.Schema // of its own arguments

	handler Handler
	kinds   []string
}

// DefineAction makes an action from its spec and code, which has Preview and Write, and Undo where the effect can be taken
// back. The functions get a call whose arguments are the action's own and whose Wish says the rest. Without Objects the action is about
// its target, by the name that the caller gives it. It panics when they do not fit together.
func DefineAction[In, Out any](spec ActionSpec, f Func[In, Out]) *Action {
	if f.Objects == nil {
		f.Objects = func(c *Call, _ In) ([]Object, error) { return []Object{{c.Wish.Target}}, nil }
	}
	a := &Action{ActionSpec: spec, Input: schemas.Of[In]()}
	for _, t := range spec.Targets {
		a.kinds = append(a.kinds, t.Type)
	}
	a.kinds = append(a.kinds, f.Kinds...)
	a.handler = erase(Spec{Risk: spec.Risk, Class: spec.Class}, f, a.kinds)
	if err := a.check(); err != nil {
		panic(fmt.Sprintf("action %s: %v", spec.ID(), err))
	}
	return a
}

var goodActionID = regexp.MustCompile(`^[a-z]+:[a-z]+(_[a-z]+)*$`)

func (a *Action) check() error {
	h := a.handler
	switch {
	case !goodActionID.MatchString(a.ID()):
		return errors.New("the id must be provider:name, in words of lower case")
	case a.Title == "" || len(a.Description) < 40 || len(a.Description) > 600:
		return errors.New("it needs a title and a description of 40 to 600 bytes")
	case h.Preview == nil || h.Write == nil || h.Step != nil:
		return errors.New("it needs a preview and a write")
	case a.Risk.Undo == 0 || a.Undo == "":
		return errors.New("it must say how its effect is undone")
	case len(a.Targets) == 0:
		return errors.New("it must say what it can be about")
	}
	return nil
}

// A Wish is what a call asks of an action.
type Wish struct {
	Action    string
	Target    string // type:id
	Reason    string
	Arguments map[string]json.RawMessage
}

// ID is the target's id, without its type.
func (w Wish) ID() string {
	_, id, _ := strings.Cut(w.Target, ":")
	return id
}

// Fulfilled is the answer of a call that an action carried out.
type Fulfilled struct {
	Action string          `json:"action"`
	Target string          `json:"target"`
	Result json.RawMessage `json:"result"`
}

// ByAction is the code of a tool that hands each call to the action that it names. Which actions a key may name is the
// gate's to check, as everything is.
func ByAction[In any](actions []*Action, wish func(In) Wish) Func[In, Fulfilled] {
	b := broker{byID: map[string]*Action{}}
	for _, a := range actions {
		if b.byID[a.ID()] != nil {
			panic("two actions share the id " + a.ID())
		}
		b.byID[a.ID()] = a
	}
	b.wish = func(c *Call) (Wish, error) {
		return with(c, func(in In) (Wish, error) { return wish(in), nil })
	}
	return Func[In, Fulfilled]{
		Actions: slices.SortedFunc(slices.Values(actions), byID),
		Action:  func(in In) string { return wish(in).Action },
		Objects: func(c *Call, _ In) ([]Object, error) { return b.objects(c) },
		Preview: func(c *Call, _ In) (Preview, error) { return b.preview(c) },
		Write:   func(c *Call, _ In) (Fulfilled, error) { return b.write(c) },
		Facts:   func(c *Call, _ In) ([]Fact, error) { return b.facts(c) },
		Rate:    func(in In, _ Preview, worst Risk) Risk { return cmp.Or(b.spec(wish(in)).Risk, worst) },
		Class:   func(in In, _ Preview) Class { return b.spec(wish(in)).Class },
		Undo:    Undo[In, Fulfilled]{keep: b.keep, restore: b.restore},
	}
}

// A broker takes calls and hands them to actions.
type broker struct {
	byID map[string]*Action
	wish func(*Call) (Wish, error)
}

// spec is of the action that a wish names, and empty for a name that is none.
func (b broker) spec(w Wish) ActionSpec {
	if a := b.byID[w.Action]; a != nil {
		return a.ActionSpec
	}
	return ActionSpec{}
}

// run calls fn with the action and the call as its code is to see it.
func (b broker) run(c *Call, fn func(*Action, *Call) error) error {
	w, err := b.wish(c)
	if err != nil {
		return err
	}
	a := b.byID[w.Action]
	if a == nil {
		return Refuse(NotFound, "Ask for an action that this credential may request.", "There is no such action.") // the gate says it better, and before
	}
	args, err := a.accept(w)
	if err != nil {
		return err
	}
	own := *c
	own.Args, own.Wish = args, w
	err = fn(a, &own)
	c.outsiders = own.outsiders
	return placed(err)
}

// placed says of arguments that an action found wrong where they stand in the call.
func placed(err error) error {
	var r *Refusal
	if !errors.As(err, &r) || r.Code != InvalidArguments || r.Errors == nil {
		return err
	}
	fields := slices.Clone(r.Errors.Fields)
	for i, f := range fields {
		if f.Field != "target" {
			fields[i].Field = "arguments." + f.Field
		}
	}
	return WrongFields(fields)
}

func (b broker) objects(c *Call) (all []Object, err error) {
	err = b.run(c, func(a *Action, own *Call) (err error) {
		all, err = a.handler.Objects(own)
		return err
	})
	return all, err
}

// preview binds the schema of the action's arguments with the version of its target: the gate binds the tool's alone.
func (b broker) preview(c *Call) (p Preview, err error) {
	err = b.run(c, func(a *Action, own *Call) (err error) {
		p, err = a.handler.Preview(own)
		p.Version += " " + a.Input.Hash
		return err
	})
	return p, err
}

func (b broker) facts(c *Call) (facts []Fact, err error) {
	err = b.run(c, func(a *Action, own *Call) (err error) {
		facts, err = a.handler.Facts(own)
		return err
	})
	return facts, err
}

func (b broker) write(c *Call) (done Fulfilled, err error) {
	err = b.run(c, func(a *Action, own *Call) error {
		result, err := a.handler.Write(own)
		if err != nil {
			return err
		}
		done.Action, done.Target = own.Wish.Action, own.Wish.Target
		done.Result, err = json.Marshal(result)
		return err
	})
	return done, err
}

func (b broker) keep(c *Call) (image json.RawMessage, err error) {
	err = b.run(c, func(a *Action, own *Call) (err error) {
		if a.handler.Keep == nil {
			return ErrNoUndo
		}
		image, err = a.handler.Keep(own)
		return err
	})
	return image, err
}

func (b broker) restore(c *Call, result, image json.RawMessage) error {
	var done Fulfilled
	if err := json.Unmarshal(result, &done); err != nil {
		return fmt.Errorf("decoding the result: %w", err)
	}
	return b.run(c, func(a *Action, own *Call) error { return a.handler.Restore(own, done.Result, image) })
}

// accept gives the wish's arguments in canonical form, or names everything about them and the target that is wrong.
func (a *Action) accept(w Wish) ([]byte, error) {
	raw, err := json.Marshal(w.Arguments)
	if err != nil {
		return nil, fmt.Errorf("writing the arguments: %w", err)
	}
	args, err := schemas.Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the arguments: %w", err)
	}
	wrong := a.wrongTarget(w)
	for _, f := range a.Input.Check(args) {
		f.Field = strings.TrimSuffix("arguments."+f.Field, ".")
		f.Problem = strings.Replace(f.Problem, "of this tool", "of this action", 1)
		wrong = append(wrong, f)
	}
	if len(wrong) == 0 {
		return args, nil
	}
	r := WrongFields(wrong)
	r.Next += a.form()
	return nil, r
}

func (a *Action) wrongTarget(w Wish) []schemas.Wrong {
	kind, id, _ := strings.Cut(w.Target, ":")
	if id != "" && slices.ContainsFunc(a.Targets, func(t Target) bool { return t.Type == kind }) {
		return nil
	}
	forms := make([]string, len(a.Targets))
	for i, t := range a.Targets {
		forms[i] = fmt.Sprintf("%s:ID", t.Type)
	}
	return []schemas.Wrong{{
		Field: "target", Problem: "is not what " + a.ID() + " is about", Expected: strings.Join(forms, " or "), Example: a.Targets[0].String(),
	}}
}

// form is a call of the action in its right form, for a caller who has not seen one.
func (a *Action) form() string {
	example, err := json.Marshal(a.Input.Example())
	if err != nil || string(example) == "null" {
		return ""
	}
	return fmt.Sprintf(" %s takes a target such as %s and arguments such as %s.", a.ID(), a.Targets[0], example)
}
