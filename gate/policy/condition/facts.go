package condition

import (
	"net/netip"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/dtcgate/dtcgate/auth"
)

// A Request is one call, as conditions see it.
type Request struct {
	Agent, Name, Kind, Profile, Owner string
	Scopes                            []auth.Scope
	Ceiling                           int64
	RequiresApproval                  bool
	Tool, Path                        string   // the groups of actions come from the tool itself and not from Path
	Action                            string   // provider:action, of a call that asks for one
	Resources                         []string // type:id; none is one resource without type and id
	Input                             []byte   // canonical arguments
	Effect                            Effect
	Time                              time.Time // in the policy's zone
	Source                            netip.Addr
	Environment, Transport            string
	Tainted                           bool
	Trust                             int64 // thousandths of a point: 72500 is 72.5
}

// An Effect is what one call does, as far as it is known.
type Effect struct {
	Known                                     bool // otherwise a condition that looks at it fails, and so denies
	Level                                     int64
	Undo, Blast, Money, Touch, DataOut, Reach int64
	Class                                     string // "" is seen as none
	Writes, DryRun                            bool
	Customers, MoneyMinor                     int64
	Currency                                  string
}

// The types of entities.
const (
	agentType    = cedar.EntityType("Agent")
	profileType  = cedar.EntityType("Profile")
	resourceType = cedar.EntityType("Resource")
	actionType   = cedar.EntityType("Action")
)

// A part is one attribute: its type, and how it is read from a call. A value of nil is an attribute that is not there.
type part[T any] struct {
	name     string
	shape    shape
	optional bool
	value    func(*T) cedar.Value
}

func flag[T any](name string, of func(*T) bool) part[T] {
	return part[T]{name: name, shape: shape{kind: boolean}, value: func(t *T) cedar.Value { return cedar.Boolean(of(t)) }}
}

func number[T any](name string, of func(*T) int64) part[T] {
	return part[T]{name: name, shape: shape{kind: long}, value: func(t *T) cedar.Value { return cedar.Long(of(t)) }}
}

func textual[T any](name string, of func(*T) string, words ...string) part[T] {
	return part[T]{name: name, shape: shape{kind: text, words: words}, value: func(t *T) cedar.Value { return cedar.String(of(t)) }}
}

// shapeOf is the record of parts.
func shapeOf[T any](parts []part[T]) *shape {
	s := &shape{kind: record}
	for i := range parts {
		s.members = append(s.members, member{parts[i].name, &parts[i].shape, parts[i].optional})
	}
	return s
}

// recordOf is as much of t as is wanted.
func recordOf[T any](parts []part[T], w *want, t *T) cedar.Record {
	return cedar.NewRecord(valuesOf(parts, w, t))
}

func valuesOf[T any](parts []part[T], w *want, t *T) cedar.RecordMap {
	m := cedar.RecordMap{}
	for i := range parts {
		if w.get(parts[i].name) == nil {
			continue
		}
		if v := parts[i].value(t); v != nil {
			m[cedar.String(parts[i].name)] = v
		}
	}
	return m
}

var agentParts = []part[Request]{
	number("ceiling", func(q *Request) int64 { return q.Ceiling }),
	textual("kind", func(q *Request) string { return q.Kind }, string(auth.KindKey), string(auth.KindSubToken), string(auth.KindJWT)),
	textual("name", func(q *Request) string { return q.Name }),
	{name: "owner", shape: shape{kind: text}, optional: true, value: func(q *Request) cedar.Value {
		if q.Owner == "" {
			return nil
		}
		return cedar.String(q.Owner)
	}},
	textual("profile", func(q *Request) string { return q.Profile }),
	flag("requires_approval", func(q *Request) bool { return q.RequiresApproval }),
	{name: "scopes", shape: shape{kind: set, of: &shape{kind: text, words: scopeWords()}}, value: func(q *Request) cedar.Value {
		all := make([]cedar.Value, len(q.Scopes))
		for i, s := range q.Scopes {
			all[i] = cedar.String(s)
		}
		return cedar.NewSet(all...)
	}},
}

func scopeWords() []string {
	var all []string
	for _, s := range auth.AgentScopes {
		all = append(all, string(s))
	}
	return all
}

// A thing is one resource.
type thing struct{ kind, id string }

var resourceParts = []part[thing]{
	textual("id", func(t *thing) string { return t.id }),
	textual("type", func(t *thing) string { return t.kind }),
}

func thingOf(name string) thing {
	kind, id, _ := strings.Cut(name, ":")
	return thing{kind, id}
}

var effectParts = []part[Effect]{
	number("blast", func(e *Effect) int64 { return e.Blast }),
	textual("class", func(e *Effect) string {
		if e.Class == "" {
			return "none"
		}
		return e.Class
	}, "none", "spend", "contact", "destructive"),
	textual("currency", func(e *Effect) string { return e.Currency }),
	number("customers", func(e *Effect) int64 { return e.Customers }),
	number("data_out", func(e *Effect) int64 { return e.DataOut }),
	flag("dry_run", func(e *Effect) bool { return e.DryRun }),
	number("level", func(e *Effect) int64 { return e.Level }),
	number("money", func(e *Effect) int64 { return e.Money }),
	number("money_minor", func(e *Effect) int64 { return e.MoneyMinor }),
	number("reach", func(e *Effect) int64 { return e.Reach }),
	number("touch", func(e *Effect) int64 { return e.Touch }),
	number("undo", func(e *Effect) int64 { return e.Undo }),
	flag("writes", func(e *Effect) bool { return e.Writes }),
}

var timeParts = []part[time.Time]{
	textual("date", func(t *time.Time) string { return t.Format(time.DateOnly) }),
	{name: "datetime", shape: shape{kind: moment}, value: func(t *time.Time) cedar.Value { return cedar.NewDatetime(*t) }},
	number("hour", func(t *time.Time) int64 { return int64(t.Hour()) }),
	number("minute", func(t *time.Time) int64 { return int64(t.Minute()) }),
	textual("weekday", func(t *time.Time) string { return weekdays[t.Weekday()] }, weekdays[:]...),
}

var weekdays = [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// callParts are what stands in the context beside input, effect and time.
var callParts = []part[Request]{
	textual("action", func(q *Request) string { return q.Action }),
	textual("environment", func(q *Request) string { return q.Environment }),
	{name: "source", shape: shape{kind: address}, optional: true, value: func(q *Request) cedar.Value {
		if !q.Source.IsValid() {
			return nil
		}
		plain := q.Source.Unmap().WithZone("")
		return cedar.IPAddr(netip.PrefixFrom(plain, plain.BitLen()))
	}},
	flag("tainted", func(q *Request) bool { return q.Tainted }),
	textual("transport", func(q *Request) string { return q.Transport }, "mcp", "rest"),
	{name: "trust", shape: shape{kind: decimal}, value: func(q *Request) cedar.Value { return thousandths(q.Trust) }},
}

// thousandths is a decimal, which has four places. What does not fit is no value, so that a condition which looks at it fails.
func thousandths(n int64) cedar.Value {
	d, err := types.NewDecimal(n, -3)
	if err != nil {
		return nil
	}
	return d
}
