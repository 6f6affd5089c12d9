package condition

import (
	"errors"

	"github.com/cedar-policy/cedar-go"
)

// facts are one call in Cedar's values, as far as a plan looks at it. They are the entities of one request, too.
type facts struct {
	request   cedar.Request
	principal cedar.Entity
	action    *cedar.Entity
	resource  cedar.Entity
}

var errUnknownEffect = errors.New("context.effect is not known for this call")

// factsOf makes the values. An error is something that a policy looks at and Cedar cannot hold.
func (p *plan) factsOf(q *Request) (*facts, error) {
	context, err := p.contextOf(q)
	if err != nil {
		return nil, err
	}
	f := &facts{action: &p.place.entity, principal: p.agentOf(q)}
	f.request = cedar.Request{Principal: f.principal.UID, Action: p.place.uid, Context: context}
	f.about("", nil)
	return f, nil
}

func (p *plan) agentOf(q *Request) cedar.Entity {
	e := cedar.Entity{UID: cedar.NewEntityUID(agentType, cedar.String(q.Agent))}
	w := p.looks.get("principal")
	if w == nil {
		return e
	}
	e.Parents = cedar.NewEntityUIDSet(cedar.NewEntityUID(profileType, cedar.String(q.Profile)))
	e.Attributes = recordOf(agentParts, w, q)
	return e
}

func (p *plan) contextOf(q *Request) (cedar.Record, error) {
	w := p.looks.get("context")
	if w == nil {
		return cedar.Record{}, nil
	}
	m := valuesOf(callParts, w, q)
	if time := w.get("time"); time != nil {
		m["time"] = recordOf(timeParts, time, &q.Time)
	}
	if effect := w.get("effect"); effect != nil {
		if !q.Effect.Known {
			return cedar.Record{}, errUnknownEffect
		}
		m["effect"] = recordOf(effectParts, effect, &q.Effect)
	}
	if input := w.get("input"); input != nil {
		read, err := readInput(q.Input, p.place.input, input)
		if err != nil {
			return cedar.Record{}, err
		}
		m["input"] = read
	}
	return cedar.NewRecord(m), nil
}

// about makes a resource the one that the question is about.
func (f *facts) about(name string, w *want) {
	f.resource = cedar.Entity{UID: cedar.NewEntityUID(resourceType, cedar.String(name))}
	f.request.Resource = f.resource.UID
	if w != nil {
		t := thingOf(name)
		f.resource.Attributes = recordOf(resourceParts, w, &t)
	}
}

// Get finds an entity for Cedar.
func (f *facts) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	switch uid {
	case f.principal.UID:
		return f.principal, true
	case f.resource.UID:
		return f.resource, true
	case f.action.UID:
		return *f.action, true
	}
	return cedar.Entity{}, false
}
