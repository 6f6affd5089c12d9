package condition

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	sast "github.com/cedar-policy/cedar-go/x/exp/schema/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"

	"github.com/dtcgate/dtcgate/tools"
)

// A world is everything that policies can name: the tools of a registry and the profiles of a document.
type world struct {
	registry *tools.Registry
	places   []*place // by name
	byName   map[string]*place
	groups   []string
	profiles map[string]int // each with its number, from 1; 0 is every other
	schema   *resolved.Schema
}

// A place is one tool as an action of Cedar.
type place struct {
	number  int
	name    string
	uid     cedar.EntityUID
	entity  cedar.Entity // with the groups as parents
	input   *shape
	context *shape

	principal *shape // the same for all
}

// last is the world that was made last. The conditions of a document are checked one after the other against the same tools and profiles,
// and a world does not change.
var last atomic.Pointer[world]

// worldOf gives the types of some tools and profiles.
func worldOf(r *tools.Registry, profiles []string) (*world, error) {
	if w := last.Load(); w != nil && w.registry == r && w.knows(profiles) {
		return w, nil
	}
	w, err := newWorld(r, profiles)
	if err == nil {
		last.Store(w)
	}
	return w, err
}

// knows reports whether these are the world's profiles.
func (w *world) knows(profiles []string) bool {
	return len(profiles) == len(w.profiles) && !slices.ContainsFunc(profiles, func(name string) bool { return w.profiles[name] == 0 })
}

// newWorld makes the types. An error is a tool whose schema cannot be told to Cedar.
func newWorld(r *tools.Registry, profiles []string) (*world, error) {
	w := &world{registry: r, byName: map[string]*place{}, profiles: map[string]int{}}
	for i, name := range slices.Sorted(slices.Values(profiles)) {
		w.profiles[name] = i + 1
	}
	principal := shapeOf(agentParts).worded("profile", append([]string{""}, profiles...))
	for i, t := range r.All() {
		p := newPlace(i, t)
		p.principal = principal
		w.places = append(w.places, p)
		w.byName[t.Name] = p
		w.groups = append(w.groups, groupsOf(t)...)
	}
	slices.Sort(w.groups)
	w.groups = slices.Compact(w.groups)
	var err error
	if w.schema, err = schema.NewSchemaFromAST(w.cedar()).Resolve(); err != nil {
		return nil, fmt.Errorf("making a Cedar schema of the tools: %w", err)
	}
	return w, nil
}

func newPlace(number int, t *tools.Tool) *place {
	var parents []cedar.EntityUID
	for _, g := range groupsOf(t) {
		parents = append(parents, cedar.NewEntityUID(actionType, cedar.String(g)))
	}
	p := &place{number: number, name: t.Name, uid: cedar.NewEntityUID(actionType, cedar.String(t.Name))}
	p.entity = cedar.Entity{UID: p.uid, Parents: cedar.NewEntityUIDSet(parents...)}
	p.input, _ = shapeOfSchema(t.Input.JSON)
	if p.input == nil {
		p.input = &shape{kind: record}
	}
	p.context = shapeOf(callParts).worded("action", actionsOf(t))
	p.context.members = append(p.context.members,
		member{"input", p.input, false}, member{"effect", shapeOf(effectParts), false}, member{"time", shapeOf(timeParts), false})
	return p
}

// actionsOf is what context.action can be.
func actionsOf(t *tools.Tool) []string {
	all := []string{""}
	for _, a := range t.Actions {
		all = append(all, a.ID())
	}
	return all
}

// groupsOf names the groups of actions that a tool is in: orders.* for orders.refund, api.* and api.get.* for api.get.x, and reads or writes.
func groupsOf(t *tools.Tool) []string {
	kind := "reads"
	if t.Writes() {
		kind = "writes"
	}
	all := []string{kind}
	for i, c := range t.Path {
		if c == '.' {
			all = append(all, t.Path[:i]+".*")
		}
	}
	return all
}

// in reports whether the tool is an action or in a group.
func (p *place) in(e cedar.EntityUID) bool { return p.uid == e || p.entity.Parents.Contains(e) }

// about gives the tools that a policy's head names.
func (w *world) about(s scope) []*place {
	if s.actions == nil {
		return w.places
	}
	var all []*place
	for _, p := range w.places {
		if slices.ContainsFunc(s.actions, p.in) {
			all = append(all, p)
		}
	}
	return all
}

// cedar is the world as a schema of Cedar.
func (w *world) cedar() *sast.Schema {
	actions := sast.Actions{}
	for _, g := range w.groups {
		actions[cedar.String(g)] = sast.Action{}
	}
	for i, t := range w.registry.All() {
		a := sast.Action{AppliesTo: &sast.AppliesTo{
			Principals: []sast.EntityTypeRef{sast.EntityType(agentType)},
			Resources:  []sast.EntityTypeRef{sast.EntityType(resourceType)},
			Context:    w.places[i].context.recordType(),
		}}
		for _, g := range groupsOf(t) {
			a.Parents = append(a.Parents, sast.ParentRefFromID(cedar.String(g)))
		}
		actions[cedar.String(t.Name)] = a
	}
	return &sast.Schema{Actions: actions, Entities: sast.Entities{
		sast.Ident(agentType):    {ParentTypes: []sast.EntityTypeRef{sast.EntityType(profileType)}, Shape: shapeOf(agentParts).recordType()},
		sast.Ident(profileType):  {},
		sast.Ident(resourceType): {Shape: shapeOf(resourceParts).recordType()},
	}}
}

// resolution is where a path leads in one tool's world.
type resolution struct {
	shape   *shape
	missing string   // the first name of the path that is not there, "" when all are
	at      []string // the path before it
	among   []string // what is there instead
	anyJSON bool     // it is there, and may be any JSON
}

// resolve follows a path from principal, resource or context.
func (p *place) resolve(path []string) resolution {
	at := p.variable(path[0])
	for i, name := range path[1:] {
		if at.kind != record {
			return resolution{missing: name, at: path[:i+1]}
		}
		m := at.member(name)
		if m == nil || m.shape == nil {
			return resolution{missing: name, at: path[:i+1], among: at.names(), anyJSON: m != nil}
		}
		at = m.shape
	}
	return resolution{shape: at}
}

func (p *place) variable(name string) *shape {
	switch name {
	case "principal":
		return p.principal
	case "resource":
		return shapeOf(resourceParts)
	case "context":
		return p.context
	}
	return &shape{kind: record} // an action has no attributes
}

// actionNames lists what an action can be called.
func (w *world) actionNames() []string {
	all := slices.Clone(w.groups)
	for _, p := range w.places {
		all = append(all, p.name)
	}
	return all
}

// meant is the tool or group that somebody may have meant: by a path or an alias, or by a similar name.
func (w *world) meant(id string, nearest func(string, []string) string) string {
	if t, ok := w.registry.Find(id); ok {
		return t.Name
	}
	if near := nearest(strings.ToLower(id), w.actionNames()); near != "" {
		return near
	}
	return nearest("dtc_"+strings.ToLower(id), w.actionNames())
}
